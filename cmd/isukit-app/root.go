package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"
)

const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

// usageError marks a fault of the command line or of the configuration, with what to do about it.
type usageError struct {
	err  error
	hint string
}

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

func newRootCmd(out, errs io.Writer) *cobra.Command {
	var flags configFlags
	root := &cobra.Command{
		Use:           "isukit-app --config FILE",
		Short:         "Serve the portal, isukit's reference app",
		Example:       "  isukit-app --config app.yaml prepare\n  isukit-app --config app.yaml",
		Args:          cobra.NoArgs,
		SilenceErrors: true,
		SilenceUsage:  true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			conf, err := flags.load()
			if err != nil {
				return err
			}
			return runServe(cmd.Context(), conf, errs)
		},
	}
	root.SetOut(out)
	root.SetErr(errs)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return &usageError{err, fmt.Sprintf("see %q", cmd.CommandPath()+" --help")}
	})
	root.PersistentFlags().StringVar(&flags.file, "config", "", "configuration file (YAML)")
	root.PersistentFlags().StringVar(&flags.role, "role", "", "role to serve instead of the file's: web, api or all")
	root.AddCommand(newPrepareCmd(&flags, out), newVersionCmd(out))
	return root
}

// report prints err as the user should see it and maps it to the exit code.
func report(errs io.Writer, err error) int {
	if err == nil {
		return exitOK
	}
	fmt.Fprintf(errs, "isukit-app: error: %v\n", err)
	var usage *usageError
	if !errors.As(err, &usage) {
		return exitFailed
	}
	if usage.hint != "" {
		fmt.Fprintf(errs, "isukit-app: hint: %s\n", usage.hint)
	}
	return exitUsage
}
