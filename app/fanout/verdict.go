package fanout

import "forge.example/account/isukit/app/fanout/internal/sqltext"

// What the modes that promise equality (ModeOrdered, ModeDurable, ModeKeyed) do with a statement, and why. All of it is known
// from a statement's text and the schema, without a server.
type (
	// Verdict is what the rules say of one statement: its Outcome, the Rules that apply, and, for Refuses, the Reason, a
	// sentence that says what to write instead.
	Verdict = sqltext.Verdict
	// Rule is one line of the table of statement kinds and properties of tables, as docs/fanout.md has it.
	Rule = sqltext.Rule
	// Outcome is Exact, Made or Refuses.
	Outcome = sqltext.Outcome
	// Schema is the tables that statements are judged by.
	Schema = sqltext.Schema
)

// The outcomes.
const (
	Exact   = sqltext.Exact   // sent as it is: it has the same effect on every replica
	Made    = sqltext.Made    // made exact: what it depends on is found out once and sent
	Refuses = sqltext.Refuses // not executed
)

// Judge says what becomes of a statement over several replicas. Tables that schema lacks are taken to have nothing special, and
// are named in Verdict.Assumed; a nil schema lacks all. What depends on the values of arguments is judged as if these were of their
// columns' kinds.
func Judge(text string, schema *Schema) *Verdict {
	s := &Schema{}
	if schema != nil {
		*s = *schema
	}
	s.Lenient, s.MariaDB = true, true
	return sqltext.Classify(text).Judge(s)
}

// ReadSchema reads the CREATE TABLE statements in texts, which may hold others beside them, and fails for one that it does not
// understand. Triggers are not read.
func ReadSchema(texts ...string) (*Schema, error) { return sqltext.ReadSchema(texts...) }

// Rules are the rules in the order in which they are tried. A statement that none of them refuses is exact, or made so.
func Rules() []Rule { return sqltext.Rules() }
