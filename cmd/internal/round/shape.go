package round

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"isukit/bench/load"
)

const maxUsers = 100_000

// ShapeHelp is what --shape takes.
const ShapeHelp = "grow, users=N, ramp=FROM-TO/TIME, steps=N/TIME,N/TIME,... , rate=VISITS_PER_SECOND or capacity"

const maxRate = 1_000_000

// loadShape is one of users, for a closed loop, and rate, for an open one.
type loadShape struct {
	users load.Shape
	rate  load.Rate
	// maxUsers is the highest number of users that is asked for; 0 when the load finds it out.
	maxUsers int
	// capacity asks for a search for the highest rate.
	capacity bool
}

// parseShape reads how many users a load has over time, or how many visits. Users only ever come, so numbers may not fall.
func parseShape(text string) (loadShape, error) {
	var s loadShape
	var err error
	kind, value, _ := strings.Cut(text, "=")
	switch {
	case text == "grow":
		s.users = &load.Grow{}
	case kind == "users":
		s.maxUsers, err = parseUsers(value)
		s.users = load.Users{N: s.maxUsers}
	case kind == "ramp":
		var ramp load.UserRamp
		ramp, err = parseRamp(value)
		s.users, s.maxUsers = ramp, ramp.To
	case kind == "steps":
		var steps load.UserSteps
		if steps, err = parseSteps(value); err == nil {
			s.users, s.maxUsers = steps, steps[len(steps)-1].Users
		}
	case kind == "rate":
		s.rate, err = parseRate(value)
	case kind == "capacity":
		if s.capacity = text == kind; !s.capacity {
			err = errors.New("capacity takes no value; see --objective-p99 and --objective-errors")
		}
	default:
		err = errors.New("it must be one of " + ShapeHelp)
	}
	if err != nil {
		return loadShape{}, fmt.Errorf("%q: %w", text, err)
	}
	return s, nil
}

func parseRate(text string) (load.Rate, error) {
	rate, err := strconv.ParseFloat(text, 64)
	if err != nil || !(rate > 0 && rate <= maxRate) {
		return load.Rate{}, fmt.Errorf("%q must be a rate greater than 0 and up to %d visits/s", text, maxRate)
	}
	return load.Rate{PerSec: rate}, nil
}

func parseArrivals(text string) (load.Arrivals, error) {
	switch text {
	case "even":
		return load.Even, nil
	case "poisson":
		return load.Poisson, nil
	}
	return load.Even, fmt.Errorf("%q must be even or poisson", text)
}

func parseUsers(text string) (int, error) {
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > maxUsers {
		return 0, fmt.Errorf("%q must be a number of users from 1 to %d", text, maxUsers)
	}
	return n, nil
}

func parseTime(text string) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	if err != nil || d < time.Second {
		return 0, fmt.Errorf("%q must be a time of at least 1s, for example 20s", text)
	}
	return d, nil
}

func parseRamp(text string) (load.UserRamp, error) {
	span, over, _ := strings.Cut(text, "/")
	from, to, _ := strings.Cut(span, "-")
	var r load.UserRamp
	var errs [3]error
	r.From, errs[0] = parseUsers(from)
	r.To, errs[1] = parseUsers(to)
	r.Over, errs[2] = parseTime(over)
	if err := errors.Join(errs[:]...); err != nil {
		return r, err
	}
	if r.To < r.From {
		return r, fmt.Errorf("the number of users falls from %d to %d; it can only grow", r.From, r.To)
	}
	return r, nil
}

// parseSteps reads "50/10s,100/10s". The last step lasts until the load ends; its time may be omitted and is ignored.
func parseSteps(text string) (load.UserSteps, error) {
	parts := strings.Split(text, ",")
	var steps load.UserSteps
	for i, part := range parts {
		number, during, timed := strings.Cut(part, "/")
		users, err := parseUsers(number)
		if err != nil {
			return nil, err
		}
		step := load.UserStep{Users: users}
		if timed || i < len(parts)-1 {
			if step.For, err = parseTime(during); err != nil {
				return nil, err
			}
		}
		if i > 0 && users < steps[i-1].Users {
			return nil, fmt.Errorf("the number of users falls from %d to %d; it can only grow", steps[i-1].Users, users)
		}
		steps = append(steps, step)
	}
	return steps, nil
}
