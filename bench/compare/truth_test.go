//go:build !race

// These tests are arithmetic of one goroutine, which takes the race detector a minute and shows it nothing.

package compare_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"isukit/bench/compare"
	"isukit/bench/noise"
)

// TestAlikeSidesAreNotTold checks the promise of Alpha: of 2,000 comparisons of a configuration with itself under the worst noise, and of
// 200 or 500 under each other, at most 5 % have the verdict better or worse.
func TestAlikeSidesAreNotTold(t *testing.T) {
	for _, z := range noises {
		for _, tt := range []struct {
			pairs   int
			metrics []string
		}{{10, []string{"score"}}, {10, nil}, {20, []string{"score"}}} {
			t.Run(fmt.Sprintf("%s/%d pairs/metrics %v", z.Name, tt.pairs, tt.metrics), func(t *testing.T) {
				trials := 500
				if z == all {
					trials = 2000
				} else if tt.metrics == nil {
					trials = 200 // five metrics take five times as long
				}
				limit := trials / 20
				if _, claims := verdicts(t, trials, tt.pairs, z, 0, quick(tt.metrics...)); claims > limit {
					t.Errorf("%d of %d A/A comparisons claim a difference, at most %d may", claims, trials, limit)
				} else {
					t.Logf("%d of %d A/A comparisons claim a difference", claims, trials)
				}
			})
		}
	}
}

// TestPeekingIsFree looks after every pair and stops at the first claim: at most 5 % of A/A comparisons may ever make one.
func TestPeekingIsFree(t *testing.T) {
	const trials, pairs = 2000, 30
	rnd := rand.New(rand.NewPCG(3, 3))
	for _, z := range noises {
		claims := 0
		for range trials {
			d := make([]float64, 0, pairs)
			x := z.Series(2*pairs, rnd)
			for i := range pairs {
				diff := x[2*i+1] - x[2*i]
				if compare.NextFirst(rnd) {
					diff = -diff
				}
				if d = append(d, diff); compare.Evidence(d, 0) >= 20 {
					claims++
					break
				}
			}
		}
		if limit := trials / 20; claims > limit {
			t.Errorf("%s: %d of %d A/A sequences make a claim within %d looks, at most %d may", z.Name, claims, trials, pairs, limit)
		} else {
			t.Logf("%s: %d of %d A/A sequences make a claim within %d looks", z.Name, claims, trials, pairs)
		}
	}
}

// TestPowerTable measures how often a true effect is found, and compares docs/compare.md with it: every row of the table is measured again
// and must be within 10 points.
func TestPowerTable(t *testing.T) {
	text, err := os.ReadFile("../../docs/compare.md")
	if err != nil {
		t.Fatal(err)
	}
	const trials = 150
	for _, z := range []noise.Model{noises[0], noises[1], all} {
		for _, size := range []struct {
			pairs   int
			what    string
			metrics []string
		}{{6, "the score alone", []string{"score"}}, {10, "the score alone", []string{"score"}}, {20, "the score alone", []string{"score"}}, {10, "all metrics", nil}} {
			row := fmt.Sprintf("| %s | %d | %s |", z.Name, size.pairs, size.what)
			var measured []int
			for _, effect := range []float64{0.03, 0.05, 0.10, 0.20} {
				score, _ := verdicts(t, trials, size.pairs, z, effect, quick(size.metrics...))
				measured = append(measured, 100*score[compare.Better]/trials)
			}
			t.Logf("%s %d %% | %d %% | %d %% | %d %% |", row, measured[0], measured[1], measured[2], measured[3])
			var documented [4]int
			_, after, found := strings.Cut(string(text), row)
			if !found {
				t.Errorf("docs/compare.md lacks the row %s", row)
				continue
			}
			if _, err := fmt.Sscanf(after, " %d %% | %d %% | %d %% | %d %% |", &documented[0], &documented[1], &documented[2], &documented[3]); err != nil {
				t.Errorf("docs/compare.md: the row %s: %v", row, err)
			}
			for i := range measured {
				if d := measured[i] - documented[i]; d > 10 || d < -10 {
					t.Errorf("%s column %d is documented as %d %%, measured are %v", row, i+1, documented[i], measured)
				}
			}
		}
	}
}

// TestSlowdownIsTold plants a slowdown of 15 %, which ten pairs have to tell on a machine that is not wild.
func TestSlowdownIsTold(t *testing.T) {
	for _, z := range []noise.Model{noises[0], noises[2], noises[3]} {
		score, _ := verdicts(t, 200, 10, z, -0.15, quick())
		if score[compare.Worse] < 190 || score[compare.Better] > 0 {
			t.Errorf("%s: of 200 comparisons with a slowdown of 15 %% the verdicts are %v, want at least 190 of worse", z.Name, score)
		}
	}
}

// TestIntervalCovers counts how often the 95 % interval holds the true ratio.
func TestIntervalCovers(t *testing.T) {
	const trials, effect = 300, 0.05
	for _, z := range noises {
		for _, pairs := range []int{6, 10, 20} {
			rnd := rand.New(rand.NewPCG(uint64(pairs), 9))
			holds := 0
			for range trials {
				a, b := session(z, pairs, effect, rnd)
				c, err := compare.Rounds(a, b, quick("score"))
				if err != nil {
					t.Fatal(err)
				}
				if m := c.Metrics[0]; m.Low <= 1+effect && 1+effect <= m.High {
					holds++
				}
			}
			t.Logf("%s, %d pairs: %d of %d intervals hold the truth", z.Name, pairs, holds, trials)
			if holds < trials*88/100 {
				t.Errorf("%s, %d pairs: only %d of %d intervals hold the truth", z.Name, pairs, holds, trials)
			}
		}
	}
}
