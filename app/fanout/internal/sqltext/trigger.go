package sqltext

import "slices"

// trigger says why what a trigger of t does may not be the same everywhere, or nothing.
func (s *Schema) trigger(body string, t *Table) string {
	toks, flaws := tokens(body)

	m := marksOf(toks, 0, len(toks))
	switch {
	case flaws.open || flaws.exec:
		return "its text is not understood"
	case m.queries > 0 || m.joins:
		return "it reads rows"
	case m.unsafe != "":
		return "it calls " + m.unsafe + "()"
	case m.unknown != "":
		return "it calls " + m.unknown + "()"
	case m.sequenced || m.sysvar != "" || m.uservar || m.assigns || m.limits > 0 || m.ordered != "" || m.lastID || m.setsLastID:
		return "it uses variables, sequences, LIMIT or LAST_INSERT_ID()"
	}
	for i, w := range toks {
		switch {
		case w.is("CALL"), w.is("EXECUTE"), w.is("PREPARE"), w.is("CURSOR"), w.is("HANDLER"), w.is("IGNORE"), w.is("DUPLICATE"), w.is("JOIN"):
			return "it has " + w.text
		case (w.is("INSERT") || w.is("REPLACE")) && !w.call, w.is("UPDATE") && !at(toks, i-1).is("KEY"), w.is("DELETE"):
			names, _ := findTables(toks[i:min(i+8, len(toks))])
			for _, name := range names {
				other := s.Tables[name]
				switch {
				case other == nil:
					return "it writes to " + name + ", which is not known"
				case other == t:
					return "it writes to its own table"
				case len(other.Triggers) > 0:
					return "it writes to " + name + ", which has triggers"
				case other.Auto != "" && !w.is("UPDATE") && !w.is("DELETE"):
					return "it writes to " + name + ", which generates ids"
				case s.Swallows && s.followed(other, func(_ *Table, r reference) bool { return r.deletes || r.updates }):
					return "it writes to " + name + ", whose rows others follow"
				case other.Engine != "INNODB" || other.Versioned || slices.ContainsFunc(other.Columns, func(c Column) bool { return c.Made != "" }):
					return "it writes to " + name + ", which not every replica fills alike"
				}
			}
		}
	}
	return ""
}
