package fanouttest

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/jmoiron/sqlx"

	"forge.example/account/isukit/app/fanout"
	"isukit/infra/infratest"
	"isukit/infra/infratest/wait"
)

// startReplicated gives a test a source and n-1 replicas of its own.
func startReplicated(tb testing.TB, engine string, n int, semiSync bool, args ...string) *cluster {
	tb.Helper()
	r := infratest.StartReplicated(tb, engine, n, semiSync, args...)
	r.DBs[0].Exec(tb, "CREATE DATABASE shop")
	c := &cluster{engine: engine, name: "shop", dbs: r.DBs, copying: r}
	c.settle(tb)
	return c
}

// settle waits until every replica has what the source has.
func (c *cluster) settle(tb testing.TB) {
	tb.Helper()
	position, waitFor := "@@global.gtid_executed", "WAIT_FOR_EXECUTED_GTID_SET"
	if c.engine == "mariadb" {
		position, waitFor = "@@global.gtid_binlog_pos", "MASTER_GTID_WAIT"
	}
	var have string
	if err := c.dbs[0].Open(tb, "").QueryRow("SELECT " + position).Scan(&have); err != nil {
		tb.Fatal(err)
	}
	for i, db := range c.dbs[1:] {
		var late int
		if err := db.Open(tb, "").QueryRow("SELECT "+waitFor+"(?, 60)", have).Scan(&late); err != nil || late != 0 {
			tb.Fatalf("%s r%d does not get what the source has: %d, %v\n%s", c.engine, i+2, late, err, db.Log())
		}
	}
}

// until waits until the replica at index i is in a state.
func until(tb testing.TB, p *fanout.Pool, i int, want fanout.State) fanout.ReplicaStatus {
	tb.Helper()
	var r fanout.ReplicaStatus
	wait.ForNil(tb, fmt.Sprintf("r%d to be %q", i+1, want), func() error {
		s, err := p.Status(tb.Context())
		if err != nil {
			return err
		}
		if r = s.Replicas[i]; r.State != want {
			return fmt.Errorf("it is %q (%s)", r.State, r.Reason)
		}
		return nil
	})
	return r
}

// readsFrom counts the reads by the server that answered.
func readsFrom(tb testing.TB, p *fanout.Pool, c *cluster, reads int) []int {
	tb.Helper()
	counts := make([]int, len(c.dbs))
	for range reads {
		var port int
		if err := p.DB().GetContext(tb.Context(), &port, "SELECT @@port"); err != nil {
			tb.Fatal(err)
		}
		for i, db := range c.dbs {
			if db.Port == port {
				counts[i]++
			}
		}
	}
	return counts
}

func TestReplicated(t *testing.T) {
	t.Parallel()
	for _, engine := range infratest.Engines(t) {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			c := fillLedger(t, startReplicated(t, engine, 3, false))
			cfg := quick(c.config(fanout.ModeReplicated))
			cfg.WriteTimeout = wait.Limit // what Check waits for a replica that follows slowly on a busy machine
			cfg.StatePoll = 50 * time.Millisecond
			cfg.MaxLag = 500 * time.Millisecond
			p := c.open(t, cfg)
			for _, tt := range []struct {
				name string
				run  func(*testing.T, *cluster, *fanout.Pool)
			}{
				{"reads go everywhere", replicatedReads},
				{"a session reads its writes and never goes back", replicatedSessions},
				{"a fresh read sees what others wrote", replicatedFresh},
				{"a replica that stops is left out and named", replicatedStops},
				{"statements of one connection are refused", replicatedRefuses},
				{"a replica that dies is left out and comes back", replicatedReplicaDies},
				{"the source dies", replicatedSourceDies},
				{"a row that differs is found", replicatedCheck},
			} {
				t.Run(tt.name, func(t *testing.T) { tt.run(t, c, p) })
			}
		})
	}
}

// replicatedFresh writes through one process, and immediately reads through another, while a replica is late.
func replicatedFresh(t *testing.T, c *cluster, p *fanout.Pool) {
	cfg := quick(c.config(fanout.ModeReplicated))
	cfg.MaxLag = 500 * time.Millisecond
	other := c.open(t, cfg)
	for n := range int64(30) {
		if n == 10 {
			c.copying.StopCopying(t, 1)
		}
		must(t, insertLedger(p, 5000+2*n, 0))
		var want, got int
		must(t, p.DB().GetContext(fanout.OnFirst(t.Context()), &want, "SELECT COUNT(*) FROM ledger"))
		must(t, other.DB().GetContext(fanout.Fresh(t.Context()), &got, "SELECT COUNT(*) FROM ledger"))
		if got != want {
			t.Errorf("read %d saw %d rows, want %d", n, got, want)
		}
	}
	c.copying.ResumeCopying(t, 1)
	until(t, p, 1, fanout.InService)
}

func replicatedReads(t *testing.T, c *cluster, p *fanout.Pool) {
	for id := range int64(20) {
		must(t, insertLedger(p, 2*id, 0))
	}
	c.settle(t)
	for i := range c.dbs {
		until(t, p, i, fanout.InService) // one that was late is read again
	}
	for i, n := range readsFrom(t, p, c, 90) {
		if n < 10 {
			t.Errorf("r%d answered %d of 90 reads, want about 30", i+1, n)
		}
	}
	if n := c.differing(t, "SELECT id FROM ledger"); n > 0 {
		t.Errorf("%d rows differ", n)
	}
	if got := len(c.rows(t, 2, "SELECT id FROM ledger")); got != 20 {
		t.Errorf("r3 has %d rows, want 20", got)
	}
}

// replicatedSessions has clients write and read; one without a session shows that replicas are behind at all.
func replicatedSessions(t *testing.T, c *cluster, p *fanout.Pool) {
	var wg sync.WaitGroup
	var stale, reads atomic.Int64
	for client := range 8 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			ctx := fanout.Session(t.Context())
			own, seen := 0, 0
			for i := range scale(800) / 8 {
				var err error
				if i%2 == 0 {
					_, err = p.DB().ExecContext(ctx, "UPDATE counter SET n = n + 1 WHERE id = ?", client)
				} else {
					err = p.InTx(ctx, nil, func(tx *sqlx.Tx) error {
						_, err := tx.ExecContext(ctx, "UPDATE counter SET n = n + 1 WHERE id = ?", client)
						return err
					})
				}
				if err != nil {
					t.Error(err)
					return
				}
				own++
				for _, rctx := range []int{0, 1, 2} {
					var mine, all int
					if rctx == 2 { // no session
						err = p.DB().QueryRowContext(t.Context(), "SELECT n FROM counter WHERE id = ?", client).Scan(&mine)
						if err == nil && mine != own {
							stale.Add(1)
						}
						continue
					}
					err = p.DB().QueryRowContext(ctx, "SELECT SUM(IF(id = ?, n, 0)), SUM(n) FROM counter", client).Scan(&mine, &all)
					if err != nil || mine != own || all < seen {
						t.Errorf("client %d reads %d of its %d writes, and a sum of %d after one of %d: %v", client, mine, own, all, seen, err)
						return
					}
					seen = all
					reads.Add(1)
				}
			}
		}()
	}
	wg.Wait()
	t.Logf("%d reads in sessions; %d reads without one were stale", reads.Load(), stale.Load())
	if stale.Load() == 0 {
		t.Error("no read without a session was stale, so this test would not see what a session is for")
	}
}

func replicatedStops(t *testing.T, c *cluster, p *fanout.Pool) {
	until(t, p, 1, fanout.InService)
	ctx := fanout.Session(t.Context())
	c.copying.StopCopying(t, 1)
	for id := int64(1000); id < 1040; id += 2 { // before and after the pool notices
		_, err := p.DB().ExecContext(ctx, "INSERT INTO ledger VALUES (?, 1)", id)
		must(t, err)
		var n int
		must(t, p.DB().GetContext(ctx, &n, "SELECT COUNT(*) FROM ledger WHERE id = ?", id))
		if n != 1 {
			t.Fatalf("a session does not read its own write %d while a replica is stopped", id)
		}
		must(t, p.DB().GetContext(fanout.Session(ctx), &n, "SELECT COUNT(*) FROM ledger")) // other sessions look at other replicas
	}
	wait.ForNil(t, "r2 to be left out since its replication has stopped", func() error { // it may be late before that is seen
		if st := until(t, p, 1, fanout.LeftOut); !strings.Contains(st.Reason, "replication has stopped") {
			return fmt.Errorf("it is left out because %q", st.Reason)
		}
		return nil
	})
	if n := readsFrom(t, p, c, 60); n[1] > 0 {
		t.Errorf("%d of 60 reads came from a replica that had stopped", n[1])
	}
	c.copying.ResumeCopying(t, 1)
	until(t, p, 1, fanout.InService)
	if n := readsFrom(t, p, c, 60); n[1] == 0 {
		t.Error("a replica that caught up is not read")
	}
}

func replicatedRefuses(t *testing.T, _ *cluster, p *fanout.Pool) {
	for _, text := range []string{"USE mysql", "CREATE TEMPORARY TABLE x (id INT)", "LOCK TABLES ledger WRITE", "BEGIN", "DO 1; DO 2"} {
		if _, err := p.DB().Exec(text); !errors.Is(err, fanout.ErrRefused) {
			t.Errorf("%s: got %v, want ErrRefused", text, err)
		}
	}
	_, err := p.DB().Exec("UPDATE counter SET n = n + FLOOR(RAND() * 10) WHERE id = 7") // row events copy what it gave
	must(t, err)
	if _, err := p.Repair(t.Context(), fanout.RepairOptions{From: "r1"}); err == nil || !strings.Contains(err.Error(), "replication") {
		t.Errorf("Repair: got %v, want an error that names the replication", err)
	}
	if _, err := p.Admit(t.Context(), "r2"); err == nil || !strings.Contains(err.Error(), "replication") {
		t.Errorf("Admit: got %v, want an error that names the replication", err)
	}
}

func replicatedReplicaDies(t *testing.T, c *cluster, p *fanout.Pool) {
	c.dbs[2].Kill()
	failed, why := readMeanwhile(p, 500*time.Millisecond)
	if failed > 0 {
		t.Errorf("%d reads failed, the last with: %v", failed, why)
	}
	if st := until(t, p, 2, fanout.LeftOut); !strings.Contains(st.Reason, "does not answer") {
		t.Errorf("r3 is left out because %q", st.Reason)
	}
	must(t, insertLedger(p, 5001, 0))
	c.dbs[2].Restart()
	until(t, p, 2, fanout.InService)
	c.settle(t)
	if got := c.rows(t, 2, "SELECT id FROM ledger WHERE id = 5001"); len(got) != 1 {
		t.Error("r3 lacks what was written while it was gone")
	}
}

func replicatedSourceDies(t *testing.T, c *cluster, p *fanout.Pool) {
	ctx := fanout.Session(t.Context())
	_, err := p.DB().ExecContext(ctx, "INSERT INTO ledger VALUES (7000, 1)")
	must(t, err)
	c.settle(t)
	c.dbs[0].Kill()
	ctx7002, cancel := context.WithTimeout(t.Context(), 10*wait.Limit) // not what ends it
	defer cancel()
	_, err = p.DB().ExecContext(ctx7002, "INSERT INTO ledger VALUES (7002, 0)")
	if fate := fanout.FateOf(err); fate != fanout.NotApplied && fate != fanout.Unknown || ctx7002.Err() != nil {
		t.Errorf("a write without a source: fate %q, its context: %v", fate, ctx7002.Err())
	}
	until(t, p, 0, fanout.LeftOut)
	failed, why := readMeanwhile(p, 300*time.Millisecond)
	if failed > 0 {
		t.Errorf("%d reads failed without a source, the last with: %v", failed, why)
	}
	var n int
	must(t, p.DB().GetContext(ctx, &n, "SELECT COUNT(*) FROM ledger WHERE id = 7000")) // copied before: some replica has it
	if n != 1 {
		t.Error("a session does not read its own write from a replica that has it")
	}
	c.dbs[0].Restart()
	until(t, p, 0, fanout.InService)
	for i := range 2 {
		until(t, p, i+1, fanout.InService)
	}
	must(t, insertLedger(p, 7004, 0))
}

func replicatedCheck(t *testing.T, c *cluster, p *fanout.Pool) {
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Add(1)
	var replicas []*sql.DB
	for _, db := range c.dbs[1:] {
		replicas = append(replicas, db.Open(t, c.name))
	}
	has := func(id int64) bool {
		return !slices.ContainsFunc(replicas, func(db *sql.DB) bool {
			var n int
			return db.QueryRow("SELECT COUNT(*) FROM ledger WHERE id = ?", id).Scan(&n) == nil && n == 0
		})
	}
	go func() { // Check runs during writes, as many as replicas can follow: on a busy machine they fall behind for good
		defer wg.Done()
		for id := int64(8000); ; id += 2 {
			select {
			case <-stop:
				return
			default:
				if insertLedger(p, id, 0) == nil && id%40 == 0 {
					wait.Within(func() bool { return has(id) })
				}
			}
		}
	}()
	for range 3 {
		wait.ForNil(t, "a check of all replicas", func() error { // it leaves out those that are far behind
			report, err := p.Check(t.Context(), fanout.CheckOptions{})
			if err != nil || !report.Clean() {
				t.Errorf("Check: %v, %v", report, err)
			}
			if len(report.Replicas) != 3 {
				return fmt.Errorf("it compared %v", report)
			}
			return nil
		})
	}
	close(stop)
	wg.Wait()
	c.settle(t) // a row deleted on r2 takes the number of the source's next event: MariaDB would stop at that one
	_, err := p.Replica("r2").Exec("DELETE FROM ledger WHERE id = 4")
	must(t, err)
	report, err := p.Check(t.Context(), fanout.CheckOptions{})
	must(t, err)
	if !strings.Contains(report.String(), "id=4:") || report.Differing() != 1 {
		t.Errorf("Check says %q, want that row 4 of ledger differs", report)
	}
}

// waitSemiSync waits until the source's commits wait for a replica. On a busy machine it goes on without for a while, until one
// has caught up with a later commit.
func waitSemiSync(t *testing.T, c *cluster, status string) {
	t.Helper()
	source := c.dbs[0].Open(t, "")
	wait.For(t, status+" to be ON", func() bool {
		var name, on string
		must(t, source.QueryRow("SHOW GLOBAL STATUS LIKE '"+status+"'").Scan(&name, &on))
		if on != "ON" {
			c.dbs[0].Exec(t, "CREATE DATABASE IF NOT EXISTS semisync", "DROP DATABASE semisync")
		}
		return on == "ON"
	})
}

// TestReplicatedSemiSync holds the mode to the same over semi-synchronous replication, and Open to its needs.
func TestReplicatedSemiSync(t *testing.T) {
	t.Parallel()
	for _, engine := range infratest.Engines(t) {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			c := fillLedger(t, startReplicated(t, engine, 2, true))
			status := "Rpl_semi_sync_source_status"
			if engine == "mariadb" {
				status = "Rpl_semi_sync_master_status"
			}
			waitSemiSync(t, c, status)
			p := c.open(t, c.config(fanout.ModeReplicated))
			replicatedSessions(t, c, p)
			c.settle(t)
			report, err := p.Check(t.Context(), fanout.CheckOptions{})
			if err != nil || !report.Clean() {
				t.Errorf("Check: %v, %v", report, err)
			}
			cfg := c.config(fanout.ModeReplicated)
			cfg.Replicas[0], cfg.Replicas[1] = cfg.Replicas[1], cfg.Replicas[0]
			if p, err := fanout.Open(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "does not replicate") {
				if err == nil {
					p.Close()
				}
				t.Errorf("Open with the source in the second place: got %v, want an error that says so", err)
			}
		})
	}
}

// TestReplicatedSQL runs, over a source and a replica, those of the cases that read nothing outside of a session that they
// have just written, and one more with a session.
func TestReplicatedSQL(t *testing.T) {
	for _, engine := range infratest.Engines(t) {
		c := startReplicated(t, engine, 2, false)
		createSQLTables(t, c)
		for _, sc := range append(slices.Clone(sqlCases), sqlCase{"prepared statements in a session", preparedInSession}) {
			if !slices.Contains([]string{"transaction rolls back", "several result sets", "a cancelled query is killed",
				"session settings stay with the connection", "prepared statements in a session"}, sc.name) {
				continue
			}
			t.Run(fmt.Sprintf("%s/%s", engine, sc.name), func(t *testing.T) {
				c.execShop(t, "DELETE FROM item", "DELETE FROM auto")
				sc.run(t, c.open(t, c.config(fanout.ModeReplicated)), c)
			})
		}
	}
}

func preparedInSession(t *testing.T, p *fanout.Pool, _ *cluster) {
	ctx := fanout.Session(t.Context())
	ins, err := p.DB().PrepareContext(ctx, "INSERT INTO item (id, name) VALUES (?, 'x')")
	must(t, err)
	defer ins.Close()
	count, err := p.DB().PrepareContext(t.Context(), "SELECT COUNT(*) FROM item")
	must(t, err)
	defer count.Close()
	for i := range 50 {
		_, err := ins.ExecContext(ctx, i)
		must(t, err)
		var n int
		must(t, count.QueryRowContext(ctx).Scan(&n))
		if n != i+1 {
			t.Fatalf("a prepared read of a session counts %d rows after %d writes", n, i+1)
		}
	}
	_, err = ins.ExecContext(ctx, 1)
	var me *mysql.MySQLError
	if !errors.As(err, &me) || me.Number != 1062 {
		t.Errorf("got %v, want error 1062", err)
	}
}
