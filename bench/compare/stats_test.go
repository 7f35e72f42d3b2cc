package compare_test

import (
	"math"
	"math/bits"
	"math/rand/v2"
	"slices"
	"testing"

	"isukit/bench/compare"
	"isukit/bench/noise"
)

// bySigns is the p-value of the signed ranks by trying every assignment of signs.
func bySigns(d []float64) float64 {
	size := make([]float64, len(d))
	for i, x := range d {
		size[i] = math.Abs(x)
	}
	sorted := slices.Sorted(slices.Values(size))
	rank := make([]float64, len(d))
	for i, x := range size {
		first := slices.Index(sorted, x)
		last := first
		for last+1 < len(sorted) && sorted[last+1] == x {
			last++
		}
		rank[i] = float64(first+last)/2 + 1
	}
	sum := func(signs int) (s float64) {
		for i := range d {
			if d[i] != 0 {
				s += rank[i] * float64(1-2*(signs>>i&1))
			}
		}
		return s
	}
	observed := 0
	for i, x := range d {
		if x < 0 {
			observed |= 1 << i
		}
	}
	extreme := 0
	for signs := range 1 << len(d) {
		if math.Abs(sum(signs)) >= math.Abs(sum(observed))-1e-9 {
			extreme++
		}
	}
	return float64(extreme) / float64(int(1)<<len(d))
}

func TestSignFlipIsExact(t *testing.T) {
	rnd := rand.New(rand.NewPCG(2, 2))
	for trial := range 200 {
		n := 1 + rnd.IntN(11)
		a, b, d := make([]float64, n), make([]float64, n), make([]float64, n)
		for i := range a {
			// Few different values, so that ties and zeros occur.
			a[i], b[i] = 1, math.Exp2(float64(rnd.IntN(5)-2))
			d[i] = math.Log(b[i])
		}
		got, want := compare.Paired(a, b, quick()).P, bySigns(d)
		if math.Abs(got-want) > 1e-12 {
			t.Fatalf("trial %d: p of %v = %v, by trying all signs %v", trial, d, got, want)
		}
	}
}

func TestSignFlipKnownValues(t *testing.T) {
	tests := []struct {
		name string
		b    []float64
		want float64
	}{
		{"six of six up", []float64{1.1, 1.2, 1.3, 1.4, 1.5, 1.6}, 2.0 / 64},
		{"ten of ten down", []float64{.9, .91, .92, .93, .94, .95, .96, .97, .98, .99}, 2.0 / 1024},
		{"all alike", []float64{1, 1, 1, 1, 1, 1}, 1},
	}
	for _, tt := range tests {
		a := slices.Repeat([]float64{1}, len(tt.b))
		if got := compare.Paired(a, tt.b, quick()).P; math.Abs(got-tt.want) > 1e-12 {
			t.Errorf("%s: p = %v, want %v", tt.name, got, tt.want)
		}
	}
}

// TestEvidenceIsAMartingale averages the evidence over every assignment of signs: under a fair coin it has to stay 1.
func TestEvidenceIsAMartingale(t *testing.T) {
	size := []float64{0.01, 0.3, 0.05, 0.002, 0.11, 0.7, 0.02, 0.04}
	sum := 0.0
	for signs := range 1 << len(size) {
		d := make([]float64, len(size))
		for i := range d {
			d[i] = size[i] * float64(1-2*(signs>>i&1))
		}
		sum += compare.Evidence(d, 0)
		if bits.OnesCount(uint(signs)) == 0 && compare.Evidence(d, 0) < 20 {
			t.Errorf("eight of eight up give evidence of only %v", compare.Evidence(d, 0))
		}
	}
	if mean := sum / float64(int(1)<<len(size)); math.Abs(mean-1) > 1e-9 {
		t.Errorf("the mean evidence under a fair coin is %v, want 1", mean)
	}
	if e := compare.Evidence([]float64{1e9, -1e9, 1e9}, 0); math.IsNaN(e) || math.IsInf(e, 0) {
		t.Errorf("evidence of wild rounds is %v", e)
	}
}

// TestSmallestEffectIsFound plants the effect that a comparison calls the smallest: about 4 of 5 sessions have to find it.
func TestSmallestEffectIsFound(t *testing.T) {
	const white, pairs, trials = 0.03, 12, 400
	rnd := rand.New(rand.NewPCG(8, 8))
	z := noise.Model{White: white}
	var smallest []float64
	for range trials {
		a, b := session(z, pairs, 0, rnd)
		c, err := compare.Rounds(a, b, quick("score"))
		if err != nil {
			t.Fatal(err)
		}
		smallest = append(smallest, c.Metrics[0].SmallestRatio)
	}
	slices.Sort(smallest)
	effect := smallest[trials/2] - 1
	score, _ := verdicts(t, trials, pairs, z, effect, quick("score"))
	if found := float64(score[compare.Better]) / trials; found < 0.68 || found > 0.92 {
		t.Errorf("an effect of %.3f, said to be found in 4 of 5 cases, is found in %.2f", effect, found)
	}
}

// TestMorePairsIsAboutRight estimates after 8 pairs the missing ones of about 17, and makes them.
func TestMorePairsIsAboutRight(t *testing.T) {
	rnd := rand.New(rand.NewPCG(12, 8))
	o := quick("score")
	o.Same = 0.01
	var totals []int
	decided := 0
	for range 200 {
		a, b := session(noise.Model{White: 0.03}, 100, 0.03, rnd)
		first := func(n int) compare.Metric {
			c, err := compare.Rounds(compare.Side{Rounds: a.Rounds[:n]}, compare.Side{Rounds: b.Rounds[:n]}, o)
			if err != nil {
				t.Fatal(err)
			}
			return c.Metrics[0]
		}
		m := first(8)
		if m.Verdict != compare.Undecided || m.MorePairs > 92 {
			continue
		}
		totals = append(totals, 8+m.MorePairs)
		if first(8+m.MorePairs).Verdict != compare.Undecided {
			decided++
		}
	}
	slices.Sort(totals)
	t.Logf("of %d undecided comparisons %d had a verdict after as many pairs as they asked for, %d at the median", len(totals), decided, totals[len(totals)/2])
	if n := totals[len(totals)/2]; n < 10 || n > 35 || decided < len(totals)*6/10 {
		t.Errorf("of %d undecided comparisons %d had a verdict after as many pairs as they asked for, %d at the median, want about 17",
			len(totals), decided, n)
	}
}

// TestUntilSure stops at the first verdict of the sequential comparison and prints the number of pairs.
func TestUntilSure(t *testing.T) {
	rnd := rand.New(rand.NewPCG(5, 8))
	o := quick("score")
	o.Sequential = true
	for _, tt := range []struct {
		effect  float64
		longest int // of the median session, in pairs
	}{{0.20, 10}, {0.10, 13}, {0.05, 26}} {
		var lengths []int
		for range 60 {
			bFirst := make([]bool, 60)
			for i := range bFirst {
				bFirst[i] = compare.NextFirst(rnd)
			}
			a, b := sessionOrdered(noise.Model{White: 0.03}, bFirst, tt.effect, rnd)
			n := compare.MinPairs
			for ; n < 60; n++ {
				c, err := compare.Rounds(compare.Side{Rounds: a.Rounds[:n]}, compare.Side{Rounds: b.Rounds[:n]}, o)
				if err != nil {
					t.Fatal(err)
				}
				if v := c.Metrics[0].Verdict; v == compare.Worse {
					t.Errorf("an effect of %+.2f is called worse", tt.effect)
				} else if v != compare.Undecided {
					break
				}
			}
			lengths = append(lengths, n)
		}
		slices.Sort(lengths)
		t.Logf("effect %+.2f: pairs until sure: median %d, 9 of 10 within %d", tt.effect, lengths[30], lengths[54])
		if lengths[30] > tt.longest {
			t.Errorf("effect %+.2f: the median session needs %d pairs until sure, want at most %d", tt.effect, lengths[30], tt.longest)
		}
	}
}
