package round

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"isukit/bench/result"
	"isukit/infra/host"
	"isukit/infra/observe"
	"isukit/infra/project"
	"isukit/infra/redact"
)

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
			r.warn("queries of %s are unknown: the project names no slow log for it, and performance_schema is off", d.Host)
		}
	}
}

func (r *gathering) collect(ctx context.Context) {
	r.readSettings(ctx)
	dir, err := os.MkdirTemp("", "isukit-logs-")
	if err != nil {
		r.warn("cannot summarize the logs: %v", err)
		return
	}
	defer os.RemoveAll(dir)
	if len(r.logs.Access) > 0 {
		r.collectAccess(ctx, dir)
	}
	r.collectQueries(ctx, dir)
	if err := r.tuned.fill(ctx, r.Record); err != nil {
		r.warn("cannot read the applied tunings: %v", err)
	}
}

// gathering is what a round reads from hosts and services next to its load, regardless of who makes the load.
type gathering struct {
	Record *result.Round
	say    func(format string, args ...any)
	// Live shows every second and every line of the benchmark in the browser; nil: not shown.
	Live  *liveFeed
	tuned *tunedRound // with the subject

	named   map[string]host.Host
	logs    project.Logs
	routes  []string      // patterns of access.ParsePattern
	apps    []observe.App // whose profiles are recorded
	perf    []project.Perf
	secrets []string // those that isukit was given, for the app or for itself
	// own says that isukit started the services and makes the load: what it knows of both itself is not taken from logs and processes.
	own bool
	// roleOf is the role of a project that a unit is of; nil where nobody asks.
	roleOf func(unit string) string
	// places are directories and addresses of services that hold for one run, each with what it is called.
	places []string
	// began and ended are the load's, by this machine's clock; zero before there was one.
	began, ended time.Time

	mu       sync.Mutex
	warnings []string
	// nearLimit are the processes, by host and name, about whose open files something was said.
	nearLimit map[string]bool

	marks     []observe.Mark
	databases []observe.Database
	closers
	schemas  map[string]string // what performance_schema had counted before, by database
	ahead    map[string]time.Duration
	owners   map[string]map[int]string // by host and process, the role of a project
	series   []*seriesTaker
	noise    []host.Noise
	recorded []observe.Recorded
	settings []result.Settings
}

func newGathering(say func(string, ...any), record *result.Round) *gathering {
	return &gathering{Record: record, say: say, schemas: map[string]string{}, ahead: map[string]time.Duration{}, nearLimit: map[string]bool{}}
}

// mask returns text without secrets: those of known names and shapes, and the values that isukit itself was given.
func (r *gathering) mask(text string) string {
	return redact.Text(redact.Known(text, r.secrets...))
}

// warn notes what is missing from the record; it may be called from any goroutine.
func (r *gathering) warn(format string, args ...any) {
	text := r.mask(fmt.Sprintf(format, args...))
	r.mu.Lock()
	defer r.mu.Unlock()
	r.warnings = append(r.warnings, text)
	r.say("warning: %s", text)
}

func (r *gathering) complete() {
	r.fillSeries()
	r.Record.Warnings = slices.Concat(r.warnings, r.Record.Warnings)
	r.Record.Settings = r.settings
}

func (r *gathering) readSettings(ctx context.Context) {
	for _, m := range r.tuned.sub.Machines() {
		name := m.Names[0]
		settings, err := observe.Settings(ctx, m.At)
		if err != nil {
			r.warn("host %s: %v", name, err)
		}
		for _, s := range settings {
			if r.own {
				if s.Source = r.ownSource(s.Source); s.Source == "" {
					continue
				}
			}
			r.settings = append(r.settings, result.Settings{Host: name, Source: s.Source, Values: r.lasting(s.Values)})
			if s.Source == "versions" && !r.own {
				for _, key := range slices.Sorted(maps.Keys(s.Values)) {
					r.Record.Facts = append(r.Record.Facts, result.Fact{Key: name + " " + key, Value: s.Values[key]})
				}
			}
		}
	}
	for _, d := range r.databases {
		values, err := d.Variables(ctx)
		if err != nil {
			r.warn("%v", err)
			continue
		}
		r.settings = append(r.settings, result.Settings{Host: d.Host, Source: r.ofDatabase("variables", d), Values: r.lasting(values)})
		tables, err := d.Tables(ctx)
		if err != nil {
			r.warn("%v", err)
		}
		if len(tables) > 0 {
			r.settings = append(r.settings, result.Settings{Host: d.Host, Source: r.ofDatabase("tables", d), Values: tables})
		}
		if !r.own {
			r.Record.Facts = append(r.Record.Facts, result.Fact{Key: d.Host + " database", Value: strings.TrimSpace(values["version"] + " " + values["version_comment"])})
		}
	}
}

// ownSource names a source of settings after the service of isukit that it belongs to; "" for services that isukit does not run.
func (r *gathering) ownSource(source string) string {
	switch kind, rest, _ := strings.Cut(source, " "); {
	case kind == "unit" || kind == "limits":
		return ""
	case kind != "nginx":
		return source
	default:
		for _, v := range r.tuned.sub.Services {
			if v.Conf != "" && strings.Contains(rest, v.Conf) {
				return "nginx " + v.Name
			}
		}
	}
	return ""
}

// lasting are settings with names in the place of directories and addresses that isukit has chosen for one run: two rounds are then told
// apart by what was set.
func (r *gathering) lasting(values map[string]string) map[string]string {
	if r.places == nil {
		return values
	}
	named := strings.NewReplacer(r.places...)
	out := map[string]string{}
	for key, value := range values {
		if n := slices.Index(r.places, ":"+value); n >= 0 { // a port alone
			value = r.places[n+1]
		}
		out[named.Replace(key)] = named.Replace(value)
	}
	return out
}
