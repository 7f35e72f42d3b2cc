package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"isukit/bench/scenario"
	"isukit/cmd/internal/round"
	"isukit/cmd/internal/ui"
	"isukit/infra"
	"isukit/infra/project"
)

type roundOptions struct {
	round.Options
	asJSON, quiet, explain bool
	// carried are the flags that the next round has as well, as they stand on a command line.
	carried string
	// project is the project file; "" takes isukit.yaml where there is one.
	project string
}

const defaultDuration = 30 * time.Second

func newRoundCmd(s streams) *cobra.Command {
	var o roundOptions
	cmd := &cobra.Command{
		Use:   "round",
		Short: "Run one benchmark round and save its result",
		Long: `A round is one benchmark run of the reference app. isukit starts the app and its servers on 127.0.0.1, resets the data, tests every
rule, sends load and checks every response, compares the data at the end, and computes the score. The record and a report are saved in
results/<time>-<topology>/. isukit then stops everything that it started. Exit code 3: the round ran and failed.

With --driver, isukit deploys the topology to that driver's hosts, and it keeps running until "isukit topology down".

If the directory has an isukit.yaml ("isukit init" writes one) and --topology is not given, the round runs that project: rotate its
logs, build, deploy, restart, run its benchmark, and save what logs, databases, hosts and profiles show. -t NAME of that file first
deploys that topology to the project's hosts.`,
		Example: `  isukit round
  isukit round --duration 10s --engine mysql
  isukit round --users 50 --json > round.json
  isukit round -t final-1 --driver lab
  isukit round --tune mysql/memory,nginx/keepalive
  isukit round --explain-score`,
		Args: noTopologyArgument,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var err error
			o.StateDir = stateDir(cmd)
			o.quiet, o.carried = isQuiet(cmd), nextOn(cmd, "", carriedFlags...)
			p, dir, err := roundedProject(cmd)
			if err != nil {
				return err
			}
			if p != nil {
				if !cmd.Flags().Changed("topology") {
					o.Topology = ""
				}
				return o.ofProject(cmd.Context(), p, dir, s)
			}
			return runRound(cmd.Context(), o, s)
		},
	}
	o.addFlags(cmd.Flags())
	return cmd
}

// roundedProject is the project that a round is of; nil for one of the portal. --topology means the project where it has one of that name.
func roundedProject(cmd *cobra.Command) (*project.Project, string, error) {
	f := cmd.Flags()
	if explain, _ := f.GetBool("explain-score"); explain {
		return nil, "", nil
	}
	file, _ := f.GetString("project")
	name, _ := f.GetString("topology")
	if f.Changed("topology") && (f.Changed("driver") || strings.ContainsAny(name, "./")) {
		return nil, "", nil
	}
	p, dir, err := round.FindProject(file)
	if p != nil && f.Changed("topology") {
		if _, ok := p.Placement(name); !ok {
			return nil, "", nil
		}
	}
	return p, dir, err
}

// noTopologyArgument refuses arguments, and shows how to name a topology.
func noTopologyArgument(cmd *cobra.Command, args []string) error {
	if len(args) == 1 && slices.Contains(infra.ShippedNames(), args[0]) {
		return ui.UsageError(fmt.Errorf("%s takes no arguments, got %q", cmd.CommandPath(), args[0]), "isukit round -t "+args[0])
	}
	return cobra.NoArgs(cmd, args)
}

// ofProject plays a round of a project instead of the reference app.
func (o *roundOptions) ofProject(ctx context.Context, p *project.Project, dir string, s streams) error {
	if p.Benchmark.External {
		return ui.UsageError(errors.New("isukit does not start this project's benchmark (benchmark.external is true)"), "record it with isukit observe, or set benchmark.command in isukit.yaml")
	}
	list, err := round.FindTunings(o.Tune, o.AcceptRisk)
	if err != nil {
		return err
	}
	return runProjectRound(ctx, p, dir, projectRoundOptions{
		results: o.Results, stateDir: o.StateDir, asJSON: o.asJSON, quiet: o.quiet, notify: true, tune: list, place: o.Topology,
	}, s)
}

func (o *roundOptions) addFlags(f *pflag.FlagSet) {
	topologyFlag(f, &o.Topology)
	f.StringVar(&o.Driver, "driver", "", "where to deploy the topology: local, lab or ssh; it keeps running after the round (default: on this machine, removed after the round)")
	cpuScaleFlag(f, &o.CpuScale)
	projectFlag(f, &o.project)
	engineFlag(f, &o.Engine)
	proxyFlag(f, &o.Proxy)
	f.DurationVar(&o.Duration, "duration", defaultDuration, "length of the load phase")
	f.IntVar(&o.Users, "users", 0, "fixed number of virtual users; 0: --shape decides")
	f.StringVar(&o.Shape, "shape", "grow", "number of users over time: "+round.ShapeHelp)
	f.StringVar(&o.Arrivals, "arrivals", "even", "spacing of the visits of --shape rate=R: even or poisson")
	f.StringVar(&o.Mix, "mix", string(scenario.Everyone), "user mix: everyone (a contest) or audience (mostly readers)")
	f.DurationVar(&o.Objective.P99, "objective-p99", 100*time.Millisecond, "with --shape capacity: p99 latency that the rate must not exceed")
	f.Float64Var(&o.Objective.MaxErrorRatio, "objective-errors", 0.001, "with --shape capacity: ratio of errors that the rate must not exceed (0 to 1)")
	datasetFlags(f, &o.Scale, &o.Seed)
	resultsFlag(f, &o.Results)
	programFlags(f, &o.LocalDir, &o.App)
	patienceFlag(f, &o.Patience)
	jsonFlag(f, &o.asJSON)
	f.BoolVar(&o.explain, "explain-score", false, "explain how the score is calculated, and exit")
	f.BoolVar(&o.Hits, "hits", true, "save every request, for isukit hits")
	f.StringVar(&o.GeneratorCPUs, "generator-cpus", "", "CPUs of the load generator, for example 0-1,3")
	f.StringVar(&o.Capture, "capture", "", "save the load generator's traffic to this pcap file, which must not exist")
	f.StringVar(&o.Keylog, "keylog", "", "write the TLS session keys to this file (NSS key log; must not exist), for isukit capture --keylog")
	f.StringSliceVar(&o.Tune, "tune", nil, "apply these tunings for this round only; isukit reverts them afterwards (see isukit tune ls)")
	acceptRiskFlag(f, &o.AcceptRisk)
	f.StringArrayVar(&o.Faults, "fault", nil, `with --driver lab: disturb a host's link during the load, for example "s1 at=5s for=3s loss=5%" (keys: see isukit lab fault; repeatable)`)
	f.Float64Var(&o.CaptureShare, "capture-share", 1, "with --capture: fraction of the connections to save (0 < f <= 1)")
}

func runRound(ctx context.Context, o roundOptions, s streams) error {
	if o.explain {
		_, err := fmt.Fprintln(s.out, strings.Join(scenario.Points().Explain(), "\n"))
		return err
	}
	spec, err := o.Spec()
	if err != nil {
		return err
	}
	if err := round.CheckResults(o.Results); err != nil {
		return err
	}
	if err := errors.Join(round.CheckNewFile("--capture", o.Capture), round.CheckNewFile("--keylog", o.Keylog)); err != nil {
		return err
	}
	return o.play(ctx, spec, s)
}

// play plays a round, prints it and suggests the next command.
func (o roundOptions) play(ctx context.Context, spec infra.Spec, s streams) error {
	view := ui.NewRoundView(s.err, o.quiet, o.Duration)
	spec.Progress = func(step string) { view.Step("%s", step) }
	record, path, err := o.Options.Play(ctx, spec, view)
	if err != nil && record != nil {
		// The round was played but could not be saved or cleaned up after; its result is printed anyway.
		return errors.Join(err, printRound(record, path, o.asJSON, s))
	}
	if err != nil {
		return err
	}
	if err := printRound(record, path, o.asJSON, s); err != nil && !readerGone(err) {
		return err
	}
	sayNext(s, o.quiet || o.asJSON, nextAfterRound(record, o, spec.HasEnvoy()))
	if !record.Passed {
		return ui.ErrRoundFailed
	}
	return nil
}
