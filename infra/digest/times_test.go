package digest_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"isukit/infra/digest"
)

// TestQuantileAgainstSorted holds quantiles against those of the sorted values, for several shapes of data.
func TestQuantileAgainstSorted(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	shapes := map[string]func() time.Duration{
		"milliseconds": func() time.Duration { return time.Duration(rng.IntN(2000)) * time.Millisecond },
		"microseconds": func() time.Duration { return time.Duration(rng.IntN(90_000_000)) * time.Microsecond },
		"long tail":    func() time.Duration { return time.Duration(math.Exp(rng.NormFloat64()*3) * float64(time.Millisecond)) },
		"constant":     func() time.Duration { return 3 * time.Millisecond },
	}
	for name, draw := range shapes {
		var all []time.Duration
		var whole, a, b digest.Times
		for i := range 20_000 {
			d := draw()
			all = append(all, d)
			whole.Add(d)
			[]*digest.Times{&a, &b}[i%2].Add(d)
		}
		a.Merge(&b)
		slices.Sort(all)
		for _, q := range []float64{0.01, 0.5, 0.9, 0.99, 0.999, 1} {
			want := all[max(0, int(math.Ceil(q*float64(len(all))))-1)]
			for which, times := range map[string]*digest.Times{"whole": &whole, "merged": &a} {
				got := times.Quantile(q)
				if diff := (got - want).Abs(); diff > time.Duration(digest.MaxError*float64(want))+time.Microsecond {
					t.Errorf("%s, %s: quantile %v is %v, want %v", name, which, q, got, want)
				}
			}
		}
		if whole.Max != all[len(all)-1] || whole.Min != all[0] || whole.Count != int64(len(all)) || whole.Sum != a.Sum {
			t.Errorf("%s: min %v, max %v of %d, sum %v; want %v, %v, %d, %v", name, whole.Min, whole.Max, whole.Count, whole.Sum, all[0], all[len(all)-1], len(all), a.Sum)
		}
	}
}

func TestEmptyTimes(t *testing.T) {
	var times digest.Times
	if got := times.Quantile(0.5) + times.Mean(); got != 0 {
		t.Errorf("an empty one says %v, want 0", got)
	}
}
