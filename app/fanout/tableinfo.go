package fanout

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// tableInfo is what comparing and mending a table needs to know of it.
type tableInfo struct {
	name     string
	columns  []columnInfo
	key      []columnInfo // of the primary key or else a unique key without NULLs; empty when there is none
	index    string       // that key's name
	triggers bool
}

type columnInfo struct {
	name      string
	dataType  string
	generated bool
	nullable  bool
}

// text reports whether values of the column are characters: they travel as strings, in the connection's character set.
func (c columnInfo) text() bool {
	switch c.dataType {
	case "char", "varchar", "tinytext", "text", "mediumtext", "longtext", "enum", "set", "json", "uuid", "inet4", "inet6":
		return true
	}
	return false
}

// bytes reports whether values of the column are bytes.
func (c columnInfo) bytes() bool {
	switch c.dataType {
	case "binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob", "bit", "vector",
		"geometry", "point", "linestring", "polygon", "multipoint", "multilinestring", "multipolygon", "geometrycollection", "geomcollection":
		return true
	}
	return false
}

// digest is an SQL expression whose text differs when the column's value does. Long values go by a digest of their own: the text of a row
// must stay below max_allowed_packet.
func (c columnInfo) digest() string {
	switch q := quoteName(c.name); {
	case c.dataType == "json":
		return "COALESCE(SHA2(CAST(" + q + " AS CHAR), 256), 'NULL')"
	case strings.HasSuffix(c.dataType, "blob"), strings.HasSuffix(c.dataType, "text"):
		return "COALESCE(SHA2(" + q + ", 256), 'NULL')"
	case c.dataType == "float":
		return "COALESCE(" + c.exact() + ", 'NULL')"
	case c.text() || c.bytes():
		return "COALESCE(HEX(" + q + "), 'NULL')"
	default:
		return "COALESCE(" + q + ", 'NULL')"
	}
}

// exact is an SQL expression that gives the column's value as it is stored, whatever the connection makes of such values: a FLOAT with all its
// digits, and times as text.
func (c columnInfo) exact() string {
	switch q := quoteName(c.name); c.dataType {
	case "float":
		return "(" + q + " + 0e0)"
	case "timestamp", "datetime", "date":
		return "CAST(" + q + " AS CHAR)"
	default:
		return q
	}
}

// exacts are the values of columns for a SELECT.
func exacts(columns []columnInfo) string {
	list := make([]string, len(columns))
	for i, c := range columns {
		list[i] = c.exact()
	}
	return strings.Join(list, ", ")
}

// hash is an SQL expression for 64 bits of a digest of the row. MySQL 9 has no MD5 or SHA1 any more.
func (t *tableInfo) hash() string {
	parts := make([]string, len(t.columns))
	for i, c := range t.columns {
		parts[i] = c.digest()
	}
	return "CAST(CONV(LEFT(SHA2(CONCAT_WS('#', " + strings.Join(parts, ", ") + "), 256), 16), 16, 10) AS UNSIGNED)"
}

func quoteName(name string) string { return "`" + strings.ReplaceAll(name, "`", "``") + "`" }

func names(columns []columnInfo) string {
	list := make([]string, len(columns))
	for i, c := range columns {
		list[i] = quoteName(c.name)
	}
	return strings.Join(list, ", ")
}

// stored are the columns that an INSERT may name.
func (t *tableInfo) stored() []columnInfo {
	return slices.DeleteFunc(slices.Clone(t.columns), func(c columnInfo) bool { return c.generated })
}

// from is the table in a FROM clause, read in the order of its key.
func (t *tableInfo) from() string {
	s := quoteName(t.name)
	if len(t.key) > 0 {
		s += " FORCE INDEX (" + quoteName(t.index) + ")"
	}
	return s
}

// readTables lists the app's tables on m, or those of only when that is not empty.
func readTables(ctx context.Context, m *member, only []string) ([]*tableInfo, error) {
	byName, err := readColumns(ctx, m)
	if err != nil {
		return nil, err
	}
	if err := readKeys(ctx, m, byName); err != nil {
		return nil, err
	}
	if err := readTriggers(ctx, m, byName); err != nil {
		return nil, err
	}
	var list []*tableInfo
	for _, t := range byName {
		if len(only) == 0 || slices.ContainsFunc(only, func(n string) bool { return strings.EqualFold(n, t.name) }) {
			list = append(list, t)
		}
	}
	for _, n := range only {
		if !slices.ContainsFunc(list, func(t *tableInfo) bool { return strings.EqualFold(n, t.name) }) {
			return nil, fmt.Errorf("replica %s has no table %s", m.name, n)
		}
	}
	slices.SortFunc(list, func(a, b *tableInfo) int { return strings.Compare(a.name, b.name) })
	return list, nil
}

func readColumns(ctx context.Context, m *member) (map[string]*tableInfo, error) {
	rows, err := m.admin.QueryContext(ctx, `SELECT c.table_name, c.column_name, LOWER(c.data_type), COALESCE(c.generation_expression, '') <> '', c.is_nullable = 'YES'
		FROM information_schema.columns c JOIN information_schema.tables t USING (table_schema, table_name)
		WHERE c.table_schema = DATABASE() AND t.table_type = 'BASE TABLE' ORDER BY c.table_name, c.ordinal_position`)
	if err != nil {
		return nil, fmt.Errorf("replica %s: list columns: %w", m.name, err)
	}
	defer rows.Close()
	byName := map[string]*tableInfo{}
	for rows.Next() {
		var table string
		var c columnInfo
		if err := rows.Scan(&table, &c.name, &c.dataType, &c.generated, &c.nullable); err != nil {
			return nil, err
		}
		if strings.HasPrefix(strings.ToLower(table), ownPrefix) {
			continue
		}
		if byName[table] == nil {
			byName[table] = &tableInfo{name: table}
		}
		byName[table].columns = append(byName[table].columns, c)
	}
	return byName, rows.Err()
}

// readKeys finds for each table the key that names its rows.
func readKeys(ctx context.Context, m *member, byName map[string]*tableInfo) error {
	rows, err := m.admin.QueryContext(ctx, `SELECT table_name, index_name, COALESCE(column_name, ''), sub_part IS NOT NULL
		FROM information_schema.statistics WHERE table_schema = DATABASE() AND non_unique = 0
		ORDER BY table_name, index_name <> 'PRIMARY', index_name, seq_in_index`)
	if err != nil {
		return fmt.Errorf("replica %s: list keys: %w", m.name, err)
	}
	defer rows.Close()
	unfit := map[string]bool{}
	for rows.Next() {
		var table, index, column string
		var prefix bool
		if err := rows.Scan(&table, &index, &column, &prefix); err != nil {
			return err
		}
		t := byName[table]
		if t == nil || unfit[table+"/"+index] || t.index != "" && t.index != index {
			continue
		}
		i := slices.IndexFunc(t.columns, func(c columnInfo) bool { return c.name == column })
		if i < 0 || prefix || t.columns[i].nullable {
			unfit[table+"/"+index] = true
			t.key, t.index = nil, ""
			continue
		}
		t.key, t.index = append(t.key, t.columns[i]), index
	}
	return rows.Err()
}

func readTriggers(ctx context.Context, m *member, byName map[string]*tableInfo) error {
	rows, err := m.admin.QueryContext(ctx, "SELECT event_object_table FROM information_schema.triggers WHERE trigger_schema = DATABASE()")
	if err != nil {
		return fmt.Errorf("replica %s: list triggers: %w", m.name, err)
	}
	defer rows.Close()
	for rows.Next() {
		var table string
		if err := rows.Scan(&table); err != nil {
			return err
		}
		if t := byName[table]; t != nil {
			t.triggers = true
		}
	}
	return rows.Err()
}

// value turns what the driver read from the column into what it must be given to mean the same.
func (c columnInfo) value(v any) any {
	b, ok := v.([]byte)
	if !ok || c.bytes() {
		return v
	}
	return string(b)
}
