package fanouttest

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"forge.example/account/isukit/app/fanout"
	"github.com/jmoiron/sqlx"
	"isukit/infra/infratest"
)

// exactCase is statements of one kind, and the rows that they leave on one plain server: these, in the order of their key, are
// expected on every replica.
type exactCase struct {
	name   string
	schema []string // for every server; the first table is the one that is looked at
	skew   []string // for the second replica alone: what must not matter
	run    func(t *testing.T, db *sqlx.DB)
	query  string
	want   []string // nil: what a plain server has after the same
	only   string   // the engine that has it
}

func do(texts ...string) func(*testing.T, *sqlx.DB) {
	return func(t *testing.T, db *sqlx.DB) {
		t.Helper()
		for _, text := range texts {
			if _, err := db.Exec(text); err != nil {
				t.Errorf("%s: %v", text, err)
			}
		}
	}
}

const upsertTable = "CREATE TABLE t (id BIGINT AUTO_INCREMENT PRIMARY KEY, k VARCHAR(20) NOT NULL UNIQUE, v INT)"

var exactCases = []exactCase{
	{name: "bulk upsert, nothing new", schema: []string{upsertTable, "INSERT INTO t(k, v) VALUES ('a', 1), ('b', 2), ('c', 3)"},
		run:   do("INSERT INTO t(k,v) VALUES('a',10),('b',20) ON DUPLICATE KEY UPDATE v=VALUES(v)"),
		query: "SELECT CONCAT_WS('/', id, k, v) FROM t ORDER BY id", want: []string{"1/a/10", "2/b/20", "3/c/3"}},
	{name: "bulk upsert that tells the id", schema: []string{upsertTable, "INSERT INTO t(k, v) VALUES ('a', 1), ('b', 2), ('c', 3)"},
		run: func(t *testing.T, db *sqlx.DB) {
			res, err := db.Exec("INSERT INTO t(k,v) VALUES('a',10),('b',20) ON DUPLICATE KEY UPDATE v=VALUES(v), id=LAST_INSERT_ID(id)")
			must(t, err)
			if id, _ := res.LastInsertId(); id != 2 {
				t.Errorf("the id is %d, want 2", id)
			}
		}, query: "SELECT CONCAT_WS('/', id, k, v) FROM t ORDER BY id", want: []string{"1/a/10", "2/b/20", "3/c/3"}},
	{name: "bulk upsert, new and old", schema: []string{upsertTable, "INSERT INTO t(k, v) VALUES ('a', 1), ('b', 2), ('c', 3)"},
		skew: []string{"ALTER TABLE t AUTO_INCREMENT = 5000"},
		run: do("INSERT INTO t(k,v) VALUES('a',10),('d',4),('b',20),('e',5) ON DUPLICATE KEY UPDATE v=VALUES(v)",
			"INSERT INTO t(k,v) VALUES('f',6) ON DUPLICATE KEY UPDATE v=VALUES(v), id=LAST_INSERT_ID(id)",
			"INSERT INTO t(k,v) VALUES('f',7) ON DUPLICATE KEY UPDATE v=VALUES(v), id=LAST_INSERT_ID(id)",
			"INSERT INTO t(k,v) VALUES('f',7) ON DUPLICATE KEY UPDATE v=VALUES(v), id=LAST_INSERT_ID(id)",
			"INSERT INTO t(k,v) VALUES('g',7),('a',3) ON DUPLICATE KEY UPDATE v=VALUES(v), id=LAST_INSERT_ID(id)"),
		query: "SELECT CONCAT_WS('/', id, k, v) FROM t ORDER BY id"},
	{name: "insert ignore and replace in bulk", schema: []string{upsertTable, "INSERT INTO t(k, v) VALUES ('a', 1), ('b', 2), ('c', 3)"},
		skew: []string{"ALTER TABLE t AUTO_INCREMENT = 5000"},
		run: do("INSERT IGNORE INTO t(k,v) VALUES('a',10),('d',4),('b',20),('e',5)", "REPLACE INTO t(k,v) VALUES('a',10),('x',4),('d',20)",
			"INSERT IGNORE INTO t(k,v) VALUES('a',10)", "INSERT INTO t(k,v) VALUES('y',1)"),
		query: "SELECT CONCAT_WS('/', id, k, v) FROM t ORDER BY id"},
	{name: "upserts that meet rows by several keys", schema: []string{"CREATE TABLE t (id BIGINT PRIMARY KEY, k VARCHAR(20) UNIQUE, n INT NULL, v INT, UNIQUE KEY n (n))",
		"INSERT INTO t VALUES (1, 'a', 1, 0), (2, 'b', 2, 0), (3, 'c', 3, 0)"},
		run: do("INSERT INTO t VALUES (1, 'b', 3, 1) ON DUPLICATE KEY UPDATE v = v + 1", "INSERT INTO t VALUES (9, 'b', 3, 1), (9, 'c', NULL, 7) ON DUPLICATE KEY UPDATE v = v + 10",
			"INSERT INTO t VALUES (10, 'j', 1, 1), (10, 'c', 2, 7) ON DUPLICATE KEY UPDATE v = v + 100"),
		query: "SELECT CONCAT_WS('/', id, k, n, v) FROM t ORDER BY id"},
	{name: "an insert that arrives as a query", schema: []string{upsertTable, "INSERT INTO t(k, v) VALUES ('a', 1)"},
		run: func(t *testing.T, db *sqlx.DB) {
			ask := func(q interface {
				Queryx(string, ...any) (*sqlx.Rows, error)
			}, text string) {
				rows, err := q.Queryx(text)
				must(t, err)
				must(t, rows.Close())
			}
			if _, err := db.Exec("INSERT INTO t(k) VALUES ('a')"); err == nil {
				t.Error("a duplicate was taken")
			}
			ask(db, "INSERT INTO t(k, v) VALUES ('b', 2)")
			rows, err := db.NamedQuery("INSERT INTO t(k, v) VALUES (:k, 3)", map[string]any{"k": "c"})
			must(t, err)
			must(t, rows.Close())
			tx, err := db.Beginx()
			must(t, err)
			if _, err := tx.Exec("INSERT INTO t(k) VALUES ('b')"); err == nil {
				t.Error("a duplicate was taken")
			}
			ask(tx, "INSERT INTO t(k, v) VALUES ('d', 4), ('e', 5)")
			must(t, tx.Commit())
			s, err := db.Preparex("INSERT INTO t(k, v) VALUES (?, ?)")
			must(t, err)
			defer s.Close()
			sr, err := s.Query("f", 6)
			must(t, err)
			must(t, sr.Close())
		}, query: "SELECT CONCAT_WS('/', id, k, v) FROM t ORDER BY id"},
	{name: "returning", only: "mariadb", schema: []string{upsertTable, "INSERT INTO t(k, v) VALUES ('a', 1)"},
		skew: []string{"ALTER TABLE t AUTO_INCREMENT = 5000"},
		run: func(t *testing.T, db *sqlx.DB) {
			for _, tt := range []struct {
				text string
				want []string
			}{
				{"INSERT INTO t(k, v) VALUES ('b', 2), ('c', 3) RETURNING CONCAT(id, k)", []string{"2b", "3c"}},
				{"INSERT INTO t(k, v) VALUES ('a', 5), ('d', 3) ON DUPLICATE KEY UPDATE v = 9 RETURNING CONCAT(id, k)", []string{"1a", "4d"}},
				{"INSERT INTO t(k, v) VALUES ('a', 5), ('b', 3) ON DUPLICATE KEY UPDATE v = 8 RETURNING CONCAT(id, k)", []string{"1a", "2b"}},
				{"INSERT IGNORE INTO t(k, v) VALUES ('a', 5), ('q', 3) RETURNING k", []string{"q"}},
				{"REPLACE INTO t(k, v) VALUES ('b', 7) RETURNING k", []string{"b"}},
				{"DELETE FROM t WHERE k = 'd' RETURNING k", []string{"d"}},
				{"DELETE FROM t ORDER BY v LIMIT 1 RETURNING k", nil},
			} {
				var got []string
				must(t, db.Select(&got, tt.text))
				if tt.want != nil && !slices.Equal(got, tt.want) {
					t.Errorf("%s: got %q, want %q", tt.text, got, tt.want)
				}
			}
			if _, err := db.Exec("INSERT INTO t(k) VALUES ('z') RETURNING id"); err != nil {
				t.Error(err)
			}
		}, query: "SELECT CONCAT_WS('/', id, k, v) FROM t ORDER BY id"},
	{name: "limit with and without order", schema: []string{"CREATE TABLE t (id INT PRIMARY KEY, g INT, v INT, KEY (g))",
		"INSERT INTO t VALUES (1, 1, 1), (2, 1, 1), (3, 1, 1), (4, 2, 1), (5, 2, 1)"},
		skew: []string{"ALTER TABLE t DROP KEY g", "ALTER TABLE t ADD KEY g (g)"},
		run: func(t *testing.T, db *sqlx.DB) {
			for _, one := range []struct {
				text string
				args []any
			}{
				{"UPDATE t SET v = v + ? WHERE id = ? LIMIT 1", []any{10, 3}},
				{"UPDATE t SET v = v + ? WHERE id = ? AND g = ? LIMIT 1", []any{10, "4", 2}},
				{"UPDATE t x SET v = v + ? WHERE x.g = ? ORDER BY x.v, x.id LIMIT ?", []any{100, 1, 2}},
				{"DELETE FROM t WHERE g = ? ORDER BY id DESC LIMIT 1", []any{2}},
				{"DELETE FROM t WHERE g = ? LIMIT 5", []any{77}},
				{"UPDATE t SET v = -1 WHERE g = 1 ORDER BY v LIMIT 1", nil},
			} {
				if _, err := db.Exec(one.text, one.args...); err != nil {
					t.Errorf("%s: %v", one.text, err)
				}
			}
		}, query: "SELECT CONCAT_WS('/', id, g, v) FROM t ORDER BY id"},
	{name: "insert select that is ordered, limited, grouped and numbered", schema: []string{"CREATE TABLE t (id BIGINT AUTO_INCREMENT PRIMARY KEY, k VARCHAR(20), n DECIMAL(10,3), d DOUBLE, at DATETIME(6), b VARBINARY(9), j JSON)",
		"CREATE TABLE s (id INT PRIMARY KEY, k VARCHAR(20), n DECIMAL(10,3), d DOUBLE, at DATETIME(6), b VARBINARY(9), j JSON)",
		`INSERT INTO s VALUES (1, 'é\'', 1.125, 0.1, '2026-01-02 03:04:05.678901', x'00ff27', '{"a": [1, "x"]}'), (2, NULL, NULL, 1e300, NULL, NULL, NULL), (3, 'c', -5, 3.3333333333333335, '2020-01-01', '', '[]')`},
		skew: []string{"ALTER TABLE t AUTO_INCREMENT = 5000"},
		run: func(t *testing.T, db *sqlx.DB) {
			do("INSERT INTO t (k, n, d, at, b, j) SELECT k, n, d, at, b, j FROM s ORDER BY id DESC", "INSERT INTO t (k) SELECT GROUP_CONCAT(k ORDER BY id) FROM s",
				"INSERT IGNORE INTO t (id, k) SELECT id, k FROM s ORDER BY id", "INSERT INTO t (n) SELECT SUM(d) FROM s WHERE id > 2", "INSERT INTO t (k) SELECT k FROM s WHERE id > 99")(t, db)
			if _, err := db.Exec("INSERT INTO t (k, n) SELECT k, ? FROM s WHERE id > ? ORDER BY id LIMIT ?", 7, 1, 1); err != nil {
				t.Error(err)
			}
			must(t, inTx(db, func(tx *sqlx.Tx) error {
				if _, err := tx.Exec("UPDATE s SET k = 'mine' WHERE id = 2"); err != nil {
					return err
				}
				_, err := tx.Exec("INSERT INTO t (k) SELECT k FROM s WHERE id = 2 ORDER BY id LIMIT 1")
				return err
			}))
		}, query: "SELECT CONCAT_WS('/', id, k, n, d, at, HEX(b), j) FROM t ORDER BY id"},
	{name: "alter table with the clock", schema: []string{"CREATE TABLE t (id INT PRIMARY KEY)", "INSERT INTO t VALUES (1), (2)"},
		run: func(t *testing.T, db *sqlx.DB) {
			do("ALTER TABLE t ADD COLUMN at DATETIME(6) DEFAULT CURRENT_TIMESTAMP(6)")(t, db)
			for _, text := range []string{"ALTER TABLE t ADD COLUMN u CHAR(36) DEFAULT (UUID())", "ALTER TABLE t ADD COLUMN r DOUBLE DEFAULT (RAND())"} {
				refusedBy(t, db, text, "fill it from the app")
			}
		}, query: "SELECT CONCAT_WS('/', id, at) FROM t ORDER BY id", want: []string{}},
	{name: "defaults that call functions", schema: []string{"CREATE TABLE t (id INT PRIMARY KEY, u CHAR(36) DEFAULT (UUID()), r DOUBLE DEFAULT (RAND()), v INT)"},
		run: func(t *testing.T, db *sqlx.DB) {
			do("INSERT INTO t (id) VALUES (1), (2)", "INSERT INTO t (id, r) VALUES (3, DEFAULT), (4, 0.5)", "INSERT INTO t SET id = 5", "INSERT INTO t (id, v) SELECT id + 10, 1 FROM t",
				"INSERT INTO t (id, v) VALUES (1, 2) ON DUPLICATE KEY UPDATE v = 7")(t, db)
			_, err := db.Exec("INSERT INTO t (id, v) VALUES (?, ?), (?, ?)", 20, 1, 21, 2)
			must(t, err)
			var n int
			must(t, db.Get(&n, "SELECT COUNT(DISTINCT u) + COUNT(DISTINCT r) FROM t"))
			if n != 24 {
				t.Errorf("%d different values for 12 rows of two columns", n)
			}
		}, query: "SELECT CONCAT_WS('/', id, u, r, v) FROM t ORDER BY id", want: []string{}},
	{name: "computed defaults of INSERT SET", schema: []string{"CREATE TABLE t (id INT PRIMARY KEY, u CHAR(36) DEFAULT (UUID()), r DOUBLE DEFAULT (RAND()), v INT)"},
		run: func(t *testing.T, db *sqlx.DB) {
			for _, one := range []struct {
				text string
				args []any
			}{
				{"INSERT INTO t SET id = ?, v = ?", []any{1, 2}},
				{"INSERT INTO t SET u = DEFAULT, id = ?, r = DEFAULT, v = ?", []any{2, 2}},
				{"INSERT INTO t SET id = ?, r = DEFAULT", []any{3}},
				{"INSERT INTO t SET r = DEFAULT, t.id = 4", nil},
				{"REPLACE t SET v = ?, id = LENGTH(?), r = ?", []any{7, "abc", 0.5}},
				{"INSERT INTO t SET id = ?, v = 1 ON DUPLICATE KEY UPDATE v = ?, r = 1", []any{3, 8}},
				{"INSERT INTO t SET id = 9", nil},
			} {
				if _, err := db.Exec(one.text, one.args...); err != nil {
					t.Errorf("%s: %v", one.text, err)
				}
			}
		}, query: "SELECT CONCAT_WS('/', id, u, r, v) FROM t ORDER BY id", want: []string{}},
	{name: "partitions after a range that can't be", schema: []string{"CREATE TABLE t (id BIGINT AUTO_INCREMENT PRIMARY KEY, k INT, v INT, KEY (k)) PARTITION BY RANGE (id) (PARTITION p0 VALUES LESS THAN (6), PARTITION p1 VALUES LESS THAN MAXVALUE)",
		"CREATE TABLE s (id INT PRIMARY KEY, k INT)", "INSERT INTO t VALUES (1, 1, 1), (2, 1, 1), (3, 2, 1), (7, 2, 1), (8, 1, 1), (9, 3, 1)", "INSERT INTO s VALUES (1, 1)"},
		run: func(t *testing.T, db *sqlx.DB) {
			for i, text := range []string{"UPDATE t SET v = 2 WHERE k = 1", "UPDATE t SET v = v + 1 WHERE id = 7", "DELETE FROM t WHERE v = 3 ORDER BY id LIMIT 1", "INSERT INTO s SELECT id + 10, v FROM t WHERE k = 3", "DELETE FROM t WHERE k = 2"} {
				var ids []int
				must(t, db.Select(&ids, "SELECT id FROM t WHERE id BETWEEN 32 AND 18 AND k = 6 ORDER BY v LIMIT 3 FOR UPDATE")) // on the first replica
				res, err := db.Exec(text)
				must(t, err)
				if _, err := res.RowsAffected(); err != nil {
					t.Errorf("%d: %v", i, err)
				}
			}
		}, query: "SELECT CONCAT_WS('/', id, k, v) FROM t ORDER BY id", want: []string{}},
	{name: "ids from a query", schema: []string{upsertTable, "CREATE TABLE s (id INT PRIMARY KEY, i INT, k VARCHAR(20))",
		"INSERT INTO s VALUES (1, 11, 'a'), (2, 22, 'b'), (3, NULL, 'c'), (4, 0, 'd'), (5, 55, 'e')"}, skew: []string{"ALTER TABLE t AUTO_INCREMENT = 5000"},
		run: func(t *testing.T, db *sqlx.DB) {
			tx, err := db.Beginx()
			must(t, err)
			for _, text := range []string{"INSERT INTO t (k) VALUES ('first')", "INSERT INTO t (id, k) SELECT i, k FROM s WHERE id IN (1, 2)", "INSERT INTO t SELECT i, k, 7 FROM s WHERE id = 5",
				"INSERT INTO t (k, v) VALUES ('last', LAST_INSERT_ID())"} {
				if _, err := tx.Exec(text); err != nil {
					t.Errorf("%s: %v", text, err)
				}
			}
			must(t, tx.Commit())
		}, query: "SELECT CONCAT_WS('/', id, k, v) FROM t ORDER BY id", want: []string{"1/first", "11/a", "22/b", "55/e/7", "56/last/1"}},
	{name: "ids that a query does not give", schema: []string{upsertTable, "CREATE TABLE s (id INT PRIMARY KEY, i INT, k VARCHAR(20))", "INSERT INTO s VALUES (3, NULL, 'c'), (4, 0, 'd'), (5, 55, 'e')"},
		skew: []string{"ALTER TABLE t AUTO_INCREMENT = 5000"},
		run: func(t *testing.T, db *sqlx.DB) {
			for _, text := range []string{"INSERT INTO t (id, k) SELECT i, k FROM s WHERE id = 3", "INSERT INTO t (id, k) SELECT i, k FROM s WHERE id >= 4", "INSERT INTO t SELECT i, k, 1 FROM s"} {
				refusedBy(t, db, text, "NULL or zero for an id")
			}
			do("INSERT INTO t (id, k) SELECT i, k FROM s WHERE i > 0", "INSERT INTO t (id, k) VALUES (LAST_INSERT_ID(), 'z')")(t, db)
			for _, id := range []any{0.4, "1.5", false} {
				if _, err := db.Exec("INSERT INTO t (id, k) VALUES (?, 'y')", id); !errors.Is(err, fanout.ErrRefused) {
					t.Errorf("the id %#v: got %v, want it refused", id, err)
				}
			}
			refusedBy(t, db, "INSERT IGNORE INTO t (id, k) SELECT i + 0.5, k FROM s WHERE i > 0", "pass a whole number")
			for _, id := range []any{nil, 0, "0", uint64(0)} {
				if _, err := db.Exec("INSERT INTO t (id, k) VALUES (?, ?)", id, fmt.Sprintf("%#v", id)); err != nil {
					t.Error(err)
				}
			}
		}, query: "SELECT CONCAT_WS('/', id, k) FROM t ORDER BY id", want: []string{}},
	{name: "an upsert of the id", schema: []string{upsertTable, "INSERT INTO t(k, v) VALUES ('a', 1), ('b', 2)"}, skew: []string{"ALTER TABLE t AUTO_INCREMENT = 5000"},
		run: func(t *testing.T, db *sqlx.DB) {
			for _, text := range []string{"INSERT INTO t (k) VALUES ('a') ON DUPLICATE KEY UPDATE id = VALUES(id)", "INSERT INTO t (k) VALUES ('a') ON DUPLICATE KEY UPDATE t.v = VALUES(t.id)",
				"INSERT INTO t (k) VALUES ('a'), ('c') ON DUPLICATE KEY UPDATE id = id + 10"} {
				refusedBy(t, db, text, "LAST_INSERT_ID(id)")
			}
			_, err := db.Exec("INSERT INTO t (id, k, v) VALUES (?, 'a', 5) ON DUPLICATE KEY UPDATE id = VALUES(id), v = VALUES(v)", nil)
			if !errors.Is(err, fanout.ErrRefused) {
				t.Errorf("an upsert of no id: got %v, want it refused", err)
			}
			_, err = db.Exec("INSERT INTO t (id, k, v) VALUES (?, 'a', 5), (?, 'd', 6) ON DUPLICATE KEY UPDATE id = VALUES(id), v = VALUES(v)", 70, 71)
			must(t, err)
			do("INSERT INTO t (k, v) VALUES ('d', 9), ('e', 9) ON DUPLICATE KEY UPDATE v = VALUES(v), id = LAST_INSERT_ID(t.id)")(t, db)
		}, query: "SELECT CONCAT_WS('/', id, k, v) FROM t ORDER BY id", want: []string{"2/b/2", "70/a/5", "71/d/9", "72/e/9"}},
	{name: "the id of a row that an upsert names", only: "mysql", schema: []string{upsertTable, "INSERT INTO t(k, v) VALUES ('a', 1)"},
		run: func(t *testing.T, db *sqlx.DB) {
			for _, text := range []string{"INSERT INTO t (k) VALUES ('a') AS n ON DUPLICATE KEY UPDATE id = n.id", "INSERT INTO t (id, k) VALUES (NULL, 'a') AS n(x, y) ON DUPLICATE KEY UPDATE id = x"} {
				refusedBy(t, db, text, "LAST_INSERT_ID(id)")
			}
			do("INSERT INTO t (k, v) VALUES ('a', 2), ('b', 3) AS n(y, z) ON DUPLICATE KEY UPDATE v = z")(t, db)
		}, query: "SELECT CONCAT_WS('/', id, k, v) FROM t ORDER BY id", want: []string{"1/a/2", "2/b/3"}},
	{name: "uuid as bytes", only: "mysql", schema: []string{"CREATE TABLE t (id BINARY(16) DEFAULT (UUID_TO_BIN(UUID())) PRIMARY KEY, v INT)"},
		run:   do("INSERT INTO t (v) VALUES (1), (2)", "INSERT INTO t () VALUES (UUID_TO_BIN('6ccd780c-baba-1026-9564-5b8c656024db'), 1)"),
		query: "SELECT CONCAT_WS('/', HEX(id), v) FROM t ORDER BY v, id", want: []string{}},
}

func inTx(db *sqlx.DB, f func(*sqlx.Tx) error) error {
	tx, err := db.Beginx()
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if err := f(tx); err != nil {
		return err
	}
	return tx.Commit()
}

// refusedBy sees that a statement is refused, with a hint.
func refusedBy(t *testing.T, db interface {
	ExecContext(context.Context, string, ...any) (sql.Result, error)
}, text, hint string) {
	t.Helper()
	_, err := db.ExecContext(t.Context(), text)
	if !errors.Is(err, fanout.ErrRefused) || !strings.Contains(err.Error(), hint) {
		t.Errorf("%s: got %v, want it refused with %q", text, err, hint)
	}
}

// TestExactStatements runs statements whose effects the servers compute themselves, in every mode that promises equal rows, over two
// and three replicas, and holds the rows of each against those of a plain server.
func TestExactStatements(t *testing.T) {
	for _, engine := range infratest.Engines(t) {
		c := startCluster(t, engine, 3)
		for _, mode := range []fanout.Mode{fanout.ModeOrdered, fanout.ModeDurable, fanout.ModeKeyed} {
			for i, tt := range exactCases {
				if tt.only != "" && tt.only != engine || mode == fanout.ModeKeyed && i > 4 && !full() {
					continue
				}
				t.Run(fmt.Sprintf("%s/%s/%s", engine, mode, tt.name), func(t *testing.T) { exactly(t, c, mode, 2+i%2, tt) })
			}
		}
	}
}

func exactly(t *testing.T, c *cluster, mode fanout.Mode, replicas int, tt exactCase) {
	t.Helper()
	clean := []string{"DROP TABLE IF EXISTS t", "DROP TABLE IF EXISTS s", "DROP TABLE IF EXISTS isukit_fanout_replica", "DROP TABLE IF EXISTS isukit_fanout_app"}
	want := tt.want
	if want == nil {
		c.execOn(t, 0, append(clean, tt.schema...)...)
		plain := c.dbs[0].Open(t, c.name)
		tt.run(t, sqlx.NewDb(plain, "mysql"))
		plain.Close()
		want = c.rows(t, 0, tt.query)
	}
	c.execShop(t, append(clean, tt.schema...)...)
	cfg := c.config(mode)
	cfg.Replicas = cfg.Replicas[:replicas]
	p := c.open(t, cfg)
	c.execOn(t, 1, tt.skew...)
	tt.run(t, p.DB())
	first := c.rows(t, 0, tt.query)
	if len(want) > 0 && !slices.Equal(first, want) {
		t.Errorf("r1 has %q\nwant %q", first, want)
	}
	for i := 1; i < replicas; i++ {
		if got := c.rows(t, i, tt.query); !slices.Equal(got, first) {
			t.Errorf("r%d has %q\nr1 has %q", i+1, got, first)
		}
	}
	for _, r := range replicasOf(t, p) {
		if r.State != fanout.InService {
			t.Errorf("%s is %s: %s", r.Name, r.State, r.Reason)
		}
	}
	p.Close()
}
