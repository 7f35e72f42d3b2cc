package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/sync/errgroup"

	"isukit"
	"isukit/app/dataset"
	"isukit/bench"
	"isukit/bench/load"
	"isukit/bench/report"
	"isukit/bench/result"
	"isukit/bench/scenario"
	"isukit/cmd/internal/release"
	"isukit/infra"
	"isukit/infra/project"
)

// roundOptions are what a user may say about a round.
type roundOptions struct {
	topology string
	driver   string // "" is a run that leaves nothing
	cpuScale float64
	engine   string
	proxy    string
	duration time.Duration
	users    int
	shape    string
	arrivals string
	mix      string // who comes
	// objective is what the search for the capacity goes by.
	objective load.Objective
	seed      uint64
	scale     string
	results   string
	stateDir  string
	localDir  string
	app       string
	asJSON    bool
	quiet     bool
	explain   bool
	hits      bool
	// generatorCPUs are those to which the load generator is restricted, as "0-1,3"; "" is all.
	generatorCPUs string
	// capture is the file that takes the generator's traffic, captureShare the part of the connections that goes there.
	capture      string
	captureShare float64
	// keylog is the file that takes the keys of the TLS connections.
	keylog string
	// tune are names of tunings, beyond those of the topology, and acceptRisk those whose high risk is taken.
	tune, acceptRisk []string
	// carried are the flags that the next round has as well, as they stand on a command line.
	carried string
	// project is the project file; "" takes isukit.yaml where there is one.
	project string
}

// defaultDuration is how long a load lasts.
const defaultDuration = 30 * time.Second

func newRoundCmd(s streams) *cobra.Command {
	var o roundOptions
	cmd := &cobra.Command{
		Use:   "round",
		Short: "Run one round: reset, validate, load, check, score, and keep it",
		Long: `Run one round of the reference app: start it with private servers on 127.0.0.1, reset its data, validate every rule,
put load on it while checking every answer, compare the data at the end, and score. The record and a report go to
results/<time>-<topology>/. Everything that was started is gone afterwards. Exit code 3 says that the round ran and failed.

With --driver the topology is applied to that driver's hosts instead, as "isukit topology apply" does, and stays up until
"isukit topology down".

Where there is an isukit.yaml (isukit init writes one) and no --topology is given, the round is of that project instead: rotate
its logs, build, deploy, restart, run its benchmark, and keep what logs, databases, hosts and profiles tell of it.`,
		Example: `  isukit round
  isukit round --duration 10s --engine mysql
  isukit round --users 50 --json > round.json
  isukit round -t final-1 --driver lab
  isukit round --explain-score`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var err error
			if o.stateDir, err = stateDir(cmd); err != nil {
				return err
			}
			o.quiet, o.carried = isQuiet(cmd), nextOn(cmd, "", carriedFlags...)
			if !o.explain && !cmd.Flags().Changed("topology") {
				p, dir, err := findProject(o.project)
				if err != nil {
					return err
				}
				if p != nil {
					return o.ofProject(cmd.Context(), p, dir, s)
				}
			}
			return runRound(cmd.Context(), o, s)
		},
	}
	o.addFlags(cmd.Flags())
	return cmd
}

// ofProject plays a round of a project in place of the reference app.
func (o *roundOptions) ofProject(ctx context.Context, p *project.Project, dir string, s streams) error {
	if p.Benchmark.External {
		return usageError(errors.New("the project's benchmark is started by somebody else"), "isukit observe waits for it and records it")
	}
	return runProjectRound(ctx, p, dir, projectRoundOptions{results: o.results, stateDir: o.stateDir, asJSON: o.asJSON, quiet: o.quiet, notify: true}, s)
}

func (o *roundOptions) addFlags(f *pflag.FlagSet) {
	topologyFlag(f, &o.topology)
	f.StringVar(&o.driver, "driver", "", "apply the topology to the hosts of this driver, local, lab or ssh, and leave it up (default: a run on this machine that is gone afterwards)")
	cpuScaleFlag(f, &o.cpuScale)
	projectFlag(f, &o.project)
	engineFlag(f, &o.engine)
	proxyFlag(f, &o.proxy)
	f.DurationVar(&o.duration, "duration", defaultDuration, "how long the load lasts")
	f.IntVar(&o.users, "users", 0, "run exactly so many virtual users; 0 goes by --shape")
	f.StringVar(&o.shape, "shape", "grow", "users over time: "+shapeHelp)
	f.StringVar(&o.arrivals, "arrivals", "even", "visits of a rate come at even distances, or as poisson")
	f.StringVar(&o.mix, "mix", string(scenario.Everyone), "who comes: everyone, or audience for a portal that is read far more than written")
	f.DurationVar(&o.objective.P99, "objective-p99", 100*time.Millisecond, "highest 99th percentile that --shape capacity may find a rate with")
	f.Float64Var(&o.objective.MaxErrorRatio, "objective-errors", 0.001, "highest share of errors for --shape capacity, from 0 to 1")
	datasetFlags(f, &o.scale, &o.seed)
	resultsFlag(f, &o.results)
	programFlags(f, &o.localDir, &o.app)
	jsonFlag(f, &o.asJSON)
	f.BoolVar(&o.explain, "explain-score", false, "print what gives points and what takes them, and run nothing")
	f.BoolVar(&o.hits, "hits", true, "keep every hit in the record, for isukit hits")
	f.StringVar(&o.generatorCPUs, "generator-cpus", "", "restrict the load generator to these CPUs, as 0-1,3")
	f.StringVar(&o.capture, "capture", "", "write the generator's traffic to this new pcap file, for isukit capture")
	f.StringVar(&o.keylog, "keylog", "", "write the keys of the generator's TLS connections to this new file (NSS format), for isukit capture --keylog")
	f.StringSliceVar(&o.tune, "tune", nil, "apply these tunings before the round and take them back after it (see isukit tune ls)")
	acceptRiskFlag(f, &o.acceptRisk)
	f.Float64Var(&o.captureShare, "capture-share", 1, "the part of the connections that --capture writes, above 0 to 1")
}

func runRound(ctx context.Context, o roundOptions, s streams) error {
	if o.explain {
		_, err := fmt.Fprintln(s.out, strings.Join(scenario.Points().Explain(), "\n"))
		return err
	}
	spec, err := o.spec()
	if err != nil {
		return err
	}
	if err := checkResults(o.results); err != nil {
		return err
	}
	if err := errors.Join(checkNewFile("--capture", o.capture), checkNewFile("--keylog", o.keylog)); err != nil {
		return err
	}
	view := newRoundView(s, o.quiet, o.duration)
	spec.Progress = func(step string) { view.step("%s", step) }
	record, path, err := o.play(ctx, spec, view)
	if err != nil && record != nil {
		// The round was played and could not be kept; what it gave is not lost with it.
		return errors.Join(err, printRound(record, "", o.asJSON, s))
	}
	if err != nil {
		return err
	}
	if err := printRound(record, path, o.asJSON, s); err != nil && !readerGone(err) {
		return err
	}
	sayNext(s, o.quiet || o.asJSON, nextAfterRound(record, o, spec.HasEnvoy()))
	if !record.Passed {
		return errRoundFailed
	}
	return nil
}

// play starts everything, runs the round, keeps it, and takes everything down again, whatever happens.
func (o roundOptions) play(ctx context.Context, spec infra.Spec, view *roundView) (record *result.Round, path string, err error) {
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
			defer view.during("stopping what runs")()
			err = errors.Join(err, up.down(context.WithoutCancel(ctx)))
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
	defer func() { err = errors.Join(err, tuning.revert(context.WithoutCancel(ctx), view)) }()
	m := &measurement{running: running, say: view.step}
	done := view.during("looking for known traps")
	m.doctor = quickDoctor(ctx, running)
	done()
	if o.hits && o.shape != "capacity" { // its trials would all begin at zero
		if m.hits, err = newHitLog(); err != nil {
			return nil, "", err
		}
		defer m.hits.file.Close() // it has no name, nothing can be lost with it
	}
	if o.capture != "" {
		if m.traffic, err = newRoundCapture(o.capture, o.captureShare); err != nil {
			return nil, "", err
		}
		defer func() { err = errors.Join(err, m.traffic.close()) }()
	}
	if o.keylog != "" {
		if m.keys, err = newFile("--keylog", o.keylog); err != nil {
			return nil, "", err
		}
		defer func() { err = errors.Join(err, m.keys.Close()) }()
	}
	if record, err = o.bench(ctx, spec, m, data, view); err != nil {
		return nil, "", err
	}
	tuning.fill(record)
	done = view.during("fetching logs, and writing the record")
	defer done()
	files, drop, err := m.artifacts(context.WithoutCancel(ctx))
	if err != nil {
		return nil, "", err
	}
	defer drop()
	if len(record.Timeline) > 0 {
		files = append(files, histograms(m.counted))
	}
	files = append(files, result.File{Path: "report.html", About: "this round as a page", Write: func(w io.Writer, r *result.Round) error {
		return report.HTML(w, r)
	}})
	path, err = result.Write(o.results, record, files...)
	return record, path, err
}

// bench runs the round against servers that are up.
func (o roundOptions) bench(ctx context.Context, spec infra.Spec, m *measurement, data *dataset.Data, view *roundView) (*result.Round, error) {
	engine, err := o.newEngine(m)
	if err != nil {
		return nil, err
	}
	portal, err := newPortal(engine, m.running.BaseURL, m.running.WorkerToken, data, scenario.Mix(o.mix))
	if err != nil {
		return nil, err
	}
	shape, err := parseShape(o.shapeText())
	if err != nil {
		return nil, err
	}
	arrivals, err := parseArrivals(o.arrivals)
	if err != nil {
		return nil, err
	}
	var search *load.Capacity
	if shape.capacity {
		search = &load.Capacity{FromPerSec: lowestCapacity}
	}
	view.setCPUs(spec.Topology, m.running, o.driver)
	out, err := bench.Run(ctx, bench.Options{
		Scenario: withReplicas(portal, m.running, spec.Topology), Engine: engine, Seed: o.seed, Duration: o.duration,
		Shape: shape.users, Profile: shape.profile, Arrivals: arrivals, Capacity: search, Objective: o.objective,
		OnPhase: view.onPhase, OnTick: func(t load.Tick) { view.onTick(t, m.live) }, OnTrial: view.onTrial,
		AroundLoad: m.around,
	})
	if ctx.Err() == nil {
		err = blameTheDead(out, err, m.running.Ended(ctx))
	}
	if err != nil {
		return nil, err
	}
	record := &result.Round{
		Format: result.FormatVersion, ID: result.NewID(out.StartedAt, spec.Topology.Name), Topology: spec.Topology.Name,
		Scenario: portal.Name(), Seed: spec.Seed, LoadSeconds: math.Round(o.duration.Seconds()*1000) / 1000,
	}
	out.Fill(record)
	if err := out.Summary.LogErr; err != nil {
		record.Warnings = append(record.Warnings, fmt.Sprintf("the hit log is not whole: %v", err))
	}
	m.fill(record)
	record.Facts = o.factsOf(m.running, portal)
	bench.Judge(record)
	return record, nil
}

// newEngine restricts the generator to its CPUs and returns its engine. The servers run by then: they would inherit the
// restriction.
func (o roundOptions) newEngine(m *measurement) (*load.Engine, error) {
	cpus, err := parseCPUs(o.generatorCPUs)
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
		recorder.Log = m.hits.writer
	}
	m.counted = load.NewRecorder(recorder)
	opts := load.Options{Recorder: m.counted}
	reach(&opts, m)
	return load.NewEngine(opts), nil
}

// blameTheDead fails a round in which servers ended by themselves: whatever else went wrong followed from that, and a
// proxy whose workers outlived it would not even have been noticed.
func blameTheDead(out *bench.Outcome, err error, ended []string) error {
	for _, e := range ended {
		what, log, _ := strings.Cut(e, "; the end of its log:")
		if err != nil {
			err = fmt.Errorf("%s (then: %w)", what, err)
			continue
		}
		out.Fail("a server ended during the round: "+what, log)
	}
	return err
}

// newPortal returns the scenario for a portal at webURL that holds data.
func newPortal(engine *load.Engine, webURL, workerToken string, data *dataset.Data, mix scenario.Mix) (*scenario.Portal, error) {
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
func (o roundOptions) shapeText() string {
	if o.users > 0 {
		return fmt.Sprintf("users=%d", o.users)
	}
	return o.shape
}

// factsOf lists the conditions under which the round ran.
func (o roundOptions) factsOf(running *infra.Running, portal *scenario.Portal) []result.Fact {
	facts := []result.Fact{{Key: "isukit", Value: strings.TrimSpace(release.Version + " " + release.Commit())}, {Key: "shape", Value: o.shapeText()}}
	if strings.HasPrefix(o.shape, "rate=") || o.shape == "capacity" {
		facts = append(facts, result.Fact{Key: "arrivals", Value: o.arrivals})
	}
	if scenario.Mix(o.mix) == scenario.Audience {
		facts = append(facts, result.Fact{Key: "mix", Value: o.mix})
	}
	if o.shape == "capacity" {
		facts = append(facts, result.Fact{Key: "objective", Value: fmt.Sprintf("p99 %v, errors %g", o.objective.P99, o.objective.MaxErrorRatio)})
	}
	if o.generatorCPUs != "" {
		facts = append(facts, result.Fact{Key: "generator_cpus", Value: o.generatorCPUs})
	}
	for _, f := range running.Facts {
		facts = append(facts, result.Fact{Key: f.Key, Value: f.Value})
	}
	for key, value := range portal.Facts() {
		facts = append(facts, result.Fact{Key: key, Value: value})
	}
	slices.SortFunc(facts, func(a, b result.Fact) int { return strings.Compare(a.Key, b.Key) })
	return facts
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
