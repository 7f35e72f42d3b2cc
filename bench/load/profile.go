package load

import (
	"math"
	"math/rand/v2"
	"time"
)

// Profile is the rate of an open-loop load over time: hits are due whatever came of those before.
type Profile interface {
	// Due returns when the n-th hit is due, counted from the start, for an n that need not be whole. It never falls as n
	// grows. ok is false when that many hits are never due.
	Due(n float64) (at time.Duration, ok bool)
}

// Rate is a constant rate, in hits a second.
type Rate struct{ PerSec float64 }

// Due returns n over the rate.
func (r Rate) Due(n float64) (time.Duration, bool) {
	return due(n / r.PerSec)
}

// Ramp goes evenly from one rate to another, in hits a second, and then stays there.
type Ramp struct {
	FromPerSec, ToPerSec float64
	Over                 time.Duration
}

// Due solves n = from*t + (to-from)*t*t/(2*over) for t.
func (r Ramp) Due(n float64) (time.Duration, bool) {
	over := r.Over.Seconds()
	if whole := (r.FromPerSec + r.ToPerSec) / 2 * over; n >= whole {
		return due(over + (n-whole)/r.ToPerSec)
	}
	slope := (r.ToPerSec - r.FromPerSec) / over
	if slope == 0 {
		return due(n / r.FromPerSec)
	}
	// This form of the solution loses no digits when the slope is small.
	return due(2 * n / (r.FromPerSec + math.Sqrt(r.FromPerSec*r.FromPerSec+2*slope*n)))
}

// Steps goes through rates one after another, and ends with the last.
type Steps []Step

// Step is one rate of Steps, in hits a second; 0 is a pause.
type Step struct {
	PerSec float64
	For    time.Duration
}

// Due finds the step in which the n-th hit is due.
func (s Steps) Due(n float64) (time.Duration, bool) {
	var begin time.Duration
	for _, step := range s {
		hits := step.PerSec * step.For.Seconds()
		if n < hits {
			return begin + seconds(n/step.PerSec), true
		}
		n -= hits
		begin += step.For
	}
	return 0, false
}

// due turns seconds into a time, unless they are more than a duration can hold.
func due(s float64) (time.Duration, bool) {
	if !(s < math.MaxInt64/float64(time.Second)) {
		return 0, false
	}
	return seconds(s), true
}

// Arrivals says how hits are spread within a profile's rate.
type Arrivals uint8

// The ways to spread hits.
const (
	Even    Arrivals = iota // equal distances
	Poisson                 // independent of one another, as those of many strangers are
)

// schedule yields the times at which a profile's hits are due, from a seed: pure.
type schedule struct {
	profile  Profile
	arrivals Arrivals
	rng      *rand.Rand
	n        float64
}

func newSchedule(p Profile, a Arrivals, seed uint64) *schedule {
	return &schedule{profile: p, arrivals: a, rng: rand.New(rand.NewPCG(seed, 0x6c6f6164))}
}

// next returns when the next hit is due.
func (s *schedule) next() (time.Duration, bool) {
	if s.arrivals == Poisson {
		s.n += s.rng.ExpFloat64()
		return s.profile.Due(s.n)
	}
	at, ok := s.profile.Due(s.n)
	s.n++
	return at, ok
}
