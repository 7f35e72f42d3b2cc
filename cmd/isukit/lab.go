package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"isukit/cmd/internal/round"
	"isukit/cmd/internal/ui"
	"isukit/infra"
	"isukit/infra/host"
	"isukit/infra/host/machine"
	"isukit/infra/topology"
)

type labHost struct {
	Name              string       `json:"name"`
	Address           string       `json:"address"`
	CPUs              float64      `json:"cpus"`    // that it has, after scaling
	Threads           int          `json:"threads"` // CPUs on which it may run at the same time
	MemoryBytes       int64        `json:"memory_bytes"`
	LinkBitsPerSecond int64        `json:"link_bits_per_second,omitempty"`
	Link              string       `json:"link,omitempty"`  // what it does to frames, as in the topology file
	Fault             string       `json:"fault,omitempty"` // what is done to it besides, at this moment
	Services          []labService `json:"services"`
}

type labService struct {
	Name        string `json:"name"`
	Running     bool   `json:"running"`
	PID         int    `json:"pid"`
	Exit        string `json:"exit,omitempty"`
	OutOfMemory bool   `json:"out_of_memory,omitempty"`
}

func newLabCmd(s streams) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "lab",
		Short: "Manage the lab: simulated hosts on this machine",
		Long: `The lab simulates the hosts of a topology on this machine. Each host is a network namespace with its own address and /etc, and with
the CPUs and memory of the topology file. A virtual switch connects them and the load generator. The lab needs root. It does not change
the machine's own network namespace, sysctls or firewall.

"isukit lab up" and commands with --driver lab create it; it keeps running until "isukit lab down".`,
		Example: "  isukit lab up -t fanout-2\n  isukit lab run s1 -- ip address\n  isukit lab down",
	}
	cmd.AddCommand(newLabUpCmd(s), newLabLsCmd(s), newLabShellCmd(s), newLabRunCmd(s), newLabFaultCmd(s), newLabLinkCmd(s), newLabDownCmd(s))
	return cmd
}

func withLab(cmd *cobra.Command, fn func(context.Context, *machine.Driver) error) error {
	return withLabOf(cmd, machine.Options{StateDir: stateDir(cmd), Keep: true}, fn)
}

func withLabOf(cmd *cobra.Command, o machine.Options, fn func(context.Context, *machine.Driver) error) error {
	lab, err := machine.OpenLab(o)
	if err != nil {
		return err
	}
	return errors.Join(fn(cmd.Context(), lab), lab.Close(context.WithoutCancel(cmd.Context())))
}

func newLabUpCmd(s streams) *cobra.Command {
	var name, localDir string
	var scale float64
	var systemd, asJSON bool
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Create the hosts of a topology, without services",
		Long: `Create the hosts of a topology. Running hosts are adjusted where they differ (CPUs, memory, link speed), and their services keep running.

With --systemd the hosts are like those of a contest: they boot systemd and have sshd, sudo, nginx, MariaDB and Envoy. Use them with
--driver ssh from the load generator's namespace. "make hosts" fetches their files.`,
		Example: "  isukit lab up -t fanout-2 --cpu-scale 0.5\n  isukit lab up -t final-1 --systemd",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := round.CheckCPUScale(scale, "lab"); err != nil {
				return err
			}
			top, err := readTopology(name)
			if err != nil {
				return err
			}
			dir := stateDir(cmd)
			o := machine.Options{StateDir: dir, Keep: true, CPUScale: scale}
			servers := serversOf(dir, localDir)
			next := "isukit round -t " + shellWord(name) + " --driver lab"
			if systemd {
				if o.System, err = servers.system(); err != nil {
					return err
				}
				next = servers.next(name)
			}
			return withLabOf(cmd, o, func(ctx context.Context, lab *machine.Driver) error {
				if err := runLabUp(ctx, lab, top, isQuiet(cmd), asJSON, s); err != nil {
					return err
				}
				if systemd {
					if err := servers.write(ctx, lab); err != nil {
						return err
					}
				}
				sayNext(s, isQuiet(cmd) || asJSON, next)
				return nil
			})
		},
	}
	cmd.Flags().BoolVar(&systemd, "systemd", false, "boot systemd on the hosts, for --driver ssh")
	cmd.Flags().StringVar(&localDir, "local-dir", "", `directory where make installed servers (default: .local in this directory or next to isukit)`)
	topologyFlag(cmd.Flags(), &name)
	cpuScaleFlag(cmd.Flags(), &scale)
	linesFlag(cmd.Flags(), &asJSON)
	return cmd
}

func runLabUp(ctx context.Context, lab *machine.Driver, top *topology.Topology, quiet, asJSON bool, s streams) error {
	release, err := lab.Lock(ctx, round.UserName())
	if err != nil {
		return err
	}
	defer release()
	start := time.Now()
	var wants []host.Want
	for _, h := range top.Hosts {
		wants = append(wants, infra.WantOf(h))
	}
	if err := lab.Ensure(ctx, wants); err != nil {
		return err
	}
	if !quiet {
		fmt.Fprintf(s.err, "isukit: %d host(s) up in %.2f s\n", len(wants), time.Since(start).Seconds())
	}
	return runLabLs(ctx, lab, asJSON, s.out)
}

func newLabLsCmd(s streams) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "ls", Short: "List the hosts, their limits and their services", Example: "  isukit lab ls --json", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withLab(cmd, func(ctx context.Context, lab *machine.Driver) error { return runLabLs(ctx, lab, asJSON, s.out) })
		},
	}
	linesFlag(cmd.Flags(), &asJSON)
	return cmd
}

func runLabLs(ctx context.Context, lab *machine.Driver, asJSON bool, out io.Writer) error {
	hosts, err := labHosts(ctx, lab)
	if err != nil {
		return err
	}
	if len(hosts) == 0 && !asJSON {
		fmt.Fprintln(out, "no host is running")
		return nil
	}
	return ui.PrintList(out, asJSON, hosts, "HOST\tADDRESS\tCPUS\tTHREADS\tMEMORY\tLINK\tSERVICES", func(h labHost) string {
		link := "-"
		if h.LinkBitsPerSecond > 0 {
			link = fmt.Sprintf("%g Mbit/s", float64(h.LinkBitsPerSecond)/1e6)
		}
		for _, more := range []string{h.Link, h.Fault} {
			if more != "" {
				link = strings.TrimPrefix(link+"; "+more, "-; ")
			}
		}
		return fmt.Sprintf("%s\t%s\t%.2f\t%d\t%d MiB\t%s\t%s", h.Name, h.Address, h.CPUs, h.Threads, h.MemoryBytes>>20, link, h.servicesText())
	})
}

func (h labHost) servicesText() string {
	var list []string
	for _, s := range h.Services {
		text := s.Name
		if !s.Running {
			text += " (" + s.Exit + ")"
		}
		if s.OutOfMemory {
			text += " (killed: out of memory)"
		}
		list = append(list, text)
	}
	if len(list) == 0 {
		return "-"
	}
	return strings.Join(list, ", ")
}

func labHosts(ctx context.Context, lab *machine.Driver) ([]labHost, error) {
	wants, err := lab.Hosts(ctx)
	if err != nil {
		return nil, err
	}
	list := []labHost{}
	for _, w := range wants {
		h, err := lab.Host(w.Name)
		if err != nil {
			return nil, err
		}
		a := h.About()
		line := labHost{
			Name: a.Name, Address: a.Address, CPUs: a.CPUs, Threads: a.Threads, MemoryBytes: a.MemoryBytes,
			LinkBitsPerSecond: w.LinkBitsPerSecond, Link: w.Flaws.String(), Services: []labService{},
		}
		fault, err := lab.LastFault(w.Name)
		if err != nil {
			return nil, err
		}
		if fault != nil && !fault.Over() {
			line.Fault = "fault: " + fault.String()
		}
		names, err := h.Services(ctx)
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			st, err := h.State(ctx, name)
			if err != nil {
				return nil, err
			}
			line.Services = append(line.Services, labService{name, st.Running, st.PID, st.Exit, st.OutOfMemory})
		}
		list = append(list, line)
	}
	return list, nil
}

func newLabShellCmd(s streams) *cobra.Command {
	return &cobra.Command{
		Use: "shell HOST", Short: "Open a shell on a host, the switch or the load generator",
		Long: `Open a shell on a host of the topology, with the host's CPUs and memory. Two more names: "switch", to capture or drop traffic between
hosts, and "generator", the load generator.`,
		Example: "  isukit lab shell s1", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			shell := os.Getenv("SHELL")
			if shell == "" {
				shell = "/bin/sh"
			}
			return withLab(cmd, func(ctx context.Context, lab *machine.Driver) error {
				_, err := lab.Attach(ctx, args[0], host.Command{Argv: []string{shell}, Env: []string{"PS1=" + args[0] + "# "}}, s.in, ui.Beneath(s.out), ui.Beneath(s.err))
				return unknownLabHost(ctx, lab, err)
			})
		},
	}
}

func newLabRunCmd(s streams) *cobra.Command {
	return &cobra.Command{
		Use: "run HOST -- COMMAND [ARGUMENT ...]", Short: "Run a command on a host, the switch or the load generator",
		Long:    "Run a command on a host (names: see \"isukit lab shell --help\"). If the command fails, the exit code is 1.",
		Example: "  isukit lab run s1 -- ip address", Args: cobra.MinimumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withLab(cmd, func(ctx context.Context, lab *machine.Driver) error {
				code, err := lab.Attach(ctx, args[0], host.Command{Argv: args[1:]}, s.in, ui.Beneath(s.out), ui.Beneath(s.err))
				if err == nil && code != 0 {
					err = fmt.Errorf("%s on %s ended with exit status %d", args[1], args[0], code)
				}
				return unknownLabHost(ctx, lab, err)
			})
		},
	}
}

func unknownLabHost(ctx context.Context, lab *machine.Driver, err error) error {
	if !errors.Is(err, host.ErrUnknownHost) {
		return err
	}
	wants, listErr := lab.Hosts(ctx)
	if listErr != nil {
		return errors.Join(err, listErr)
	}
	names := []string{}
	for _, w := range wants {
		names = append(names, w.Name)
	}
	if len(names) == 0 {
		return ui.UsageError(err, "no host is running: isukit lab up -t TOPOLOGY")
	}
	return ui.UsageError(err, "have "+strings.Join(names, ", ")+", switch, generator")
}

func newLabDownCmd(s streams) *cobra.Command {
	return &cobra.Command{
		Use: "down", Short: "Remove the lab with everything that runs in it", Example: "  isukit lab down", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withLab(cmd, func(ctx context.Context, lab *machine.Driver) error {
				release, err := lab.Lock(ctx, round.UserName())
				if err != nil {
					return err
				}
				defer release()
				wants, listErr := lab.Hosts(ctx)
				if err := errors.Join(lab.Down(ctx), os.RemoveAll(serversOf(stateDir(cmd), "").dir)); err != nil || isQuiet(cmd) {
					return err
				}
				text := "the lab was removed with everything that ran in it"
				if listErr == nil && len(wants) == 0 {
					text = "no host was running"
				}
				_, err = fmt.Fprintln(s.err, "isukit: "+text)
				return err
			})
		},
	}
}
