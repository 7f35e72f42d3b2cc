package sqltext

import (
	"fmt"
	"slices"
)

// Outcome is what the modes that promise equality do with a statement.
type Outcome uint8

// The outcomes.
const (
	Exact   Outcome = iota // sent as it is: it has the same effect everywhere
	Made                   // made exact: what it depends on is found out once and sent
	Refuses                // not executed
)

// String is the outcome in a word or two.
func (o Outcome) String() string { return [...]string{"exact", "made exact", "refused"}[o] }

// How is how a statement is made exact. Several may apply.
type How uint16

// The ways.
const (
	PinClock  How = 1 << iota // the clock is stopped at one time for all replicas
	PinLastID                 // the first replica's LAST_INSERT_ID() is set on the others
	SendIDs                   // the ids that the first replica generated are set on the others
	PickRows                  // the rows that it changes are found, and locked, on the first replica, and named by their key for all
	SendRows                  // the query of INSERT ... SELECT runs on the first replica, and its rows are inserted on all
	SendMade                  // defaults that call functions are computed once and written into the statement
	OnePick                   // allowed if its values name one row by a unique key
	AllGiven                  // allowed if its values give each row an id
	HoldKeys                  // what an upsert's rows would meet by several keys is locked on the first replica, also where nothing is there
	AskIDs                    // the first replica is asked whether it numbered a row that a query gave
)

// Rule is one line of the table of statement kinds and properties of tables.
type Rule struct {
	Name     string  // one word or two, the same in every release
	Kind     string  // the statements that it is about
	Property string  // of the tables that they name; empty: any
	Outcome  Outcome //
	Why      string  // why it is exact, how it is made so, or why it is refused
	Instead  string  // for Refuses: what to write instead

	how     How
	applies func(c *judge) (detail string, ok bool)
}

// Verdict is what the rules say of a statement.
type Verdict struct {
	Outcome Outcome
	How     How
	Rules   []*Rule  // that apply, the one that refuses alone
	Reason  string   // for Refuses: a sentence with what to write instead
	Unknown string   // the table that made it so, where that is not in the schema
	Far     []string // tables of other databases that it reads, as written: they must be the same on all replicas
	Assumed []string // tables that are not in the schema, without which the outcome was found
}

// Is reports whether all of how is part of how the statement is made exact.
func (v *Verdict) Is(how How) bool { return v.How&how == how }

// Rules are all of them, in the order in which they are tried.
func Rules() []Rule { return slices.Clone(rules) }

func yes(ok bool) (string, bool)                { return "", ok }
func call(name string) (detail string, ok bool) { return name + "():", name != "" }

// rules are tried in this order: those that refuse for any tables, those that depend on the tables, and those that make a statement exact.
// A statement that no rule refuses or makes exact is exact as it is, under gap locks.
var rules = []Rule{
	{Name: "unreadable", Kind: "a write whose form is not known", Outcome: Refuses,
		Why: "what it does can't be told for sure", Instead: "write it as INSERT, REPLACE, UPDATE or DELETE in the plain form",
		applies: func(c *judge) (string, bool) {
			if c.bad != "" && c.write() {
				return "near " + c.bad + ":", true
			}
			if c.write() && c.all.strange != "" {
				return "near " + c.all.strange + ":", true
			}
			return "", false
		}},
	{Name: "executable comment", Kind: "a write with /*! ... */", Outcome: Refuses,
		Why: "which servers execute the comment depends on their version", Instead: "leave the comment's marks out",
		applies: func(c *judge) (string, bool) { return yes(c.write() && c.flaws.exec) }},
	{Name: "set_var", Kind: "a hint SET_VAR", Outcome: Refuses,
		Why: "a hint that sets a variable has an effect on one engine only", Instead: "SET the variable on a Conn",
		applies: func(c *judge) (string, bool) { return yes(c.flaws.setVar) }},
	{Name: "functions", Kind: "a write that calls RAND(), UUID(), SYSDATE(), USER(), GET_LOCK(), ...", Outcome: Refuses,
		Why: "every replica would give another value", Instead: "pass the value",
		applies: func(c *judge) (string, bool) {
			m := c.outside()
			if c.write() && m.unsafe != "" {
				return m.unsafe + "() is not passed on (" + unsafeFuncs[m.unsafe] + "):", true
			}
			return "", false
		}},
	{Name: "stored functions", Kind: "a write that calls a function that is not the servers' own", Outcome: Refuses,
		Why: "what it does can't be seen", Instead: "compute the value with a SELECT first and pass it",
		applies: func(c *judge) (string, bool) {
			if !c.write() {
				return "", false
			}
			return call(c.outside().unknown)
		}},
	{Name: "sequences", Kind: "NEXT VALUE FOR in a write", Outcome: Refuses,
		Why: "sequences differ between replicas", Instead: "make the id in the app or use AUTO_INCREMENT",
		applies: func(c *judge) (string, bool) { return yes(c.write() && c.outside().sequenced) }},
	{Name: "variables", Kind: "@@variables in a write", Outcome: Refuses,
		Why: "may differ between servers", Instead: "read it first and pass its value",
		applies: func(c *judge) (string, bool) {
			if v := c.outside().sysvar; c.write() && v != "" {
				return "@@" + lower(v), true
			}
			return "", false
		}},
	{Name: "assignments", Kind: "@x := in a write", Outcome: Refuses,
		Why: "a user variable is assigned in a write", Instead: "compute the value in the app and pass it",
		applies: func(c *judge) (string, bool) { return yes(c.write() && c.all.assigns) }},
	{Name: "skip locked", Kind: "SKIP LOCKED, NOWAIT or WAIT in an UPDATE or DELETE", Outcome: Refuses,
		Why:     "the rows would depend on what is locked on each replica just then",
		Instead: "find them with SELECT ... FOR UPDATE SKIP LOCKED in the same transaction, and name them by their key",
		applies: func(c *judge) (string, bool) { return yes(c.write() && c.outside().skips) }},
	{Name: "order in a subquery", Kind: "LIMIT, GROUP_CONCAT, window functions, ... in a subquery of an UPDATE, DELETE or VALUES", Outcome: Refuses,
		Why: "in a subquery depends on the order in which each replica reads", Instead: "run the subquery as a SELECT first and pass what it gave",
		applies: func(c *judge) (string, bool) {
			m := c.outside()
			switch {
			case !c.write():
			case m.ordered != "":
				return m.ordered, true
			case m.limits > 1, m.limits == 1 && c.f.Limit.Empty():
				return "LIMIT", true
			case m.bareGroup && m.queries > 0:
				return "GROUP BY with columns that it does not name", true
			case c.floatSum(m):
				return "a sum of floating-point numbers", true
			case c.stringExtreme(m) && m.queries > 0:
				return "MIN or MAX of strings", true
			}
			return "", false
		}},
	{Name: "insert select in place", Kind: "INSERT ... SELECT with arguments or text that can't be cut out", Outcome: Refuses,
		Why: "its query can't be run separately", Instead: "run the query as a SELECT first and insert its rows",
		applies: func(c *judge) (string, bool) {
			return yes(c.write() && c.Inserts() && c.f.Verb != "" && c.f.Table == "" && c.bad == "")
		}},
	{Name: "unknown table", Kind: "a write", Property: "a view, or the table that it changes is another database's", Outcome: Refuses,
		Why: "is not a table of this database", Instead: "write to the tables that all replicas have",
		applies: func(c *judge) (string, bool) {
			if !c.write() {
				return "", false
			}
			if c.f.Table == "" && len(c.farTables()) > 0 || c.f.Schema != "" && c.s.Database != "" && c.f.Schema != c.s.Database {
				return "a table of another database", true
			}
			far := func(name string) bool {
				return c.s.Database != "" && slices.ContainsFunc(c.far, func(f farTable) bool { return f.name == name && f.database != c.s.Database })
			}
			for _, name := range c.Tables {
				if c.s.Tables[name] == nil && !c.s.Lenient && !far(name) {
					c.unknown = name
					return name, true
				}
			}
			return "", false
		}},
	{Name: "engine", Kind: "a write", Property: "not InnoDB", Outcome: Refuses,
		Why: "has neither transactions nor row locks, which decide the order", Instead: "ALTER TABLE ... ENGINE=InnoDB",
		applies: func(c *judge) (string, bool) {
			return c.any(func(t *Table) bool { return t.Engine != "" && t.Engine != "INNODB" })
		}},
	{Name: "versioned", Kind: "a write", Property: "WITH SYSTEM VERSIONING", Outcome: Refuses,
		Why: "keeps each row's times by the server's own clock", Instead: "keep the history in a table of the app's",
		applies: func(c *judge) (string, bool) { return c.any(func(t *Table) bool { return t.Versioned }) }},
	{Name: "generated by function", Kind: "a write", Property: "a generated column that calls RAND(), UUID(), a stored function, ...", Outcome: Refuses,
		Why: "has a generated column that each replica computes otherwise", Instead: "write that value from the app",
		applies: func(c *judge) (string, bool) {
			return c.any(func(t *Table) bool {
				return slices.ContainsFunc(t.Columns, func(col Column) bool { return col.Generated && (col.Made != "" || col.Clock) })
			})
		}},
	{Name: "triggers", Kind: "a write", Property: "triggers that read rows, number rows, or call what is not the same everywhere", Outcome: Refuses,
		Why: "has triggers whose effect can't be told for sure", Instead: "do in the app, in the same transaction, what they do",
		applies: func(c *judge) (string, bool) {
			if !c.write() {
				return "", false
			}
			for _, t := range c.tables() {
				for _, body := range t.Triggers {
					if why := c.s.trigger(body, t); why != "" {
						return fmt.Sprintf("%s (%s)", t.Name, why), true
					}
				}
			}
			return "", false
		}},
	{Name: "cascades", Kind: "DELETE, REPLACE, and UPDATE or upsert of the columns that others refer to",
		Property: "rows that follow by a foreign key (CASCADE, SET NULL), on a MySQL (9.6 and later) with innodb_native_foreign_keys=OFF, its default", Outcome: Refuses,
		Why:     "has rows of other tables that follow by a foreign key; where these are locked, the server reports success, leaves the row as it is, and may have rolled the transaction back",
		Instead: "start the servers with innodb_native_foreign_keys=ON, or leave CASCADE and SET NULL out of the foreign key",
		applies: func(c *judge) (string, bool) {
			for _, t := range c.changes() {
				if c.write() && c.s.Swallows && c.s.followed(t, c.moves) {
					return t.Name, true
				}
			}
			return "", false
		}},
	{Name: "numbered by trigger", Kind: "an INSERT of several rows", Property: "generated ids and triggers", Outcome: Refuses,
		Why: "with triggers, the ids of several rows need not follow each other", Instead: "insert the rows one by one",
		applies: func(c *judge) (string, bool) {
			return yes(c.t != nil && len(c.t.Triggers) > 0 && c.generates() && len(c.f.Rows) != 1)
		}},
	{Name: "computed id", Kind: "an INSERT whose id is an expression", Property: "generated ids", Outcome: Refuses,
		Why: "whether the server numbers the row depends on the expression", Instead: "compute the id first and pass it, or leave it out",
		applies: func(c *judge) (string, bool) {
			i := c.autoIndex()
			return yes(i >= 0 && slices.ContainsFunc(c.f.Rows, func(row []Value) bool {
				return i < len(row) && (row[i].Kind == Expr || row[i].Kind == String ||
					row[i].Kind == Number && c.text[row[i].Pos] == '-' && c.t.Column(c.t.Auto).Unsigned)
			}))
		}},
	{Name: "upsert of the id", Kind: "INSERT ... ON DUPLICATE KEY UPDATE that sets the id, or reads the one that a new row would get", Property: "generated ids", Outcome: Refuses,
		Why: "the server then does not report the generated id", Instead: "leave the id out of ON DUPLICATE KEY UPDATE, except for id = LAST_INSERT_ID(id)",
		applies: func(c *judge) (string, bool) { return yes(c.write() && c.upsertsID() && !c.mayGiveIDs()) }},
	{Name: "mixed ids", Kind: "an INSERT that gives some of its rows an id", Property: "generated ids", Outcome: Refuses,
		Why: "some rows have an id and some are to be numbered, so the numbers need not follow each other", Instead: "give all rows an id, or none",
		applies: func(c *judge) (string, bool) {
			i := c.autoIndex()
			numbers, others := 0, 0
			for _, row := range c.f.Rows {
				switch {
				case i < 0 || i >= len(row):
				case row[i].Kind == Number || row[i].Kind == LastID:
					numbers++
				case row[i].Kind == Null || row[i].Kind == NumberZ:
					others++
				}
			}
			return yes(numbers > 0 && others > 0)
		}},
	{Name: "two keys", Kind: "INSERT ... ON DUPLICATE KEY UPDATE", Property: "several unique keys, in addition to the primary one, that its rows have values for, and the order in which they were created can't be compared", Outcome: Refuses,
		Why:     "a row may meet one row by one key and another by another key, and each replica looks at its keys in the order in which they were created",
		Instead: "give the account the right PROCESS, by which that order is compared; or INSERT, and UPDATE on error 1062, in a transaction",
		applies: func(c *judge) (string, bool) {
			others := slices.DeleteFunc(c.meets(), func(k Key) bool { return k.Name == "PRIMARY" })
			return yes(!c.s.Ordered && len(others) > 1)
		}},
	{Name: "unheld keys", Kind: "INSERT ... ON DUPLICATE KEY UPDATE", Property: "several unique keys that its rows have values for, one of which is computed, of prefixes, or given as an expression", Outcome: Refuses,
		Why: "which row is met also depends on rows that are not there, which can't be locked without knowing the values", Instead: "give the columns of the keys plain values; or INSERT, and UPDATE on error 1062, in a transaction",
		applies: func(c *judge) (string, bool) {
			keys := c.meets()
			return yes(len(keys) > 1 && c.f.Query.Empty() && !c.holdable(keys))
		}},
	{Name: "made default", Kind: "an INSERT that leaves out the column, or says DEFAULT", Property: "a default that calls UUID(), RAND(), ... and can't be computed by a query of its own", Outcome: Refuses,
		Why: "has a default that each replica would compute separately", Instead: "give the column a value",
		applies: func(c *judge) (string, bool) {
			if !c.write() {
				return "", false
			}
			called := slices.ContainsFunc(c.toks, func(t token) bool { return t.is("DEFAULT") && t.call }) // of a column: DEFAULT(c)
			for _, t := range c.tables() {
				if c.rest.defaults && (!c.Inserts() || c.f.Upsert || called) && slices.ContainsFunc(t.Columns, func(col Column) bool { return col.Made != "" }) {
					return t.Name, true
				}
			}
			if c.s.Without == "computed default" {
				return "", false
			}
			for _, col := range c.madeOmitted() {
				if col.MadeExpr == "" || col.Invisible && c.f.Columns == nil || !c.f.Query.Empty() && c.f.Columns == nil || slices.ContainsFunc(c.f.Rows, func(row []Value) bool { return len(row) == 0 }) {
					return c.t.Name + "." + col.Name, true
				}
			}
			return "", false
		}},
	{Name: "ignore", Kind: "UPDATE IGNORE, DELETE IGNORE, INSERT IGNORE ... ON DUPLICATE KEY UPDATE", Outcome: Refuses,
		Why: "which changes are left out, and what foreign keys did for them, depends on the order in which each replica reads, and on locks", Instead: "leave IGNORE out, and look at the error",
		applies: func(c *judge) (string, bool) {
			return yes(c.write() && c.f.Ignore && (!c.Inserts() || c.f.Upsert) || c.f.Table == "" && c.write() && slices.ContainsFunc(c.toks, func(t token) bool { return t.is("IGNORE") }))
		}},
	{Name: "joined update", Kind: "UPDATE of one table from rows of another", Outcome: Refuses,
		Why:     "where several rows match one, each replica takes the values of whichever it reads first",
		Instead: "join all columns of a unique key of the other table, or SELECT the rows and update them one by one",
		applies: func(c *judge) (string, bool) {
			_, _, one := c.join()
			return yes(c.f.Verb == "UPDATE" && c.f.Table == "" && !one)
		}},
	{Name: "moves keys", Kind: "UPDATE that sets a column of a unique key on several rows", Property: "unique keys", Outcome: Refuses,
		Why:     "whether a row meets another one depends on the order in which they are changed",
		Instead: "name the row by a unique key, or add an ORDER BY on all columns of one",
		applies: func(c *judge) (string, bool) { return yes(c.changesKey() && !c.picks() && !c.total()) }},
	{Name: "limit without key", Kind: "UPDATE or DELETE with LIMIT", Property: "no unique key without NULLs", Outcome: Refuses,
		Why: "LIMIT picks other rows on each replica, and the table has no key by which they could be named", Instead: "add a primary key",
		applies: func(c *judge) (string, bool) {
			return yes(c.write() && !c.f.Limit.Empty() && c.t != nil && c.t.Primary() == nil && !c.picks())
		}},
	{Name: "limit in a joined write", Kind: "UPDATE or DELETE of several tables with LIMIT", Outcome: Refuses,
		Why: "LIMIT picks other rows on each replica", Instead: "SELECT the keys with the LIMIT first and name them",
		applies: func(c *judge) (string, bool) {
			return yes(c.write() && !c.Inserts() && c.f.Table == "" && c.all.limits > 0)
		}},
	{Name: "partitions in a query", Kind: "joins and subqueries in a write", Property: "partitions, on MariaDB", Outcome: Refuses,
		Why: "after a query whose range can't be, MariaDB misses the rows of a table with partitions, for one statement on one server", Instead: "SELECT first and name the rows by their key",
		applies: func(c *judge) (string, bool) {
			return yes(c.write() && c.parted() && (c.t == nil || c.outside().queries > 0 || !c.Inserts() && c.t.Primary() == nil))
		}},
	{Name: "altered default", Kind: "ALTER TABLE that adds a column", Property: "a default that calls UUID(), RAND(), ...", Outcome: Refuses,
		Why: "gives the rows that are there another value on every replica", Instead: "add the column without that default, fill it from the app, and then set the default",
		applies: func(c *judge) (string, bool) {
			if c.Kind != DDL || !at(c.toks, 0).is("ALTER") || c.all.unsafe == "" && !c.all.sequenced {
				return "", false
			}
			return "ALTER TABLE with " + c.all.unsafe + "()", true
		}},
	{Name: "altered numbers", Kind: "ALTER TABLE that numbers its rows", Outcome: Refuses,
		Why: "numbers the rows that are there in the order in which each replica has them", Instead: "create a new table and insert the rows in the order that you want",
		applies: func(c *judge) (string, bool) {
			return "ALTER TABLE ... AUTO_INCREMENT", c.Kind == DDL && at(c.toks, 0).is("ALTER") && c.numbersRows()
		}},

	{Name: "clock", Kind: "NOW() and its relatives", Property: "defaults, ON UPDATE or triggers that read the clock", Outcome: Made, how: PinClock,
		Why: "the clock is stopped at one time for all replicas",
		applies: func(c *judge) (string, bool) {
			reads := func(t *Table) bool { return slices.ContainsFunc(t.Columns, func(col Column) bool { return col.Clock }) }
			return yes(c.all.clock || c.Kind == DDL && at(c.toks, 0).is("ALTER") || c.all.defaults && slices.ContainsFunc(c.tables(), reads) ||
				slices.ContainsFunc(c.changes(), func(t *Table) bool { return len(t.Triggers) > 0 || reads(t) }))
		}},
	{Name: "last id", Kind: "LAST_INSERT_ID() in a write", Outcome: Made, how: PinLastID,
		Why:     "it is asked on the first replica and set on the others",
		applies: func(c *judge) (string, bool) { return yes(c.write() && c.all.lastID) }},
	{Name: "generated ids", Kind: "INSERT and REPLACE, in bulk, IGNORE and upserts too", Property: "generated ids", Outcome: Made, how: SendIDs,
		Why:     "the id that the first replica gave is set on the others, from which they count on; for an upsert of several rows one of them is asked whether it has that row",
		applies: func(c *judge) (string, bool) { return yes(c.write() && c.generates()) }},
	{Name: "ids of a query", Kind: "INSERT ... SELECT that gives the ids", Property: "generated ids", Outcome: Exact, how: AskIDs,
		Why: "the first replica is asked whether it numbered a row, as it does where the query gives NULL or zero; such a statement is rolled back and refused",
		applies: func(c *judge) (string, bool) {
			return yes(c.write() && c.Inserts() && c.f.Rows == nil && c.autoIndex() >= 0 && !c.sends())
		}},
	{Name: "upsert of given ids", Kind: "INSERT ... ON DUPLICATE KEY UPDATE that sets the id, or reads the row's", Property: "generated ids", Outcome: Exact, how: AllGiven,
		Why:     "allowed where the values give every row an id",
		applies: func(c *judge) (string, bool) { return yes(c.write() && c.upsertsID()) }},
	{Name: "held keys", Kind: "INSERT ... ON DUPLICATE KEY UPDATE", Property: "several unique keys that its rows have values for", Outcome: Made, how: HoldKeys,
		Why:     "a query locks on the first replica what each row would meet by each of them, also where such a row is missing: it could appear before the other replicas look",
		applies: func(c *judge) (string, bool) { return yes(len(c.meets()) > 1 && c.f.Query.Empty()) }},
	{Name: "computed default", Kind: "an INSERT that leaves out the column, or says DEFAULT", Property: "a default such as (UUID()), (RAND())", Outcome: Made, how: SendMade,
		Why:     "the first replica computes it, once for each row, and it is written into the statement for all",
		applies: func(c *judge) (string, bool) { return yes(c.write() && len(c.madeOmitted()) > 0) }},
	{Name: "insert select", Kind: "INSERT ... SELECT that orders, limits, groups, numbers, ignores or updates", Outcome: Made, how: SendRows,
		Why:     "the query runs on the first replica, under locks, and its rows are inserted on all",
		applies: func(c *judge) (string, bool) { return yes(c.write() && c.sends()) }},
	{Name: "limit", Kind: "UPDATE and DELETE with LIMIT", Property: "a unique key without NULLs", Outcome: Made, how: PickRows,
		Why: "the rows are found and locked on the first replica, and named by their key for all",
		applies: func(c *judge) (string, bool) {
			return yes(c.write() && !c.f.Limit.Empty() && !c.total() && !c.picks() && (c.t != nil || c.s.Lenient))
		}},
	{Name: "partitions", Kind: "UPDATE and DELETE", Property: "partitions, on MariaDB", Outcome: Made, how: PickRows,
		Why:     "the rows are found and locked on the first replica, and named by their key for all, unless the statement names them so",
		applies: func(c *judge) (string, bool) { return yes(c.write() && c.parted() && !c.Inserts()) }},
	{Name: "limit one", Kind: "UPDATE and DELETE of the row that a unique key names, with LIMIT", Property: "a unique key", Outcome: Exact, how: OnePick,
		Why: "there is one row at most",
		applies: func(c *judge) (string, bool) {
			return yes(c.write() && c.picks() && !c.total() && (!c.f.Limit.Empty() || c.changesKey()))
		}},
	{Name: "limit in order", Kind: "UPDATE and DELETE with LIMIT and ORDER BY all columns of a unique key", Property: "a unique key without NULLs", Outcome: Exact,
		Why: "the order leaves no choice", applies: func(c *judge) (string, bool) {
			return yes(c.write() && !c.f.Limit.Empty() && c.total())
		}},
	{Name: "other database", Kind: "a write that reads a table of another database, such as seed data", Outcome: Made,
		Why:     "that table's CHECKSUM TABLE is compared on all replicas before its first use, and it is taken not to change while the pool is open",
		applies: func(c *judge) (string, bool) { return yes(len(c.farTables()) > 0) }},
	{Name: "rows given", Kind: "INSERT and REPLACE of rows that the text gives", Outcome: Exact,
		Why:     "each replica does the same with the same rows in the same order",
		applies: func(c *judge) (string, bool) { return yes(c.write() && c.f.Rows != nil) }},
	{Name: "rows found", Kind: "UPDATE, DELETE, joins, subqueries, INSERT ... SELECT", Property: "also with foreign keys, partitions, generated columns", Outcome: Exact,
		Why:     "gap locks on the first replica keep the rows that it found what they are until the others have found them",
		applies: func(c *judge) (string, bool) { return yes(c.write() && c.f.Rows == nil) }},
	{Name: "schema change", Kind: "CREATE, ALTER, DROP, TRUNCATE, RENAME, ...", Outcome: Exact,
		Why:     "it runs alone, on the first replica and then on the others, and the schemas are compared after it",
		applies: func(c *judge) (string, bool) { return yes(c.Kind == DDL) }},
}

func first(list []string) string {
	if len(list) == 0 {
		return ""
	}
	return list[0]
}
