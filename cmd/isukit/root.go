package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"isukit/bench/result"
	"isukit/infra/host"
)

// The exit codes of every command; docs/exit-codes.md explains them to users.
const (
	exitOK     = 0
	exitFailed = 1 // isukit itself failed
	exitUsage  = 2 // the command line or an input file was wrong
	exitRound  = 3 // the round ran and failed its checks; what was checked or compared is not as it should be
)

// cliError is an error with what the user can do about it and the exit code that it means.
type cliError struct {
	err  error
	hint string
	code int
}

func (e *cliError) Error() string { return e.err.Error() }
func (e *cliError) Unwrap() error { return e.err }

// hinted adds a hint to err, keeping exit code 1.
func hinted(err error, hint string) error {
	return &cliError{err: err, hint: hint, code: exitFailed}
}

// usageError says that the command line or an input was wrong.
func usageError(err error, hint string) error {
	return &cliError{err: err, hint: hint, code: exitUsage}
}

// found says that a command which checks or compares found what it looks for: exit code 3, as for a round that failed.
func found(err error, hint string) error {
	return &cliError{err: err, hint: hint, code: exitRound}
}

// hintOf is the hint that err brings along, or else the given one.
func hintOf(err error, otherwise string) string {
	if c := (*cliError)(nil); errors.As(err, &c) && c.hint != "" {
		return c.hint
	}
	return otherwise
}

// errRoundFailed ends a command whose round ran and failed; what failed has been printed by then.
var errRoundFailed = errors.New("the round failed")

// run is the whole program without the process around it: it returns the exit code.
func run(ctx context.Context, args []string, s streams) int {
	root := newRootCmd(s)
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
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
		Long:          "isukit measures a web app in rounds, moves and tunes it, and reads its traffic.",
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetIn(s.in)
	root.SetOut(s.out)
	root.SetErr(s.err)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usageError(err, fmt.Sprintf("see %q", cmd.CommandPath()+" --help"))
	})
	root.PersistentPreRunE = func(cmd *cobra.Command, _ []string) error {
		if err := flagsFromEnv(cmd.Flags()); err != nil {
			return err
		}
		if cmd.Name() == cobra.ShellCompRequestCmd || cmd.Name() == cobra.ShellCompNoDescRequestCmd {
			return nil // a shell asks at each press of a key
		}
		return cleanDead(cmd, s)
	}
	root.PersistentFlags().String("state-dir", "", "where running servers and prepared data are kept (default $XDG_STATE_HOME/isukit)")
	root.PersistentFlags().BoolP("quiet", "q", false, "print results, warnings and errors, and nothing else")
	root.AddCommand(newRoundCmd(s), newLsCmd(s), newShowCmd(s), newReplicasCmd(s), newHitsCmd(s), newLatencyCmd(s), newCompareCmd(s), newVersionCmd(s), newTuneCmd(s))
	root.AddCommand(newDecodeCmd(s), newEncodeCmd(s), newTypesCmd(s), newRoutesCmd(s), newCaptureCmd(s), newSendCmd(s), newReplayCmd(s))
	root.AddCommand(newDigestCmd(s), newTopologyCmd(s), newLabCmd(s), newHostsCmd(s))
	root.AddCommand(newInitCmd(s), newObserveCmd(s), newDiffCmd(s), newNotifyCmd(s), newServeCmd(s), newFinalCmd(s), newManCmd(), newDoctorCmd(s))
	root.InitDefaultCompletionCmd("completion")
	groupedHelp(root)
	finishCommands(root)
	completeCommands(root)
	return root
}

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
	})
	if err := errors.Join(faults...); err != nil {
		return usageError(err, "correct or unset the variable")
	}
	return nil
}

// knownHint is what can be done about an error that has no hint of its own: of a host that cannot be used, of a round that
// cannot be read; "" for any other.
func knownHint(err error) string {
	var fault *host.Fault
	var locked *host.LockedError
	var newer *result.NewerFormatError
	switch {
	case errors.As(err, &newer):
		return "a newer isukit kept this round; use that one"
	case errors.As(err, &fault):
		return fault.Hint
	case errors.As(err, &locked):
		return "wait until " + locked.Holder.Name + " is done, or ask them"
	}
	return ""
}

// readerGone reports whether err says that nobody reads the standard output any more, as head has enough after ten lines.
func readerGone(err error) bool {
	var file *fs.PathError
	return errors.Is(err, syscall.EPIPE) && errors.As(err, &file) && file.Path == os.Stdout.Name()
}

// exitCode prints err as the user should see it and maps it to the exit code.
func exitCode(w io.Writer, err error) int {
	if err == nil {
		return exitOK
	}
	if errors.Is(err, errRoundFailed) {
		return exitRound
	}
	if readerGone(err) {
		return exitOK
	}
	if errors.Is(err, context.Canceled) {
		fmt.Fprintln(w, "isukit: interrupted; everything that was started is gone")
		return exitFailed
	}
	var c *cliError
	if !errors.As(err, &c) {
		c = &cliError{err: err, code: exitFailed, hint: knownHint(err)}
	}
	fmt.Fprintf(w, "isukit: error: %s\n", err)
	if c.hint != "" {
		fmt.Fprintf(w, "isukit: hint: %s\n", asCalled(c.hint))
	}
	return c.code
}
