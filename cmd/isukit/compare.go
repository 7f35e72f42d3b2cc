package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"isukit/bench/compare"
	"isukit/bench/result"
	"isukit/cmd/internal/session"
	"isukit/cmd/internal/ui"
	"isukit/infra"
)

// compareOptions are those of `isukit compare`.
type compareOptions struct {
	rounds    roundsOptions
	bench     bool
	statistic compare.Options
	plan      session.Plan
	// both are arguments of `isukit round` for both sides.
	both     string
	stateDir string
	quiet    bool
}

func newCompareCmd(s streams) *cobra.Command {
	o := compareOptions{statistic: compare.DefaultOptions()}
	cmd := &cobra.Command{
		Use:   "compare A B",
		Short: "Say whether B is better than A, and how sure that is",
		Long: `Compare two sides, A and B. For every figure of a round the answer is better, worse, same within a margin, or undecided.

With --rounds or --until-sure, rounds of both sides are run in pairs, in a random order within the pairs. A side is then
  topology=NAME|FILE   a topology
  tune=NAME,NAME       tunings, applied for each round; tune=none is none
  commit=REV           the app of a commit, built from the checkout in the current directory; of a project the whole round is then
                       played in a work tree of that commit: its build, deploy and restart must take the app from there
  run=COMMAND          what the command makes of the app, run before each round of the side, as "run=./use-index.sh"
  round=ARGUMENTS      what these arguments of isukit round make, as "round=--engine mysql"; "round=" is a plain round
  command=COMMAND      any command; it prints its figures as a JSON object of numbers, or "score: 1234"
For all but topology= --rounds 10 is the default. Ctrl-C ends it, and what there is by then is compared. The records of both sides
are held against what was asked: where they are equal in that, it ends with exit code 2.

Else kept rounds are compared: "topology=NAME" is all rounds of a topology; rounds as show takes them are joined by commas.`,
		Example: `  isukit compare topology=single topology=fanout-2 --rounds 10
  isukit compare commit=main commit=HEAD --until-sure --budget 20m --both "--duration 15s"
  isukit compare commit=HEAD round=      # what is not committed yet, after make build
  isukit compare "command=./bench --old" "command=./bench --new" --until-sure --metrics score,rss_mb:lower
  isukit compare ~1,~3,~5,~7,~9,~11 last,~2,~4,~6,~8,~10 --metrics score
  isukit compare topology=single topology=fanout-2 --bench > rounds.txt`,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			var err error
			if o.stateDir, err = stateDir(cmd); err != nil {
				return err
			}
			o.quiet = isQuiet(cmd)
			return runCompare(cmd.Context(), o, args[0], args[1], s)
		},
	}
	o.rounds.addFlags(cmd)
	f := cmd.Flags()
	f.BoolVar(&o.bench, "bench", false, "print the rounds as Go benchmark lines, for benchstat -col side")
	f.StringSliceVar(&o.statistic.Metrics, "metrics", nil, "compare only these: score, hits, p50, p99, cpu, errors; of a command's figures NAME:higher or NAME:lower, as it is better")
	f.Float64Var(&o.statistic.Same, "same", o.statistic.Same, "relative difference below which both count as the same")
	f.Float64Var(&o.statistic.Alpha, "alpha", o.statistic.Alpha, "probability of a false better or worse, over all metrics")
	f.BoolVar(&o.statistic.Sequential, "sequential", false, "use the test that stays right when you look after every pair")
	f.IntVar(&o.plan.Pairs, "rounds", 0, "run so many rounds of each side")
	f.BoolVar(&o.plan.UntilSure, "until-sure", false, "run rounds until the score, or the first of --metrics, is decided")
	f.DurationVar(&o.plan.Budget, "budget", 0, "start no pair that would end later than this (default 30m with --until-sure)")
	f.IntVar(&o.plan.Warmup, "warmup", 1, "rounds of each side that are run first and do not count")
	f.IntVar(&o.plan.Repeats, "repeats", 2, "how often a round that was disturbed from outside is run again at most")
	f.StringVar(&o.both, "both", "", `arguments of isukit round for both sides, as "--duration 15s --scale small"`)
	return cmd
}

func runCompare(ctx context.Context, o compareOptions, a, b string, s streams) error {
	if err := errors.Join(o.statistic.Validate(), o.plan.Validate()); err != nil {
		return ui.UsageError(err, `see "isukit compare --help"`)
	}
	if o.plan.Pairs > 0 || o.plan.UntilSure || isRunnable(a) || isRunnable(b) {
		return runInterleaved(ctx, o, a, b, s)
	}
	return compareKept(o, a, b, s)
}

// runInterleaved runs rounds of both sides, keeps them like all others, and compares them. When it is interrupted, or a
// round could not be run, what there is by then is compared all the same.
func runInterleaved(ctx context.Context, o compareOptions, a, b string, s streams) error {
	runner, drop, err := newRoundRunner(ctx, o, a, b, s)
	if drop != nil {
		defer drop()
	}
	if err != nil {
		return err
	}
	o.statistic.Sequential = o.statistic.Sequential || o.plan.UntilSure
	run := &session.Session{
		Plan: o.plan.WithDefaults(), Rnd: rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())),
		Play: runner.Play, Sure: session.Decided(o.statistic), Now: time.Now,
		Say:   ui.SayTo(s.err, o.quiet),
		Proof: &session.Proof{Asked: [2]session.Asked{askedOf(a), askedOf(b)}},
	}
	run.Sides[0].Name, run.Sides[1].Name = a, b
	err = run.Run(ctx)
	if errors.Is(err, session.ErrEqual) {
		return err
	}
	if len(run.Sides[0].Rounds) == 0 {
		return errors.Join(err, noPairs(err))
	}
	ui.SayTo(s.err, o.quiet)("the same once more: %s", run.Rerun())
	return errors.Join(err, printComparison(o, run.Sides[0], run.Sides[1], run.Warnings(), s))
}

// noPairs is the error when not one pair was run, if nothing else says why.
func noPairs(err error) error {
	if err != nil {
		return nil
	}
	return ui.Hinted(errors.New("the budget was spent before the first pair"), "give a larger --budget, or shorter rounds")
}

// compareKept compares rounds that are there.
func compareKept(o compareOptions, a, b string, s streams) error {
	var sides [2]compare.Side
	for i, query := range []string{a, b} {
		side, err := findSide(o.rounds.dir, query, s)
		if errors.Is(err, result.ErrNoRound) {
			return ui.UsageError(err, compareHint(query))
		}
		if err != nil {
			return err
		}
		sides[i] = side
	}
	if err := disjoint(sides[0], sides[1]); err != nil {
		return ui.UsageError(err, "A and B have to be different rounds")
	}
	return printComparison(o, sides[0], sides[1], nil, s)
}

// compareHint is what to do where a side is no round.
func compareHint(query string) string {
	if slices.Contains(infra.ShippedNames(), query) {
		return "topology=" + query + " is that topology; --rounds 10 runs rounds of both sides"
	}
	return `"isukit ls" lists the rounds; --rounds 10 runs some`
}

// printComparison compares and prints; warnings are said beside those of the comparison itself.
func printComparison(o compareOptions, a, b compare.Side, warnings []string, s streams) error {
	if o.bench {
		return compare.GoBench(s.out, a, b)
	}
	c, err := compare.Rounds(a, b, o.statistic)
	if errors.Is(err, compare.ErrNoPairs) {
		return ui.Hinted(err, fmt.Sprintf("%d rounds of A and %d of B were found; failed ones do not count", len(a.Rounds), len(b.Rounds)))
	}
	if err != nil {
		return err
	}
	c.Warnings = append(c.Warnings, warnings...)
	if o.rounds.asJSON {
		return ui.PrintJSON(s.out, c)
	}
	if err := compare.Text(ui.Signalling(s.out), c); err != nil {
		return err
	}
	sayNext(s, o.quiet, nextAfterCompare(c, o))
	return nil
}

// findSide reads the rounds that a query names.
func findSide(dir, query string, s streams) (compare.Side, error) {
	side := compare.Side{Name: query}
	if name, ok := strings.CutPrefix(query, "topology="); ok {
		entries, err := result.List(dir)
		if err != nil {
			return side, err
		}
		for _, e := range entries {
			if e.Err != nil {
				fmt.Fprintf(s.err, "isukit: passed over: %v\n", e.Err)
				continue
			}
			if e.Round.Topology != name {
				continue
			}
			r, _, err := result.Get(dir, e.ID)
			if err != nil {
				return side, err
			}
			side.Rounds = append(side.Rounds, r)
		}
		if len(side.Rounds) == 0 {
			return side, fmt.Errorf("%s: %w", query, result.ErrNoRound)
		}
		return side, nil
	}
	for q := range strings.SplitSeq(query, ",") {
		r, _, err := result.Find(dir, q)
		if err != nil {
			return side, err
		}
		side.Rounds = append(side.Rounds, r)
	}
	return side, nil
}

// disjoint returns an error that names a round which stands on both sides, or twice on one.
func disjoint(a, b compare.Side) error {
	var seen []string
	for _, r := range slices.Concat(a.Rounds, b.Rounds) {
		if slices.Contains(seen, r.ID) {
			return fmt.Errorf("round %s is named twice", r.ID)
		}
		seen = append(seen, r.ID)
	}
	return nil
}
