package session

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"isukit/bench/compare"
	"isukit/bench/experiment"
	"isukit/bench/result"
	"isukit/cmd/internal/ui"
	"isukit/infra/infratest/wait"
)

// The test program plays isukit round, and a screen that can be killed, when this is in its environment.
const played = "ISUKIT_SESSION_TEST"

func TestMain(m *testing.M) {
	switch os.Getenv(played) {
	case "":
		os.Exit(m.Run())
	case "screen":
		if err := resumed(); err != nil && !errors.Is(err, context.Canceled) {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	default:
		os.Exit(playedRound(os.Args[1:]))
	}
}

// playedRound is isukit round of a world in which costly costs 15 %, good gives 25 %, failing makes every second round fail, and none is
// unknown. A file is the tuning it applies, until it reverts it, also when interrupted; first it reverts what a killed one has left.
func playedRound(args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	value := func(name string) string {
		if i := slices.Index(args, name); i >= 0 {
			return args[i+1]
		}
		return ""
	}
	results, tune := value("--results"), value("--tune")
	applied := filepath.Join(results, "applied")
	os.Remove(applied)
	names := slices.DeleteFunc(strings.Split(tune, ","), func(n string) bool { return n == "none" || n == "" })
	if len(names) > 0 {
		os.WriteFile(applied, []byte(tune), 0o600)
	}
	select {
	case <-ctx.Done():
		os.Remove(applied)
		return 1
	case <-time.After(5 * time.Millisecond):
	}
	sum := fnv.New64a()
	fmt.Fprint(sum, tune)
	r := &result.Round{Format: result.FormatVersion, ID: result.NewID(time.Now(), "fake"), StartedAt: time.Now().UTC(), Topology: "fake", LoadSeconds: 10, Passed: true,
		Score: result.Score{Total: 100000, Lines: []result.ScoreLine{}}, Phases: []result.Phase{}, Endpoints: []result.Endpoint{}, Timeline: []result.Second{},
		Roles: []result.RoleUsage{}, Hosts: []result.HostUsage{}, Facts: []result.Fact{{Key: "tunings", Value: strings.Join(names, ", ")}}}
	if slices.Contains(names, "costly") {
		r.Score.Total = 85000
	}
	if slices.Contains(names, "good") {
		r.Score.Total = 125000
	}
	noise := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 1))
	if os.Getenv(played) == "noisy round" {
		r.Score.Total = int64(float64(r.Score.Total) * math.Exp(0.02*noise.NormFloat64()))
	}
	if slices.Contains(names, "failing") && sum.Sum64()%2 == 0 {
		r.Passed, r.Reason, r.Score.Total = false, "planted", 0
	}
	if _, err := result.Write(results, r); err != nil {
		fmt.Fprintln(os.Stderr, "isukit: error:", err)
		return 1
	}
	os.Remove(applied)
	json.NewEncoder(os.Stdout).Encode(r)
	if !r.Passed {
		return 3
	}
	return 0
}

// world is a screen of ten tunings in the played world; kind of its rounds is their environment.
func world(rounds int) ScreenPlan {
	p := ScreenPlan{Rounds: rounds, Seed: 7, Metric: "score"}
	for _, name := range []string{"a", "b", "costly", "c", "d", "failing", "e", "f", "none", "g"} {
		p.Factors = append(p.Factors, Factor{Names: []string{name}, Members: []string{name}})
	}
	return p
}

func playOn(t testing.TB, j *Journal, p ScreenPlan, kind string) (*ScreenResult, []string, error) {
	t.Helper()
	t.Setenv(played, kind)
	var said []string
	j.Isukit, j.Common = os.Args[0], []string{"--results", j.Results}
	j.Say = func(format string, args ...any) { said = append(said, fmt.Sprintf(format, args...)) }
	r, err := (&Screen{ScreenPlan: p, Journal: j, Say: j.Say}).Run(t.Context())
	return r, said, err
}

func TestScreen(t *testing.T) {
	p := world(72)
	j, err := NewJournal(t.TempDir(), "screen", p)
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	r, said, err := playOn(t, j, p, "noisy round")
	if err != nil {
		t.Fatal(err)
	}
	effects := map[string]experiment.Effect{}
	for _, f := range r.Verdict.Factors {
		effects[f.Name] = f.Effect
	}
	if effects["costly"] != experiment.Hurts || effects["failing"] != experiment.FailsRuns || !slices.Equal(r.Dropped, []string{"none"}) || !r.Finished {
		t.Errorf("verdicts %v, dropped %v, finished %t\n%s", effects, r.Dropped, r.Finished, strings.Join(said, "\n"))
	}
	if slices.Contains(r.Recommended, "costly") || slices.Contains(r.Recommended, "failing") || !slices.Contains(r.Recommended, "a") {
		t.Errorf("recommended %v", r.Recommended)
	}
	if r.Confirmed == nil || r.Confirmed.Against != "all tunings" || r.Confirmed.Pairs != confirmPairs {
		t.Errorf("confirmed %+v", r.Confirmed)
	}
	var text, page strings.Builder
	if err := errors.Join(ui.PrintPage(&text, r.Page(j.Played)), r.Page(j.Played).HTML(&page)); err != nil || !strings.Contains(text.String(), "makes rounds fail") || !strings.Contains(text.String(), "fresh pairs, recommended against all tunings") {
		t.Errorf("%v\n%s", err, text.String())
	}
	if n := strings.Count(page.String(), "<td>screen</td>"); n != r.Verdict.Rounds || !strings.Contains(page.String(), "<td>--tune ") || !strings.Contains(page.String(), "<td>planted</td>") {
		t.Errorf("the page has %d rounds of the screen, there were %d", n, r.Verdict.Rounds)
	}
	first, plan := slices.IndexFunc(said, func(s string) bool { return strings.HasPrefix(s, "round 1 of") }), slices.IndexFunc(said, func(s string) bool { return strings.HasPrefix(s, "plan: 9 tunings, 72 rounds") })
	if plan < 0 || plan > first || !strings.Contains(strings.Join(said, "\n"), "failing makes rounds fail and is no longer applied") {
		t.Errorf("the plan is line %d, the first round line %d:\n%s", plan, first, strings.Join(said, "\n"))
	}
}

// TestScreenOfFewRoundsProvesNothing: few rounds give only an order, and the text says that; and what a budget buys.
func TestScreenOfFewRoundsProvesNothing(t *testing.T) {
	p := world(8)
	j, err := NewJournal(t.TempDir(), "screen", p)
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	r, _, err := playOn(t, j, p, "round")
	if err != nil || r.Verdict.Proves || r.Confirmed != nil || !strings.Contains(strings.Join(r.Warnings, "\n"), "only rank suspects") {
		t.Errorf("%v, %+v", err, r)
	}
	spent := &Screen{ScreenPlan: ScreenPlan{Budget: 100 * time.Minute}, Journal: &Journal{spent: 10 * time.Minute, Played: make([]Played, 10)}, Say: func(string, ...any) {}, factors: p.Factors}
	if err := spent.plan([]float64{0.01, -0.01, 0.02}); err != nil || spent.out.Planned != 90-2*confirmPairs {
		t.Errorf("90 minutes buy %d rounds of a minute, want %d and the confirming ones", spent.out.Planned, 90-2*confirmPairs)
	}
}

// TestScreenNeedsTime holds that a budget without time for a pair is refused, with one that has time for a verdict.
func TestScreenNeedsTime(t *testing.T) {
	s := &Screen{ScreenPlan: ScreenPlan{Budget: time.Minute}, Journal: &Journal{spent: 50 * time.Second, Played: make([]Played, 5)}, Say: t.Logf, factors: world(0).Factors[:3]}
	err := s.plan(nil)
	// A warm-up, five rounds before the plan, 8 pairs for a verdict on three tunings and 6 that confirm, of 10 s each.
	if err == nil || !strings.Contains(err.Error(), "a round takes about 10s") || ui.HintOf(err, "") != "--rounds 28, or --budget 5m40s" {
		t.Errorf("%v, hint %q", err, ui.HintOf(err, ""))
	}
}

// TestBudgetIsKept has rounds that take far longer than those that the plan was made by: a screen and a search leave time for what they hold back to
// confirm, and end with it.
func TestBudgetIsKept(t *testing.T) {
	for _, kind := range []string{"screen", "autotune"} {
		p := TunePlan{ScreenPlan: world(0)}
		p.Budget, p.Factors = 120*time.Hour, []Factor{{Names: []string{"a"}, Members: []string{"a"}}, {Names: []string{"good"}, Members: []string{"good"}}}
		j, err := NewJournal(t.TempDir(), kind, p)
		if err != nil {
			t.Fatal(err)
		}
		defer j.Close()
		t.Setenv(played, "noisy round")
		j.Isukit, j.Common, j.Say = os.Args[0], []string{"--results", j.Results}, t.Logf
		j.Check = func() error { // before each round: it takes an hour, and two from the twentieth on
			j.spent += time.Hour
			if len(j.Played) >= 20 {
				j.spent += 2 * time.Hour
			}
			return nil
		}
		if err := whole(t.Context(), kind, j, p); err != nil {
			t.Fatal(err)
		}
		confirming := 0
		for _, r := range j.Played {
			if r.Stage == "confirm" {
				confirming++
			}
		}
		// The average of all rounds is a little less than what the last ones take.
		if confirming < 2*confirmPairs || j.Spent() > 135*time.Hour || j.Spent() < 100*time.Hour {
			t.Errorf("%s: %d rounds, %d of them confirm, in %v of 120 h", kind, len(j.Played), confirming, j.Spent())
		}
	}
}

// TestScreenRecommends holds that what fresh pairs call worse is not recommended, and that they confirm only what is.
func TestScreenRecommends(t *testing.T) {
	for _, tt := range []struct {
		verdict   compare.Verdict
		confirmed []bool
		want      int
		warning   string
	}{
		{compare.Better, []bool{true, false}, 1, ""},
		{compare.Worse, []bool{true, false}, 0, "worse than all tunings"},
		{compare.Better, []bool{true, true}, 1, "nothing is confirmed"},
	} {
		s := &Screen{Say: t.Logf, factors: world(0).Factors[:2]}
		s.out.Verdict.Factors = []experiment.FactorVerdict{{Effect: experiment.Unknown}, {Effect: experiment.Hurts}}
		s.out.Confirmed = &Confirmation{Verdict: tt.verdict, Against: "all tunings"}
		s.recommend(tt.confirmed)
		if warned := strings.Join(s.out.Warnings, "\n"); len(s.out.Recommended) != tt.want || !strings.Contains(warned, tt.warning) || tt.warning == "" && warned != "" {
			t.Errorf("%s of %v: recommended %v, warned %q", tt.verdict, tt.confirmed, s.out.Recommended, warned)
		}
	}
}

// TestScreenConfirmsNothing holds that fresh pairs without the metric, though they passed, confirm nothing.
func TestScreenConfirmsNothing(t *testing.T) {
	s := &Screen{ScreenPlan: ScreenPlan{Metric: "errors"}, Say: t.Logf}
	var sides [2]compare.Side
	for i := range sides {
		sides[i].Rounds = []*result.Round{{ID: fmt.Sprint(i), Passed: true, All: result.Endpoint{Hits: 100}}}
	}
	if err := s.compare(sides); err != nil || s.out.Confirmed != nil || len(s.out.Warnings) != 1 {
		t.Errorf("%v, confirmed %v, warned %q", err, s.out.Confirmed, s.out.Warnings)
	}
}

// resumed is a screen or a search in a process of its own, which begins where the journal ends.
func resumed() error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	var p TunePlan
	say := func(string, ...any) {}
	kind, _, _ := strings.Cut(filepath.Base(os.Getenv("JOURNAL")), "-")
	j, err := OpenJournal(ctx, os.Getenv("JOURNAL"), "", kind, &p, say)
	if err != nil {
		return err
	}
	j.Results, j.Say = filepath.Dir(j.Path), say
	j.Isukit, j.Common = os.Args[0], []string{"--results", j.Results}
	os.Setenv(played, "round")
	return whole(ctx, kind, j, p)
}

// whole plays a screen or a search to its end.
func whole(ctx context.Context, kind string, j *Journal, p TunePlan) (err error) {
	s := Screen{ScreenPlan: p.ScreenPlan, Journal: j, Say: j.Say}
	if kind == "screen" {
		_, err = s.Run(ctx)
	} else {
		_, err = (&Autotune{Screen: s, Plan: p}).Run(ctx)
	}
	return err
}

// rounds are the finished rounds of a journal: "STAGE ARGUMENTS"; begun are the lines of those that began.
func rounds(t *testing.T, path string) (ended []string, begun []line) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for raw := range bytes.Lines(text) {
		var l line
		if json.Unmarshal(raw, &l) != nil {
			continue // it is being written
		}
		if l.Stage != "" {
			begun = append(begun, l)
		}
		if l.Round != "" {
			last := begun[len(begun)-1]
			ended = append(ended, last.Stage+" "+strings.Join(last.Args, " "))
		}
	}
	return ended, begun
}

// TestEnded stops a screen and a search at random moments, by a kill with and without the round in progress and by Ctrl-C, and resumes them
// each time: no tuning stays applied, after Ctrl-C immediately, and the rounds are those of one without stops.
func TestEnded(t *testing.T) {
	for kind, p := range map[string]TunePlan{"screen": {ScreenPlan: world(24)}, "autotune": {ScreenPlan: world(40)}} {
		t.Run(kind, func(t *testing.T) { ended(t, kind, p) })
	}
}

func ended(t *testing.T, kind string, p TunePlan) {
	begin := func() *Journal {
		j, err := NewJournal(t.TempDir(), kind, p)
		if err != nil {
			t.Fatal(err)
		}
		j.Isukit, j.Common, j.Say = os.Args[0], []string{"--results", j.Results}, t.Logf
		return j
	}
	t.Setenv(played, "round")
	first, j := begin(), begin()
	defer first.Close()
	if err := whole(t.Context(), kind, first, p); err != nil {
		t.Fatal(err)
	}
	want, _ := rounds(t, first.Path)
	j.Close()
	rnd := rand.New(rand.NewPCG(1, 2))
	start := func() *exec.Cmd {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), played+"=screen", "JOURNAL="+j.Path)
		cmd.Stderr = os.Stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		return cmd
	}
	notApplied := func(when string) {
		if _, err := os.Stat(filepath.Join(j.Results, "applied")); !os.IsNotExist(err) {
			t.Errorf("%s something is still applied: %v", when, err)
		}
	}
	var kills, breaks, withRound int
	for kills+breaks < 20 {
		cmd := start()
		_, before := rounds(t, j.Path)
		goal := len(before) + 1 + rnd.IntN(3)
		var begun []line
		wait.For(t, "rounds that begin", func() bool { _, begun = rounds(t, j.Path); return len(begun) >= goal || len(begun) >= len(want) })
		time.Sleep(time.Duration(rnd.IntN(8)) * time.Millisecond)
		if rnd.IntN(2) == 0 {
			breaks++
			cmd.Process.Signal(os.Interrupt)
			cmd.Wait()
			notApplied("after Ctrl-C")
			continue
		}
		kills++
		cmd.Process.Kill()
		cmd.Wait()
		if p := begun[len(begun)-1].Process; p != nil && rnd.IntN(2) == 0 && p.Alive() {
			withRound++
			proc, _ := os.FindProcess(p.PID)
			proc.Kill()
		}
	}
	if err := start().Wait(); err != nil {
		t.Fatal(err)
	}
	if got, _ := rounds(t, j.Path); !slices.Equal(got, want) {
		t.Errorf("after %d kills and %d times Ctrl-C the rounds were\n%q\nwant\n%q", kills, breaks, got, want)
	}
	notApplied("at the end")
	t.Logf("%d rounds, %d kills (%d with the round), %d times Ctrl-C", len(want), kills, withRound, breaks)
}

func TestFactors(t *testing.T) {
	own := filepath.Join(t.TempDir(), "own.cnf")
	if err := os.WriteFile(own, []byte("# Tuning mysql/own: the same again\n[mysqld]\n# as io-capacity has it; since mariadb 5.5, mysql 5.5; restart: no; risk: low; raise only\ninnodb_io_capacity = 2000\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	list, said, err := Factors([]string{"mysql/names", "mysql/io-capacity", own}, nil)
	if err != nil || len(list) != 2 || len(list[1].Names) != 2 || len(said) != 1 {
		t.Errorf("tunings that set one key alike: %v, %q, %v, want one factor of two", list, said, err)
	}
	for names, want := range map[string]string{
		"mysql/measure,mysql/final": "different values", "mysql/names,mysql/names": "named twice", "mysql/nosuch": "does not exist", "mysql/doublewrite": "risk",
	} {
		if _, _, err := Factors(strings.Split(names, ","), nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", names, err, want)
		}
	}
}

func TestJournalRefuses(t *testing.T) {
	dir := t.TempDir()
	p := world(8)
	j, err := NewJournal(dir, "screen", p)
	if err != nil {
		t.Fatal(err)
	}
	open := func(kind string) error {
		other, err := OpenJournal(t.Context(), j.Path, dir, kind, &ScreenPlan{}, t.Logf)
		if err == nil {
			other.Close()
		}
		return err
	}
	if err := open("screen"); err == nil || !strings.Contains(err.Error(), "is running") {
		t.Errorf("a second session: %v", err)
	}
	if _, err := NewJournal(dir, "autotune", p); err == nil || !strings.Contains(err.Error(), "is running") {
		t.Errorf("another experiment beside it: %v", err)
	}
	j.Close()
	if err := open("autotune"); err == nil || !strings.Contains(err.Error(), "is not a file of isukit autotune") {
		t.Errorf("another kind: %v", err)
	}
	if err := open("screen"); err != nil {
		t.Errorf("its own kind: %v", err)
	}
	j.past = []line{{Stage: "screen", Args: []string{"--tune", "a"}}}
	if _, err := j.Play(t.Context(), "screen", []string{"--tune", "b"}); err == nil || !strings.Contains(err.Error(), "another isukit") {
		t.Errorf("another plan: %v", err)
	}
	j.past, j.Check = nil, func() error { return errors.New("the file has changed") }
	if _, err := j.Play(t.Context(), "screen", nil); err == nil || err.Error() != "the file has changed" || len(j.Played) > 0 {
		t.Errorf("a round that would be another one: %v", err)
	}
}
