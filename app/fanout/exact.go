package fanout

import (
	"database/sql/driver"
	"strings"

	"forge.example/account/isukit/app/fanout/internal/sqltext"
)

// exact reports whether q, which the first replica executed with answer a, must find the same rows on the others without a check of their
// number: it inserted rows with all values, or changed the one row that it names by a unique key. The first replica holds the locks on
// these. Another write that changed one of them before has committed there, so it has executed on the others as well, and is about to
// release its locks there.
func (p *group) exact(q call, a answer) bool {
	if !q.st.Rows && len(q.st.Equals) == 0 {
		return false
	}
	t := p.schema.Load().Tables[q.st.Form.Table]
	if t == nil || len(t.Triggers) > 0 {
		return false
	}
	if q.st.Rows {
		return a.affected > 0
	}
	return a.affected == 1 && picks(t, q.st.Equals, q.args)
}

// picks reports whether the equalities can be true of one row of t only, with the arguments given: they name all columns of a
// unique key, each by a value of the column's own kind, since the servers compare others by other rules than the key's.
func picks(t *sqltext.Table, equals []sqltext.Equal, args []driver.NamedValue) bool {
	if t == nil {
		return false
	}
	var named []string
	for _, e := range equals {
		if c := t.Column(e.Column); c != nil && c.Kind != "" && fits(c.Kind, e, args) {
			named = append(named, e.Column)
		}
	}
	return t.Names(named)
}

// fits: the value of e compares as a column of that kind does: a whole number also by the digits of an exact floating-point number.
func fits(kind string, e sqltext.Equal, args []driver.NamedValue) bool {
	if e.Arg < 0 {
		return e.Number == (kind == "number")
	}
	if e.Arg >= len(args) {
		return false
	}
	switch v := args[e.Arg].Value.(type) {
	case int64, uint64, int, int8, int16, int32, uint, uint8, uint16, uint32, bool:
		return kind == "number"
	case string:
		return kind == "string" || len(v) > 0 && len(v) < 16 && strings.Trim(v, "0123456789") == ""
	case []byte:
		return kind == "string"
	}
	return false
}
