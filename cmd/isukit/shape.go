package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"isukit/bench/load"
)

// maxUsers bounds the virtual users that can be asked for.
const maxUsers = 100_000

// shapeHelp is what --shape takes.
const shapeHelp = "grow, users=N, ramp=FROM-TO/TIME or steps=N/TIME,N/TIME,..."

// parseShape reads how many users a load has over time, and returns the highest number that is asked for; 0 when the load
// finds it out. Users only ever come, so numbers may not fall.
func parseShape(text string) (shape load.Shape, users int, err error) {
	kind, value, _ := strings.Cut(text, "=")
	switch {
	case text == "grow":
		return load.Grow{}, 0, nil
	case kind == "users":
		users, err = parseUsers(value)
		shape = load.Users{N: users}
	case kind == "ramp":
		var ramp load.UserRamp
		ramp, err = parseRamp(value)
		shape, users = ramp, ramp.To
	case kind == "steps":
		var steps load.UserSteps
		if steps, err = parseSteps(value); err == nil {
			shape, users = steps, steps[len(steps)-1].Users
		}
	case kind == "rate" || kind == "capacity":
		err = errors.New("the portal's users have no open loop yet")
	default:
		err = errors.New("it is none of " + shapeHelp)
	}
	if err != nil {
		return nil, 0, fmt.Errorf("%q: %w", text, err)
	}
	return shape, users, nil
}

func parseUsers(text string) (int, error) {
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > maxUsers {
		return 0, fmt.Errorf("%q is no number of users from 1 to %d", text, maxUsers)
	}
	return n, nil
}

func parseTime(text string) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	if err != nil || d < time.Second {
		return 0, fmt.Errorf("%q is no time of a second or more, such as 20s", text)
	}
	return d, nil
}

// parseRamp reads "10-200/20s".
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
		return r, fmt.Errorf("it falls from %d to %d users; users only ever come", r.From, r.To)
	}
	return r, nil
}

// parseSteps reads "50/10s,100/10s"; the last step lasts until the end of the load, whatever its time, which may be left out.
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
			return nil, fmt.Errorf("it falls from %d to %d users; users only ever come", steps[i-1].Users, users)
		}
		steps = append(steps, step)
	}
	return steps, nil
}
