package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"isukit/bench/external"
	"isukit/cmd/internal/round"
	"isukit/cmd/internal/ui"
)

type observeOptions struct {
	projectRoundOptions
	round.ObserveOptions
	project  string
	askScore bool
	given    string // the score
	hook     string
}

func newObserveCmd(s streams) *cobra.Command {
	var o observeOptions
	cmd := &cobra.Command{
		Use:   "observe",
		Short: "Record a round whose benchmark somebody else starts",
		Long: `Record a round whose benchmark is started elsewhere, as from a contest's portal: mark the logs, wait until the benchmark begins
(its initialize request is seen in an access log, or requests come), measure until none has come for a while, and keep the
record of exactly that window. Without an access log, or with --by-load, the beginning and the end are seen in the hosts' CPUs.
With --hook the app's own /initialize says when it begins, with a request to that address ("curl -X POST 127.0.0.1:9100").
The score is given with --score or asked for; without one the record says so.`,
		Example: "  isukit observe\n  isukit observe --score 12340\n  isukit observe --hook 127.0.0.1:9100\n  isukit observe --wait 10m --idle 5s --failed",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var err error
			if o.stateDir, err = stateDir(cmd); err != nil {
				return err
			}
			o.quiet = isQuiet(cmd)
			if o.HasScore = cmd.Flags().Changed("score"); o.HasScore {
				if o.Score, err = external.ReadScore(o.given); err != nil {
					return ui.UsageError(fmt.Errorf("--score: %w", err), "give it as 12340 or 1.2e+07, or the whole line that the benchmark printed")
				}
			}
			return runObserve(cmd.Context(), o, s)
		},
	}
	f := cmd.Flags()
	projectFlag(f, &o.project)
	resultsFlag(f, &o.results)
	f.StringVar(&o.given, "score", "", "the score, when it is known already: a number, or the line that the benchmark printed")
	f.BoolVar(&o.askScore, "ask", false, "ask for the score on the terminal when the benchmark has ended")
	f.BoolVar(&o.Failed, "failed", false, "the benchmark says that it failed")
	f.DurationVar(&o.Wait, "wait", 15*time.Minute, "how long to wait for the benchmark to begin")
	f.BoolVar(&o.ByLoad, "by-load", false, "go by the hosts' CPUs, not by the access log")
	f.StringVar(&o.hook, "hook", "", "address on which a request from the app's /initialize begins the round, for example 127.0.0.1:9100")
	f.DurationVar(&o.Idle, "idle", 8*time.Second, "it has ended when there was no request, or no load, for so long")
	f.DurationVar(&o.Longest, "longest", 10*time.Minute, "stop measuring after so long in any case")
	jsonFlag(f, &o.asJSON)
	f.BoolVar(&o.notify, "notify", true, "tell the project's webhook")
	return cmd
}

func runObserve(ctx context.Context, o observeOptions, s streams) error {
	p, dir, err := round.FindProject(o.project)
	if err != nil {
		return err
	}
	if p == nil {
		return ui.UsageError(errors.New("there is no isukit.yaml here"), `"isukit init" writes one`)
	}
	if o.askScore {
		o.Ask = func() (float64, bool) { return askScore(ctx, s) }
	}
	if o.hook != "" {
		began := make(chan time.Time, 1)
		o.Hook = began
		stop, err := listenForHook(ctx, o.hook, began)
		if err != nil {
			return err
		}
		defer stop()
	}
	_, err = playProjectRound(ctx, p, dir, o.projectRoundOptions, s, func(ctx context.Context, r *round.ProjectRound) error {
		return r.Observe(ctx, o.ObserveOptions)
	})
	return err
}

// listenForHook answers any request on an address and tells when the first came, until stop.
func listenForHook(ctx context.Context, address string, began chan<- time.Time) (stop func(), err error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, ui.UsageError(fmt.Errorf("--hook: %w", err), "give an address of this machine and a free port, such as 127.0.0.1:9100")
	}
	server := &http.Server{ReadTimeout: 10 * time.Second, MaxHeaderBytes: 16 << 10, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		select {
		case began <- time.Now():
		default: // it has begun
		}
		w.WriteHeader(http.StatusNoContent)
	})}
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(l) }()
	return func() { _ = server.Close(); <-done }, nil
}

// askScore reads a score from the standard input, and asks again while it cannot be read.
func askScore(ctx context.Context, s streams) (float64, bool) {
	lines := bufio.NewReader(io.LimitReader(ui.Interruptible(ctx, s.in), 64<<10))
	for {
		fmt.Fprint(s.err, "isukit: score? ")
		line, err := lines.ReadString('\n')
		if strings.TrimSpace(line) == "" {
			return 0, false
		}
		v, unread := external.ReadScore(line)
		if unread == nil {
			return v, true
		}
		fmt.Fprintf(s.err, "isukit: %v\n", unread)
		if err != nil {
			return 0, false
		}
	}
}
