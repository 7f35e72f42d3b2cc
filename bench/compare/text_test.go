package compare_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"isukit/bench/compare"
	"isukit/bench/noise"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(got, "\n")); diff != "" {
		t.Errorf("%s (-want +got; -update rewrites it):\n%s", path, diff)
	}
}

// cases are sessions that end in every kind of verdict.
func cases() map[string]func() (a, b compare.Side) {
	made := func(z noise.Model, n int, effect float64) func() (a, b compare.Side) {
		return func() (a, b compare.Side) { return session(z, n, effect, rand.New(rand.NewPCG(11, 4))) }
	}
	return map[string]func() (a, b compare.Side){
		"better":    made(all, 10, 0.12),
		"worse":     made(noises[0], 10, -0.15),
		"same":      made(noise.Model{White: 0.006}, 10, 0),
		"undecided": made(all, 10, 0.02),
		"few":       made(noises[0], 4, 0.2),
		"blocks": func() (a, b compare.Side) {
			a, b = session(noises[0], 10, 0.2, rand.New(rand.NewPCG(11, 4)))
			for _, r := range b.Rounds {
				r.StartedAt = r.StartedAt.Add(time.Hour)
			}
			return a, b
		},
		"one-sided-order": func() (a, b compare.Side) {
			return sessionOrdered(noises[0], make([]bool, 10), 0.1, rand.New(rand.NewPCG(11, 4)))
		},
		"troubled": func() (a, b compare.Side) {
			a, b = session(noises[0], 10, 0.1, rand.New(rand.NewPCG(11, 4)))
			a.Rounds = a.Rounds[:9]
			b.Rounds[2].Passed = false
			b.Rounds[4].Bottleneck.Resource = "generator"
			b.Rounds[5].All.Errors = 40
			b.Rounds[6].LoadSeconds = 60
			a.Rounds[7].Facts[0].Value = "6.1\x1b[2J"
			return a, b
		},
	}
}

func TestTextGolden(t *testing.T) {
	for name, make := range cases() {
		t.Run(name, func(t *testing.T) {
			a, b := make()
			c, err := compare.Rounds(a, b, compare.DefaultOptions())
			if err != nil {
				t.Fatal(err)
			}
			var out bytes.Buffer
			if err := compare.Text(&out, c); err != nil {
				t.Fatal(err)
			}
			golden(t, name+".txt", out.String())
			for line := range strings.Lines(out.String()) {
				if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > 80 {
					t.Errorf("a line of %d columns: %q", n, line)
				}
				if strings.ContainsRune(line, '\x1b') {
					t.Errorf("a fact is obeyed by terminals: %q", line)
				}
			}
			if _, err := json.Marshal(c); err != nil {
				t.Errorf("the comparison has no JSON: %v", err)
			}
		})
	}
}

func TestVerdicts(t *testing.T) {
	want := map[string]compare.Verdict{"better": compare.Better, "worse": compare.Worse, "same": compare.Same,
		"undecided": compare.Undecided, "few": compare.Undecided, "blocks": compare.Undecided, "one-sided-order": compare.Better,
		"troubled": compare.Better}
	for name, make := range cases() {
		a, b := make()
		c, err := compare.Rounds(a, b, compare.DefaultOptions())
		if err != nil {
			t.Fatal(err)
		}
		if got := c.Metrics[0].Verdict; got != want[name] {
			t.Errorf("%s: the score is %s, want %s", name, got, want[name])
		}
	}
}

// TestDirection holds that latency and CPU fall when things get better.
func TestDirection(t *testing.T) {
	a, b := cases()["worse"]()
	c, err := compare.Rounds(a, b, compare.DefaultOptions())
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Metrics) != 5 {
		t.Errorf("%d metrics, want 5: there were no errors to compare", len(c.Metrics))
	}
	for _, m := range c.Metrics {
		if up := m.Ratio > 1; up == m.HigherIsBetter || m.Verdict != compare.Worse {
			t.Errorf("%s: ratio %.3f, higher is better: %v, verdict %s, want worse", m.Name, m.Ratio, m.HigherIsBetter, m.Verdict)
		}
	}
}

func TestRoundsRefuses(t *testing.T) {
	a, b := cases()["same"]()
	if _, err := compare.Rounds(a, compare.Side{}, compare.DefaultOptions()); !errors.Is(err, compare.ErrNoPairs) {
		t.Errorf("a comparison with nothing gives %v, want ErrNoPairs", err)
	}
	bad := compare.Options{Alpha: 0.7, Same: -1, Resamples: 3, Metrics: []string{"beauty"}}
	_, err := compare.Rounds(a, b, bad)
	for _, want := range []string{"alpha is 0.7", "margin for \"same\" is -1", "3 resamples", `no metric "beauty"`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("faulty options give %v, want %q among the faults", err, want)
		}
	}
}

func TestOrderIsBalanced(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 1))
	firsts := make([]int, 10)
	for range 4000 {
		n := 0
		for i, b := range compare.Order(10, rnd) {
			if b {
				n++
				firsts[i]++
			}
		}
		if n != 5 {
			t.Fatalf("B runs first in %d of 10 pairs, want 5", n)
		}
	}
	for i, n := range firsts {
		if math.Abs(float64(n)-2000) > 5*math.Sqrt(1000) {
			t.Errorf("B runs first in pair %d in %d of 4000 orders, want about 2000", i, n)
		}
	}
}

func TestGoBenchGolden(t *testing.T) {
	a, b := cases()["troubled"]()
	a.Name = "two words\n"
	var out bytes.Buffer
	if err := compare.GoBench(&out, a, b); err != nil {
		t.Fatal(err)
	}
	golden(t, "gobench.txt", out.String())
}
