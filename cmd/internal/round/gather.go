package round

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"isukit/bench/result"
	"isukit/infra/host"
	"isukit/infra/observe"
	"isukit/infra/project"
	"isukit/infra/redact"
)

// gathering is what a round gets of hosts and services beside its load, whoever makes that.
type gathering struct {
	Record *result.Round
	say    func(format string, args ...any)
	// Live is told of every second and every line of the benchmark; nil tells nobody.
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
	closers   []func() error
	schemas   map[string]string // what performance_schema had counted before, by database
	ahead     map[string]time.Duration
	series    []*seriesTaker
	noise     []host.Noise
	recorded  []observe.Recorded
	settings  []result.Settings
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

// complete puts what was gathered into the record.
func (r *gathering) complete() {
	r.fillSeries()
	r.Record.Warnings = slices.Concat(r.warnings, r.Record.Warnings)
	r.Record.Settings = r.settings
}

// close ends the connections to databases.
func (r *gathering) close() error {
	var errs []error
	for _, c := range r.closers {
		errs = append(errs, c())
	}
	r.closers = nil
	return errors.Join(errs...)
}
