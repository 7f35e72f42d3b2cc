// Package compare says whether one configuration is better than another, and how sure that is. Rounds of two sides go in,
// paired in the order in which they ran; out come medians, the ratio B/A with its interval, and a verdict for each metric:
// better, worse, same within a margin, or undecided. It reads rounds and nothing else; running them is left to others.
//
// The unit is the round, since hits within a round are not independent of each other. Noise of a shared machine is
// heavy-tailed, drifts and comes in stretches, so rounds of the two sides have to be interleaved in a random order (Order);
// then the sign of each pair's difference is a fair coin whenever A and B are alike, whatever the noise, and the tests here
// need nothing else. docs/compare.md tells the method and its measured error rates.
package compare

import (
	"fmt"
	"math/rand/v2"
)

// Options says how sure a verdict has to be.
type Options struct {
	// Alpha is the highest probability, in (0, 0.5), of calling anything better or worse when A and B are alike; it holds for
	// all metrics of one comparison together.
	Alpha float64
	// Same is the relative difference below which two sides count as the same, as 0.03 for 3 %.
	Same float64
	// Resamples is how often the bootstrap draws; at least 200.
	Resamples int
	// Seed starts the bootstrap's random numbers: the same rounds give the same figures.
	Seed uint64
	// Sequential asks for tests that stay right when one looks after every pair and stops when sure.
	Sequential bool
	// Metrics are the names of those that are compared, all when empty; NAME:higher and NAME:lower are figures that commands
	// printed (result.Round.Metrics), with what is better. Fewer metrics need fewer rounds.
	Metrics []string
}

// DefaultOptions returns the options of `isukit compare`.
func DefaultOptions() Options { return Options{Alpha: 0.05, Same: 0.03, Resamples: 4000, Seed: 1} }

// Validate returns every fault of the options.
func (o Options) Validate() error {
	var faults []string
	if !(o.Alpha > 0 && o.Alpha < 0.5) {
		faults = append(faults, fmt.Sprintf("alpha is %g, want more than 0 and less than 0.5", o.Alpha))
	}
	if !(o.Same > 0 && o.Same < 1) {
		faults = append(faults, fmt.Sprintf("the margin for \"same\" is %g, want more than 0 and less than 1", o.Same))
	}
	if o.Resamples < 200 || o.Resamples > 1e6 {
		faults = append(faults, fmt.Sprintf("%d resamples, want 200 to 1,000,000", o.Resamples))
	}
	for _, name := range o.Metrics {
		if _, ok := metricNamed(name); !ok {
			faults = append(faults, fmt.Sprintf("no metric %q; there are %s", name, metricNames()))
		}
	}
	return joinFaults(faults)
}

// Order returns for each of n pairs whether B runs first: half of the pairs, in an order drawn from rnd.
func Order(n int, rnd *rand.Rand) []bool {
	order := make([]bool, n)
	for i := range n / 2 {
		order[i] = true
	}
	if n%2 == 1 && rnd.IntN(2) == 1 {
		order[n-1] = true
	}
	rnd.Shuffle(n, func(i, j int) { order[i], order[j] = order[j], order[i] })
	return order
}

// NextFirst returns whether B runs first in the next pair of a comparison whose length is open: a fair coin, which keeps the
// sequential test exact.
func NextFirst(rnd *rand.Rand) bool { return rnd.IntN(2) == 1 }
