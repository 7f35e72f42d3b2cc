package sqltext_test

import (
	"slices"
	"strings"
	"testing"

	"forge.example/account/isukit/app/fanout/internal/sqltext"
)

// tables are what the statements of these tests are about.
var tables = []string{
	"CREATE TABLE plain (id INT NOT NULL, v INT, f DOUBLE, name VARCHAR(20), at DATETIME DEFAULT CURRENT_TIMESTAMP, PRIMARY KEY (id)) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4",
	"CREATE TABLE auto (id BIGINT NOT NULL AUTO_INCREMENT, k VARCHAR(20) NOT NULL, v INT, PRIMARY KEY (id), UNIQUE KEY k (k)) ENGINE=InnoDB AUTO_INCREMENT=7",
	"CREATE TABLE own (id BIGINT PRIMARY KEY, mail VARCHAR(50) NOT NULL UNIQUE, nick VARCHAR(50) UNIQUE, v INT)",
	"CREATE TABLE heap (a INT, b INT, KEY (a))",
	"CREATE TABLE made (id INT PRIMARY KEY, u CHAR(36) DEFAULT (uuid()), b BINARY(16) DEFAULT (uuid_to_bin(uuid())), r DOUBLE DEFAULT (rand() + id))",
	"CREATE TABLE ids (id CHAR(36) NOT NULL DEFAULT (uuid()), v INT, PRIMARY KEY (id))",
	"CREATE TABLE gen (id INT PRIMARY KEY, v INT, w INT GENERATED ALWAYS AS (v + 1) STORED, x INT AS (id) VIRTUAL)",
	"CREATE TABLE spun (id INT PRIMARY KEY, r DOUBLE AS (rand()) VIRTUAL)",
	"CREATE TABLE aria (id INT PRIMARY KEY) ENGINE=Aria",
	"CREATE TABLE vers (id INT PRIMARY KEY) ENGINE=InnoDB WITH SYSTEM VERSIONING",
	"CREATE TABLE parts (id INT NOT NULL, y INT NOT NULL, PRIMARY KEY (id, y)) /*!50100 PARTITION BY HASH (y) PARTITIONS 4 */",
	"CREATE TABLE line (list INT NOT NULL, pos INT NOT NULL, t TEXT, UNIQUE KEY (list, pos), KEY t (t(10)))",
	"CREATE TABLE hid (h BIGINT UNSIGNED NOT NULL AUTO_INCREMENT /*!80023 INVISIBLE */, v INT, PRIMARY KEY (h))",
	"CREATE TABLE hidmade (v INT, u CHAR(36) INVISIBLE DEFAULT (uuid()), w INT)",
	"CREATE TABLE known (id INT PRIMARY KEY, k VARCHAR(9) DEFAULT 'x' UNIQUE, v INT)",
	"CREATE TABLE seqd (id INT PRIMARY KEY DEFAULT nextval(`shop`.`s`), v INT)",
}

func schema(tb testing.TB) *sqltext.Schema {
	tb.Helper()
	s := &sqltext.Schema{Database: "shop"}
	for _, text := range tables {
		if err := s.AddTable(text); err != nil {
			tb.Fatal(err)
		}
	}
	return s
}

// TestVerdicts holds what becomes of one statement after another. A verdict is the rules that apply, or the one that refuses.
func TestVerdicts(t *testing.T) {
	tests := []struct{ text, want string }{
		{"INSERT INTO plain (id, v) VALUES (1, 2)", "clock, rows given"},
		{"INSERT INTO heap VALUES (1, 2), (3, 4)", "rows given"},
		{"INSERT INTO heap SET a = 1, b = ?", "rows given"},
		{"INSERT INTO heap VALUES ROW(1, 2), ROW(3, 4)", "rows given"},
		{"INSERT INTO shop.heap VALUES (1, 2)", "rows given"},
		{"INSERT INTO heap (a) VALUES (NOW())", "clock, rows given"},
		{"INSERT INTO auto (k) VALUES ('a'), ('b')", "generated ids, rows given"},
		{"INSERT INTO auto (k) VALUES ('a') RETURNING *", "generated ids, rows given"},
		{"INSERT INTO auto (id, k) VALUES (5, 'a')", "rows given"},
		{"INSERT INTO auto (id, k) VALUES (?, 'a')", "generated ids, rows given"},
		{"INSERT INTO auto (id, k) VALUES (LAST_INSERT_ID(), 'a')", "last id, generated ids, rows given"},
		{"INSERT INTO auto (k, v) VALUES (?, ?), (?, ?) ON DUPLICATE KEY UPDATE v = VALUES(v), id = LAST_INSERT_ID(id)", "generated ids, rows given"},
		{"INSERT INTO auto (k, v) VALUES (?, ?) AS new ON DUPLICATE KEY UPDATE v = new.v", "generated ids, rows given"},
		{"INSERT IGNORE INTO auto (k) VALUES (?)", "generated ids, rows given"},
		{"REPLACE INTO auto (k) VALUES (?)", "generated ids, rows given"},
		{"INSERT INTO own (id, mail) VALUES (1, 'a') ON DUPLICATE KEY UPDATE v = 2", "held keys, rows given"},
		{"INSERT INTO own (id, mail, nick) VALUES (1, 'a', 'b') ON DUPLICATE KEY UPDATE v = 2", "two keys"},
		{"INSERT INTO auto (id, k) VALUES (1, 'a') ON DUPLICATE KEY UPDATE v = 2", "held keys, rows given"}, // the primary key comes first
		{"INSERT INTO known (id) VALUES (1) ON DUPLICATE KEY UPDATE v = 2", "held keys, rows given"},
		{"INSERT INTO known (id, k) VALUES (1, NULL) ON DUPLICATE KEY UPDATE v = 2", "held keys, rows given"},
		{"INSERT INTO auto (id, k) VALUES (1, UPPER('a')) ON DUPLICATE KEY UPDATE v = 2", "unheld keys"},
		{"REPLACE INTO own (id, mail) VALUES (1, 'a')", "rows given"},
		{"INSERT IGNORE INTO own (id, mail) VALUES (1, 'a')", "rows given"},
		{"INSERT INTO gen (id, v) VALUES (1, 2) ON DUPLICATE KEY UPDATE v = 3", "rows given"},
		{"INSERT INTO parts VALUES (1, 2)", "rows given"},
		{"INSERT INTO line VALUES (1, 2, 'x') ON DUPLICATE KEY UPDATE t = 'y'", "rows given"},

		{"UPDATE heap SET a = 1", "rows found"},
		{"UPDATE heap SET a = 1 WHERE b IN (SELECT v FROM gen)", "rows found"},
		{"UPDATE plain SET v = 1 WHERE id = ? LIMIT 1", "clock, limit one, rows found"},
		{"UPDATE gen SET v = 1 WHERE id = ? AND v = 2 LIMIT 1", "limit one, rows found"},
		{"DELETE FROM gen WHERE id = 1 LIMIT 1", "limit one, rows found"},
		{"DELETE FROM gen WHERE v = 1 LIMIT 10", "limit, rows found"},
		{"DELETE FROM gen ORDER BY v LIMIT 10", "limit, rows found"},
		{"DELETE FROM gen ORDER BY v DESC, id LIMIT 10", "limit in order, rows found"},
		{"DELETE FROM heap LIMIT 1", "limit without key"},
		{"DELETE FROM heap WHERE a = 1 ORDER BY a LIMIT 1", "limit without key"},
		{"UPDATE line SET pos = pos + 1 WHERE list = 1", "moves keys"},
		{"UPDATE line SET pos = pos + 1 WHERE list = 1 ORDER BY list, pos DESC", "rows found"},
		{"UPDATE line SET pos = 9 WHERE list = 1 AND pos = 2", "limit one, rows found"},
		{"UPDATE IGNORE gen SET v = 1", "ignore"},
		{"INSERT IGNORE INTO gen (id, v) VALUES (1, 2) ON DUPLICATE KEY UPDATE id = 3", "ignore"},
		{"DELETE a FROM heap a JOIN gen b ON a.a = b.id", "rows found"},
		{"UPDATE heap h JOIN gen g ON h.a = g.id SET h.b = g.v", "rows found"},
		{"UPDATE heap h JOIN gen g ON h.a = g.v SET h.b = g.v", "joined update"},
		{"UPDATE heap, gen SET heap.b = gen.v WHERE heap.a = gen.id", "rows found"},
		{"UPDATE heap, gen SET heap.b = gen.v WHERE heap.a = gen.id OR heap.a = 1", "joined update"},
		{"UPDATE heap h JOIN line l ON h.a = l.list SET h.b = l.pos", "joined update"},
		{"UPDATE heap h JOIN (SELECT * FROM gen) g ON h.a = g.id SET h.b = g.v", "joined update"},
		{"UPDATE heap SET b = (SELECT MAX(v) FROM gen)", "rows found"},
		{"UPDATE heap SET b = (SELECT MAX(name) FROM plain)", "order in a subquery"},
		{"UPDATE heap SET b = (SELECT SUM(f) FROM plain)", "order in a subquery"},
		{"UPDATE heap SET b = (SELECT SUM(v) FROM gen)", "rows found"},
		{"UPDATE heap SET b = (SELECT GROUP_CONCAT(v) FROM gen)", "order in a subquery"},
		{"UPDATE heap SET b = (SELECT v FROM gen LIMIT 1)", "order in a subquery"},
		{"DELETE FROM heap WHERE a NOT IN (SELECT MIN(v) FROM gen GROUP BY w)", "rows found"},
		{"DELETE FROM heap WHERE a IN (SELECT v FROM gen GROUP BY w)", "order in a subquery"},
		{"UPDATE heap SET b = 1 WHERE a = (SELECT id FROM gen WHERE v = 0 FOR UPDATE SKIP LOCKED)", "skip locked"},
		{"DELETE FROM heap WHERE a IN (SELECT id FROM gen FOR UPDATE NOWAIT)", "skip locked"},

		{"INSERT INTO heap (a, b) SELECT id, v FROM gen", "rows found"},
		{"INSERT INTO heap (a, b) SELECT id, v FROM gen WHERE v > ? ORDER BY v LIMIT 5", "insert select, rows found"},
		{"INSERT INTO heap (a) SELECT id FROM gen FOR UPDATE SKIP LOCKED", "insert select, rows found"},
		{"INSERT INTO auto (k) SELECT name FROM plain", "generated ids, insert select, rows found"},
		{"INSERT INTO auto (k) SELECT UUID() FROM plain", "generated ids, insert select, rows found"},
		{"INSERT IGNORE INTO gen (id) SELECT a FROM heap", "insert select, rows found"},
		{"INSERT INTO ids (v) SELECT a FROM heap", "computed default, insert select, rows found"},
		{"INSERT INTO ids SELECT 'x', a FROM heap", "rows found"},

		{"INSERT INTO ids (v) VALUES (1), (2)", "computed default, rows given"},
		{"INSERT INTO ids (id, v) VALUES (DEFAULT, 2)", "computed default, rows given"},
		{"INSERT INTO ids (id, v) VALUES ('x', 2)", "rows given"},
		{"INSERT INTO ids VALUES ('x', 2)", "rows given"},
		{"INSERT INTO ids () VALUES ()", "made default"},
		{"INSERT INTO ids () VALUES ('x', 1)", "rows given"},
		{"INSERT INTO made (id) VALUES (1)", "made default"}, // r needs id
		{"INSERT INTO made (id, r) VALUES (1, 0)", "computed default, rows given"},
		{"UPDATE made SET u = DEFAULT WHERE id = 1", "made default"},
		{"INSERT INTO ids (id, v) VALUES ('a', 2) ON DUPLICATE KEY UPDATE id = DEFAULT", "made default"},
		{"INSERT INTO ids (id, v) VALUES (DEFAULT(id), 2)", "made default"},
		{"UPDATE plain SET name = (SELECT DEFAULT(id) FROM ids) WHERE id = 1", "made default"},
		{"UPDATE heap SET a = (SELECT DEFAULT(at) FROM plain) WHERE a = 1", "clock, rows found"},
		{"INSERT INTO heap (a, b) SELECT v, DEFAULT(id) FROM ids", "insert select, rows found"},
		{"INSERT INTO hid VALUES (1)", "generated ids, rows given"},
		{"INSERT INTO hid (h, v) VALUES (1, 1)", "rows given"},
		{"INSERT INTO hidmade VALUES (1, 2)", "made default"},
		{"INSERT INTO hidmade (v, w) VALUES (1, 2)", "computed default, rows given"},
		{"UPDATE made m JOIN plain p ON m.id = p.id SET m.u = DEFAULT", "made default"},
		{"UPDATE plain p JOIN auto a ON p.id = a.id SET a.k = p.name", "moves keys"},
		{"UPDATE plain p JOIN auto a ON p.id = a.id SET a.v = p.v", "clock, rows found"},
		{"INSERT INTO seqd (v) VALUES (1)", "made default"},

		{"INSERT INTO heap VALUES (RAND(), 1)", "functions"},
		{"INSERT INTO heap VALUES (CURRENT_USER, 1)", "functions"},
		{"UPDATE heap SET a = f(1)", "stored functions"},
		{"UPDATE heap SET a = shop.left('x', 1)", "stored functions"},
		{"UPDATE heap SET a = `count`(1)", "stored functions"},
		{"UPDATE heap SET a = @@port", "variables"},
		{"UPDATE heap SET a = (@x := 1)", "assignments"},
		{"UPDATE heap SET a = @x", "rows found"},
		{"INSERT INTO heap VALUES (/*!50000 1 */, 1)", "executable comment"},
		{"INSERT INTO heap VALUES (/* 1 */ 1, 1)", "rows given"},
		{"INSERT /*+ SET_VAR(sql_mode='') */ INTO heap VALUES (1, 1)", "set_var"},
		{"INSERT DELAYED INTO heap VALUES (1, 1)", "unreadable"},
		{"DELETE HISTORY FROM heap", "unreadable"},
		{"UPDATE heap FOR PORTION OF p FROM 1 TO 2 SET a = 1", "unreadable"},
		{"UPDATE heap SET a = NEXT VALUE FOR s", "sequences"},
		{"UPDATE heap SET a = 1 WHERE MATCH (t) AGAINST ('x')", "functions"},
		{"INSERT INTO aria VALUES (1)", "engine"},
		{"INSERT INTO vers VALUES (1)", "versioned"},
		{"INSERT INTO spun (id) VALUES (1)", "generated by function"},
		{"INSERT INTO nowhere VALUES (1)", "unknown table"},
		{"INSERT INTO other.heap VALUES (1, 1)", "unknown table"},
		{"INSERT INTO heap (a, b) SELECT a, b FROM other.heap", "other database, rows found"},
		{"INSERT INTO heap (a, b) SELECT a, b FROM other.x WHERE a IN (SELECT id FROM gen)", "other database, rows found"},
		{"INSERT INTO heap (a, b) SELECT a, b FROM shop.gen", "rows found"},
		{"UPDATE heap SET b = (SELECT SUM(x) FROM other.x)", "order in a subquery"},
		{"DELETE heap FROM heap JOIN other.x ON heap.a = x.a", "unknown table"},
		{"INSERT INTO heap SELECT a, b FROM nowhere", "unknown table"},
		{"INSERT INTO auto (id, k) VALUES (1, 'a'), (NULL, 'b')", "mixed ids"},
		{"INSERT INTO auto (id, k) VALUES (1 + 1, 'a')", "computed id"},

		{"ALTER TABLE heap ADD c INT", "clock, schema change"},
		{"ALTER TABLE heap ADD c DATETIME(6) DEFAULT CURRENT_TIMESTAMP(6)", "clock, schema change"},
		{"ALTER TABLE heap ADD c CHAR(36) DEFAULT (UUID())", "altered default"},
		{"ALTER TABLE heap ADD c BIGINT AUTO_INCREMENT PRIMARY KEY", "altered numbers"},
		{"ALTER TABLE auto AUTO_INCREMENT = 5", "clock, schema change"},
		{"ALTER TABLE auto MODIFY id BIGINT NOT NULL AUTO_INCREMENT", "clock, schema change"},
		{"CREATE TABLE x (id CHAR(36) DEFAULT (UUID()))", "schema change"},
		{"TRUNCATE heap", "schema change"},
	}
	s := schema(t)
	for _, tt := range tests {
		v := sqltext.Classify(tt.text).Judge(s)
		var names []string
		for _, r := range v.Rules {
			names = append(names, r.Name)
		}
		if got := strings.Join(names, ", "); got != tt.want {
			t.Errorf("%s\n got %s (%s)\nwant %s", tt.text, got, v.Reason, tt.want)
		}
		if (v.Outcome == sqltext.Refuses) != (v.Reason != "") {
			t.Errorf("%s: %v with reason %q", tt.text, v.Outcome, v.Reason)
		}
	}
}

// TestTriggers holds which triggers may fire.
func TestTriggers(t *testing.T) {
	tests := []struct {
		body string
		want bool
	}{
		{"SET NEW.v = NEW.a + 1", true},
		{"BEGIN IF NEW.a > 5 THEN SET NEW.v = NOW(); END IF; END", true},
		{"UPDATE gen SET v = v + 1 WHERE id = NEW.a", true},
		{"INSERT INTO gen (id, v) VALUES (NEW.a, 1)", true},
		{"INSERT INTO auto (k) VALUES (NEW.a)", false},
		{"INSERT INTO ids (v) VALUES (NEW.a)", false},
		{"SET NEW.v = RAND()", false},
		{"SET NEW.v = f(1)", false},
		{"SET NEW.v = (SELECT COUNT(*) FROM gen)", false},
		{"SET @n = @n + 1", false},
		{"CALL p()", false},
		{"DELETE FROM nowhere", false},
	}
	for _, tt := range tests {
		s := schema(t)
		s.Tables["heap"].Triggers = []string{tt.body}
		v := sqltext.Classify("INSERT INTO heap VALUES (1, 2)").Judge(s)
		if got := v.Outcome != sqltext.Refuses; got != tt.want {
			t.Errorf("%s: fires %v (%s), want %v", tt.body, got, v.Reason, tt.want)
		}
	}
}

// TestWithoutARule takes each rule out and sees that a verdict changes: no rule is there for nothing.
func TestWithoutARule(t *testing.T) {
	texts := map[string]string{
		"unreadable": "INSERT DELAYED INTO heap VALUES (1, 1)", "functions": "INSERT INTO heap VALUES (RAND(), 1)",
		"generated ids": "INSERT INTO auto (k) VALUES ('a')", "clock": "INSERT INTO plain (id) VALUES (1)",
		"limit": "DELETE FROM gen LIMIT 1", "insert select": "INSERT INTO heap (a) SELECT id FROM gen LIMIT 1",
		"computed default": "INSERT INTO ids (v) VALUES (1)", "moves keys": "UPDATE line SET pos = pos + 1",
	}
	for name, text := range texts {
		s := schema(t)
		before := sqltext.Classify(text).Judge(s)
		s.Without = name
		after := sqltext.Classify(text).Judge(s)
		if before.Outcome == after.Outcome && before.How == after.How {
			t.Errorf("%s: without the rule %q it is %v all the same", text, name, after.Outcome)
		}
	}
	if len(sqltext.Rules()) < 30 || slices.ContainsFunc(sqltext.Rules(), func(r sqltext.Rule) bool { return r.Why == "" || r.Outcome == sqltext.Refuses && r.Instead == "" }) {
		t.Error("a rule does not say why, or what to write instead")
	}
}

// TestFollowed judges writes to a table whose rows others follow, for servers that report success where these are locked.
func TestFollowed(t *testing.T) {
	s := &sqltext.Schema{Swallows: true}
	for _, text := range []string{
		"CREATE TABLE up (id INT PRIMARY KEY, k INT UNIQUE, v INT, g INT AS (v + 1) STORED UNIQUE)",
		"CREATE TABLE other (id INT PRIMARY KEY, k INT UNIQUE)",
		"CREATE TABLE follower (id INT PRIMARY KEY, k INT, FOREIGN KEY (k) REFERENCES other (k) ON UPDATE CASCADE)",
		"CREATE TABLE gone (id INT PRIMARY KEY, up INT, CONSTRAINT f FOREIGN KEY (up) REFERENCES shop.up (id) ON DELETE CASCADE)",
		"CREATE TABLE moved (id INT PRIMARY KEY, up INT, FOREIGN KEY i (up) REFERENCES `up` (`k`) ON DELETE RESTRICT ON UPDATE SET NULL)",
		"CREATE TABLE computed (id INT PRIMARY KEY, up INT, FOREIGN KEY (up) REFERENCES up (g) ON UPDATE CASCADE)",
		"CREATE TABLE held (id INT PRIMARY KEY, FOREIGN KEY (id) REFERENCES moved (id) ON DELETE RESTRICT ON UPDATE NO ACTION)",
	} {
		if err := s.AddTable(text); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		text    string
		refuses bool
	}{
		{"DELETE FROM up WHERE id = 1", true},
		{"REPLACE INTO up (id) VALUES (1)", true},
		{"DELETE u FROM up u JOIN held h ON u.id = h.id", true},
		{"UPDATE up SET k = 1 WHERE id = 1", true},
		{"UPDATE up u JOIN held h ON u.id = h.id SET u.v = 1", true}, // which columns it sets is not looked at
		{"INSERT INTO other (id) VALUES (1) ON DUPLICATE KEY UPDATE k = 2", true},
		{"UPDATE up SET v = 1 WHERE id = 1", true}, // g follows v
		{"INSERT INTO up (id, v) VALUES (1, 1)", false},
		{"DELETE FROM moved WHERE id = 1", false},
		{"UPDATE moved SET id = 2 WHERE id = 1", false},
		{"UPDATE gone SET up = 2 WHERE id = 1", false},
		{"DELETE FROM gone", false},
	} {
		for _, swallows := range []bool{true, false} {
			s := *s
			s.Swallows = swallows
			if v := sqltext.Classify(tt.text).Judge(&s); (v.Outcome == sqltext.Refuses) != (tt.refuses && swallows) {
				t.Errorf("%s: %v %s", tt.text, v.Outcome, v.Reason)
			}
		}
	}
}

// TestDefaults reads defaults as they are written.
func TestDefaults(t *testing.T) {
	s := &sqltext.Schema{}
	text := "CREATE TABLE d (a INT DEFAULT -1, b BIT(8) DEFAULT b'101', c VARCHAR(9) NOT NULL DEFAULT 'it''s', d BIGINT DEFAULT (1 + (2)), e INT DEFAULT NULL, f DATETIME(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6), g INT)"
	if err := s.AddTable(text); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range s.Tables["d"].Columns {
		got = append(got, c.Default)
	}
	if want := []string{"-1", "b'101'", "'it''s'", "(1 + (2))", "", "CURRENT_TIMESTAMP(6)", ""}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
