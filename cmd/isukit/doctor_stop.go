package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"isukit/cmd/internal/round"
	"isukit/cmd/internal/ui"
	"isukit/infra/doctor"
	"isukit/infra/host"
	"isukit/infra/host/machine"
	"isukit/infra/project"
	"isukit/infra/tune"
)

// stopsOf is what was stopped on a host; name is "" for this machine, where the record is: it outlasts what topologies make on hosts.
func stopsOf(here, at host.Host, stateDir, name string) doctor.Stops {
	file := "stopped.json"
	if name != "" {
		file = "stopped-" + name + ".json"
	}
	return doctor.Stops{Host: at, Keeper: here, File: filepath.Join(stateDir, "doctor", file)}
}

// withStops calls fn with what was stopped on a host: of the project where there is one, else as ssh knows it; "" is this machine.
func withStops(ctx context.Context, stateDir, file, name string, fn func(doctor.Stops) error) (err error) {
	here, err := machine.OpenHere(stateDir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, here.Close(context.WithoutCancel(ctx))) }()
	if name == "" {
		return fn(stopsOf(here, here, stateDir, ""))
	}
	if strings.ContainsAny(name, "/\x00") {
		return ui.UsageError(fmt.Errorf("--host %q is not a host name", name), "")
	}
	p, dir, err := round.FindServed(file)
	if err != nil {
		return err
	}
	if p != nil && slices.ContainsFunc(p.Hosts, func(h project.Host) bool { return h.Name == name }) {
		return round.WithProject(ctx, p, dir, stateDir, func(opened *round.Opened) error {
			at, ok := opened.Reach.Named[name]
			if !ok {
				return errors.Join(opened.Missing...)
			}
			return fn(stopsOf(here, at, stateDir, name))
		})
	}
	driver, err := round.OpenDriver("ssh", stateDir, 0, true)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, driver.Close(context.WithoutCancel(ctx))) }()
	at, err := driver.Host(name)
	if err != nil {
		return err
	}
	return fn(stopsOf(here, at, stateDir, name))
}

// startStopped lets everything go on that doctor has stopped on this machine, and, where driver is ssh, on hosts that it reaches.
func startStopped(ctx context.Context, stateDir, driver string) (tune.Report, error) {
	files, err := filepath.Glob(filepath.Join(stateDir, "doctor", "stopped*.json"))
	if err != nil {
		return nil, err
	}
	var report tune.Report
	var errs []error
	for _, file := range files {
		name := strings.TrimPrefix(strings.TrimSuffix(strings.TrimPrefix(filepath.Base(file), "stopped"), ".json"), "-")
		if name != "" && driver != "ssh" {
			continue
		}
		errs = append(errs, withStops(ctx, stateDir, "", name, func(stops doctor.Stops) error {
			started, err := stops.StartAll(ctx)
			for _, it := range started {
				o := tune.Outcome{Target: cmp.Or(name, hostName()), Key: it.String(), Did: tune.Started, Reason: "doctor stopped it"}
				if it.Gone {
					o.Reason += ", and it has ended meanwhile"
				}
				report = append(report, o)
			}
			return err
		}))
	}
	return report, errors.Join(errs...)
}

func hostFlag(cmd *cobra.Command, o *doctorOptions) {
	cmd.Flags().StringVar(&o.host, "host", "", "a host of the project, or an ssh destination (default: this machine)")
	projectFlag(cmd.Flags(), &o.project)
}

func newDoctorStopCmd(o *doctorOptions, s streams) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "stop PID|UNIT.service...",
		Short:   "Pause processes or stop systemd units that use CPU",
		Example: "  isukit doctor stop 4711\n  isukit doctor stop apt-daily.service --host s2",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			dir := stateDir(cmd)
			return withStops(cmd.Context(), dir, o.project, o.host, func(stops doctor.Stops) error {
				for _, what := range args {
					it, err := stops.Stop(cmd.Context(), what, time.Now())
					if err != nil {
						return ui.Hinted(err, "isukit doctor start starts it again")
					}
					if err := o.printStopped(s.out, "stopped", it); err != nil {
						return err
					}
				}
				return nil
			})
		},
	}
	hostFlag(cmd, o)
	return cmd
}

func newDoctorStartCmd(o *doctorOptions, s streams) *cobra.Command {
	cmd := &cobra.Command{
		Use: "start", Short: "Start again what \"isukit doctor stop\" stopped", Example: "  isukit doctor start\n  isukit doctor start --host s2", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			dir := stateDir(cmd)
			return withStops(cmd.Context(), dir, o.project, o.host, func(stops doctor.Stops) error {
				started, err := stops.StartAll(cmd.Context())
				for _, it := range started {
					what := "started"
					if it.Gone {
						what = "gone meanwhile:"
					}
					err = errors.Join(err, o.printStopped(s.out, what, it))
				}
				if err == nil && len(started) == 0 && !o.asJSON {
					_, err = fmt.Fprintln(s.out, "nothing was stopped")
				}
				return err
			})
		},
	}
	hostFlag(cmd, o)
	return cmd
}

func (o *doctorOptions) printStopped(out io.Writer, what string, it doctor.Stopped) error {
	if o.asJSON {
		return ui.PrintJSONLines(out, []doctor.Stopped{it})
	}
	_, err := fmt.Fprintln(out, what, it)
	return err
}
