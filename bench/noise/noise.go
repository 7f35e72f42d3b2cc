// Package noise is a model of how the figures of rounds stray that run one after the other on one machine: what the statistics of
// bench/compare and bench/experiment are tested with. Seeds and lengths go in, deviations in log units come out.
package noise

import (
	"math"
	"math/rand/v2"
)

// Model is one kind of noise. All figures are in log units: 0.02 is 2 %.
type Model struct {
	Name string
	// White is the standard deviation of what is new in every round; Tail > 0 makes it a scaled Student t with that many degrees of
	// freedom.
	White, Tail float64
	// Memory is the share of the last round's deviation that stays, at a standard deviation of Slow.
	Memory, Slow float64
	// Drift is the change from the first round to the last, Wave the height of a slow swing.
	Drift, Wave float64
}

// The models. Usual is heavy-tailed, drifting and autocorrelated, like rounds on a shared machine; Busy strays by about 20 %.
var (
	Calm           = Model{Name: "calm", White: 0.015}
	HeavyTails     = Model{Name: "heavy tails", White: 0.02, Tail: 2}
	Drift          = Model{Name: "drift", White: 0.02, Drift: 0.3}
	Autocorrelated = Model{Name: "autocorrelated", White: 0.015, Memory: 0.8, Slow: 0.04}
	Usual          = Model{Name: "all of it", White: 0.02, Tail: 3, Memory: 0.8, Slow: 0.04, Drift: -0.2, Wave: 0.05}
	Busy           = Model{Name: "busy", White: 0.06, Tail: 3, Memory: 0.8, Slow: 0.10, Drift: 0.3, Wave: 0.10}
)

// Series returns n deviations.
func (m Model) Series(n int, rnd *rand.Rand) []float64 {
	out := make([]float64, n)
	state, phase := m.Slow*rnd.NormFloat64(), 2*math.Pi*rnd.Float64()
	for i := range out {
		state = m.Memory*state + m.Slow*math.Sqrt(1-m.Memory*m.Memory)*rnd.NormFloat64()
		at := float64(i) / float64(max(1, n-1))
		out[i] = state + m.Drift*at + m.Wave*math.Sin(phase+7*at) + m.White*m.shock(rnd)
	}
	return out
}

func (m Model) shock(rnd *rand.Rand) float64 {
	if m.Tail == 0 {
		return rnd.NormFloat64()
	}
	chi := 0.0
	for range int(m.Tail) {
		x := rnd.NormFloat64()
		chi += x * x
	}
	return rnd.NormFloat64() / math.Sqrt(chi/m.Tail)
}
