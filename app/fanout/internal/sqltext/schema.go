package sqltext

import (
	"fmt"
	"slices"
	"strings"
)

// Schema is what the rules need to know of the tables. It never changes once it is used.
type Schema struct {
	Database string            // the database's name, lower case; empty: any
	Tables   map[string]*Table // by name in lower case
	// Ordered says that the order in which the tables' unique keys were created was compared, and is the same on all replicas.
	Ordered bool
	// MariaDB says that the servers are of that engine. After a query of a partitioned table whose range can't be, such as BETWEEN 2 AND 1, it
	// may find no rows in that table for the next statement (10.11).
	MariaDB bool
	// Swallows says that the servers are a MySQL that changes rows along foreign keys above InnoDB (innodb_native_foreign_keys=OFF) and, up to 9.7, reports
	// success where a lock was in the way of that.
	Swallows bool
	// Lenient takes tables that are not here to have nothing special; else a write to one is refused.
	Lenient bool
	// Without leaves out the rule of that name: what a test does to see that it would be missed.
	Without string
}

// Table is one table's part in what a statement does.
type Table struct {
	Name      string
	Columns   []Column
	Keys      []Key  // PRIMARY first, where there is one
	Auto      string // the AUTO_INCREMENT column, lower case
	Engine    string
	Versioned bool
	Parted    bool     // it has partitions
	Triggers  []string // their bodies
	refers    []reference
}

// reference is a foreign key by which a table's rows follow another one's.
type reference struct {
	table            string   // lower case
	columns          []string // of that table, lower case
	deletes, updates bool     // when a row is deleted; when these columns change
}

// Column is a column of a table.
type Column struct {
	Name      string // lower case
	Type      string // without length: bigint, varchar
	Kind      string // number, string, time or bytes, where values of that kind are compared as the column's own; else empty
	Nullable  bool
	Unsigned  bool
	Generated bool
	Default   string // as written; empty for NULL
	Invisible bool   // no part of an INSERT that names no columns
	Clock     bool   // its default, or ON UPDATE, reads the clock
	Made      string // the function by which each server would make another default
	MadeExpr  string // the whole default, when it is Made and needs no other column
}

// Key is an index.
type Key struct {
	Name    string
	Columns []string // lower case; one of which only a prefix is indexed is left out, and Partial is set
	Unique  bool
	Partial bool
}

// Column is the column of that name, or nil.
func (t *Table) Column(name string) *Column {
	for i := range t.Columns {
		if t.Columns[i].Name == name {
			return &t.Columns[i]
		}
	}
	return nil
}

// Total reports whether columns tell all rows apart: they have all of a unique key without NULLs.
func (t *Table) Total(columns []string) bool {
	return slices.ContainsFunc(t.Keys, func(k Key) bool { return t.strict(k) && subset(k.Columns, columns) })
}

// Names reports whether values of columns name one row at most: they have all of a unique key.
func (t *Table) Names(columns []string) bool {
	return slices.ContainsFunc(t.Keys, func(k Key) bool { return k.Unique && !k.Partial && subset(k.Columns, columns) })
}

// strict reports whether k is a key whose values each name one row.
func (t *Table) strict(k Key) bool {
	return k.Unique && !k.Partial && !slices.ContainsFunc(k.Columns, func(c string) bool { col := t.Column(c); return col == nil || col.Nullable })
}

// Primary is the key that names a row, or nil.
func (t *Table) Primary() *Key {
	for i, k := range t.Keys {
		if t.strict(k) {
			return &t.Keys[i]
		}
	}
	return nil
}

func subset(a, b []string) bool {
	return !slices.ContainsFunc(a, func(s string) bool { return !slices.Contains(b, s) })
}

// AddTable reads a CREATE TABLE statement, as a server shows it or as a person writes it.
func (s *Schema) AddTable(text string) error {
	toks, flaws := tokens(text)
	p := &former{toks: toks}
	for p.take("CREATE") || p.take("OR") || p.take("REPLACE") || p.take("TEMPORARY") {
	}
	if !p.take("TABLE") {
		return fmt.Errorf("no CREATE TABLE: %.60q", text)
	}
	for p.take("IF") || p.take("NOT") || p.take("EXISTS") {
	}
	if !p.name() || !p.at(0).is("(") || flaws.open {
		return fmt.Errorf("not understood: %.60q", text)
	}
	t := &Table{Name: p.f.Table, Engine: "INNODB"}
	end := behind(toks, p.i)
	charset := t.options(toks[end:])
	for p.step(1); p.i < end; p.step(1) {
		from := p.i
		p.until(set0)
		t.item(text, toks[from:p.i], charset)
	}
	if s.Tables == nil {
		s.Tables = map[string]*Table{}
	}
	s.Tables[t.Name] = t
	return nil
}

// options reads the text after the columns, and returns the table's character set.
func (t *Table) options(toks []token) (charset string) {
	for i, o := range toks {
		value := at(toks, i+1)
		if value.is("=") {
			value = at(toks, i+2)
		}
		switch {
		case o.is("ENGINE"):
			t.Engine = strings.ToUpper(value.text)
		case o.is("CHARSET"), o.is("SET") && at(toks, i-1).is("CHARACTER"):
			charset = strings.ToLower(value.text)
		case o.is("VERSIONING"):
			t.Versioned = true
		case o.is("PARTITION") && value.is("BY"):
			t.Parted = true
		}
	}
	return charset
}

// item reads one column, key or constraint.
func (t *Table) item(text string, toks []token, charset string) {
	if at(toks, 0).is("CONSTRAINT") {
		toks = toks[1:]
		if first := at(toks, 0); first.kind <= quoted && !(first.kind == word && itemWords[first.text]) {
			toks = toks[1:]
		}
	}
	first := at(toks, 0)
	if first.kind == word && itemWords[first.text] {
		switch first.text {
		case "PERIOD":
			t.Versioned = true
		case "FOREIGN":
			t.refers = append(t.refers, refersTo(toks))
		case "PRIMARY", "UNIQUE":
			t.key(first.text, toks)
		}
		return
	}
	if first.kind > quoted {
		return
	}
	t.column(text, toks, charset)
}

var itemWords = set("PRIMARY UNIQUE KEY INDEX FULLTEXT SPATIAL FOREIGN CHECK PERIOD VECTOR")

// refersTo reads FOREIGN KEY (columns) REFERENCES [database.]table (columns) [ON DELETE action] [ON UPDATE action].
func refersTo(toks []token) (r reference) {
	for i, t := range toks {
		switch {
		case t.is("REFERENCES"):
			if at(toks, i+2).is(".") {
				i += 2
			}
			r.table = lower(at(toks, i+1).text)
			for _, c := range toks[min(i+2, len(toks)):behind(toks, i+2)] {
				if c.kind <= quoted {
					r.columns = append(r.columns, lower(c.text))
				}
			}
		case t.is("CASCADE"), t.is("SET"):
			r.deletes = r.deletes || at(toks, i-1).is("DELETE")
			r.updates = r.updates || at(toks, i-1).is("UPDATE")
		}
	}
	return r
}

// followed reports whether rows of some table follow t's in a way of which how is true.
func (s *Schema) followed(t *Table, how func(*Table, reference) bool) bool {
	for _, other := range s.Tables {
		for _, r := range other.refers {
			if strings.EqualFold(r.table, t.Name) && how(t, r) {
				return true
			}
		}
	}
	return false
}

// key reads PRIMARY KEY or UNIQUE [KEY] [name] (columns).
func (t *Table) key(kind string, toks []token) {
	k := Key{Name: kind, Unique: true}
	i := slices.IndexFunc(toks, func(t token) bool { return t.is("(") })
	if i < 0 {
		return
	}
	if name := at(toks, i-1); name.kind == quoted || name.kind == word && name.text != "KEY" && name.text != "INDEX" && name.text != kind {
		k.Name = name.text
	}
	for j := i + 1; j < behind(toks, i)-1; j++ {
		c := toks[j]
		if c.kind > quoted || c.is("ASC") || c.is("DESC") {
			if c.is("(") { // a prefix, or an expression
				k.Partial = true
				j = behind(toks, j) - 1
			}
			continue
		}
		k.Columns = append(k.Columns, strings.ToLower(c.text))
	}
	k.Partial = k.Partial || len(k.Columns) == 0
	t.addKey(k)
}

func (t *Table) addKey(k Key) {
	for _, c := range k.Columns {
		if col := t.Column(c); col != nil && k.Name == "PRIMARY" {
			col.Nullable = false
		}
	}
	if k.Name == "PRIMARY" {
		t.Keys = append([]Key{k}, t.Keys...)
		return
	}
	t.Keys = append(t.Keys, k)
}

// column reads a column's definition.
func (t *Table) column(text string, toks []token, charset string) {
	c := Column{Name: strings.ToLower(toks[0].text), Type: strings.ToLower(at(toks, 1).text), Nullable: true}
	i := 2
	if at(toks, i).is("(") {
		i = behind(toks, i)
	}
	for ; i < len(toks); i++ {
		o, next := toks[i], at(toks, i+1)
		switch {
		case o.is("NULL") && at(toks, i-1).is("NOT"):
			c.Nullable = false
		case o.is("AUTO_INCREMENT"):
			t.Auto = c.Name
		case o.is("UNSIGNED"), o.is("ZEROFILL"):
			c.Unsigned = true
		case o.is("PRIMARY"), o.is("KEY") && !at(toks, i-1).is("UNIQUE") && !at(toks, i-1).is("PRIMARY"):
			c.Nullable = false
			defer t.addKey(Key{Name: "PRIMARY", Columns: []string{c.Name}, Unique: true})
		case o.is("UNIQUE"):
			defer t.addKey(Key{Name: c.Name, Columns: []string{c.Name}, Unique: true})
		case o.is("SET") && at(toks, i-1).is("CHARACTER"), o.is("CHARSET"):
			charset = strings.ToLower(next.text)
		case o.is("AS") && next.is("("):
			c.Generated = true
			c.made(text, toks[i+1:behind(toks, i+1)])
			i = behind(toks, i+1) - 1
		case o.is("DEFAULT"):
			end := i + 2
			for end < len(toks) && (toks[end-1].call || toks[end].is("(")) {
				end = behind(toks, end)
			}
			if next.is("(") {
				end = behind(toks, i+1)
			}
			if end == i+2 && (next.is("-") || at(toks, end).kind == literal && at(toks, end).pos == next.end) { // -1, b'1'
				end++
			}
			if last := min(end, len(toks)) - 1; last > i && !next.is("NULL") {
				c.Default = text[next.pos:toks[last].end]
			}
			c.made(text, toks[i+1:min(end, len(toks))])
			i = end - 1
		case o.is("UPDATE") && at(toks, i-1).is("ON") && next.kind == word && timeWords[next.text]:
			c.Clock = true
		case o.is("ROW") && (next.is("START") || next.is("END")):
			t.Versioned = true
		case o.is("INVISIBLE"):
			c.Invisible = true
		case o.is("CHECK") && next.is("("):
			i = behind(toks, i+1) - 1
		}
	}
	if c.Type == "serial" {
		t.Auto, c.Nullable, c.Unsigned = c.Name, false, true
		defer t.addKey(Key{Name: c.Name, Columns: []string{c.Name}, Unique: true})
	}
	c.Kind = kindOf(c.Type, charset)
	t.Columns = append(t.Columns, c)
}

// made notes what the expression of a default or of a generated column calls.
func (c *Column) made(text string, toks []token) {
	plain := true
	for i, t := range toks {
		switch {
		case t.kind == word && timeWords[t.text]:
			c.Clock = true
		case t.call && t.kind == word && unsafeFuncs[t.text] != "", t.kind == word && bareUnsafe[t.text], t.call && !steady(t.text), t.is("NEXT") && at(toks, i+1).is("VALUE"):
			c.Made = t.text
		case t.kind == quoted, t.kind == word && !t.call && !t.is("NULL") && !t.is("AS") && !t.is("USING"):
			plain = false
		}
	}
	if c.Made != "" && plain && !c.Generated && len(toks) > 0 {
		c.MadeExpr = text[toks[0].pos:toks[len(toks)-1].end]
	}
}

// kindOf says by which rules values are compared with a column's own. It leaves out strings of other character sets than
// Unicode's: what they can't hold is compared by other rules than theirs.
func kindOf(base, charset string) string {
	switch base {
	case "tinyint", "smallint", "mediumint", "int", "integer", "bigint", "serial", "bool", "boolean":
		return "number"
	case "binary", "varbinary":
		return "string"
	case "char", "varchar":
		if strings.HasPrefix(charset, "utf8") || charset == "" {
			return "string"
		}
	}
	return ""
}

// Split cuts a text at its semicolons, outside of quotes and comments. Empty parts are left out.
func Split(text string) (parts []string) {
	toks, _ := tokens(text)
	from := 0
	for i, t := range toks {
		last := i == len(toks)-1
		if !t.is(";") && !last {
			continue
		}
		end := len(text)
		if t.is(";") {
			end = t.pos
		}
		if part := strings.TrimSpace(text[from:end]); part != "" {
			parts = append(parts, part)
		}
		from = t.end
	}
	return parts
}
