package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"isukit/cmd/internal/round"
	"isukit/cmd/internal/ui"
	"isukit/infra"
	"isukit/infra/host/machine"
	"isukit/infra/project"
	"isukit/infra/subject"
	"isukit/infra/tune"
)

type tuneOptions struct {
	servers  tuneServers
	accepted []string
	stateDir string
	asJSON   bool
	all      bool
	force    bool
	quiet    bool
	// on is a command of isukit tune for the same servers.
	on func(command string) string
}

func (o tuneOptions) next(s streams, command string) {
	if command != "" {
		sayNext(s, o.quiet || o.asJSON, o.on(command))
	}
}

func newTuneCmd(s streams) *cobra.Command {
	var o tuneOptions
	cmd := &cobra.Command{
		Use:   "tune",
		Short: "Apply, verify and revert kernel and server settings",
		Long: `Apply, verify and revert tunings: named sets of kernel and server settings. isukit saves each original value to disk before it changes it.
Tunings apply to the services and databases of isukit.yaml, to the servers of the running topology (--driver selects one), and with
--this-kernel to the kernel of this machine. "isukit round --tune" applies tunings for one round only.`,
		Example: "  isukit tune ls\n  isukit tune diff mysql/memory\n  isukit tune apply mysql/memory",
	}
	linesFlag(cmd.PersistentFlags(), &o.asJSON)
	add := func(use, short, example string, args cobra.PositionalArgs, servers bool, run func(context.Context, tuneOptions, []string, streams) error) *cobra.Command {
		c := &cobra.Command{Use: use, Short: short, Example: example, Args: args, RunE: func(cmd *cobra.Command, args []string) error {
			o.stateDir = stateDir(cmd)
			o.quiet, o.on = isQuiet(cmd), func(command string) string { return nextOn(cmd, command, tuneServerFlags...) }
			return run(cmd.Context(), o, args, s)
		}}
		if servers {
			o.servers.addFlags(c.Flags())
		}
		cmd.AddCommand(c)
		return c
	}
	add("ls", "List the tunings", "  isukit tune ls", cobra.NoArgs, false, runTuneLs)
	add("show NAME", "Print a tuning's file: every setting with its reason", "  isukit tune show mysql/durability-relaxed", cobra.ExactArgs(1), false, runTuneShow)
	add("diff NAME...", "Show current and new values, without changing them", "  isukit tune diff mysql/memory",
		cobra.MinimumNArgs(1), true, runTuneDiff)
	apply := add("apply NAME...", "Apply tunings, groups of them, or a tuning's file",
		"  isukit tune apply mysql/memory nginx/keepalive\n  isukit tune apply sysctl/ports --this-kernel\n  isukit tune apply nginx/logs-off --driver lab",
		cobra.MinimumNArgs(1), true, runTuneApply)
	acceptRiskFlag(apply.Flags(), &o.accepted)
	add("verify", "Check that the applied values are still in effect (exit code 3)", "  isukit tune verify", cobra.NoArgs, true, runTuneVerify)
	revert := add("revert [NAME...]", "Revert tunings to the recorded originals",
		"  isukit tune revert mysql/memory\n  isukit tune revert --all", cobra.ArbitraryArgs, true, runTuneRevert)
	revert.Flags().BoolVar(&o.all, "all", false, "revert all tunings and start what \"isukit doctor stop\" stopped")
	revert.Flags().BoolVar(&o.force, "force", false, "also revert values that were changed outside isukit")
	return cmd
}

func runTuneLs(_ context.Context, o tuneOptions, _ []string, s streams) error {
	catalog, _, err := round.LoadTunings(nil)
	if err != nil {
		return err
	}
	if o.asJSON {
		return json.NewEncoder(s.out).Encode(catalog)
	}
	w := ui.NewTable(s.out)
	fmt.Fprintln(w, "TUNING\tKEYS\tRISK\tABOUT")
	for _, t := range catalog.Tunings {
		risk := ""
		if len(t.Risks()) > 0 {
			risk = "needs --accept-risk"
		}
		fmt.Fprintf(w, "%s\t%d\t%s\t%s\n", t.Name, len(t.Settings), risk, t.About)
	}
	for _, g := range catalog.Groups {
		fmt.Fprintf(w, "%s\t\t\t%s (%s)\n", g.Name, g.About, strings.Join(g.Members, ", "))
	}
	return w.Flush()
}

func runTuneShow(_ context.Context, o tuneOptions, args []string, s streams) error {
	catalog, tunings, err := round.ResolveTunings(args)
	if err != nil {
		return err
	}
	if o.asJSON {
		return ui.PrintJSONLines(s.out, tunings)
	}
	for _, t := range tunings {
		_, text := catalog.Text(t.Name)
		if _, err := fmt.Fprint(s.out, text); err != nil {
			return err
		}
	}
	return nil
}

func runTuneDiff(ctx context.Context, o tuneOptions, args []string, s streams) error {
	_, tunings, err := round.ResolveTunings(args)
	if err != nil {
		return err
	}
	done := ui.Waiting(s.err, o.quiet, "comparing")
	defer done()
	return o.servers.open(ctx, o.stateDir, func(targets []*tune.Target) error {
		report, err := tune.DiffAll(ctx, targets, tunings)
		done()
		if err := errors.Join(err, printTuneReport(report, o.asJSON, s)); err != nil {
			return err
		}
		if report.Has(tune.Differs) {
			o.next(s, "isukit tune apply "+shellWords(args))
		}
		return nil
	})
}

func runTuneApply(ctx context.Context, o tuneOptions, args []string, s streams) error {
	tunings, err := round.FindTunings(args, o.accepted)
	if err != nil {
		return err
	}
	o.servers.writes = true
	done := ui.Waiting(s.err, o.quiet, "applying")
	defer done()
	return o.servers.open(ctx, o.stateDir, func(targets []*tune.Target) error {
		report, err := tune.ApplyAll(ctx, time.Now(), targets, tunings)
		done()
		if err := errors.Join(err, printTuneReport(report, o.asJSON, s)); err != nil {
			return err
		}
		if report.Has(tune.Failed, tune.Left) {
			return ui.Hinted(errors.New("some settings could not be applied"), "\"isukit tune verify\" shows the settings in effect; \"isukit tune revert\" reverts them")
		}
		if !report.Has(tune.Applied, tune.Kept) {
			return ui.Hinted(errors.New("nothing could be applied"), "see the reasons above; servers come from isukit.yaml (services and databases) or from a topology (--driver)")
		}
		o.next(s, "isukit tune verify")
		return nil
	})
}

func runTuneVerify(ctx context.Context, o tuneOptions, _ []string, s streams) error {
	var measure string
	o.servers.measure, o.servers.partly = &measure, true
	done := ui.Waiting(s.err, o.quiet, "comparing with the servers")
	defer done()
	return o.servers.open(ctx, o.stateDir, func(targets []*tune.Target) error {
		report, applied, err := tune.VerifyAll(ctx, targets)
		done()
		if err := errors.Join(err, printTuneReport(report, o.asJSON, s)); err != nil {
			return err
		}
		if len(report) > 0 {
			o.next(s, "isukit tune revert --all")
			return ui.ErrCheckFailed
		}
		if o.asJSON {
			return nil
		}
		return o.sayHolds(applied, measure, s)
	})
}

// sayHolds prints how many settings were verified. measure is the round that shows their effect, or "".
func (o tuneOptions) sayHolds(n int, measure string, s streams) error {
	text, next := "nothing is applied", ""
	if n > 0 {
		text, next = fmt.Sprintf("all applied settings are in effect (%d)", n), "isukit tune revert --all"
	}
	if _, err := fmt.Fprintln(s.out, text); err != nil {
		return err
	}
	if n > 0 && measure != "" {
		sayNext(s, o.quiet || o.asJSON, measure)
		return nil
	}
	o.next(s, next)
	return nil
}

func runTuneRevert(ctx context.Context, o tuneOptions, args []string, s streams) error {
	if o.all == (len(args) > 0) {
		return ui.UsageError(errors.New("name the tunings to revert, or use --all"), `see "isukit tune revert --help"`)
	}
	opts := tune.RevertOptions{Force: o.force}
	if !o.all {
		_, tunings, err := round.ResolveTunings(args)
		if err != nil {
			return err
		}
		for _, t := range tunings {
			opts.Tunings = append(opts.Tunings, t.Name)
		}
	}
	o.servers.partly = true
	done := ui.Waiting(s.err, o.quiet, "reverting")
	defer done()
	return o.servers.open(ctx, o.stateDir, func(targets []*tune.Target) error {
		report, err := tune.RevertAll(ctx, targets, opts)
		if o.all {
			started, startErr := startStopped(ctx, o.stateDir, o.servers.driver)
			report, err = append(report, started...), errors.Join(err, startErr)
		}
		done()
		if err := errors.Join(err, printTuneReport(report, o.asJSON, s)); err != nil {
			return ui.Hinted(err, ui.HintOf(err, "start the servers that do not respond, then run this again for the rest"))
		}
		if len(report) == 0 && !o.asJSON && !o.quiet {
			fmt.Fprintln(s.err, "isukit: none of these tunings is applied here")
		}
		if report.Has(tune.Left) {
			return ui.Hinted(errors.New("some values were changed outside isukit and were not reverted"), "--force reverts them too")
		}
		return nil
	})
}

func printTuneReport(report tune.Report, asJSON bool, s streams) error {
	return ui.PrintList(s.out, asJSON, report, "TARGET\tDID\tKEY\tVALUE", func(o tune.Outcome) string {
		key, _, _ := strings.Cut(o.Key, " since ") // of a process: its start, in case its number is used again
		return fmt.Sprintf("%s\t%s\t%s\t%s", ui.OrDash(o.Target), o.Did, strings.TrimSpace(key+" "+string(o.Layer)), whatBecame(o))
	})
}

func whatBecame(o tune.Outcome) string {
	switch {
	case o.Did == tune.Applied && o.Reason != "":
		return fmt.Sprintf("%s -> %s [%s], %s", o.From, o.To, o.Tuning, o.Reason)
	case o.Reason != "" && o.Tuning != "":
		return o.Reason + " [" + o.Tuning + "]"
	case o.Reason != "":
		return o.Reason
	case o.From == o.To:
		return fmt.Sprintf("%s [%s]", o.To, o.Tuning)
	}
	return fmt.Sprintf("%s -> %s [%s]", o.From, o.To, o.Tuning)
}

func hostName() string {
	name, err := os.Hostname()
	if err != nil {
		return "here"
	}
	name, _, _ = strings.Cut(name, ".")
	return name
}

type tuneServers struct {
	driver        string
	project       string // its file; "" is isukit.yaml where there is one
	localDir, app string
	thisKernel    bool
	partly        bool    // servers that cannot be asked do not keep the others from it
	writes        bool    // files of services are written: on this machine that needs root
	measure       *string // where not nil, gets the round that measures what is up, "" where nothing is
}

func (t *tuneServers) addFlags(f *pflag.FlagSet) {
	f.StringVar(&t.driver, "driver", "", "servers and kernels of the topology that runs with this driver: local, lab or ssh (default: the project's, or the running topology's)")
	projectFlag(f, &t.project)
	programFlags(f, &t.localDir, &t.app)
	f.BoolVar(&t.thisKernel, "this-kernel", false, "also change settings of the kernel of this machine")
}

// open calls fn with the targets: of the named driver, the project, the deployed topology, or this machine's kernel.
func (t tuneServers) open(ctx context.Context, stateDir string, fn func([]*tune.Target) error) (err error) {
	if t.driver == "" {
		p, dir, err := round.FindServed(t.project)
		if err != nil {
			return err
		}
		if p != nil {
			return t.openProject(ctx, p, dir, stateDir, fn)
		}
		if !t.thisKernel {
			if t.driver, err = round.FindDriver("", stateDir); err != nil {
				return err
			}
		}
	}
	if t.driver != "" {
		spec := infra.Spec{StateDir: stateDir, LocalDir: t.localDir, AppBinary: t.app}
		return round.WithUp(ctx, t.driver, spec, true, func(running *infra.Running, lacking error) error {
			if t.measure != nil {
				*t.measure = roundOn(running.Topology.Name, running.Hash, t.driver)
			}
			return t.withTargets(running.Subject(), lacking, fn)
		})
	}
	h, err := machine.OpenHere(stateDir)
	if err != nil {
		return err
	}
	sub := &subject.Subject{Hosts: []subject.Host{subject.HostHere(hostName(), h, stateDir, false, t.thisKernel)}}
	return errors.Join(t.withTargets(sub, nil, fn), h.Close(context.WithoutCancel(ctx)))
}

// withTargets calls fn with the targets of a subject, of which lacking could not be read.
func (t tuneServers) withTargets(sub *subject.Subject, lacking error, fn func([]*tune.Target) error) error {
	if lacking != nil && !t.partly {
		return lacking
	}
	targets, closeAll, err := sub.TuneTargets()
	if err == nil {
		err = errors.Join(fn(targets), closeAll())
	}
	return errors.Join(err, lacking)
}

func (t tuneServers) openProject(ctx context.Context, p *project.Project, dir, stateDir string, fn func([]*tune.Target) error) error {
	isHere := func(h project.Host) bool { return h.Address == "" && p.Driver == "" }
	if t.writes && os.Geteuid() != 0 && slices.ContainsFunc(p.Hosts, isHere) {
		return ui.UsageError(errors.New("tunings of services on this machine need root"),
			"use sudo for all isukit commands of the project, or give the host an address in isukit.yaml, so that isukit uses ssh and sudo")
	}
	return round.WithProject(ctx, p, dir, stateDir, func(opened *round.Opened) error {
		sub, lacking := opened.Subject(ctx, t.thisKernel)
		if lacking != nil {
			lacking = ui.Hinted(lacking, "add services and databases to isukit.yaml; docs/project.md describes it")
		}
		return t.withTargets(sub, lacking, fn)
	})
}
