package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"

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

// hintedError is an error that the command line did not cause, with a hint.
type hintedError struct {
	err  error
	hint string
}

func (e *hintedError) Error() string { return e.err.Error() }
func (e *hintedError) Unwrap() error { return e.err }

const longHelp = `Serve the portal, isukit's reference app, until SIGINT or SIGTERM; running requests are finished. The log on standard error is
JSON. isukit round and isukit topology apply write the configuration and start isukit-app. A configuration by hand:

  role: all                         # web, api or all
  listen: 127.0.0.1:8080
  databases:
    - {name: db-1, dsn_file: db-1.dsn}   # contains user:password@tcp(host:port)/database, mode 0600
  session_key_file: session.key     # 32 bytes or more, mode 0600
  worker_token_file: worker.token   # 16 bytes or more, mode 0600
  dataset: {scale: standard, seed: 1}

app/README.md lists all keys. Paths are relative to the file. Exit code 1: isukit-app failed; 2: wrong command line or configuration.`

func newRootCmd(out, errs io.Writer) *cobra.Command {
	var flags configFlags
	root := &cobra.Command{
		Use:           "isukit-app --config FILE",
		Short:         "Serve the portal, isukit's reference app",
		Long:          longHelp,
		Example:       "  isukit-app --config app.yaml prepare\n  isukit-app --config app.yaml",
		Args:          noArgs,
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
	root.PersistentFlags().StringVar(&flags.role, "role", "", "role to serve, instead of the file's: web, api or all")
	root.AddCommand(newPrepareCmd(&flags, out), newVersionCmd(out))
	return root
}

func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	err := fmt.Errorf("%s takes no arguments, got %q", cmd.CommandPath(), args[0])
	if cmd.HasSubCommands() {
		err = fmt.Errorf("unknown command %q", cmd.CommandPath()+" "+args[0])
	}
	return &usageError{err, fmt.Sprintf("see %q", cmd.CommandPath()+" --help")}
}

func report(errs io.Writer, err error) int {
	if err == nil {
		return exitOK
	}
	if errors.Is(err, context.Canceled) {
		fmt.Fprintln(errs, "isukit-app: interrupted")
		return exitFailed
	}
	code, hint := exitFailed, failureHint(err)
	if usage := (*usageError)(nil); errors.As(err, &usage) {
		code, hint = exitUsage, usage.hint
	}
	fmt.Fprintf(errs, "isukit-app: error: %s\n", strings.TrimSpace(err.Error()))
	if hint != "" {
		fmt.Fprintf(errs, "isukit-app: hint: %s\n", hint)
	}
	return code
}

// failureHint is what can be done about a failure; "" where nothing can be said.
func failureHint(err error) string {
	var hinted *hintedError
	switch {
	case errors.As(err, &hinted):
		return hinted.hint
	case errors.Is(err, syscall.EADDRINUSE):
		return `another process listens there ("ss -ltnp" names it): stop it, or change listen, socket or debug_listen`
	case errors.Is(err, syscall.EACCES):
		return "a port below 1024, or a socket in a directory of another user, needs root"
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return `this machine has no such address ("ip address" lists them)`
	}
	return ""
}
