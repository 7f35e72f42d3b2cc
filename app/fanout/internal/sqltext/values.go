package sqltext

import (
	"database/sql/driver"
	"slices"
	"strconv"
)

// Made are the columns whose defaults are to be computed for st (SendMade).
func (st *Statement) Made(s *Schema) []Column { return st.with(s).madeOmitted() }

// Place is where the rows of an INSERT have a column, or -1.
func (st *Statement) Place(s *Schema, column string) int { return st.with(s).place(column) }

// Meets are the unique keys by which the rows of an upsert may meet others.
func (st *Statement) Meets(s *Schema) []Key { return st.with(s).meets() }

func (c *judge) place(column string) int {
	if c.f.Columns != nil || c.t == nil {
		return slices.Index(c.f.Columns, column)
	}
	i := 0
	for _, col := range c.t.Columns {
		if col.Name == column && !col.Invisible {
			return i
		}
		if !col.Invisible {
			i++
		}
	}
	return -1
}

func (st *Statement) with(s *Schema) *judge {
	return &judge{Statement: st, s: s, f: &st.Form, t: s.Tables[st.Form.Table]}
}

// IDs is which rows of an INSERT have an id of their own. A row whose id is NULL or zero has none: then the server numbers it.
type IDs uint8

// Which rows have one.
const (
	NoIDs IDs = iota
	AllIDs
	SomeIDs
	DoubtfulIDs // a value may become zero on its way into the column
)

// GivenIDs is which rows have an id, with these arguments and LAST_INSERT_ID(). Rows of a query are asked about (AskIDs).
func (st *Statement) GivenIDs(s *Schema, args []driver.NamedValue, lastID int64) IDs {
	c := st.with(s)
	i := c.autoIndex()
	if i < 0 {
		return NoIDs
	}
	var seen [DoubtfulIDs + 1]bool
	for _, row := range st.Form.Rows {
		seen[c.rowID(row, i, args, lastID)] = true
	}
	switch {
	case seen[DoubtfulIDs]:
		return DoubtfulIDs
	case seen[NoIDs] && seen[AllIDs]:
		return SomeIDs
	case seen[NoIDs]:
		return NoIDs
	}
	return AllIDs
}

// rowID: a row has an id at i.
func (c *judge) rowID(row []Value, i int, args []driver.NamedValue, lastID int64) IDs {
	if i >= len(row) {
		return NoIDs
	}
	var v any
	switch row[i].Kind {
	case Number:
		return AllIDs
	case LastID:
		v = lastID
	case Arg:
		if row[i].Arg >= len(args) {
			return DoubtfulIDs
		}
		v = args[row[i].Arg].Value
	}
	switch text := v.(type) {
	case string:
		v = asInt(text)
	case []byte:
		v = asInt(string(text))
	}
	switch n := v.(type) {
	case nil:
		return NoIDs
	case int64:
		switch {
		case n < 0 && c.t.Column(c.t.Auto).Unsigned: // zero, if a setting makes the server take it
			return DoubtfulIDs
		case n == 0:
			return NoIDs
		}
		return AllIDs
	case uint64:
		return IDs(min(n, uint64(AllIDs)))
	}
	return DoubtfulIDs
}

// asInt is the whole number that a text is, or the text.
func asInt(s string) any {
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		return n
	}
	if n, err := strconv.ParseUint(s, 10, 64); err == nil {
		return n
	}
	return s
}

// Queries reports whether a write reads rows by a query of its own.
func (st *Statement) Queries() bool { return st.all.queries > 0 }

// Locking reports whether the query of an INSERT ... SELECT can be made to lock what it reads by a clause at its end.
func (st *Statement) Locking() bool {
	return st.query.queries == 1 && !st.query.merged || st.query.skips
}

// LockTail is that clause.
func (st *Statement) LockTail() string {
	toks, _ := tokens(st.text)
	from, to := tokensOf(toks, st.Form.Query)
	for i := from; i < to; i++ {
		if locks(toks[i:]) {
			return ""
		}
	}
	return " LOCK IN SHARE MODE"
}
