package sqltext

import "slices"

// join is what an UPDATE of two tables changes: one of them, and which of its columns. one says that it takes, for each row that it
// changes, values of one row only: it equates all columns of a unique key of the other table.
func (c *judge) join() (t *Table, sets []string, one bool) {
	toks := c.toks
	set := slices.IndexFunc(toks, func(t token) bool { return t.is("SET") })
	if set < 0 || !at(toks, 0).is("UPDATE") || slices.ContainsFunc(toks[1:set], func(t token) bool { return t.is("SELECT") }) {
		return nil, nil, false
	}
	names := c.aliases(toks[1:set])
	changed, sets := c.changed(names, toks[set+1:])
	if len(names) != 2 || changed == "" {
		return nil, nil, false
	}
	for alias, other := range names {
		if alias != changed {
			one = other != nil && other.Names(equated(toks, alias, changed))
		}
	}
	return names[changed], sets, one
}

// aliases are the tables between UPDATE and SET by the names that the rest calls them.
func (c *judge) aliases(toks []token) map[string]*Table {
	names := map[string]*Table{}
	for i, t := range toks {
		prev := at(toks, i-1)
		begins := i == 0 || prev.is(",") || prev.is("JOIN") || prev.is("LOW_PRIORITY")
		if !begins || t.kind > quoted || t.is("LOW_PRIORITY") {
			continue
		}
		name := lower(t.text)
		j := i + 1
		if at(toks, j).is(".") {
			name = lower(at(toks, j+1).text)
			j += 2
		}
		alias := name
		if at(toks, j).is("AS") {
			j++
		}
		if a := at(toks, j); a.kind == quoted || a.kind == word && !notTables[a.text] {
			alias = lower(a.text)
		}
		names[alias] = c.s.Tables[name]
	}
	return names
}

// changed is the only one of names whose columns are set, and these columns.
func (c *judge) changed(names map[string]*Table, toks []token) (alias string, sets []string) {
	for _, item := range items(toks, writeTails) {
		one, i := "", 0
		for ; at(item, i+1).is("."); i += 2 {
			one = lower(item[i].text)
		}
		column := lower(at(item, i).text)
		if one == "" { // a bare name: whose is it
			for n, t := range names {
				if t != nil && t.Column(column) != nil {
					if one != "" {
						return "", nil
					}
					one = n
				}
			}
		}
		if _, known := names[one]; !known || alias != "" && one != alias {
			return "", nil
		}
		alias, sets = one, append(sets, column)
	}
	return alias, sets
}

// equated are alias's columns that a condition, all of which hold, equates with a column of other, or with a value.
func equated(toks []token, alias, other string) (columns []string) {
	for i, t := range toks {
		if t.is("OR") || t.is("NOT") || t.is("XOR") || t.is("|") {
			return nil
		}
		if t.is("USING") && at(toks, i+1).is("(") {
			for _, c := range toks[i+2 : behind(toks, i+1)-1] {
				if c.kind <= quoted {
					columns = append(columns, lower(c.text))
				}
			}
		}
		if !t.is("=") || inSet(toks, i) {
			continue
		}
		l, r := side(toks, i, -1), side(toks, i, +1)
		switch {
		case l[0] == alias && (r[0] == other || r[0] == "?"):
			columns = append(columns, l[1])
		case r[0] == alias && (l[0] == other || l[0] == "?"):
			columns = append(columns, r[1])
		}
	}
	return columns
}

// inSet reports whether the position is behind SET and before WHERE.
func inSet(toks []token, i int) bool {
	for j := i; j >= 0; j-- {
		if toks[j].is("WHERE") {
			return false
		}
		if toks[j].is("SET") {
			return true
		}
	}
	return false
}

// side is the table and column next to the '=' at i, or "?" for a value; anything longer is empty.
func side(toks []token, i, d int) (s [2]string) {
	near, dot, far, next := at(toks, i+d), at(toks, i+2*d), at(toks, i+3*d), at(toks, i+4*d)
	ends := func(t token, j int) bool {
		return j < 0 || j >= len(toks) || t.is("AND") || t.is("ON") || t.is("WHERE") || t.is("SET") || t.is("(") && d < 0 || t.is(")") && d > 0 || t.is("ORDER") || t.is("LEFT") || t.is("JOIN") || t.is("INNER")
	}
	switch {
	case dot.is(".") && near.kind <= quoted && far.kind <= quoted && ends(next, i+4*d):
		if d > 0 {
			return [2]string{lower(near.text), lower(far.text)}
		}
		return [2]string{lower(far.text), lower(near.text)}
	case (near.is("?") || near.kind == literal) && ends(dot, i+2*d):
		return [2]string{"?"}
	}
	return s
}
