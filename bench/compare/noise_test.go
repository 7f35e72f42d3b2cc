package compare_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"isukit/bench/compare"
	"isukit/bench/result"
)

// noise says how the figures of rounds stray that run one after the other on one machine.
type noise struct {
	name string
	// white is the standard deviation of what is new in every round; tail > 0 makes it a Student t of so many degrees of
	// freedom, scaled by white.
	white, tail float64
	// memory is the share of the last round's deviation that stays, at a standard deviation of slow.
	memory, slow float64
	// drift is the change from the first round to the last, wave the height of a slow swing; both in log units.
	drift, wave float64
}

var noises = []noise{
	{name: "calm", white: 0.015},
	{name: "heavy tails", white: 0.02, tail: 2},
	{name: "drift", white: 0.02, drift: 0.3},
	{name: "autocorrelated", white: 0.015, memory: 0.8, slow: 0.04},
	{name: "all of it", white: 0.02, tail: 3, memory: 0.8, slow: 0.04, drift: -0.2, wave: 0.05},
}

// all is the noise that the issue names: heavy-tailed, drifting and autocorrelated.
var all = noises[len(noises)-1]

// series returns n deviations in log units.
func (z noise) series(n int, rnd *rand.Rand) []float64 {
	out := make([]float64, n)
	state, phase := z.slow*rnd.NormFloat64(), 2*math.Pi*rnd.Float64()
	for i := range out {
		state = z.memory*state + z.slow*math.Sqrt(1-z.memory*z.memory)*rnd.NormFloat64()
		at := float64(i) / float64(max(1, n-1))
		out[i] = state + z.drift*at + z.wave*math.Sin(phase+7*at) + z.white*z.shock(rnd)
	}
	return out
}

func (z noise) shock(rnd *rand.Rand) float64 {
	if z.tail == 0 {
		return rnd.NormFloat64()
	}
	chi := 0.0
	for range int(z.tail) {
		x := rnd.NormFloat64()
		chi += x * x
	}
	return rnd.NormFloat64() / math.Sqrt(chi/z.tail)
}

// session makes n pairs of rounds under the noise, B being faster by effect (0.1 is 10 %), in an order drawn from rnd.
func session(z noise, n int, effect float64, rnd *rand.Rand) (a, b compare.Side) {
	return sessionOrdered(z, compare.Order(n, rnd), effect, rnd)
}

func sessionOrdered(z noise, bFirst []bool, effect float64, rnd *rand.Rand) (a, b compare.Side) {
	a.Name, b.Name = "single", "two"
	deviations := z.series(2*len(bFirst), rnd)
	start := time.Date(2026, 11, 22, 20, 0, 0, 0, time.UTC)
	for slot, deviation := range deviations {
		isB := bFirst[slot/2] == (slot%2 == 0)
		side, speed := &a, math.Exp(deviation)
		if isB {
			side, speed = &b, math.Exp(deviation)*(1+effect)
		}
		at := start.Add(time.Duration(slot) * time.Minute)
		side.Rounds = append(side.Rounds, round(at, side.Name, speed, rnd))
	}
	return a, b
}

// round is one whose figures all follow one speed, each with a little noise of its own.
func round(at time.Time, topology string, speed float64, rnd *rand.Rand) *result.Round {
	own := func() float64 { return speed * math.Exp(0.004*rnd.NormFloat64()) }
	hits := int64(45000 * own())
	return &result.Round{
		ID: result.NewID(at, topology), StartedAt: at, Topology: topology, Scenario: "portal", LoadSeconds: 30, Passed: true,
		Score:  result.Score{Total: int64(130000 * own())},
		Phases: []result.Phase{{Name: "load", DurationSeconds: 30, OK: true}},
		All:    result.Endpoint{Hits: hits, OK: hits, Errors: 0, Latency: result.Latency{P50Ms: 8.7 / own(), P99Ms: 310 / own()}},
		Roles:  []result.RoleUsage{{Role: "db", CPUSeconds: float64(hits) / 1000 / own()}},
		Facts:  []result.Fact{{Key: "kernel", Value: "6.18"}, {Key: "port", Value: fmt.Sprint(at.Unix())}, {Key: "topology hash", Value: fmt.Sprintf("sha256:%s", topology)}},
	}
}

func quick(metrics ...string) compare.Options {
	o := compare.DefaultOptions()
	o.Resamples, o.Metrics = 300, metrics
	return o
}

// verdicts counts what n comparisons say of each metric, and in how many any metric was called better or worse.
func verdicts(t *testing.T, trials, pairs int, z noise, effect float64, o compare.Options) (score map[compare.Verdict]int, claims int) {
	t.Helper()
	score = map[compare.Verdict]int{}
	rnd := rand.New(rand.NewPCG(uint64(pairs), 5))
	for range trials {
		a, b := session(z, pairs, effect, rnd)
		c, err := compare.Rounds(a, b, o)
		if err != nil {
			t.Fatal(err)
		}
		claimed := 0
		for _, m := range c.Metrics {
			if m.Verdict == compare.Better || m.Verdict == compare.Worse {
				claimed = 1
			}
		}
		claims += claimed
		score[c.Metrics[0].Verdict]++
	}
	return score, claims
}
