package experiment

import (
	"math"
	"math/rand/v2"

	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/mat"
)

// model is a Bayesian linear regression of a value's logarithm on a configuration: one effect a placement, a tuning, and two a
// size (linear and square). It learns from pairs, so what both have in common cancels.
type model struct {
	space Space
	// The prior's precisions and means, and the pairs.
	precision, center []float64
	pairs             [][]float64 // differences of features
	ratios            []float64
	noise             float64 // variance of a pair's log ratio

	factor mat.Cholesky // of the posterior's precision
	at     []float64    // the posterior's mean
}

// Standard deviations of the prior, in log units, of a pair's noise to begin with and the least of it, and where a pair's ratio is clipped.
const (
	placementSD, advisedSD = 0.25, 0.15
	tuningSD               = 0.1
	linearSD, squareSD     = 0.15, 0.3
	firstNoise, leastNoise = 0.07, 0.02
	clipRatio              = 0.6
	noiseFrom              = 8 // pairs, before the noise is estimated
)

func newModel(space Space) *model {
	m := &model{space: space, noise: firstNoise * firstNoise}
	add := func(n int, sd float64) {
		for range n {
			m.precision, m.center = append(m.precision, 1/(sd*sd)), append(m.center, 0)
		}
	}
	mean, advised := 0.0, false
	for _, a := range space.Advice {
		mean += a / float64(len(space.Advice))
		advised = advised || a != space.Advice[0]
	}
	if advised {
		add(len(space.Advice), advisedSD)
		for i, a := range space.Advice {
			m.center[i] = a - mean
		}
	} else {
		add(len(space.Advice), placementSD)
	}
	add(space.Tunings, tuningSD)
	add(space.Sizes, linearSD)
	add(space.Sizes, squareSD)
	m.solve()
	return m
}

// features of a configuration, in the order of the effects.
func (m *model) features(c Config) []float64 {
	f := make([]float64, len(m.precision))
	f[c.Placement] = 1
	at := len(m.space.Advice)
	for j, on := range c.On {
		f[at+j] = -0.5
		if on {
			f[at+j] = 0.5
		}
	}
	at += m.space.Tunings
	for q, step := range c.Sizes {
		x := float64(step)/SizeSteps - 0.5
		f[at+q], f[at+m.space.Sizes+q] = x, x*x
	}
	return f
}

func (m *model) difference(c, d Config) []float64 {
	f := m.features(c)
	floats.Sub(f, m.features(d))
	return f
}

// better is by how much c is better than d by the mean, in log units.
func (m *model) better(c, d Config) float64 { return floats.Dot(m.difference(c, d), m.at) }

// learn takes a pair's log ratio of c to d.
func (m *model) learn(c, d Config, ratio float64) {
	m.pairs = append(m.pairs, m.difference(c, d))
	m.ratios = append(m.ratios, math.Max(-clipRatio, math.Min(clipRatio, ratio)))
	m.solve()
	if len(m.ratios) < noiseFrom {
		return
	}
	left := make([]float64, len(m.ratios))
	for i, r := range m.ratios {
		left[i] = r - floats.Dot(m.pairs[i], m.at)
	}
	sd := math.Max(leastNoise, Spread(left))
	m.noise = sd * sd
	m.solve()
}

func (m *model) solve() {
	m.at = posterior(&m.factor, m.pairs, m.ratios, m.precision, m.center, m.noise)
}

// draw returns effects drawn from the posterior: mean + U^-1 z, where U'U is its precision.
func (m *model) draw(rnd *rand.Rand) []float64 {
	n := len(m.at)
	z := mat.NewVecDense(n, nil)
	for i := range n {
		z.SetVec(i, rnd.NormFloat64())
	}
	var u mat.TriDense
	m.factor.UTo(&u)
	var step mat.VecDense
	if step.SolveVec(&u, z) != nil {
		return m.at
	}
	return floats.AddTo(make([]float64, n), m.at, step.RawVector().Data)
}
