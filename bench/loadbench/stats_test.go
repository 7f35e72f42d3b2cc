package loadbench

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
)

// ratio is a median of paired ratios with its 95 % interval.
type ratio struct {
	Ratio float64 `json:"ratio"`
	Low   float64 `json:"low"`
	High  float64 `json:"high"`
}

func (r ratio) String() string { return fmt.Sprintf("%.2f [%.2f, %.2f]", r.Ratio, r.Low, r.High) }

// ratioOf pairs the rounds of a and b in order and bootstraps the median of the log ratios.
func ratioOf(a, b []sample, f func(sample) float64) ratio {
	logs := make([]float64, min(len(a), len(b)))
	for i := range logs {
		logs[i] = math.Log(f(a[i]) / f(b[i]))
	}
	rng := rand.New(rand.NewPCG(3, 4))
	medians := make([]float64, 2000)
	again := make([]float64, len(logs))
	for i := range medians {
		for j := range again {
			again[j] = logs[rng.IntN(len(logs))]
		}
		medians[i] = middle(again)
	}
	slices.Sort(medians)
	round := func(x float64) float64 { return math.Round(1e4*math.Exp(x)) / 1e4 }
	return ratio{round(middle(logs)), round(medians[len(medians)/40]), round(medians[len(medians)*39/40])}
}

func median(s []sample, f func(sample) float64) float64 {
	v := make([]float64, len(s))
	for i := range s {
		v[i] = f(s[i])
	}
	return middle(v)
}

// middle returns the median of v, which it does not change.
func middle(v []float64) float64 {
	s := slices.Sorted(slices.Values(v))
	if n := len(s); n%2 == 0 {
		return (s[n/2-1] + s[n/2]) / 2
	}
	return s[len(s)/2]
}
