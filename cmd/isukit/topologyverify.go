package main

import (
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

type rebootOptions struct {
	how      string // "" is nothing; each, or all
	noAsk    bool
	rounds   int
	duration time.Duration
}

func newTopologyVerifyCmd(s streams) *cobra.Command {
	var o siteOptions
	var r rebootOptions
	var asJSON bool
	cmd := &cobra.Command{
		Use: "verify", Short: "Check that the hosts still match the applied topology, also after a reboot",
		Long: `Compare files, services and data on every host with the applied topology, and check that every service responds. Exit code 3: differences
were found.

For the reference app, --reboot does what the organizers of a contest do before the final run. It reboots the hosts one after another
(each) or together (all), waits until everything is healthy without isukit's help, compares again, including tunings and all tables, and
runs a confirmation round. It asks first, unless --no-ask is given.`,
		Example: "  isukit topology verify --driver lab\n  isukit topology verify --driver ssh --reboot all", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if r.how != "" && r.how != "each" && r.how != "all" {
				return ui.UsageError(fmt.Errorf("--reboot %q must be each or all", r.how), `see "isukit topology verify --help"`)
			}
			if r.how == "" && r.noAsk {
				return ui.UsageError(errors.New("--no-ask only applies with --reboot"), `see "isukit topology verify --help"`)
			}
			return o.onTopology(cmd, s, "", false, func(ctx context.Context, _ *round.Opened, placed *site.Site) error {
				return runPlacedVerify(ctx, placed, asJSON, s)
			}, func(ctx context.Context, site *infra.Site) error {
				if r.how != "" {
					return runReboot(ctx, cmd, site, o, r, asJSON, s)
				}
				faults, err := site.Verify(ctx)
				if err != nil {
					return err
				}
				return printVerified(s.out, faults, asJSON)
			})
		},
	}
	o.addFlags(cmd.Flags())
	jsonFlag(cmd.Flags(), &asJSON)
	cmd.Flags().StringVar(&r.how, "reboot", "", "reboot the hosts and verify them afterwards: each (one after another) or all (together)")
	cmd.Flags().BoolVar(&r.noAsk, "no-ask", false, "reboot without asking")
	cmd.Flags().IntVar(&r.rounds, "rounds", 1, "confirmation rounds after --reboot (0: none)")
	cmd.Flags().DurationVar(&r.duration, "duration", defaultDuration, "length of the load phase")
	return cmd
}

func runReboot(ctx context.Context, cmd *cobra.Command, site *infra.Site, o siteOptions, r rebootOptions, asJSON bool, s streams) error {
	up, err := site.Up(ctx)
	if err != nil {
		return err
	}
	var names []string
	for _, h := range up.Topology.Hosts {
		names = append(names, h.Name)
	}
	if !r.noAsk {
		if err := consent(ctx, s, fmt.Sprintf("This reboots %s (%s) and interrupts everything that runs there.", strings.Join(names, ", "), r.how)); err != nil {
			return err
		}
	}
	faults, err := site.Reboot(ctx, r.how == "all")
	if err == nil {
		err = printVerified(s.out, faults, asJSON)
	}
	for range r.rounds {
		if err == nil {
			err = o.confirm(ctx, cmd, site, r.duration, s)
		}
	}
	return err
}

// confirm plays a round on what is up.
func (o siteOptions) confirm(ctx context.Context, cmd *cobra.Command, site *infra.Site, duration time.Duration, s streams) error {
	up, err := site.Up(ctx)
	if err != nil {
		return err
	}
	var r roundOptions
	r.addFlags(pflag.NewFlagSet("round", pflag.ContinueOnError)) // their defaults
	r.StateDir = stateDir(cmd)
	r.Scale, r.Seed = up.Scale, up.Seed // or the data that is there would be replaced
	r.Driver, r.LocalDir, r.App, r.Duration, r.quiet = site.Driver().Name(), o.localDir, o.app, duration, isQuiet(cmd)
	spec, err := r.Spec()
	if err != nil {
		return err
	}
	spec.Topology = up.Topology
	silent := s
	silent.out = io.Discard
	return r.play(ctx, spec, silent)
}

func consent(ctx context.Context, s streams, what string) error {
	yes, asked, err := agreed(ctx, s, what+"\nGo on?")
	switch {
	case !asked:
		return ui.UsageError(errors.New("no terminal to ask on: "+what), "--no-ask continues without asking")
	case err == nil && !yes:
		return errors.New("nothing was done")
	}
	return err
}

type topologyVerified struct {
	Faults []string `json:"faults"`
}

func printVerified(out io.Writer, faults []string, asJSON bool) error {
	var err error
	switch {
	case asJSON:
		err = ui.PrintJSON(out, topologyVerified{append([]string{}, faults...)})
	case len(faults) == 0:
		_, err = fmt.Fprintln(out, "everything matches the applied topology")
	default:
		_, err = fmt.Fprintln(out, strings.Join(faults, "\n"))
	}
	if err == nil && len(faults) > 0 {
		err = ui.CheckFailed(errors.New("the hosts differ from the applied topology"), "apply the topology again; --force overwrites changes made outside isukit")
	}
	return err
}
