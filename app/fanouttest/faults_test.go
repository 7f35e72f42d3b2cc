package fanouttest

import (
	"bufio"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"

	"forge.example/account/isukit/app/fanout"
	"isukit/infra/infratest"
	"isukit/infra/infratest/wait"
)

// ledger is the results that clients got for the rows that they inserted.
type ledger struct {
	mu   sync.Mutex
	told map[int64]error
}

// write inserts rows with distinct ids from 8 clients until ctx ends. Every second one is a transaction of two statements.
func (l *ledger) write(ctx context.Context, p *fanout.Pool, next *atomic.Int64) {
	var wg sync.WaitGroup
	for client := range 8 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for ctx.Err() == nil {
				id := next.Add(1)
				err := insertLedger(p, id, client)
				l.mu.Lock()
				l.told[id] = err
				l.mu.Unlock()
			}
		}()
	}
	wg.Wait()
}

func insertLedger(p *fanout.Pool, id int64, client int) error {
	ctx, cancel := context.WithTimeout(context.Background(), wait.Limit)
	defer cancel()
	if id%2 == 0 {
		_, err := p.DB().ExecContext(ctx, "INSERT INTO ledger VALUES (?, ?)", id, client)
		return err
	}
	return p.InTx(ctx, nil, func(tx *sqlx.Tx) error {
		if _, err := tx.ExecContext(ctx, "UPDATE counter SET n = n + 1 WHERE id = ?", client); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, "INSERT INTO ledger VALUES (?, ?)", id, client)
		return err
	})
}

// check compares every replica in service with the clients' results, and returns how many writes succeeded and how many have an unknown
// fate.
func (l *ledger) check(tb testing.TB, c *cluster, p *fanout.Pool) (acked, unknown int) {
	tb.Helper()
	for i, st := range states(tb, p) {
		if st != fanout.InService {
			continue
		}
		have := map[string]bool{}
		for _, id := range c.rows(tb, i, "SELECT id FROM ledger") {
			have[id] = true
		}
		acked, unknown = 0, 0
		for id, err := range l.told {
			in := have[fmt.Sprint(id)]
			switch fate := fanout.FateOf(err); {
			case fate == "" && !in:
				tb.Errorf("r%d lacks row %d, whose write succeeded", i+1, id)
			case fate == fanout.NotApplied && in:
				tb.Errorf("r%d has row %d, whose write was not applied: %v", i+1, id, err)
			case fate == "":
				acked++
			case fate == fanout.Unknown:
				unknown++
			}
		}
	}
	return acked, unknown
}

// faultModes are those whose replicas stay equal, or are ejected, whatever dies: every suite on faults runs them.
var faultModes = []fanout.Mode{fanout.ModeOrdered, fanout.ModeDurable}

// eachMode runs f for both engines and all faultModes.
func eachMode(t *testing.T, f func(t *testing.T, engine string, mode fanout.Mode)) {
	t.Helper()
	t.Parallel()
	for _, engine := range infratest.Engines(t) {
		for _, mode := range faultModes {
			t.Run(fmt.Sprintf("%s/%s", engine, mode), func(t *testing.T) {
				t.Parallel()
				f(t, engine, mode)
			})
		}
	}
}

// quick makes the pool notice a frozen replica sooner.
func quick(cfg fanout.Config) fanout.Config {
	cfg.ProbeAfter, cfg.ProbeTimeout, cfg.DialTimeout = 300*time.Millisecond, time.Second, 3*time.Second
	return cfg
}

func startLedger(tb testing.TB, engine string, n int) *cluster {
	return fillLedger(tb, startCluster(tb, engine, n))
}

func fillLedger(tb testing.TB, c *cluster) *cluster {
	tb.Helper()
	c.execShop(tb, "CREATE TABLE ledger (id BIGINT PRIMARY KEY, client INT NOT NULL)", "CREATE TABLE counter (id INT PRIMARY KEY, n INT NOT NULL)",
		"INSERT INTO counter VALUES (0,0),(1,0),(2,0),(3,0),(4,0),(5,0),(6,0),(7,0)")
	return c
}

func TestReplicaFailsUnderWrites(t *testing.T) {
	tests := []struct {
		name    string
		fail    func(c *cluster)
		recover func(c *cluster)
		ejected int // index
	}{
		{"kill the second", func(c *cluster) { c.dbs[1].Kill() }, func(c *cluster) { c.dbs[1].Restart() }, 1},
		{"kill the first", func(c *cluster) { c.dbs[0].Kill() }, func(c *cluster) { c.dbs[0].Restart() }, 0},
		{"freeze the second", func(c *cluster) { c.dbs[1].Pause() }, func(c *cluster) { c.dbs[1].Resume() }, 1},
		{"freeze the first", func(c *cluster) { c.dbs[0].Pause() }, func(c *cluster) { c.dbs[0].Resume() }, 0},
	}
	eachMode(t, func(t *testing.T, engine string, mode fanout.Mode) {
		c := fillLedger(t, startServers(t, engine, 2))
		var next atomic.Int64
		l := &ledger{told: map[int64]error{}}
		p := c.open(t, quick(c.config(mode)))
		for round := range min(max(1, scale(1)), 20) {
			for i, tt := range tests {
				if mode == fanout.ModeDurable && i%3 == 0 && !full() {
					continue
				}
				t.Run(fmt.Sprintf("%s %d", tt.name, round), func(t *testing.T) {
					failAndReturn(t, c, p, l, &next, tt.fail, tt.recover, tt.ejected, round)
				})
			}
		}
	})
}

func failAndReturn(t *testing.T, c *cluster, p *fanout.Pool, l *ledger, next *atomic.Int64, fail, back func(*cluster), ejected, seed int) {
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Add(1)
	go func() { defer wg.Done(); l.write(ctx, p, next) }()
	time.Sleep(time.Duration(100+rand.New(rand.NewPCG(uint64(seed), 1)).IntN(300)) * time.Millisecond)
	fail(c)
	reads, why := readMeanwhile(p, time.Second)
	cancel()
	wg.Wait()
	back(c)
	if got := states(t, p); got[ejected] != fanout.Ejected || got[1-ejected] != fanout.InService {
		t.Fatalf("states %q, want r%d ejected alone", got, ejected+1)
	}
	if reads > 0 {
		t.Errorf("%d reads failed while a replica was gone, the last with: %v", reads, why)
	}
	acked, unknown := l.check(t, c, p)
	if _, err := p.Admit(t.Context(), fmt.Sprintf("r%d", ejected+1)); err != nil {
		t.Fatalf("Admit: %v", err)
	}
	l.check(t, c, p)
	report, err := p.Check(t.Context(), fanout.CheckOptions{})
	if err != nil || !report.Clean() {
		t.Errorf("Check: %v, %v", report, err)
	}
	t.Logf("%d writes succeeded so far, %d of unknown fate", acked, unknown)
}

// readMeanwhile reads for d and returns how many reads failed, and the last one's error.
func readMeanwhile(p *fanout.Pool, d time.Duration) (failed int, why error) {
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(5 * time.Millisecond) { // clock: it reads for this time, any number of times
		ctx, cancel := context.WithTimeout(context.Background(), wait.Limit)
		var n int
		if err := p.DB().GetContext(ctx, &n, "SELECT COUNT(*) FROM counter"); err != nil || n != 8 {
			failed++
			why = fmt.Errorf("%d rows, %w", n, err)
		}
		cancel()
	}
	return failed, why
}

func TestEveryReplicaKilled(t *testing.T) {
	eachMode(t, func(t *testing.T, engine string, mode fanout.Mode) {
		c := fillLedger(t, startServers(t, engine, 2))
		var next atomic.Int64
		l := &ledger{told: map[int64]error{}}
		p := c.open(t, quick(c.config(mode)))
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Add(1)
		go func() { defer wg.Done(); l.write(ctx, p, &next) }()
		time.Sleep(300 * time.Millisecond)
		wg.Add(2)
		for _, db := range c.dbs {
			go func() { defer wg.Done(); db.Kill() }()
		}
		time.Sleep(500 * time.Millisecond)
		cancel()
		wg.Wait()
		for _, db := range c.dbs {
			db.Restart()
		}
		time.Sleep(time.Second) // the pool records what it could not
		acked, unknown := l.check(t, c, p)
		t.Logf("%d writes succeeded, %d of unknown fate; states %q", acked, unknown, states(t, p))
		for i, st := range states(t, p) {
			if st == fanout.Ejected {
				if _, err := p.Admit(t.Context(), fmt.Sprintf("r%d", i+1)); err != nil {
					t.Fatalf("Admit: %v", err)
				}
			}
		}
		if report, err := p.Check(t.Context(), fanout.CheckOptions{}); err != nil || !report.Clean() {
			t.Errorf("Check: %v, %v", report, err)
		}
		if err := insertLedger(p, next.Add(1), 0); err != nil {
			t.Errorf("a write after the restart: %v", err)
		}
	})
}

// TestAppKilled kills a writing process with SIGKILL and opens a pool after it: what it left on some replicas only is found,
// and what it had been told is there.
func TestAppKilled(t *testing.T) {
	if dsns := os.Getenv("ISUKIT_FANOUT_WRITER"); dsns != "" {
		writerProcess(dsns)
	}
	eachMode(t, func(t *testing.T, engine string, mode fanout.Mode) {
		c := startLedger(t, engine, 2)
		l := &ledger{told: map[int64]error{}}
		start := int64(0)
		for range min(max(2, scale(2)), 20) {
			start += 1_000_000
			for _, id := range killWriter(t, c, mode, start) {
				l.told[id] = nil
			}
			p, err := fanout.Open(t.Context(), c.config(mode))
			if err != nil {
				t.Fatal(err)
			}
			l.check(t, c, p)
			report, err := p.Check(t.Context(), fanout.CheckOptions{})
			if err != nil || !report.Clean() {
				t.Errorf("Check of the replicas in service after a crash: %v, %v", report, err)
			}
			if got := states(t, p); slices.Contains(got, fanout.Ejected) {
				t.Logf("the crash left r2 behind: ejected")
				if mode == fanout.ModeDurable {
					t.Errorf("states %q: mode durable leaves no replica behind", got)
				}
				if _, err := p.Admit(t.Context(), "r2"); err != nil {
					t.Fatalf("Admit: %v", err)
				}
			}
			p.Close()
		}
	})
}

// TestLatePacketOfADeadProcess opens a pool while a server still works on what a process sent before it died: a write that comes to one
// replica only, after an early comparison has found them equal.
func TestLatePacketOfADeadProcess(t *testing.T) {
	t.Parallel()
	for _, engine := range infratest.Engines(t) {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			c := startLedger(t, engine, 2)
			must(t, c.open(t, c.config(fanout.ModeOrdered)).Close())
			c.execShop(t, "INSERT INTO isukit_fanout_app (id, mode, started_us, epoch) VALUES ('dead', 'ordered', 1, 0)")
			late, err := sql.Open("mysql", c.dbs[1].RootDSN(c.name)+"&multiStatements=true")
			must(t, err)
			sent := make(chan error, 1)
			go func() {
				_, err := late.Exec("DO SLEEP(0.5); INSERT INTO ledger VALUES (1, 1)")
				sent <- errors.Join(err, late.Close())
			}()
			for len(c.rows(t, 1, "SELECT id FROM information_schema.processlist WHERE db = DATABASE() AND info LIKE 'DO SLEEP%'")) == 0 {
				time.Sleep(5 * time.Millisecond)
			}
			p, err := fanout.Open(t.Context(), c.config(fanout.ModeOrdered))
			must(t, err)
			defer p.Close()
			if got := states(t, p); got[0] != fanout.InService || got[1] != fanout.Ejected {
				t.Errorf("states %q, want r2 ejected, which has a row more", got)
			}
			must(t, <-sent)
		})
	}
}

// killWriter runs the writer process, kills it at a random moment and returns the ids that it had acknowledged.
func killWriter(tb testing.TB, c *cluster, mode fanout.Mode, start int64) []int64 {
	tb.Helper()
	return runWriter(tb, c, writerOrder{Mode: mode, Start: start, Limit: 200 + rand.IntN(400)})
}

// writerOrder tells a writing process what to do. It ends by SIGKILL: when Limit writes were acknowledged, or, by its own
// hand, when writes have come to At for the Nth time.
type writerOrder struct {
	DSNs  []string
	Mode  fanout.Mode
	Start int64 // its ids come after it
	Limit int
	At    moment
	Nth   int64
}

// runWriter runs the writer process to its end and returns the ids that it had acknowledged.
func runWriter(tb testing.TB, c *cluster, order writerOrder) []int64 {
	tb.Helper()
	for _, db := range c.dbs {
		order.DSNs = append(order.DSNs, db.RootDSN(c.name))
	}
	env, err := json.Marshal(order)
	if err != nil {
		tb.Fatal(err)
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestAppKilled$")
	cmd.Env = append(os.Environ(), "ISUKIT_FANOUT_WRITER="+string(env))
	out, err := cmd.StdoutPipe()
	if err != nil {
		tb.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	defer time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() }).Stop()
	var ids []int64
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		var id int64
		if _, err := fmt.Sscanf(lines.Text(), "acked %d", &id); err == nil {
			ids = append(ids, id)
		}
		if order.Limit > 0 && len(ids) == order.Limit {
			_ = cmd.Process.Kill()
		}
	}
	err = cmd.Wait()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL || len(ids) < order.Limit {
		tb.Fatalf("the writer ended by itself after %d rows: %v", len(ids), err)
	}
	return ids
}

// writerProcess writes until it is killed, and prints what was acknowledged.
func writerProcess(env string) {
	var in writerOrder
	if err := json.Unmarshal([]byte(env), &in); err != nil {
		panic(err)
	}
	cfg := fanout.Config{Mode: in.Mode}
	for i, dsn := range in.DSNs {
		cfg.Replicas = append(cfg.Replicas, fanout.Replica{Name: fmt.Sprintf("r%d", i+1), DSN: dsn})
	}
	var passed atomic.Int64
	cfg.OnStep = func(step, replica string) {
		if step == in.At.Step && replica == in.At.Replica && passed.Add(1) == in.Nth {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
	}
	p, err := fanout.Open(context.Background(), cfg)
	if err != nil {
		panic(err)
	}
	var next atomic.Int64
	next.Store(in.Start)
	var mu sync.Mutex
	for client := range 8 {
		go func() {
			for {
				id := next.Add(1)
				if err := insertLedger(p, id, client); err == nil {
					mu.Lock()
					fmt.Println("acked", id)
					mu.Unlock()
				}
			}
		}()
	}
	select {}
}

// TestRandomCancels cancels writes at random moments, some while they wait for a row lock.
func TestRandomCancels(t *testing.T) {
	eachMode(t, func(t *testing.T, engine string, mode fanout.Mode) {
		c := startLedger(t, engine, 2)
		p := c.open(t, c.config(mode))
		l := &ledger{told: map[int64]error{}}
		var wg sync.WaitGroup
		var next, cancelled atomic.Int64
		total := int64(scale(1000))
		for client := range 16 {
			wg.Add(1)
			go func() {
				defer wg.Done()
				rng := rand.New(rand.NewPCG(uint64(client), 3))
				for id := next.Add(1); id <= total; id = next.Add(1) {
					ctx, cancel := context.WithTimeout(t.Context(), time.Microsecond<<rng.IntN(18)) // up to 131 ms
					err := p.InTx(ctx, nil, func(tx *sqlx.Tx) error {                               // four hot rows: most wait for a lock
						if _, err := tx.ExecContext(ctx, "UPDATE counter SET n = n + 1 WHERE id = ?", id%4); err != nil {
							return err
						}
						_, err := tx.ExecContext(ctx, "INSERT INTO ledger VALUES (?, ?)", id, client)
						return err
					})
					cancel()
					if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
						cancelled.Add(1)
					}
					l.mu.Lock()
					l.told[id] = err
					l.mu.Unlock()
				}
			}()
		}
		wg.Wait()
		acked, _ := l.check(t, c, p)
		t.Logf("%d of %d writes were cancelled, %d succeeded", cancelled.Load(), total, acked)
		if cancelled.Load() == 0 || acked == 0 {
			t.Error("want some writes cancelled and some not")
		}
		report, err := p.Check(t.Context(), fanout.CheckOptions{})
		if err != nil || !report.Clean() {
			t.Errorf("Check: %v, %v", report, err)
		}
		if n := p.Metrics().Ejections; n > 0 {
			t.Errorf("%d replicas were ejected by clients that gave up", n)
		}
		if left := c.rows(t, 0, "SELECT COUNT(*) FROM information_schema.processlist WHERE command = 'Query' AND db = DATABASE() AND info LIKE 'UPDATE counter%'"); left[0] != "0" {
			t.Errorf("%s abandoned statements still run", left[0])
		}
	})
}
