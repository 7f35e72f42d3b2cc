package query_test

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"isukit/infra/digest/query"
	"isukit/infra/infratest"
)

// statementShapes are 200 statements that servers run, as clients send them; %d is the number of the statement.
func statementShapes() []string {
	shapes := []string{
		"USE app", "USE `app`", "use app -- again", "SET timestamp=1792009600", "SET timestamp=DEFAULT", "SET insert_id=%d", "SET last_insert_id=7, insert_id=900%d", "SET @a = 1",
		"SELECT %d", "SELECT 1 /* # Time: 2026-10-14T20:26:40.500000Z */", "SELECT 1 /*;\n# Time: 2026-10-14T20:26:40.500000Z\n# User@Host: a[a] @ b []  Id: 1\n# Query_time: 9.0  Lock_time: 0.0 Rows_sent: 1  Rows_examined: 1\nSET timestamp=1;\n*/",
		"SELECT '\n# User@Host: a[a] @ b []\n# Query_time: 5.0  Lock_time: 0\n'", "SELECT ';\n# Time: 261014 20:26:40\n# User@Host: root[root] @ localhost []\n# Thread_id: 3  Schema:   QC_hit: No\n# Query_time: 9.0  Lock_time: 0.0  Rows_sent: 0  Rows_examined: 0\n'",
		"# Time: first\nSELECT %d", "-- a comment\nSELECT %d", "/* x */ SELECT %d", "SELECT %d -- the end", "SELECT %d # the end", "SELECT %d -- with; semicolon", "SELECT 'a;b', \"c;d\", `n` FROM (SELECT 1 AS n) AS x",
		"SELECT *\nFROM t\nWHERE id = %d\n", "SELECT *\n\n\nFROM t\n# in between\nWHERE id = %d", "\n\nSELECT %d", "  SELECT %d  ", "SELECT 'Tcp port: 3306', 'Time Id Command'", "SELECT 'mysqld, Version: 9. started with:\nTcp port: 1\nTime Id Command Argument\n'",
		"INSERT INTO t (id, name) VALUES (10%d, 'x')", "INSERT INTO t (id, name) VALUES (20%d, 'a'), (30%d, 'b')", "INSERT INTO a (name) VALUES ('auto')", "INSERT INTO a SET name = 'set'", "REPLACE INTO t (id, name) VALUES (1, 'r')",
		"INSERT INTO t (id, name) VALUES (1, 'u') ON DUPLICATE KEY UPDATE name = VALUES(name)", "INSERT INTO t (id, name) SELECT 40%d, 'sel'", "UPDATE t SET name = 'y' WHERE id = %d", "DELETE FROM t WHERE id = 5%d",
		"BEGIN", "COMMIT", "START TRANSACTION", "ROLLBACK", "SAVEPOINT a", "SHOW TABLES", "SHOW VARIABLES LIKE 'version'", "SHOW WARNINGS", "EXPLAIN SELECT * FROM t", "ANALYZE TABLE t", "DO SLEEP(0)", "SET NAMES utf8mb4",
		"CREATE TEMPORARY TABLE tmp%d (a INT)", "ALTER TABLE a COMMENT '%d'", "TRUNCATE TABLE a", "CREATE INDEX i%d ON t (name)", "CALL p()", "SELECT f(%d)", "PREPARE s FROM 'SELECT ?'", "SET @v = 3", "EXECUTE s USING @v", "DEALLOCATE PREPARE s",
		"(SELECT 1) UNION ALL (SELECT 2)", "WITH c AS (SELECT %d AS n) SELECT n FROM c", "SELECT CASE WHEN id = 1 THEN 'a' ELSE 'b' END FROM t", "SELECT id FROM t WHERE (id, name) IN ((1, 'a'), (2, 'b'))", "SELECT COUNT(*) FROM t FOR UPDATE",
		"SELECT 'it''s', \"a\\\"b\", 'back\\\\slash'", "SELECT 0x4D, b'01', 1e3, -2.5", "SELECT '日本語 %d'", "SELECT /*+ MAX_EXECUTION_TIME(1000) */ 1", "SELECT /*!40001 SQL_NO_CACHE */ 1",
	}
	for i := len(shapes); i < 200; i++ {
		shapes = append(shapes, "SELECT "+strings.Repeat("'x\n', ", i%17)+"%d"+strings.Repeat("\n-- c;\n", i%3)+"\nFROM t WHERE id = "+strconv.Itoa(i))
	}
	for i, s := range shapes {
		shapes[i] = strings.ReplaceAll(s, "%d", strconv.Itoa(i))
	}
	return shapes
}

// TestRealStatementShapes sends 200 shapes to both engines, each as it is and those that can be prepared prepared as well, and
// compares with what performance_schema counted; the times are the sum of all that the log has.
func TestRealStatementShapes(t *testing.T) {
	for _, engine := range infratest.Engines(t) {
		t.Run(engine, func(t *testing.T) {
			log := filepath.Join(t.TempDir(), "slow.log")
			db := infratest.StartDB(t, engine, "--slow-query-log=ON", "--long-query-time=0", "--slow-query-log-file="+log, "--performance-schema=ON", "--log-slow-admin-statements=ON")
			admin, err := db.Open(t, "").Conn(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer admin.Close()
			db.Exec(t, "CREATE DATABASE app", "CREATE TABLE app.t (id INT PRIMARY KEY, name VARCHAR(20))", "CREATE TABLE app.a (id INT PRIMARY KEY AUTO_INCREMENT, name VARCHAR(20))",
				"CREATE PROCEDURE app.p() SELECT 1", "CREATE FUNCTION app.f(a INT) RETURNS INT DETERMINISTIC RETURN a", "SET GLOBAL log_bin_trust_function_creators = 1")
			conn, err := db.Open(t, "app").Conn(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			var thread int64
			if err := conn.QueryRowContext(t.Context(), "SELECT THREAD_ID FROM performance_schema.threads WHERE PROCESSLIST_ID = CONNECTION_ID()").Scan(&thread); err != nil {
				t.Fatal(err)
			}
			// None of the administrator's are logged from here on, and what was logged until here is not of the test. A server answers before
			// it logs: of one connection the next answer says that it has, of others the log.
			readThrough(t, log, "log_bin_trust_function_creators")
			for _, s := range []string{"SET SESSION long_query_time = 1000", "DO 1"} {
				if _, err := admin.ExecContext(t.Context(), s); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := conn.ExecContext(t.Context(), "SELECT 'before the first'"); err != nil {
				t.Fatal(err)
			}
			text := readThrough(t, log, "SELECT 'before the first'")
			// A procedure's statements are logged as its CALL, which has their rows; preparing is not a statement, and not always logged.
			counted := func() (n, rows int64) {
				err := admin.QueryRowContext(t.Context(), `SELECT COALESCE(SUM(IF(EVENT_NAME LIKE 'statement/sp/%', 0, COUNT_STAR)), 0), COALESCE(SUM(SUM_ROWS_SENT), 0)
					FROM performance_schema.events_statements_summary_by_thread_by_event_name
					WHERE THREAD_ID = ? AND EVENT_NAME NOT IN ('statement/com/Prepare', 'statement/com/Close stmt', 'statement/com/Reset stmt')`, thread).Scan(&n, &rows)
				if err != nil {
					t.Fatal(err)
				}
				return n, rows
			}
			_, err = admin.ExecContext(t.Context(), "TRUNCATE TABLE performance_schema.events_statements_summary_by_thread_by_event_name")
			if err != nil {
				t.Fatal(err)
			}
			before, rowsBefore := counted()
			const prepared = 50
			shapes := statementShapes()
			for _, s := range shapes {
				if _, err := conn.ExecContext(t.Context(), s); err != nil {
					t.Fatalf("%q: %v", s, err)
				}
			}
			for i := range prepared {
				if _, err := conn.ExecContext(t.Context(), "SELECT ?, 'p\n# Time: x' FROM t WHERE id = ?", fmt.Sprintf("a;\n'%d\\", i), i); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := conn.ExecContext(t.Context(), "SELECT 'the last one'"); err != nil {
				t.Fatal(err)
			}
			whole := readThrough(t, log, "SELECT 'the last one'")
			after, rowsAfter := counted()
			own := string(whole[len(text):])
			d := query.New(query.Options{})
			if err := d.Read(t.Context(), log, strings.NewReader(own)); err != nil {
				t.Fatal(err)
			}
			out := d.Digest()
			var n, rows int64
			var sum time.Duration
			for _, q := range out.Queries {
				sum += q.Time.Sum
				if !strings.HasPrefix(q.Fingerprint, "administrator command: ") {
					n, rows = n+q.Time.Count, rows+q.RowsSent
				}
			}
			// MySQL takes SET timestamp for a statement that lasted no time, now and then, and does not log it.
			sent := int64(len(shapes) + prepared + 1)
			if !strings.Contains(own, ";\nSET timestamp=1792009600;\n") {
				sent, after = sent-1, after-1
			}
			if n != after-before || n != sent || rows != rowsAfter-rowsBefore || out.Unreadable+out.Outside != 0 {
				t.Errorf("counted %d, %d rows, %d unreadable %v; sent %d, performance_schema has %d, %d rows", n, rows, out.Unreadable, out.Examples, sent, after-before, rowsAfter-rowsBefore)
			}
			if want := loggedTime(t, own); sum != want {
				t.Errorf("the statements took %v together, the log says %v", sum, want)
			}
		})
	}
}

// loggedTime adds up the times of the headers that a server wrote; those that the statements of the test imitate have one decimal.
func loggedTime(t *testing.T, log string) (sum time.Duration) {
	t.Helper()
	for _, m := range regexp.MustCompile(`(?m)^# Query_time: (\d+\.\d{6})  Lock_time`).FindAllStringSubmatch(log, -1) {
		d, err := time.ParseDuration(m[1] + "s")
		if err != nil {
			t.Fatal(err)
		}
		sum += d
	}
	return sum
}
