package load

import (
	"fmt"
	"time"
)

// Shape decides how many users a closed-loop load runs.
type Shape interface {
	// Next says how many users should run from now on, when to ask again, and, if a rule held it back, which. Users are
	// only ever added.
	Next(s State) (users int, again time.Duration, held string)
}

// State is what a Shape decides by.
type State struct {
	Elapsed time.Duration
	// Users is how many have been started.
	Users int
	// Recent sums up the whole seconds since the shape was asked last; at the first question it is empty.
	Recent SecondSummary
}

// Users runs N users from the beginning to the end.
type Users struct{ N int }

// Next returns N.
func (u Users) Next(State) (int, time.Duration, string) { return u.N, time.Hour, "" }

// Grow adds users while answers are right and fast, as a contest's benchmarker does. A zero field means its default.
type Grow struct {
	// Start is the number of users at the beginning; default 10.
	Start int
	// Step is how many users are added at a time; default 10.
	Step int
	// Every is how often users are added; default and least 1 s.
	Every time.Duration
	// Max limits the users; default 10,000.
	Max int
	// MaxErrorRatio is the highest share of errors, in [0,1], at which users are added; default 0.01; negative means none.
	MaxErrorRatio float64
	// MaxP90 is the highest 90th percentile of the latency at which users are added; default 500 ms.
	MaxP90 time.Duration
}

func (g Grow) withDefaults() Grow {
	setDefault(&g.Start, 10)
	setDefault(&g.Step, 10)
	setDefault(&g.Every, time.Second)
	setDefault(&g.Max, 10_000)
	setDefault(&g.MaxErrorRatio, 0.01)
	setDefault(&g.MaxP90, 500*time.Millisecond)
	g.Every = max(g.Every, time.Second)
	return g
}

// Next adds Step users if the recent seconds had answers, few errors, and a low 90th percentile.
func (g Grow) Next(s State) (int, time.Duration, string) {
	g = g.withDefaults()
	if s.Users == 0 {
		return min(g.Start, g.Max), g.Every, ""
	}
	switch r := s.Recent; {
	case s.Users >= g.Max:
		return s.Users, g.Every, fmt.Sprintf("%d users are the most allowed", g.Max)
	case r.OK == 0:
		return s.Users, g.Every, "no right answers"
	case r.ErrorRatio() > max(g.MaxErrorRatio, 0):
		return s.Users, g.Every, fmt.Sprintf("%.2f %% errors, %.2f %% allowed", 100*r.ErrorRatio(), 100*max(g.MaxErrorRatio, 0))
	case r.Latency.P90 > g.MaxP90:
		return s.Users, g.Every, fmt.Sprintf("p90 %v, %v allowed", r.Latency.P90.Round(time.Millisecond), g.MaxP90)
	}
	return min(s.Users+g.Step, g.Max), g.Every, ""
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
