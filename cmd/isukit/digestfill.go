package main

import (
	"time"

	"isukit/bench/result"
	"isukit/infra/digest"
	"isukit/infra/digest/access"
)

// maxRoutes and maxQueries are how many of each a record keeps.
const (
	maxRoutes  = 500
	maxQueries = 200
)

func spreadOf(t *digest.Times) result.Spread {
	ms := func(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
	return result.Spread{
		Count: t.Count, SumSeconds: t.Sum.Seconds(), P50Ms: ms(t.Quantile(0.5)), P90Ms: ms(t.Quantile(0.9)),
		P95Ms: ms(t.Quantile(0.95)), P99Ms: ms(t.Quantile(0.99)), MaxMs: ms(t.Max),
	}
}

func accessDigestOf(d *access.Digest) result.AccessDigest {
	out := result.AccessDigest{
		Lines: d.Lines, Unreadable: d.Unreadable, Outside: d.Outside, Untimed: d.Untimed, Formats: d.Formats, Total: routeOf(&d.All),
		Routes: []result.Route{}, Left: max(0, len(d.Routes)-maxRoutes),
	}
	for _, e := range d.Examples {
		out.Examples = append(out.Examples, result.UnreadableLine(e))
	}
	for _, r := range d.Routes[:min(len(d.Routes), maxRoutes)] {
		out.Routes = append(out.Routes, routeOf(r))
	}
	return out
}

func routeOf(r *access.Route) result.Route {
	out := result.Route{
		Method: r.Method, Path: r.Path, Hits: r.Count, Status: map[string]int64{}, Closed: r.Closed, Request: spreadOf(&r.Took),
		Upstream: spreadOf(&r.Upstream), Retried: r.Retried, SentBytes: r.SentBytes, MaxBytes: r.MaxBytes, Cache: r.Cache,
	}
	for class, name := range []string{"other", "1xx", "2xx", "3xx", "4xx", "5xx"} {
		if r.Status[class] > 0 {
			out.Status[name] = r.Status[class]
		}
	}
	return out
}
