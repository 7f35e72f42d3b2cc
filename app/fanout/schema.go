package fanout

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"sort"
	"strings"
)

const tablesQuery = "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE() AND table_type IN ('BASE TABLE', 'SYSTEM VERSIONED')"

const triggerQuery = `SELECT event_object_table, action_statement, trigger_name, action_timing, event_manipulation, action_order, sql_mode, character_set_client, collation_connection
	FROM information_schema.triggers WHERE trigger_schema = DATABASE() ORDER BY event_object_table, trigger_name`

// list is the rows of a query about m, as texts.
func (m *member) list(ctx context.Context, query string, args ...any) ([][]string, error) {
	_, list, err := texts(ctx, m.admin, query, args...)
	if err != nil {
		return nil, fmt.Errorf("replica %s: %w", m.name, err)
	}
	return list, nil
}

// value is the one value that a query about m gives; NULL is empty.
func (m *member) value(ctx context.Context, query string) (string, error) {
	var s sql.NullString
	err := m.admin.QueryRowContext(ctx, query).Scan(&s)
	return s.String, err
}

// texts are the columns and rows of a query.
func texts(ctx context.Context, db interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}, query string, args ...any) (columns []string, list [][]string, err error) {
	rows, err := db.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, nil, err
	}
	defer rows.Close()
	if columns, err = rows.Columns(); err != nil {
		return nil, nil, err
	}
	for rows.Next() {
		cells, into := make([]sql.NullString, len(columns)), make([]any, len(columns))
		for i := range cells {
			into[i] = &cells[i]
		}
		if err := rows.Scan(into...); err != nil {
			return nil, nil, err
		}
		row := make([]string, len(cells))
		for i, c := range cells {
			row[i] = c.String
		}
		list = append(list, row)
	}
	return columns, list, rows.Err()
}

// tableNames are the app's tables on m, as written.
func tableNames(ctx context.Context, m *member) (names []string, err error) {
	rows, err := m.list(ctx, tablesQuery)
	for _, row := range rows {
		if !strings.HasPrefix(strings.ToLower(row[0]), ownPrefix) {
			names = append(names, row[0])
		}
	}
	return names, err
}

// showCreate is what m says of a table.
func showCreate(ctx context.Context, m *member, table string) (create string, err error) {
	var name string
	if err := m.admin.QueryRowContext(ctx, "SHOW CREATE TABLE "+quoteName(table)).Scan(&name, &create); err != nil {
		return "", fmt.Errorf("replica %s: read the schema: %w", m.name, err)
	}
	return create, nil
}

// describe returns the content of m's database: for each table SHOW CREATE TABLE, the order of columns and keys, and triggers.
func describe(ctx context.Context, m *member) (map[string][]string, error) {
	names, err := tableNames(ctx, m)
	if err != nil {
		return nil, err
	}
	triggers, err := m.list(ctx, triggerQuery)
	if err != nil {
		return nil, err
	}
	out := map[string][]string{}
	for _, name := range names {
		create, err := showCreate(ctx, m, name)
		if err != nil {
			return nil, err
		}
		out[name] = defined(create)
	}
	for _, t := range triggers {
		if out[t[0]] != nil {
			out[t[0]] = append(out[t[0]], "trigger "+strings.Join(t[1:], " "))
		}
	}
	return out, nil
}

// ErrSchema is wrapped when replicas' schemas or settings differ; the error names what differs.
var ErrSchema = errors.New("replicas differ in schema or settings")

// compareSchemas reads the schemas of the replicas in service, fails when they differ, and remembers what is needed of
// them. A missing index counts: it makes a statement lock more rows on one replica than on another.
func (p *group) compareSchemas(ctx context.Context) error {
	members := p.view.Load().readers
	if len(members) == 0 {
		return ErrNoReplica
	}
	ordered, err := compareDatabases(ctx, members)
	if err != nil {
		return err
	}
	return p.learnSchema(ctx, members[0], ordered)
}

// compareDatabases fails if one of members differs from the first. ordered: the order of unique keys was compared.
func compareDatabases(ctx context.Context, members []*member) (ordered bool, err error) {
	first, err := readDatabase(ctx, members[0])
	ordered = first.order != nil
	for _, m := range members[1:] {
		var other database
		if err == nil {
			other, err = readDatabase(ctx, m)
		}
		if err == nil {
			ordered = ordered && other.order != nil
			err = differ(databaseDiff(members[0].name, first, m.name, other))
		}
	}
	return ordered, err
}

// differ is the error for what differs, or nil for nothing.
func differ(diff []string) error {
	if len(diff) == 0 {
		return nil
	}
	return fmt.Errorf("%w: %s", ErrSchema, strings.Join(diff, "; "))
}

// schemaDiff names, up to ten, what one replica has and the other has not.
func schemaDiff(aName string, a map[string][]string, bName string, b map[string][]string) []string {
	var diff []string
	lacks := func(who, table string, have, has []string) {
		for _, line := range have {
			if !slices.Contains(has, line) {
				diff = append(diff, fmt.Sprintf("%s has no %s.%s", who, table, line))
			}
		}
	}
	for _, n := range sortedNames(a, b) {
		switch {
		case a[n] == nil:
			diff = append(diff, fmt.Sprintf("%s has no table %s", aName, n))
		case b[n] == nil:
			diff = append(diff, fmt.Sprintf("%s has no table %s", bName, n))
		default:
			lacks(bName, n, a[n], b[n])
			lacks(aName, n, b[n], a[n])
		}
	}
	sort.Strings(diff)
	if len(diff) > 10 {
		diff = append(diff[:10], fmt.Sprintf("and %d more", len(diff)-10))
	}
	return diff
}
