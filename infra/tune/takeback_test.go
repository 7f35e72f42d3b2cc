package tune_test

import (
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"isukit/infra/infratest"
	"isukit/infra/tune"
)

// TestTakenBack applies all shipped tunings together, in orders that are drawn, to a target of each kind, then kills applies and reverts at random moments; each time a revert leaves everything as it was. ISUKIT_TUNE_KILLS=30 kills
// so often and applies each tuning by itself as well (make stress-tune).
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
		t.Run(engine, func(t *testing.T) { takenBack(t, engine, kills, full) })
	}
}

func takenBack(t *testing.T, engine string, kills int, full bool) {
	w, dbs := newWorld(t, engine)
	before := w.snapshot(t, dbs)
	list, closeAll, err := w.targets(local(t))
	if err != nil {
		t.Fatal(err)
	}
	defer closeAll()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))

	wantBack := func(what string) {
		t.Helper()
		report, err := tune.RevertAll(t.Context(), list, tune.RevertOptions{})
		if err != nil || report.Has(tune.Left, tune.Failed) {
			t.Fatalf("%s: revert: %v\n%s", what, err, show(report))
		}
		if after := w.snapshot(t, dbs); after != before {
			t.Fatalf("%s: after revert:\n%s", what, firstDifference(before, after))
		}
		for _, target := range list {
			if records, err := target.Records(t.Context()); err != nil || len(records) > 0 {
				t.Fatalf("%s: %d records of %s are left, %v", what, len(records), target.Name, err)
			}
		}
	}
	applyAll := func(names []string) {
		t.Helper()
		tunings, err := catalog(t).Resolve(names)
		if err != nil {
			t.Fatal(err)
		}
		report, err := tune.ApplyAll(t.Context(), when, list, tunings)
		if err != nil || report.Has(tune.Left, tune.Failed) || !report.Has(tune.Applied, tune.Kept, tune.Refused) {
			t.Fatalf("apply %v: %v\n%s", names, err, show(report))
		}
	}
	all := drawn(t, rng)
	begin := time.Now()
	applyAll(all)
	took := time.Since(begin)
	if drift, err := tune.VerifyAll(t.Context(), list); err != nil || len(drift) > 0 {
		t.Errorf("verify after all were applied: %v\n%s", err, show(drift))
	}
	wantBack("all together")
	if full {
		for _, name := range drawn(t, rng) {
			applyAll([]string{name})
			wantBack(name)
		}
	}
	for i := range kills {
		names := drawn(t, rng)
		revert := i%2 == 1
		if revert {
			applyAll(names)
		}
		cmd := w.start(t, revert, names)
		after := time.Duration(rng.Int64N(int64(took)))
		time.Sleep(after)
		if err := cmd.Process.Kill(); err != nil && !strings.Contains(err.Error(), "already finished") {
			t.Fatal(err)
		}
		state, _ := cmd.Process.Wait()
		w.settled()
		wantBack("killed after " + after.String() + " (" + state.String() + "), revert " + strconv.FormatBool(revert))
	}
}
