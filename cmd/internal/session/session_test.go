package session

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"isukit/bench/compare"
	"isukit/bench/result"
)

// stage is a session on a simulated machine: its clock only moves with rounds, each of which takes ten seconds.
type stage struct {
	Session
	at     time.Time
	played string // who ran, in order
	said   []string
	// score is that of the n-th round of a side; noisy: it was disturbed.
	score func(n, side int) int64
	noisy func(n, side int) bool
	fail  func(n int) error
	// failed: the n-th round fails its checks.
	failed func(n int) bool
}

func newStage(plan Plan) *stage {
	st := &stage{at: time.Date(2026, 11, 22, 20, 0, 0, 0, time.UTC)}
	st.score = func(n, side int) int64 { return int64(1000 + n%3 + 200*side) }
	st.noisy = func(int, int) bool { return false }
	st.fail = func(int) error { return nil }
	st.failed = func(int) bool { return false }
	o := compare.DefaultOptions()
	o.Sequential = plan.UntilSure
	st.Session = Session{
		Plan: plan, Rnd: rand.New(rand.NewPCG(4, 2)), Play: st.playRound, Sure: Decided(o),
		Now: func() time.Time { return st.at },
		Say: func(format string, args ...any) { st.said = append(st.said, fmt.Sprintf(format, args...)) },
	}
	return st
}

func (st *stage) playRound(_ context.Context, side int) (*result.Round, error) {
	n := len(st.played)
	if err := st.fail(n); err != nil {
		return nil, err
	}
	st.played += "AB"[side : side+1]
	st.at = st.at.Add(10 * time.Second)
	r := &result.Round{ID: fmt.Sprint(n), StartedAt: st.at, Passed: !st.failed(n), LoadSeconds: 10, Score: result.Score{Total: st.score(n, side)}}
	if st.noisy(n, side) {
		r.Hosts = []result.HostUsage{{Host: "s1", Foreign: 0.5}}
	}
	return r, nil
}

// ids are the rounds of a side that count.
func (st *stage) ids(side int) []string {
	var ids []string
	for _, r := range st.Sides[side].Rounds {
		ids = append(ids, r.ID)
	}
	return ids
}

func TestSessionRunsBalancedPairs(t *testing.T) {
	st := newStage(Plan{Pairs: 6, Warmup: 1})
	if err := st.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if strings.Count(st.played, "A") != 7 || strings.Count(st.played, "B") != 7 || len(st.ids(0)) != 6 || len(st.ids(1)) != 6 {
		t.Fatalf("ran %s and counted %v and %v, want 7 of each of which 6 count", st.played, st.ids(0), st.ids(1))
	}
	bFirst := 0
	for i := 2; i < len(st.played); i += 2 {
		switch st.played[i : i+2] {
		case "BA":
			bFirst++
		case "AB":
		default:
			t.Errorf("ran %s: rounds %d and %d are no pair", st.played, i, i+1)
		}
	}
	if bFirst != 3 {
		t.Errorf("ran %s: B was first in %d of 6 pairs, want 3", st.played, bFirst)
	}
	if all := slices.Concat(st.ids(0), st.ids(1)); slices.Contains(all, "0") || slices.Contains(all, "1") {
		t.Errorf("the warm-up counts: %v", all)
	}
	c, err := compare.Rounds(st.Sides[0], st.Sides[1], compare.DefaultOptions())
	if err != nil || !c.Interleaved || c.Metrics[0].Verdict != compare.Better {
		t.Errorf("compared: %+v, %v, want an interleaved session in which B is better", c, err)
	}
}

func TestSessionOrderDiffers(t *testing.T) {
	seen := map[string]bool{}
	for seed := range uint64(20) {
		st := newStage(Plan{Pairs: 4})
		st.Rnd = rand.New(rand.NewPCG(seed, 0))
		if err := st.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		seen[st.played] = true
	}
	if len(seen) < 4 { // of 6 there are
		t.Errorf("20 sessions of 4 pairs had %d orders: %v", len(seen), seen)
	}
}

func TestSessionRepeatsNoisyRounds(t *testing.T) {
	st := newStage(Plan{Pairs: 6, Repeats: 2})
	st.noisy = func(n, _ int) bool { return n == 1 || n == 4 || n == 5 || n == 6 }
	if err := st.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	all := slices.Concat(st.ids(0), st.ids(1))
	for _, dropped := range []string{"1", "4", "5"} {
		if slices.Contains(all, dropped) {
			t.Errorf("noisy round %s counts: %v", dropped, all)
		}
	}
	if !slices.Contains(all, "6") || len(all) != 12 {
		t.Errorf("%d rounds count, %v, want 12 with the third noisy one in a row", len(all), all)
	}
	if st.repeated[0]+st.repeated[1] != 3 || st.kept[0]+st.kept[1] != 1 {
		t.Errorf("repeated %v, kept %v, want 3 and 1", st.repeated, st.kept)
	}
	if w := strings.Join(st.Warnings(), "\n"); !strings.Contains(w, "were rerun") || !strings.Contains(w, "reruns were noisy too") {
		t.Errorf("warnings %q say too little", w)
	}
}

func TestSessionNoiseExcusesNoFailure(t *testing.T) {
	st := newStage(Plan{Pairs: 2, Repeats: 2})
	st.noisy = func(n, _ int) bool { return n == 0 }
	st.failed = func(n int) bool { return n == 0 }
	if err := st.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if all := slices.Concat(st.ids(0), st.ids(1)); len(st.played) != 4 || !slices.Contains(all, "0") {
		t.Errorf("ran %s, of which %v count; want the failed round among four", st.played, all)
	}
	if !strings.Contains(st.said[1], "FAILED") {
		t.Errorf("said %q of a failed round", st.said[1])
	}
}

func TestSessionStopsWhenAWarmUpFails(t *testing.T) {
	st := newStage(Plan{Pairs: 2, Warmup: 1})
	st.failed = func(n int) bool { return n == 1 }
	if err := st.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "warm-up round of") || len(st.played) != 2 {
		t.Errorf("got %v after %s, want that the second warm-up round failed", err, st.played)
	}
}

func TestStandingGoesByTheFirstMetricAskedFor(t *testing.T) {
	st := newStage(Plan{Pairs: 8})
	if err := st.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	for side := range st.Sides {
		for _, r := range st.Sides[side].Rounds {
			r.All.Latency.P50Ms = 5
		}
	}
	o := compare.DefaultOptions()
	o.Metrics = []string{"p50", "score"}
	if sure, how := Decided(o)(st.Sides[0], st.Sides[1]); !sure || !strings.HasPrefix(how, "p50 +0.0 %, same") {
		t.Errorf("standing is %t, %q; want that p50 is the same", sure, how)
	}
}

func TestSessionGivesUpOnANoisyMachine(t *testing.T) {
	st := newStage(Plan{Pairs: 10, Repeats: 2})
	st.noisy = func(int, int) bool { return true }
	if err := st.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if want := 20 + 3*2; len(st.played) != want {
		t.Errorf("ran %d rounds, want %d: three were repeated twice each", len(st.played), want)
	}
	if !strings.Contains(strings.Join(st.said, "\n"), "this machine is busy") {
		t.Errorf("said nothing of it: %q", st.said)
	}
}

func TestSessionUntilSure(t *testing.T) {
	st := newStage(Plan{Pairs: compare.MaxPairs, UntilSure: true})
	if err := st.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := len(st.ids(0)); n < compare.MinPairs || n > 20 {
		t.Errorf("a clear difference took %d pairs", n)
	}
	if last := st.said[len(st.said)-1]; !strings.Contains(last, "score +") || !strings.Contains(last, "better") {
		t.Errorf("the last word is %q, want that the score is better", last)
	}
}

// TestSessionSaysHowLong: the user sees what the command waits for, and after the first round for how long.
func TestSessionSaysHowLong(t *testing.T) {
	st := newStage(Plan{Pairs: 6, Warmup: 1})
	if err := st.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	for n, want := range map[int]string{0: "6 pairs of rounds, after 1 of each side to warm up", 2: "the others take about 2m"} {
		if !strings.HasPrefix(st.said[n], want) {
			t.Errorf("line %d is %q, want %q", n, st.said[n], want)
		}
	}
	st = newStage(Plan{Pairs: 200, UntilSure: true, Budget: 90 * time.Minute})
	if got, want := st.outline(), "pairs of rounds until it is decided, at most 200; for 1h30m at most"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestSessionKeepsItsBudget(t *testing.T) {
	st := newStage(Plan{Pairs: compare.MaxPairs, UntilSure: true, Warmup: 1, Budget: 115 * time.Second})
	st.score = func(n, _ int) int64 { return int64(1000 + 100*(n%2)) } // noise that decides nothing
	if err := st.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(st.played) != 10 {
		t.Errorf("ran %d rounds of 10 s, want the 10 that fit into 115 s as pairs", len(st.played))
	}
}

func TestSessionEndsWithWholePairs(t *testing.T) {
	boom := errors.New("boom")
	st := newStage(Plan{Pairs: 6, Warmup: 1})
	st.fail = func(n int) error {
		if n == 7 {
			return boom
		}
		return nil
	}
	if err := st.Run(t.Context()); !errors.Is(err, boom) {
		t.Errorf("got %v, want the round's error", err)
	}
	if len(st.ids(0)) != 2 || len(st.ids(1)) != 2 {
		t.Errorf("counted %v and %v, want the two whole pairs", st.ids(0), st.ids(1))
	}
}
