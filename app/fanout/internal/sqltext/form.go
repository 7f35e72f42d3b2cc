package sqltext

import "strings"

// Span is a part of a statement's text: from Pos to before End, with the question marks from Arg to before Arg+Args. It may be empty.
type Span struct{ Pos, End, Arg, Args int }

func (s Span) Empty() bool { return s.Pos == s.End }

// ValueKind is the kind of a value, as far as the text alone shows it.
type ValueKind uint8

// The kinds of values.
const (
	Expr    ValueKind = iota // anything else
	Arg                      // a question mark
	Null                     // NULL or DEFAULT
	Number                   // a whole number
	String                   // a string
	LastID                   // LAST_INSERT_ID()
	NumberZ                  // zero
)

// Value is one value of a row that an INSERT gives.
type Value struct {
	Span
	Kind ValueKind
}

// Form is what an INSERT, REPLACE, UPDATE or DELETE consists of.
type Form struct {
	Verb   string // INSERT, REPLACE, UPDATE or DELETE
	Table  string // the only one that it changes, lower case; empty when it joins several
	Schema string // the database written before it, lower case
	Name   Span   // the table with its alias, as written
	Ignore bool

	Columns []string  // of INSERT, lower case; nil when it names none
	List    Span      // of INSERT, from the list of columns to before the rows; empty when it names none
	Rows    [][]Value // that an INSERT gives; nil where they come from a query
	Query   Span      // of INSERT ... SELECT
	Upsert  bool      // ON DUPLICATE KEY UPDATE
	Fresh   string    // what that calls the row, lower case
	Updates []string  // the columns that an UPDATE sets, or ON DUPLICATE KEY UPDATE

	Sets, Where, Order, Limit Span // of UPDATE and DELETE of one table, and of ON DUPLICATE KEY UPDATE: the text after the word
	OrderBy                   []string
	Returning                 Span
}

// former reads a Form from tokens.
type former struct {
	toks []token
	i    int
	arg  int // question marks before i
	f    Form
	bad  string // why it can't be read
}

func (p *former) at(n int) token { return at(p.toks, p.i+n) }

func (p *former) step(n int) {
	for range n {
		if p.at(0).is("?") {
			p.arg++
		}
		p.i++
	}
}

// take steps over text if that comes next.
func (p *former) take(text string) bool {
	if !p.at(0).is(text) {
		return false
	}
	p.step(1)
	return true
}

// until steps, outside of parentheses, to one of words, or to the end, and returns what was stepped over.
func (p *former) until(words map[string]bool) Span {
	s := Span{Arg: p.arg}
	if p.i < len(p.toks) {
		s.Pos = p.toks[p.i].pos
		s.End = s.Pos
	}
	depth := 0
	for ; p.i < len(p.toks); p.step(1) {
		t := p.at(0)
		switch {
		case depth == 0 && ((t.kind == word || t.kind == punct) && words[t.text] || t.is("ON") && words["ON DUPLICATE"] && p.at(1).is("DUPLICATE")):
			s.Args = p.arg - s.Arg
			return s
		case t.is("("):
			depth++
		case t.is(")"):
			depth--
		}
		s.End = t.end
	}
	s.Args = p.arg - s.Arg
	return s
}

// parens steps over a parenthesis and what is in it.
func (p *former) parens() {
	end := behind(p.toks, p.i)
	p.step(end - p.i)
}

// name reads [database.]table and notes it.
func (p *former) name() bool {
	t := p.at(0)
	if t.kind > quoted || t.kind == word && notTables[t.text] {
		return false
	}
	start := t.pos
	p.step(1)
	if p.take(".") {
		p.f.Schema = strings.ToLower(t.text)
		if t = p.at(0); t.kind > quoted {
			return false
		}
		p.step(1)
	}
	p.f.Table = strings.ToLower(t.text)
	p.f.Name = Span{Pos: start, End: t.end}
	return true
}

// modifiers steps over the words between the verb and the table, except for INTO and FROM.
func (p *former) modifiers() {
	for {
		switch {
		case p.take("IGNORE"):
			p.f.Ignore = true
		case p.take("LOW_PRIORITY"), p.take("HIGH_PRIORITY"), p.take("QUICK"):
		case p.at(0).is("DELAYED"), p.at(0).is("HISTORY"):
			p.bad = p.at(0).text
			return
		default:
			return
		}
	}
}

// formOf reads a write. bad is the part of it that is not understood; then the statement is refused.
func formOf(verb string, toks []token) (f Form, bad string) {
	p := &former{toks: toks}
	if !p.take(verb) {
		return Form{Verb: verb}, "" // behind WITH, or explained: nothing is known but its verb
	}
	p.f.Verb = verb
	p.modifiers()
	switch {
	case p.bad != "":
	case verb == "UPDATE":
		p.update()
	case verb == "DELETE":
		p.delete()
	default:
		p.insert()
	}
	if p.bad == "" && p.i < len(toks) {
		p.bad = near(p.at(0))
	}
	return p.f, p.bad
}

func near(t token) string {
	if t.text == "" {
		return "a value"
	}
	return t.text
}

func (p *former) insert() {
	p.take("INTO")
	if !p.name() {
		p.bad = near(p.at(0))
		return
	}
	if p.take("PARTITION") {
		p.parens()
	}
	if p.at(0).is("(") && !p.at(1).is("SELECT") && !p.at(1).is("WITH") && !p.at(1).is("(") {
		start := p.at(0).pos
		p.columns()
		p.f.List = Span{Pos: start, End: at(p.toks, p.i-1).end}
		if len(p.f.Columns) == 0 { // () means all
			p.f.Columns, p.f.List = nil, Span{}
		}
	}
	switch {
	case p.at(0).is("VALUES") || p.at(0).is("VALUE"):
		p.step(1)
		p.rows()
	case p.take("SET"):
		p.assigned()
	default:
		p.f.Query = p.until(insertTails)
	}
	if p.take("AS") { // a name for the row
		p.f.Fresh = strings.ToLower(p.at(0).text)
		p.step(1)
		if p.at(0).is("(") {
			p.parens()
			p.f.Fresh = anyName
		}
	}
	if p.at(0).is("ON") {
		p.f.Upsert = true
		p.step(4) // ON DUPLICATE KEY UPDATE
		p.f.Updates, p.f.Sets = p.sets(set("RETURNING"))
	}
	p.returning()
}

// anyName means the names of a row's columns.
const anyName = "*"

var insertTails = map[string]bool{"ON DUPLICATE": true, "RETURNING": true}

func (p *former) returning() {
	if p.take("RETURNING") {
		p.f.Returning = p.until(nil)
	}
}

// columns reads (a, b, ...).
func (p *former) columns() {
	end := behind(p.toks, p.i)
	p.f.Columns = []string{}
	for p.step(1); p.i < end-1; p.step(1) {
		t := p.at(0)
		if t.kind > quoted || !p.at(1).is(",") && !p.at(1).is(")") {
			if p.at(1).is(".") { // t.a
				p.step(1)
				continue
			}
			p.bad = near(t)
			return
		}
		p.f.Columns = append(p.f.Columns, strings.ToLower(t.text))
		if p.at(1).is(",") {
			p.step(1)
		}
	}
	p.step(1)
}

// rows reads (value, ...), ...; ROW may stand before each.
func (p *former) rows() {
	for {
		p.take("ROW")
		if !p.at(0).is("(") {
			p.bad = near(p.at(0))
			return
		}
		end := behind(p.toks, p.i)
		row := []Value{}
		for p.step(1); p.i < end-1; {
			row = append(row, p.value(set0))
			p.take(",")
		}
		p.step(1)
		p.f.Rows = append(p.f.Rows, row)
		if !p.take(",") {
			return
		}
	}
}

var set0 = map[string]bool{",": true, ")": true}

// assigned reads a = value, ... as one row.
func (p *former) assigned() {
	row := []Value{}
	for {
		if !p.assignedColumn(&p.f.Columns) {
			return
		}
		row = append(row, p.value(assignEnds))
		if !p.take(",") {
			break
		}
	}
	p.f.Rows = [][]Value{row}
}

var assignEnds = map[string]bool{",": true, "ON DUPLICATE": true, "AS": true, "RETURNING": true}

// assignedColumn reads [table.]column =.
func (p *former) assignedColumn(into *[]string) bool {
	for p.at(1).is(".") {
		p.step(2)
	}
	t := p.at(0)
	if t.kind > quoted || !p.at(1).is("=") && !p.at(1).is(":=") {
		p.bad = near(t)
		return false
	}
	*into = append(*into, strings.ToLower(t.text))
	p.step(2)
	return true
}

// value reads one value up to one of ends.
func (p *former) value(ends map[string]bool) Value {
	from := p.i
	v := Value{Span: p.until(ends)}
	toks := p.toks[from:p.i]
	switch t := at(toks, 0); {
	case len(toks) == 1 && t.is("?"):
		v.Kind = Arg
	case len(toks) == 1 && (t.is("NULL") || t.is("DEFAULT")):
		v.Kind = Null
	case len(toks) == 1 && t.kind == literal && t.text == "":
		v.Kind = String
	case t.kind == literal && len(toks) == 1 && strings.Trim(t.text, "0") == "", t.is("-") && len(toks) == 2 && at(toks, 1).text != "" && strings.Trim(at(toks, 1).text, "0") == "":
		v.Kind = NumberZ
	case len(toks) == 1 && t.kind == literal && strings.Trim(t.text, "0123456789") == "",
		len(toks) == 2 && t.is("-") && at(toks, 1).kind == literal && strings.Trim(at(toks, 1).text, "0123456789") == "":
		v.Kind = Number
	case len(toks) == 3 && t.is("LAST_INSERT_ID"):
		v.Kind = LastID
	}
	return v
}

// sets reads column = value, ... up to one of ends, and where it stands.
func (p *former) sets(ends map[string]bool) (columns []string, s Span) {
	stops := map[string]bool{",": true}
	for w := range ends {
		stops[w] = true
	}
	s = Span{Pos: p.at(0).pos, Arg: p.arg}
	for {
		if !p.assignedColumn(&columns) {
			return columns, s
		}
		s.End = p.until(stops).End
		s.Args = p.arg - s.Arg
		if !p.take(",") {
			return columns, s
		}
	}
}

var writeTails = set("WHERE ORDER LIMIT RETURNING")

func (p *former) update() {
	if !p.name() {
		p.joined()
		return
	}
	if p.take("PARTITION") {
		p.bad = "PARTITION"
		return
	}
	p.alias("SET")
	if !p.take("SET") {
		p.joined()
		return
	}
	p.f.Updates, p.f.Sets = p.sets(writeTails)
	if p.bad == "" {
		p.tails()
	}
}

// alias reads [AS] name, if next does not come already.
func (p *former) alias(next string) {
	if p.at(0).is("AS") || p.at(0).kind <= quoted && !p.at(0).is(next) && !(p.at(0).kind == word && (notTables[p.at(0).text] || writeTails[p.at(0).text])) {
		p.take("AS")
		p.f.Name.End = p.at(0).end
		p.step(1)
	}
}

// joined steps over a statement of several tables.
func (p *former) joined() {
	p.f.Table, p.f.Schema = "", ""
	for ; p.i < len(p.toks); p.step(1) {
		if p.at(0).is("PORTION") && p.at(-1).is("FOR") {
			p.bad = "FOR PORTION OF"
			return
		}
	}
}

func (p *former) delete() {
	p.modifiers()
	if !p.take("FROM") || !p.name() || p.at(0).is(",") || p.at(0).is("USING") || p.at(0).is(".") {
		if p.bad == "" {
			p.joined()
		}
		return
	}
	p.alias("WHERE")
	switch {
	case p.at(0).is("PARTITION"), p.at(0).is("FOR"):
		p.bad = p.at(0).text
	case p.at(0).is("USING"), p.at(0).is(","):
		p.joined()
	default:
		p.tails()
	}
}

// tails reads WHERE, ORDER BY, LIMIT and RETURNING.
func (p *former) tails() {
	if p.take("WHERE") {
		p.f.Where = p.until(writeTails)
	}
	if p.take("ORDER") {
		p.take("BY")
		from := p.i
		p.f.Order = p.until(writeTails)
		p.f.OrderBy = plainColumns(p.toks[from:p.i])
	}
	if p.take("LIMIT") {
		p.f.Limit = p.until(writeTails)
	}
	p.returning()
}

// plainColumns are the columns of an ORDER BY, or nil where it has anything else.
func plainColumns(toks []token) (columns []string) {
	for i := 0; i < len(toks); i++ {
		for at(toks, i+1).is(".") {
			i += 2
		}
		t := toks[min(i, len(toks)-1)]
		if t.kind > quoted || t.call {
			return nil
		}
		columns = append(columns, strings.ToLower(t.text))
		i++
		if at(toks, i).is("ASC") || at(toks, i).is("DESC") {
			i++
		}
		if i < len(toks) && !toks[i].is(",") {
			return nil
		}
	}
	return columns
}

// Returns reports whether the statement has rows for its client.
func (f *Form) Returns() bool { return !f.Returning.Empty() }

// Assigned reports whether an INSERT gives its row as column = value.
func (f *Form) Assigned() bool { return f.Rows != nil && f.Columns != nil && f.List.Empty() }

// IsDefault reports whether v is DEFAULT in text.
func (v Value) IsDefault(text string) bool {
	return v.Kind == Null && strings.EqualFold(text[v.Pos:v.End], "default")
}
