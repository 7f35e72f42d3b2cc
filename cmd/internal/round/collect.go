package round

import (
	"context"
	"os"
	"slices"

	"isukit/infra/observe"
	"isukit/infra/project"
)

// mark notes where logs stand and how clocks differ.
func (r *gathering) mark(ctx context.Context, stamp string) {
	for name, at := range r.named {
		ahead, err := observe.ClockAhead(ctx, at)
		if err != nil {
			r.warn("host %s: %v", name, err)
		}
		r.ahead[name] = ahead
	}
	for _, l := range slices.Concat(r.logs.Access, r.logs.Slow) {
		at, ok := r.named[l.Host]
		if !ok {
			continue
		}
		m, err := observe.MarkLog(ctx, at, l, "isukit-"+stamp)
		if err != nil {
			r.warn("%v", err)
			continue
		}
		r.marks = append(r.marks, m)
	}
}

// openDatabases connects to the subject's databases; what is read of them after the load is read over the same connections.
func (r *gathering) openDatabases() {
	for _, v := range r.tuned.sub.Services {
		if v.Open == nil {
			continue
		}
		q, closeOne, err := v.Open()
		if err != nil {
			r.warn("%v", err)
			continue
		}
		r.closers = append(r.closers, closeOne)
		r.databases = append(r.databases, observe.Database{Name: v.Name, Host: v.Host, Schema: v.Schema, Query: q})
	}
}

// ofDatabase is what a source of a database is called among those of its host.
func (r *gathering) ofDatabase(source string, d observe.Database) string {
	if slices.ContainsFunc(r.databases, func(o observe.Database) bool { return o.Host == d.Host && o.Name != d.Name }) {
		return source + " of " + d.Name
	}
	return source
}

// hasSlowLog tells whether a slow log of a host is digested.
func (r *gathering) hasSlowLog(host string) bool {
	return slices.ContainsFunc(r.logs.Slow, func(l project.Log) bool { return l.Host == host })
}

func (r *gathering) readSchemas(ctx context.Context) {
	for _, d := range r.databases {
		if r.hasSlowLog(d.Host) {
			continue
		}
		on, err := d.HasSchema(ctx)
		if err == nil && on {
			var text string
			if text, err = d.Counted(ctx); err == nil {
				r.schemas[d.Name] = text
			}
		}
		switch {
		case err != nil:
			r.warn("%v", err)
		case !on && !r.own:
			r.warn("queries of %s are not known: the project names no slow log of it, and performance_schema is off", d.Host)
		}
	}
}

// collect gets what the hosts know after the load.
func (r *gathering) collect(ctx context.Context) {
	r.readSettings(ctx)
	dir, err := os.MkdirTemp("", "isukit-logs-")
	if err != nil {
		r.warn("logs are not digested: %v", err)
		return
	}
	defer os.RemoveAll(dir)
	if len(r.logs.Access) > 0 {
		r.collectAccess(ctx, dir)
	}
	r.collectQueries(ctx, dir)
	if err := r.tuned.fill(ctx, r.Record); err != nil {
		r.warn("the tunings that are applied are not known: %v", err)
	}
}
