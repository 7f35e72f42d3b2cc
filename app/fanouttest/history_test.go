package fanouttest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/jmoiron/sqlx"

	"forge.example/account/isukit/app/fanout"
	"isukit/infra/infratest"
)

// A history is what clients got and saw, in their own words and times. Each test here compares one kind of history with its rule in the
// modes that promise it, and shows that the rule catches mode parallel: otherwise the rule would be blind.

// faults are what a history has against its rule.
type faults struct {
	mu    sync.Mutex
	count int
	first []string
}

func (f *faults) add(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.count++; f.count <= 5 {
		f.first = append(f.first, fmt.Sprintf(format, args...))
	}
}

// judge fails the test when a mode that keeps the rule broke it, and when mode parallel did not.
func (f *faults) judge(t *testing.T, mode fanout.Mode) {
	t.Helper()
	switch {
	case mode == fanout.ModeParallel && f.count == 0:
		t.Error("mode parallel kept the rule, so this test would not see that another one breaks it")
	case mode == fanout.ModeParallel:
		t.Logf("mode parallel breaks the rule %d times, as it should: %s", f.count, f.first[0])
	case f.count > 0:
		t.Errorf("the rule is broken %d times:\n%s", f.count, strings.Join(f.first, "\n"))
	}
}

// eachHistory runs f for both engines, in the modes that keep every rule and in mode parallel, over two pools: two app processes.
func eachHistory(t *testing.T, f func(t *testing.T, c *cluster, pools []*fanout.Pool) *faults) {
	t.Helper()
	t.Parallel()
	for _, engine := range infratest.Engines(t) {
		for _, mode := range []fanout.Mode{fanout.ModeOrdered, fanout.ModeDurable, fanout.ModeParallel} {
			t.Run(fmt.Sprintf("%s/%s", engine, mode), func(t *testing.T) {
				t.Parallel()
				c := startCluster(t, engine, 2)
				fillConflictTables(t, c)
				f(t, c, []*fanout.Pool{c.open(t, c.config(mode)), c.open(t, c.config(mode))}).judge(t, mode)
			})
		}
	}
}

// registerOp is one operation on a register: a read when write is 0.
type registerOp struct {
	id    int
	write int64
}

// registerModel is a register for Porcupine: a read sees the last write. Registers are checked one by one.
var registerModel = porcupine.Model{
	Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
		parts := make([][]porcupine.Operation, registers)
		for _, op := range history {
			id := op.Input.(registerOp).id
			parts[id] = append(parts[id], op)
		}
		return parts
	},
	Init: func() any { return int64(0) },
	Step: func(state, input, output any) (bool, any) {
		if op := input.(registerOp); op.write != 0 {
			return true, op.write
		}
		return state == output, state
	},
}

// TestRegistersAreLinearizable lets clients write a few registers and read them where the locks are, in parallel, and then, without writes,
// on any replica: there must be one order of all this that explains every value.
func TestRegistersAreLinearizable(t *testing.T) {
	eachHistory(t, func(t *testing.T, c *cluster, pools []*fanout.Pool) *faults {
		h := &registerHistory{began: time.Now()}
		var next atomic.Int64
		const clients = 12
		for round := range scale(25) {
			for _, quiet := range []bool{false, true} {
				var wg sync.WaitGroup
				for client := range clients {
					wg.Add(1)
					go func() {
						defer wg.Done()
						rng := rand.New(rand.NewPCG(uint64(round), uint64(client)))
						h.operate(t.Context(), pools[client%2], client, registerOp{id: rng.IntN(3), write: next.Add(1)}, quiet, rng)
					}()
				}
				wg.Wait()
			}
		}
		out := &faults{}
		result := porcupine.CheckOperationsTimeout(registerModel, h.all, 10*time.Minute)
		if result == porcupine.Unknown {
			t.Fatalf("Porcupine came to no end over %d operations", len(h.all))
		}
		if result != porcupine.Ok {
			out.add("no order explains the %d operations on the registers", len(h.all))
		}
		t.Logf("%d operations, %d of unknown fate", len(h.all), h.unknown)
		return out
	})
}

// registerHistory collects operations with the times at which clients began and ended them.
type registerHistory struct {
	began time.Time

	mu      sync.Mutex
	all     []porcupine.Operation
	unknown int
}

// operate reads on any replica in a quiet phase; else it writes, or reads where the locks are.
func (h *registerHistory) operate(ctx context.Context, p *fanout.Pool, client int, op registerOp, quiet bool, rng *rand.Rand) {
	call := time.Since(h.began)
	var seen int64
	var err error
	switch {
	case quiet:
		op.write = 0
		err = p.DB().GetContext(ctx, &seen, "SELECT v FROM register WHERE id = ?", op.id)
	case rng.IntN(4) == 0:
		op.write = 0
		err = p.DB().GetContext(fanout.OnFirst(ctx), &seen, "SELECT v FROM register WHERE id = ?", op.id)
	default:
		_, err = p.DB().ExecContext(ctx, "UPDATE register SET v = ? WHERE id = ?", op.write, op.id)
	}
	end := time.Since(h.began)
	h.mu.Lock()
	defer h.mu.Unlock()
	if err != nil && (op.write == 0 || fanout.FateOf(err) == fanout.NotApplied) {
		return
	}
	if err != nil { // perhaps applied, at any time from now on
		h.unknown++
		end = time.Hour
	}
	h.all = append(h.all, porcupine.Operation{ClientId: client, Input: op, Call: int64(call), Output: seen, Return: int64(end)})
}

// TestAppendsKeepOneOrder appends to a few lists while clients read them: every list that was read, on whichever replica,
// must be a beginning of the final one, in which each acknowledged item is exactly once, the same on all replicas.
func TestAppendsKeepOneOrder(t *testing.T) {
	eachHistory(t, func(t *testing.T, c *cluster, pools []*fanout.Pool) *faults {
		h := &appendHistory{acked: map[int64]bool{}}
		total := int64(min(scale(500), 6000)) // every list that was read is kept
		var next atomic.Int64
		var wg sync.WaitGroup
		for client := range 12 {
			wg.Add(1)
			go func() {
				defer wg.Done()
				for n := next.Add(1); n <= total; n = next.Add(1) {
					h.step(t.Context(), pools[client%2], n)
				}
			}()
		}
		wg.Wait()
		if len(h.acked) == 0 {
			t.Fatal("no append succeeded")
		}
		for id := range appendLists {
			h.check(t, c, id)
		}
		return &h.faults
	})
}

const appendLists = 3

// appendHistory is which items were acknowledged, and every list that was read.
type appendHistory struct {
	faults
	acked map[int64]bool
	read  [appendLists][]string
}

func (h *appendHistory) step(ctx context.Context, p *fanout.Pool, n int64) {
	id := int(n % appendLists)
	_, err := p.DB().ExecContext(ctx, "UPDATE list SET items = CONCAT(items, ?) WHERE id = ?", fmt.Sprint(n, ","), id)
	var items string
	rerr := p.DB().GetContext(ctx, &items, "SELECT items FROM list WHERE id = ?", id)
	if rerr == nil && err == nil && !strings.Contains(","+items, fmt.Sprint(",", n, ",")) {
		h.add("an append of %d was acknowledged and then not read", n)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if err == nil {
		h.acked[n] = true
	}
	if rerr == nil {
		h.read[id] = append(h.read[id], items)
	}
}

func (h *appendHistory) check(t *testing.T, c *cluster, id int) {
	t.Helper()
	final := c.rows(t, 0, fmt.Sprintf("SELECT items FROM list WHERE id = %d", id))[0]
	if other := c.rows(t, 1, fmt.Sprintf("SELECT items FROM list WHERE id = %d", id))[0]; other != final {
		h.add("list %d is %q on r1 and %q on r2", id, final, other)
	}
	for _, items := range h.read[id] {
		if !strings.HasPrefix(final, items) {
			h.add("list %d was read as %q, which is no beginning of %q", id, items, final)
		}
	}
	for n := range h.acked {
		if times := strings.Count(","+final, fmt.Sprint(",", n, ",")); int(n)%appendLists == id && times != 1 {
			h.add("item %d is in its list %d times", n, times)
		}
	}
}

// TestBankKeepsItsTotal moves money while clients add up all accounts, on any replica and in transactions on the first one.
// Without transactions the total must be seen to be wrong, or this test is blind; that is tried in mode ordered.
func TestBankKeepsItsTotal(t *testing.T) {
	t.Parallel()
	for _, engine := range infratest.Engines(t) {
		for _, mode := range []fanout.Mode{fanout.ModeOrdered, fanout.ModeDurable} {
			t.Run(fmt.Sprintf("%s/%s", engine, mode), func(t *testing.T) {
				t.Parallel()
				c := startCluster(t, engine, 2)
				fillConflictTables(t, c)
				pools := []*fanout.Pool{c.open(t, c.config(mode)), c.open(t, c.config(mode))}
				out := bank(t, pools, scale(400), writers["transfer"])
				out.judge(t, mode)
				if n, what := countDiffering(t, c); n > 0 {
					t.Errorf("%d rows differ: %s", n, what)
				}
				if mode == fanout.ModeOrdered {
					bank(t, pools, scale(200), transferInTwo).judge(t, fanout.ModeParallel)
				}
			})
		}
	}
}

// transferInTwo is a transfer by someone who knows no transactions.
func transferInTwo(ctx context.Context, p *fanout.Pool, rng *rand.Rand, _ int64) error {
	_, err := p.DB().ExecContext(ctx, "UPDATE account SET balance = balance - 1 WHERE id = ?", rng.IntN(accounts))
	if err != nil {
		return err
	}
	_, err = p.DB().ExecContext(ctx, "UPDATE account SET balance = balance + 1 WHERE id = ?", rng.IntN(accounts))
	return err
}

func bank(t *testing.T, pools []*fanout.Pool, total int, transfer writer) *faults {
	t.Helper()
	out := &faults{}
	var next atomic.Int64
	var wg sync.WaitGroup
	for client := range 8 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			rng := rand.New(rand.NewPCG(uint64(client), 11))
			p := pools[client%2]
			for n := next.Add(1); n <= int64(total); n = next.Add(1) {
				if err := retryable(transfer(t.Context(), p, rng, n)); err != nil {
					t.Errorf("transfer: %v", err)
				}
				var sum int64
				err := p.DB().GetContext(t.Context(), &sum, "SELECT SUM(balance) FROM account")
				if err == nil && n%4 == 0 {
					err = p.InTx(t.Context(), nil, func(tx *sqlx.Tx) error { return tx.Get(&sum, "SELECT SUM(balance) FROM account") })
				}
				if err != nil {
					t.Errorf("add up the accounts: %v", err)
				} else if sum != accounts*opening {
					out.add("the accounts were seen to hold %d, want %d", sum, accounts*opening)
				}
			}
		}()
	}
	wg.Wait()
	return out
}

// TestSessionsReadTheirWritesAndNeverGoBack has clients that each bump rows of their own, and of all, and read them back
// through a session: what is read may never be older than the client's last write, nor than what it read before. In mode
// parallel they read without one.
func TestSessionsReadTheirWritesAndNeverGoBack(t *testing.T) {
	eachHistory(t, func(t *testing.T, c *cluster, pools []*fanout.Pool) *faults {
		out := &faults{}
		reads := scale(4000) // 25 times that is what the project holds to
		var wg sync.WaitGroup
		var total atomic.Int64
		for client := range 8 {
			wg.Add(1)
			go func() {
				defer wg.Done()
				ctx := fanout.Session(t.Context())
				if s, err := pools[0].Status(ctx); err != nil || s.Mode == fanout.ModeParallel {
					ctx = t.Context()
				}
				sessionClient(ctx, pools[client%2], client, reads/8, &total, out)
			}()
		}
		wg.Wait()
		t.Logf("%d reads", total.Load())
		return out
	})
}

// sessionClient bumps the registers of the client and of all, in every fourth step, and reads both in each.
func sessionClient(ctx context.Context, p *fanout.Pool, client, reads int, total *atomic.Int64, out *faults) {
	own, seen := 0, 0
	for i := range reads {
		if i%4 == 0 {
			for _, id := range []int{client + 1, 0} {
				_, err := p.DB().ExecContext(ctx, "UPDATE register SET v = v + 1 WHERE id = ?", id)
				switch {
				case err == nil && id > 0:
					own++
				case retryable(err) != nil:
					out.add("write: %v", err)
					return
				}
			}
		}
		var mine, shared int
		err := p.DB().QueryRowContext(ctx, "SELECT MAX(IF(id = ?, v, 0)), MAX(IF(id = 0, v, 0)) FROM register WHERE id IN (0, ?)", client+1, client+1).Scan(&mine, &shared)
		if err != nil {
			out.add("read: %v", err)
			return
		}
		total.Add(1)
		if mine != own {
			out.add("client %d reads %d of its own %d writes", client, mine, own)
		}
		if shared < seen {
			out.add("client %d saw %d and then %d", client, seen, shared)
		}
		seen = max(seen, shared)
	}
}

// TestTheRulesCatchWrongHistories shows the checkers histories that are wrong by hand.
func TestTheRulesCatchWrongHistories(t *testing.T) {
	op := func(client int, write, read, call, end int64) porcupine.Operation {
		return porcupine.Operation{ClientId: client, Input: registerOp{id: 0, write: write}, Output: read, Call: call, Return: end}
	}
	right := []porcupine.Operation{op(0, 1, 0, 0, 10), op(1, 0, 0, 1, 2), op(1, 0, 1, 3, 4), op(2, 2, 0, 5, 8), op(1, 0, 2, 9, 11)}
	if !porcupine.CheckOperations(registerModel, right) {
		t.Error("a linearizable history is called wrong")
	}
	for name, wrong := range map[string][]porcupine.Operation{
		"a lost write":     {op(0, 1, 0, 0, 1), op(1, 0, 0, 2, 3)},
		"back in time":     {op(0, 1, 0, 0, 10), op(1, 0, 1, 1, 2), op(1, 0, 0, 3, 4)},
		"two orders":       {op(0, 1, 0, 0, 5), op(1, 2, 0, 0, 5), op(2, 0, 1, 6, 7), op(3, 0, 2, 6, 7)},
		"from the nowhere": {op(1, 0, 9, 0, 1)},
	} {
		if porcupine.CheckOperations(registerModel, slices.Clone(wrong)) {
			t.Errorf("%s: the history is called linearizable", name)
		}
	}
}
