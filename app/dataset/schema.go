package dataset

import (
	_ "embed"
	"regexp"
	"strings"
)

//go:embed schema.sql
var schemaSQL string

// SeedDatabase is the database of the prepared tables, next to the app's own on every replica.
const SeedDatabase = "portal_seed"

// Table is one table of schema.sql.
type Table struct {
	// Name is without a database.
	Name string
	// Columns are all columns, in the order of schema.sql.
	Columns []string
	// Create is the table's CREATE TABLE statement, for the current database.
	Create string
}

var (
	createRE = regexp.MustCompile(`(?ms)^CREATE TABLE (\w+) \((.*?)^\) ENGINE=[^;]*;`)
	columnRE = regexp.MustCompile(`(?m)^  ([a-z_]+) [A-Z]`)
)

// Tables gives the tables of schema.sql in its order.
func Tables() []Table {
	var tables []Table
	for _, m := range createRE.FindAllStringSubmatch(schemaSQL, -1) {
		t := Table{Name: m[1], Create: strings.TrimSuffix(m[0], ";")}
		for _, c := range columnRE.FindAllStringSubmatch(m[2], -1) {
			t.Columns = append(t.Columns, c[1])
		}
		tables = append(tables, t)
	}
	return tables
}

// CreateIn is the statement that makes the table in the named database.
func (t Table) CreateIn(database string) string {
	return strings.Replace(t.Create, "CREATE TABLE "+t.Name, "CREATE TABLE IF NOT EXISTS `"+database+"`."+t.Name, 1)
}
