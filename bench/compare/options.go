package compare

import (
	"errors"
	"fmt"
	"strings"
)

// Options are the confidence and the margin that a verdict needs.
type Options struct {
	// Alpha limits the probability, in (0, 0.5), of any "better" or "worse" in a comparison when A and B are alike.
	Alpha float64
	// Same is the relative difference below which two sides count as the same, as 0.03 for 3 %.
	Same float64
	// Resamples is how often the bootstrap draws; at least 200.
	Resamples int
	// Sequential asks for tests that stay right when one looks after every pair and stops when sure.
	Sequential bool
	// Metrics are the names of those that are compared, all when empty; NAME:higher and NAME:lower are figures that commands
	// printed (result.Round.Metrics), with what is better. Fewer metrics need fewer rounds.
	Metrics []string
}

// DefaultOptions returns the options of `isukit compare`.
func DefaultOptions() Options { return Options{Alpha: 0.05, Same: 0.03, Resamples: 4000} }

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
	if len(faults) == 0 {
		return nil
	}
	return errors.New(strings.Join(faults, "; "))
}
