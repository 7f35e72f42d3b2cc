package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"isukit/app/dataset"
	"isukit/infra"
)

// siteOptions are what commands about what is up have in common.
type siteOptions struct {
	driver   string
	scale    float64
	localDir string
	app      string
	engine   string
	dataset  string
	seed     uint64
	quiet    bool
}

func (o *siteOptions) addFlags(f *pflag.FlagSet) {
	f.StringVar(&o.driver, "driver", "local", driverHelp)
	f.StringVar(&o.localDir, "local-dir", "", `where "make mysql" and "make envoy" have put servers (default: .local here or beside isukit)`)
	f.StringVar(&o.app, "app", "", "the app's binary (default: isukit-app beside isukit)")
}

// withSite opens the site of the driver, runs fn, and lets go of it; what is up stays up.
func (o siteOptions) withSite(cmd *cobra.Command, s streams, top string, fn func(context.Context, *infra.Site) error) error {
	dir, err := stateDir(cmd)
	if err != nil {
		return err
	}
	spec := infra.Spec{StateDir: dir, LocalDir: roundOptions{localDir: o.localDir}.findLocalDir(), Scale: o.dataset, Seed: o.seed}
	if top != "" {
		if spec.Topology, err = readTopology(top); err != nil {
			return err
		}
		if err := dataset.Scale(o.dataset).Validate(); err != nil {
			return usageError(fmt.Errorf("--scale: %w", err), `see "isukit topology apply --help"`)
		}
		if spec.Topology, err = withEngine(spec.Topology, o.engine); err != nil {
			return usageError(err, `see "isukit topology apply --help"`)
		}
	}
	if spec.AppBinary, err = besideMe(o.app, "isukit-app"); err != nil {
		return err
	}
	if !o.quiet {
		spec.Progress = func(step string) { fmt.Fprintln(s.err, "isukit: "+step) }
	}
	driver, err := openDriver(o.driver, dir, o.scale, true)
	if err != nil {
		return faultHint(err)
	}
	err = fn(cmd.Context(), infra.NewSite(driver, spec))
	return faultHint(errors.Join(err, driver.Close(context.WithoutCancel(cmd.Context()))))
}

func newTopologyApplyCmd(s streams) *cobra.Command {
	var o siteOptions
	var a infra.ApplyOptions
	var dryRun, asJSON bool
	cmd := &cobra.Command{
		Use:   "apply TOPOLOGY",
		Short: "Make the hosts what a topology says, touching only what differs",
		Long: `Print what is to be created, changed, restarted and removed on each host, then do it: databases first, then the app, then the
proxies, each service restarted at most once, and wait until each is healthy. When one does not get healthy, what ran before is
put back, and the reason is told. What is no longer declared is removed. The data of a database that moves goes with it.

What is up stays up when this command ends, until "isukit topology down".`,
		Example: "  isukit topology apply single --dry-run\n  isukit topology apply final-2 --driver lab",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return o.withSite(cmd, s, args[0], func(ctx context.Context, site *infra.Site) error {
				if dryRun {
					p, err := site.Plan(ctx)
					if err != nil {
						return err
					}
					return printPlan(s.out, p, asJSON)
				}
				a.Holder = userName()
				var printErr error
				a.Planned = func(p *infra.Plan) { printErr = printPlan(s.out, p, asJSON) }
				begin := time.Now()
				p, err := site.Apply(ctx, a)
				if err == nil && !p.Empty() && !o.quiet {
					fmt.Fprintf(s.err, "isukit: topology %s is up (%.1f s)\n", p.Topology, time.Since(begin).Seconds())
				}
				return errors.Join(err, printErr)
			})
		},
	}
	f := cmd.Flags()
	o.addFlags(f)
	f.Float64Var(&o.scale, "cpu-scale", 0, "in the lab, give each host this part of the CPUs it declares (default: what fits into three quarters of the machine)")
	f.StringVar(&o.engine, "engine", "auto", "database server: mariadb, mysql, or auto for what is there")
	f.StringVar(&o.dataset, "scale", string(dataset.Standard), "size of the dataset that new databases begin with: small or standard")
	f.Uint64Var(&o.seed, "seed", 1, "seed of that dataset")
	f.BoolVarP(&o.quiet, "quiet", "q", false, "say nothing while it runs")
	f.BoolVar(&dryRun, "dry-run", false, "print what would be done, and do nothing")
	f.BoolVar(&asJSON, "json", false, "print the plan as JSON")
	f.BoolVar(&a.Fresh, "fresh", false, "let all databases begin with the dataset, whatever they hold now")
	f.BoolVar(&a.Force, "force", false, "overwrite what someone else has changed")
	return cmd
}

func printPlan(out io.Writer, p *infra.Plan, asJSON bool) error {
	if asJSON {
		return printJSON(out, p)
	}
	_, err := io.WriteString(out, p.Text())
	return err
}

func newTopologyStatusCmd(s streams) *cobra.Command {
	var o siteOptions
	var asJSON bool
	cmd := &cobra.Command{
		Use: "status", Short: "Tell what is up, where, and whether it is healthy", Example: "  isukit topology status --driver lab", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return o.withSite(cmd, s, "", func(ctx context.Context, site *infra.Site) error {
				st, err := site.Status(ctx)
				if err != nil {
					return err
				}
				if asJSON {
					return printJSON(s.out, st)
				}
				return printStatus(s.out, st)
			})
		},
	}
	o.addFlags(cmd.Flags())
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func printStatus(out io.Writer, st *infra.Status) error {
	if st.Topology == "" {
		_, err := fmt.Fprintf(out, "no topology is up with driver %s\n", st.Driver)
		return err
	}
	note := ""
	if !st.Complete {
		note = "; its apply did not come to its end"
	}
	fmt.Fprintf(out, "topology %s (%s), driver %s, %s%s\n", st.Topology, st.Hash, st.Driver, st.URL, note)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "HOST\tCPUS\tMEMORY\tINSTANCE\tKIND\tADDRESS\tSTATE\tSINCE")
	for _, h := range st.Hosts {
		for _, i := range h.Instances {
			fmt.Fprintf(w, "%s\t%.2f\t%d MiB\t%s\t%s\t%s\t%s\t%s\n", h.Name, h.CPUs, h.MemoryBytes>>20, i.Name, i.Kind, i.Address, stateText(i), i.Since.Format(time.DateTime))
		}
	}
	return w.Flush()
}

func stateText(i infra.InstanceStatus) string {
	switch {
	case i.OutOfMemory:
		return "killed for want of memory"
	case !i.Running:
		return "ended: " + i.Exit
	case !i.Healthy:
		return "does not answer"
	}
	return "healthy"
}

func newTopologyVerifyCmd(s streams) *cobra.Command {
	var o siteOptions
	cmd := &cobra.Command{
		Use: "verify", Short: "Compare what is there with what was applied",
		Long:    "Compare files, services and data on every host with what was applied, and ask every instance whether it answers. The exit code is 1\nwhen something differs.",
		Example: "  isukit topology verify --driver lab", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return o.withSite(cmd, s, "", func(ctx context.Context, site *infra.Site) error {
				faults, err := site.Verify(ctx)
				if err != nil {
					return err
				}
				for _, f := range faults {
					fmt.Fprintln(s.out, f)
				}
				if len(faults) > 0 {
					return hinted(errors.New("what is there is not what was applied"), "apply the topology again; --force overwrites what someone else changed")
				}
				_, err = fmt.Fprintln(s.out, "everything is as it was applied")
				return err
			})
		},
	}
	o.addFlags(cmd.Flags())
	return cmd
}

func newTopologyDownCmd(s streams) *cobra.Command {
	var o siteOptions
	cmd := &cobra.Command{
		Use: "down", Short: "Remove everything that was applied, and the hosts with it", Example: "  isukit topology down --driver lab", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return o.withSite(cmd, s, "", func(ctx context.Context, site *infra.Site) error { return site.Down(ctx, userName()) })
		},
	}
	o.addFlags(cmd.Flags())
	return cmd
}
