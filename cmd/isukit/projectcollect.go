package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"isukit/bench/result"
	"isukit/infra/digest/access"
	"isukit/infra/digest/query"
	"isukit/infra/host"
	"isukit/infra/observe"
	"isukit/infra/project"
	"isukit/infra/redact"
	"isukit/infra/tune"
)

// mark notes where logs stand and how clocks differ.
func (r *projectRound) mark(ctx context.Context) {
	for name, at := range r.hosts.Named {
		ahead, err := observe.ClockAhead(ctx, at)
		if err != nil {
			r.warn("host %s: %v", name, err)
		}
		r.ahead[name] = ahead
	}
	for _, l := range slices.Concat(r.Logs.Access, r.Logs.Slow) {
		at, ok := r.hosts.Named[l.Host]
		if !ok {
			continue
		}
		m, err := observe.MarkLog(ctx, at, l, "isukit-"+r.stamp)
		if err != nil {
			r.warn("%v", err)
			continue
		}
		r.marks = append(r.marks, m)
	}
}

// databases are those whose hosts can be reached.
func (r *projectRound) databases() []observe.Database {
	var all []observe.Database
	for _, d := range r.Databases {
		if at, ok := r.hosts.Named[d.Host]; ok {
			all = append(all, observe.Database{Database: d, At: at})
		}
	}
	return all
}

// hasSlowLog tells whether the project digests a slow log of a host.
func (r *projectRound) hasSlowLog(host string) bool {
	return slices.ContainsFunc(r.Logs.Slow, func(l project.Log) bool { return l.Host == host })
}

func (r *projectRound) readSchemas(ctx context.Context) {
	for _, d := range r.databases() {
		if r.hasSlowLog(d.Host) {
			continue
		}
		on, err := d.HasSchema(ctx)
		if err == nil && on {
			var text string
			if text, err = d.Schema(ctx); err == nil {
				r.schemas[d.Host] = text
			}
		}
		switch {
		case err != nil:
			r.warn("%v", err)
		case !on:
			r.warn("queries of %s are not known: the project names no slow log of it, and performance_schema is off", d.Host)
		}
	}
}

// collect gets what the hosts know after the load.
func (r *projectRound) collect(ctx context.Context) {
	r.readSettings(ctx)
	dir, err := os.MkdirTemp("", "isukit-logs-")
	if err != nil {
		r.warn("logs are not digested: %v", err)
		return
	}
	defer os.RemoveAll(dir)
	if len(r.Logs.Access) > 0 {
		r.collectAccess(ctx, dir)
	}
	r.collectQueries(ctx, dir)
	if names, err := tune.AppliedTo(ctx, r.hosts.Here, filepath.Join(r.stateDir, "tune")); err != nil {
		r.warn("the tunings of this machine are not known: %v", err)
	} else if len(names) > 0 {
		r.record.Facts = append(r.record.Facts, result.Fact{Key: "tunings", Value: strings.Join(names, ", ")})
	}
	for _, f := range r.Facts {
		if at, ok := r.hosts.Named[f.Host]; ok {
			r.factCommand(ctx, at, f)
		}
	}
}

// fetched are the files of marked logs of one kind.
func (r *projectRound) fetched(ctx context.Context, logs []project.Log, dir string, each func(l project.Log, file string) error) {
	for _, m := range r.marks {
		if !slices.Contains(logs, m.Log) {
			continue
		}
		file, warnings, err := m.Fetch(ctx, r.hosts.Named[m.Log.Host], dir)
		for _, w := range warnings {
			r.warn("%s", w)
		}
		if err == nil {
			err = each(m.Log, file)
		}
		if err != nil {
			r.warn("log %s of %s is not digested whole: %v", m.Log.File, m.Log.Host, err)
		}
	}
}

// window is the benchmark's by the clock of a host, on whole seconds: many logs tell no more.
func (r *projectRound) window(hostName string) (from, to time.Time) {
	ahead := r.ahead[hostName]
	from = r.record.Benchmark.Began.Add(ahead).Truncate(time.Second)
	to = r.record.Benchmark.Ended.Add(ahead).Truncate(time.Second).Add(time.Second)
	return from, to
}

// awaitWindow waits until the benchmark's last second is over on every host, so that nothing isukit asks lies within it.
func (r *projectRound) awaitWindow(ctx context.Context) {
	if r.record.Benchmark.Ended.IsZero() {
		return
	}
	for name := range r.hosts.Named {
		_, to := r.window(name)
		_ = sleep(ctx, min(time.Until(to.Add(-r.ahead[name])), 2*time.Second))
	}
}

// collectAccess digests all access logs together, each for the window by its own host's clock.
func (r *projectRound) collectAccess(ctx context.Context, dir string) {
	if r.record.Benchmark.Began.IsZero() {
		return
	}
	from, to := r.window(r.Logs.Access[0].Host)
	opts := access.Options{From: from, To: to, Seconds: true, Patterns: r.patterns()}
	digester, err := access.New(opts)
	if err != nil {
		r.warn("access logs are not digested: %v", err)
		return
	}
	formats := r.logFormats()
	r.fetched(ctx, r.Logs.Access, dir, func(l project.Log, file string) error {
		if f, ok := formats[l.Format]; ok {
			l.Format = f
		}
		digester.Window(r.window(l.Host))
		return readAccess(ctx, digester, l, file)
	})
	d := digester.Digest()
	for i := range d.Examples {
		d.Examples[i].File = strings.TrimPrefix(d.Examples[i].File, dir+"/")
	}
	r.record.Access = accessDigestOf(d)
	switch {
	case d.Lines == 0:
		r.warn("the access logs hold no line of this round")
	case d.All.Count == 0 && d.Outside > 0:
		r.warn("none of the %d lines of the access logs lies in the window: do the clocks agree, and do the lines tell a time?", d.Lines)
	case d.Unreadable > 0:
		r.warn("%d of %d lines of the access logs could not be read", d.Unreadable, d.Lines)
	}
	if d.All.Count > 0 && d.All.Took.Count == 0 {
		r.warn("the access logs tell no request times: add $request_time to the log_format")
	}
	r.fillFromAccess(d)
}

func readAccess(ctx context.Context, digester *access.Digester, l project.Log, file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	return digester.ReadFormat(ctx, l.File+" of "+l.Host, l.Format, f)
}

func (r *projectRound) patterns() []access.Pattern {
	var all []access.Pattern
	for _, text := range r.Routes {
		p, err := access.ParsePattern(text)
		if err != nil {
			r.warn("%v", err)
			continue
		}
		all = append(all, p)
	}
	return all
}

// logFormats are those of every nginx that was read, by name.
func (r *projectRound) logFormats() map[string]string {
	var all []observe.Setting
	for _, s := range r.settings {
		all = append(all, observe.Setting{Source: s.Source, Values: s.Values})
	}
	formats := observe.LogFormats(all)
	for name, format := range formats {
		// A format that writes JSON or LTSV is read as that.
		if strings.HasPrefix(strings.TrimSpace(format), "{") || strings.Contains(format, `\t`) {
			delete(formats, name)
		}
	}
	return formats
}

// fillFromAccess takes the timeline and the whole load's figures from the access logs.
func (r *projectRound) fillFromAccess(d *access.Digest) {
	began := r.record.Benchmark.Began
	seconds := int(r.record.Benchmark.Ended.Sub(began).Seconds()) + 1
	for i := range min(seconds, len(d.Seconds)) {
		s := d.Seconds[i]
		spread := spreadOf(&s.Took)
		r.record.Timeline = append(r.record.Timeline, result.Second{At: i, Hits: s.Hits, Errors: s.Errors, P50Ms: spread.P50Ms, P99Ms: spread.P99Ms})
	}
	t := spreadOf(&d.All.Took)
	latency := result.Latency{P50Ms: t.P50Ms, P90Ms: t.P90Ms, P99Ms: t.P99Ms, MaxMs: t.MaxMs}
	errs := d.All.Status[5] + d.All.Closed
	r.record.All = result.Endpoint{Name: "all", Hits: d.All.Count, OK: d.All.Count - errs, Errors: errs, Share: 1, ReceivedBytes: d.All.SentBytes, Latency: latency, FromSent: latency}
}

func (r *projectRound) collectQueries(ctx context.Context, dir string) {
	if r.record.Benchmark.Began.IsZero() {
		return
	}
	var sources []string
	digester := query.New(query.Options{})
	hostOf := ""
	r.fetched(ctx, r.Logs.Slow, dir, func(l project.Log, file string) error {
		f, err := os.Open(file)
		if err != nil {
			return err
		}
		defer f.Close()
		sources, hostOf = append(sources, "slow log of "+l.Host), l.Host
		digester.Window(r.window(l.Host))
		return digester.Read(ctx, l.File+" of "+l.Host, f)
	})
	d := digester.Digest()
	for _, db := range r.databases() {
		if before, ok := r.schemas[db.Host]; ok {
			more, err := schemaDigest(ctx, db, before)
			if err != nil {
				r.warn("%v", err)
				continue
			}
			sources = append(sources, "performance_schema of "+db.Host)
			d.Statements += more.Statements
			d.Queries = append(d.Queries, more.Queries...)
			hostOf = db.Host
		}
	}
	if len(sources) == 0 {
		return
	}
	query.Sort(d.Queries)
	out := queryDigestOf(d, "")
	out.Sources = sources
	if d.Statements == 0 {
		r.warn("the databases tell of no statement: is the slow log on, with long_query_time = 0?")
	}
	r.explain(ctx, &out, d, hostOf)
	r.record.Queries = out
}

func schemaDigest(ctx context.Context, db observe.Database, before string) (*query.Digest, error) {
	after, err := db.Schema(ctx)
	if err != nil {
		return nil, err
	}
	return query.FromSchema(before, after)
}

// explained is how many queries are explained.
const explained = 10

func (r *projectRound) explain(ctx context.Context, out *result.QueryDigest, d *query.Digest, hostName string) {
	dbs := r.databases()
	at := slices.IndexFunc(dbs, func(db observe.Database) bool { return db.Host == hostName })
	if at < 0 {
		return
	}
	for i := range min(explained, len(out.Queries)) {
		q := d.Queries[i]
		if q.Example == "" || !q.WholeExample {
			continue
		}
		text, err := dbs[at].Explain(ctx, q.Database, q.Example)
		if err != nil {
			r.warn("EXPLAIN: %v", err)
			return
		}
		out.Queries[i].Explain, out.Queries[i].Host = text, hostName
	}
}

func (r *projectRound) readSettings(ctx context.Context) {
	seen := map[host.Host]bool{}
	for _, name := range slices.Sorted(maps.Keys(r.hosts.Named)) {
		at := r.hosts.Named[name]
		if seen[at] {
			continue
		}
		seen[at] = true
		settings, err := observe.Settings(ctx, at)
		if err != nil {
			r.warn("host %s: %v", name, err)
		}
		for _, s := range settings {
			r.settings = append(r.settings, result.Settings{Host: name, Source: s.Source, Values: s.Values})
			if s.Source == "versions" {
				for _, key := range slices.Sorted(maps.Keys(s.Values)) {
					r.record.Facts = append(r.record.Facts, result.Fact{Key: name + " " + key, Value: s.Values[key]})
				}
			}
		}
	}
	for _, d := range r.databases() {
		values, err := d.Variables(ctx)
		if err != nil {
			r.warn("%v", err)
			continue
		}
		r.settings = append(r.settings, result.Settings{Host: d.Host, Source: "variables", Values: values})
		tables, err := d.Tables(ctx)
		if err != nil {
			r.warn("%v", err)
		}
		if len(tables) > 0 {
			r.settings = append(r.settings, result.Settings{Host: d.Host, Source: "tables", Values: tables})
		}
		r.record.Facts = append(r.record.Facts, result.Fact{Key: d.Host + " database", Value: strings.TrimSpace(values["version"] + " " + values["version_comment"])})
	}
}

// maxDiff is how much of what is not committed is kept.
const maxDiff = 1 << 20

// gitFacts notes which commit the project is at, and what is not committed.
func (r *projectRound) gitFacts(ctx context.Context) {
	git := func(args ...string) (string, error) {
		res, err := r.hosts.Here.Run(ctx, host.Command{Argv: append([]string{"git", "--no-optional-locks"}, args...), Dir: r.hosts.Dir})
		if err == nil && res.Code != 0 {
			err = errors.New(strings.TrimSpace(string(res.Stderr)))
		}
		return string(res.Stdout), err
	}
	head, err := git("log", "-1", "--format=%H %s")
	if err != nil {
		r.warn("the commit is not known: %v", err)
		return
	}
	r.record.Facts = append(r.record.Facts, result.Fact{Key: "commit", Value: redact.Text(strings.TrimSpace(head))})
	status, err := git("status", "--porcelain")
	if err != nil || strings.TrimSpace(status) == "" {
		return
	}
	files := strings.Count(status, "\n")
	r.record.Facts = append(r.record.Facts, result.Fact{Key: "uncommitted", Value: fmt.Sprintf("%d files, see dirty.diff", files)})
	diff, err := git("diff", "HEAD")
	if err != nil {
		r.warn("what is not committed is not known: %v", err)
		return
	}
	r.dirty = []byte(redact.Text(status + "\n" + diff[:min(len(diff), maxDiff)]))
}

func (r *projectRound) factCommand(ctx context.Context, at host.Host, f project.FactCommand) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	res, err := at.Run(ctx, host.Command{Argv: []string{"sh", "-c", f.Run}})
	if err == nil && res.Code != 0 {
		err = fmt.Errorf("exit status %d", res.Code)
	}
	if err != nil {
		r.warn("fact %s: %v", f.Key, err)
		return
	}
	first, _, _ := strings.Cut(strings.TrimSpace(string(res.Stdout)), "\n")
	r.record.Facts = append(r.record.Facts, result.Fact{Key: f.Key, Value: redact.Text(cutText(first, 300))})
}
