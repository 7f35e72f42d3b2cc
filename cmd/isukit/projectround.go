package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"isukit/bench"
	"isukit/bench/external"
	"isukit/bench/result"
	"isukit/cmd/internal/release"
	"isukit/cmd/internal/ui"
	"isukit/infra/observe"
	"isukit/infra/project"
	"isukit/infra/redact"
)

// projectRound is one round of a project: an app that isukit knows nothing of, and a benchmark that somebody else wrote.
type projectRound struct {
	*openProject
	record *result.Round
	stamp  string
	began  time.Time
	say    func(format string, args ...any)
	// live is told of every second and every line of the benchmark; nil tells nobody.
	live *liveFeed

	mu       sync.Mutex
	warnings []string
	// nearLimit are the processes, by host and name, about whose open files something was said.
	nearLimit map[string]bool

	marks    []observe.Mark
	schemas  map[string]string // what performance_schema had counted before, by host
	ahead    map[string]time.Duration
	series   map[string]*seriesTaker
	recorded []observe.Recorded
	settings []result.Settings
	benchLog []byte
	dirty    []byte
}

// collectLimit is how long collecting may take after a round that was interrupted.
const collectLimit = 5 * time.Minute

func newProjectRound(p *openProject, say func(string, ...any)) *projectRound {
	now := time.Now().UTC()
	r := &projectRound{
		openProject: p, say: say, began: now, stamp: now.Format("20060102T150405Z"),
		schemas: map[string]string{}, ahead: map[string]time.Duration{}, series: map[string]*seriesTaker{}, nearLimit: map[string]bool{},
		record: &result.Round{
			Format: result.FormatVersion, ID: result.NewID(now, p.Name), StartedAt: now, Topology: p.Name, Scenario: "external",
			Score: result.Score{Lines: []result.ScoreLine{}}, Endpoints: []result.Endpoint{}, Timeline: []result.Second{},
			Roles: []result.RoleUsage{}, Hosts: []result.HostUsage{}, Facts: placeFacts(p.Project),
		},
	}
	for _, text := range p.missing {
		r.warn("%s", text)
	}
	return r
}

// warn notes what is missing from the record; it may be called from any goroutine.
func (r *projectRound) warn(format string, args ...any) {
	text := redact.Text(fmt.Sprintf(format, args...))
	r.mu.Lock()
	defer r.mu.Unlock()
	r.warnings = append(r.warnings, text)
	r.say("warning: %s", text)
}

// phase runs one phase and notes how long it took.
func (r *projectRound) phase(name string, do func() error) error {
	r.say("%s", name)
	r.live.phase(name)
	began := time.Now()
	err := do()
	r.record.Phases = append(r.record.Phases, result.Phase{
		Name: name, StartSeconds: began.Sub(r.began).Seconds(), DurationSeconds: time.Since(began).Seconds(), OK: err == nil,
	})
	return err
}

// fail fails the round; the first reason stays.
func (r *projectRound) fail(phase string, err error) {
	text := redact.Text(err.Error())
	if r.record.Reason == "" {
		r.record.Reason = phase + ": " + text
	}
	r.record.Faults = append(r.record.Faults, result.Fault{Phase: phase, Text: text})
}

// play runs the round with a benchmark of its own. It always ends with a record: what could not be got is a warning.
func (r *projectRound) play(ctx context.Context) {
	if r.prepare(ctx) {
		r.measured(ctx, func(ctx context.Context) { r.runBenchmark(ctx) })
	}
	r.finish(ctx)
}

// prepare does everything that comes before the benchmark; false says that there is nothing to measure.
func (r *projectRound) prepare(ctx context.Context) bool {
	_ = r.phase("rotate", func() error { r.mark(ctx); return nil })
	for _, part := range []struct {
		name  string
		steps []project.Step
	}{{"build", r.Build}, {"deploy", r.Deploy}, {"restart", r.Restart}} {
		if len(part.steps) == 0 {
			continue
		}
		err := r.phase(part.name, func() error {
			for _, s := range part.steps {
				if err := r.hosts.Step(ctx, s); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			r.fail(part.name, err)
			return false
		}
	}
	r.gitFacts(ctx)
	r.quickDoctor(ctx)
	return ctx.Err() == nil
}

// measured runs the load with everything around it that watches.
func (r *projectRound) measured(ctx context.Context, load func(context.Context)) {
	r.readSchemas(ctx)
	w := r.watch(ctx)
	_ = r.phase("load", func() error { r.profile(w); load(ctx); return nil })
	w.stop()
}

// runBenchmark runs the project's command and judges what it said.
func (r *projectRound) runBenchmark(ctx context.Context) {
	b := r.Benchmark
	dir := r.hosts.Dir
	if b.Dir != "" {
		dir = b.Dir
		if !filepath.IsAbs(dir) {
			dir = filepath.Join(r.hosts.Dir, dir)
		}
	}
	lines := burst{now: time.Now}
	missing := func(n int) {
		if n > 0 {
			r.say("| ... (%d lines more)", n)
		}
	}
	cmd := external.Command{Line: b.Command, Dir: dir, Env: os.Environ(), Timeout: b.Timeout.Or(project.DefaultTimeout), OnLine: func(line string) {
		line = redact.Text(line)
		r.live.line(line)
		show, missed := lines.take()
		missing(missed)
		if show {
			r.say("| %s", line)
		}
	}}
	// Logs tell whole seconds: what came before the benchmark must not lie in its first one.
	_ = sleep(ctx, time.Until(time.Now().Truncate(time.Second).Add(time.Second)))
	r.record.Benchmark = result.Benchmark{Command: redact.Text(b.Command), ScoreFrom: "none", Began: time.Now().UTC()}
	run, err := cmd.Start(ctx)
	missing(lines.rest())
	if run == nil {
		r.record.Benchmark.Ended = time.Now().UTC()
		r.fail("load", err)
		return
	}
	if err != nil {
		r.warn("%v", err)
	}
	r.benchLog = []byte(redact.Text(string(run.Output)))
	r.record.Benchmark.Began, r.record.Benchmark.Ended = run.Began.UTC(), run.Ended.UTC()
	r.record.Benchmark.Exit, r.record.Benchmark.Ending = run.Exit, run.Ending
	verdict := rulesOf(b).Judge(run.Output, run.Exit)
	if run.Ending != "" {
		verdict.Passed, verdict.Reason = false, "the benchmark was ended: "+run.Ending
	}
	r.judge(verdict)
}

func (r *projectRound) judge(v external.Verdict) {
	if v.Found {
		r.record.Benchmark.ScoreFrom = "command"
		r.record.Score.Total = v.Score
		r.record.Score.Lines = []result.ScoreLine{{Label: "as the benchmark says", Count: 1, Each: v.Score, Points: v.Score}}
	}
	for _, m := range v.Messages {
		r.record.Benchmark.Messages = append(r.record.Benchmark.Messages, redact.Text(m))
	}
	if v.Reason != "" {
		r.fail("load", errors.New(v.Reason))
	}
}

func rulesOf(b project.Benchmark) external.Rules {
	return external.Rules{Score: external.Rule(b.Score), Pass: external.Rule(b.Pass), Fail: external.Rule(b.Fail), Messages: external.Rule(b.Messages)}
}

// finish collects what the hosts know and completes the record. It has its own time: an interrupted round is recorded, too.
func (r *projectRound) finish(ctx context.Context) {
	limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), collectLimit)
	defer cancel()
	_ = r.phase("collect", func() error {
		r.awaitWindow(limited)
		r.collect(limited)
		return nil
	})
	r.record.Passed = r.record.Reason == ""
	r.record.LoadSeconds = max(0, r.record.Benchmark.Ended.Sub(r.record.Benchmark.Began).Seconds())
	r.fillSeries()
	bench.JudgeHosts(r.record)
	r.record.Warnings = append(r.warnings, r.record.Warnings...)
	r.record.Settings = r.settings
	r.record.Facts = append(r.record.Facts, result.Fact{Key: "isukit", Value: strings.TrimSpace(release.Version + " " + release.Commit())})
}

// write lays the record down. Where the disk of the results is full, or cannot be written, the record goes to the temporary
// directory instead: a round that was played must not be lost.
func (r *projectRound) write(dir string) (string, error) {
	path, err := result.Write(dir, r.record, r.files()...)
	if err == nil {
		return path, nil
	}
	r.record.Warnings = append(r.record.Warnings, redact.Text(fmt.Sprintf("the record could not be kept where it belongs: %v", err)))
	fallback, err2 := os.MkdirTemp("", "isukit-results-")
	if err2 == nil {
		path, err2 = result.Write(fallback, r.record)
	}
	if err2 != nil {
		return "", errors.Join(err, err2)
	}
	return path, ui.Hinted(err, "the record without its files is in "+path)
}

func (r *projectRound) files() []result.File {
	var files []result.File
	add := func(path, about string, data []byte) {
		files = append(files, result.File{Path: path, About: about, Write: func(w io.Writer, _ *result.Round) error {
			_, err := w.Write(data)
			return err
		}})
	}
	if len(r.benchLog) > 0 {
		add("benchmark.log", "what the benchmark printed", r.benchLog)
	}
	if len(r.dirty) > 0 {
		add("dirty.diff", "what was not committed", r.dirty)
	}
	for _, p := range r.recorded {
		add("profiles/"+p.File, p.Name+" of "+p.Host, p.Raw)
	}
	return append(files, reportFile())
}

// projectRoundOptions are those of a round of a project.
type projectRoundOptions struct {
	results, stateDir     string
	asJSON, quiet, notify bool
	final                 bool // it is one of several that confirm
}

// runProjectRound plays one round of a project whose benchmark is a command.
func runProjectRound(ctx context.Context, p *project.Project, dir string, o projectRoundOptions, s streams) error {
	_, err := playProjectRound(ctx, p, dir, o, s, func(ctx context.Context, r *projectRound) error {
		r.play(ctx)
		return nil
	})
	return err
}

// playProjectRound opens the hosts, plays, and keeps what came out of it. Play's error says that there is nothing to keep.
func playProjectRound(ctx context.Context, p *project.Project, dir string, o projectRoundOptions, s streams, play func(context.Context, *projectRound) error) (record *result.Round, err error) {
	if err := checkResults(o.results); err != nil {
		return nil, err
	}
	opened, err := openHosts(ctx, p, dir, o.stateDir)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, opened.close(context.WithoutCancel(ctx))) }()
	r := newProjectRound(opened, ui.SayTo(s.err, o.quiet))
	r.live = newLiveFeed(o.results, p.Name)
	defer r.live.close()
	if err := play(ctx, r); err != nil {
		return nil, err
	}
	path, writeErr := r.write(o.results)
	if path == "" {
		return r.record, errors.Join(writeErr, printRound(r.record, "", o.asJSON, s))
	}
	if err := errors.Join(printRound(r.record, path, o.asJSON, s), writeErr); err != nil {
		return r.record, err
	}
	if url := os.Getenv(p.Notify.WebhookEnv); o.notify && p.Notify.WebhookEnv != "" && url != "" {
		if err := postSummary(context.WithoutCancel(ctx), url, r.record); err != nil {
			fmt.Fprintf(s.err, "isukit: warning: the webhook was not told: %v\n", err)
		}
	}
	if !o.final {
		sayNext(s, o.quiet || o.asJSON, nextAfterProjectRound(r.record, o.results))
	}
	if !r.record.Passed {
		return r.record, ui.ErrRoundFailed
	}
	return r.record, nil
}
