package round

import (
	"strings"
	"time"

	"isukit/bench/result"
	"isukit/infra/digest"
	"isukit/infra/digest/access"
	"isukit/infra/digest/query"
	"isukit/infra/redact"
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

func AccessDigest(d *access.Digest) result.AccessDigest {
	out := result.AccessDigest{
		Lines: d.Lines, Unreadable: d.Unreadable, Outside: d.Outside, Untimed: d.Untimed, Zoneless: d.Zoneless, Untold: d.Untold, Formats: d.Formats, Total: routeOf(&d.All),
		Routes: []result.Route{}, Left: max(0, len(d.Routes)-maxRoutes),
	}
	for _, e := range d.Examples {
		e.Text = redact.Text(e.Text)
		out.Examples = append(out.Examples, result.UnreadableLine(e))
	}
	for _, r := range d.Routes[:min(len(d.Routes), maxRoutes)] {
		out.Routes = append(out.Routes, routeOf(r))
	}
	return out
}

func routeOf(r *access.Route) result.Route {
	out := result.Route{
		Method: r.Method, Path: redact.Text(cutText(r.Path, 500)), Hits: r.Count, Status: map[string]int64{}, Closed: r.Closed, Request: spreadOf(&r.Took),
		Upstream: spreadOf(&r.Upstream), Retried: r.Retried, SentBytes: r.SentBytes, MaxBytes: r.MaxBytes, Cache: r.Cache,
	}
	for class, name := range []string{"other", "1xx", "2xx", "3xx", "4xx", "5xx"} {
		if r.Status[class] > 0 {
			out.Status[name] = r.Status[class]
		}
	}
	return out
}

func QueryDigest(d *query.Digest, source string) result.QueryDigest {
	out := result.QueryDigest{
		Statements: d.Statements, Unreadable: d.Unreadable, Outside: d.Outside, Sampled: d.Sampled, Queries: []result.Query{},
		Left: max(0, len(d.Queries)-maxQueries),
	}
	if source != "" {
		out.Sources = []string{source}
	}
	for _, e := range d.Examples {
		e.Text = redact.Statement(e.Text)
		out.Examples = append(out.Examples, result.UnreadableLine(e))
	}
	for _, q := range d.Queries[:min(len(d.Queries), maxQueries)] {
		out.Queries = append(out.Queries, result.Query{
			ID: query.IDOf(q.Fingerprint), Fingerprint: cutText(q.Fingerprint, query.MaxExampleBytes), Database: q.Database, Time: spreadOf(&q.Time),
			LockSeconds: q.Lock.Seconds(), RowsSent: q.RowsSent, RowsExamined: q.RowsExamined, RowsAffected: q.RowsAffected,
			Example: redact.Statement(q.Example), Routes: q.Routes,
		})
	}
	return out
}

// cutText cuts text to so many bytes, not inside a character.
func cutText(text string, most int) string {
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "…"
}
