package round

import (
	"context"
	"os"
	"slices"

	"isukit/infra/observe"
	"isukit/infra/project"
)

// mark notes where logs stand and how clocks differ.
func (r *ProjectRound) mark(ctx context.Context) {
	for name, at := range r.Reach.Named {
		ahead, err := observe.ClockAhead(ctx, at)
		if err != nil {
			r.warn("host %s: %v", name, err)
		}
		r.ahead[name] = ahead
	}
	for _, l := range slices.Concat(r.Logs.Access, r.Logs.Slow) {
		at, ok := r.Reach.Named[l.Host]
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
func (r *ProjectRound) databases() []observe.Database {
	var all []observe.Database
	for _, d := range r.Databases {
		if at, ok := r.Reach.Named[d.Host]; ok {
			all = append(all, observe.Database{Database: d, At: at})
		}
	}
	return all
}

// hasSlowLog tells whether the project digests a slow log of a host.
func (r *ProjectRound) hasSlowLog(host string) bool {
	return slices.ContainsFunc(r.Logs.Slow, func(l project.Log) bool { return l.Host == host })
}

func (r *ProjectRound) readSchemas(ctx context.Context) {
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
func (r *ProjectRound) collect(ctx context.Context) {
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
	if err := r.tuned.fill(ctx, r.Record); err != nil {
		r.warn("the tunings that are applied are not known: %v", err)
	}
	for _, f := range r.Facts {
		if at, ok := r.Reach.Named[f.Host]; ok {
			r.factCommand(ctx, at, f)
		}
	}
}
