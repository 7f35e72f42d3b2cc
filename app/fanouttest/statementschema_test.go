package fanouttest

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
)

// genType is a column type of random schemas, with values from a domain that is small enough for keys to collide.
type genType struct {
	decl   string
	values func(r *rand.Rand) any
	num    bool // arithmetic makes sense
	text   bool // CONCAT and LIKE make sense
	clock  bool // may take the time
	key    bool // may be part of a key as it is
	plain  bool // may have a literal DEFAULT
}

func oneOf[T any](r *rand.Rand, list ...T) T { return list[r.IntN(len(list))] }

func someOf(list ...any) func(*rand.Rand) any {
	return func(r *rand.Rand) any { return list[r.IntN(len(list))] }
}

func upTo(n int) func(*rand.Rand) any {
	return func(r *rand.Rand) any { return int64(r.IntN(n)) }
}

var genWords = someOf("a", "A", "b", "B", "ab", "äb", "Ab", "", "zz", "it's", `back\slash`, "a ", "é", "naïve", "q?q")

var genTypes = []genType{
	{decl: "INT", values: upTo(12), num: true, key: true, plain: true},
	{decl: "BIGINT", values: upTo(30), num: true, key: true, plain: true},
	{decl: "SMALLINT UNSIGNED", values: upTo(9), num: true, key: true, plain: true},
	{decl: "TINYINT(1)", values: upTo(2), num: true, plain: true},
	{decl: "DECIMAL(10,2)", values: someOf(int64(3), "1.25", "-7.50", "0.00", int64(100)), num: true, key: true, plain: true},
	{decl: "DOUBLE", values: someOf(1.5, int64(2), -0.25, 1e10), num: true, plain: true},
	{decl: "VARCHAR(20)", values: genWords, text: true, key: true, plain: true},
	{decl: "VARCHAR(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin", values: genWords, text: true, key: true, plain: true},
	{decl: "VARCHAR(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci", values: genWords, text: true, key: true, plain: true},
	{decl: "CHAR(10) CHARACTER SET latin1", values: genWords, text: true, key: true, plain: true},
	{decl: "TEXT", values: genWords, text: true},
	{decl: "VARBINARY(16)", values: someOf([]byte{0, 1}, []byte("a"), []byte("A"), []byte{0xff, 0x27}), key: true},
	{decl: "BLOB", values: someOf([]byte{0, 1}, []byte("a"), []byte{0xff, 0x5c})},
	{decl: "DATE", values: someOf("2024-02-29", "2025-01-01", "2026-11-30"), key: true, clock: true, plain: true},
	{decl: "DATETIME", values: someOf("2024-02-29 01:02:03", "2025-06-01 00:00:00"), key: true, clock: true, plain: true},
	{decl: "DATETIME(6)", values: someOf("2024-02-29 01:02:03.5", "2025-06-01 00:00:00"), clock: true, plain: true},
	{decl: "TIMESTAMP NULL", values: someOf("2024-02-29 01:02:03", "2025-06-01 00:00:00"), clock: true},
	{decl: "TIME", values: someOf("01:02:03", "-10:00:00"), plain: true},
	{decl: "YEAR", values: someOf(int64(2024), int64(2030)), plain: true},
	{decl: "ENUM('red','green','blue')", values: someOf("red", "green", "blue", int64(2)), key: true, plain: true},
	{decl: "SET('x','y','z')", values: someOf("x", "x,y", "", "z"), plain: true},
	{decl: "BIT(8)", values: someOf(int64(0), int64(5), int64(255))},
	{decl: "JSON", values: someOf(`{"a": 1}`, `[1, 2, "x"]`, `{"b": {"c": null}, "a": 2}`)},
}

type genColumn struct {
	name string
	genType
	null      bool
	def       string // DEFAULT clause, with what follows it
	generated string // expression
	needed    bool   // an INSERT has to give it
}

type genTable struct {
	name    string
	columns []*genColumn
	auto    *genColumn // of AUTO_INCREMENT, or nil
	key     []*genColumn
	unique  [][]*genColumn
	ddl     string
	after   []string // triggers
	parent  *genTable
	link    *genColumn // references the parent's key
}

// genSchema is a random schema. What a plain server would compute in the same way, and at another time otherwise, is left out of pure ones.
type genSchema struct {
	engine string
	pure   bool
	tables []*genTable
	extra  []string // routines and views
	calls  []string // what calls them
}

// statements are those that make the schema.
func (s *genSchema) statements() []string {
	var list []string
	for _, t := range s.tables {
		list = append(list, t.ddl)
	}
	for _, t := range s.tables {
		list = append(list, t.after...)
	}
	return append(list, s.extra...)
}

// fires reports whether there are triggers on MariaDB: a statement that is killed while it reads them leaves them unreadable there.
func (s *genSchema) fires() bool {
	return s.engine == "mariadb" && slices.ContainsFunc(s.tables, func(t *genTable) bool { return len(t.after) > 0 })
}

func genSchemaOf(r *rand.Rand, engine string, pure bool) *genSchema {
	s := &genSchema{engine: engine, pure: pure}
	for i := range 2 + r.IntN(3) {
		s.tables = append(s.tables, s.table(r, i))
	}
	for _, t := range s.tables {
		s.triggers(r, t)
	}
	s.routines(r)
	return s
}

func (s *genSchema) table(r *rand.Rand, i int) *genTable {
	t := &genTable{name: fmt.Sprint("t", i)}
	var lines []string
	t.keyColumns(r)
	if i > 0 && r.IntN(3) == 0 && s.tables[0].single() {
		t.parent = s.tables[0]
		t.link = &genColumn{name: "up", genType: t.parent.key[0].genType, null: true}
		t.link.decl = strings.TrimSuffix(t.link.decl, " AUTO_INCREMENT")
		t.columns = append(t.columns, t.link)
	}
	for j := range 2 + r.IntN(5) {
		t.columns = append(t.columns, s.column(r, t, fmt.Sprint("c", j)))
	}
	for _, c := range t.columns {
		lines = append(lines, c.line())
	}
	if len(t.key) > 0 {
		lines = append(lines, "PRIMARY KEY ("+columnList(t.key)+")")
	}
	lines = append(lines, t.keys(r)...)
	if t.parent != nil {
		lines = append(lines, fmt.Sprintf("FOREIGN KEY (up) REFERENCES %s (%s) ON DELETE %s ON UPDATE %s", t.parent.name, t.parent.key[0].name,
			oneOf(r, "CASCADE", "SET NULL", "RESTRICT"), oneOf(r, "CASCADE", "RESTRICT")))
	}
	t.ddl = "CREATE TABLE " + t.name + " (" + strings.Join(lines, ", ") + ") " + oneOf(r, "", "", "DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci", "AUTO_INCREMENT = 5")
	if i > 0 && t.parent == nil && len(t.unique) == 0 && len(t.key) == 1 && t.key[0].num && r.IntN(3) == 0 {
		t.ddl += oneOf(r, " PARTITION BY HASH ("+t.key[0].name+") PARTITIONS 3", " PARTITION BY KEY ("+t.key[0].name+") PARTITIONS 2",
			" PARTITION BY RANGE ("+t.key[0].name+") (PARTITION p0 VALUES LESS THAN (6), PARTITION p1 VALUES LESS THAN MAXVALUE)")
	}
	return t
}

// single reports whether one number identifies each row.
func (t *genTable) single() bool { return len(t.key) == 1 && t.key[0].num }

func (t *genTable) keyColumns(r *rand.Rand) {
	id := &genColumn{name: "id", genType: genType{decl: oneOf(r, "INT", "BIGINT", "INT UNSIGNED"), values: upTo(40), num: true, key: true}}
	switch r.IntN(10) {
	case 0: // no key at all
		return
	case 1: // a text
		id.genType, id.needed = genTypes[6], true
		id.null = false
		t.columns, t.key = []*genColumn{id}, []*genColumn{id}
		return
	case 2: // two columns
		other := &genColumn{name: "sub", genType: genType{decl: "INT", values: upTo(5), num: true, key: true}, needed: true}
		id.needed, id.values = true, upTo(8)
		t.columns, t.key = []*genColumn{id, other}, []*genColumn{id, other}
		return
	case 3: // given
		id.needed = true
	default:
		t.auto = id
		id.decl += " AUTO_INCREMENT"
	}
	t.columns, t.key = []*genColumn{id}, []*genColumn{id}
}

func (s *genSchema) column(r *rand.Rand, t *genTable, name string) *genColumn {
	c := &genColumn{name: name, genType: genTypes[r.IntN(len(genTypes))], null: r.IntN(2) == 0}
	if s.pure && strings.HasPrefix(c.decl, "TIMESTAMP") {
		c.decl = "DATETIME"
	}
	if s.pure && strings.HasPrefix(c.decl, "ENUM") {
		c.values = someOf("red", "green", "blue") // compared with a number, a text is an error for its reader
	}
	if r.IntN(8) == 0 && len(t.columns) > 0 {
		if base := t.columns[r.IntN(len(t.columns))]; base != t.auto && base != t.link && base.generated == "" && base.num {
			c.genType = genType{decl: "BIGINT", values: upTo(30), num: true, key: true}
			c.generated, c.null = "COALESCE("+base.name+", 0) % 7 + 1", true
			return c
		}
	}
	switch {
	case c.plain && r.IntN(3) == 0:
		v := c.values(r)
		if n, ok := v.(int64); ok && strings.HasPrefix(c.decl, "ENUM") {
			v = []string{"red", "green", "blue"}[n]
		}
		c.def = " DEFAULT " + literal(v)
	case !s.pure && c.clock && strings.HasPrefix(c.decl, "DATETIME") && r.IntN(2) == 0:
		precision := strings.TrimPrefix(c.decl, "DATETIME")
		c.def = " DEFAULT CURRENT_TIMESTAMP" + precision + oneOf(r, "", " ON UPDATE CURRENT_TIMESTAMP"+precision)
	case !s.pure && c.text && strings.HasPrefix(c.decl, "VARCHAR") && r.IntN(12) == 0:
		c.def = " DEFAULT (LEFT(UUID(), 20))"
	case !s.pure && c.num && c.decl == "DOUBLE" && r.IntN(4) == 0:
		c.def = " DEFAULT (RAND())"
	case c.num && c.decl == "BIGINT" && r.IntN(6) == 0:
		c.def = " DEFAULT (1 + 2)"
	}
	c.needed = !c.null && c.def == ""
	return c
}

func (c *genColumn) line() string {
	switch {
	case c.generated != "":
		return c.name + " " + c.decl + " AS (" + c.generated + ") STORED"
	case strings.HasSuffix(c.decl, " NULL"), c.null:
		return c.name + " " + strings.TrimSuffix(c.decl, " NULL") + " NULL" + c.def
	}
	return c.name + " " + strings.Replace(c.decl, " AUTO_INCREMENT", " NOT NULL AUTO_INCREMENT", 1) + notNull(c.decl) + c.def
}

func notNull(decl string) string {
	if strings.HasSuffix(decl, "AUTO_INCREMENT") {
		return ""
	}
	return " NOT NULL"
}

func columnList(columns []*genColumn) string {
	list := make([]string, len(columns))
	for i, c := range columns {
		list[i] = c.name
	}
	return strings.Join(list, ", ")
}

// keys adds unique keys and indexes.
func (t *genTable) keys(r *rand.Rand) (lines []string) {
	var fit []*genColumn
	for _, c := range t.columns {
		if c.genType.key && c != t.auto && c != t.link && !slices.Contains(t.key, c) {
			fit = append(fit, c)
		}
	}
	r.Shuffle(len(fit), func(i, j int) { fit[i], fit[j] = fit[j], fit[i] })
	for i := range oneOf(r, 0, 1, 1, 2, 3) {
		if len(fit) == 0 {
			break
		}
		n := min(len(fit), oneOf(r, 1, 1, 2))
		t.unique = append(t.unique, fit[:n])
		lines = append(lines, fmt.Sprintf("UNIQUE KEY u%d (%s)", i, columnList(fit[:n])))
		fit = fit[n:]
	}
	if len(fit) > 0 && r.IntN(2) == 0 {
		lines = append(lines, "KEY k0 ("+columnList(fit[:1])+")")
	}
	return lines
}

// triggers gives a table some, and a table that they write to.
func (s *genSchema) triggers(r *rand.Rand, t *genTable) {
	if r.IntN(6) > 0 {
		return
	}
	nums := slices.DeleteFunc(slices.Clone(t.columns), func(c *genColumn) bool {
		return !c.num || c.generated != "" || c == t.auto || slices.Contains(t.key, c) || c == t.link
	})
	if len(nums) > 0 && r.IntN(2) == 0 {
		c := nums[0].name
		t.after = append(t.after, fmt.Sprintf("CREATE TRIGGER %s_bi BEFORE INSERT ON %s FOR EACH ROW SET NEW.%s = COALESCE(NEW.%s, 0) %% 5", t.name, t.name, c, c))
		return
	}
	log := t.name + "_log"
	id := oneOf(r, "", "", "", "id BIGINT AUTO_INCREMENT PRIMARY KEY, ") // which is refused
	t.after = append(t.after, "CREATE TABLE "+log+" ("+id+"what VARCHAR(20) NOT NULL, n INT NOT NULL DEFAULT 0)",
		fmt.Sprintf("CREATE TRIGGER %s_t AFTER %s ON %s FOR EACH ROW INSERT INTO %s (what) VALUES ('%s')", t.name, oneOf(r, "INSERT", "UPDATE", "DELETE"), t.name, log, t.name))
}

// routines gives the schema a function and a procedure.
func (s *genSchema) routines(r *rand.Rand) {
	if r.IntN(5) > 0 {
		return
	}
	t := s.tables[0]
	if len(t.key) == 0 || !t.key[0].num {
		return
	}
	s.extra = append(s.extra, "CREATE FUNCTION twice(n BIGINT) RETURNS BIGINT DETERMINISTIC NO SQL RETURN n * 2",
		fmt.Sprintf("CREATE PROCEDURE shorten(n BIGINT) DELETE FROM %s WHERE %s = n", t.name, t.key[0].name))
	s.calls = append(s.calls, "CALL shorten(%d)", "SELECT twice(%d)", "DO twice(%d)")
}

// literal is v as a text for a statement.
func literal(v any) string {
	switch v := v.(type) {
	case nil:
		return "NULL"
	case string:
		return "'" + strings.ReplaceAll(strings.ReplaceAll(v, `\`, `\\`), "'", "''") + "'"
	case []byte:
		return fmt.Sprintf("X'%X'", v)
	default:
		return fmt.Sprint(v)
	}
}
