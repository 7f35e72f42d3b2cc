package fanouttest

import (
	"database/sql"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// genStep is one statement and the way in which it arrives.
type genStep struct {
	Text string
	Args []any
	Via  string // exec, query, prepare, preparequery, named, namedquery
}

func (s genStep) String() string {
	text := s.Text
	for _, a := range s.Args {
		text = strings.Replace(text, "?", "\x01"+literal(a), 1)
	}
	via := s.Via
	if len(s.Args) > 0 {
		via += fmt.Sprintf(" with %d arguments", len(s.Args))
	}
	return strings.ReplaceAll(text, "\x01", "") + " -- " + via
}

// genUnit is what one client does in one go: a statement, or some on one connection or in one transaction.
type genUnit struct {
	Steps    []genStep
	Conn     bool // on a connection of its own
	Tx       bool
	Level    sql.IsolationLevel
	Rollback bool
	GoOn     bool          // in a transaction, behind a statement that failed
	Cancel   time.Duration // 0 is never
}

func (u genUnit) String() string {
	var b strings.Builder
	if u.Tx {
		fmt.Fprintf(&b, "BEGIN -- %v\n", u.Level)
	}
	for _, s := range u.Steps {
		fmt.Fprintln(&b, s)
	}
	switch {
	case u.Tx && u.Rollback:
		fmt.Fprintln(&b, "ROLLBACK")
	case u.Tx:
		fmt.Fprintln(&b, "COMMIT")
	}
	if u.Conn {
		fmt.Fprintln(&b, "-- these on one connection")
	}
	if u.Cancel > 0 {
		fmt.Fprintf(&b, "-- given up after %v\n", u.Cancel)
	}
	return b.String()
}

// grammar makes random statements for a schema.
type grammar struct {
	*genSchema
	r       *rand.Rand
	ddl     int // one in so many changes the schema; 0 is none
	cancels bool
	loose   bool   // transactions at READ COMMITTED
	without string // kinds that are not made, a word each: query upsert select many ignore replace server explicit
	changes int

	among  bool  // others are on the connection of the statement that is being made
	args   []any // of that statement
	inline bool  // its values are in its text
}

func (g *grammar) one(n int) bool { return g.r.IntN(n) == 0 }

// leaves reports whether a kind of statement is not wanted.
func (g *grammar) leaves(kind string) bool { return strings.Contains(g.without, kind) }

func (g *grammar) unit() genUnit {
	u := genUnit{Conn: g.one(10), GoOn: g.one(2)}
	if g.cancels && g.one(25) {
		u.Cancel = time.Microsecond << g.r.IntN(15)
	}
	if g.ddl > 0 && g.one(g.ddl) {
		return genUnit{Steps: []genStep{{Text: g.change(), Via: "exec"}}}
	}
	n := 1
	if g.one(3) || g.loose && !g.one(4) {
		u.Tx, u.Rollback = true, g.one(7)
		u.Level = oneOf(g.r, sql.LevelDefault, sql.LevelDefault, sql.LevelDefault, sql.LevelRepeatableRead, sql.LevelRepeatableRead, sql.LevelReadCommitted, sql.LevelSerializable)
		if g.loose {
			u.Level = sql.LevelReadCommitted
		}
		n = 1 + g.r.IntN(5)
	} else if u.Conn {
		n = 1 + g.r.IntN(4)
	}
	for range n {
		u.Steps = append(u.Steps, g.step(u.Tx || u.Conn))
	}
	return u
}

// step is one statement; among says that others are on its connection.
func (g *grammar) step(among bool) genStep {
	g.among = among
	g.args, g.inline = nil, g.one(3)
	t := g.tables[g.r.IntN(len(g.tables))]
	var text string
	query := false
	switch n := g.r.IntN(100); {
	case n < 45:
		text = g.insert(t)
	case n < 70:
		text = g.update(t)
	case n < 82:
		text = g.delete(t)
	case n < 86:
		text, query = g.read(t, among), true
	case n < 88 && len(g.calls) > 0:
		text = fmt.Sprintf(oneOf(g.r, g.calls...), g.r.IntN(20))
		query = strings.HasPrefix(text, "SELECT")
	case n < 90 && among:
		text, query = "SELECT LAST_INSERT_ID()", true
	default:
		text = g.insert(t)
	}
	if g.engine == "mariadb" && g.one(12) && returns(text) && !g.leaves("query") {
		text, query = text+" RETURNING "+oneOf(g.r, "*", t.columns[0].name), true
	}
	if g.one(20) {
		text = oneOf(g.r, "/* a comment; with ? and 'quotes' */ ", "-- a line\n", "\n\t ", "# a line\n") + text
	}
	s := genStep{Text: text, Args: g.args}
	s.Via = oneOf(g.r, "exec", "exec", "exec", "prepare", "named", "query")
	if g.leaves("query") && s.Via == "query" {
		s.Via = "exec"
	}
	if query || s.Via == "query" {
		s.Via = oneOf(g.r, "query", "query", "preparequery", "namedquery")
	}
	if strings.Contains(text, ":") || strings.Contains(text, "a comment") {
		s.Via = strings.Replace(strings.Replace(s.Via, "namedquery", "query", 1), "named", "exec", 1)
	}
	return s
}

func returns(text string) bool {
	verb, _, _ := strings.Cut(text, " ")
	return verb == "INSERT" || verb == "REPLACE" || verb == "DELETE" && !strings.Contains(text, "USING") && !strings.Contains(text, "JOIN")
}

// val puts a value into the statement.
func (g *grammar) val(v any) string {
	if g.inline || v == nil {
		return literal(v)
	}
	g.args = append(g.args, v)
	return "?"
}

// given is a value for a column of an INSERT.
func (g *grammar) given(c *genColumn) string {
	switch n := g.r.IntN(40); {
	case n < 2 && c.null:
		return "NULL"
	case n == 3 && (c.def != "" || c.null):
		return "DEFAULT"
	case n == 4 && c.num && !g.pure: // what it gives depends on the connection
		return "LAST_INSERT_ID()"
	case n == 5 && c.clock && !g.pure:
		return oneOf(g.r, "NOW()", "NOW(6)", "CURRENT_TIMESTAMP", "CURDATE()", "UTC_TIMESTAMP(6)", "NOW() + INTERVAL 1 DAY", "SYSDATE()")
	case n == 11 && c.def != "" && !g.pure:
		return "DEFAULT(" + c.name + ")"
	case n == 6 && c.num:
		return "LENGTH(" + g.val("äöü") + ") + 1"
	case n == 7 && c.text:
		return "CONCAT(" + g.val(oneOf(g.r, "a", "b")) + ", 'x')"
	case n == 8 && !g.pure && c.num:
		return oneOf(g.r, "FLOOR(RAND() * 1000)", "CONNECTION_ID() % 100", "@@server_id", "UNIX_TIMESTAMP()", "@v := 5", "UUID_SHORT() % 1000", "@@port % 100")
	case n == 9 && !g.pure && c.text:
		return oneOf(g.r, "UUID()", "LEFT(UUID(), 20)", "USER()", "VERSION()", "CURRENT_USER", "DATABASE()", "HEX(RANDOM_BYTES(3))")
	case n == 10 && c.num:
		o := g.tables[g.r.IntN(len(g.tables))]
		return "(SELECT COUNT(*) FROM " + o.name + " o)"
	}
	return g.val(c.values(g.r))
}

// chosen are the columns that an INSERT names.
func (g *grammar) chosen(t *genTable) (columns []*genColumn) {
	for _, c := range t.columns {
		switch {
		case c.generated != "":
		case c == t.auto && (g.r.IntN(10) > 2 || g.hides(t)):
		case !c.needed && c != t.auto && g.one(3):
		default:
			columns = append(columns, c)
		}
	}
	if len(columns) == 0 {
		columns = append(columns, t.columns[0])
	}
	return columns
}

// hides reports whether a plain MySQL may have a next id of t that SHOW CREATE TABLE does not contain (align): it also leaves out, later, the id of a
// row that a key or a foreign key has refused.
func (g *grammar) hides(t *genTable) bool {
	return g.pure && g.engine == "mysql" && (t.parent != nil || len(t.unique) > 0)
}

func (g *grammar) row(t *genTable, columns []*genColumn) string {
	list := make([]string, len(columns))
	for i, c := range columns {
		if n := g.r.IntN(4); c == t.auto && n < 3 {
			list[i] = []string{"NULL", "0", "DEFAULT"}[n]
			continue
		}
		list[i] = g.given(c)
	}
	return "(" + strings.Join(list, ", ") + ")"
}

func (g *grammar) insert(t *genTable) string {
	verb := "INSERT"
	switch n := g.r.IntN(20); {
	case n < 2 && !g.leaves("replace"):
		verb = "REPLACE"
	case n < 4 && !g.leaves("ignore"):
		verb = "INSERT IGNORE"
	}
	columns := g.chosen(t)
	head := fmt.Sprintf("%s INTO %s (%s) ", verb, t.name, columnList(columns))
	// How many ids a server takes for the rows of a query is its own affair: a plain server's next one is another.
	if g.one(9) && !g.leaves("select") && !(g.pure && g.among && t.auto != nil) {
		return head + g.insertSelect(t, columns, verb)
	}
	if g.one(15) {
		sets := make([]string, len(columns))
		for i, c := range columns {
			sets[i] = c.name + " = " + g.given(c)
		}
		return fmt.Sprintf("%s INTO %s SET %s", verb, t.name, strings.Join(sets, ", ")) + g.upsert(t, verb, false)
	}
	var rows []string
	for range oneOf(g.r, 1, 1, 1, 2, 3, 5) {
		if g.leaves("many") && len(rows) > 0 {
			break
		}
		rows = append(rows, g.row(t, columns))
	}
	text := head + "VALUES " + strings.Join(rows, ", ")
	if g.engine == "mysql" && verb == "INSERT" && g.one(8) {
		c := columns[g.r.IntN(len(columns))]
		return text + fmt.Sprintf(" AS fresh ON DUPLICATE KEY UPDATE %s = fresh.%s", c.name, c.name)
	}
	return text + g.upsert(t, verb, len(rows) > 1)
}

// upsert is ON DUPLICATE KEY UPDATE, often. Its ids of several rows depend on which of them the server keeps in reserve.
func (g *grammar) upsert(t *genTable, verb string, many bool) string {
	if verb == "REPLACE" || g.r.IntN(3) > 0 || g.leaves("upsert") {
		return ""
	}
	var sets []string
	if t.auto != nil && g.one(3) && !(g.pure && many) {
		sets = append(sets, fmt.Sprintf("%s.%s = LAST_INSERT_ID(%s.%s)", t.name, t.auto.name, t.name, t.auto.name))
	}
	for _, c := range t.columns {
		if c.generated != "" || c == t.auto || g.one(2) && len(sets) > 0 {
			continue
		}
		name := t.name + "." + c.name // INSERT ... SELECT may read a column of that name
		switch n := g.r.IntN(6); {
		case n < 3:
			sets = append(sets, name+" = VALUES("+c.name+")")
		case n < 4 && c.num:
			sets = append(sets, name+" = "+name+" + 1")
		case c.def != "" && g.one(6):
			sets = append(sets, name+" = DEFAULT")
		default:
			sets = append(sets, name+" = "+g.val(c.values(g.r)))
		}
	}
	if len(sets) == 0 {
		return ""
	}
	return " ON DUPLICATE KEY UPDATE " + strings.Join(sets, ", ")
}

func (g *grammar) insertSelect(t *genTable, columns []*genColumn, verb string) string {
	from := g.tables[g.r.IntN(len(g.tables))]
	numbered := g.pure && t.auto != nil // which row gets which number is the server's choice without an order
	if numbered && len(from.key) == 0 {
		from = t
	}
	picks := make([]string, len(columns))
	for i, c := range columns {
		like := slices.IndexFunc(from.columns, func(o *genColumn) bool { return o.decl == c.decl })
		switch {
		case like >= 0:
			picks[i] = "s." + from.columns[like].name
		case c.num && !g.one(3) && g.comparable(from.columns[0], c):
			picks[i] = "s." + from.columns[0].name + " + 0"
		default:
			picks[i] = g.val(c.values(g.r))
		}
	}
	text := "SELECT " + strings.Join(picks, ", ") + " FROM " + from.name + " s"
	if g.one(2) {
		text += " WHERE " + g.where(from, "s.")
	}
	if len(from.key) > 0 && (g.r.IntN(4) > 0 || numbered) {
		text += " ORDER BY s." + strings.Join(strings.Split(columnList(from.key), ", "), ", s.")
	}
	if g.one(2) && (!g.pure || strings.Contains(text, "ORDER BY s.")) {
		text += fmt.Sprint(" LIMIT ", 1+g.r.IntN(5))
	}
	if g.one(8) {
		text += oneOf(g.r, " FOR UPDATE SKIP LOCKED", " FOR UPDATE", " LOCK IN SHARE MODE")
	}
	return text + g.upsert(t, verb, true)
}

// comparable reports whether two columns may meet: what a text has of a number, and whether a server looks at all, would show in pure worlds.
func (g *grammar) comparable(a, b *genColumn) bool {
	return !g.pure || a.num && b.num || a.decl == b.decl
}

// where is a condition on t, whose columns have a prefix.
func (g *grammar) where(t *genTable, prefix string) string {
	var all []*genColumn
	all = append(all, t.key...)
	all = append(all, t.key...)
	if len(t.unique) > 0 {
		all = append(all, t.unique[g.r.IntN(len(t.unique))]...)
	}
	all = append(all, t.columns...)
	c := all[g.r.IntN(len(all))]
	name := prefix + c.name
	var text string
	trap := g.pure && strings.Contains(t.ddl, "PARTITION BY") // a range that can't be has a plain MariaDB miss rows of the next statement
	switch n := g.r.IntN(14); {
	case n < 6:
		text = name + " = " + g.val(c.values(g.r))
	case n < 7:
		text = name + " IN (" + g.val(c.values(g.r)) + ", " + g.val(c.values(g.r)) + ")"
	case n < 8:
		text = name + oneOf(g.r, " > ", " < ", " <> ", " <=> ") + g.val(c.values(g.r))
	case n < 9 && trap:
		text = name + " IS NOT NULL"
	case n < 9:
		text = name + oneOf(g.r, " IS NULL", " IS NOT NULL")
	case n < 10 && c.text:
		text = name + " LIKE " + g.val("%a%")
	case n < 11 && !trap:
		text = name + " BETWEEN " + g.val(c.values(g.r)) + " AND " + g.val(c.values(g.r))
	case n < 12 && g.one(2):
		o := g.tables[g.r.IntN(len(g.tables))]
		text = fmt.Sprintf("%sEXISTS (SELECT 1 FROM %s x WHERE x.%s = %s)", oneOf(g.r, "", "NOT "), o.name, o.columns[0].name, g.val(o.columns[0].values(g.r)))
	case n < 13 && g.one(3) && len(t.key) == 1:
		text = fmt.Sprintf("%s%s IN (SELECT id FROM (SELECT %s AS id FROM %s ORDER BY %s LIMIT 2%s) y)", prefix, t.key[0].name, t.key[0].name, t.name, t.key[0].name,
			oneOf(g.r, "", "", " FOR UPDATE SKIP LOCKED", " FOR UPDATE NOWAIT"))
	default:
		text = name + " = " + g.val(c.values(g.r))
	}
	if g.one(4) {
		both := oneOf(g.r, " AND ", " OR ")
		if trap {
			both = " OR "
		}
		text += both + g.where(t, prefix)
	}
	return text
}

// tail is ORDER BY and LIMIT, sometimes.
func (g *grammar) tail(t *genTable) string {
	switch n := g.r.IntN(12); {
	case n == 0 && len(t.key) > 0:
		return fmt.Sprintf(" ORDER BY %s%s LIMIT %d", columnList(t.key), oneOf(g.r, "", " DESC"), 1+g.r.IntN(3))
	case g.pure: // which rows are taken is the server's choice
	case n == 1:
		return fmt.Sprintf(" ORDER BY %s LIMIT %d", t.columns[len(t.columns)-1].name, 1+g.r.IntN(3))
	case n == 2:
		return " LIMIT 1"
	}
	return ""
}

func (g *grammar) sets(t *genTable, prefix string) string {
	var sets []string
	for _, c := range t.columns {
		switch {
		case c.generated != "" || g.one(2) && len(sets) > 0 || (c == t.auto || slices.Contains(t.key, c)) && !g.one(8):
		case c.num && g.one(3):
			sets = append(sets, fmt.Sprintf("%s%s = %s%s + %d", prefix, c.name, prefix, c.name, g.r.IntN(3)))
		case c.text && g.one(5):
			sets = append(sets, fmt.Sprintf("%s%s = LEFT(CONCAT(%s%s, 'y'), 8)", prefix, c.name, prefix, c.name))
		default:
			sets = append(sets, prefix+c.name+" = "+g.given(c))
		}
	}
	if len(sets) == 0 {
		c := t.columns[len(t.columns)-1]
		return prefix + c.name + " = " + g.val(c.values(g.r))
	}
	return strings.Join(sets, ", ")
}

func (g *grammar) update(t *genTable) string {
	if g.one(12) {
		o := g.tables[g.r.IntN(len(g.tables))]
		if o != t && g.comparable(t.columns[0], o.columns[0]) {
			return fmt.Sprintf("UPDATE %s a JOIN %s b ON a.%s = b.%s SET %s WHERE %s", t.name, o.name, t.columns[0].name, o.columns[0].name, g.sets(t, "a."), g.where(o, "b."))
		}
	}
	text := "UPDATE " + oneOf(g.r, "", "", "", "", "", "IGNORE ") + t.name + " SET " + g.sets(t, "")
	if g.one(30) {
		return text
	}
	return text + " WHERE " + g.where(t, "") + g.tail(t)
}

func (g *grammar) delete(t *genTable) string {
	if g.one(10) {
		o := g.tables[g.r.IntN(len(g.tables))]
		if o != t && g.comparable(t.columns[0], o.columns[0]) {
			return fmt.Sprintf("DELETE a FROM %s a JOIN %s b ON a.%s = b.%s WHERE %s",
				t.name, o.name, t.columns[0].name, o.columns[0].name, g.where(o, "b."))
		}
	}
	return "DELETE FROM " + t.name + " WHERE " + g.where(t, "") + g.tail(t)
}

func (g *grammar) read(t *genTable, among bool) string {
	text := "SELECT * FROM " + t.name + " WHERE " + g.where(t, "")
	if len(t.key) > 0 {
		text += " ORDER BY " + columnList(t.key)
	}
	if among {
		text += oneOf(g.r, "", "", " FOR UPDATE", " FOR UPDATE", " LOCK IN SHARE MODE", " LIMIT 2 FOR UPDATE SKIP LOCKED", " FOR UPDATE NOWAIT")
	}
	return text
}

// change is a statement that changes the schema.
func (g *grammar) change() string {
	t := g.tables[g.r.IntN(len(g.tables))]
	g.changes++
	name := fmt.Sprint("z", g.changes)
	if g.pure {
		return oneOf(g.r, "ALTER TABLE "+t.name+" ADD COLUMN "+name+" INT DEFAULT 7", "CREATE INDEX "+name+" ON "+t.name+" ("+t.columns[0].name+")",
			"ALTER TABLE "+t.name+" ADD COLUMN "+name+" VARCHAR(9) NOT NULL DEFAULT 'n'", "TRUNCATE TABLE "+t.name, "ANALYZE TABLE "+t.name)
	}
	return oneOf(g.r, "ALTER TABLE "+t.name+" ADD COLUMN "+name+" INT DEFAULT 7", "CREATE INDEX "+name+" ON "+t.name+" ("+t.columns[0].name+")",
		"ALTER TABLE "+t.name+" ADD COLUMN "+name+" DATETIME(6) DEFAULT CURRENT_TIMESTAMP(6)",
		"ALTER TABLE "+t.name+" ADD COLUMN "+name+" DATETIME(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6)",
		"ALTER TABLE "+t.name+" ADD COLUMN "+name+" VARCHAR(36) DEFAULT (UUID())",
		"ALTER TABLE "+t.name+" ADD COLUMN "+name+" BIGINT NOT NULL AUTO_INCREMENT UNIQUE",
		"TRUNCATE TABLE "+t.name, "ALTER TABLE "+t.name+" ADD COLUMN "+name+" DOUBLE AS (1.5) STORED")
}
