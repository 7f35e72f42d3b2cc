package fanouttest

import (
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"forge.example/account/isukit/app/fanout"
	"github.com/go-sql-driver/mysql"
	"github.com/jmoiron/sqlx"
	"isukit/infra/infratest"
	"isukit/infra/infratest/wait"
)

// TestSnapshot reads in a transaction what another one changes meanwhile, as on one server.
func TestSnapshot(t *testing.T) {
	for _, engine := range infratest.Engines(t) {
		c := startCluster(t, engine, 2)
		c.execShop(t, "CREATE TABLE t (id INT PRIMARY KEY, v INT)", "CREATE TABLE u (id INT PRIMARY KEY)", "INSERT INTO t VALUES (1, 1), (2, 2)")
		for _, mode := range []fanout.Mode{fanout.ModeOrdered, fanout.ModeDurable, fanout.ModeKeyed} {
			t.Run(fmt.Sprintf("%s/%s", engine, mode), func(t *testing.T) {
				c.execShop(t, "UPDATE t SET v = id")
				p := c.open(t, c.config(mode))
				ctx := fanout.WithKeys(t.Context(), "reader")
				tx, err := p.DB().BeginTxx(ctx, nil)
				must(t, err)
				defer tx.Rollback()
				sum := func() (n int) {
					must(t, tx.Get(&n, "SELECT SUM(v) FROM t"))
					return n
				}
				before := sum()
				_, err = p.DB().ExecContext(fanout.WithKeys(t.Context(), "writer"), "UPDATE t SET v = 100 WHERE id = 2")
				must(t, err)
				if after := sum(); before != 3 || after != 3 {
					t.Errorf("the transaction saw sums of %d and %d, want 3 twice", before, after)
				}
				_, err = tx.Exec("UPDATE t SET v = v + 1 WHERE id = 1")
				must(t, err)
				must(t, tx.Commit())
				if got := c.rows(t, 1, "SELECT SUM(v) FROM t"); got[0] != "102" {
					t.Errorf("r2 has %s, want 102", got[0])
				}
				loose, err := p.DB().BeginTxx(ctx, &sql.TxOptions{Isolation: sql.LevelReadCommitted})
				must(t, err)
				defer loose.Rollback()
				_, err = loose.Exec("UPDATE t SET v = 5 WHERE id = ?", 1)
				must(t, err)
				refusedBy(t, loose, "UPDATE t SET v = 5 WHERE v > 1", "READ COMMITTED")
				refusedBy(t, loose, "UPDATE t SET v = (SELECT COUNT(*) FROM u) WHERE v > 1 LIMIT 1", "READ COMMITTED")
				must(t, loose.Commit())
			})
		}
	}
}

// TestLockTables has LOCK TABLES keep everybody else away.
func TestLockTables(t *testing.T) {
	for _, engine := range infratest.Engines(t) {
		t.Run(engine, func(t *testing.T) {
			c := startCluster(t, engine, 2)
			c.execShop(t, "CREATE TABLE t (id INT PRIMARY KEY, v INT)", "INSERT INTO t VALUES (1, 0)")
			p := c.open(t, c.config(fanout.ModeOrdered))
			var wg sync.WaitGroup
			for range 8 {
				wg.Add(1)
				go func() {
					defer wg.Done()
					conn, err := p.DB().Connx(t.Context())
					if err != nil {
						t.Error(err)
						return
					}
					defer conn.Close()
					for range 5 {
						var v int
						_, err1 := conn.ExecContext(t.Context(), "LOCK TABLES t WRITE")
						err2 := conn.GetContext(t.Context(), &v, "SELECT v FROM t WHERE id = 1")
						_, err3 := conn.ExecContext(t.Context(), "UPDATE t SET v = ? WHERE id = 1", v+1)
						_, err4 := conn.ExecContext(t.Context(), "UNLOCK TABLES")
						if err := errors.Join(err1, err2, err3, err4); err != nil {
							t.Error(err)
						}
					}
				}()
			}
			wg.Wait()
			for i := range 2 {
				if got := c.rows(t, i, "SELECT v FROM t"); got[0] != "40" {
					t.Errorf("r%d counted to %s, want 40", i+1, got[0])
				}
			}
			other := c.open(t, c.config(fanout.ModeOrdered))
			refusedBy(t, other.DB(), "LOCK TABLES t WRITE", "FOR UPDATE")
		})
	}
}

// TestWhatAWriteReadsStays lets one process write while another's write is between the replicas: what the latter has read on the first
// replica must be the same when the second one reads it.
func TestWhatAWriteReadsStays(t *testing.T) {
	for _, engine := range infratest.Engines(t) {
		c := startCluster(t, engine, 2)
		for _, mode := range []fanout.Mode{fanout.ModeOrdered, fanout.ModeDurable} {
			for _, tt := range []struct{ name, reads, beside string }{
				{"a count", "UPDATE a SET n = (SELECT COUNT(*) FROM b) WHERE id = 1", "INSERT INTO b VALUES (2, 1, 9)"},
				{"the value of a row", "UPDATE a JOIN b ON a.id = b.id SET a.n = b.n", "UPDATE b SET n = 77 WHERE id = 5"},
				{"rows of a query", "INSERT INTO a SELECT id + 100, n FROM b", "UPDATE b SET n = 77 WHERE id = 5"},
				{"the first of some rows", "DELETE FROM b WHERE g = 1 ORDER BY id LIMIT 1", "INSERT INTO b VALUES (2, 1, 9)"},
				{"rows of a range", "UPDATE b SET n = n + 1 WHERE g = 1", "INSERT INTO b VALUES (2, 1, 9)"},
				{"a row that is ignored", "INSERT IGNORE INTO a VALUES (5, 5), (6, 6)", "DELETE FROM a WHERE id = 5"},
			} {
				t.Run(fmt.Sprintf("%s/%s/%s", engine, mode, tt.name), func(t *testing.T) {
					c.execShop(t, "DROP TABLE IF EXISTS a, b, isukit_fanout_replica, isukit_fanout_app", "CREATE TABLE a (id INT PRIMARY KEY, n INT)",
						"CREATE TABLE b (id INT PRIMARY KEY, g INT, n INT, KEY (g))", "INSERT INTO a VALUES (1, 0), (5, 0)", "INSERT INTO b VALUES (3, 1, 1), (5, 1, 1), (7, 2, 1)")
					c.besides(t, mode, tt.reads, tt.beside)
					for _, query := range []string{"SELECT CONCAT_WS('/', id, n) FROM a ORDER BY id", "SELECT CONCAT_WS('/', id, g, n) FROM b ORDER BY id"} {
						if one, two := c.rows(t, 0, query), c.rows(t, 1, query); !slices.Equal(one, two) {
							t.Errorf("r1 has %q, r2 %q", one, two)
						}
					}
				})
			}
		}
	}
}

// besides runs reads, and another write of a second process once the first replica has executed reads. It continues when the other one has
// finished, or waits.
func (c *cluster) besides(t *testing.T, mode fanout.Mode, reads, beside string) {
	t.Helper()
	other := c.open(t, c.config(mode))
	ended := make(chan error, 1)
	var once sync.Once
	cfg := c.config(mode)
	cfg.OnStep = func(step, replica string) {
		if step == "the first replica has executed" {
			once.Do(func() {
				go func() {
					_, err := other.DB().Exec(beside)
					ended <- err
				}()
				wait.For(t, "the other write to end, or to wait for a lock", func() bool { return len(ended) > 0 || c.waits(t, 0) > 0 })
			})
		}
	}
	p := c.open(t, cfg)
	_, err := p.DB().Exec(reads)
	must(t, err)
	must(t, <-ended)
	for _, pool := range []*fanout.Pool{p, other} {
		if got := states(t, pool); got[1] != fanout.InService {
			t.Errorf("states %q, want both in service", got)
		}
		must(t, pool.Close())
	}
}

// TestDeadlockBehindRows has the first replica roll a transaction back in the middle of a query that locks, whose client reads one row and
// goes on: what it does then must not be done outside of the transaction.
func TestDeadlockBehindRows(t *testing.T) {
	for _, engine := range infratest.Engines(t) {
		c := startCluster(t, engine, 2)
		c.execShop(t, "CREATE TABLE t (id INT PRIMARY KEY, v INT)", "CREATE TABLE u (id INT PRIMARY KEY)", "CREATE TABLE heavy (id INT AUTO_INCREMENT PRIMARY KEY)", "INSERT INTO t VALUES (1, 1), (2, 1), (3, 1)")
		for _, mode := range []fanout.Mode{fanout.ModeOrdered, fanout.ModeDurable} {
			for _, then := range []string{"INSERT INTO u VALUES (2)", "SELECT id FROM t WHERE id = 1 FOR UPDATE", "SELECT COUNT(*) FROM t", ""} {
				t.Run(fmt.Sprintf("%s/%s/%s", engine, mode, then), func(t *testing.T) {
					c.execShop(t, "DELETE FROM u", "DROP TABLE IF EXISTS isukit_fanout_replica, isukit_fanout_app")
					p := c.open(t, c.config(mode))
					raw := c.dbs[0].Open(t, c.name)
					defer raw.Close()
					other, err := raw.Begin()
					must(t, err)
					defer other.Rollback()
					for _, text := range []string{"UPDATE t SET v = v + 1 WHERE id = 3", "INSERT INTO heavy VALUES (), (), (), (), (), (), (), (), (), ()"} { // the lighter one is rolled back
						_, err := other.Exec(text)
						must(t, err)
					}
					tx, err := p.DB().Beginx()
					must(t, err)
					defer tx.Rollback()
					_, err = tx.Exec("INSERT INTO u VALUES (1)")
					must(t, err)
					ended := make(chan error, 1)
					go func() {
						_, err := other.Exec("INSERT INTO u VALUES (1)")
						ended <- err
					}()
					wait.For(t, "the other transaction to wait for this one", func() bool { return c.waits(t, 0) > 0 })
					rows, err := tx.Query("SELECT id FROM t ORDER BY id FOR UPDATE")
					must(t, err)
					if !rows.Next() {
						t.Error("no row came before the deadlock")
					}
					rows.Close()
					must(t, <-ended)
					if then == "" {
						err = tx.Commit()
					} else {
						_, err = tx.Exec(then)
					}
					var me *mysql.MySQLError
					if !errors.As(err, &me) || me.Number != 1213 {
						t.Errorf("got %v, want error 1213", err)
					}
					tx.Rollback()
					other.Rollback()
					if n := c.differing(t, "SELECT id FROM u"); n > 0 {
						t.Errorf("%d rows differ", n)
					}
					if got := states(t, p); got[1] != fanout.InService {
						t.Errorf("states %q, want both in service", got)
					}
					must(t, p.Close())
				})
			}
		}
	}
}

// TestQueryLocksStay has a transaction begin with a query that locks: the lock stays while it goes on.
func TestQueryLocksStay(t *testing.T) {
	for _, engine := range infratest.Engines(t) {
		c := startCluster(t, engine, 2)
		c.execShop(t, "CREATE TABLE t (id INT PRIMARY KEY, v INT)", "CREATE TABLE u (id INT PRIMARY KEY)", "INSERT INTO t VALUES (1, 1), (2, 1)")
		for i, mode := range []fanout.Mode{fanout.ModeOrdered, fanout.ModeDurable} {
			t.Run(fmt.Sprintf("%s/%s", engine, mode), func(t *testing.T) {
				c.execShop(t, "DROP TABLE IF EXISTS isukit_fanout_replica, isukit_fanout_app")
				p := c.open(t, c.config(mode))
				raw := c.dbs[0].Open(t, c.name)
				defer raw.Close()
				must(t, inTx(p.DB(), func(tx *sqlx.Tx) error {
					var ids []int
					must(t, tx.Select(&ids, "SELECT id FROM t WHERE id = 1 FOR UPDATE"))
					for _, text := range []string{fmt.Sprintf("INSERT INTO u VALUES (%d)", i), "UPDATE t SET v = 5 WHERE id = 2"} {
						_, err := tx.Exec(text)
						must(t, err)
						if rows, err := raw.Query("SELECT id FROM t WHERE id = 1 FOR UPDATE NOWAIT"); err == nil {
							if rows.Next(); rows.Err() == nil {
								t.Errorf("after %s, another locks the row", text)
							}
							rows.Close()
						}
					}
					return nil
				}))
				must(t, p.Close())
			})
		}
	}
}

// TestRolledBackByAQuery has an app go on behind a query that failed, by which MariaDB rolls the transaction back.
func TestRolledBackByAQuery(t *testing.T) {
	for _, engine := range infratest.Engines(t) {
		c := startCluster(t, engine, 2)
		c.execShop(t, "CREATE TABLE t (id INT PRIMARY KEY, v INT)", "CREATE TABLE u (id INT PRIMARY KEY)", "INSERT INTO t VALUES (1, 1), (2, 1), (3, 1)")
		for _, mode := range []fanout.Mode{fanout.ModeOrdered, fanout.ModeDurable} {
			for _, query := range []string{
				"SELECT id FROM t WHERE v = 1 OR id IN (SELECT id FROM (SELECT id FROM t ORDER BY id LIMIT 2 FOR UPDATE NOWAIT) y) AND v = 1 ORDER BY id LIMIT 2 FOR UPDATE SKIP LOCKED",
				"SELECT id FROM t ORDER BY id FOR UPDATE NOWAIT", "SELECT id FROM t ORDER BY id FOR UPDATE SKIP LOCKED"} {
				t.Run(fmt.Sprintf("%s/%s/%s", engine, mode, query), func(t *testing.T) {
					c.execShop(t, "DELETE FROM u", "DROP TABLE IF EXISTS isukit_fanout_replica, isukit_fanout_app")
					p := c.open(t, c.config(mode))
					raw := c.dbs[0].Open(t, c.name)
					defer raw.Close()
					other, err := raw.Begin()
					must(t, err)
					defer other.Rollback()
					_, err = other.Exec("UPDATE t SET v = v + 1 WHERE id = 1")
					must(t, err)
					tx, err := p.DB().Beginx()
					must(t, err)
					defer tx.Rollback()
					_, err = tx.Exec("INSERT INTO u VALUES (1)")
					must(t, err)
					if rows, err := tx.Query(query); err == nil {
						rows.Next()
						rows.Close()
					}
					_, werr := tx.Exec("INSERT INTO u VALUES (2)")
					cerr := tx.Commit()
					want := []string{}
					if werr == nil && cerr == nil {
						want = []string{"1", "2"}
					}
					for i := range c.dbs {
						if got := c.rows(t, i, "SELECT id FROM u"); !slices.Equal(got, want) {
							t.Errorf("r%d has %q, want %q: %v, %v", i+1, got, want, werr, cerr)
						}
					}
					if got := states(t, p); got[1] != fanout.InService {
						t.Errorf("states %q, want both in service", got)
					}
					must(t, p.Close())
				})
			}
		}
	}
}

// TestErrorsThatEndATransaction lets statements fail on the first replica with more than their own failure: no later statement of the
// transaction may be executed, above all not alone on that replica.
func TestErrorsThatEndATransaction(t *testing.T) {
	infratest.Real(t)
	c := startCluster(t, "mariadb", 2)
	c.execShop(t, "CREATE TABLE t (id INT AUTO_INCREMENT PRIMARY KEY, v INT)", "CREATE TABLE s (id INT PRIMARY KEY, v INT)", "CREATE TABLE u (id INT PRIMARY KEY)",
		"INSERT INTO s SELECT seq, 1 FROM seq_1_to_100001", "INSERT INTO u VALUES (1), (2)")
	// MariaDB calls a deadlock over the lock that numbers the rows of a table a failure to read the next number.
	deadlock := func(t *testing.T, tx *sqlx.Tx) error {
		raw := c.dbs[0].Open(t, c.name)
		defer raw.Close()
		other, err := raw.Begin()
		must(t, err)
		defer other.Rollback()
		ended := make(chan error, 1)
		go func() {
			_, err := other.Exec("INSERT INTO t (v) SELECT v FROM s WHERE id < 10 ORDER BY id")
			ended <- err
		}()
		wait.For(t, "the other transaction to wait for this one", func() bool { return c.waits(t, 0) > 0 })
		_, err = tx.Exec("INSERT INTO t (v) VALUES (1)")
		must(t, <-ended)
		return err
	}
	tooMany := func(t *testing.T, tx *sqlx.Tx) error { // the server has executed it
		_, err := tx.Query("DELETE FROM s RETURNING id")
		return err
	}
	for _, mode := range []fanout.Mode{fanout.ModeOrdered, fanout.ModeDurable} {
		for name, fail := range map[string]func(*testing.T, *sqlx.Tx) error{"deadlock": deadlock, "too many rows": tooMany} {
			t.Run(fmt.Sprintf("%s/%s", mode, name), func(t *testing.T) {
				p := c.open(t, c.config(mode))
				tx, err := p.DB().Beginx()
				must(t, err)
				defer tx.Rollback()
				_, err = tx.Exec("UPDATE s SET v = v + 1 WHERE id = 9")
				must(t, err)
				if err := fail(t, tx); err == nil {
					t.Error("the statement did not fail")
				}
				if _, err := tx.Exec("DELETE FROM u WHERE id = 1"); err == nil {
					t.Error("the transaction goes on")
				}
				if err := tx.Commit(); err == nil {
					t.Error("the transaction commits")
				}
				for _, query := range []string{"SELECT id FROM u", "SELECT COUNT(*) FROM s", "SELECT v FROM s WHERE id = 9"} {
					if n := c.differing(t, query); n > 0 {
						t.Errorf("%s: %d rows differ", query, n)
					}
				}
				if got := states(t, p); got[1] != fanout.InService {
					t.Errorf("states %q, want both in service", got)
				}
				must(t, p.Close())
				c.execShop(t, "DROP TABLE IF EXISTS isukit_fanout_replica, isukit_fanout_app")
			})
		}
	}
}

// waits is how many transactions of server i wait for locks.
func (c *cluster) waits(t *testing.T, i int) (n int) {
	t.Helper()
	raw := c.dbs[i].Open(t, "")
	defer raw.Close()
	var name string
	must(t, raw.QueryRow("SHOW GLOBAL STATUS LIKE 'Innodb_row_lock_current_waits'").Scan(&name, &n))
	return n
}
