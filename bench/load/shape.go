package load

import (
	"fmt"
	"math"
	"math/rand/v2"
	"time"
)

// Shape decides how many users a closed-loop load runs.
type Shape interface {
	// Next is how many users should run from now on, when to call it again, and the rule that held it back, if any.
	Next(s State) (users int, again time.Duration, held string)
}

// leaving is a Shape that may remove users. They are away then, see Stay.
type leaving interface{ leaves() }

// State is what a Shape decides by.
type State struct {
	Elapsed time.Duration
	// Users is how many the shape asked for last, Away how many of them have left for a while, as they waited too long.
	Users, Away int
	// Recent are the hits of the whole seconds since the shape was asked last; at the first question there are none.
	Recent Counts
	// Kinds are the hits by when they were due, of the two last whole seconds, and those under way.
	Kinds []KindState
}

// Users runs N users from the beginning to the end.
type Users struct{ N int }

// Next returns N.
func (u Users) Next(State) (int, time.Duration, string) { return u.N, time.Hour, "" }

// Grow adds users while each kind of request alone is answered correctly and fast, and stops at the knee, as a contest's benchmarker does:
// when one kind is slow it returns to fewer users, and then stays where as many hits are slow as are allowed. Hits count for the time at
// which they were due, those in progress with their age, so that waiting users do not make a server look fast. A zero field means its
// default. A Grow is for one load.
type Grow struct {
	// Start is the number of users at the beginning; default 10.
	Start int
	// Max limits the users; default 10,000.
	Max int

	users  float64
	knee   float64 // users when the last of them were removed; 0 before
	streak int     // questions in a row at which a kind was slow
	wait   bool    // for what the last change brings
}

func (*Grow) leaves() {}

// How growth goes: a quarter more users at a time as long as next to nothing is slow, none while a kind is slow, fewer when it stays slow. From
// then on each step is in proportion to how far the share of slow hits is from the highest that is allowed, so that on average it is that,
// however it comes and goes: up to a twentieth more and a tenth less. Far from that knee an eighth more at a time, since a pause of the
// machine looks like one.
const (
	growFast, growBack   = 0.25, 0.125
	growGain, growCap    = 0.5, 3 // of maxSlow
	staysSlow            = 3      // questions: a pause of the app or of the machine shows in two
	belowKnee, aboveKnee = 0.8, 1.2
)

// The highest shares of slow hits of a kind and of errors at which users are added, and how often they are.
const (
	maxSlow, maxErrors = 0.1, 0.01
	growEvery          = time.Second
)

// Next returns more users, or fewer where a kind of request stays slow.
func (g *Grow) Next(s State) (int, time.Duration, string) {
	setDefault(&g.Start, 10)
	setDefault(&g.Max, 10_000)
	if s.Users == 0 {
		g.users = float64(min(g.Start, g.Max))
		return int(g.users), growEvery, ""
	}
	if int(g.users) != s.Users {
		g.users = float64(s.Users)
	}
	held, share, stop := g.holds(s)
	if g.streak++; share <= maxSlow {
		g.streak = 0
	}
	step := growGain * (maxSlow - min(share, growCap*maxSlow))
	far := g.users < belowKnee*g.knee || g.users > aboveKnee*g.knee
	switch {
	case share > maxSlow && g.knee == 0 && g.streak < staysSlow || g.wait || stop:
		step = 0
	case share > maxSlow:
		g.knee = g.users
	case share < maxSlow/2 && g.knee == 0:
		step = growFast
	case share < maxSlow/2 && far:
		step = growBack
	}
	g.wait = step < 0
	g.users = max(1, min(g.users*(1+step), float64(g.Max)))
	return int(g.users), growEvery, held
}

// holds returns the rule that limits the users, the share of slow hits of the slowest kind, and whether another rule allows no more.
func (g *Grow) holds(s State) (held string, share float64, stop bool) {
	r := s.Recent
	k := worst(s.Kinds)
	switch share = float64(k.Slow) / math.Max(1, float64(k.Due)); {
	case share > maxSlow/2:
		return fmt.Sprintf("%s: %d of %d hits took longer than %v", k.Name, k.Slow, k.Due, k.Limit), share, false
	case float64(s.Away) > maxSlow*float64(s.Users):
		held = fmt.Sprintf("%d of %d users left, as they waited too long", s.Away, s.Users)
	case r.OK == 0:
		held = "no right answers"
	case r.ErrorRatio() > maxErrors:
		held = fmt.Sprintf("%.2f %% errors, %.2f %% allowed", 100*r.ErrorRatio(), 100*maxErrors)
	case s.Users >= g.Max:
		held = fmt.Sprintf("%d users are the most allowed", g.Max)
	}
	return held, share, held != ""
}

// UserRamp adds users evenly, From one number To another, and then keeps them.
type UserRamp struct {
	From, To int
	Over     time.Duration
}

// Next returns how many users the ramp has at that time.
func (r UserRamp) Next(s State) (int, time.Duration, string) {
	if s.Elapsed >= r.Over {
		return r.To, time.Hour, ""
	}
	share := float64(s.Elapsed) / float64(r.Over)
	return r.From + int(share*float64(r.To-r.From)), time.Second, ""
}

// UserStep is one number of users of UserSteps.
type UserStep struct {
	Users int
	For   time.Duration
}

// UserSteps goes from one number of users to the next, higher one, and ends with the last. Users are added at whole seconds.
type UserSteps []UserStep

// Next returns the users of the step that the load is in.
func (u UserSteps) Next(s State) (int, time.Duration, string) {
	end := time.Duration(0)
	for i, step := range u {
		// A little early, as the load asks at whole seconds, give or take a hair.
		if end += step.For; s.Elapsed < end-50*time.Millisecond || i == len(u)-1 {
			return step.Users, time.Second, ""
		}
	}
	return s.Users, time.Hour, ""
}

// Rate is the rate of an open-loop load, in hits a second: hits are due regardless of earlier ones.
type Rate struct{ PerSec float64 }

// Due returns when the n-th hit is due, from the start; n need not be whole. ok is false for never.
func (r Rate) Due(n float64) (at time.Duration, ok bool) {
	s := n / r.PerSec
	if !(s < math.MaxInt64/float64(time.Second)) {
		return 0, false
	}
	return seconds(s), true
}

// Arrivals is how hits are spread within a rate.
type Arrivals uint8

// The ways to spread hits.
const (
	Even    Arrivals = iota // equal distances
	Poisson                 // independent of one another, as those of many strangers are
)

// schedule yields the times at which a rate's hits are due, from a seed: pure.
type schedule struct {
	rate     Rate
	arrivals Arrivals
	rng      *rand.Rand
	n        float64
}

func newSchedule(r Rate, a Arrivals, seed uint64) *schedule {
	return &schedule{rate: r, arrivals: a, rng: rand.New(rand.NewPCG(seed, 0x6c6f6164))}
}

// next returns when the next hit is due.
func (s *schedule) next() (time.Duration, bool) {
	if s.arrivals == Poisson {
		s.n += s.rng.ExpFloat64()
		return s.rate.Due(s.n)
	}
	at, ok := s.rate.Due(s.n)
	s.n++
	return at, ok
}
