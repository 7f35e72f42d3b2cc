package fanout

import (
	"context"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

var schemaProperties = []Property{
	{kindSchema, "columns", "type, order, default, generated expression, collation, and whether NULL is allowed: SHOW CREATE TABLE", false},
	{kindSchema, "keys", "which rows a statement locks, and which key an upsert meets first: SHOW CREATE TABLE, and for the order in which unique keys were made, which it hides, " +
		"InnoDB's own list, where the account has the right PROCESS", false},
	{kindSchema, "foreign keys, checks, partitions, table options", "rows that are refused, changed along or placed elsewhere: SHOW CREATE TABLE", false},
	{kindSchema, "triggers", "what they do, their order, and the sql_mode and collation that they run with", false},
	{kindSchema, "views, routines, events", "what a statement that names them reads or does", false},
	{kindSchema, "order of the replicas", "which one executes first: it is the same for all processes of the app", false},
}

// otherQuery lists what a database has in addition to tables: kind and name, then the digest of the definition.
const otherQuery = `SELECT CONCAT('view ', table_name), CONCAT_WS(' ', REPLACE(view_definition, CONCAT(QUOTE_NAME, table_schema, QUOTE_NAME, '.'), ''), check_option, is_updatable, security_type, character_set_client, collation_connection)
		FROM information_schema.views WHERE table_schema = DATABASE()
	UNION ALL SELECT CONCAT(LOWER(routine_type), ' ', routine_name), CONCAT_WS(' ', routine_definition, dtd_identifier, is_deterministic, sql_data_access, sql_mode, security_type, character_set_client, collation_connection)
		FROM information_schema.routines WHERE routine_schema = DATABASE()
	UNION ALL SELECT CONCAT('event ', event_name), CONCAT_WS(' ', event_definition, event_type, execute_at, interval_value, interval_field, status, sql_mode, time_zone)
		FROM information_schema.events WHERE event_schema = DATABASE()`

// describeOthers returns views, routines and events of m's database by kind and name.
func describeOthers(ctx context.Context, m *member) (map[string][]string, error) {
	rows, err := m.list(ctx, strings.ReplaceAll(otherQuery, "QUOTE_NAME", "'`'"))
	out := map[string][]string{}
	for _, row := range rows {
		out[row[0]] = append(out[row[0]], row[1])
	}
	return out, err
}

var (
	counter   = regexp.MustCompile(` AUTO_INCREMENT=\d+`)
	uniqueKey = regexp.MustCompile("^UNIQUE KEY `((?:[^`]|``)*)`")
	comment   = regexp.MustCompile(` COMMENT ?=? ?'(?:[^'\\]|''|\\.)*'`) // which changes no statement's effect
	column    = regexp.MustCompile("^`((?:[^`]|``)*)`")
)

// defined are the lines of a CREATE TABLE statement, and the order of the columns and unique keys as the server shows it.
func defined(create string) (lines []string) {
	var unique, columns []string
	for _, line := range strings.Split(create, "\n")[1:] {
		line = comment.ReplaceAllString(counter.ReplaceAllString(strings.TrimSuffix(strings.TrimSpace(line), ","), ""), "")
		if key := uniqueKey.FindStringSubmatch(line); key != nil {
			unique = append(unique, key[1])
		} else if c := column.FindStringSubmatch(line); c != nil {
			columns = append(columns, c[1])
		}
		lines = append(lines, line)
	}
	lines = append(lines, "columns in the order "+strings.Join(columns, ", "))
	if len(unique) > 1 {
		lines = append(lines, "unique keys in the order "+strings.Join(unique, ", "))
	}
	return lines
}

// innoQueries list every index of a table in the order in which InnoDB goes through them, on MySQL and on MariaDB.
var innoQueries = []string{
	"SELECT t.name, i.name FROM information_schema.innodb_indexes i JOIN information_schema.innodb_tables t USING (table_id) WHERE t.name LIKE CONCAT(DATABASE(), '/%') ORDER BY t.name, i.index_id",
	"SELECT t.name, i.name FROM information_schema.innodb_sys_indexes i JOIN information_schema.innodb_sys_tables t USING (table_id) WHERE t.name LIKE CONCAT(DATABASE(), '/%') ORDER BY t.name, i.index_id",
}

// innoOrder returns, for tables with several unique keys, a line that says in which order InnoDB tries them; nil without the right PROCESS.
func innoOrder(ctx context.Context, m *member, tables map[string][]string) (map[string][]string, error) {
	for _, q := range innoQueries {
		order, err := readOrder(ctx, m, q, tables)
		if outcomeOf(err) == answered { // the other engine, or no right to it
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("replica %s: read the order of unique keys: %w", m.name, err)
		}
		return order, nil
	}
	return nil, nil
}

func readOrder(ctx context.Context, m *member, query string, tables map[string][]string) (map[string][]string, error) {
	rows, err := m.list(ctx, query)
	if err != nil {
		return nil, err
	}
	order := map[string][]string{}
	for _, row := range rows {
		_, name, _ := strings.Cut(row[0], "/")
		if part := strings.Index(strings.ToLower(name), "#p#"); part >= 0 {
			name = name[:part]
		}
		unique := func(line string) bool { return strings.HasPrefix(line, "UNIQUE KEY "+quoteName(row[1])+" ") }
		if index := row[1]; slices.ContainsFunc(tables[name], unique) && !slices.Contains(order[name], index) {
			order[name] = append(order[name], index)
		}
	}
	for name, keys := range order {
		if len(keys) < 2 {
			delete(order, name)
			continue
		}
		order[name] = []string{"unique keys made in the order " + strings.Join(keys, ", ")}
	}
	return order, nil
}

// database is what compareSchemas knows of one replica.
type database struct {
	tables map[string][]string
	others map[string][]string
	order  map[string][]string // of unique keys; nil where it can't be read
}

func readDatabase(ctx context.Context, m *member) (d database, err error) {
	if d.tables, err = describe(ctx, m); err != nil {
		return d, err
	}
	if d.others, err = describeOthers(ctx, m); err != nil {
		return d, err
	}
	d.order, err = innoOrder(ctx, m, d.tables)
	return d, err
}

// databaseDiff names what one replica has and the other has not.
func databaseDiff(aName string, a database, bName string, b database) []string {
	diff := schemaDiff(aName, a.tables, bName, b.tables)
	for _, name := range sortedNames(a.others, b.others) {
		if !slices.Equal(a.others[name], b.others[name]) {
			diff = append(diff, fmt.Sprintf("%s is not the same on %s and on %s", name, aName, bName))
		}
	}
	if a.order == nil || b.order == nil {
		return diff
	}
	for _, name := range sortedNames(a.order, b.order) {
		if !slices.Equal(a.order[name], b.order[name]) {
			diff = append(diff, fmt.Sprintf("%s has the %s of table %s, %s has the %s, so an upsert meets another key first; rebuild the table on both: ALTER TABLE %s ENGINE=InnoDB",
				aName, strings.Join(a.order[name], ""), name, bName, strings.Join(b.order[name], ""), quoteName(name)))
		}
	}
	return diff
}

func sortedNames(a, b map[string][]string) []string {
	names := slices.AppendSeq(slices.Collect(maps.Keys(a)), maps.Keys(b))
	slices.Sort(names)
	return slices.Compact(names)
}
