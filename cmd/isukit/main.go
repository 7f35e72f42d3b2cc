// Command isukit runs benchmark rounds, swaps server topologies and decodes captured protobuf bodies. Every subcommand
// has a file of its own; all wiring of packages happens here and nowhere else.
package main

import (
	"context"
	"io"
	"log"
	"os"
	"os/signal"
	"syscall"
)

// streams are where a command reads and writes: results go to out, everything else to err.
type streams struct {
	in       io.Reader
	out, err io.Writer
}

func main() {
	os.Exit(mainExit())
}

// mainExit exists so that deferred clean-up has run before the process exits.
func mainExit() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	// The reader of these streams may exit first ("isukit round 2>&1 | head"): that must not end the process before it has cleaned up. A
	// signal that is caught, unlike one that is ignored, keeps its default in the servers that isukit starts.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	go func() {
		// A second signal ends the process immediately: clean-up that hangs must not hold the terminal.
		<-ctx.Done()
		stop()
	}()
	log.SetOutput(io.Discard) // where net/http writes what it finds odd about a peer; what matters is an error
	return run(ctx, os.Args[1:], streams{os.Stdin, os.Stdout, os.Stderr})
}
