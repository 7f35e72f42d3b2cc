package round

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"isukit"
	"isukit/app/dataset"
	"isukit/bench"
	"isukit/bench/load"
	"isukit/bench/report"
	"isukit/bench/result"
	"isukit/bench/scenario"
	"isukit/cmd/internal/release"
	"isukit/cmd/internal/ui"
	"isukit/infra"
)

// Play starts everything, runs the round, keeps it, and takes everything down again, whatever happens.
func (o Options) Play(ctx context.Context, spec infra.Spec, view *ui.RoundView) (record *result.Round, path string, err error) {
	// The data is made while the servers start; both take a while.
	var data *dataset.Data
	var up *upAndDown
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() (err error) {
		data, err = dataset.Generate(spec.Seed, dataset.Scale(spec.Scale))
		return err
	})
	g.Go(func() (err error) {
		up, err = o.start(gctx, spec)
		return err
	})
	err = g.Wait()
	if up != nil {
		defer func() {
			defer view.During("stopping the servers")()
			err = errors.Join(err, up.driver.Close(context.WithoutCancel(ctx)))
		}()
	}
	if err != nil {
		return nil, "", err
	}
	running := up.running
	tuning, err := o.applyTunings(ctx, spec, running, view)
	if err != nil {
		return nil, "", err
	}
	defer func() { err = errors.Join(err, tuning.revert(context.WithoutCancel(ctx))) }()
	m := o.newMeasurement(ctx, running, tuning, view)
	m.driver = up.driver
	defer func() { err = errors.Join(err, m.close()) }()
	done := view.During("checking for known problems")
	m.mark(ctx, "")
	m.quickDoctor(ctx, nil)
	done()
	closeOutputs, err := o.openOutputs(m)
	defer func() { err = errors.Join(err, closeOutputs()) }()
	if err != nil {
		return nil, "", err
	}
	if record, err = o.bench(ctx, spec, m, data, view); err != nil {
		return nil, "", err
	}
	done = view.During("reading logs and writing the record")
	defer done()
	path, err = o.keep(context.WithoutCancel(ctx), m, record)
	return record, path, err
}

// openOutputs makes the files that the load is written to while it runs; close ends them.
func (o Options) openOutputs(m *measurement) (close func() error, err error) {
	var opened closers
	if o.Hits && o.Shape != "capacity" { // its trials would all begin at zero
		if m.hits, err = NewHitLog(); err != nil {
			return opened.close, err
		}
		opened = append(opened, m.hits.File.Close)
	}
	if o.Capture != "" {
		if m.traffic, err = newRoundCapture(o.Capture, o.CaptureShare); err != nil {
			return opened.close, err
		}
		opened = append(opened, m.traffic.close)
	}
	if o.Keylog != "" {
		if m.keys, err = newFile("--keylog", o.Keylog); err != nil {
			return opened.close, err
		}
		opened = append(opened, m.keys.Close)
	}
	return opened.close, nil
}

// keep lays the record down, with the logs and what else was gathered.
func (o Options) keep(ctx context.Context, m *measurement, record *result.Round) (path string, err error) {
	files, drop, err := m.artifacts(ctx, record)
	if err != nil {
		return "", err
	}
	defer drop()
	if len(record.Timeline) > 0 {
		files = append(files, Histograms(m.counted))
	}
	return Keep(o.Results, record, m.running.Secrets(), append(files, reportFile())...)
}

// ReportName is the name of a round as a page inside its directory.
const ReportName = "report.html"

func reportFile() result.File {
	return result.File{Path: ReportName, About: "this round as a page", Write: func(w io.Writer, r *result.Round) error { return report.HTML(w, r) }}
}

func (o Options) bench(ctx context.Context, spec infra.Spec, m *measurement, data *dataset.Data, view *ui.RoundView) (*result.Round, error) {
	engine, err := o.newEngine(m)
	if err != nil {
		return nil, err
	}
	portal, err := NewPortal(engine, m.running.BaseURL, m.running.WorkerToken, data, scenario.Mix(o.Mix))
	if err != nil {
		return nil, err
	}
	shape, err := parseShape(o.shapeText())
	if err != nil {
		return nil, err
	}
	arrivals, err := parseArrivals(o.Arrivals)
	if err != nil {
		return nil, err
	}
	var search *load.Capacity
	if shape.capacity {
		search = &load.Capacity{FromPerSec: lowestCapacity}
	}
	faults, err := o.linkFaults(spec.Topology)
	if err != nil {
		return nil, err
	}
	view.SetCPUs(spec.Topology, m.running, o.Driver)
	m.running.Mark(ctx)
	out, err := bench.Run(ctx, bench.Options{
		Scenario: WithReplicas(portal, m.running, spec.Topology), Engine: engine, Seed: o.Seed, Duration: o.Duration, InitializeLimit: Times(o.Patience, bench.InitializeLimit),
		Shape: shape.users, Rate: shape.rate, Arrivals: arrivals, Capacity: search, Objective: o.Objective,
		OnPhase: view.OnPhase, OnTick: func(t load.Tick) { view.OnTick(t, m.latest) }, OnTrial: view.OnTrial,
		AroundLoad: func(ctx context.Context) (done func()) {
			gathered, calm := m.around(ctx), m.disturb(ctx, m.driver, faults)
			return func() { calm(); gathered() }
		},
	})
	if ctx.Err() == nil {
		err = blameTheDead(out, err, m.running.Ended(ctx))
	}
	if err != nil {
		return nil, err
	}
	record := &result.Round{
		Format: result.FormatVersion, ID: result.NewID(out.StartedAt, spec.Topology.Name), Topology: spec.Topology.Name,
		Scenario: portal.Name(), Seed: spec.Seed, LoadSeconds: math.Round(o.Duration.Seconds()*1000) / 1000,
	}
	out.Fill(record)
	if err := out.Summary.LogErr; err != nil {
		record.Warnings = append(record.Warnings, fmt.Sprintf("the hit log is incomplete: %v", err))
	}
	record.Roles, record.Hosts = []result.RoleUsage{}, []result.HostUsage{}
	record.Facts = o.factsOf(m.running, portal)
	m.Record = record
	done := view.During("reading logs, settings and statements")
	m.collect(context.WithoutCancel(ctx))
	m.complete()
	done()
	slices.SortFunc(record.Facts, func(a, b result.Fact) int { return strings.Compare(a.Key, b.Key) })
	bench.Judge(record)
	return record, nil
}

// newEngine restricts the generator to its CPUs and returns its engine. The servers must run already: they would inherit the restriction.
func (o Options) newEngine(m *measurement) (*load.Engine, error) {
	cpus, err := parseCPUs(o.GeneratorCPUs)
	if err != nil {
		return nil, err
	}
	if len(cpus) > 0 {
		if err := load.Pin(cpus); err != nil {
			return nil, err
		}
	}
	var recorder load.RecorderOptions
	if m.hits != nil {
		recorder.Log = m.hits.Writer
	}
	m.counted = load.NewRecorder(recorder)
	opts := load.Options{Recorder: m.counted, ConnectTimeout: Times(o.Patience, load.ConnectTimeout), RequestTimeout: Times(o.Patience, load.RequestTimeout)}
	reach(&opts, m)
	return load.NewEngine(opts), nil
}

// blameTheDead fails a round in which servers exited: other errors follow from that, and a dead proxy's workers may hide it.
func blameTheDead(out *bench.Outcome, err error, ended []string) error {
	for _, e := range ended {
		what, log, _ := strings.Cut(e, "; the end of its log:")
		if err != nil {
			err = fmt.Errorf("%s (then: %w)", what, err)
			continue
		}
		out.Fail("a server stopped during the round: "+what, log)
	}
	return err
}

// NewPortal returns the scenario for a portal at webURL that holds data.
func NewPortal(engine *load.Engine, webURL, workerToken string, data *dataset.Data, mix scenario.Mix) (*scenario.Portal, error) {
	web, err := load.ParseOrigin(webURL)
	if err != nil {
		return nil, err
	}
	assets, err := frontPage()
	if err != nil {
		return nil, err
	}
	return scenario.New(scenario.Options{
		Seed: data.Seed, Engine: engine, Web: web, WorkerToken: workerToken, Dataset: datasetFor(data), Assets: assets, Mix: mix,
	})
}

// lowestCapacity is the rate, in visits a second, at which the search for the capacity begins.
const lowestCapacity = 50

// shapeText is the shape that was asked for; --users is short for one.
func (o Options) shapeText() string {
	if o.Users > 0 {
		return fmt.Sprintf("users=%d", o.Users)
	}
	return o.Shape
}

func (o Options) factsOf(running *infra.Running, portal *scenario.Portal) []result.Fact {
	facts := []result.Fact{{Key: "isukit", Value: strings.TrimSpace(release.Version + " " + release.Commit())}, {Key: "shape", Value: o.shapeText()}}
	if strings.HasPrefix(o.Shape, "rate=") || o.Shape == "capacity" {
		facts = append(facts, result.Fact{Key: "arrivals", Value: o.Arrivals})
	}
	if scenario.Mix(o.Mix) == scenario.Audience {
		facts = append(facts, result.Fact{Key: "mix", Value: o.Mix})
	}
	if o.Shape == "capacity" {
		facts = append(facts, result.Fact{Key: "objective", Value: fmt.Sprintf("p99 %v, errors %g", o.Objective.P99, o.Objective.MaxErrorRatio)})
	}
	if o.Patience != 1 {
		facts = append(facts, result.Fact{Key: "patience", Value: fmt.Sprint(o.Patience)})
	}
	if o.App != "" {
		facts = append(facts, result.Fact{Key: "app_binary", Value: digestOf(o.App)})
	}
	if o.GeneratorCPUs != "" {
		facts = append(facts, result.Fact{Key: "generator_cpus", Value: o.GeneratorCPUs})
	}
	facts = append(facts, o.faultFacts()...)
	for _, f := range running.Facts {
		facts = append(facts, result.Fact{Key: f.Key, Value: f.Value})
	}
	for key, value := range portal.Facts() {
		facts = append(facts, result.Fact{Key: key, Value: value})
	}
	return facts
}

// digestOf is the beginning of a file's SHA-256, by which builds of an app differ; or the reason why it cannot be read.
func digestOf(path string) string {
	f, err := os.Open(path)
	if err != nil {
		return err.Error()
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return err.Error()
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}

// frontPage returns the static files that the proxy serves, by URL path.
func frontPage() (map[string][]byte, error) {
	entries, err := isukit.Assets.ReadDir("nginx/static")
	if err != nil {
		return nil, err
	}
	assets := map[string][]byte{}
	for _, e := range entries {
		body, err := isukit.Assets.ReadFile("nginx/static/" + e.Name())
		if err != nil {
			return nil, err
		}
		if e.Name() == "index.html" {
			assets["/"] = body
			continue
		}
		assets["/"+e.Name()] = body
	}
	return assets, nil
}

// datasetFor tells the scenario what its users know of the app's initial data.
func datasetFor(d *dataset.Data) scenario.Dataset {
	standings := map[int64]dataset.Standing{}
	for _, s := range d.Standings() {
		standings[s.TeamID] = s
	}
	logins := map[int64]scenario.Login{}
	for i := range d.Contestants {
		logins[d.Contestants[i].ID] = loginOf(&d.Contestants[i])
	}
	out := scenario.Dataset{Admin: loginOf(&d.Admin)}
	for i := range d.Teams {
		t := &d.Teams[i]
		s := standings[t.ID]
		out.Teams = append(out.Teams, scenario.Team{
			ID: t.ID, Name: t.Name, Tags: t.Tags,
			BestScore: s.BestScore, LatestScore: s.LatestScore, PassedResults: int32(s.ResultCount),
		})
		out.Leaders = append(out.Leaders, logins[t.MemberIDs[0]])
	}
	return out
}

func loginOf(c *dataset.Contestant) scenario.Login {
	return scenario.Login{ContestantID: c.ID, Name: c.Name, Password: c.Password, TeamID: c.TeamID}
}
