package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"isukit/bench/external"
	"isukit/bench/result"
	"isukit/cmd/internal/ui"
)

type observeOptions struct {
	projectRoundOptions
	project  string
	score    int64
	hasScore bool
	ask      bool
	failed   bool
	wait     time.Duration
	idle     time.Duration
	longest  time.Duration
	byLoad   bool
}

func newObserveCmd(s streams) *cobra.Command {
	var o observeOptions
	cmd := &cobra.Command{
		Use:   "observe",
		Short: "Record a round whose benchmark somebody else starts",
		Long: `Record a round whose benchmark is started elsewhere, as from a contest's portal: mark the logs, wait until the benchmark begins
(its initialize request is seen in an access log, or requests come), measure until none has come for a while, and keep the
record of exactly that window. Without an access log, or with --by-load, the beginning and the end are seen in the hosts' CPUs.
The score is given with --score or asked for; without one the record says so.`,
		Example: "  isukit observe\n  isukit observe --score 12340\n  isukit observe --wait 10m --idle 5s --failed",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var err error
			if o.stateDir, err = stateDir(cmd); err != nil {
				return err
			}
			o.quiet = isQuiet(cmd)
			o.hasScore = cmd.Flags().Changed("score")
			return runObserve(cmd.Context(), o, s)
		},
	}
	f := cmd.Flags()
	projectFlag(f, &o.project)
	resultsFlag(f, &o.results)
	f.Int64Var(&o.score, "score", 0, "the score, when it is known already")
	f.BoolVar(&o.ask, "ask", false, "ask for the score on the terminal when the benchmark has ended")
	f.BoolVar(&o.failed, "failed", false, "the benchmark says that it failed")
	f.DurationVar(&o.wait, "wait", 15*time.Minute, "how long to wait for the benchmark to begin")
	f.BoolVar(&o.byLoad, "by-load", false, "go by the hosts' CPUs, not by the access log")
	f.DurationVar(&o.idle, "idle", 8*time.Second, "it has ended when there was no request, or no load, for so long")
	f.DurationVar(&o.longest, "longest", 10*time.Minute, "stop measuring after so long in any case")
	jsonFlag(f, &o.asJSON)
	f.BoolVar(&o.notify, "notify", true, "tell the project's webhook")
	return cmd
}

func runObserve(ctx context.Context, o observeOptions, s streams) error {
	p, dir, err := findProject(o.project)
	if err != nil {
		return err
	}
	if p == nil {
		return ui.UsageError(errors.New("there is no isukit.yaml here"), `"isukit init" writes one`)
	}
	_, err = playProjectRound(ctx, p, dir, o.projectRoundOptions, s, func(ctx context.Context, r *projectRound) error {
		return r.observe(ctx, o, s)
	})
	return err
}

// observe waits for a benchmark that somebody else starts and measures it. The error says that none came.
func (r *projectRound) observe(ctx context.Context, o observeOptions, s streams) error {
	_ = r.phase("rotate", func() error { r.mark(ctx); return nil })
	r.gitFacts(ctx)
	r.quickDoctor(ctx)
	r.readSchemas(ctx)
	w := r.watch(ctx)
	defer w.stop()
	t := newArrival(r, o.byLoad)
	if err := r.phase("wait", func() error { return t.wait(ctx, o.wait) }); err != nil {
		return err
	}
	r.record.Benchmark = result.Benchmark{ScoreFrom: "none", Began: t.first.UTC()}
	_ = r.phase("load", func() error { r.profile(w); t.follow(ctx, o.idle, o.longest); return nil })
	w.stop()
	r.record.Benchmark.Ended = t.last.UTC()
	if ctx.Err() != nil {
		r.record.Benchmark.Ending = "observing was interrupted"
		r.warn("observing was interrupted: the end of the benchmark may be missing")
	}
	if !o.hasScore && o.ask && ctx.Err() == nil {
		o.score, o.hasScore = askScore(s)
	}
	if o.hasScore {
		r.judge(external.Verdict{Score: o.score, Found: true})
		r.record.Benchmark.ScoreFrom, r.record.Score.Lines[0].Label = "given", "as given"
	} else {
		r.warn("the score is not known: give it with --score")
	}
	if o.failed {
		r.fail("load", errors.New("the benchmark failed, as --failed says"))
	}
	r.finish(ctx)
	return nil
}

// askScore reads a number from the standard input.
func askScore(s streams) (int64, bool) {
	fmt.Fprint(s.err, "isukit: score? ")
	line, err := bufio.NewReader(io.LimitReader(s.in, 100)).ReadString('\n')
	if err != nil && line == "" {
		return 0, false
	}
	n, err := strconv.ParseInt(strings.ReplaceAll(strings.TrimSpace(line), ",", ""), 10, 64)
	return n, err == nil
}
