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

// roundOptions are what a user may say about a round.
type roundOptions struct {
	round.Options
	asJSON, quiet, explain bool
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
its logs, build, deploy, restart, run its benchmark, and keep what logs, databases, hosts and profiles tell of it. A topology of that
file is applied to the project's hosts before, and stays up.`,
		Example: `  isukit round
  isukit round --duration 10s --engine mysql
  isukit round --users 50 --json > round.json
  isukit round -t final-1 --driver lab
  isukit round --tune mysql/memory,nginx/keepalive
  isukit round --explain-score`,
		Args: noTopologyArgument,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var err error
			if o.StateDir, err = stateDir(cmd); err != nil {
				return err
			}
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

// noTopologyArgument refuses arguments, and says how a topology is named that was meant by one.
func noTopologyArgument(cmd *cobra.Command, args []string) error {
	if len(args) == 1 && slices.Contains(infra.ShippedNames(), args[0]) {
		return ui.UsageError(fmt.Errorf("%s takes no argument, and got %q", cmd.CommandPath(), args[0]), "isukit round -t "+args[0])
	}
	return cobra.NoArgs(cmd, args)
}

// ofProject plays a round of a project in place of the reference app.
func (o *roundOptions) ofProject(ctx context.Context, p *project.Project, dir string, s streams) error {
	if p.Benchmark.External {
		return ui.UsageError(errors.New("the project's benchmark is started by somebody else"), "isukit observe waits for it and records it")
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
	f.StringVar(&o.Driver, "driver", "", "apply the topology to the hosts of this driver, local, lab or ssh, and leave it up (default: a run on this machine that is gone afterwards)")
	cpuScaleFlag(f, &o.CpuScale)
	projectFlag(f, &o.project)
	engineFlag(f, &o.Engine)
	proxyFlag(f, &o.Proxy)
	f.DurationVar(&o.Duration, "duration", defaultDuration, "how long the load lasts")
	f.IntVar(&o.Users, "users", 0, "run exactly so many virtual users; 0 goes by --shape")
	f.StringVar(&o.Shape, "shape", "grow", "users over time: "+round.ShapeHelp)
	f.StringVar(&o.Arrivals, "arrivals", "even", "visits of a rate come at even distances, or as poisson")
	f.StringVar(&o.Mix, "mix", string(scenario.Everyone), "who comes: everyone, or audience for a portal that is read far more than written")
	f.DurationVar(&o.Objective.P99, "objective-p99", 100*time.Millisecond, "highest 99th percentile that --shape capacity may find a rate with")
	f.Float64Var(&o.Objective.MaxErrorRatio, "objective-errors", 0.001, "highest share of errors for --shape capacity, from 0 to 1")
	datasetFlags(f, &o.Scale, &o.Seed)
	resultsFlag(f, &o.Results)
	programFlags(f, &o.LocalDir, &o.App)
	patienceFlag(f, &o.Patience)
	jsonFlag(f, &o.asJSON)
	f.BoolVar(&o.explain, "explain-score", false, "print what gives points and what takes them, and run nothing")
	f.BoolVar(&o.Hits, "hits", true, "keep every hit in the record, for isukit hits")
	f.StringVar(&o.GeneratorCPUs, "generator-cpus", "", "restrict the load generator to these CPUs, as 0-1,3")
	f.StringVar(&o.Capture, "capture", "", "write the generator's traffic to this new pcap file, for isukit capture")
	f.StringVar(&o.Keylog, "keylog", "", "write the keys of the generator's TLS connections to this new file (NSS format), for isukit capture --keylog")
	f.StringSliceVar(&o.Tune, "tune", nil, "apply these tunings before the round and take them back after it (see isukit tune ls)")
	acceptRiskFlag(f, &o.AcceptRisk)
	f.Float64Var(&o.CaptureShare, "capture-share", 1, "the part of the connections that --capture writes, above 0 to 1")
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

// play plays a round, prints it, and says what could be done next.
func (o roundOptions) play(ctx context.Context, spec infra.Spec, s streams) error {
	view := ui.NewRoundView(s.err, o.quiet, o.Duration)
	spec.Progress = func(step string) { view.Step("%s", step) }
	record, path, err := o.Options.Play(ctx, spec, view)
	if err != nil && record != nil {
		// The round was played, and could not be kept or cleared away; what it gave is not lost with that.
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
