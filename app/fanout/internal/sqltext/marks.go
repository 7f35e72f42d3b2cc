package sqltext

// marks are what a stretch of a write holds that may have another effect on another server.
type marks struct {
	clock      bool   // reads the clock
	lastID     bool   // reads LAST_INSERT_ID()
	defaults   bool   // DEFAULT: as a value, or of a column
	unsafe     string // the first function of unsafeFuncs
	unknown    string // the first function that is not the servers' own
	sysvar     string
	assigns    bool // a user variable
	uservar    bool
	skips      bool   // SKIP LOCKED or NOWAIT
	queries    int    // SELECTs and the like
	limits     int    // LIMITs
	ordered    string // the first function of orderFuncs, or OVER
	sums       bool   // a sum
	extreme    bool   // MIN or MAX
	extremes   []string
	merged     bool // UNION, DISTINCT, GROUP BY: of equal values one is shown
	joins      bool
	bareGroup  bool // GROUP BY with columns that it does not name
	strange    string
	sequenced  bool // NEXT VALUE FOR
	setsLastID bool // LAST_INSERT_ID(value)
}

// marksOf reads toks, those from position from to before to.
func marksOf(toks []token, from, to int) marks {
	var m marks
	for i := from; i < to; i++ {
		t := toks[i]
		switch {
		case t.kind == sysvar:
			m.sysvar = t.text
		case t.kind == uservar:
			m.uservar = true
		case t.is(":="):
			m.assigns = true
		case t.kind == punct && !knownPuncts[t.text]:
			m.strange = t.text
		case t.kind == quoted && t.call && !namesTable(toks, i):
			m.unknown = t.text
		case t.kind == word:
			m.word(toks, i)
		}
	}
	m.bareGroup = m.merged && bareGroup(toks[from:to])
	return m
}

var knownPuncts = set("( ) , . + - * / % = < > ! & | ^ ~ ? { } :")

// word notes what the word at i means.
func (m *marks) word(toks []token, i int) {
	t := toks[i]
	column := at(toks, i-1).is(".")
	switch {
	case t.call && column && !namesTable(toks, i):
		m.unknown = t.text
	case t.call && !column && unsafeFuncs[t.text] != "" && !namesTable(toks, i), !column && bareUnsafe[t.text]:
		if m.unsafe == "" {
			m.unsafe = t.text
		}
	case t.is("NEXT") && at(toks, i+1).is("VALUE"), t.is("PREVIOUS") && at(toks, i+1).is("VALUE"):
		m.sequenced = true
	case column && (t.is("NEXTVAL") || t.is("CURRVAL")):
		m.sequenced = true
	case timeWords[t.text] && !column:
		m.clock = true
	case t.is("LAST_INSERT_ID"):
		if at(toks, i+1).is("(") && at(toks, i+2).is(")") {
			m.lastID = true
		} else {
			m.setsLastID = true
		}
	case t.is("DEFAULT"):
		m.defaults = true
	case t.is("SKIP") && at(toks, i+1).is("LOCKED"), t.is("NOWAIT"), t.is("WAIT") && at(toks, i-1).is("UPDATE"):
		m.skips = true
	case t.is("SELECT"), t.is("TABLE") && !t.call && at(toks, i+1).kind <= quoted:
		m.queries++
	case t.is("JOIN"), t.is("STRAIGHT_JOIN"):
		m.joins = true
	case t.is("LIMIT") && !column, t.is("FETCH") && (at(toks, i+1).is("FIRST") || at(toks, i+1).is("NEXT")):
		m.limits++
	case t.call && orderFuncs[t.text], t.is("OVER"):
		if m.ordered == "" {
			m.ordered = t.text
		}
	case t.call && sumFuncs[t.text]:
		m.sums = true
	case t.call && (t.is("MIN") || t.is("MAX")):
		m.extreme = true
		name := ""
		if j := i + 2; at(toks, j+1).is(")") && at(toks, j).kind <= quoted {
			name = lower(at(toks, j).text)
		} else if at(toks, j+1).is(".") && at(toks, j+3).is(")") {
			name = lower(at(toks, j+2).text)
		}
		m.extremes = append(m.extremes, name)
	case t.is("UNION") && !at(toks, i+1).is("ALL"), t.is("DISTINCT"), t.is("GROUP") && at(toks, i+1).is("BY"), t.is("INTERSECT"), t.is("EXCEPT"):
		m.merged = true
	case t.call && !steady(t.text) && !namesTable(toks, i):
		if m.unknown == "" {
			m.unknown = t.text
		}
	}
}

// bareGroup reports whether a query with GROUP BY shows something that is neither an aggregate nor named there: the servers show
// any of the group's values then, where their sql_mode lets them.
func bareGroup(toks []token) bool {
	for i, t := range toks {
		if t.is("GROUP") && at(toks, i+1).is("BY") && !fullGroup(toks, i) {
			return true
		}
	}
	return false
}

// fullGroup looks back from the GROUP BY at i to its SELECT.
func fullGroup(toks []token, i int) bool {
	depth, start := 0, -1
	for j := i - 1; j >= 0 && start < 0; j-- {
		switch {
		case toks[j].is(")"):
			depth++
		case toks[j].is("("):
			depth--
		case depth == 0 && toks[j].is("SELECT"):
			start = j + 1
		}
		if depth < 0 {
			return false
		}
	}
	if start < 0 {
		return false
	}
	grouped := map[string]bool{}
	for _, item := range items(toks[i+2:], groupEnds) {
		grouped[textOf(item)] = true
	}
	for _, item := range items(toks[start:i], set("FROM")) {
		item = unnamed(item)
		first := at(item, 0)
		aggregate := first.call && (sumFuncs[first.text] || set("COUNT MIN MAX BIT_AND BIT_OR BIT_XOR")[first.text]) && behind(item, 1) == len(item)
		constant := len(item) == 1 && (first.kind == literal || first.is("?"))
		if !aggregate && !constant && !grouped[textOf(item)] {
			return false
		}
	}
	return true
}

var groupEnds = set("HAVING ORDER LIMIT ) WITH UNION RETURNING ON FOR LOCK WINDOW")

// items cuts toks at commas outside of parentheses, up to the first of ends.
func items(toks []token, ends map[string]bool) (list [][]token) {
	depth, from := 0, 0
	for i, t := range toks {
		if depth == 0 && (t.kind == word || t.kind == punct) && ends[t.text] {
			toks = toks[:i]
			break
		}
		switch {
		case t.is("("):
			depth++
		case t.is(")"):
			depth--
		case depth == 0 && t.is(","):
			list = append(list, toks[from:i])
			from = i + 1
		}
	}
	return append(list, toks[from:])
}

// unnamed takes [AS] name off the end of what a SELECT shows.
func unnamed(item []token) []token {
	n := len(item)
	if n > 2 && item[n-2].is("AS") {
		return item[:n-2]
	}
	if n > 1 && item[n-1].kind <= quoted && (item[n-2].is(")") || item[n-2].kind <= literal) {
		return item[:n-1]
	}
	return item
}

// textOf is what a column is called, without its table.
func textOf(item []token) string {
	s := ""
	for i, t := range item {
		if at(item, i+1).is(".") || t.is(".") {
			continue
		}
		s += lower(t.text) + " "
	}
	return s
}
