package bench

import (
	"fmt"

	"isukit/bench/result"
)

// PointTable says what a round's hits are worth. Endpoints that it does not list give nothing and take PerError.
type PointTable struct {
	PerHit []EndpointPoints
	// PerError is added for every error of the load phase that is no timeout, PerTimeout for every timeout; both negative.
	PerError, PerTimeout int64
}

// EndpointPoints is the worth of one right answer of an endpoint.
type EndpointPoints struct {
	Endpoint string
	Points   int64
	// Why says in a few words what the user got.
	Why string
}

// Tally counts the judged hits of the load phase.
type Tally struct {
	// OK counts right answers by endpoint.
	OK map[string]int64
	// Errors counts everything else but timeouts, refusals and hits cut off by the end of the load.
	Errors, Timeouts int64
}

// Score adds up a tally. It returns one line for each kind of hit that occurred; the total is never below zero.
func (p PointTable) Score(t Tally) result.Score {
	var s result.Score
	add := func(label string, count, each int64) {
		if count > 0 {
			s.Lines = append(s.Lines, result.ScoreLine{Label: label, Count: count, Each: each, Points: count * each})
			s.Total += count * each
		}
	}
	for _, e := range p.PerHit {
		add(e.Endpoint, t.OK[e.Endpoint], e.Points)
	}
	add("errors", t.Errors, p.PerError)
	add("timeouts", t.Timeouts, p.PerTimeout)
	s.Total = max(s.Total, 0)
	return s
}

// Explain returns the table as lines of text for a person.
func (p PointTable) Explain() []string {
	lines := make([]string, 0, len(p.PerHit)+3)
	for _, e := range p.PerHit {
		lines = append(lines, fmt.Sprintf("%+5d  %-45s %s", e.Points, e.Endpoint, e.Why))
	}
	return append(lines,
		fmt.Sprintf("%+5d  %-45s %s", p.PerError, "any error", "wrong or stale answer, bad status, broken connection"),
		fmt.Sprintf("%+5d  %-45s %s", p.PerTimeout, "any timeout", "no answer in time"),
		"Other requests give nothing. A failed round scores 0 whatever its hits gave.")
}
