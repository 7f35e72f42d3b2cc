// Package loadbench measures the load engine against other generators and against its own targets, on this machine, and prints what
// it saw; the last line is one line of JSON. It is what `make bench-load` runs.
//
// Every generator is pinned to CPU 0 and loads the same nginx, pinned to CPU 1, which serves one leaderboard-sized protobuf
// message. Rounds are interleaved in random order, so that what else the machine does meets all of them alike.
package loadbench

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"testing"
	"time"
)

type options struct {
	rounds  int
	length  time.Duration
	users   int
	only    string
	scratch string
	role    string
	target  string
	check   bool
	at      int64
}

// TestMain is the benchmark itself where ISUKIT_LOADBENCH is set: the program starts itself again for each part that has to
// be a process of its own.
func TestMain(m *testing.M) {
	if os.Getenv("ISUKIT_LOADBENCH") == "" {
		os.Exit(m.Run())
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "loadbench: error:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer) error {
	var o options
	fs := flag.NewFlagSet("loadbench", flag.ContinueOnError)
	fs.IntVar(&o.rounds, "rounds", 6, "rounds of each generator")
	fs.DurationVar(&o.length, "length", 3*time.Second, "length of a round")
	fs.IntVar(&o.users, "users", 64, "users, each with one connection")
	fs.StringVar(&o.only, "only", "", "one part: peers, connections, rate or stall")
	fs.StringVar(&o.role, "role", "", "for loadbench's own use: what to do as a child process")
	fs.StringVar(&o.target, "target", "", "for loadbench's own use: what to load")
	fs.BoolVar(&o.check, "check", false, "for loadbench's own use: check every answer")
	fs.Int64Var(&o.at, "at", 0, "for loadbench's own use: when to begin, in nanoseconds since 1970")
	if err := fs.Parse(args); err != nil {
		return err
	}
	switch o.role {
	case "":
	case "stall-server":
		endWithParent()
		return serveStalls(out)
	case "responder":
		return runResponder(os.Stdin)
	case "probe":
		endWithParent()
		return runProbe(o.target, o.at, out)
	default:
		return runChild(ctx, o, out)
	}
	dir, err := os.MkdirTemp("", "loadbench")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	o.scratch = dir
	return measure(ctx, o, out)
}

// judge reports whether a target was met.
func judge(out io.Writer, target string, met bool, format string, args ...any) {
	word := "met   "
	if !met {
		word = "MISSED"
	}
	fmt.Fprintf(out, "target %s  %s: %s\n", word, target, fmt.Sprintf(format, args...))
}

// measure runs the parts and prints their results.
func measure(ctx context.Context, o options, out io.Writer) error {
	srv, err := startNginx(ctx, o.scratch)
	if err != nil {
		return err
	}
	defer srv.stop()
	result := map[string]any{"bench": "load"}
	parts := []struct {
		name string
		run  func(context.Context, options, *nginx, io.Writer) (any, error)
	}{{"peers", peers}, {"connections", connections}, {"rate", rate}, {"stall", stall}}
	for _, p := range parts {
		if o.only != "" && o.only != p.name {
			continue
		}
		r, err := p.run(ctx, o, srv, out)
		if err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
		result[p.name] = r
	}
	line, err := json.Marshal(result)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "%s\n", line)
	return err
}
