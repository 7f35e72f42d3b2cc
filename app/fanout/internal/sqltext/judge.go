package sqltext

import (
	"slices"
	"strings"
)

// judged is what a Statement remembers.
type judged struct {
	schema *Schema
	v      *Verdict
}

// Judge applies the rules to st. Without a schema, tables are taken to have nothing special.
func (st *Statement) Judge(s *Schema) *Verdict {
	if j := st.judged.Load(); j != nil && j.schema == s {
		return j.v
	}
	v := st.judge(s)
	st.judged.Store(&judged{s, v})
	return v
}

func (st *Statement) judge(s *Schema) *Verdict {
	v := &Verdict{}
	if st.Kind == Refused {
		v.Outcome, v.Reason = Refuses, st.Reason
		return v
	}
	if st.Kind != Write && st.Kind != DDL {
		return v
	}
	c := &judge{Statement: st, s: s, f: &st.Form}
	c.toks, _ = tokens(st.text)
	if s == nil {
		c.s = &Schema{Lenient: true}
	}
	c.t = c.s.Tables[st.Form.Table]
	for i := range rules {
		r := &rules[i]
		if r.applies == nil || r.Name == c.s.Without {
			continue
		}
		detail, ok := r.applies(c)
		switch {
		case !ok:
		case r.Outcome == Refuses:
			v.Outcome, v.How, v.Rules, v.Unknown = Refuses, 0, []*Rule{r}, c.unknown
			v.Reason = strings.TrimPrefix(detail+" ", " ") + r.Why + "; " + r.Instead
			return v
		default:
			v.Outcome = max(v.Outcome, r.Outcome)
			v.How |= r.how
			v.Rules = append(v.Rules, r)
		}
	}
	v.Assumed, v.Far = c.assumed(), c.farTables()
	return v
}

// judge is a statement before the rules.
type judge struct {
	*Statement
	toks    []token
	f       *Form
	s       *Schema
	t       *Table // the one that it changes; nil when several, or not known
	unknown string
}

// assumed are the tables that a Lenient schema lacks.
func (c *judge) assumed() (list []string) {
	for _, name := range c.Tables {
		if c.Kind == Write && c.s.Tables[name] == nil {
			list = append(list, name)
		}
	}
	return list
}

// farTables are the tables of other databases, as written.
func (c *judge) farTables() (list []string) {
	for _, f := range c.far {
		if c.write() && c.s.Database != "" && f.database != c.s.Database && !slices.Contains(c.Tables, f.database) {
			list = append(list, c.text[f.pos:f.end])
		}
	}
	return list
}

// tables are those that the statement names and the schema has.
func (c *judge) tables() (list []*Table) {
	for _, name := range c.Tables {
		if t := c.s.Tables[name]; t != nil {
			list = append(list, t)
		}
	}
	return list
}

// changes are the tables that the statement may change.
func (c *judge) changes() []*Table {
	if c.t != nil {
		return []*Table{c.t}
	}
	return c.tables()
}

func (c *judge) write() bool { return c.Kind == Write }

// sends reports whether the query of an INSERT ... SELECT runs on the first replica alone, so that what it holds does no harm.
func (c *judge) sends() bool {
	return !c.f.Query.Empty() && c.s.Without != "insert select" && c.needsSending()
}

// needsSending reports whether the result of an INSERT ... SELECT depends on more than the rows that it reads.
func (c *judge) needsSending() bool {
	m := &c.query
	if m.defaults || m.unsafe != "" || m.unknown != "" || m.sysvar != "" || m.sequenced || m.skips || m.limits > 0 || m.ordered != "" || m.bareGroup || m.merged || m.extreme {
		return true
	}
	if c.f.Ignore || c.f.Upsert || c.f.Verb == "REPLACE" {
		return true
	}
	return c.floatSum(m) || c.generates() || len(c.madeOmitted()) > 0 || c.t == nil || c.parted()
}

// parted reports whether a table has partitions, and the engine may miss its rows.
func (c *judge) parted() bool {
	return c.s.MariaDB && slices.ContainsFunc(c.tables(), func(t *Table) bool { return t.Parted })
}

// generates reports whether rows that the statement inserts may be given ids by the server.
func (c *judge) generates() bool {
	if !c.Inserts() {
		return false
	}
	if c.t == nil {
		return true
	}
	return c.t.Auto != "" && (c.f.Columns != nil && !slices.Contains(c.f.Columns, c.t.Auto) || !c.explicitIDs())
}

// explicitIDs reports whether the text itself gives every row its id. An argument might be NULL.
func (c *judge) explicitIDs() bool {
	i := c.autoIndex()
	if i < 0 {
		return false
	}
	if c.f.Rows == nil {
		return true // unless the query gives NULL or zero: AskIDs
	}
	for _, row := range c.f.Rows {
		if i >= len(row) || row[i].Kind != Number {
			return false
		}
	}
	return true
}

// mayGiveIDs reports whether the values of arguments may give each row an id.
func (c *judge) mayGiveIDs() bool {
	i := c.autoIndex()
	return i >= 0 && !slices.ContainsFunc(c.f.Rows, func(row []Value) bool { return i >= len(row) || row[i].Kind != Arg && row[i].Kind != Number })
}

// upsertsID reports whether ON DUPLICATE KEY UPDATE sets the id of the row that it met to another than that row's, or reads
// the id that the new row would have got, where a server generates that.
func (c *judge) upsertsID() bool {
	if !c.f.Upsert || c.t == nil || !c.generates() {
		return false
	}
	if c.f.Fresh == anyName && c.autoIndex() >= 0 {
		return true
	}
	from, to := tokensOf(c.toks, c.f.Sets)
	isID := func(t token) bool { return t.kind <= quoted && lower(t.text) == c.t.Auto }
	for i := from; i < to; i++ {
		start := i
		for at(c.toks, start-1).is(".") {
			start -= 2
		}
		opens, caller := at(c.toks, start-1), at(c.toks, start-2)
		if isID(c.toks[i]) && (start < i && lower(at(c.toks, i-2).text) == c.f.Fresh || opens.is("(") && (caller.is("VALUES") || caller.is("VALUE"))) {
			return true
		}
	}
	return slices.ContainsFunc(items(c.toks[from:to], nil), func(set []token) bool {
		set = unqualified(set)
		if !isID(set[0]) {
			return false
		}
		value := set[2:]
		if at(value, 0).is("LAST_INSERT_ID") && len(value) > 3 {
			value = value[2 : len(value)-1]
		}
		value = unqualified(value)
		return len(value) != 1 || !isID(value[0])
	})
}

// unqualified leaves out the table's name before a column's.
func unqualified(toks []token) []token {
	for at(toks, 1).is(".") && len(toks) > 2 {
		toks = toks[2:]
	}
	return toks
}

// autoIndex is where the rows of an INSERT have the numbered column, or -1.
func (c *judge) autoIndex() int {
	if c.t == nil || c.t.Auto == "" {
		return -1
	}
	return c.place(c.t.Auto)
}

// madeOmitted are the columns with defaults that each server would compute alone, and for which an INSERT gives no value.
func (c *judge) madeOmitted() (list []Column) {
	if c.t == nil || !c.Inserts() {
		return nil
	}
	for _, col := range c.t.Columns {
		if col.Made == "" || col.Generated {
			continue
		}
		if at := c.place(col.Name); at < 0 || c.defaulted(at) {
			list = append(list, col)
		}
	}
	return list
}

// defaulted reports whether some row has DEFAULT, or nothing, at a place.
func (c *judge) defaulted(i int) bool {
	return slices.ContainsFunc(c.f.Rows, func(row []Value) bool {
		return i >= len(row) || row[i].IsDefault(c.text)
	})
}

// floatSum reports whether a sum may be of floating-point numbers.
func (c *judge) floatSum(m *marks) bool {
	return m.sums && (c.Kind == DDL || len(c.farTables()) > 0 || slices.ContainsFunc(c.tables(), func(t *Table) bool {
		return slices.ContainsFunc(t.Columns, func(col Column) bool { return col.Type == "float" || col.Type == "double" || col.Type == "real" })
	}))
}

// stringExtreme reports whether MIN or MAX may be of strings, of which the servers show any among those that compare equal.
func (c *judge) stringExtreme(m *marks) bool {
	return len(m.extremes) > 0 && len(c.farTables()) > 0 || slices.ContainsFunc(m.extremes, func(name string) bool {
		if name == "" {
			return len(c.tables()) > 0
		}
		return slices.ContainsFunc(c.tables(), func(t *Table) bool {
			col := t.Column(name)
			return col != nil && textTypes[col.Type]
		})
	})
}

var textTypes = set("char varchar tinytext text mediumtext longtext enum set json")

// picks reports whether WHERE names one row by a unique key, if its values have the key's own kind.
func (c *judge) picks() bool {
	if c.t == nil || len(c.Equals) == 0 {
		return c.t == nil && len(c.Equals) > 0 && c.s.Lenient
	}
	var named []string
	for _, e := range c.Equals {
		named = append(named, e.Column)
	}
	return c.t.Names(named)
}

// total reports whether ORDER BY leaves one order only.
func (c *judge) total() bool {
	if c.t == nil {
		return c.s.Lenient && len(c.f.OrderBy) > 0
	}
	return c.t.Total(c.f.OrderBy)
}

// changesKey reports whether an UPDATE sets a column of a unique key: whether it meets another row depends on the order then.
func (c *judge) changesKey() bool {
	t, sets := c.t, c.f.Updates
	if t == nil {
		t, sets, _ = c.join()
	}
	return c.f.Verb == "UPDATE" && t != nil && slices.ContainsFunc(t.Keys, func(k Key) bool { return k.Unique && meet(k.Columns, sets) })
}

// moves reports whether rows that follow t's by r may change with the statement.
func (c *judge) moves(t *Table, r reference) bool {
	computed := slices.ContainsFunc(t.Columns, func(col Column) bool { return col.Generated && slices.Contains(r.columns, col.Name) })
	return r.deletes && (c.f.Verb == "DELETE" || c.f.Verb == "REPLACE") || r.updates && (c.f.Verb == "UPDATE" || c.f.Upsert) && (c.t == nil || computed || meet(r.columns, c.f.Updates))
}

func meet(a, b []string) bool {
	return slices.ContainsFunc(a, func(s string) bool { return slices.Contains(b, s) })
}

// meets are the unique keys by which an upsert's row may meet another one: those that it has values for. The primary key comes first.
func (c *judge) meets() (keys []Key) {
	if c.t == nil || !c.f.Upsert {
		return nil
	}
	for _, k := range c.t.Keys {
		given := func(col string) bool {
			if c.f.Columns != nil && !slices.Contains(c.f.Columns, col) {
				column := c.t.Column(col)
				return column != nil && col != c.t.Auto && (!column.Nullable || column.Generated || column.Default != "")
			}
			return col != c.t.Auto || c.autoIndex() >= 0
		}
		if k.Unique && (k.Partial && len(k.Columns) == 0 || !slices.ContainsFunc(k.Columns, func(col string) bool { return !given(col) })) {
			keys = append(keys, k)
		}
	}
	return keys
}

// holdable reports whether a query can name the rows that an upsert's rows would meet by these keys: each has plain values for them.
func (c *judge) holdable(keys []Key) bool {
	return !slices.ContainsFunc(keys, func(k Key) bool {
		return k.Partial || slices.ContainsFunc(k.Columns, func(name string) bool {
			at, column := c.place(name), c.t.Column(name)
			return column == nil || column.Generated || column.Clock && (at < 0 || c.defaulted(at)) || slices.ContainsFunc(c.f.Rows, func(row []Value) bool {
				return at >= 0 && at < len(row) && (row[at].Kind == Expr || row[at].Kind == LastID)
			})
		})
	})
}

// outside are the marks of what every replica executes: without the query whose rows are sent.
func (c *judge) outside() *marks {
	if c.sends() {
		return &c.rest
	}
	return &c.all
}

// any names the first of the statement's tables of which f is true.
func (c *judge) any(f func(*Table) bool) (string, bool) {
	if !c.write() {
		return "", false
	}
	for _, t := range c.tables() {
		if f(t) {
			return t.Name, true
		}
	}
	return "", false
}

// numbersRows reports whether an ALTER TABLE gives a column AUTO_INCREMENT, other than the table's next number.
func (c *judge) numbersRows() bool {
	for i, t := range c.toks {
		if t.is("AUTO_INCREMENT") && !at(c.toks, i+1).is("=") && at(c.toks, i+1).kind != literal || t.is("AUTO_INCREMENT") && i+1 == len(c.toks) {
			table := c.s.Tables[first(c.Tables)]
			return table == nil || table.Auto == ""
		}
	}
	return false
}
