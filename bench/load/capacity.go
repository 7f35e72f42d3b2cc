package load

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"
)

// Objective is what a load must keep to count as served. A zero field is not checked.
type Objective struct {
	// P99 limits the 99th percentile of the latency from intended.
	P99 time.Duration
	// MaxErrorRatio limits errors over hits, in [0,1]; unlike the others, 0 allows none.
	MaxErrorRatio float64
}

// Judge says why a load missed the objective, or "" if it kept it. A rate that was not kept misses any.
func (o Objective) Judge(s Summary, r RateReport) string {
	switch {
	case s.Total.OK == 0:
		return "no right answers"
	case r.Shortfall() != "":
		return r.Shortfall()
	case s.Total.ErrorRatio() > o.MaxErrorRatio:
		return fmt.Sprintf("%.3f %% errors, %.3f %% allowed", 100*s.Total.ErrorRatio(), 100*o.MaxErrorRatio)
	case o.P99 > 0 && s.Total.Latency.P99 > o.P99:
		return fmt.Sprintf("p99 %v, %v allowed", s.Total.Latency.P99.Round(100*time.Microsecond), o.P99)
	}
	return ""
}

// Capacity searches for the highest rate that keeps an objective. A zero field means its default.
type Capacity struct {
	// FromPerSec is the rate of the first trial; default 10 hits a second.
	FromPerSec float64
	// MaxPerSec ends the search; default 1,000,000.
	MaxPerSec float64
	// Resolution is how near to each other the last rate kept and the first one missed are, as a ratio less 1; default 0.05.
	Resolution float64
	// Confirm is how many further trials the found rate must keep, all of them; default 2, negative means none.
	Confirm int
}

// Trial is one load of a search.
type Trial struct {
	PerSec float64
	// Missed says why the objective was missed; "" if it was kept.
	Missed string
	// Confirms is true for a trial that repeats a rate which was kept before.
	Confirms bool
}

// CapacityReport is what a search found.
type CapacityReport struct {
	// PerSec is the highest rate that was kept and confirmed; 0 if none was.
	PerSec float64
	// AtLeast is true when MaxPerSec was kept: the capacity is that or more.
	AtLeast bool
	Trials  []Trial
}

// ErrNoCapacity says that not even the lowest rate kept the objective.
var ErrNoCapacity = errors.New("the objective was missed at the lowest rate")

// Search doubles the rate until the objective is missed, halves the gap on a logarithmic scale, and confirms the result; a rate that fails
// its confirmation is lowered by the resolution and confirmed again. try runs one load at a rate and returns why it missed the objective,
// or "".
func (c Capacity) Search(ctx context.Context, try func(ctx context.Context, perSec float64) (missed string, err error)) (CapacityReport, error) {
	setDefault(&c.FromPerSec, 10)
	setDefault(&c.MaxPerSec, 1e6)
	setDefault(&c.Resolution, 0.05)
	setDefault(&c.Confirm, 2)
	var rep CapacityReport
	trial := func(perSec float64, confirms bool) (bool, error) {
		if err := ctx.Err(); err != nil {
			return false, err
		}
		missed, err := try(ctx, perSec)
		if err != nil {
			return false, fmt.Errorf("trial at %.1f hits/s: %w", perSec, err)
		}
		rep.Trials = append(rep.Trials, Trial{perSec, missed, confirms})
		return missed == "", nil
	}
	kept, missed, err := c.bracket(trial)
	if err != nil {
		return rep, err
	}
	for kept > 0 && missed/kept > 1+c.Resolution {
		mid := math.Sqrt(kept * missed)
		ok, err := trial(mid, false)
		if err != nil {
			return rep, err
		}
		if ok {
			kept = mid
		} else {
			missed = mid
		}
	}
	if kept > 0 {
		if kept, err = c.confirm(kept, trial); err != nil {
			return rep, err
		}
	}
	if kept == 0 {
		return rep, ErrNoCapacity
	}
	rep.PerSec, rep.AtLeast = kept, kept == c.MaxPerSec
	return rep, nil
}

// bracket returns a rate that was kept, 0 if none was, and a higher one that was missed, or the same if that is the highest.
func (c Capacity) bracket(trial func(float64, bool) (bool, error)) (kept, missed float64, err error) {
	for rate := min(c.FromPerSec, c.MaxPerSec); ; rate = min(2*rate, c.MaxPerSec) {
		ok, err := trial(rate, false)
		if err != nil || !ok {
			return kept, rate, err
		}
		if kept = rate; kept == c.MaxPerSec {
			return kept, kept, nil
		}
	}
}

// confirm returns the highest rate at or below kept that is kept Confirm times more, 0 if there is none above FromPerSec.
func (c Capacity) confirm(kept float64, trial func(float64, bool) (bool, error)) (float64, error) {
	for n := 0; n < c.Confirm; {
		ok, err := trial(kept, true)
		if err != nil {
			return 0, err
		}
		if n++; ok {
			continue
		}
		n = 0
		if kept /= 1 + c.Resolution; kept < c.FromPerSec {
			return 0, nil
		}
	}
	return kept, nil
}
