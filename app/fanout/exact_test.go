package fanout_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/go-sql-driver/mysql"

	"forge.example/account/isukit/app/fanout"
)

// keyedFakes are two servers whose table t has the primary key id.
func keyedFakes(tb testing.TB, change func(*fanout.Config)) (*fanout.Pool, []*fakeServer) {
	tb.Helper()
	return fakes(tb, 2, func(cfg *fanout.Config) {
		for _, r := range cfg.Replicas {
			r.Connector.(*fakeServer).keyed = true
		}
		if change != nil {
			change(cfg)
		}
	})
}

// TestExactWrite lets a write that names its row by the primary key commit alone on the second replica, and checks its fate under each
// fault.
func TestExactWrite(t *testing.T) {
	const text = "UPDATE t SET a = 1 WHERE id = ?"
	in, out := fanout.InService, fanout.Ejected
	tests := []struct {
		name   string
		server int
		part   string
		fault  fault
		always bool
		number uint16
		logs   [2]int
		states [2]fanout.State
	}{
		{"nothing wrong", 0, "-", none, false, 0, [2]int{1, 1}, [2]fanout.State{in, in}},
		{"the first refuses", 0, "UPDATE", duplicate, false, 1062, [2]int{0, 0}, [2]fanout.State{in, in}},
		{"the first loses the answer", 0, "UPDATE", loseAnswer, false, 0, [2]int{1, 1}, [2]fanout.State{in, in}},
		{"deadlock on the second is tried again", 1, "UPDATE", deadlock, false, 0, [2]int{1, 1}, [2]fanout.State{in, in}},
		{"the second refuses once", 1, "UPDATE", duplicate, false, 0, [2]int{1, 1}, [2]fanout.State{in, in}},
		{"the second always refuses", 1, "UPDATE", duplicate, true, 0, [2]int{1, 0}, [2]fanout.State{in, out}},
		{"the second loses the answer", 1, "UPDATE", loseAnswer, false, 0, [2]int{1, 1}, [2]fanout.State{in, out}},
		{"the second says ErrBadConn", 1, "UPDATE", badConn, false, 0, [2]int{1, 1}, [2]fanout.State{in, out}},
		{"the second breaks before", 1, "UPDATE", breakFirst, false, 0, [2]int{1, 0}, [2]fanout.State{in, out}},
		{"COMMIT on the first loses the answer", 0, "COMMIT", loseAnswer, false, 0, [2]int{1, 1}, [2]fanout.State{out, in}},
		{"COMMIT on the first never arrives", 0, "COMMIT", breakFirst, false, 0, [2]int{0, 1}, [2]fanout.State{out, in}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p, servers := keyedFakes(t, nil)
			f := once(tt.part, tt.fault)
			if tt.always {
				f = func(one string) fault { return map[bool]fault{true: tt.fault}[one == text] }
			}
			commits := 0
			servers[tt.server].setFault(f)
			if tt.server == 0 {
				servers[1].setFault(func(one string) fault { commits += map[bool]int{true: 1}[one == "COMMIT"]; return none })
			}
			_, err := p.DB().ExecContext(t.Context(), text, 7)
			var me *mysql.MySQLError
			if got := errors.As(err, &me); got != (tt.number != 0) || got && me.Number != tt.number {
				t.Errorf("got %v, want MySQL error %d", err, tt.number)
			}
			if commits > 0 && tt.states == [2]fanout.State{in, in} { // an ejection is recorded in a transaction
				t.Errorf("the second replica was sent COMMIT %d times, want a statement that commits by itself", commits)
			}
			if got := [2]int{len(servers[0].log()), len(servers[1].log())}; got != tt.logs {
				t.Errorf("committed %v, want %v", got, tt.logs)
			}
			if got := states(t, p); !slices.Equal(got, tt.states[:]) {
				t.Errorf("states %q, want %q", got, tt.states)
			}
		})
	}
}

// TestOnlyExactWritesCommitByThemselves counts the COMMITs on the second replica for writes whose rows are known before and
// for others.
func TestOnlyExactWritesCommitByThemselves(t *testing.T) {
	tests := []struct {
		text string
		args []any
		want bool // committed alone
	}{
		{"UPDATE t SET a = 1 WHERE id = 1", nil, true},
		{"UPDATE t SET a = 1 WHERE a = 2 AND id = ?", []any{int64(1)}, true},
		{"DELETE FROM t WHERE id = ?", []any{uint8(1)}, true},
		{"INSERT INTO t VALUES (1, 2)", nil, true},
		{"UPDATE t SET a = 1 WHERE id = ?", []any{"1"}, true},
		{"UPDATE t SET a = 1 WHERE id = ?", []any{"1a"}, false},
		{"UPDATE t SET a = 1 WHERE id = ?", []any{"1234567890123456"}, false},
		{"UPDATE t SET a = 1 WHERE id = ?", []any{1.5}, false},
		{"UPDATE t SET a = 1 WHERE id = '1'", nil, false},
		{"UPDATE t SET a = 1 WHERE a = 1", nil, false},
		{"UPDATE t SET a = 1 WHERE id > 1", nil, false},
		{"UPDATE u SET a = 1 WHERE id = 1", nil, false},
		{"REPLACE INTO t VALUES (1, 2)", nil, false},
	}
	for _, tt := range tests {
		p, servers := keyedFakes(t, nil)
		commits := 0
		servers[1].setFault(func(one string) fault { commits += map[bool]int{true: 1}[one == "COMMIT"]; return none })
		if _, err := p.DB().ExecContext(t.Context(), tt.text, tt.args...); err != nil {
			t.Errorf("%s: %v", tt.text, err)
		}
		if got := commits == 0; got != tt.want {
			t.Errorf("%s %v: committed by itself: %v, want %v", tt.text, tt.args, got, tt.want)
		}
		if got := [2]int{len(servers[0].log()), len(servers[1].log())}; got != [2]int{1, 1} {
			t.Errorf("%s: committed %v, want once each", tt.text, got)
		}
	}
}

// TestExactWriteThatDiffers ejects the second of two replicas when the row that it changed alone was missing.
func TestExactWriteThatDiffers(t *testing.T) {
	p, servers := keyedFakes(t, nil)
	servers[1].skewRows = true
	if _, err := p.DB().Exec("UPDATE t SET a = 1 WHERE id = 1"); err != nil {
		t.Fatal(err)
	}
	if got := states(t, p); got[0] != fanout.InService || got[1] != fanout.Ejected {
		t.Errorf("states %q, want the second ejected", got)
	}
}

// TestExactlyOnceInPairs is TestExactlyOnceUnderFaults for two replicas of which the second commits alone.
func TestExactlyOnceInPairs(t *testing.T) {
	for seed := range uint64(20) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			p, servers := keyedFakes(t, func(c *fanout.Config) { c.TxAttempts = 50 })
			for i, s := range servers {
				rng := rand.New(rand.NewPCG(seed, uint64(i)))
				s.setFault(func(text string) fault {
					if rng.IntN(200) != 0 {
						return none
					}
					if seed%2 == 0 { // a lost answer costs a replica: half of the seeds keep both
						return []fault{deadlock, lockWait}[rng.IntN(2)]
					}
					return []fault{deadlock, lockWait, loseAnswer, badConn, breakFirst}[rng.IntN(5)]
				})
			}
			checkTold(t, p, servers, runTold(t, p, 64, 20))
		})
	}
}
