package round

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"isukit/bench"
	"isukit/bench/external"
	"isukit/bench/load"
	"isukit/bench/result"
	"isukit/cmd/internal/release"
	"isukit/cmd/internal/ui"
	"isukit/infra/host"
	"isukit/infra/observe"
	"isukit/infra/project"
	"isukit/infra/redact"
	"isukit/infra/subject"
	"isukit/infra/tune"
)

// ProjectRound is one round of a project: any app, with any benchmark.
type ProjectRound struct {
	*Opened
	*gathering
	// Finished tells that the record is whole, and to be kept.
	Finished bool
	// Tune are applied for the time of the round.
	Tune []tune.Tuning
	// Place is the topology of the project that is applied before the round, and stays; "" leaves the hosts as they are.
	Place   string
	lacking error // what is not known of the hosts and services
	stamp   string

	benchLog []byte
	dirty    []byte
}

// collectLimit is how long collecting may take after a round that was interrupted.
const collectLimit = 5 * time.Minute

func NewProjectRound(p *Opened, say func(string, ...any)) *ProjectRound {
	now := time.Now().UTC()
	r := &ProjectRound{
		Opened: p, stamp: now.Format("20060102T150405Z"),
		gathering: newGathering(say, &result.Round{
			Format: result.FormatVersion, ID: result.NewID(now, p.Name), StartedAt: now, Scenario: "external",
			Score: result.Score{Lines: []result.ScoreLine{}}, Endpoints: []result.Endpoint{}, Timeline: []result.Second{},
			Roles: []result.RoleUsage{}, Hosts: []result.HostUsage{},
		}),
	}
	r.named, r.logs, r.routes, r.perf = p.Reach.Named, p.Logs, p.Routes, p.Profiles.Perf
	for _, app := range p.Profiles.Pprof {
		r.apps = append(r.apps, observe.App{Pprof: app})
	}
	r.roleOf = func(unit string) string {
		n := slices.IndexFunc(p.Roles, func(o project.Role) bool { return slices.Contains(o.Units, unit) })
		if n < 0 {
			return ""
		}
		return p.Roles[n].Name
	}
	r.placed()
	r.secrets = redact.Environment(os.Environ())
	replicas, _ := ReplicasOfProject(p.Project, p.Reach.Dir) // the comparison reports what is wrong with them
	for _, replica := range replicas.Replicas {
		r.secrets = append(r.secrets, replica.MySQL.Passwd)
	}
	if hook := os.Getenv(p.Notify.WebhookEnv); p.Notify.WebhookEnv != "" && hook != "" {
		r.secrets = append(r.secrets, hook)
	}
	for _, err := range p.Missing {
		r.warn("%v", err)
	}
	return r
}

func (r *ProjectRound) placed() {
	r.Record.Topology, r.Record.Facts = cmp.Or(r.up, r.Name), PlaceFacts(r.Project)
	if r.up != "" {
		r.Record.Facts = append(r.Record.Facts, result.Fact{Key: "topology", Value: r.up})
	}
}

func (r *ProjectRound) phase(name string, do func() error) error {
	r.say("%s", name)
	r.Live.Phase(name)
	began := time.Now()
	err := do()
	r.Record.Phases = append(r.Record.Phases, result.Phase{
		Name: name, StartSeconds: began.Sub(r.Record.StartedAt).Seconds(), DurationSeconds: time.Since(began).Seconds(), OK: err == nil,
	})
	return err
}

// fail fails the round; the first reason stays.
func (r *ProjectRound) fail(phase string, err error) {
	text := r.mask(err.Error())
	if r.Record.Reason == "" {
		r.Record.Reason = phase + ": " + text
	}
	r.Record.Faults = append(r.Record.Faults, result.Fault{Phase: phase, Text: text})
}

// Play runs the round with a benchmark of its own. Missing data is a warning; a tuning that was not applied or not reverted is an error.
func (r *ProjectRound) Play(ctx context.Context) (err error) {
	ready, err := r.prepare(ctx)
	if err != nil {
		return errors.Join(err, r.tuned.revert(context.WithoutCancel(ctx)))
	}
	if ready {
		r.measured(ctx, r.runBenchmark)
	}
	return r.finish(ctx)
}

func (r *ProjectRound) lookAround(ctx context.Context) {
	r.tuned = &tunedRound{say: r.say, warn: r.warn}
	r.tuned.sub, r.lacking = subject.OfProject(ctx, r.Project, r.Reach.Named, r.stateDir, false)
}

// prepare does everything that comes before the benchmark; false says that there is nothing to measure.
func (r *ProjectRound) prepare(ctx context.Context) (ready bool, err error) {
	defer func() {
		if r.tuned == nil {
			r.lookAround(ctx)
		}
	}()
	if r.Place != "" {
		err := r.phase("topology", func() error { return r.Apply(ctx, r.Place, r.say) })
		if err == nil {
			r.up, err = r.place(ctx)
		}
		if err != nil {
			return false, err
		}
		r.placed()
	}
	_ = r.phase("rotate", func() error { r.mark(ctx, r.stamp); return nil })
	for _, part := range []struct {
		name  string
		steps []project.Step
	}{{"build", r.Build}, {"deploy", r.Deploy}, {"restart", r.Restart}} {
		if len(part.steps) == 0 {
			continue
		}
		err := r.phase(part.name, func() error {
			for _, s := range part.steps {
				if err := r.Reach.Step(ctx, s); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			r.fail(part.name, err)
			return false, nil
		}
	}
	r.lookAround(ctx)
	if len(r.Tune) > 0 {
		// The last step before the load: a deploy may write the same files, and a restart forgets what only runs.
		err := errors.Join(r.lacking, errors.Join(r.Missing...))
		if err == nil {
			r.tuned.pending = &pending{Project: r.Project, Dir: r.Reach.Dir}
			err = r.phase("tune", func() error { return r.tuned.apply(ctx, r.Tune, r.stateDir) })
		}
		if err != nil {
			return false, err
		}
	}
	r.gitFacts(ctx)
	r.quickDoctor(ctx, r.lacking)
	return ctx.Err() == nil, nil
}

func (r *ProjectRound) measured(ctx context.Context, load func(context.Context)) {
	r.openDatabases()
	r.readSchemas(ctx)
	w := r.watch(ctx)
	_ = r.phase("load", func() error { r.profile(w); load(ctx); return nil })
	w.stop()
	r.began, r.ended = r.Record.Benchmark.Began, r.Record.Benchmark.Ended
}

// runBenchmark runs the project's command and judges what it said.
func (r *ProjectRound) runBenchmark(ctx context.Context) {
	b := r.Benchmark
	dir := r.Reach.Dir
	if b.Dir != "" {
		dir = b.Dir
		if !filepath.IsAbs(dir) {
			dir = filepath.Join(r.Reach.Dir, dir)
		}
	}
	lines := lineLimit{now: time.Now}
	missing := func(n int) {
		if n > 0 {
			r.say("| ... (%d lines more)", n)
		}
	}
	cmd := external.Command{Line: b.Command, Dir: dir, Env: os.Environ(), Timeout: b.Timeout.Or(project.DefaultTimeout), OnLine: func(line string) {
		line = r.mask(line)
		r.Live.line(line)
		show, missed := lines.take()
		missing(missed)
		if show {
			r.say("| %s", line)
		}
	}}
	// Logs have whole seconds: requests before the benchmark must not fall into its first one.
	_ = load.Sleep(ctx, time.Until(time.Now().Truncate(time.Second).Add(time.Second)))
	r.Record.Benchmark = result.Benchmark{Command: r.mask(b.Command), ScoreFrom: "none", Began: time.Now().UTC()}
	run, err := cmd.Start(ctx)
	missing(lines.rest())
	if run == nil {
		r.Record.Benchmark.Ended = time.Now().UTC()
		r.fail("load", err)
		return
	}
	if err != nil {
		r.warn("%v", err)
	}
	r.benchLog = []byte(r.mask(string(run.Output)))
	r.Record.Benchmark.Began, r.Record.Benchmark.Ended = run.Began.UTC(), run.Ended.UTC()
	r.Record.Benchmark.Exit, r.Record.Benchmark.Ending = run.Exit, run.Ending
	verdict := external.Rules{Score: external.Rule(b.Score), Pass: external.Rule(b.Pass), Fail: external.Rule(b.Fail), Messages: external.Rule(b.Messages)}.Judge(run.Output, run.Exit)
	if run.Ending != "" {
		verdict.Passed, verdict.Reason = false, "the benchmark was stopped: "+run.Ending
	}
	r.judge(verdict)
}

func (r *ProjectRound) judge(v external.Verdict) {
	if v.Found {
		r.Record.Benchmark.ScoreFrom = "command"
		total := int64(math.Round(v.Score))
		r.Record.Score.Total = total
		r.Record.Score.Lines = []result.ScoreLine{{Label: "reported by the benchmark", Count: 1, Each: total, Points: total}}
		if float64(total) != v.Score {
			r.Record.Metrics = map[string]float64{"score": v.Score}
		}
	}
	for _, m := range v.Messages {
		r.Record.Benchmark.Messages = append(r.Record.Benchmark.Messages, r.mask(m))
	}
	if v.Reason != "" {
		r.fail("load", errors.New(v.Reason))
	}
}

// finish collects what the hosts know, reverts tunings and completes the record. It has a context of its own, so that an interrupted round
// is recorded, too. The error is for tunings that were not reverted.
func (r *ProjectRound) finish(ctx context.Context) error {
	limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), collectLimit)
	defer cancel()
	t, _ := r.declared.Placement(r.up)
	if (len(r.Replicas.Databases) > 0 || r.Replicas.Mode != "" && r.declared.Replicated(t) != nil) && !r.began.IsZero() {
		r.compareReplicas(limited)
	}
	_ = r.phase("collect", func() error {
		r.awaitWindow(limited)
		r.collect(limited)
		for _, f := range r.Facts {
			if at, ok := r.named[f.Host]; ok {
				r.factCommand(limited, at, f)
			}
		}
		return nil
	})
	err := r.tuned.revert(context.WithoutCancel(ctx))
	r.Record.Passed = r.Record.Reason == ""
	r.Record.LoadSeconds = max(0, r.Record.Benchmark.Ended.Sub(r.Record.Benchmark.Began).Seconds())
	if err := r.close(); err != nil {
		r.warn("%v", err)
	}
	r.complete()
	bench.Judge(r.Record)
	r.Record.Facts = append(r.Record.Facts, result.Fact{Key: "isukit", Value: strings.TrimSpace(release.Version + " " + release.Commit())})
	r.Finished = true
	return err
}

// Write saves the record, or puts it into the temporary directory if the results cannot be written: a played round must not be lost.
func (r *ProjectRound) Write(dir string) (string, error) {
	path, err := Keep(dir, r.Record, r.secrets, r.files()...)
	if err == nil {
		return path, nil
	}
	r.Record.Warnings = append(r.Record.Warnings, r.mask(fmt.Sprintf("could not save the record in the results directory: %v", err)))
	fallback, err2 := os.MkdirTemp("", "isukit-results-")
	if err2 == nil {
		path, err2 = Keep(fallback, r.Record, r.secrets)
	}
	if err2 != nil {
		return "", errors.Join(err, err2)
	}
	return path, ui.Hinted(err, "the record without its files is in "+path)
}

func (r *ProjectRound) files() []result.File {
	var files []result.File
	add := func(path, about string, data []byte) {
		files = append(files, result.File{Path: path, About: about, Write: func(w io.Writer, _ *result.Round) error {
			_, err := w.Write(data)
			return err
		}})
	}
	if len(r.benchLog) > 0 {
		add("benchmark.log", "output of the benchmark", r.benchLog)
	}
	if len(r.dirty) > 0 {
		add("dirty.diff", "uncommitted changes", r.dirty)
	}
	return append(append(files, r.profileFiles()...), reportFile())
}

// PlayBare plays a round of only the benchmark, and warns of logs that are written: a restart may have switched one on again.
func (r *ProjectRound) PlayBare(ctx context.Context, logs []project.Log) error {
	var marks []observe.Mark
	for _, l := range logs {
		l.Reopen = ""
		if at, ok := r.Reach.Named[l.Host]; ok {
			if m, err := observe.MarkLog(ctx, at, l, ""); err == nil {
				marks = append(marks, m)
			}
		}
	}
	if ready, _ := r.prepare(ctx); ready { // only tunings can fail here, and there are none
		r.measured(ctx, r.runBenchmark)
	}
	for _, m := range marks {
		if n := m.Grown(context.WithoutCancel(ctx), r.Reach.Named[m.Log.Host]); n > 0 {
			r.warn("log %s of %s still grows (%d KiB in this round): \"isukit tune apply final\" switches off logs of nginx and MySQL", m.Log.File, m.Log.Host, (n+1023)>>10)
		}
	}
	return r.finish(ctx)
}

const maxDiff = 1 << 20

func (r *ProjectRound) gitFacts(ctx context.Context) {
	git := func(args ...string) (string, error) {
		res, err := r.Reach.Here.Run(ctx, host.Command{Argv: append([]string{"git", "--no-optional-locks"}, args...), Dir: r.Reach.Dir})
		if err == nil && res.Code != 0 {
			err = errors.New(strings.TrimSpace(string(res.Stderr)))
		}
		return string(res.Stdout), err
	}
	head, err := git("log", "-1", "--format=%H %s%n%an")
	if err != nil && strings.Contains(err.Error(), "not a git repository") {
		return // a directory without git has no commits
	}
	if err != nil {
		r.warn("cannot read the commit: %v", err)
		return
	}
	head, author, _ := strings.Cut(strings.TrimSpace(head), "\n")
	r.Record.Facts = append(r.Record.Facts, result.Fact{Key: "commit", Value: r.mask(head)}, result.Fact{Key: "author", Value: r.mask(author)})
	status, err := git("status", "--porcelain")
	if err != nil || strings.TrimSpace(status) == "" {
		return
	}
	files := strings.Count(status, "\n")
	r.Record.Facts = append(r.Record.Facts, result.Fact{Key: "uncommitted", Value: fmt.Sprintf("%d files, see dirty.diff", files)})
	diff, err := git("diff", "HEAD")
	if err != nil {
		r.warn("cannot read the uncommitted changes: %v", err)
		return
	}
	r.dirty = []byte(r.mask(status + "\n" + diff[:min(len(diff), maxDiff)]))
}

func (r *ProjectRound) factCommand(ctx context.Context, at host.Host, f project.FactCommand) {
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
	r.Record.Facts = append(r.Record.Facts, result.Fact{Key: f.Key, Value: redact.Value(f.Key, r.mask(cutText(first, 300)))})
}

// PlaceFacts are where the project's services ran, as far as its file shows.
func PlaceFacts(p *project.Project) []result.Fact {
	var facts []result.Fact
	if p.Topology != "" {
		facts = append(facts, result.Fact{Key: "topology", Value: p.Topology})
	}
	var hosts []string
	for _, h := range p.Hosts {
		if len(h.Roles) > 0 {
			h.Name += " (" + strings.Join(h.Roles, ", ") + ")"
		}
		hosts = append(hosts, h.Name)
	}
	return append(facts, result.Fact{Key: "hosts", Value: strings.Join(hosts, ", ")})
}
