package bench

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"isukit/bench/load"
	"isukit/bench/result"
)

// Fill writes what the round gave into its record: verdict, score, phases, faults, hits and the generator's cost. Where the
// round ran, under what conditions and what its hosts used is left to the caller.
func (o *Outcome) Fill(r *result.Round) {
	r.StartedAt = o.StartedAt.UTC()
	r.Passed, r.Reason = o.Passed(), o.Reason
	r.Score, r.Phases, r.Faults = o.Score, o.Phases, o.Faults
	total := o.Summary.Total
	r.All = endpointOf(total, total.Hits)
	r.All.Name = "all"
	r.Endpoints = []result.Endpoint{}
	for _, e := range o.Summary.Endpoints {
		r.Endpoints = append(r.Endpoints, endpointOf(e, total.Hits))
	}
	for _, g := range o.Summary.Errors {
		r.Errors = append(r.Errors, result.ErrorGroup{
			Kind: g.Kind.String(), Endpoint: g.Endpoint, Text: g.Text, Count: g.Count, Example: g.Example,
		})
	}
	r.Timeline = []result.Second{}
	for _, s := range o.Summary.Seconds {
		// What was answered after the end belongs to no second of the load.
		if time.Duration(s.At)*time.Second < o.Summary.Duration {
			r.Timeline = append(r.Timeline, SecondOf(s))
		}
	}
	r.Generator = generatorOf(o.Usage, total.Hits)
	r.Generator.PeakUsers, r.Generator.KneeUsers, r.Generator.KneeBy = o.Report.PeakUsers, o.Report.Knee, o.Report.Held
	if c := o.Capacity; c != nil {
		r.CapacityRate, r.CapacityAtLeast = c.PerSec, c.AtLeast
		for _, t := range c.Trials {
			r.Trials = append(r.Trials, result.Trial{Rate: t.PerSec, Missed: t.Missed, Confirms: t.Confirms})
		}
	}
	r.Generator.Limits = append(slices.Clone(o.Usage.Limits), o.Sockets.Limits()...)
	r.Warnings = append(r.Warnings, r.Generator.Limits...)
	if o.Usage.Starved != "" {
		r.Warnings = append(r.Warnings, o.Usage.Starved)
	}
	if o.Rate != nil && o.Rate.Shortfall() != "" {
		r.Warnings = append(r.Warnings, o.Rate.Shortfall())
	}
}

func endpointOf(e load.EndpointSummary, all int64) result.Endpoint {
	out := result.Endpoint{
		Name: e.Name, Hits: e.Hits, OK: e.OK, Refused: e.Refused, Errors: e.Errors, ReceivedBytes: e.ReceivedBytes,
		Latency: latencyOf(e.Latency), FromSent: latencyOf(e.FromSent),
	}
	if all > 0 {
		out.Share = float64(e.Hits) / float64(all)
	}
	return out
}

func latencyOf(l load.Latency) result.Latency {
	return result.Latency{P50Ms: ms(l.P50), P90Ms: ms(l.P90), P99Ms: ms(l.P99), P999Ms: ms(l.P999), MaxMs: ms(l.Max)}
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// SecondOf returns one second of the load as it stands in the record, without what hosts used in it.
func SecondOf(s load.SecondSummary) result.Second {
	return result.Second{
		At: s.At, Users: s.Users, Hits: s.Hits, Errors: s.Errors, P50Ms: ms(s.Latency.P50), P99Ms: ms(s.Latency.P99),
	}
}

func generatorOf(u load.Usage, hits int64) result.Generator {
	g := result.Generator{CPUSeconds: u.CPU.Seconds(), PeakRSSBytes: u.PeakRSSBytes, TimerDelayP99Ms: ms(u.TimerDelay.P99)}
	if hits > 0 {
		g.CPUSecondsPer1000Hits = g.CPUSeconds * 1000 / float64(hits)
	}
	return g
}

// PointTable is the points of a round's hits. Endpoints that it does not list give none, and cost PerError.
type PointTable struct {
	PerHit []EndpointPoints
	// PerError is added for every error of the load phase except timeouts, PerTimeout for every timeout; both negative.
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
		"Other requests give nothing. A failed round scores 0, regardless of its points.")
}

// load is the load phase: one load, or as many as the search for the capacity takes.
func (r *round) load(ctx context.Context) ([]string, error) {
	if r.Capacity == nil {
		if err := r.loadOnce(ctx, r.Rate); err != nil {
			return nil, err
		}
		if r.out.Summary.Total.OK == 0 {
			return []string{"not one right answer"}, nil
		}
		return nil, nil
	}
	report, err := r.Capacity.Search(ctx, func(ctx context.Context, perSec float64) (string, error) {
		if err := r.loadOnce(ctx, load.Rate{PerSec: perSec}); err != nil {
			return "", err
		}
		missed := r.Objective.Judge(r.out.Summary, *r.out.Rate)
		if r.OnTrial != nil {
			r.OnTrial(load.Trial{PerSec: perSec, Missed: missed})
		}
		return missed, nil
	})
	r.out.Capacity = &report
	if errors.Is(err, load.ErrNoCapacity) {
		return []string{fmt.Sprintf("%v: %s", err, report.Trials[len(report.Trials)-1].Missed)}, nil
	}
	return nil, err
}

func (r *round) loadOnce(ctx context.Context, rate load.Rate) error {
	done := func() {}
	if r.AroundLoad != nil {
		done = r.AroundLoad(ctx)
	}
	limited, cancel := context.WithTimeout(ctx, r.Duration)
	defer cancel()
	watch := load.StartWatch()
	err := r.run(limited, rate)
	r.out.Usage, r.out.Sockets = watch.Stop(), r.Engine.Sockets()
	done()
	if err != nil {
		return err
	}
	r.out.Loaded = true
	r.out.Summary = r.Engine.Recorder().Summary(r.out.Report.Start.Add(r.Duration))
	return ctx.Err()
}

// run runs the users, or, with a rate, an open loop.
func (r *round) run(ctx context.Context, rate load.Rate) error {
	if rate.PerSec == 0 {
		r.out.Report = load.Run(ctx, r.Shape, r.Scenario.User, r.Engine.Recorder(), r.OnTick)
		return nil
	}
	open, ok := r.Scenario.(OpenScenario)
	if !ok {
		return fmt.Errorf("the users of %s have no open loop", r.Scenario.Name())
	}
	var staff sync.WaitGroup
	newVisitor := func(n int) load.Visitor {
		if n == 0 { // the recorder has started by now
			for _, user := range open.Staff() {
				staff.Go(func() { user(ctx) })
			}
		}
		return open.NewVisitor(n)
	}
	report := load.RunRate(ctx, rate, newVisitor, r.Engine.Recorder(), load.RateOptions{
		Arrivals: r.Arrivals, Seed: r.Seed, OnTick: r.OnTick,
	})
	staff.Wait()
	r.out.Rate = &report
	r.out.Report = load.Report{Start: report.Start, End: report.End, Started: report.PeakUsers, PeakUsers: report.PeakUsers}
	return nil
}
