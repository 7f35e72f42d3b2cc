package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"isukit/cmd/internal/ui"
	"isukit/infra/host"
)

// run is the whole program without the process around it: it returns the exit code.
func run(ctx context.Context, args []string, s streams) int {
	s.out, s.err = ui.NewOutput(s.out), ui.NewOutput(s.err)
	root := newRootCmd(s)
	root.SetArgs(args)
	err := root.ExecuteContext(host.Announced(ctx, func(text string) { fmt.Fprintln(s.err, "isukit: "+text) }))
	if cmd, _, findErr := root.Find(args); findErr != nil && cmd == root {
		var name string
		_, _ = fmt.Sscanf(findErr.Error(), "unknown command %q", &name)
		err = unknownCommand(root, name)
	}
	return exitCode(s.err, err)
}

func newRootCmd(s streams) *cobra.Command {
	root := &cobra.Command{
		Use:           "isukit",
		Short:         "Benchmark rounds, server topologies and protobuf captures",
		Long:          "isukit benchmarks, places and tunes a web app, and inspects its traffic.",
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetIn(s.in)
	root.SetOut(s.out)
	root.SetErr(s.err)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		hint := fmt.Sprintf("see %q", cmd.CommandPath()+" --help")
		if strings.Contains(err.Error(), "missing unit in duration") {
			hint = "times have a unit: 10s, 1m30s"
		}
		return ui.UsageError(err, hint)
	})
	root.PersistentPreRunE = func(cmd *cobra.Command, args []string) error {
		if err := flagsFromEnv(cmd.Flags()); err != nil {
			return err
		}
		if cmd.Name() == cobra.ShellCompRequestCmd || cmd.Name() == cobra.ShellCompNoDescRequestCmd {
			return nil // a shell asks at each press of a key
		}
		if err := refuseFlags(cmd, args); err != nil {
			return err
		}
		if err := cleanDead(cmd, s); err != nil {
			return err
		}
		return trustProject(cmd, s)
	}
	root.PersistentFlags().String("state-dir", "", "directory for isukit's state: running servers and prepared datasets (default $XDG_STATE_HOME/isukit)")
	root.PersistentFlags().BoolP("quiet", "q", false, "print only results, warnings and errors")
	root.AddCommand(newRoundCmd(s), newLsCmd(s), newShowCmd(s), newReplicasCmd(s), newHitsCmd(s), newLatencyCmd(s), newCompareCmd(s), newVersionCmd(s), newTuneCmd(s))
	root.AddCommand(newDecodeCmd(s), newEncodeCmd(s), newTypesCmd(s), newRoutesCmd(s), newCaptureCmd(s), newSendCmd(s), newReplayCmd(s))
	root.AddCommand(newDigestCmd(s), newTopologyCmd(s), newLabCmd(s), newHostsCmd(s))
	root.AddCommand(newInitCmd(s), newNextCmd(s), newObserveCmd(s), newDiffCmd(s), newNotifyCmd(s), newNoteCmd(s), newRestoreCmd(s), newServeCmd(s), newFinalCmd(s), newManCmd(), newDoctorCmd(s), newScreenCmd(s), newAdviseCmd(s), newAutotuneCmd(s))
	root.InitDefaultCompletionCmd("completion")
	groupedHelp(root)
	finishCommands(root)
	completeCommands(root)
	return root
}

// fromEnv is the annotation of a flag that was set from the environment.
const fromEnv = "isukit_from_env"

// flagsFromEnv sets every flag that the command line leaves alone from the environment: --state-dir from ISUKIT_STATE_DIR.
func flagsFromEnv(flags *pflag.FlagSet) error {
	var faults []error
	flags.VisitAll(func(f *pflag.Flag) {
		name := "ISUKIT_" + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
		value, ok := os.LookupEnv(name)
		if !ok || f.Changed || f.Name == "help" {
			return
		}
		if err := flags.Set(f.Name, value); err != nil {
			faults = append(faults, fmt.Errorf("%s: %w", name, err))
		}
		_ = flags.SetAnnotation(f.Name, fromEnv, []string{name}) // the flag is there
	})
	if err := errors.Join(faults...); err != nil {
		return ui.UsageError(err, "correct or unset the variable")
	}
	return nil
}
