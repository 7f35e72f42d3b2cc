package fanout_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/jmoiron/sqlx"

	"forge.example/account/isukit/app/fanout"
)

// fakes opens a pool in mode ordered over n servers in memory.
func fakes(tb testing.TB, n int, change func(*fanout.Config)) (*fanout.Pool, []*fakeServer) {
	tb.Helper()
	cfg := fanout.Config{Mode: fanout.ModeOrdered}
	var servers []*fakeServer
	for i := range n {
		s := newFakeServer()
		servers = append(servers, s)
		cfg.Replicas = append(cfg.Replicas, fanout.Replica{Name: fmt.Sprintf("r%d", i+1), Connector: s})
	}
	if change != nil {
		change(&cfg)
	}
	p, err := fanout.Open(tb.Context(), cfg)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { p.Close() })
	return p, servers
}

// once is a fault for the first statement that begins with part.
func once(part string, f fault) func(string) fault {
	used := false
	return func(text string) fault {
		if used || !strings.HasPrefix(text, part) {
			return none
		}
		used = true
		return f
	}
}

// states are the replicas' states in order.
func states(tb testing.TB, p *fanout.Pool) []fanout.State {
	tb.Helper()
	s, err := p.Status(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	var list []fanout.State
	for _, r := range s.Replicas {
		list = append(list, r.State)
	}
	return list
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

func TestOneFate(t *testing.T) {
	const text = "UPDATE t SET a = 1 WHERE id = 1"
	in, out := fanout.InService, fanout.Ejected
	tests := []struct {
		name   string
		server int    // the one with the fault
		part   string // of the statement that it befalls
		fault  fault
		down   bool // the server does not come back
		fate   fanout.Fate
		number uint16 // of the *mysql.MySQLError
		logs   [2]int // statements committed on each server
		states [2]fanout.State
	}{
		{"nothing wrong", 0, "-", none, false, "", 0, [2]int{1, 1}, [2]fanout.State{in, in}},
		{"the first refuses", 0, "UPDATE", duplicate, false, fanout.NotApplied, 1062, [2]int{0, 0}, [2]fanout.State{in, in}},
		{"deadlock on the first", 0, "UPDATE", deadlock, false, fanout.NotApplied, 1213, [2]int{0, 0}, [2]fanout.State{in, in}},
		{"lock wait on the first", 0, "UPDATE", lockWait, false, fanout.NotApplied, 1205, [2]int{0, 0}, [2]fanout.State{in, in}},
		{"deadlock on the second is tried again", 1, "UPDATE", deadlock, false, "", 0, [2]int{1, 1}, [2]fanout.State{in, in}},
		{"the first loses the answer", 0, "UPDATE", loseAnswer, false, "", 0, [2]int{1, 1}, [2]fanout.State{in, in}},
		{"the second loses the answer", 1, "UPDATE", loseAnswer, false, "", 0, [2]int{1, 1}, [2]fanout.State{in, in}},
		{"the first says ErrBadConn", 0, "UPDATE", badConn, false, "", 0, [2]int{1, 1}, [2]fanout.State{in, in}},
		{"the second says ErrBadConn", 1, "UPDATE", badConn, false, "", 0, [2]int{1, 1}, [2]fanout.State{in, in}},
		{"the second refuses twice", 1, "UPDATE", duplicate, true, "", 0, [2]int{1, 0}, [2]fanout.State{in, out}},
		{"the second meets a value that it can't compare", 1, "UPDATE", badValue, true, fanout.NotApplied, 1292, [2]int{0, 0}, [2]fanout.State{in, in}},
		{"a number is taken on the second", 1, "UPDATE", taken, false, "", 0, [2]int{1, 1}, [2]fanout.State{in, in}},
		{"a number is taken on the second each time", 1, "UPDATE", taken, true, fanout.NotApplied, 1869, [2]int{0, 0}, [2]fanout.State{in, in}},
		{"COMMIT on the second loses the answer", 1, "COMMIT", loseAnswer, false, "", 0, [2]int{1, 1}, [2]fanout.State{in, out}},
		{"COMMIT on the second says ErrBadConn", 1, "COMMIT", badConn, false, "", 0, [2]int{1, 1}, [2]fanout.State{in, out}},
		{"COMMIT on the second never arrives", 1, "COMMIT", breakFirst, false, "", 0, [2]int{1, 0}, [2]fanout.State{in, out}},
		{"COMMIT on the first loses the answer", 0, "COMMIT", loseAnswer, false, "", 0, [2]int{1, 1}, [2]fanout.State{out, in}},
		{"COMMIT on the first never arrives", 0, "COMMIT", breakFirst, false, "", 0, [2]int{0, 1}, [2]fanout.State{out, in}},
		{"COMMIT on the first is refused", 0, "COMMIT", duplicate, false, "", 0, [2]int{0, 1}, [2]fanout.State{out, in}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p, servers := fakes(t, 2, nil)
			f := once(tt.part, tt.fault)
			if tt.down {
				f = func(text string) fault {
					if strings.HasPrefix(text, tt.part) {
						return tt.fault
					}
					return none
				}
			}
			servers[tt.server].setFault(f)
			_, err := p.DB().ExecContext(t.Context(), text)
			if got := fanout.FateOf(err); got != tt.fate {
				t.Errorf("fate %q (%v), want %q", got, err, tt.fate)
			}
			var me *mysql.MySQLError
			if tt.number != 0 && (!errors.As(err, &me) || me.Number != tt.number) {
				t.Errorf("got %v, want a *mysql.MySQLError %d in it", err, tt.number)
			}
			if errors.Is(err, driver.ErrBadConn) {
				t.Errorf("driver.ErrBadConn is visible in %v", err)
			}
			for i, s := range servers {
				if got := len(s.log()); got != tt.logs[i] {
					t.Errorf("server %d committed %d statements, want %d", i+1, got, tt.logs[i])
				}
			}
			if got := states(t, p); !slices.Equal(got, tt.states[:]) {
				t.Errorf("states %q, want %q", got, tt.states)
			}
		})
	}
}

// TestLostAnswerIsTriedAgain loses answers to a statement on each of three replicas before anything is committed.
func TestLostAnswerIsTriedAgain(t *testing.T) {
	for _, f := range []fault{loseAnswer, badConn, breakFirst} {
		for server := range 3 {
			p, servers := fakes(t, 3, nil)
			servers[server].setFault(once("UPDATE", f))
			if _, err := p.DB().ExecContext(t.Context(), "UPDATE t SET a = 1 WHERE id = 1"); err != nil {
				t.Errorf("fault %d on server %d: %v", f, server+1, err)
			}
			for i, s := range servers {
				if got := len(s.log()); got != 1 {
					t.Errorf("fault %d on server %d: server %d committed %d statements, want 1", f, server+1, i+1, got)
				}
			}
			if got := states(t, p); slices.Contains(got, fanout.Ejected) {
				t.Errorf("fault %d on server %d: states %q, want none ejected", f, server+1, got)
			}
		}
	}
}

func TestUnknownWhenNobodyAnswersCommit(t *testing.T) {
	p, servers := fakes(t, 2, nil)
	for _, s := range servers {
		s.setFault(once("COMMIT", loseAnswer))
	}
	runs := 0
	err := p.InTx(t.Context(), nil, func(tx *sqlx.Tx) error {
		runs++
		_, err := tx.Exec("UPDATE t SET a = 1")
		return err
	})
	var we *fanout.WriteError
	if !errors.As(err, &we) || we.Fate != fanout.Unknown || len(we.Parts) != 2 {
		t.Errorf("got %v, want a *WriteError of fate unknown with two parts", err)
	}
	if runs != 1 {
		t.Errorf("the function ran %d times after an unknown outcome, want once", runs)
	}
	if got := states(t, p); got[0] != fanout.InService || got[1] != fanout.Ejected {
		t.Errorf("states %q, want the first in service and the other ejected", got)
	}
}

func TestReplicaThatIsGoneIsEjectedAndNamed(t *testing.T) {
	var named atomic.Value
	p, servers := fakes(t, 3, func(c *fanout.Config) {
		c.OnEject = func(replica, reason string) { named.Store(replica) }
	})
	if _, err := p.DB().Exec("UPDATE t SET a = 1"); err != nil {
		t.Fatal(err)
	}
	servers[1].setDown(true)
	_, err := p.DB().Exec("UPDATE t SET a = 2")
	if got := fanout.FateOf(err); got != "" && got != fanout.Applied {
		t.Errorf("fate %q (%v), want applied", got, err)
	}
	if named.Load() != "r2" {
		t.Errorf("OnEject named %v, want r2", named.Load())
	}
	for i, want := range []int{2, 1, 2} {
		if got := len(servers[i].log()); got != want {
			t.Errorf("server %d committed %d statements, want %d", i+1, got, want)
		}
	}
	servers[0].setDown(true)
	if _, err := p.DB().Exec("UPDATE t SET a = 3"); err != nil {
		t.Errorf("with the first replica gone: %v, want the last one to take the write", err)
	}
	servers[2].setDown(true)
	_, err = p.DB().Exec("UPDATE t SET a = 4")
	if got := fanout.FateOf(err); got != fanout.NotApplied && got != fanout.Unknown {
		t.Errorf("with every replica gone: %v", err)
	}
	if got := states(t, p); got[2] != fanout.InService {
		t.Errorf("states %q: the last replica must stay in service", got)
	}
}

func TestDifferentRowsAffectedEjects(t *testing.T) {
	p, servers := fakes(t, 2, nil)
	servers[1].skewRows = true
	if _, err := p.DB().Exec("UPDATE t SET a = 1"); err != nil {
		t.Fatal(err)
	}
	if got := states(t, p); got[1] != fanout.Ejected {
		t.Errorf("states %q, want the second ejected", got)
	}
	p, servers = fakes(t, 3, nil)
	servers[0].skewRows = true
	if _, err := p.DB().Exec("UPDATE t SET a = 1"); err != nil {
		t.Fatal(err)
	}
	if got := states(t, p); got[0] != fanout.InService || got[1] != fanout.Ejected || got[2] != fanout.Ejected {
		t.Errorf("states %q, want the first in service: it executed first, whatever two others say", got)
	}
	if got := len(servers[0].log()); got != 1 {
		t.Errorf("the first replica committed %d statements, want 1", got)
	}
}

// TestNobodyIsEjectedWhileStatesChange has another process eject r3 while r2 answers differently for the second time: other processes may execute
// first elsewhere just then, so r2 has to do so once more.
func TestNobodyIsEjectedWhileStatesChange(t *testing.T) {
	for _, changes := range []bool{false, true} {
		var other *fanout.Pool
		attempts := 0
		p, servers := fakes(t, 3, func(c *fanout.Config) {
			o := *c
			c.OnStep = func(step, replica string) {
				if step != "the first replica is to execute" {
					return
				}
				if attempts++; attempts == 2 && changes {
					must(t, other.Eject(t.Context(), "r3", "by another process"))
				}
			}
			var err error
			other, err = fanout.Open(t.Context(), o)
			must(t, err)
		})
		defer other.Close()
		servers[1].skewRows = true
		_, err := p.DB().Exec("UPDATE t SET a = 1")
		must(t, err)
		want, differences := []fanout.State{fanout.InService, fanout.Ejected, fanout.InService}, int64(1)
		if changes {
			want[2], differences = fanout.Ejected, 2
		}
		if got := states(t, p); !slices.Equal(got, want) {
			t.Errorf("changes %v: states %q, want %q", changes, got, want)
		}
		if got := p.Metrics().Differences; got != differences {
			t.Errorf("changes %v: rolled back %d times, want %d", changes, got, differences)
		}
	}
}

// TestNothingFollowsARollback has the first replica roll a transaction back under an error of another name.
func TestNothingFollowsARollback(t *testing.T) {
	p, servers := fakes(t, 2, nil)
	servers[0].setFault(once("UPDATE u", hidden))
	tx := p.DB().MustBegin()
	defer tx.Rollback()
	_, err := tx.Exec("UPDATE t SET a = 1")
	must(t, err)
	for _, text := range []string{"UPDATE u SET a = 1", "UPDATE t SET a = 2"} {
		var me *mysql.MySQLError
		if _, err := tx.Exec(text); !errors.As(err, &me) || me.Number != 1296 {
			t.Errorf("%s: got %v, want error 1296", text, err)
		}
	}
	if err := tx.Commit(); err == nil {
		t.Error("the transaction commits")
	}
	for i, s := range servers {
		if got := s.log(); len(got) > 0 {
			t.Errorf("server %d committed %q, want nothing", i+1, got)
		}
	}
}

func TestEjectionSurvivesRestart(t *testing.T) {
	p, servers := fakes(t, 2, nil)
	if err := p.Eject(t.Context(), "r2", "by hand"); err != nil {
		t.Fatal(err)
	}
	if err := p.Eject(t.Context(), "r1", "by hand"); err == nil {
		t.Error("the last replica in service could be ejected")
	}
	other, err := fanout.Open(t.Context(), fanout.Config{Replicas: []fanout.Replica{{Name: "r1", Connector: servers[0]}, {Name: "r2", Connector: servers[1]}}})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if got := states(t, other); got[1] != fanout.Ejected {
		t.Errorf("after a restart: states %q, want r2 ejected", got)
	}
}

// TestConnector writes and reads through a database that the app makes of the pool's connector.
func TestConnector(t *testing.T) {
	p, servers := fakes(t, 2, nil)
	db := sqlx.NewDb(sql.OpenDB(p.Connector()), "mysql")
	defer db.Close()
	if _, err := db.Exec("UPDATE t SET a = 1"); err != nil {
		t.Fatal(err)
	}
	var one int
	if err := db.Get(&one, "SELECT 1"); err != nil || one != 1 {
		t.Errorf("SELECT 1 gives %d, %v", one, err)
	}
	for i, s := range servers {
		if got := s.log(); !slices.Equal(got, []string{"UPDATE t SET a = 1"}) {
			t.Errorf("server %d committed %q", i+1, got)
		}
	}
}

func TestCancelledBeforeItBegan(t *testing.T) {
	p, servers := fakes(t, 2, nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := p.DB().ExecContext(ctx, "UPDATE t SET a = 1"); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
	if n := len(servers[0].log()) + len(servers[1].log()); n != 0 {
		t.Errorf("%d statements were committed", n)
	}
}

// TestExactlyOnceUnderFaults runs 64 goroutines against servers that fail at random at every step, and compares what is committed on a
// replica in service with the callers' results.
func TestExactlyOnceUnderFaults(t *testing.T) {
	for seed := range uint64(20) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			p, servers := fakes(t, 3, func(c *fanout.Config) { c.TxAttempts = 50 })
			for i, s := range servers {
				rng := rand.New(rand.NewPCG(seed, uint64(i)))
				s.setFault(func(text string) fault {
					// A COMMIT that fails costs a replica: half of the seeds keep all three.
					ends := text == "COMMIT" || text == "SET timestamp=DEFAULT"
					if ends && seed%2 == 0 || rng.IntN(200) != 0 {
						return none
					}
					return []fault{deadlock, lockWait, loseAnswer, badConn, breakFirst}[rng.IntN(5)]
				})
			}
			told := runTold(t, p, 64, 20)
			checkTold(t, p, servers, told)
		})
	}
}

// runTold writes n distinct statements from each of g goroutines and returns the fate that each caller got.
func runTold(tb testing.TB, p *fanout.Pool, g, n int) map[string]fanout.Fate {
	told := map[string]fanout.Fate{}
	var mu sync.Mutex
	var wg sync.WaitGroup
	ctx, cancel := context.WithTimeout(tb.Context(), time.Minute)
	defer cancel()
	for i := range g {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for j := range n {
				text := fmt.Sprintf("UPDATE t SET a = %d WHERE id = %d", j, i)
				var err error
				if j%2 == 0 {
					_, err = p.DB().ExecContext(ctx, text)
				} else {
					err = p.InTx(ctx, nil, func(tx *sqlx.Tx) error {
						_, err := tx.ExecContext(ctx, text)
						return err
					})
				}
				if errors.Is(err, driver.ErrBadConn) {
					tb.Errorf("driver.ErrBadConn is visible: %v", err)
				}
				mu.Lock()
				told[text] = fanout.FateOf(err)
				mu.Unlock()
			}
		}()
	}
	wg.Wait()
	return told
}

func checkTold(tb testing.TB, p *fanout.Pool, servers []*fakeServer, told map[string]fanout.Fate) {
	tb.Helper()
	counts := map[fanout.Fate]int{}
	var logs []map[string]int
	for i, st := range states(tb, p) {
		if st != fanout.InService {
			continue
		}
		log := map[string]int{}
		for _, text := range servers[i].log() {
			log[text]++
		}
		logs = append(logs, log)
		for text, fate := range told {
			counts[fate]++
			switch n := log[text]; {
			case fate == "" && n != 1, fate == fanout.Applied && n != 1, fate == fanout.NotApplied && n != 0, n > 1:
				tb.Errorf("server %d committed %q %d times; its caller was told %q", i+1, text, n, fate)
			}
		}
	}
	for _, log := range logs[1:] {
		for text := range told {
			if log[text] != logs[0][text] {
				tb.Errorf("%q is on one replica in service %d times and on another %d times", text, logs[0][text], log[text])
			}
		}
	}
	tb.Logf("%d replicas in service; fates by replica: %v", len(logs), counts)
}
