package sqltext_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"forge.example/account/isukit/app/fanout/internal/sqltext"
)

func TestClassifyKind(t *testing.T) {
	tests := []struct {
		text string
		want sqltext.Kind
	}{
		{"SELECT 1", sqltext.Read},
		{" /* c */ -- d\n select * from t where a in (1,2)", sqltext.Read},
		{"(SELECT 1) UNION (SELECT 2)", sqltext.Read},
		{"SELECT 'a;b' FROM t", sqltext.Read},
		{"SELECT 1;", sqltext.Read},
		{"SELECT COUNT(*), JSON_CONTAINS(tags, JSON_QUOTE(?)) FROM team t", sqltext.Read},
		{"SELECT `count`(1)", sqltext.Guarded},
		{"SELECT my_function(1)", sqltext.Guarded},
		{"SELECT db.left(1)", sqltext.Guarded},
		{"SELECT FOUND_ROWS()", sqltext.ReadLast},
		{"SHOW COUNT(*) WARNINGS", sqltext.ReadLast},
		{"SELECT @@warning_count", sqltext.ReadLast},
		{"WITH c AS (SELECT 1) SELECT * FROM c", sqltext.Read},
		{"WITH c (a) AS (SELECT 1) SELECT * FROM c", sqltext.Read},
		{"WITH c AS (SELECT 1 AS a) UPDATE t JOIN c SET t.a = c.a", sqltext.Write},
		{"WITH c AS (SELECT 1 AS a) DELETE FROM t WHERE a IN (SELECT a FROM c)", sqltext.Write},
		{"SELECT * FROM t WHERE id = 1 FOR UPDATE", sqltext.ReadFirst},
		{"SELECT * FROM t FOR SHARE", sqltext.ReadFirst},
		{"SELECT * FROM t LOCK IN SHARE MODE", sqltext.ReadFirst},
		{"SELECT LAST_INSERT_ID()", sqltext.ReadFirst},
		{"SELECT GET_LOCK('a', 1)", sqltext.ReadFirst},
		{"SELECT @x", sqltext.ReadFirst},
		{"SELECT @x := 1", sqltext.Refused},
		{"SELECT a INTO @x FROM t", sqltext.Refused},
		{"SELECT * INTO OUTFILE '/tmp/x' FROM t", sqltext.Refused},
		{"SELECT NEXTVAL(s)", sqltext.Refused},
		{"SHOW TABLES", sqltext.Read},
		{"SHOW WARNINGS", sqltext.ReadLast},
		{"EXPLAIN UPDATE t SET a = 1", sqltext.Read},
		{"EXPLAIN ANALYZE SELECT * FROM t", sqltext.Read},
		{"ANALYZE UPDATE t SET a = 1", sqltext.Refused},
		{"ANALYZE TABLE t", sqltext.DDL},
		{"INSERT INTO t VALUES (1)", sqltext.Write},
		{"insert into t values (now())", sqltext.Write},
		{"INSERT INTO t VALUES (';')", sqltext.Write},
		{"INSERT INTO t VALUES ('it''s; \\'; ')", sqltext.Write},
		{"REPLACE INTO t VALUES (1)", sqltext.Write},
		{"UPDATE t SET a = 1 ORDER BY id LIMIT 1", sqltext.Write},
		{"UPDATE t SET rand = 1", sqltext.Write},
		{"INSERT INTO t VALUES (/* UUID() */ 1)", sqltext.Write},
		{"INSERT INTO t VALUES ('UUID()')", sqltext.Write},
		{"INSERT INTO user (name) VALUES (1)", sqltext.Write},
		{"CALL p(1)", sqltext.Guarded},
		{"DO RELEASE_LOCK('a')", sqltext.ReadFirst},
		{"CREATE TABLE t (a INT)", sqltext.DDL},
		{"CREATE TABLE t SELECT * FROM u", sqltext.Refused},
		{"CREATE TABLE t (id INT AUTO_INCREMENT PRIMARY KEY) TABLE u", sqltext.Refused},
		{"CREATE OR REPLACE TABLE t AS VALUES ROW(1)", sqltext.Refused},
		{"CREATE OR REPLACE TABLE t LIKE u", sqltext.DDL},
		{"CREATE TABLE t (a INT) PARTITION BY LIST (a) (PARTITION p VALUES IN (1))", sqltext.DDL},
		{"CREATE VIEW v AS TABLE u", sqltext.DDL},
		{"ALTER IGNORE TABLE t ADD UNIQUE (a)", sqltext.Refused},
		{"CREATE VIEW v AS SELECT 1", sqltext.DDL},
		{"CREATE TEMPORARY TABLE t (a INT)", sqltext.Refused},
		{"TRUNCATE t", sqltext.DDL},
		{"SET NAMES utf8mb4", sqltext.Session},
		{"SET @x = 1", sqltext.Session},
		{"SET @x = RAND()", sqltext.Refused},
		{"SET @x = NOW()", sqltext.Refused},
		{"SET GLOBAL max_connections = 1", sqltext.Refused},
		{"SET @@global.max_connections = 1", sqltext.Refused},
		{"SET autocommit = 0", sqltext.Refused},
		{"SET SESSION autocommit = 0", sqltext.Refused},
		{"SET @@session.timestamp = 1", sqltext.Refused},
		{"SET TRANSACTION ISOLATION LEVEL SERIALIZABLE", sqltext.Refused},
		{"BEGIN", sqltext.Refused},
		{"start transaction", sqltext.Refused},
		{"COMMIT", sqltext.Refused},
		{"USE other", sqltext.Refused},
		{"LOCK TABLES t WRITE", sqltext.Lock},
		{"UNLOCK TABLES", sqltext.Unlock},
		{"SELECT 1; DELETE FROM t", sqltext.Refused},
		{"SELECT 1 /*! ; DELETE FROM t */", sqltext.Refused},
		{"", sqltext.Refused},
		{"-- only a comment", sqltext.Refused},
		{"FROBNICATE t", sqltext.Refused},
		{"SELECT 'open", sqltext.Refused},
		{"SELECT 1 /* open", sqltext.Refused},
		{"DO SLEEP(1)", sqltext.ReadFirst},
		{"DO f(1)", sqltext.Guarded},
		{"CREATE EVENT e ON SCHEDULE EVERY 1 DAY DO DELETE FROM t", sqltext.Refused},
		{"CREATE SEQUENCE s", sqltext.Refused},
		{"SET @x = f(1)", sqltext.Refused},
		{"SET @x = @@hostname", sqltext.Refused},
		{"GET DIAGNOSTICS @n = NUMBER", sqltext.Refused},
	}
	for _, tt := range tests {
		got := sqltext.Classify(tt.text)
		if got.Kind != tt.want {
			t.Errorf("Classify(%q).Kind = %v (%s), want %v", tt.text, got.Kind, got.Reason, tt.want)
		}
		if (got.Kind == sqltext.Refused) != (got.Reason != "") {
			t.Errorf("Classify(%q): kind %v with reason %q", tt.text, got.Kind, got.Reason)
		}
	}
}

func TestClassifyTables(t *testing.T) {
	tests := []struct {
		text string
		want string
	}{
		{"SELECT 1", ""},
		{"SELECT a FROM T", "t"},
		{"SELECT a FROM db.t AS x, `u` y JOIN w ON x.a = w.a", "t u w"},
		{"SELECT a FROM t WHERE b IN (SELECT b FROM u) FOR UPDATE", "t u"},
		{"SELECT EXTRACT(YEAR FROM d), TRIM(LEADING 'x' FROM s) FROM t", "t"},
		{"SELECT * FROM (SELECT 1 FROM t) s LEFT JOIN u ON 1", "t u"},
		{"WITH c AS (SELECT * FROM t) SELECT * FROM c", "t"},
		{"INSERT INTO t (a, b) VALUES (1, 2)", "t"},
		{"INSERT t VALUES (1)", "t"},
		{"INSERT INTO t SELECT * FROM u", "t u"},
		{"INSERT INTO t VALUES (1) ON DUPLICATE KEY UPDATE a = 1", "t"},
		{"UPDATE t SET a = 1", "t"},
		{"UPDATE LOW_PRIORITY t, u SET t.a = 1", "t u"},
		{"DELETE FROM t WHERE a = 1", "t"},
		{"TRUNCATE TABLE t", "t"},
		{"TRUNCATE t", "t"},
		{"CREATE TABLE IF NOT EXISTS t (a INT)", "t"},
		{"ALTER TABLE t ADD b INT", "t"},
		{"DROP TABLE IF EXISTS t, u", "t u"},
	}
	for _, tt := range tests {
		if got := sqltext.Classify(tt.text).Tables; !slices.Equal(got, strings.Fields(tt.want)) {
			t.Errorf("Classify(%q).Tables = %q, want %q", tt.text, got, strings.Fields(tt.want))
		}
	}
}

func FuzzClassify(f *testing.F) {
	for _, s := range []string{"SELECT 1", "/*! x", "'", "`", "@", "@@`a", "a:=", "/*", "--", "WITH", "EXPLAIN", "(((", "INSERT INTO a.", "x'"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		st := sqltext.Classify(text)
		if (st.Kind == sqltext.Refused) != (st.Reason != "") {
			t.Errorf("Classify(%q): kind %v with reason %q", text, st.Kind, st.Reason)
		}
	})
}

func TestCacheIsBoundedAndStable(t *testing.T) {
	var c sqltext.Cache
	first := c.Get("SELECT 1")
	if second := c.Get("SELECT 1"); first != second {
		t.Error("the same text gave two Statements")
	}
	for i := range 10_000 {
		c.Get("SELECT " + strings.Repeat("1", i%5000+1))
	}
	if c.Get("SELECT 1").Kind != sqltext.Read {
		t.Error("after many texts, SELECT 1 is no Read")
	}
}

// TestExact checks the rows that the scanner finds in a write, and that it finds none in doubtful ones.
func TestExact(t *testing.T) {
	tests := []struct {
		text   string
		rows   bool
		equals string // column=argument, or n for a number and s for a string
	}{
		{"INSERT INTO t VALUES (?, (1 + 2))", true, ""},
		{"insert t (a, b) value (1, 2), (3, NOW())", true, ""},
		{"INSERT INTO t (a) VALUES (1) ON DUPLICATE KEY UPDATE a = 2", false, ""},
		{"INSERT IGNORE INTO t VALUES (1)", false, ""},
		{"REPLACE INTO t VALUES (1)", false, ""},
		{"INSERT INTO t SET a = 1", true, ""},
		{"INSERT INTO t SELECT 1", false, ""},
		{"INSERT INTO t VALUES ((SELECT MAX(a) FROM t))", false, ""},
		{"INSERT INTO other.t VALUES (1)", false, ""},
		{"INSERT INTO t VALUES (1) RETURNING a", false, ""},
		{"UPDATE t SET v = v + ? WHERE id = ?", false, "id=1"},
		{"UPDATE `t` SET v = 'WHERE' WHERE `Id` = 7 AND name = 'x' AND w = ?", false, "id=n name=s w=0"},
		{"DELETE FROM t WHERE id = ?", false, "id=0"},
		{"UPDATE t SET v = 1", false, ""},
		{"UPDATE t SET v = 1 WHERE id = ? OR v = 2", false, ""},
		{"UPDATE t SET v = 1 WHERE id = ? AND v > 2", false, ""},
		{"UPDATE t SET v = 1 WHERE id = -1", false, ""},
		{"UPDATE t SET v = 1 WHERE id = 1.5", false, ""},
		{"UPDATE t SET v = 1 WHERE id = 1 ORDER BY v LIMIT 1", false, "id=n"},
		{"DELETE FROM t WHERE id = ? LIMIT ?", false, "id=0"},
		{"DELETE FROM t WHERE id = ? OR v = 1 LIMIT 1", false, ""},
		{"UPDATE t SET v = 1 WHERE id = ? /*!99999 AND v = 2 */", false, ""},
		{"UPDATE t SET v = 1 WHERE id = lower('A')", false, ""},
		{"UPDATE t SET v = 1 WHERE id = w", false, ""},
		{"UPDATE t SET v = 1 WHERE name = 1e3", false, ""},
		{"UPDATE t SET v = 1 WHERE name = 0x41", false, ""},
		{"UPDATE t SET v = 1 WHERE NOT id = 1", false, ""},
		{"UPDATE t, u SET v = 1 WHERE id = 1", false, ""},
		{"UPDATE t x SET v = ? WHERE x.id = ? AND (x.name = 's') LIMIT 1", false, "id=1 name=s"},
		{"DELETE FROM t WHERE ((`t`.`id` = ?) AND t.w = ?)", false, "id=0 w=1"},
		{"UPDATE t SET v = 1 WHERE (id = 1 AND w = 2) OR id = 3", false, ""},
		{"UPDATE t SET v = 1 WHERE id BETWEEN 1 AND 2", false, ""},
		{"UPDATE t SET v = 1 WHERE name = 'a' COLLATE utf8mb4_bin", false, ""},
		{"UPDATE other.t SET v = 1 WHERE id = 1", false, ""},
		{"DELETE FROM t WHERE id = 1 AND id IN (SELECT 1)", false, ""},
		{"WITH c AS (SELECT 1) DELETE FROM t WHERE id = 1", false, ""},
	}
	for _, tt := range tests {
		st := sqltext.Classify(tt.text)
		var list []string
		for _, e := range st.Equals {
			value := fmt.Sprint(e.Arg)
			if e.Arg < 0 {
				value = map[bool]string{true: "n", false: "s"}[e.Number]
			}
			list = append(list, e.Column+"="+value)
		}
		if got := strings.Join(list, " "); st.Rows != tt.rows || got != tt.equals {
			t.Errorf("%s: rows %v, equals %q; want %v, %q", tt.text, st.Rows, got, tt.rows, tt.equals)
		}
	}
}
