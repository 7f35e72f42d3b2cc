package fanouttest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/go-sql-driver/mysql"
	"github.com/jmoiron/sqlx"

	"forge.example/account/isukit/app/fanout/lint"
	"isukit/infra/infratest"
)

var judgedTables = []string{
	"CREATE TABLE a (id BIGINT AUTO_INCREMENT PRIMARY KEY, k VARCHAR(64) NOT NULL UNIQUE, n INT, d DOUBLE, at DATETIME(6))",
	"CREATE TABLE two (id INT PRIMARY KEY, k VARCHAR(64) UNIQUE, n INT UNIQUE, v INT)",
	"CREATE TABLE plain (id INT PRIMARY KEY, k VARCHAR(64), n INT, KEY (n))",
	"CREATE TABLE bare (k VARCHAR(64), n INT)",
	"CREATE TABLE pair (g INT, id INT AUTO_INCREMENT, k VARCHAR(64), PRIMARY KEY (id, g))",
	"CREATE TABLE words (id INT PRIMARY KEY, k TEXT, FULLTEXT KEY (k))",
	"CREATE TABLE made (id INT PRIMARY KEY, u VARCHAR(64) DEFAULT (UUID()), r DOUBLE DEFAULT (RAND()), v INT)",
	"CREATE TABLE job (id INT PRIMARY KEY, owner INT)",
	"CREATE TABLE logged (id INT PRIMARY KEY, k VARCHAR(64))",
	"CREATE TABLE log (id BIGINT AUTO_INCREMENT PRIMARY KEY, k VARCHAR(64))",
}

// logging is what the triggers of table logged do.
const logging = "INSERT INTO log (k) VALUES (NEW.k)"

// judgedShapes are statements that servers may find unsafe to repeat by their text, and such that they may not.
func judgedShapes() (list []string) {
	for _, f := range []string{"RAND()", "FLOOR(RAND() * 10)", "UUID()", "UUID_SHORT()", "SYSDATE()", "SYSDATE(6)", "USER()", "CURRENT_USER", "CURRENT_USER()", "SESSION_USER()", "SYSTEM_USER()",
		"VERSION()", "DATABASE()", "CONNECTION_ID()", "GET_LOCK('x', 0)", "RELEASE_LOCK('x')", "RELEASE_ALL_LOCKS()", "IS_FREE_LOCK('x')", "IS_USED_LOCK('x')", "FOUND_ROWS()", "ROW_COUNT()", "LOAD_FILE('/nothing')",
		"SLEEP(0)", "BENCHMARK(1, 1)", "RANDOM_BYTES(2)", "LAST_INSERT_ID()", "NOW()", "NOW(6)", "CURDATE()", "UNIX_TIMESTAMP()", "UTC_TIMESTAMP()", "@@server_id", "@@hostname",
		"@@global.max_connections", "@@session.sql_mode", "@@timestamp", "@v", "(@v := 3)", "MD5(RAND())", "SHA2('x', 256)", "ROUND(1.5)", "(SELECT COUNT(*) FROM a)", "(SELECT n FROM a LIMIT 1)"} {
		list = append(list, "INSERT INTO bare (k) VALUES ("+f+")", "UPDATE plain SET k = "+f+" WHERE id = 1", "INSERT INTO bare (k) SELECT "+f+" FROM plain",
			"DELETE FROM plain WHERE k = "+f, "INSERT INTO two (id, k) VALUES (1, 'x') ON DUPLICATE KEY UPDATE k = "+f)
	}
	for _, verb := range []string{"INSERT", "INSERT IGNORE", "REPLACE"} {
		for _, rows := range []string{"(k, n) VALUES ('p', 1)", "(k, n) VALUES ('p', 1), ('q', 2)", "(k, n) SELECT k, n FROM plain", "(k, n) SELECT k, n FROM plain ORDER BY id", "(k, n) SELECT k, n FROM plain ORDER BY id LIMIT 1",
			"(k, n) SELECT k, n FROM plain LIMIT 1", "(k, n) SELECT MAX(k), n FROM plain GROUP BY n", "(id, k, n) SELECT id, k, n FROM plain", "(k, n) SELECT DISTINCT k, n FROM plain UNION SELECT k, n FROM bare"} {
			list = append(list, verb+" INTO a "+rows, verb+" INTO bare "+strings.ReplaceAll(strings.ReplaceAll(rows, "(id, ", "("), "SELECT id, ", "SELECT "))
		}
		list = append(list, verb+" INTO pair (g, k) VALUES (1, 'p')", verb+" INTO pair (g, k) SELECT n, k FROM plain", verb+" INTO made (id) VALUES (7)", verb+" INTO two VALUES (1, 'p', 1, 1)", verb+" INTO two VALUES (1, 'p', 1, 1), (2, 'q', 2, 2)",
			verb+" INTO two SELECT id, k, n, 1 FROM plain", verb+" INTO logged (id, k) VALUES (1, 'x')")
	}
	for _, tail := range []string{"", " ORDER BY id", " LIMIT 1", " ORDER BY id LIMIT 1", " ORDER BY id DESC LIMIT 2", " ORDER BY n LIMIT 1", " ORDER BY n, id LIMIT 1", " ORDER BY RAND() LIMIT 1"} {
		for _, where := range []string{"", " WHERE n = 1", " WHERE id = 1", " WHERE id IN (SELECT n FROM a)"} {
			list = append(list, "UPDATE plain SET n = 1"+where+tail, "DELETE FROM plain"+where+tail)
		}
	}
	return append(list,
		"UPDATE IGNORE two SET n = n + 1", "UPDATE two SET n = n + 1", "UPDATE two SET n = n + 1 ORDER BY id DESC", "DELETE IGNORE FROM plain WHERE n = 1",
		"UPDATE plain p JOIN a ON p.n = a.n SET p.k = a.k", "UPDATE plain p JOIN a ON p.n = a.id SET p.k = a.k", "UPDATE plain, a SET plain.k = 'x' WHERE plain.id = a.id",
		"DELETE p FROM plain p JOIN a ON p.n = a.n", "DELETE FROM plain USING plain JOIN bare ON plain.n = bare.n",
		"INSERT INTO two (id, k, n) VALUES (1, 'p', 1) ON DUPLICATE KEY UPDATE v = 1", "INSERT INTO two (id, k, n) VALUES (1, 'p', 1), (2, 'q', 2) ON DUPLICATE KEY UPDATE v = 1",
		"INSERT INTO two (id, k) SELECT id, k FROM plain ON DUPLICATE KEY UPDATE v = 1", "INSERT INTO a (k) VALUES ('p') ON DUPLICATE KEY UPDATE n = 1", "INSERT INTO a (k) VALUES ('p'), ('z') ON DUPLICATE KEY UPDATE n = VALUES(n)",
		"INSERT INTO a (k) SELECT k FROM plain ON DUPLICATE KEY UPDATE n = 1", "UPDATE plain SET k = 'x' WHERE id = (SELECT id FROM (SELECT id FROM job FOR UPDATE SKIP LOCKED) y LIMIT 1)",
		"INSERT INTO bare (n) SELECT id FROM job FOR UPDATE SKIP LOCKED", "INSERT INTO bare (n) SELECT id FROM job FOR UPDATE NOWAIT", "INSERT INTO bare (k) SELECT GROUP_CONCAT(k) FROM plain",
		"INSERT INTO bare (n) SELECT SUM(d) FROM a", "INSERT INTO bare (n) SELECT ROW_NUMBER() OVER (ORDER BY n) FROM plain", "UPDATE words SET k = 'x' WHERE MATCH (k) AGAINST ('alpha')", "DELETE FROM words WHERE MATCH (k) AGAINST ('alpha')",
		"DELETE FROM plain WHERE id IN (SELECT * FROM (SELECT id FROM plain LIMIT 1) y)", "UPDATE logged SET k = 'y'", "DELETE FROM logged WHERE id = 5",
		"INSERT INTO a (k, n) VALUES ('r', 1) RETURNING id", "DELETE FROM plain WHERE id = 1 RETURNING id", "REPLACE INTO two VALUES (1, 'r', 1, 1) RETURNING id",
		"INSERT DELAYED INTO bare VALUES ('x', 1)", "CREATE TABLE made_of SELECT * FROM plain", "CREATE TABLE made_of (id INT AUTO_INCREMENT PRIMARY KEY) SELECT k FROM plain", "INSERT INTO bare SELECT k, n FROM plain WHERE n > ALL (SELECT n FROM a LIMIT 1)",
		"INSERT INTO bare (n) VALUES (NEXT VALUE FOR counter)", "INSERT INTO bare (n) VALUES (twice(2))", "INSERT INTO bare (n) VALUES (unknown_to_all(2))")
}

// warnedThough are statements that a server warns of and that are exact here anyway: the rule, or a part of the statement, and the server's
// text.
var warnedThough = []struct{ engine, rule, part, says, why string }{
	{"", "limit one", "", "LIMIT", "the WHERE names one row by a unique key, so the LIMIT leaves none out"},
	{"", "limit in order", "", "LIMIT", "the ORDER BY has all columns of a unique key, so there is one order only"},
	{"", "", "INSERT INTO two (id, k) VALUES", "more than one UNIQUE KEY", "the row has values for the primary key, at which all servers look first, and for one other key"},
	{"mariadb", "", "RETURNING", "", "it warns of every RETURNING; the rows that are returned are compared, and enter no table"},
}

// TestServersAsJudges reads which statements a server that logs statements by their text takes for unsafe: each of these is made exact or
// refused here.
func TestServersAsJudges(t *testing.T) {
	schema, err := lint.NewSchema(append(slices.Clone(judgedTables), "CREATE TRIGGER logging AFTER INSERT ON logged FOR EACH ROW "+logging)...)
	must(t, err)
	for _, engine := range infratest.Engines(t) {
		t.Run(engine, func(t *testing.T) {
			db := infratest.StartDB(t, engine, "--log-bin", "--binlog-format=STATEMENT", "--server-id=1", "--log-bin-trust-function-creators=1")
			db.Exec(t, "CREATE DATABASE shop")
			pool := sqlx.NewDb(db.Open(t, "shop"), "mysql")
			defer pool.Close()
			pool.SetMaxOpenConns(1)
			for _, text := range append(slices.Clone(judgedTables), "CREATE FUNCTION twice(n BIGINT) RETURNS BIGINT DETERMINISTIC NO SQL RETURN n * 2",
				"CREATE TRIGGER logging AFTER INSERT ON logged FOR EACH ROW "+logging, "CREATE TRIGGER logging_too AFTER UPDATE ON logged FOR EACH ROW "+logging,
				"INSERT INTO plain VALUES (1, 'x', 1), (2, 'y', 1), (3, 'z', 2)", "INSERT INTO a (k, n) VALUES ('x', 1), ('y', 2)", "INSERT INTO two VALUES (1, 'x', 1, 1)", "INSERT INTO words VALUES (1, 'alpha')", "INSERT INTO job VALUES (1, NULL)",
				"INSERT INTO logged VALUES (5, 'x')") {
				_, err := pool.Exec(text)
				must(t, err)
			}
			warned, ran := 0, 0
			for _, text := range judgedShapes() {
				why, did := judgedBy(t, pool, text)
				if did {
					ran++
				}
				if why == "" {
					continue
				}
				warned++
				v := schema.Judge(text)
				if v.Verdict == lint.Exact && !excepted(engine, text, why, v.Rules) {
					t.Errorf("%s: exact here; the server: %s", text, why)
				}
			}
			t.Logf("%d statements, of which the server ran %d and warned of %d", len(judgedShapes()), ran, warned)
			if ran < 200 || warned < 60 {
				t.Errorf("the server ran %d statements and warned of %d: too few to judge by", ran, warned)
			}
		})
	}
}

func excepted(engine, text, says, rules string) bool {
	for _, e := range warnedThough {
		ruled := e.rule == "" || slices.Contains(strings.Split(rules, ", "), e.rule)
		if ruled && strings.HasPrefix(engine, e.engine) && strings.Contains(text, e.part) && strings.Contains(says, e.says) {
			return true
		}
	}
	return false
}

// judgedBy runs a statement, rolls it back, and returns why the server takes it for unsafe.
func judgedBy(t *testing.T, pool *sqlx.DB, text string) (why string, ran bool) {
	t.Helper()
	ctx := context.Background()
	conn, err := pool.Connx(ctx)
	must(t, err)
	defer conn.Close()
	_, err = conn.ExecContext(ctx, "BEGIN")
	must(t, err)
	rows, err := conn.QueryxContext(ctx, text)
	if err == nil {
		ran = true
		for rows.Next() {
		}
		must(t, rows.Close())
	}
	var me *mysql.MySQLError
	if errors.As(err, &me) && slices.Contains([]uint16{1592, 1665, 1666, 1668, 1669, 1674, 1785}, me.Number) {
		why = me.Error()
	}
	var warnings []struct {
		Level   string `db:"Level"`
		Code    int    `db:"Code"`
		Message string `db:"Message"`
	}
	must(t, conn.SelectContext(ctx, &warnings, "SHOW WARNINGS"))
	for _, w := range warnings {
		if w.Code == 1592 {
			why = fmt.Sprint(w.Code, " ", w.Message)
		}
	}
	_, err = conn.ExecContext(ctx, "ROLLBACK")
	must(t, err)
	return why, ran
}
