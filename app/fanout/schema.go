package fanout

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sort"
	"strings"
)

const columnsQuery = `SELECT c.table_name, c.column_name, c.ordinal_position, c.column_type, c.is_nullable,
	COALESCE(c.column_default, '-'), c.extra, COALESCE(c.collation_name, '-'), COALESCE(c.generation_expression, '')
	FROM information_schema.columns c JOIN information_schema.tables t USING (table_schema, table_name)
	WHERE c.table_schema = DATABASE() AND t.table_type = 'BASE TABLE' ORDER BY c.table_name, c.ordinal_position`

const indexQuery = `SELECT table_name, index_name, seq_in_index, COALESCE(column_name, '-'), non_unique, COALESCE(sub_part, 0)
	FROM information_schema.statistics WHERE table_schema = DATABASE() ORDER BY table_name, index_name, seq_in_index`

const triggerQuery = `SELECT event_object_table, trigger_name, action_timing, event_manipulation, action_statement, action_order, sql_mode, character_set_client, collation_connection
	FROM information_schema.triggers WHERE trigger_schema = DATABASE() ORDER BY event_object_table, trigger_name`

const foreignQuery = `SELECT table_name, constraint_name, column_name, COALESCE(referenced_table_name, '-'), COALESCE(referenced_column_name, '-')
	FROM information_schema.key_column_usage WHERE table_schema = DATABASE() AND referenced_table_name IS NOT NULL
	ORDER BY table_name, constraint_name, ordinal_position`

// describe returns what m's database consists of, a line a column, index part, trigger or foreign key, by table.
func describe(ctx context.Context, m *member) (map[string][]string, error) {
	out := map[string][]string{}
	for _, q := range []struct{ kind, text string }{
		{"column", columnsQuery}, {"index", indexQuery}, {"trigger", triggerQuery}, {"foreign key", foreignQuery},
	} {
		rows, err := m.admin.QueryContext(ctx, q.text)
		if err != nil {
			return nil, fmt.Errorf("replica %s: read the schema: %w", m.name, err)
		}
		columns, err := rows.Columns()
		if err != nil {
			return nil, errors.Join(err, rows.Close())
		}
		cells := make([]string, len(columns))
		into := make([]any, len(columns))
		for i := range cells {
			into[i] = &cells[i]
		}
		for rows.Next() {
			if err := rows.Scan(into...); err != nil {
				return nil, errors.Join(err, rows.Close())
			}
			name := strings.ToLower(cells[0])
			if !strings.HasPrefix(name, ownPrefix) {
				out[name] = append(out[name], q.kind+" "+strings.Join(cells[1:], " "))
			}
		}
		if err := errors.Join(rows.Err(), rows.Close()); err != nil {
			return nil, fmt.Errorf("replica %s: read the schema: %w", m.name, err)
		}
	}
	return out, define(ctx, m, out)
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
	first, err := readDatabase(ctx, members[0])
	if err != nil {
		return err
	}
	ordered := first.order != nil
	for _, m := range members[1:] {
		other, err := readDatabase(ctx, m)
		if err != nil {
			return err
		}
		ordered = ordered && other.order != nil
		if diff := databaseDiff(members[0].name, first, m.name, other); len(diff) > 0 {
			return fmt.Errorf("%w: %s", ErrSchema, strings.Join(diff, "; "))
		}
	}
	return p.learnSchema(ctx, members[0], ordered)
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
