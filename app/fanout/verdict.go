package fanout

import "forge.example/account/isukit/app/fanout/internal/sqltext"

// Rule is one line of the table of statement kinds and properties of tables in docs/fanout.md. Package lint uses them, without a server, to
// report what the modes that promise equality (ModeOrdered, ModeDurable, ModeKeyed) do with a statement, and why.
type Rule = sqltext.Rule

// Rules are the rules in the order in which they are tried. A statement that none of them refuses is exact, or made so.
func Rules() []Rule { return sqltext.Rules() }
