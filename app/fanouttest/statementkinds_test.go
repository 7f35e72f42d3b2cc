package fanouttest

import (
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"forge.example/account/isukit/app/fanout"
	"github.com/go-sql-driver/mysql"
	"github.com/jmoiron/sqlx"
	"isukit/infra/infratest"
	"isukit/infra/infratest/wait"
)

// TestSkipLockedInsideAWrite lets clients take jobs, as an app does after it has read how.
func TestSkipLockedInsideAWrite(t *testing.T) {
	for _, engine := range infratest.Engines(t) {
		t.Run(engine, func(t *testing.T) {
			c := startCluster(t, engine, 2)
			c.execShop(t, "CREATE TABLE job (id INT PRIMARY KEY, owner INT)")
			p := c.open(t, c.config(fanout.ModeOrdered))
			for _, text := range []string{
				"UPDATE job SET owner = 1 WHERE id = (SELECT id FROM (SELECT id FROM job WHERE owner IS NULL FOR UPDATE SKIP LOCKED) x)",
				"UPDATE job j JOIN (SELECT id FROM job FOR UPDATE NOWAIT) x USING (id) SET owner = 1",
			} {
				refusedBy(t, p.DB(), text, "SELECT ... FOR UPDATE SKIP LOCKED in the same transaction")
			}
			const jobs = 60
			for i := range jobs {
				_, err := p.DB().Exec("INSERT INTO job (id) VALUES (?)", i)
				must(t, err)
			}
			var wg sync.WaitGroup
			for owner := range 8 {
				wg.Add(1)
				go func() {
					defer wg.Done()
					for {
						err := p.InTx(t.Context(), nil, func(tx *sqlx.Tx) error {
							var id int
							if err := tx.Get(&id, "SELECT id FROM job WHERE owner IS NULL ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED"); err != nil {
								return err
							}
							_, err := tx.Exec("UPDATE job SET owner = ? WHERE id = ?", owner, id)
							return err
						})
						if errors.Is(err, sql.ErrNoRows) {
							return
						}
						if err := retryable(err); err != nil {
							t.Error(err)
							return
						}
					}
				}()
			}
			wg.Wait()
			if n := c.differing(t, "SELECT CONCAT_WS('/', id, owner) FROM job"); n > 0 {
				t.Errorf("%d rows differ", n)
			}
			if got := c.rows(t, 1, "SELECT COUNT(*) FROM job WHERE owner IS NOT NULL"); got[0] != fmt.Sprint(jobs) {
				t.Errorf("%s jobs were taken, want %d", got[0], jobs)
			}
		})
	}
}

// TestInsertSelectBesideInserts numbers rows from a query while others insert, on whose account ids do not follow each other.
func TestInsertSelectBesideInserts(t *testing.T) {
	for _, engine := range infratest.Engines(t) {
		t.Run(engine, func(t *testing.T) {
			c := startCluster(t, engine, 2)
			c.execShop(t, "CREATE TABLE t (id BIGINT AUTO_INCREMENT PRIMARY KEY, k INT)", "CREATE TABLE s (id INT PRIMARY KEY)",
				"INSERT INTO s VALUES (1), (2), (3), (4), (5), (6), (7), (8), (9), (10)")
			p := c.open(t, c.config(fanout.ModeOrdered))
			var wg sync.WaitGroup
			for client := range 8 {
				wg.Add(1)
				go func() {
					defer wg.Done()
					for i := range scale(20) {
						text := "INSERT INTO t (k) SELECT id FROM s ORDER BY id"
						if client > 1 {
							text = "INSERT INTO t (k) VALUES (1), (2)"
						}
						if _, err := p.DB().Exec(text); retryable(err) != nil {
							t.Errorf("%d: %v", i, err)
						}
					}
				}()
			}
			wg.Wait()
			if n := c.differing(t, "SELECT CONCAT_WS('/', id, k) FROM t"); n > 0 {
				t.Errorf("%d rows differ", n)
			}
			if got := states(t, p); got[1] != fanout.InService {
				t.Errorf("states %q, want both in service", got)
			}
		})
	}
}

// TestTooLarge sends a statement that is larger than the packets that one replica takes: nothing is executed, and nobody ejected.
func TestTooLarge(t *testing.T) {
	for _, engine := range infratest.Engines(t) {
		c := startServers(t, engine, 2, "--max-allowed-packet=1M")
		c.execShop(t, "CREATE TABLE up (id INT PRIMARY KEY, b LONGBLOB)")
		for _, mode := range []fanout.Mode{fanout.ModeSingle, fanout.ModeParallel, fanout.ModeOrdered, fanout.ModeDurable, fanout.ModeKeyed} {
			t.Run(fmt.Sprintf("%s/%s", engine, mode), func(t *testing.T) {
				cfg := c.config(mode)
				if mode == fanout.ModeSingle {
					cfg.Replicas = cfg.Replicas[:1]
				}
				c.execShop(t, "DELETE FROM up", "DROP TABLE IF EXISTS isukit_fanout_app")
				p := c.open(t, cfg)
				_, err := p.DB().Exec("INSERT INTO up VALUES (1, ?)", make([]byte, 1<<20))
				if !errors.Is(err, mysql.ErrPktTooLarge) || fanout.FateOf(err) != fanout.NotApplied {
					t.Errorf("got %v with fate %q, want mysql.ErrPktTooLarge, not applied", err, fanout.FateOf(err))
				}
				if mode == fanout.ModeOrdered || mode == fanout.ModeDurable || mode == fanout.ModeKeyed {
					for _, s := range states(t, p) {
						if s != fanout.InService {
							t.Errorf("states %q, want all in service", states(t, p))
						}
					}
				}
				if got := c.rows(t, 0, "SELECT COUNT(*) FROM up"); got[0] != "0" {
					t.Errorf("%s rows, want none", got[0])
				}
				must(t, p.Close())
				for i := range cfg.Replicas {
					cfg.Replicas[i].MySQL.MaxAllowedPacket = 64 << 10 // above this the driver sends an argument in pieces
				}
				p = c.open(t, cfg)
				for _, text := range []string{"INSERT INTO up VALUES (2, ?)", "UPDATE up SET b = ? WHERE id + 0 = 2"} {
					if _, err := p.DB().Exec(text, make([]byte, 300<<10)); err != nil {
						t.Errorf("%s: %v", text, err)
					}
				}
				must(t, p.Close())
			})
		}
	}
}

// TestSessionQuestions asks for the statement before, on one connection.
func TestSessionQuestions(t *testing.T) {
	for _, engine := range infratest.Engines(t) {
		c := startCluster(t, engine, 2)
		c.execShop(t, "CREATE TABLE t (id BIGINT AUTO_INCREMENT PRIMARY KEY, k INT)", "INSERT INTO t (k) VALUES (1), (2), (3), (4), (5)")
		for _, mode := range []fanout.Mode{fanout.ModeOrdered, fanout.ModeDurable} {
			t.Run(fmt.Sprintf("%s/%s", engine, mode), func(t *testing.T) {
				p := c.open(t, c.config(mode))
				ctx := t.Context()
				conn, err := p.DB().Connx(ctx)
				must(t, err)
				defer conn.Close()
				for range 10 { // reads go to either replica
					var ids []int
					must(t, conn.SelectContext(ctx, &ids, "SELECT SQL_CALC_FOUND_ROWS id FROM t WHERE id <= 5 LIMIT 2"))
					var n int
					must(t, conn.GetContext(ctx, &n, "SELECT FOUND_ROWS()"))
					if n != 5 {
						t.Errorf("FOUND_ROWS() is %d, want 5", n)
					}
				}
				rows, err := conn.QueryxContext(ctx, "INSERT INTO t (k) VALUES (6)")
				must(t, err)
				must(t, rows.Close())
				var id, most int64
				must(t, conn.GetContext(ctx, &id, "SELECT LAST_INSERT_ID()"))
				must(t, conn.GetContext(ctx, &most, "SELECT MAX(id) FROM t"))
				if id != most {
					t.Errorf("LAST_INSERT_ID() is %d, want %d", id, most)
				}
				_, err = conn.ExecContext(ctx, "UPDATE t SET k = 7 WHERE id = 1")
				must(t, err)
				for _, text := range []string{"SELECT ROW_COUNT()", "SELECT FOUND_ROWS()", "SHOW WARNINGS", "SELECT @@warning_count"} {
					if _, err := conn.QueryxContext(ctx, text); !errors.Is(err, fanout.ErrRefused) {
						t.Errorf("%s behind a write: got %v, want it refused", text, err)
					}
				}
			})
		}
	}
}

// TestStoredPrograms calls procedures and functions, which run once and may only read.
func TestStoredPrograms(t *testing.T) {
	for _, engine := range infratest.Engines(t) {
		t.Run(engine, func(t *testing.T) {
			c := startCluster(t, engine, 2)
			defer c.execShop(t, "SET GLOBAL log_bin_trust_function_creators = 0") // other tests' servers are the same
			c.execShop(t, "SET GLOBAL log_bin_trust_function_creators = 1", "CREATE TABLE t (id INT PRIMARY KEY)", "CREATE FUNCTION plus(a INT) RETURNS INT DETERMINISTIC RETURN a + 1",
				"CREATE FUNCTION sly() RETURNS INT BEGIN INSERT INTO t VALUES (1); RETURN 1; END", "CREATE PROCEDURE writes() INSERT INTO t VALUES (2)")
			p := c.open(t, c.config(fanout.ModeOrdered))
			var n int
			must(t, p.DB().Get(&n, "SELECT plus(1)"))
			if n != 2 {
				t.Errorf("plus(1) is %d", n)
			}
			for _, text := range []string{"SELECT sly()", "CALL writes()", "DO sly()", "UPDATE t SET id = plus(id)"} {
				if _, err := p.DB().Exec(text); !errors.Is(err, fanout.ErrRefused) {
					t.Errorf("%s: got %v, want it refused", text, err)
				}
			}
			if err := p.DB().Get(&n, "SELECT sly()"); !errors.Is(err, fanout.ErrRefused) {
				t.Errorf("got %v, want it refused", err)
			}
			_, err := p.DB().Exec("INSERT INTO t VALUES (9)")
			must(t, err)
			for i := range 2 {
				if got := c.rows(t, i, "SELECT GROUP_CONCAT(id) FROM t"); got[0] != "9" {
					t.Errorf("r%d has %s", i+1, got[0])
				}
			}
		})
	}
}

// TestOtherDatabase reads seed data from a database that is not the pool's: while it is the same on all replicas.
func TestOtherDatabase(t *testing.T) {
	for _, engine := range infratest.Engines(t) {
		t.Run(engine, func(t *testing.T) {
			c := startCluster(t, engine, 2)
			seed := c.name + "_seed"
			c.execShop(t, "CREATE DATABASE "+seed, "CREATE TABLE "+seed+".a (id INT PRIMARY KEY, v INT)", "CREATE TABLE "+seed+".b (id INT PRIMARY KEY, v INT)",
				"INSERT INTO "+seed+".a VALUES (1, 1), (2, 2)", "INSERT INTO "+seed+".b VALUES (1, 1)", "CREATE TABLE t (id INT PRIMARY KEY, v INT)")
			c.execOn(t, 1, "UPDATE "+seed+".b SET v = 2")
			p := c.open(t, c.config(fanout.ModeOrdered))
			_, err := p.DB().Exec("INSERT INTO t SELECT id, v FROM " + seed + ".a")
			must(t, err)
			refusedBy(t, p.DB(), "INSERT INTO t SELECT id + 5, v FROM "+seed+".b", "not the same on r1 and r2")
			refusedBy(t, p.DB(), "DELETE FROM "+seed+".a", "another database")
			for i := range 2 {
				if got := c.rows(t, i, "SELECT CONCAT_WS('/', id, v) FROM t"); !slices.Equal(got, []string{"1/1", "2/2"}) {
					t.Errorf("r%d has %q", i+1, got)
				}
			}
		})
	}
}

// TestUpsertTriesANumberThatIsTaken lets the second replica try the row of an upsert, which met another one on the first, with a number
// that a row now has: of an insert that was numbered on the first replica and waits on the second.
func TestUpsertTriesANumberThatIsTaken(t *testing.T) {
	for _, engine := range infratest.Engines(t) {
		c := startCluster(t, engine, 2)
		for _, mode := range []fanout.Mode{fanout.ModeOrdered, fanout.ModeDurable} {
			for _, text := range []string{"INSERT INTO t(k, v) VALUES ('a', 10) ON DUPLICATE KEY UPDATE v = VALUES(v)", "INSERT INTO t(k, v) VALUES ('a', 10), ('b', 20) ON DUPLICATE KEY UPDATE v = VALUES(v)"} {
				t.Run(fmt.Sprintf("%s/%s/%s", engine, mode, text), func(t *testing.T) {
					c.execShop(t, "DROP TABLE IF EXISTS t, isukit_fanout_replica, isukit_fanout_app", upsertTable, "INSERT INTO t(k, v) VALUES ('a', 1), ('b', 2)")
					p := c.open(t, c.config(mode))
					raw := c.dbs[1].Open(t, c.name)
					defer raw.Close()
					gap, err := raw.Begin()
					must(t, err)
					defer gap.Rollback()
					_, err = gap.Exec("DELETE FROM t WHERE id > 100")
					must(t, err)
					ended := make(chan error, 2)
					for i, text := range []string{"INSERT INTO t(k) VALUES ('y')", text} {
						go func() {
							_, err := p.DB().Exec(text)
							ended <- err
						}()
						wait.For(t, "the write to wait on the second replica", func() bool { return c.waits(t, 1) > i || len(ended) > 0 })
					}
					must(t, gap.Rollback())
					for range 2 {
						must(t, <-ended)
					}
					for i := range c.dbs {
						v := 2 + 18*strings.Count(text, "'b'")
						if got, want := c.rows(t, i, "SELECT CONCAT_WS('/', k, v) FROM t ORDER BY k"), []string{"a/10", fmt.Sprint("b/", v), "y"}; !slices.Equal(got, want) {
							t.Errorf("r%d has %q, want %q", i+1, got, want)
						}
					}
					if n := c.differing(t, "SELECT CONCAT_WS('/', id, k, v) FROM t"); n > 0 {
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

// TestNamesInBothCases has a table and columns whose names are not lower case, as servers on Linux tell them apart.
func TestNamesInBothCases(t *testing.T) {
	for _, engine := range infratest.Engines(t) {
		for _, mode := range []fanout.Mode{fanout.ModeOrdered, fanout.ModeDurable} {
			t.Run(fmt.Sprintf("%s/%s", engine, mode), func(t *testing.T) {
				c := startCluster(t, engine, 2)
				c.execShop(t, "CREATE TABLE TeamName (Id BIGINT AUTO_INCREMENT PRIMARY KEY, K VARCHAR(20) NOT NULL UNIQUE, N INT UNIQUE, V INT)", "INSERT INTO TeamName (K, V) VALUES ('a', 1), ('b', 2)")
				p := c.open(t, c.config(mode))
				c.execOn(t, 1, "ALTER TABLE TeamName AUTO_INCREMENT = 5000")
				do("INSERT INTO TeamName (K, V) VALUES ('a', 10), ('b', 20) ON DUPLICATE KEY UPDATE V = VALUES(V)", "INSERT INTO TeamName (K, V) VALUES ('a', 11), ('c', 30) ON DUPLICATE KEY UPDATE V = VALUES(V)",
					"UPDATE TeamName SET V = V + 1 WHERE V > 5 LIMIT 1", "DELETE FROM TeamName WHERE Id = 2")(t, p.DB())
				c.execOn(t, 1, "UPDATE TeamName SET V = 77 WHERE K = 'c'")
				report, err := p.Check(t.Context(), fanout.CheckOptions{})
				must(t, err)
				if len(report.Tables) != 1 || report.Tables[0].Table != "TeamName" || report.Tables[0].Differing != 1 {
					t.Errorf("the check says %+v, want one row of TeamName", report.Tables)
				}
				_, err = p.Repair(t.Context(), fanout.RepairOptions{From: "r1"})
				must(t, err)
				for i := range c.dbs {
					if got, want := c.rows(t, i, "SELECT CONCAT_WS('/', Id, K, V) FROM TeamName ORDER BY Id"), []string{"1/a/12", "5/c/30"}; !slices.Equal(got, want) {
						t.Errorf("r%d has %q, want %q", i+1, got, want)
					}
				}
			})
		}
	}
}

// TestRowsThatFollow deletes rows that others follow by a foreign key, one of which is locked. A MySQL that changes those above
// InnoDB reports success then, so it gets no such statement.
func TestRowsThatFollow(t *testing.T) {
	tables := []string{"CREATE TABLE up (id INT PRIMARY KEY, v INT)",
		"CREATE TABLE down (id INT PRIMARY KEY, up INT, v INT, FOREIGN KEY (up) REFERENCES up (id) ON DELETE CASCADE ON UPDATE CASCADE)",
		"INSERT INTO up VALUES (1, 1), (2, 2)", "INSERT INTO down VALUES (1, 1, 1), (2, 2, 2), (3, 2, 3)"}
	for _, engine := range infratest.Engines(t) {
		t.Run(engine, func(t *testing.T) {
			c := startCluster(t, engine, 2)
			if engine == "mysql" {
				c.execShop(t, tables...)
				p := c.open(t, c.config(fanout.ModeOrdered))
				refusedBy(t, p.DB(), "DELETE FROM up WHERE id = 1", "innodb_native_foreign_keys=ON")
				_, err := p.DB().Exec("UPDATE up SET v = 3 WHERE id = 1")
				must(t, err)
				c = startServers(t, engine, 2, "--innodb-native-foreign-keys=ON")
			}
			c.execShop(t, tables...)
			cfg := c.config(fanout.ModeOrdered)
			cfg.LockWait = time.Second
			p := c.open(t, cfg)
			_, err := p.DB().Exec("DELETE FROM up WHERE id = 1")
			must(t, err)
			other, err := c.raw(0)
			must(t, err)
			defer other.Close()
			locks, err := other.Begin()
			must(t, err)
			_, err = locks.Exec("UPDATE down SET v = 9 WHERE id = 3")
			must(t, err)
			_, err = p.DB().Exec("UPDATE up SET id = 5 WHERE id = 2")
			if fanout.FateOf(err) != fanout.NotApplied {
				t.Errorf("behind a lock: %v, want not applied", err)
			}
			must(t, locks.Rollback())
			for _, want := range []string{"2/2 3/2", "2/5 3/5"} {
				for i := range 2 {
					if got := strings.Join(c.rows(t, i, "SELECT CONCAT_WS('/', id, up) FROM down ORDER BY id"), " "); got != want {
						t.Errorf("r%d has %s, want %s", i+1, got, want)
					}
				}
				if want == "2/2 3/2" {
					_, err = p.DB().Exec("UPDATE up SET id = 5 WHERE id = 2")
					must(t, err)
				}
			}
		})
	}
}

// TestUpsertMeetsWhatWasNotThere has a row appear that an upsert would meet by its primary key, behind the first replica's look for it and before
// the others': on the first one it met another row, by another key.
func TestUpsertMeetsWhatWasNotThere(t *testing.T) {
	eachMode(t, func(t *testing.T, engine string, mode fanout.Mode) {
		for _, replicas := range []int{2, 3} {
			c := startCluster(t, engine, replicas)
			c.execShop(t, "CREATE TABLE t (id INT PRIMARY KEY, k VARCHAR(20) UNIQUE, v INT)", "INSERT INTO t VALUES (1, 'a', 0)")
			var once sync.Once
			var others sync.WaitGroup
			appear := func() {}
			cfg := c.config(mode)
			cfg.OnStep = func(step, replica string) {
				if step == "the first replica has executed" {
					once.Do(func() { appear() })
				}
			}
			p := c.open(t, cfg)
			appear = func() {
				done := make(chan struct{})
				others.Add(1)
				go func() {
					defer others.Done()
					defer close(done)
					_, err := p.DB().Exec("INSERT INTO t VALUES (7, 'b', 0)")
					must(t, err)
				}()
				select {
				case <-done:
				case <-time.After(300 * time.Millisecond): // it waits for the upsert
				}
			}
			_, err := p.DB().Exec("INSERT INTO t VALUES (?, ?, 0), (8, 'c', 0) ON DUPLICATE KEY UPDATE v = v + 1", 7, "a")
			must(t, err)
			others.Wait()
			for i := range replicas {
				if got := strings.Join(c.rows(t, i, "SELECT CONCAT_WS('/', id, k, v) FROM t ORDER BY id"), " "); got != "1/a/1 7/b/0 8/c/0" {
					t.Errorf("r%d has %s", i+1, got)
				}
			}
			if got := states(t, p); slices.Contains(got, fanout.Ejected) {
				t.Errorf("states %q", got)
			}
		}
	})
}
