// Command isukit-app serves the portal, the reference app of isukit: the web role for contestants, audience and admins,
// the api role for workers. It links package app, neither bench nor infra.
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	os.Exit(mainExit())
}

// mainExit exists so that deferred clean-up has run before the process exits.
func mainExit() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return run(ctx, os.Args[1:], os.Stdout, os.Stderr)
}

// run is the program without its process: it returns 0 for success, 1 for a failure, 2 for a wrong command line or configuration.
func run(ctx context.Context, args []string, out, errs io.Writer) int {
	root := newRootCmd(out, errs)
	root.SetArgs(args)
	return report(errs, root.ExecuteContext(ctx))
}
