package compare

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"
)

// median of values, which are left as they are; NaN when there are none.
func median(values []float64) float64 {
	s := slices.Clone(values)
	slices.Sort(s)
	return medianSorted(s)
}

func medianSorted(s []float64) float64 {
	n := len(s)
	switch {
	case n == 0:
		return math.NaN()
	case n%2 == 1:
		return s[n/2]
	}
	return (s[n/2-1] + s[n/2]) / 2
}

// quantile of sorted values, interpolated between neighbours.
func quantile(sorted []float64, q float64) float64 {
	at := q * float64(len(sorted)-1)
	i := int(at)
	if i+1 >= len(sorted) {
		return sorted[len(sorted)-1]
	}
	return sorted[i] + (at-float64(i))*(sorted[i+1]-sorted[i])
}

// signFlip is the exact two-sided p-value of the hypothesis that each difference is as likely d as -d. It flips the signs of
// the differences' ranks, so one wild round weighs no more than the largest rank. Differences of zero keep their ranks
// and have no sign (Pratt).
func signFlip(d []float64) float64 {
	ranks := doubledRanks(d)
	total, above := 0, 0
	ways := []float64{1} // ways[s] is the probability that the ranks with a positive sign add up to s
	for i, x := range d {
		if x == 0 {
			continue
		}
		total += ranks[i]
		if x > 0 {
			above += ranks[i]
		}
		ways = flipOne(ways, ranks[i])
	}
	// Both tails lie equally far from total/2.
	distance := abs(2*above - total)
	p := 0.0
	for s, w := range ways {
		if abs(2*s-total) >= distance {
			p += w
		}
	}
	return min(p, 1)
}

// flipOne adds one rank, with either sign, to a distribution of sums.
func flipOne(ways []float64, rank int) []float64 {
	next := make([]float64, len(ways)+rank)
	for s, w := range ways {
		next[s] += w / 2
		next[s+rank] += w / 2
	}
	return next
}

// doubledRanks are the ranks of |d|, doubled so that the mean rank of ties is whole.
func doubledRanks(d []float64) []int {
	order := make([]int, len(d))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(i, j int) int { return cmp.Compare(math.Abs(d[i]), math.Abs(d[j])) })
	ranks := make([]int, len(d))
	for i := 0; i < len(order); {
		j := i
		for j < len(order) && math.Abs(d[order[j]]) == math.Abs(d[order[i]]) {
			j++
		}
		for k := i; k < j; k++ {
			ranks[order[k]] = i + 1 + j
		}
		i = j
	}
	return ranks
}

// bootstrap returns the interval that holds the median of as many values redrawn from d with the given confidence.
func bootstrap(d []float64, confidence float64, resamples int, rnd *rand.Rand) (low, high float64) {
	medians := redraw(d, len(d), resamples, rnd, func(x float64) float64 { return x })
	tail := (1 - confidence) / 2
	return quantile(medians, tail), quantile(medians, 1-tail)
}

// floor is the size that a median of n differences reaches, in one of 1/alpha cases, from the differences within one side alone.
func floor(within []float64, n int, alpha float64, resamples int, rnd *rand.Rand) float64 {
	if len(within) == 0 || n == 0 {
		return 0
	}
	medians := redraw(within, n, resamples, rnd, func(x float64) float64 {
		if rnd.IntN(2) == 1 {
			return -x
		}
		return x
	})
	for i, m := range medians {
		medians[i] = math.Abs(m)
	}
	slices.Sort(medians)
	return quantile(medians, 1-alpha)
}

// redraw returns, sorted, the medians of n values drawn from d with replacement, each passed through change.
func redraw(d []float64, n, resamples int, rnd *rand.Rand, change func(float64) float64) []float64 {
	medians := make([]float64, resamples)
	draw := make([]float64, n)
	for i := range medians {
		for k := range draw {
			draw[k] = change(d[rnd.IntN(len(d))])
		}
		slices.Sort(draw)
		medians[i] = medianSorted(draw)
	}
	slices.Sort(medians)
	return medians
}

// spread is the standard deviation that a normal distribution would have with the same median distance from its median; the
// plain one where half of the values are alike.
func spread(d []float64) float64 {
	m := median(d)
	off := make([]float64, len(d))
	squares := 0.0
	for i, x := range d {
		off[i] = math.Abs(x - m)
		squares += off[i] * off[i]
	}
	if mad := median(off); mad > 0 {
		return 1.4826 * mad
	}
	return math.Sqrt(squares / float64(max(1, len(d)-1)))
}

// normalQuantile is the value below which the given part of a standard normal distribution lies.
func normalQuantile(p float64) float64 { return math.Sqrt2 * math.Erfinv(2*p-1) }

// holm adjusts p-values so that each can be held against alpha with at most alpha chance of any false one among all.
func holm(p []float64) []float64 {
	order := make([]int, len(p))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(i, j int) int { return cmp.Compare(p[i], p[j]) })
	adjusted := make([]float64, len(p))
	highest := 0.0
	for k, i := range order {
		highest = max(highest, min(1, p[i]*float64(len(p)-k)))
		adjusted[i] = highest
	}
	return adjusted
}

func abs(n int) int { return max(n, -n) }
