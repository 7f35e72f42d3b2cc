package compare

import (
	"math"
	"math/rand/v2"
)

// Verdict is what a comparison says of one metric.
type Verdict string

// The verdicts. Better and Worse are B's, seen from A.
const (
	Better    Verdict = "better"
	Worse     Verdict = "worse"
	Same      Verdict = "same"
	Undecided Verdict = "undecided"
)

// MinPairs is how many pairs a verdict needs at the very least: with five, even the clearest outcome has a chance of 1 in 16.
const MinPairs = 6

// MaxPairs bounds a comparison.
const MaxPairs = 200

// Estimate is what the pairs of one metric say. Ratios are B/A: 1.05 is 5 % more.
type Estimate struct {
	Pairs int `json:"pairs"`
	// MedianA and MedianB are medians of the rounds. Ratio is the median of the pairs' ratios, not the ratio of the medians.
	MedianA float64 `json:"median_a"`
	MedianB float64 `json:"median_b"`
	Ratio   float64 `json:"ratio"`
	// Low and High are the 95 % interval (1 - Alpha) of the ratio; 0 and 0 when there are too few pairs for one.
	Low  float64 `json:"ratio_low"`
	High float64 `json:"ratio_high"`
	// P is the exact p-value of "A and B are alike" without correction; if sequential, one over the evidence, valid at any time.
	P float64 `json:"p"`
	// Floor is the ratio, 1 or more, that the median of as many pairs reaches within one side in 1 of 20 cases (Alpha).
	Floor float64 `json:"floor_ratio"`

	logRatios []float64
	spread    float64
}

// Paired estimates the ratio B/A from rounds that ran as pairs, a[i] with b[i]. Values must be positive, and the slices equally long.
func Paired(a, b []float64, o Options) Estimate {
	d := make([]float64, len(a))
	for i := range a {
		d[i] = math.Log(b[i] / a[i])
	}
	e := Estimate{Pairs: len(d), MedianA: median(a), MedianB: median(b), Ratio: math.Exp(median(d)), logRatios: d, spread: spread(d)}
	rnd := rand.New(rand.NewPCG(1, uint64(len(d))))
	e.Floor = math.Exp(floor(within(a, b), len(d), o.Alpha, max(200, o.Resamples/4), rnd))
	if o.Sequential {
		e.P = min(1, 1/Evidence(d, 0))
		e.setInterval(anytimeInterval(d, o.Alpha))
		return e
	}
	e.P = signFlip(d)
	if len(d) >= MinPairs {
		e.setInterval(bootstrap(d, 1-o.Alpha, max(200, o.Resamples/4), rnd))
	}
	return e
}

func (e *Estimate) setInterval(low, high float64) {
	if !math.IsInf(low, 0) && !math.IsInf(high, 0) {
		e.Low, e.High = math.Exp(low), math.Exp(high)
	}
}

// within returns the log ratios of neighbouring rounds of one side.
func within(a, b []float64) []float64 {
	var d []float64
	for _, side := range [][]float64{a, b} {
		for i := 1; i < len(side); i++ {
			d = append(d, math.Log(side[i]/side[i-1]))
		}
	}
	return d
}

// decide turns an estimate into a verdict. p is P after the correction for several metrics. Where chance did not choose the
// order within the pairs, the test's coin may be loaded, and an effect has to rise above the floor as well.
func (e Estimate) decide(p float64, higherIsBetter, randomOrder bool, o Options) Verdict {
	if e.Pairs < MinPairs || e.Low == 0 {
		return Undecided
	}
	if e.Low >= 1/(1+o.Same) && e.High <= 1+o.Same {
		return Same
	}
	if p > o.Alpha || e.Low <= 1 && e.High >= 1 || !randomOrder && e.withinFloor() {
		return Undecided
	}
	if (e.Ratio > 1) == higherIsBetter {
		return Better
	}
	return Worse
}

func (e Estimate) withinFloor() bool { return max(e.Ratio, 1/e.Ratio) <= e.Floor }

// power is the chance with which an effect of the "smallest" size is found.
const power = 0.8

// rankEfficiency is that of the signed ranks against the mean, for normal noise: 3/pi.
const rankEfficiency = 3 / math.Pi

// halfWidth is that of the interval, in log units.
func (e Estimate) halfWidth() float64 { return math.Log(e.High/e.Low) / 2 }

// Smallest is the smallest effect that these pairs find in 4 of 5 cases, as a ratio above 1; 0 if they can find none at that alpha.
func (e Estimate) Smallest(alpha float64) float64 {
	if e.Pairs < minPairsFor(alpha) || e.Low == 0 {
		return 0
	}
	return math.Exp(e.halfWidth() * (normalQuantile(1-alpha/2) + normalQuantile(power)) / normalQuantile(0.975))
}

// MorePairs estimates the missing pairs for a verdict, if they are like the others; at least 1, MaxPairs if no sensible number would do.
func (e Estimate) MorePairs(alpha, same float64) int {
	effect := math.Abs(math.Log(e.Ratio))
	z := normalQuantile(1-alpha/2) + normalQuantile(power)
	apart := z * e.spread / effect
	need := apart * apart / rankEfficiency
	if e.Low > 0 {
		// The interval knows tails that the spread does not.
		apart = e.halfWidth() * z / normalQuantile(0.975) / effect
		need = float64(e.Pairs) * apart * apart
	}
	if room := math.Log1p(same) - effect; room > 0 && e.Low > 0 {
		close := e.halfWidth() / room
		need = min(need, float64(e.Pairs)*close*close)
	}
	if !(need < MaxPairs) {
		return MaxPairs
	}
	return max(1, max(int(math.Ceil(need)), minPairsFor(alpha))-e.Pairs)
}

// minPairsFor is the number of pairs from which the clearest outcome has a p-value of at most alpha.
func minPairsFor(alpha float64) int {
	return max(MinPairs, int(math.Ceil(1-math.Log2(alpha)-1e-9)))
}
