package experiment

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"

	"gonum.org/v1/gonum/mat"
)

// Effect is what a screen says of one factor.
type Effect string

// The verdicts on a factor. Unknown is one that showed nothing: it has less of an effect than would have shown.
const (
	Helps     Effect = "helps"
	Hurts     Effect = "hurts"
	FailsRuns Effect = "makes rounds fail"
	Unknown   Effect = "nothing shown"
)

// alpha limits the probability that a factor without effect is reported to have one.
const alpha = 0.05

// entry is the probability below which a factor enters: less than alpha, since successive differences are not quite independent.
const entry = 0.0425

// FactorVerdict is the outcome for a factor. Ratios are of values with it on to values with it off, over all others: 1.05 is 5 % more.
type FactorVerdict struct {
	Name   string  `json:"name"`
	Effect Effect  `json:"effect"`
	Ratio  float64 `json:"ratio"`
	// Low and High are the 95 % interval of Ratio, for those that help or hurt.
	Low  float64 `json:"ratio_low,omitempty"`
	High float64 `json:"ratio_high,omitempty"`
	// Fails is the probability in [0,1] that it makes rounds fail.
	Fails float64 `json:"fails"`
}

// ScreenVerdict is the outcome of a screen so far.
type ScreenVerdict struct {
	Rounds int `json:"rounds"`
	Pairs  int `json:"pairs"`
	Failed int `json:"failed"`
	// Factors are in the screen's order.
	Factors []FactorVerdict `json:"factors"`
	// SmallestRatio is the smallest effect that would have shown in 4 of 5 cases, as a ratio above 1; 0 if none would.
	SmallestRatio float64   `json:"smallest_ratio,omitempty"`
	Suspicion     Suspicion `json:"suspicion"`
	// Proves is false where there are too few pairs for any verdict: the order of Suspects is all that there is.
	Proves bool `json:"proves"`
	// Suspects are the factors' indexes, the one that seems to cost most first.
	Suspects []int `json:"suspects"`
}

// MinPairs is how many pairs a verdict on k factors needs: with fewer, chance alone makes one of them look like the clearest effect in more
// than the cases that are allowed.
func MinPairs(k int) int {
	return 1 + int(math.Log2(2*float64(max(1, k))/entry))
}

// Verdict judges what there is so far.
func (s *Screen) Verdict() ScreenVerdict {
	k := len(s.factors)
	v := ScreenVerdict{Rounds: len(s.trials), Pairs: len(s.d), Failed: countFailed(s.trials), Proves: len(s.d) >= MinPairs(k),
		Factors: make([]FactorVerdict, k), Suspicion: Suspect(k, slices.Concat(s.trials, s.beside))}
	ridge := s.ridge()
	for j, name := range s.factors {
		v.Factors[j] = FactorVerdict{Name: name, Effect: Unknown, Ratio: math.Exp(ridge[j]), Fails: v.Suspicion.Each[j]}
	}
	var found []estimate
	if v.Proves {
		found = selectFactors(s.x, s.d, entry, rand.New(rand.NewPCG(s.seed, 0x7e57)))
		v.SmallestRatio = Smallest(s.spread(found), len(s.d), k)
	}
	for _, e := range found {
		v.Factors[e.factor].show(e, len(s.d)-len(found))
	}
	for j := range v.Factors {
		if s.off[j] || v.Suspicion.Each[j] >= Sure {
			v.Factors[j].Effect = FailsRuns
		}
		v.Suspects = append(v.Suspects, j)
	}
	slices.SortStableFunc(v.Suspects, func(a, b int) int {
		x, y := v.Factors[a], v.Factors[b]
		if byFails := cmp.Compare(y.Fails, x.Fails); byFails != 0 && max(x.Fails, y.Fails) >= 0.5 {
			return byFails
		}
		return cmp.Compare(x.Ratio, y.Ratio)
	})
	return v
}

// show fills in a selected factor.
func (f *FactorVerdict) show(e estimate, degrees int) {
	f.Effect, f.Ratio = Helps, math.Exp(e.effect)
	if e.effect < 0 {
		f.Effect = Hurts
	}
	reach := studentQuantile(1-alpha/2, degrees) * e.error
	f.Low, f.High = math.Exp(e.effect-reach), math.Exp(e.effect+reach)
}

// Recommended are the factors to keep on: all but those that hurt or make rounds fail, or are more likely than not to.
func (v ScreenVerdict) Recommended() []bool {
	on := make([]bool, len(v.Factors))
	for j, f := range v.Factors {
		on[j] = f.Effect != Hurts && f.Effect != FailsRuns && f.Fails < 0.5
	}
	return on
}

// spread is the standard deviation of a pair's difference, without the effects found.
func (s *Screen) spread(found []estimate) float64 {
	left := slices.Clone(s.d)
	for i := range left {
		for _, e := range found {
			left[i] -= s.x[i][e.factor] * e.effect
		}
	}
	return Spread(left)
}

// ridge are the factors' effects, drawn towards none as much as four pairs would: an order for screens that prove nothing.
func (s *Screen) ridge() []float64 {
	k := len(s.factors)
	d := slices.Clone(s.d)
	clip(d)
	return posterior(new(mat.Cholesky), s.x, d, slices.Repeat([]float64{4}, k), make([]float64, k), 1)
}

// Smallest is the smallest effect, as a ratio above 1, that a screen of k factors shows in 4 of 5 cases with that many pairs whose
// log differences have the standard deviation sd; 0 where there are too few pairs.
func Smallest(sd float64, pairs, k int) float64 {
	if pairs < MinPairs(k) {
		return 0
	}
	return math.Exp(sd / math.Sqrt(float64(pairs)) * (studentQuantile(1-alpha/2/float64(k), pairs-1) + studentQuantile(0.8, pairs-1)))
}
