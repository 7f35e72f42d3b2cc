// Package sqltext says, from a statement's text alone, what it does to several databases that must stay equal: which may
// run it, what has to be pinned so that it writes the same row everywhere, and what can't be made safe and why. It knows
// MySQL's and MariaDB's dialects and no schema. What it does not recognise, it calls a write.
package sqltext

import (
	"slices"
	"strings"
	"sync/atomic"
)

// Kind says where a statement may run.
type Kind uint8

// The kinds of statements.
const (
	Read      Kind = iota // any one replica
	ReadFirst             // the first replica: it locks, or reads the session's own state
	Write                 // every replica
	DDL                   // every replica, alone
	Session               // every replica of the connection, remembered for those dialled later
	Refused               // nowhere; Reason says what to write instead
)

// Statement is what is known of one text. It is shared by all who run that text and, but for Gap, never changes.
type Statement struct {
	Kind    Kind
	Reason  string   // for Refused: what is wrong and what to write instead
	Local   bool     // for Refused: it is about one connection or one server, so native replication would not pass it on either
	Tables  []string // tables named, lower case, without database, each once
	Time    bool     // calls NOW() or a relative: the clock must be pinned
	LastID  bool     // reads LAST_INSERT_ID(): it must be pinned
	Inserts bool     // INSERT or REPLACE: may generate an id
	Reads   bool     // a write that also reads rows by query: needs gap locks to read the same rows everywhere
	Sorted  bool     // has an ORDER BY
	Call    bool     // CALL: what it does can't be seen

	Rows   bool    // an INSERT of rows that the text gives, which either inserts all of them or fails
	Equals []Equal // of an UPDATE or DELETE of one table: WHERE is these, all of them, and nothing else

	// Gap is set by the pool once replicas found different rows for this text: from then on it runs with gap locks.
	Gap atomic.Bool
}

// Classify returns what is known of text.
func Classify(text string) *Statement {
	toks := tokens(text)
	for len(toks) > 0 && toks[len(toks)-1].is(";") {
		toks = toks[:len(toks)-1]
	}
	if len(toks) == 0 {
		return refuseLocal("the statement is empty")
	}
	if slices.ContainsFunc(toks, func(t token) bool { return t.is(";") }) {
		return refuseLocal("several statements in one text; send them one by one, in a transaction if they belong together")
	}
	st := &Statement{Tables: findTables(toks)}
	verb := firstVerb(toks)
	switch {
	case readVerbs[verb]:
		st.read(toks)
	case writeVerbs[verb]:
		st.write(verb, toks)
		if !strings.Contains(text, "/*!") && !strings.Contains(text, "/*M!") { // not every server may run the same text
			st.exact(verb, toks)
		}
	case ddlVerbs[verb]:
		st.ddl(verb, toks)
	case verb == "SET":
		st.session(toks)
	case refusedVerbs[verb] != "":
		st.refuse(refusedVerbs[verb])
		st.Local = true
	default:
		st.write(verb, toks) // unknown means write
	}
	return st
}

func refuseLocal(reason string) *Statement {
	return &Statement{Kind: Refused, Reason: reason, Local: true}
}

func (st *Statement) refuse(reason string) { st.Kind, st.Reason = Refused, reason }

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
		switch {
		case t.is(":="):
			st.refuse("a user variable is assigned in a query; use a window function, or assign with SET")
			return
		case t.is("INTO"):
			st.refuse("SELECT ... INTO writes a file or a variable on one server only; scan the row instead")
			return
		case t.call && t.kind == word && sequenceFuncs[t.text], t.is("NEXT") && at(toks, i+1).is("VALUE"):
			st.refuse("sequences differ between replicas; make the id in the app or use AUTO_INCREMENT")
			return
		case t.kind == uservar, t.call && firstFuncs[t.text], locks(toks[i:]):
			st.Kind = ReadFirst
		case t.call && (t.kind == quoted || t.kind == word && !readFuncs[t.text]) && !namesTable(toks, i):
			st.Kind = Write // perhaps a stored function that writes
		}
	}
	if toks[0].is("SHOW") && (at(toks, 1).is("WARNINGS") || at(toks, 1).is("ERRORS") || at(toks, 1).is("COUNT")) {
		st.Kind = ReadFirst
	}
	if st.Kind == Write {
		st.write("", toks)
	}
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

// write settles a statement that changes rows on every replica.
func (st *Statement) write(verb string, toks []token) {
	if verb == "DO" && slices.ContainsFunc(toks, func(t token) bool { return t.call && firstFuncs[t.text] }) {
		st.Kind = ReadFirst // DO RELEASE_LOCK(...) and the like run where the lock was taken
		return
	}
	st.Kind = Write
	st.Inserts = verb == "INSERT" || verb == "REPLACE"
	st.Call = verb == "CALL"
	st.Reads = readsRows(verb, toks)
	limited := false
	for i, t := range toks {
		switch {
		case t.kind == sysvar:
			st.refuse("@@" + t.text + " may differ between servers; read it first and pass its value")
			return
		case t.is(":="):
			st.refuse("a user variable is assigned in a write; compute the value in the app and pass it")
			return
		case t.call && t.kind == word && unsafeFuncs[t.text] != "" && !namesTable(toks, i):
			st.refuse(t.text + "() gives every replica another value; " + unsafeFuncs[t.text])
			return
		case t.call && t.kind == word && sequenceFuncs[t.text], t.is("NEXT") && at(toks, i+1).is("VALUE"):
			st.refuse("sequences differ between replicas; make the id in the app or use AUTO_INCREMENT")
			return
		case t.kind == word && timeWords[t.text]:
			st.Time = true
		case t.is("LAST_INSERT_ID"):
			st.LastID = true
		case t.is("LIMIT"):
			limited = true
		case t.is("ORDER") && at(toks, i+1).is("BY"):
			st.Sorted = true
		}
	}
	if limited && !st.Sorted {
		st.refuse("LIMIT without ORDER BY picks other rows on each replica; add an ORDER BY on a unique key")
	}
}

// readsRows reports whether a write takes values or rows from a query, or from more than one table.
func readsRows(verb string, toks []token) bool {
	for i, t := range toks {
		if t.is("SELECT") || t.is("JOIN") || i > 0 && t.is("TABLE") && verb != "" {
			return true
		}
		if verb == "UPDATE" && t.is("SET") {
			verb = ""
		}
		if verb == "UPDATE" && t.is(",") || verb == "DELETE" && (t.is("USING") || t.is(",")) {
			return true
		}
	}
	return false
}

func (st *Statement) ddl(verb string, toks []token) {
	st.Kind = DDL
	for _, t := range toks[1:] {
		if t.is("TEMPORARY") {
			st.refuse("a temporary table lives on one connection of one server; use a common table expression or a real table")
			st.Local = true
			return
		}
		if t.is("SELECT") && verb == "CREATE" && !isView(toks) {
			st.refuse("CREATE TABLE ... SELECT copies rows in another order on each replica; create the table, then INSERT ... SELECT ... ORDER BY")
			return
		}
	}
}

func isView(toks []token) bool {
	return slices.ContainsFunc(toks, func(t token) bool {
		return t.is("VIEW") || t.is("PROCEDURE") || t.is("FUNCTION") || t.is("TRIGGER") || t.is("EVENT")
	})
}

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
		case t.call && t.kind == word && unsafeFuncs[t.text] != "", t.kind == word && timeWords[t.text] && i > 0, t.is("SELECT"):
			st.refuse("SET takes a value here that differs between servers; compute it in the app and pass it")
		}
		if st.Kind == Refused {
			st.Local = true
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
	before := at(toks, i-1)
	return before.kind == word && beforeTables[before.text] || before.is(".")
}
