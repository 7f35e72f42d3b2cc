package experiment

import (
	"math"
	"slices"

	"gonum.org/v1/gonum/floats"
)

// Trial is one round as the search for what makes rounds fail sees it: which factors were on, and whether it failed.
type Trial struct {
	On     []bool `json:"on"`
	Failed bool   `json:"failed"`
}

// Suspicion is what a number of trials say about who makes rounds fail.
type Suspicion struct {
	// Nobody is the probability that no factor does: some rounds fail without a cause, or none failed.
	Nobody float64 `json:"nobody"`
	// Each has one probability a factor: that it makes rounds fail by being on.
	Each []float64 `json:"each"`
	// Together is the probability that it takes two factors that are on in one round: no single factor is to blame.
	Together float64 `json:"together"`
	// Pair are the two that are most probable then, as indexes of factors; it means nothing while Together is small.
	Pair [2]int `json:"pair"`
}

// Sure is the probability from which a factor is named and quarantined.
const Sure = 0.9

// The hypotheses' rates: how often rounds fail with the guilty factor (a grid, equally probable), and without it.
var (
	guiltyRates = []float64{0.1, 0.25, 0.5, 0.9}
	chanceRates = []float64{0.005, 0.02, 0.05}
)

// Prior probabilities: of nobody, and of any two together. What is left is shared by the single factors.
const (
	priorNobody   = 0.4
	priorTogether = 0.02
)

// Suspect returns the posterior over "nobody", each factor, and each two together, after trials of k factors.
func Suspect(k int, trials []Trial) Suspicion {
	s := Suspicion{Nobody: 1, Each: make([]float64, k)}
	failed, total := countFailed(trials), len(trials)
	if failed == 0 || k == 0 {
		return s
	}
	nobody := math.Log(priorNobody) + evidence(func(p0 float64) []float64 { return []float64{binomial(failed, total, p0)} })
	single := make([]float64, k)
	prior := math.Log((1 - priorNobody - priorTogether) / float64(k))
	for j := range single {
		on, onFailed := countOn(trials, j, j)
		single[j] = prior + guilt(failed, total, onFailed, on)
	}
	pairs := s.pairs(k, trials, failed, total)
	all := logSum(append(slices.Clone(single), nobody, pairs))
	s.Nobody, s.Together = math.Exp(nobody-all), math.Exp(pairs-all)
	for j, l := range single {
		s.Each[j] = math.Exp(l - all)
	}
	return s
}

// pairs notes the most probable pair and returns the logarithm of the weight of all pairs.
func (s *Suspicion) pairs(k int, trials []Trial, failed, total int) float64 {
	prior := math.Log(priorTogether / float64(k*(k-1)/2))
	var weights []float64
	best := math.Inf(-1)
	for i := range k {
		for j := i + 1; j < k; j++ {
			on, onFailed := countOn(trials, i, j)
			w := prior + guilt(failed, total, onFailed, on)
			if weights = append(weights, w); w > best {
				best, s.Pair = w, [2]int{i, j}
			}
		}
	}
	return logSum(weights)
}

// guilt is the log likelihood that the trials of which on had the guilty one on, onFailed of these failed.
func guilt(failed, total, onFailed, on int) float64 {
	return evidence(func(p0 float64) []float64 {
		list := make([]float64, len(guiltyRates))
		without := binomial(failed-onFailed, total-on, p0)
		for i, p1 := range guiltyRates {
			list[i] = without + binomial(onFailed, on, 1-(1-p0)*(1-p1))
		}
		return list
	})
}

// evidence is the logarithm of the mean likelihood over the grid of rates.
func evidence(logs func(p0 float64) []float64) float64 {
	var all []float64
	for _, p0 := range chanceRates {
		all = append(all, logs(p0)...)
	}
	return logSum(all) - math.Log(float64(len(all)))
}

// logSum is the logarithm of the sum of the numbers that have these logarithms.
func logSum(logs []float64) float64 {
	if len(logs) == 0 {
		return math.Inf(-1)
	}
	return floats.LogSumExp(logs)
}

// binomial is the log likelihood of one order of failed failures among n trials.
func binomial(failed, n int, p float64) float64 {
	return float64(failed)*math.Log(p) + float64(n-failed)*math.Log1p(-p)
}

func countFailed(trials []Trial) (n int) {
	for _, t := range trials {
		if t.Failed {
			n++
		}
	}
	return n
}

// countOn counts the trials in which factors i and j were both on.
func countOn(trials []Trial, i, j int) (on, failed int) {
	for _, t := range trials {
		if t.On[i] && t.On[j] {
			on++
			if t.Failed {
				failed++
			}
		}
	}
	return on, failed
}

// Accused returns the factor that is surely guilty, or -1.
func (s Suspicion) Accused() int {
	for j, p := range s.Each {
		if p >= Sure {
			return j
		}
	}
	return -1
}
