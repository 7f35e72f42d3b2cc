package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"isukit/bench/compare"
	"isukit/bench/result"
)

// compareOptions are those of `isukit compare`.
type compareOptions struct {
	rounds    roundsOptions
	bench     bool
	statistic compare.Options
}

func newCompareCmd(s streams) *cobra.Command {
	o := compareOptions{statistic: compare.DefaultOptions()}
	cmd := &cobra.Command{
		Use:   "compare A B",
		Short: "Say whether rounds B are better than rounds A, and how sure that is",
		Long: `Compare two sets of kept rounds that ran in pairs. A and B are each "topology=NAME" for all rounds of a topology, or rounds
as show takes them, joined by commas. For every figure the answer is better, worse, same within a margin, or undecided.`,
		Example: `  isukit compare topology=single topology=two
  isukit compare ~1,~3,~5,~7,~9,~11 last,~2,~4,~6,~8,~10 --metrics score
  isukit compare topology=single topology=two --bench > rounds.txt`,
		GroupID: "round",
		Args:    cobra.ExactArgs(2),
		RunE: func(_ *cobra.Command, args []string) error {
			return runCompare(o, args[0], args[1], s)
		},
	}
	o.rounds.addFlags(cmd)
	f := cmd.Flags()
	f.BoolVar(&o.bench, "bench", false, "print the rounds as Go benchmark lines, for benchstat -col side")
	f.StringSliceVar(&o.statistic.Metrics, "metrics", nil, "compare only these: score, hits, p50, p99, cpu, errors")
	f.Float64Var(&o.statistic.Same, "same", o.statistic.Same, "relative difference below which both count as the same")
	f.Float64Var(&o.statistic.Alpha, "alpha", o.statistic.Alpha, "probability of a false better or worse, over all metrics")
	f.BoolVar(&o.statistic.Sequential, "sequential", false, "use the test that stays right when you look after every pair")
	return cmd
}

func runCompare(o compareOptions, a, b string, s streams) error {
	if err := o.statistic.Validate(); err != nil {
		return usageError(err, `see "isukit compare --help"`)
	}
	var sides [2]compare.Side
	for i, query := range []string{a, b} {
		side, err := findSide(o.rounds.dir, query, s)
		if errors.Is(err, result.ErrNoRound) {
			return usageError(err, `"isukit ls" lists the rounds`)
		}
		if err != nil {
			return err
		}
		sides[i] = side
	}
	if err := disjoint(sides[0], sides[1]); err != nil {
		return usageError(err, "A and B have to be different rounds")
	}
	return printComparison(o, sides[0], sides[1], s)
}

func printComparison(o compareOptions, a, b compare.Side, s streams) error {
	if o.bench {
		return compare.GoBench(s.out, a, b)
	}
	c, err := compare.Rounds(a, b, o.statistic)
	if errors.Is(err, compare.ErrNoPairs) {
		return hinted(err, fmt.Sprintf("%d rounds of A and %d of B were found; failed ones do not count", len(a.Rounds), len(b.Rounds)))
	}
	if err != nil {
		return err
	}
	if o.rounds.asJSON {
		encoder := json.NewEncoder(s.out)
		encoder.SetIndent("", "  ")
		return encoder.Encode(c)
	}
	return compare.Text(s.out, c)
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
			} else if e.Round.Topology == name {
				side.Rounds = append(side.Rounds, e.Round)
			}
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
