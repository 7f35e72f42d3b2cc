package compare_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"isukit/bench/compare"
	"isukit/bench/noise"
	"isukit/bench/result"
)

var noises = []noise.Model{noise.Calm, noise.HeavyTails, noise.Drift, noise.Autocorrelated, noise.Usual}

// all is heavy-tailed, drifting and autocorrelated.
var all = noise.Usual

// session makes n pairs of rounds under the noise, B being faster by effect (0.1 is 10 %), in an order drawn from rnd.
func session(z noise.Model, n int, effect float64, rnd *rand.Rand) (a, b compare.Side) {
	return sessionOrdered(z, compare.Order(n, rnd), effect, rnd)
}

func sessionOrdered(z noise.Model, bFirst []bool, effect float64, rnd *rand.Rand) (a, b compare.Side) {
	a.Name, b.Name = "single", "two"
	deviations := z.Series(2*len(bFirst), rnd)
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
		Hosts:  []result.HostUsage{{Host: "s1", CPUs: 2, Busy: 0.7}},
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
func verdicts(t *testing.T, trials, pairs int, z noise.Model, effect float64, o compare.Options) (score map[compare.Verdict]int, claims int) {
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
