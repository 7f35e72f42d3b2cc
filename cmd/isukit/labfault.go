package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"isukit/cmd/internal/ui"
	"isukit/infra/host"
	"isukit/infra/host/machine"
)

// newLabLinkCmd carries the frames of one host's link; the driver of the lab starts it.
func newLabLinkCmd(s streams) *cobra.Command {
	return &cobra.Command{
		Use: "link", Hidden: true, Args: cobra.ExactArgs(3), Short: "Carry frames between two network devices",
		PersistentPreRunE: func(*cobra.Command, []string) error { return nil }, // it has no state directory
		RunE: func(_ *cobra.Command, args []string) error {
			return machine.CarryFrames(args[0], args[1], args[2], s.out)
		},
	}
}

type faultFlags struct {
	values            map[string]*string // by host.FlawKeys
	cut, stall, clear bool
	length            time.Duration
}

func newLabFaultCmd(s streams) *cobra.Command {
	f := faultFlags{values: map[string]*string{}}
	cmd := &cobra.Command{
		Use: "fault HOST", Short: "Disturb the network link of a host: delay, loss, a cut",
		Long: `Disturb the network link of a host that is up, at any time, also during a round. The command returns immediately; the fault ends after
--for, or with --clear. A new fault of the same host replaces the earlier one. What the topology file gives the link stays in effect.

A delay applies to each way, so that the round trip takes twice as long. One frame is at most one segment as the network stack passes it
on, which can be up to 64 KiB. Frames on their way are lost when a fault starts or is cleared.`,
		Example: "  isukit lab fault s2 --loss 5% --for 30s\n  isukit lab fault s2 --cut --oneway in --for 5s\n  isukit lab fault s2 --delay 10ms --jitter 2ms --peer s1\n  isukit lab fault s2 --clear",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			fault, err := f.fault()
			if err != nil {
				return ui.UsageError(err, "isukit lab fault --help")
			}
			return withLab(cmd, func(ctx context.Context, lab *machine.Driver) error {
				if err := lab.Fault(ctx, args[0], fault); err != nil {
					return unknownLabHost(ctx, lab, err)
				}
				return sayFault(s.err, args[0], fault, isQuiet(cmd))
			})
		},
	}
	for _, key := range host.FlawKeys() {
		f.values[key] = new(string)
	}
	cmd.Flags().StringVar(f.values["delay"], "delay", "", "time that a frame takes each way, for example 10ms")
	cmd.Flags().StringVar(f.values["jitter"], "jitter", "", "largest difference from --delay; frames stay in order")
	cmd.Flags().StringVar(f.values["loss"], "loss", "", "percentage of the frames that are lost, for example 5%")
	cmd.Flags().StringVar(f.values["duplicate"], "duplicate", "", "percentage of the frames that arrive twice")
	cmd.Flags().StringVar(f.values["corrupt"], "corrupt", "", "percentage of the frames in which one bit is changed")
	cmd.Flags().StringVar(f.values["reorder"], "reorder", "", "percentage of the frames that are not delayed and overtake others")
	cmd.Flags().StringVar(f.values["peer"], "peer", "", `only traffic with this host, or with "generator"`)
	cmd.Flags().StringVar(f.values["way"], "oneway", "", "only frames to the host (in) or from it (out)")
	cmd.Flags().BoolVar(&f.cut, "cut", false, "lose all frames")
	cmd.Flags().BoolVar(&f.stall, "stall", false, "hold all frames until the fault ends; needs --for")
	cmd.Flags().DurationVar(&f.length, "for", 0, "length of the fault; 0: until --clear")
	cmd.Flags().BoolVar(&f.clear, "clear", false, "end the fault of this host")
	return cmd
}

// fault is what the flags ask for; nil to end one.
func (f faultFlags) fault() (*machine.Fault, error) {
	fault := machine.Fault{Stall: f.stall}
	var errs []error
	for key, value := range f.values {
		if *value != "" {
			errs = append(errs, fault.Set(key, *value))
		}
	}
	if f.cut {
		fault.Loss = 1
	}
	if f.clear {
		if fault != (machine.Fault{}) || f.length != 0 {
			errs = append(errs, errors.New("--clear ends a fault, and cannot be combined with one"))
		}
		return nil, errors.Join(errs...)
	}
	if f.length != 0 {
		fault.Until = time.Now().Add(f.length)
	}
	return &fault, errors.Join(append(errs, fault.Check())...)
}

func sayFault(w io.Writer, name string, fault *machine.Fault, quiet bool) error {
	if quiet {
		return nil
	}
	text := "no fault"
	if fault != nil {
		text = fault.String()
	}
	_, err := fmt.Fprintf(w, "isukit: link of %s: %s\n", name, text)
	return err
}
