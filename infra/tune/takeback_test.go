package tune_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"isukit/infra/infratest"
	"isukit/infra/tune"
)

// TestTakenBack applies all shipped tunings together, in random orders, to a target of each kind, then kills applies and reverts at random
// moments; each time a revert leaves everything as it was. ISUKIT_TUNE_KILLS=30 kills that often and applies each tuning alone as well
// (make stress-tune); ISUKIT_TUNE_SEED repeats a failed run. Its parts run alone, too: -run TestTakenBack/mysql/kills.
func TestTakenBack(t *testing.T) {
	infratest.Real(t)
	kills, full := 2, false
	if text := os.Getenv("ISUKIT_TUNE_KILLS"); text != "" {
		var err error
		if kills, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
		full = true
	}
	for _, engine := range infratest.Engines(t) {
		t.Run(engine, func(t *testing.T) {
			b := newTakeBack(t, engine)
			t.Run("together", b.together)
			if full {
				t.Run("alone", b.alone)
			}
			t.Run("kills", func(t *testing.T) { b.kills(t, kills) })
		})
	}
}

// takeBack is a world in which tunings are applied and reverted.
type takeBack struct {
	w      *world
	dbs    []*infratest.DB
	list   []*tune.Target
	before string
	rng    *rand.Rand
}

func newTakeBack(t *testing.T, engine string) *takeBack {
	w, dbs := newWorld(t, engine)
	list, closeAll, err := w.targets(local(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(closeAll)
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv("ISUKIT_TUNE_SEED"); text != "" {
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("ISUKIT_TUNE_SEED=%d", seed)
	return &takeBack{w, dbs, list, w.snapshot(t, dbs), rand.New(rand.NewPCG(seed, 0))}
}

// apply wants every tuning applied, or refused with a reason.
func (b *takeBack) apply(t *testing.T, names ...string) {
	t.Helper()
	tunings, err := catalog(t).Resolve(names)
	if err != nil {
		t.Fatal(err)
	}
	report, err := tune.ApplyAll(t.Context(), when, b.list, tunings)
	if err != nil || report.Has(tune.Left, tune.Failed) || !report.Has(tune.Applied, tune.Kept, tune.Refused) {
		t.Fatalf("apply %v: %v\n%s", names, err, show(report))
	}
}

// wantBack reverts, and wants all settings on every layer as they were and no record left.
func (b *takeBack) wantBack(t *testing.T, what string) {
	t.Helper()
	report, err := tune.RevertAll(t.Context(), b.list, tune.RevertOptions{})
	if err != nil || report.Has(tune.Left, tune.Failed) {
		t.Fatalf("%s: revert: %v\n%s", what, err, show(report))
	}
	if after := b.w.snapshot(t, b.dbs); after != b.before {
		t.Fatalf("%s: after revert:\n%s", what, firstDifference(b.before, after))
	}
	for _, target := range b.list {
		if records, err := target.Records(t.Context()); err != nil || len(records) > 0 {
			t.Fatalf("%s: %d records of %s are left, %v", what, len(records), target.Name, err)
		}
	}
}

func (b *takeBack) together(t *testing.T) {
	b.apply(t, drawn(t, b.rng)...)
	if drift, _, err := tune.VerifyAll(t.Context(), b.list); err != nil || len(drift) > 0 {
		t.Errorf("verify after all were applied: %v\n%s", err, show(drift))
	}
	if b.w.snapshot(t, b.dbs) == b.before {
		t.Error("the snapshot does not show that all tunings are applied")
	}
	b.wantBack(t, "all together")
}

func (b *takeBack) alone(t *testing.T) {
	for _, name := range drawn(t, b.rng) {
		t.Run(name, func(t *testing.T) {
			b.apply(t, name)
			b.wantBack(t, name)
		})
	}
}

// kills cuts applies and reverts off by turns.
func (b *takeBack) kills(t *testing.T, n int) {
	begin := time.Now()
	b.apply(t, drawn(t, b.rng)...)
	took := time.Since(begin)
	b.wantBack(t, "before the first kill")
	for i := range n {
		names, revert := drawn(t, b.rng), i%2 == 1
		if revert {
			b.apply(t, names...)
		}
		cmd := b.w.start(t, revert, names)
		after := time.Duration(b.rng.Int64N(int64(took)))
		time.Sleep(after)
		if err := cmd.Process.Kill(); err != nil && !strings.Contains(err.Error(), "already finished") {
			t.Fatal(err)
		}
		state, _ := cmd.Process.Wait()
		b.w.settled()
		what := fmt.Sprintf("kill %d after %v (%v), revert %v", i+1, after.Round(time.Millisecond), state, revert)
		b.wantBack(t, what)
		t.Log(what)
	}
}
