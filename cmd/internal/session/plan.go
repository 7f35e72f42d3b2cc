package session

import (
	"errors"
	"fmt"
	"time"

	"isukit/bench/compare"
)

// Plan says how many rounds are run.
type Plan struct {
	Pairs     int // at most
	UntilSure bool
	Warmup    int           // rounds of each side that are dropped
	Budget    time.Duration // 0 for none
	Repeats   int           // of one noisy round, at most
}

// Validate returns every fault of the plan.
func (p Plan) Validate() error {
	var faults []error
	if p.Pairs < 0 || p.Pairs > compare.MaxPairs {
		faults = append(faults, fmt.Errorf("--rounds %d must be from 1 to %d", p.Pairs, compare.MaxPairs))
	}
	if p.Warmup < 0 || p.Warmup > maxWarmup {
		faults = append(faults, fmt.Errorf("--warmup %d must be from 0 to %d", p.Warmup, maxWarmup))
	}
	if p.Repeats < 0 || p.Repeats > maxRepeats {
		faults = append(faults, fmt.Errorf("--repeats %d must be from 0 to %d", p.Repeats, maxRepeats))
	}
	if p.Budget < 0 {
		faults = append(faults, fmt.Errorf("--budget %v is negative", p.Budget))
	}
	return errors.Join(faults...)
}

// WithDefaults fills in what depends on other options.
func (p Plan) WithDefaults() Plan {
	switch {
	case p.UntilSure && p.Pairs == 0:
		p.Pairs = compare.MaxPairs
	case p.Pairs == 0:
		p.Pairs = defaultPairs
	}
	if p.UntilSure && p.Budget == 0 {
		p.Budget = defaultBudget
	}
	return p
}

const (
	maxWarmup     = 10
	maxRepeats    = 10
	defaultPairs  = 10
	defaultBudget = 30 * time.Minute
)
