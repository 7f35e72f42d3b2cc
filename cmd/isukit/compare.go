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
		Short: "Test whether B is better than A, with confidence intervals",
		Long: `Compare two variants, A and B. For each metric the verdict is better, worse, same (within a margin) or undecided.

With --rounds or --until-sure, isukit runs rounds in pairs, in random order within a pair. A side is then one of
  topology=NAME|FILE   a topology
  tune=NAME,NAME       tunings, applied for each round; tune=none: no tunings
  commit=REV           the app of a commit, built from the checkout in the current directory; a project's build, deploy and
                       restart run in a work tree of that commit and must use the app from there
  run=COMMAND          a command to run before each round of this side, for example "run=./use-index.sh"
  round=ARGUMENTS      a round with these arguments of isukit round, for example "round=--engine mysql"
  command=COMMAND      any command that prints a JSON object of numbers, or "score: 1234"
--rounds defaults to 10, except for topology=. Ctrl-C stops early and compares the pairs completed so far. If the records show that both
sides were the same, the exit code is 2.

Without these flags, saved rounds are compared: "topology=NAME" selects all rounds of a topology; other rounds are listed with commas.`,
		Example: `  isukit compare topology=single topology=fanout-2 --rounds 10
  isukit compare commit=main commit=HEAD --until-sure --budget 20m --both "--duration 15s"
  isukit compare commit=HEAD round=      # what is not committed yet, after make build
  isukit compare "command=./bench --old" "command=./bench --new" --until-sure --metrics score,rss_mb:lower
  isukit compare ~1,~3,~5,~7,~9,~11 last,~2,~4,~6,~8,~10 --metrics score
  isukit compare topology=single topology=fanout-2 --bench > rounds.txt`,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.stateDir, o.quiet = stateDir(cmd), isQuiet(cmd)
			return runCompare(cmd.Context(), o, args[0], args[1], s)
		},
	}
	o.rounds.addFlags(cmd)
	f := cmd.Flags()
	f.BoolVar(&o.bench, "bench", false, "print the rounds as Go benchmark lines, for benchstat -col side")
	f.StringSliceVar(&o.statistic.Metrics, "metrics", nil, "metrics to compare: score, hits, p50, p99, cpu, errors; for those of a command NAME:higher or NAME:lower (the better direction)")
	f.Float64Var(&o.statistic.Same, "same", o.statistic.Same, "relative difference that counts as the same")
	f.Float64Var(&o.statistic.Alpha, "alpha", o.statistic.Alpha, "probability of a false \"better\" or \"worse\", over all metrics together")
	f.BoolVar(&o.statistic.Sequential, "sequential", false, "use the sequential test, which stays valid if you check the result after every pair")
	f.IntVar(&o.plan.Pairs, "rounds", 0, "number of rounds of each side")
	f.BoolVar(&o.plan.UntilSure, "until-sure", false, "run pairs until the score, or the first of --metrics, has a verdict")
	f.DurationVar(&o.plan.Budget, "budget", 0, "time budget: start no pair that would exceed it (default 30m with --until-sure)")
	f.IntVar(&o.plan.Warmup, "warmup", 1, "warm-up rounds of each side, which do not count")
	f.IntVar(&o.plan.Repeats, "repeats", 2, "maximum number of reruns of a noisy round")
	f.StringVar(&o.both, "both", "", `arguments of isukit round for both sides, for example "--duration 15s"`)
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

// runInterleaved runs rounds of both sides, saves and compares them. After an interruption or a failed round it compares those that exist.
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
		if err == nil {
			err = ui.Hinted(errors.New("the budget was spent before the first pair"), "give a larger --budget, or shorter rounds")
		}
		return err
	}
	ui.SayTo(s.err, o.quiet)("to compare these rounds again: %s", run.Rerun())
	return errors.Join(err, printComparison(o, run.Sides[0], run.Sides[1], run.Warnings(), s))
}

func compareKept(o compareOptions, a, b string, s streams) error {
	var sides [2]compare.Side
	for i, query := range []string{a, b} {
		side, err := findSide(o.rounds.dir, query, s)
		if errors.Is(err, result.ErrNoRound) {
			hint := `"isukit ls" lists the rounds; --rounds 10 runs some`
			if slices.Contains(infra.ShippedNames(), query) {
				hint = "topology=" + query + " selects that topology; --rounds 10 runs rounds of both sides"
			}
			return ui.UsageError(err, hint)
		}
		if err != nil {
			return err
		}
		sides[i] = side
	}
	if err := disjoint(sides[0], sides[1]); err != nil {
		return ui.UsageError(err, "A and B must be different rounds")
	}
	return printComparison(o, sides[0], sides[1], nil, s)
}

// printComparison compares and prints; warnings are added to those of the comparison.
func printComparison(o compareOptions, a, b compare.Side, warnings []string, s streams) error {
	if o.bench {
		return compare.GoBench(s.out, a, b)
	}
	c, err := compare.Rounds(a, b, o.statistic)
	if errors.Is(err, compare.ErrNoPairs) {
		return ui.Hinted(err, fmt.Sprintf("found %d passed rounds of A and %d of B (failed rounds are not compared)", len(a.Rounds), len(b.Rounds)))
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

func findSide(dir, query string, s streams) (compare.Side, error) {
	side := compare.Side{Name: query}
	if name, ok := strings.CutPrefix(query, "topology="); ok {
		entries, err := result.List(dir)
		if err != nil {
			return side, err
		}
		for _, e := range entries {
			if e.Err != nil {
				fmt.Fprintf(s.err, "isukit: warning: skipped an unreadable round: %v\n", e.Err)
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
