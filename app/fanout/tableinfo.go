package fanout

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"forge.example/account/isukit/app/fanout/internal/sqltext"
)

// tableInfo is what comparing and repairing a table needs to know of it.
type tableInfo struct {
	name     string
	columns  []columnInfo
	key      []columnInfo // of the primary key or otherwise a unique key without NULLs; empty if neither exists
	index    string       // that key's name
	triggers bool
}

type columnInfo struct {
	name      string
	dataType  string
	generated bool
}

// textTypes are the types whose values are characters: they travel as strings, in the connection's character set.
var textTypes = []string{"char", "varchar", "tinytext", "text", "mediumtext", "longtext", "enum", "set", "json", "uuid", "inet4", "inet6"}

// byteTypes are those whose values are bytes.
var byteTypes = []string{"binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob", "bit", "vector",
	"geometry", "point", "linestring", "polygon", "multipoint", "multilinestring", "multipolygon", "geometrycollection", "geomcollection"}

// digest is an SQL expression that differs when the column's value does; of long values, to stay below max_allowed_packet.
func (c columnInfo) digest() string {
	switch q := quoteName(c.name); {
	case c.dataType == "json":
		return "COALESCE(SHA2(CAST(" + q + " AS CHAR), 256), 'NULL')"
	case strings.HasSuffix(c.dataType, "blob"), strings.HasSuffix(c.dataType, "text"):
		return "COALESCE(SHA2(" + q + ", 256), 'NULL')"
	case c.dataType == "float":
		return "COALESCE(" + c.exact() + ", 'NULL')"
	case slices.Contains(textTypes, c.dataType), slices.Contains(byteTypes, c.dataType):
		return "COALESCE(HEX(" + q + "), 'NULL')"
	default:
		return "COALESCE(" + q + ", 'NULL')"
	}
}

// exact is an SQL expression with the column's stored value under any settings: a FLOAT with all digits, and times as text.
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

// listed are columns, each as f says.
func listed(columns []columnInfo, f func(columnInfo) string) string {
	list := make([]string, len(columns))
	for i, c := range columns {
		list[i] = f(c)
	}
	return strings.Join(list, ", ")
}

// exacts are the values of columns for a SELECT.
func exacts(columns []columnInfo) string { return listed(columns, columnInfo.exact) }

// hash is an SQL expression for 64 bits of a digest of the row. MySQL 9 has no MD5 or SHA1 any more.
func (t *tableInfo) hash() string {
	return "CAST(CONV(LEFT(SHA2(CONCAT_WS('#', " + listed(t.columns, columnInfo.digest) + "), 256), 16), 16, 10) AS UNSIGNED)"
}

func quoteName(name string) string { return "`" + strings.ReplaceAll(name, "`", "``") + "`" }

func names(columns []columnInfo) string {
	return listed(columns, func(c columnInfo) string { return quoteName(c.name) })
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
	schema := &sqltext.Schema{}
	if err := readSchema(ctx, m, schema); err != nil {
		return nil, err
	}
	var list []*tableInfo
	for _, n := range only {
		if schema.Tables[strings.ToLower(n)] == nil {
			return nil, fmt.Errorf("replica %s has no table %s", m.name, n)
		}
	}
	for _, t := range schema.Tables {
		if !t.Versioned && (len(only) == 0 || slices.ContainsFunc(only, func(n string) bool { return strings.EqualFold(n, t.Name) })) {
			list = append(list, infoOf(t))
		}
	}
	slices.SortFunc(list, func(a, b *tableInfo) int { return strings.Compare(a.name, b.name) })
	return list, nil
}

func infoOf(t *sqltext.Table) *tableInfo {
	info := &tableInfo{name: t.Name, triggers: len(t.Triggers) > 0}
	column := func(c *sqltext.Column) columnInfo { return columnInfo{c.Name, c.Type, c.Generated} }
	for i := range t.Columns {
		info.columns = append(info.columns, column(&t.Columns[i]))
	}
	if key := t.Primary(); key != nil {
		info.index = key.Name
		for _, name := range key.Columns {
			info.key = append(info.key, column(t.Column(name)))
		}
	}
	return info
}

// value turns what the driver read from the column into what it must be given to mean the same.
func (c columnInfo) value(v any) any {
	if b, ok := v.([]byte); ok && !slices.Contains(byteTypes, c.dataType) {
		return string(b)
	}
	return v
}
