package round

import (
	"context"
	"slices"
	"strings"
	"time"

	"isukit/bench/load"
	"isukit/bench/result"
	"isukit/infra/digest"
	"isukit/infra/digest/access"
	"isukit/infra/digest/query"
	"isukit/infra/observe"
	"isukit/infra/project"
	"isukit/infra/redact"
	"isukit/input"
)

// fetched are the files of marked logs of one kind.
func (r *gathering) fetched(ctx context.Context, logs []project.Log, dir string, each func(m observe.Mark, file string) error) {
	for _, m := range r.marks {
		if !slices.Contains(logs, m.Log) {
			continue
		}
		file, warnings, err := m.Fetch(ctx, r.named[m.Log.Host], dir)
		for _, w := range warnings {
			r.warn("%s", w)
		}
		if err == nil {
			err = each(m, file)
		}
		if err != nil {
			r.warn("log %s of %s is only partly summarized: %v", m.Log.File, m.Log.Host, err)
		}
	}
}

// window is the load's time by a host's clock, widened to whole seconds unless exact: many logs have no finer times.
func (r *gathering) window(hostName string, exact bool) (from, to time.Time) {
	ahead := r.ahead[hostName]
	from, to = r.began.Add(ahead), r.ended.Add(ahead)
	if exact {
		return from, to
	}
	return from.Truncate(time.Second), to.Truncate(time.Second).Add(time.Second)
}

// awaitWindow waits until the load's last second is over on every host, so that nothing isukit asks lies within it.
func (r *gathering) awaitWindow(ctx context.Context) {
	if r.ended.IsZero() {
		return
	}
	for name := range r.named {
		_, to := r.window(name, false)
		_ = load.Sleep(ctx, min(time.Until(to.Add(-r.ahead[name])), 2*time.Second))
	}
}

// collectAccess digests all access logs together, each for the window by its own host's clock.
func (r *gathering) collectAccess(ctx context.Context, dir string) {
	if r.began.IsZero() {
		return
	}
	from, to := r.window(r.logs.Access[0].Host, r.own)
	opts := access.Options{From: from, To: to, Seconds: true, Patterns: r.patterns()}
	digester, err := access.New(opts)
	if err != nil {
		r.warn("access cannot summarize the logs: %v", err)
		return
	}
	formats := r.logFormats()
	r.fetched(ctx, r.logs.Access, dir, func(m observe.Mark, file string) error {
		if f, ok := formats[m.Log.Format]; ok {
			m.Log.Format = f
		}
		digester.Window(r.window(m.Log.Host, r.own))
		digester.Zone(m.Zone)
		return readAccess(ctx, digester, m.Log, file)
	})
	d := digester.Digest()
	for i := range d.Examples {
		d.Examples[i].File = strings.TrimPrefix(d.Examples[i].File, dir+"/")
	}
	r.Record.Access = AccessDigest(d)
	if r.own {
		return // what the load met is known from itself
	}
	switch {
	case d.Lines == 0:
		r.warn("the access logs contain no requests of this round")
	case d.All.Count == 0 && d.Outside > 0:
		r.warn("none of the %d lines of the access logs is in the round's window: check that the clocks match and that the lines contain a time", d.Lines)
	case d.Unreadable > 0:
		r.warn("%d of %d lines of the access logs could not be read", d.Unreadable, d.Lines)
	}
	if d.All.Count > 0 && d.All.Took.Count == 0 {
		r.warn("the access logs contain no request times: add $request_time to the log_format")
	}
	r.fillFromAccess(d)
}

func readAccess(ctx context.Context, digester *access.Digester, l project.Log, file string) error {
	f, err := input.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	return digester.ReadFormat(ctx, l.File+" of "+l.Host, l.Format, f)
}

func (r *gathering) patterns() []access.Pattern {
	var all []access.Pattern
	for _, text := range r.routes {
		p, err := access.ParsePattern(text)
		if err != nil {
			r.warn("%v", err)
			continue
		}
		all = append(all, p)
	}
	return all
}

func (r *gathering) logFormats() map[string]string {
	var all []observe.Setting
	for _, s := range r.settings {
		all = append(all, observe.Setting{Source: s.Source, Values: s.Values})
	}
	return observe.LogFormats(all)
}

// fillFromAccess takes the timeline and the whole load's figures from the access logs.
func (r *gathering) fillFromAccess(d *access.Digest) {
	seconds := int(r.ended.Sub(r.began).Seconds()) + 1
	for i := range min(seconds, len(d.Seconds)) {
		s := d.Seconds[i]
		spread := spreadOf(&s.Took)
		r.Record.Timeline = append(r.Record.Timeline, result.Second{At: i, Hits: s.Hits, Errors: s.Errors, P50Ms: spread.P50Ms, P99Ms: spread.P99Ms})
	}
	t := spreadOf(&d.All.Took)
	latency := result.Latency{P50Ms: t.P50Ms, P90Ms: t.P90Ms, P99Ms: t.P99Ms, MaxMs: t.MaxMs}
	errs := d.All.Status[5] + d.All.Closed
	r.Record.All = result.Endpoint{Name: "all", Hits: d.All.Count, OK: d.All.Count - errs, Errors: errs, Share: 1, ReceivedBytes: d.All.SentBytes, Latency: latency, FromSent: latency}
}

func (r *gathering) collectQueries(ctx context.Context, dir string) {
	if r.began.IsZero() {
		return
	}
	var sources []string
	digester := query.New(query.Options{})
	r.fetched(ctx, r.logs.Slow, dir, func(m observe.Mark, file string) error {
		f, err := input.Open(file)
		if err != nil {
			return err
		}
		defer f.Close()
		if name := "slow log of " + m.Log.Host; !slices.Contains(sources, name) {
			sources = append(sources, name)
		}
		digester.Window(r.window(m.Log.Host, false))
		return digester.Read(ctx, m.Log.File+" of "+m.Log.Host, f)
	})
	d := digester.Digest()
	for _, db := range r.databases {
		if before, ok := r.schemas[db.Name]; ok {
			more, err := schemaDigest(ctx, db, before)
			if err != nil {
				r.warn("%v", err)
				continue
			}
			sources = append(sources, r.ofDatabase("performance_schema of "+db.Host, db))
			d.Statements += more.Statements
			d.Queries = append(d.Queries, more.Queries...)
		}
	}
	if len(sources) == 0 {
		return
	}
	query.Sort(d.Queries)
	out := QueryDigest(d, "")
	out.Sources = sources
	if d.Statements == 0 {
		r.warn("no SQL statements were recorded: enable the slow log with long_query_time = 0")
	}
	r.explain(ctx, &out, d)
	r.Record.Queries = out
}

func schemaDigest(ctx context.Context, db observe.Database, before string) (*query.Digest, error) {
	after, err := db.Counted(ctx)
	if err != nil {
		return nil, err
	}
	return query.FromSchema(before, after)
}

const explained = 10

func (r *gathering) explain(ctx context.Context, out *result.QueryDigest, d *query.Digest) {
	for i := range min(explained, len(out.Queries)) {
		q := d.Queries[i]
		if q.Example == "" || !q.WholeExample {
			continue
		}
		var err error
		for _, db := range r.databases { // the first that has the tables
			var text string
			if text, err = db.Explain(ctx, q.Database, q.Example); err == nil {
				out.Queries[i].Explain, out.Queries[i].Host = text, db.Host
				break
			}
		}
		if err != nil {
			r.warn("EXPLAIN: %v", err)
			return
		}
	}
}

const (
	maxRoutes  = 500
	maxQueries = 200
)

func millisOf(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func spreadOf(t *digest.Times) result.Spread {
	return result.Spread{
		Count: t.Count, SumSeconds: t.Sum.Seconds(), P50Ms: millisOf(t.Quantile(0.5)), P90Ms: millisOf(t.Quantile(0.9)),
		P95Ms: millisOf(t.Quantile(0.95)), P99Ms: millisOf(t.Quantile(0.99)), MaxMs: millisOf(t.Max),
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
	for _, s := range r.Slowest {
		out.Slowest = append(out.Slowest, result.SlowRequest{At: s.At.UTC(), Ms: millisOf(s.Took), Status: s.Status, Target: redact.Text(s.Target)})
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
