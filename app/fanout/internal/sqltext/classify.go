// Package sqltext says, from a statement's text and the schema, what it does to several databases that must stay equal:
// which may run it, what has to be made the same for all so that it is exact, and what is refused, with what to write
// instead. It knows MySQL's and MariaDB's dialects. What it does not recognise for sure is refused.
package sqltext

import (
	"slices"
	"strings"
	"sync/atomic"
)

// Kind is where a statement may run.
type Kind uint8

// The kinds of statements.
const (
	Read      Kind = iota // any one replica
	ReadFirst             // the first replica: it locks, or reads the session's own state
	ReadLast              // where the statement before ran: it asks about that one
	Guarded               // the first replica, in a read-only transaction: it calls what may write
	Write                 // every replica
	DDL                   // every replica, alone
	Session               // every replica of the connection, remembered for those dialled later
	Lock                  // LOCK TABLES: this connection alone until UNLOCK TABLES
	Unlock                // UNLOCK TABLES
	Refused               // nowhere; Reason suggests what to write instead
)

// Statement is the analysis of one text. All who run that text share it, and it never changes, except for what it remembers.
type Statement struct {
	Kind   Kind
	Reason string   // for Refused: what is wrong and what to write instead
	Local  bool     // for Refused: it is about one connection or one server, so native replication would not pass it on either
	Tables []string // tables named, lower case, without database, each once
	Form   Form     // of a Write

	Rows   bool    // an INSERT of rows that the text gives, which either inserts all of them or fails
	Equals []Equal // of an UPDATE or DELETE of one table: WHERE is these, all of them, and nothing else
	NextID bool    // reads LAST_INSERT_ID()

	Locks      bool // a query that locks rows
	LocksReads bool // of LOCK TABLES: one of them is locked to be written

	text  string
	bad   string // of a Write: what is not understood
	flaws flaws
	far   []farTable
	all   marks // of a Write or DDL: the whole text
	rest  marks // of a Write: without the query of an INSERT ... SELECT
	query marks // that query

	judged atomic.Pointer[judged]
}

// Classify returns what is known of text.
func Classify(text string) *Statement {
	toks, flaws := tokens(text)
	for len(toks) > 0 && toks[len(toks)-1].is(";") {
		toks = toks[:len(toks)-1]
	}
	switch {
	case flaws.open:
		return refuseLocal("a quote or a comment does not end")
	case len(toks) == 0:
		return refuseLocal("the statement is empty")
	case slices.ContainsFunc(toks, func(t token) bool { return t.is(";") }):
		return refuseLocal("several statements in one text; send them one by one, in a transaction if they belong together")
	}
	st := &Statement{text: text, flaws: flaws}
	st.Tables, st.far = findTables(toks)
	verb := firstVerb(toks)
	switch {
	case readVerbs[verb]:
		st.read(toks)
	case writeVerbs[verb]:
		st.write(verb, toks)
	case ddlVerbs[verb]:
		st.ddl(verb, toks)
	case verb == "SET":
		st.session(toks)
	case verb == "DO":
		st.do(toks)
	case verb == "CALL":
		st.Kind = Guarded
	case verb == "LOCK" && (at(toks, 1).is("TABLES") || at(toks, 1).is("TABLE")):
		st.Kind = Lock
		st.LocksReads = slices.ContainsFunc(toks, func(t token) bool { return t.is("WRITE") })
	case verb == "UNLOCK":
		st.Kind = Unlock
	case refusedVerbs[verb] != "":
		st.refuse(refusedVerbs[verb])
	default:
		st.refuse("a statement that begins with " + near(toks[0]) + " is not known; use Replica(name) for what concerns one server")
	}
	return st
}

func refuseLocal(reason string) *Statement {
	return &Statement{Kind: Refused, Reason: reason, Local: true}
}

func (st *Statement) refuse(reason string) { st.Kind, st.Reason, st.Local = Refused, reason, true }

func (t token) is(text string) bool {
	return (t.kind == word || t.kind == punct) && t.text == text
}

// firstVerb is the word that decides: the first one, or behind WITH the first verb outside of parentheses.
func firstVerb(toks []token) string {
	i := 0
	for i < len(toks) && toks[i].is("(") {
		i++
	}
	if i == len(toks) || toks[i].kind != word {
		return ""
	}
	if toks[i].text != "WITH" {
		return explained(toks[i:])
	}
	depth := 0
	for _, t := range toks[i+1:] {
		switch {
		case t.is("("):
			depth++
		case t.is(")"):
			depth--
		case depth == 0 && t.kind == word && (t.text == "SELECT" || writeVerbs[t.text]):
			return t.text
		}
	}
	return "WITH"
}

// explained sees through EXPLAIN ANALYZE and MariaDB's ANALYZE, which run the statement that they explain.
func explained(toks []token) string {
	verb := toks[0].text
	if verb != "EXPLAIN" && verb != "ANALYZE" && verb != "DESCRIBE" && verb != "DESC" {
		return verb
	}
	if verb == "ANALYZE" && len(toks) > 1 && (toks[1].is("TABLE") || toks[1].is("LOCAL") || toks[1].is("NO_WRITE_TO_BINLOG")) {
		return "OPTIMIZE"
	}
	runs := verb == "ANALYZE" || len(toks) > 1 && toks[1].is("ANALYZE")
	for _, t := range toks[1:] {
		if runs && t.kind == word && writeVerbs[t.text] {
			return t.text
		}
	}
	return "EXPLAIN"
}

// read settles a statement that returns rows.
func (st *Statement) read(toks []token) {
	for i, t := range toks {
		column := at(toks, i-1).is(".")
		switch {
		case t.is(":="):
			st.refuse("a user variable is assigned in a query; use a window function, or assign with SET")
			return
		case t.is("INTO") && !toks[0].is("EXPLAIN") && !toks[0].is("DESCRIBE") && !toks[0].is("DESC"):
			st.refuse("SELECT ... INTO writes a file or a variable on one server only; scan the row instead")
			return
		case t.call && t.kind == word && sequenceFuncs[t.text], t.is("NEXT") && at(toks, i+1).is("VALUE"):
			st.refuse("sequences differ between replicas; make the id in the app or use AUTO_INCREMENT")
			return
		case t.kind == sysvar && lastVars[t.text], t.call && !column && lastFuncs[t.text]:
			st.Kind = ReadLast
		case locks(toks[i:]):
			st.Locks = true
			fallthrough
		case t.kind == uservar, t.call && !column && firstFuncs[t.text]:
			st.Kind = max(st.Kind, ReadFirst)
		case t.call && callsOther(toks, i):
			st.Kind = Guarded // perhaps a stored function that writes
			return
		}
		st.NextID = st.NextID || t.is("LAST_INSERT_ID")
	}
	if toks[0].is("SHOW") && (at(toks, 1).is("WARNINGS") || at(toks, 1).is("ERRORS") || at(toks, 1).is("COUNT")) {
		st.Kind = ReadLast
	}
}

var lastVars = set("WARNING_COUNT ERROR_COUNT SESSION.WARNING_COUNT SESSION.ERROR_COUNT")

// callsOther reports whether the name at i, which stands before '(', may be a stored function's.
func callsOther(toks []token, i int) bool {
	t := toks[i]
	if namesTable(toks, i) {
		return false
	}
	return t.kind == quoted || at(toks, i-1).is(".") || !steady(t.text) && unsafeFuncs[t.text] == "" && !orderFuncs[t.text] && !firstFuncs[t.text]
}

// locks reports whether toks begins with a locking clause of SELECT.
func locks(toks []token) bool {
	switch {
	case toks[0].is("FOR"):
		return at(toks, 1).is("UPDATE") || at(toks, 1).is("SHARE")
	case toks[0].is("LOCK"):
		return at(toks, 1).is("IN")
	}
	return false
}

// do settles DO, which runs functions for what they do in the session: on the first replica.
func (st *Statement) do(toks []token) {
	st.Kind = ReadFirst
	for i, t := range toks {
		if t.is(":=") {
			st.refuse("a user variable is assigned in DO; assign it with SET")
			return
		}
		if t.call && callsOther(toks, i) {
			st.Kind = Guarded
		}
	}
}

// write settles a statement that changes rows on every replica.
func (st *Statement) write(verb string, toks []token) {
	st.Kind = Write
	if explained(toks) != at(toks, 0).text && !at(toks, 0).is("WITH") {
		st.refuse("EXPLAIN ANALYZE of a write writes; explain the SELECT of the same rows")
		return
	}
	st.Form, st.bad = formOf(verb, toks)
	from, to := tokensOf(toks, st.Form.Query)
	st.all = marksOf(toks, 0, len(toks))
	st.query = marksOf(toks, from, to)
	st.rest = st.all
	if from < to {
		rest := slices.Concat(toks[:from], toks[to:])
		st.rest = marksOf(rest, 0, len(rest))
	}
	st.NextID = st.all.lastID
	if !st.flaws.exec { // not every server may run the same text
		st.exact(toks)
	}
}

// tokensOf are the positions of the tokens in s.
func tokensOf(toks []token, s Span) (from, to int) {
	if s.Empty() {
		return 0, 0
	}
	from, _ = slices.BinarySearchFunc(toks, s.Pos, func(t token, pos int) int { return t.pos - pos })
	to, _ = slices.BinarySearchFunc(toks, s.End, func(t token, pos int) int { return t.pos - pos })
	return from, to
}

// Inserts reports whether the statement may generate an id.
func (st *Statement) Inserts() bool { return st.Form.Verb == "INSERT" || st.Form.Verb == "REPLACE" }

func (st *Statement) ddl(verb string, toks []token) {
	st.Kind = DDL
	st.all = marksOf(toks, 0, len(toks))
	for i, t := range toks {
		switch {
		case t.is("TEMPORARY"):
			st.refuse("a temporary table lives on one connection of one server; use a common table expression or a real table")
			return
		case t.is("EVENT") && i < 5, t.is("SEQUENCE") && i < 4:
			st.refuse("each server would run its own events and count its own sequences; do it in the app")
			return
		case t.is("TABLESPACE") && (at(toks, i-1).is("IMPORT") || at(toks, i-1).is("DISCARD")):
			st.refuse("files are on one server; use Replica(name) on each")
			return
		case t.is("IGNORE") && verb == "ALTER" && i < 3:
			st.refuse("which rows ALTER IGNORE TABLE leaves out depends on the order in which each replica reads; delete them first")
			return
		case (t.is("SELECT") || t.is("TABLE") && i > 3 || t.is("ROW") && at(toks, i-1).is("VALUES")) && verb == "CREATE" && !slices.ContainsFunc(toks, func(t token) bool { return stored[t.text] && t.kind == word }):
			st.refuse("CREATE TABLE ... SELECT copies rows in another order on each replica; create the table, then INSERT ... SELECT")
			return
		}
	}
}

var stored = set("VIEW PROCEDURE FUNCTION TRIGGER")

// session settles SET.
func (st *Statement) session(toks []token) {
	st.Kind = Session
	for i, t := range toks[1:] {
		name := strings.TrimPrefix(strings.TrimPrefix(t.text, "SESSION."), "LOCAL.")
		switch {
		case t.is("GLOBAL"), t.is("PERSIST"), t.is("PERSIST_ONLY"), t.kind == sysvar && strings.HasPrefix(t.text, "GLOBAL."):
			st.refuse("a server's global settings are not the app's; set them on each server")
		case t.is("PASSWORD"), t.is("ROLE"), t.is("STATEMENT"):
			st.refuse("SET " + t.text + " is not passed on; do it on each server")
		case t.is("TRANSACTION"):
			st.refuse("SET TRANSACTION is the pool's; give sql.TxOptions to BeginTx")
		case (t.kind == word || t.kind == sysvar) && ownedVars[name]:
			st.refuse(name + " is set by the pool on its own connections; leave it")
		case t.call && (t.kind == quoted || !pureFuncs[t.text] && !beforeParens[t.text] || t.text == "LAST_INSERT_ID"), t.kind == word && timeWords[t.text] && i > 0,
			t.is("SELECT"), t.kind == sysvar && i > 0 && !at(toks, i+2).is("=") && !at(toks, i+2).is(":="), bareUnsafe[t.text] && t.kind == word:
			st.refuse("SET takes a value here that differs between servers; compute it in the app and pass it")
		}
		if st.Kind == Refused {
			return
		}
	}
}

// at is the i-th token, or none.
func at(toks []token, i int) token {
	if i < 0 || i >= len(toks) {
		return token{kind: literal}
	}
	return toks[i]
}

// namesTable reports whether the name at i, though before a '(', is a table's: INSERT INTO user (name), WITH c (a) AS.
func namesTable(toks []token, i int) bool {
	if at(toks, i-1).is(".") {
		i -= 2
	}
	before := at(toks, i-1)
	if before.is(",") {
		end := behind(toks, i+1)
		return at(toks, end).is("AS") && at(toks, end+1).is("(")
	}
	return before.kind == word && beforeTables[before.text]
}
