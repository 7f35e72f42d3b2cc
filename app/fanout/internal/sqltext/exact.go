package sqltext

import "strings"

// Equal is a condition of the form column = value.
type Equal struct {
	Column string // lower case
	Arg    int    // which argument the value is, from 0; -1 when the text has it
	Number bool   // the text has it, and it is a whole number; else it is a string
}

// exact finds rows that are known before a write runs: given in the text, or by a WHERE of equalities. Others are omitted.
func (st *Statement) exact(toks []token) {
	f := &st.Form
	if st.all.queries > 0 || st.bad != "" || f.Table == "" || f.Schema != "" {
		return
	}
	st.Rows = f.Verb == "INSERT" && f.Rows != nil && !f.Ignore && !f.Upsert && f.Returning.Empty()
	if !f.Where.Empty() {
		from, to := tokensOf(toks, f.Where)
		arg := f.Where.Arg
		st.Equals = equalities(toks[from:to], &arg)
	}
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

// equalities are those that toks consist of, joined by AND, or nil when there is anything else. arg is the next argument.
func equalities(toks []token, arg *int) []Equal {
	for at(toks, 0).is("(") && behind(toks, 0) == len(toks) {
		toks = toks[1 : len(toks)-1]
	}
	for i, depth := 0, 0; i < len(toks); i++ {
		switch t := toks[i]; {
		case t.is("("):
			depth++
		case t.is(")"):
			depth--
		case depth == 0 && t.is("AND"):
			left := equalities(toks[:i], arg)
			right := equalities(toks[i+1:], arg)
			if left == nil || right == nil {
				return nil
			}
			return append(left, right...)
		}
	}
	toks = unqualified(toks)
	if len(toks) != 3 || toks[0].kind > quoted || toks[0].call || !toks[1].is("=") {
		return nil
	}
	e, value := Equal{Column: lower(toks[0].text), Arg: -1}, toks[2]
	switch {
	case value.is("?"):
		e.Arg = *arg
		*arg++
	case value.kind != literal, strings.Trim(value.text, "0123456789") != "": // 1e3, 0x41
		return nil
	default:
		e.Number = value.text != ""
	}
	return []Equal{e}
}
