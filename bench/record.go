package bench

import (
	"slices"
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
