package sqltext

import "strings"

// Equal is a condition of the form column = value.
type Equal struct {
	Column string // lower case
	Arg    int    // which argument the value is, from 0; -1 when the text has it
	Number bool   // the text has it, and it is a whole number; else it is a string
}

// exact notes what makes the rows that a write touches known before it runs: rows that the text gives, or a WHERE that is
// nothing but equalities. Whatever it does not recognise is left out.
func (st *Statement) exact(verb string, toks []token) {
	if st.all.queries > 0 || st.all.joins || len(st.Tables) != 1 {
		return
	}
	i, ok := 1, at(toks, 0).is(verb)
	if (verb == "INSERT" && at(toks, i).is("INTO")) || (verb == "DELETE" && at(toks, i).is("FROM")) {
		i++
	}
	if t := at(toks, i); !ok || t.kind > quoted || strings.ToLower(t.text) != st.Tables[0] {
		return
	}
	i++
	switch {
	case verb == "INSERT":
		st.Rows = givesRows(toks, i)
	case verb == "UPDATE" && at(toks, i).is("SET"), verb == "DELETE" && at(toks, i).is("WHERE"):
		st.Equals = equalities(toks, i)
	}
}

// givesRows reports whether toks, from position i on, is [(columns)] VALUES (...), ... and nothing behind.
func givesRows(toks []token, i int) bool {
	if at(toks, i).is("(") {
		i = behind(toks, i)
	}
	if !at(toks, i).is("VALUES") && !at(toks, i).is("VALUE") {
		return false
	}
	for i++; at(toks, i).is("("); i++ {
		if i = behind(toks, i); i == len(toks) {
			return true
		}
		if !at(toks, i).is(",") {
			return false
		}
	}
	return false
}

// behind is the position behind the parenthesis that closes the one at i.
func behind(toks []token, i int) int {
	depth := 0
	for ; i < len(toks); i++ {
		switch {
		case toks[i].is("("):
			depth++
		case toks[i].is(")"):
			if depth--; depth == 0 {
				return i + 1
			}
		}
	}
	return i
}

// equalities are those of the only WHERE in toks, or nil when it holds anything else. ORDER BY and LIMIT may follow.
func equalities(toks []token, from int) (list []Equal) {
	where, arg := -1, 0
	for i, t := range toks {
		switch {
		case t.is("WHERE") && where >= 0:
			return nil
		case t.is("WHERE"):
			where = i
		case t.is("?") && where < 0:
			arg++
		}
	}
	if where < from {
		return nil
	}
	for i := where + 1; ; i += 4 {
		column, value := at(toks, i), at(toks, i+2)
		if i+2 >= len(toks) || column.kind > quoted || column.call || !at(toks, i+1).is("=") {
			return nil
		}
		e := Equal{Column: strings.ToLower(column.text), Arg: -1, Number: value.text != ""}
		switch {
		case value.is("?"):
			e.Arg, e.Number = arg, false
			arg++
		case value.kind != literal, strings.Trim(value.text, "0123456789") != "": // 1e3, 0x41
			return nil
		}
		list = append(list, e)
		if i+3 == len(toks) || at(toks, i+3).is("LIMIT") || at(toks, i+3).is("ORDER") {
			return list
		}
		if !at(toks, i+3).is("AND") {
			return nil
		}
	}
}
