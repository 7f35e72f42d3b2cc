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
		Short: "Record a benchmark that is started elsewhere (a contest portal)",
		Long: `Record a benchmark that isukit does not start. isukit waits for its initialize request (or any request) in an access log, measures until
no request has come for --idle, and saves that window as a round. Without an access log, or with --by-load, it detects start and end from
the hosts' CPU use. With --hook, the app's /initialize announces the start with a request to that address ("curl -X POST
127.0.0.1:9100"). Pass the score with --score or --ask; without one the round has a warning.`,
		Example: "  isukit observe\n  isukit observe --score 12340\n  isukit observe --hook 127.0.0.1:9100\n  isukit observe --wait 10m --idle 5s --failed",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var err error
			o.stateDir, o.quiet = stateDir(cmd), isQuiet(cmd)
			if o.HasScore = cmd.Flags().Changed("score"); o.HasScore {
				if o.Score, err = external.ReadScore(o.given); err != nil {
					return ui.UsageError(fmt.Errorf("--score: %w", err), "write 12340 or 1.2e+07, or the whole line that the benchmark printed")
				}
			}
			return runObserve(cmd.Context(), o, s)
		},
	}
	f := cmd.Flags()
	projectFlag(f, &o.project)
	resultsFlag(f, &o.results)
	f.StringVar(&o.given, "score", "", "score, if you already know it: a number, or the line that the benchmark printed")
	f.BoolVar(&o.askScore, "ask", false, "prompt for the score after the benchmark")
	f.BoolVar(&o.Failed, "failed", false, "record the benchmark as failed")
	f.DurationVar(&o.Wait, "wait", 15*time.Minute, "maximum time to wait for the start")
	f.BoolVar(&o.ByLoad, "by-load", false, "detect start and end from the hosts' CPU use instead of the access log")
	f.StringVar(&o.hook, "hook", "", "listen on this address for the app's /initialize to announce the start, for example 127.0.0.1:9100")
	f.DurationVar(&o.Idle, "idle", 8*time.Second, "the benchmark has ended after this long without requests (or load)")
	f.DurationVar(&o.Longest, "longest", 10*time.Minute, "maximum time to measure")
	jsonFlag(f, &o.asJSON)
	f.BoolVar(&o.notify, "notify", true, "post the summary to the project's webhook")
	return cmd
}

func runObserve(ctx context.Context, o observeOptions, s streams) error {
	p, dir, err := round.FindProject(o.project)
	if err != nil {
		return err
	}
	if p == nil {
		return ui.UsageError(errors.New("no isukit.yaml in this directory"), `"isukit init" writes one`)
	}
	if o.askScore {
		o.Ask = func() (float64, bool) { return askScore(ctx, s) }
	}
	if o.hook != "" {
		began, marked := make(chan time.Time, 1), make(chan struct{})
		o.Hook, o.Marked = began, func() { close(marked) }
		stop, err := listenForHook(ctx, o.hook, began, marked)
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

// listenForHook answers any request on an address and reports when the first came, until stop. It answers nothing before the logs are
// marked: the benchmark begins with the answer, and its first requests would be missing.
func listenForHook(ctx context.Context, address string, began chan<- time.Time, marked <-chan struct{}) (stop func(), err error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, ui.UsageError(fmt.Errorf("--hook: %w", err), "use an address of this machine and a free port, for example 127.0.0.1:9100")
	}
	server := &http.Server{ReadHeaderTimeout: 10 * time.Second, MaxHeaderBytes: 16 << 10, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		came := time.Now()
		select {
		case <-marked:
		case <-r.Context().Done():
			return
		}
		select {
		case began <- came:
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
