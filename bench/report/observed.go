package report

import (
	"fmt"

	"isukit/bench/result"
)

// subtitle names the kind of load.
func subtitle(r *result.Round) string {
	if !r.Observed() {
		return fmt.Sprintf("%s on topology %s, seed %d, %s", r.Scenario, r.Topology, r.Seed, moment(r.StartedAt))
	}
	how := "its own benchmark"
	switch {
	case r.Benchmark.Command == "":
		how = "a benchmark started elsewhere"
	case r.Benchmark.Exit != 0:
		how += fmt.Sprintf(" (exit status %d)", r.Benchmark.Exit)
	}
	return fmt.Sprintf("%s with %s for %s, %s", clean(r.Topology), how, seconds(r.LoadSeconds), moment(r.StartedAt))
}

// The most that a report in text shows of each.
const (
	textRoutes   = 15
	textQueries  = 10
	textMessages = 10
)

// messages writes what the benchmark had to say.
func (p *sheet) messages(r *result.Round) {
	if len(r.Benchmark.Messages) == 0 {
		return
	}
	p.head("The benchmark says", "")
	for _, m := range r.Benchmark.Messages[:min(len(r.Benchmark.Messages), textMessages)] {
		p.para("  - ", "", m)
	}
	if n := len(r.Benchmark.Messages) - textMessages; n > 0 {
		p.line("  ", p.paint(dim, plural(int64(n), "more message")))
	}
}

// digests writes what logs and databases show. If the load generator has endpoints, the routes of the log are on the page only.
func (p *sheet) digests(r *result.Round) {
	if r.Access.Lines > 0 && r.Observed() {
		p.access(&r.Access, textRoutes)
	}
	if len(r.Queries.Queries) > 0 {
		p.queries(&r.Queries, textQueries)
	}
}
