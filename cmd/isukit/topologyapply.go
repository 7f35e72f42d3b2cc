package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"isukit/cmd/internal/round"
	"isukit/cmd/internal/ui"
	"isukit/infra"
	"isukit/infra/site"
)

type siteOptions struct {
	driver   string
	scale    float64
	localDir string
	app      string
	engine   string
	proxy    string
	dataset  string
	seed     uint64
	patience float64
	project  string
}

func (o *siteOptions) addFlags(f *pflag.FlagSet) {
	upDriverFlag(f, &o.driver)
	projectFlag(f, &o.project)
	programFlags(f, &o.localDir, &o.app)
}

// onTopology runs placed for the project whose topologies a command means, or otherwise portal on the site of the driver.
func (o siteOptions) onTopology(cmd *cobra.Command, s streams, top string, changes bool, placed func(context.Context, *round.Opened, *site.Site) error, portal func(context.Context, *infra.Site) error) error {
	p, dir, err := projectPlaced(cmd)
	if err != nil {
		return err
	}
	if p != nil {
		return withPlaced(cmd, s, p, dir, o.patience, changes, placed)
	}
	return o.withSite(cmd, s, top, portal)
}

// withSite opens the site of the driver, runs fn, and lets go of it; what is up stays up.
func (o siteOptions) withSite(cmd *cobra.Command, s streams, top string, fn func(context.Context, *infra.Site) error) (err error) {
	dir := stateDir(cmd)
	spec := infra.Spec{
		StateDir: dir, LocalDir: o.localDir, AppBinary: o.app, Scale: o.dataset, Seed: o.seed,
		KeepDataset: !cmd.Flags().Changed("scale") && !cmd.Flags().Changed("seed"),
	}
	if top != "" {
		if spec.Topology, err = readTopology(top); err != nil {
			return err
		}
		spec.Topology, err = round.WithServers(spec.Topology, o.engine, o.proxy)
		if err = errors.Join(err, round.CheckPatience(o.patience), round.CheckScale(o.dataset)); err != nil {
			return ui.UsageError(err, `see "isukit topology apply --help"`)
		}
		spec.HealthLimit = round.Times(o.patience, infra.HealthLimit)
	}
	if !isQuiet(cmd) {
		spec.Progress = func(step string) { fmt.Fprintln(s.err, "isukit: "+step) }
	}
	if o.driver, err = round.FindDriver(o.driver, dir); err != nil {
		return err
	}
	return round.WithSite(cmd.Context(), cmp.Or(o.driver, "local"), o.scale, spec, func(site *infra.Site) error { return fn(cmd.Context(), site) })
}

func newTopologyApplyCmd(s streams) *cobra.Command {
	var o siteOptions
	var a infra.ApplyOptions
	var dryRun, asJSON bool
	cmd := &cobra.Command{
		Use:   "apply TOPOLOGY",
		Short: "Deploy a topology, changing only what differs",
		Long: `Print the plan for each host, then apply it: databases first, then the app, then the proxies. Each service is restarted at most once. isukit
waits until every service is healthy. If one does not become healthy, isukit restores the previous topology and prints the reason.
Services and files that are not in the new topology are removed. A database that moves takes its data with it. Without --scale and --seed
databases keep their data; another dataset replaces it.

The topology keeps running until "isukit topology down".

For a project, isukit edits addresses in the services' files, enables and starts units where the topology has them, disables and stops them
elsewhere, grants access to databases, and moves data. It first records every original on its host.`,
		Example: "  isukit topology apply single --dry-run\n  isukit topology apply final-2 --driver lab",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return o.onTopology(cmd, s, args[0], !dryRun, func(ctx context.Context, opened *round.Opened, placed *site.Site) error {
				return runPlacedApply(ctx, cmd, opened, placed, args[0], dryRun, a.Force, asJSON, s)
			}, func(ctx context.Context, site *infra.Site) error {
				if dryRun {
					return runDryRun(ctx, cmd, args[0], o.driver, site, asJSON, s)
				}
				return runApply(ctx, cmd, args[0], o.driver, site, a, asJSON, s)
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.driver, "driver", "local", round.DriverHelp)
	projectFlag(f, &o.project)
	programFlags(f, &o.localDir, &o.app)
	patienceFlag(f, &o.patience)
	cpuScaleFlag(f, &o.scale)
	engineFlag(f, &o.engine)
	proxyFlag(f, &o.proxy)
	datasetFlags(f, &o.dataset, &o.seed)
	f.BoolVar(&dryRun, "dry-run", false, "print the plan without applying it")
	jsonFlag(f, &asJSON)
	f.BoolVar(&a.Fresh, "fresh", false, "reset all databases to the initial dataset; their current data is lost")
	f.BoolVar(&a.Force, "force", false, "overwrite files that were changed outside isukit")
	return cmd
}

func runDryRun(ctx context.Context, cmd *cobra.Command, top, driver string, site *infra.Site, asJSON bool, s streams) error {
	p, err := site.Plan(ctx)
	if err != nil {
		return err
	}
	if err := printPlan(s.out, p, asJSON); err != nil || p.Empty() {
		return err
	}
	sayNext(s, isQuiet(cmd) || asJSON, nextAfterApply(cmd, top, driver, true))
	return nil
}

func runApply(ctx context.Context, cmd *cobra.Command, top, driver string, site *infra.Site, a infra.ApplyOptions, asJSON bool, s streams) error {
	a.Holder = round.UserName()
	var printErr error
	a.Planned = func(p *infra.Plan) { printErr = printPlan(s.out, p, asJSON) }
	begin := time.Now()
	p, err := site.Apply(ctx, a)
	if err == nil && !p.Empty() && !isQuiet(cmd) {
		fmt.Fprintf(s.err, "isukit: topology %s is up at %s (%.1f s)\n", p.Topology, p.URL(), time.Since(begin).Seconds())
	}
	if err == nil {
		sayNext(s, isQuiet(cmd) || asJSON, nextAfterApply(cmd, top, driver, false))
	}
	return errors.Join(err, printErr)
}

func printPlan(out io.Writer, p interface{ Text() string }, asJSON bool) error {
	if asJSON {
		return ui.PrintJSON(out, p)
	}
	_, err := io.WriteString(out, p.Text())
	return err
}

func newTopologyStatusCmd(s streams) *cobra.Command {
	var o siteOptions
	var asJSON bool
	cmd := &cobra.Command{
		Use: "status", Short: "Show the running topology, its hosts and the health of its services", Example: "  isukit topology status --driver lab", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return o.onTopology(cmd, s, "", false, func(ctx context.Context, _ *round.Opened, placed *site.Site) error {
				return runPlacedStatus(ctx, placed, asJSON, s)
			}, func(ctx context.Context, site *infra.Site) error {
				st, err := site.Status(ctx)
				if st == nil {
					return err
				}
				print := printStatus
				if asJSON {
					print = func(out io.Writer, st *infra.Status) error { return ui.PrintJSON(out, st) }
				}
				return errors.Join(print(s.out, st), err)
			})
		},
	}
	o.addFlags(cmd.Flags())
	jsonFlag(cmd.Flags(), &asJSON)
	return cmd
}

func printStatus(out io.Writer, st *infra.Status) error {
	if st.Topology == "" && len(st.Hosts) > 0 {
		_, err := fmt.Fprintf(out, "the topology of driver %s is unknown: not all hosts are reachable\n", st.Driver)
		return err
	}
	if st.Topology == "" {
		_, err := fmt.Fprintf(out, "no topology runs with driver %s\n", st.Driver)
		return err
	}
	note := ""
	if !st.Complete {
		note = "; its apply was interrupted: apply it again, or remove it with \"isukit topology down\""
	}
	fmt.Fprintf(out, "topology %s (%s), driver %s, %s%s\n", st.Topology, st.Hash, st.Driver, st.URL, note)
	for _, h := range st.Hosts {
		if !h.BootedAt.IsZero() {
			fmt.Fprintf(out, "%s was booted at %s\n", h.Name, sinceText(h.BootedAt))
		}
		if h.Error != "" {
			fmt.Fprintf(out, "%s is unreachable\n", h.Name) // the error says why
		}
	}
	w := ui.NewTable(out)
	fmt.Fprintln(w, "HOST\tCPUS\tMEMORY\tINSTANCE\tKIND\tADDRESS\tSTATE\tSINCE")
	for _, h := range st.Hosts {
		for _, i := range h.Instances {
			fmt.Fprintf(w, "%s\t%.2f\t%d MiB\t%s\t%s\t%s\t%s\t%s\n", h.Name, h.CPUs, h.MemoryBytes>>20, i.Name, i.Kind, i.Address, stateText(i), sinceText(i.Since))
		}
	}
	return w.Flush()
}

func sinceText(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.Format(time.DateTime)
}

func stateText(i infra.InstanceStatus) string {
	switch {
	case i.OutOfMemory:
		return "killed: out of memory"
	case strings.HasPrefix(i.Exit, "not started"), i.Exit == infra.Unknown:
		return i.Exit
	case !i.Running:
		return "ended: " + i.Exit
	case !i.Healthy:
		return "does not answer"
	}
	return "healthy"
}

func newTopologyDownCmd(s streams) *cobra.Command {
	var o siteOptions
	cmd := &cobra.Command{
		Use: "down", Short: "Remove the topology and its hosts", Example: "  isukit topology down --driver lab", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return o.onTopology(cmd, s, "", true, func(ctx context.Context, opened *round.Opened, placed *site.Site) error {
				return runPlacedDown(ctx, cmd, opened, placed, s)
			}, func(ctx context.Context, site *infra.Site) error {
				name, err := site.Down(ctx, round.UserName())
				if err != nil || isQuiet(cmd) {
					return err
				}
				if name == "" {
					fmt.Fprintf(s.err, "isukit: no topology was running with driver %s\n", cmp.Or(o.driver, "local"))
					return nil
				}
				fmt.Fprintf(s.err, "isukit: topology %s was removed with everything it had\n", name)
				return nil
			})
		},
	}
	o.addFlags(cmd.Flags())
	return cmd
}
