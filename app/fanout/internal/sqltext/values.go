package sqltext

import (
	"database/sql/driver"
	"strings"
)

// Made are the columns whose defaults are to be computed for st (SendMade).
func (st *Statement) Made(s *Schema) []Column { return st.with(s).madeOmitted() }

// Place is where the rows of an INSERT have a column, or -1.
func (st *Statement) Place(s *Schema, column string) int {
	c := st.with(s)
	if c.f.Columns == nil && c.t != nil {
		for i, col := range c.t.Columns {
			if col.Name == column {
				return i
			}
		}
	}
	for i, name := range c.f.Columns {
		if name == column {
			return i
		}
	}
	return -1
}

func (st *Statement) with(s *Schema) *judge {
	return &judge{Statement: st, s: s, f: &st.Form, t: s.Tables[st.Form.Table]}
}

// GivenIDs reports whether an INSERT gives rows ids by itself, with these arguments: some of them, and all.
func (st *Statement) GivenIDs(s *Schema, args []driver.NamedValue) (some, all bool) {
	i := st.with(s).autoIndex()
	if i < 0 {
		return false, false
	}
	if st.Form.Rows == nil {
		return true, true
	}
	all = true
	for _, row := range st.Form.Rows {
		given := i < len(row) && (row[i].Kind == Number || row[i].Kind == LastID || row[i].Kind == Arg && isID(args, row[i].Span.Arg))
		some, all = some || given, all && given
	}
	return some, all
}

// Queries reports whether a write reads rows by a query of its own.
func (st *Statement) Queries() bool { return st.all.queries > 0 }

// isID reports whether an argument is an id: not NULL and not zero, for which the server numbers the row.
func isID(args []driver.NamedValue, i int) bool {
	if i >= len(args) {
		return false
	}
	switch v := args[i].Value.(type) {
	case nil:
		return false
	case int64:
		return v != 0
	case uint64:
		return v != 0
	case string:
		return strings.Trim(v, "0 ") != ""
	case []byte:
		return strings.Trim(string(v), "0 ") != ""
	}
	return true
}

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
