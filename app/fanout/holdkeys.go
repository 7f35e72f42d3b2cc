package fanout

import (
	"cmp"
	"context"
	"database/sql/driver"
	"strings"
)

// holdKeys locks, on the first replica, the rows that those of an upsert would meet by each unique key, and the gaps where there are none: an
// upsert that meets a row by one key leaves no lock behind where it found none by another.
func (t *orderedTxn) holdKeys(ctx context.Context, q call) error {
	schema := t.c.p.schema.Load()
	table, _ := cut(q, q.st.Form.Name)
	var texts []string
	var args []driver.NamedValue
	ask := func() error {
		_, err := t.ask(ctx, strings.Join(texts, " UNION ALL "), ordered1(args))
		texts, args = nil, nil
		return err
	}
	for _, row := range q.st.Form.Rows {
		for _, key := range q.st.Meets(schema) {
			conds := make([]string, len(key.Columns))
			for i, column := range key.Columns {
				name, at := quoteName(column), q.st.Place(schema, column)
				value := cmp.Or(t.table(q).Column(column).Default, "NULL")
				if at >= 0 && at < len(row) && !row[at].IsDefault(q.text) {
					s, a := cut(q, row[at].Span)
					value, args = "("+s+")", append(args, a...)
				}
				conds[i] = name + " = " + value
			}
			texts = append(texts, "(SELECT 1 FROM "+table+" WHERE "+strings.Join(conds, " AND ")+" FOR UPDATE)")
		}
		if len(texts) >= madeBatch {
			if err := ask(); err != nil {
				return err
			}
		}
	}
	if len(texts) == 0 {
		return nil
	}
	return ask()
}
