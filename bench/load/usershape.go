package load

import "time"

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
