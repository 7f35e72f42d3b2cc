package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"isukit/cmd/internal/session"
	"isukit/cmd/internal/ui"
)

// newRoundRunner checks both sides and builds what they need; drop removes what was built.
func newRoundRunner(ctx context.Context, o compareOptions, a, b string, s streams) (_ *session.Runner, drop func(), err error) {
	both, err := splitArgs(o.both)
	if err != nil {
		return nil, nil, ui.UsageError(fmt.Errorf("--both: %w", err), `see "isukit compare --help"`)
	}
	var sides [2]runnableSide
	for i, query := range []string{a, b} {
		if sides[i], err = parseRunnable(query); err != nil {
			return nil, nil, ui.UsageError(err, `see "isukit compare --help"`)
		}
		if sides[i].command != "" {
			continue
		}
		if err := checkRoundArgs(slices.Concat(both, sides[i].args)); err != nil {
			return nil, nil, ui.UsageError(fmt.Errorf("side %q: %w", query, err), ui.HintOf(err, `see "isukit round --help"`))
		}
	}
	if sides[0].command != "" && sides[1].command != "" && len(both) > 0 {
		return nil, nil, ui.UsageError(errors.New("--both is for rounds of isukit, and both sides are commands"), "write it into the commands")
	}
	runner := &session.Runner{}
	if runner.Isukit, err = os.Executable(); err != nil {
		return nil, nil, err
	}
	dir, err := os.MkdirTemp("", "isukit-compare-")
	if err != nil {
		return nil, nil, err
	}
	drop = func() { os.RemoveAll(dir) }
	for i, side := range sides {
		if side.command != "" {
			runner.Commands[i] = &session.Command{Command: side.command, Results: o.rounds.dir, NeedScore: len(o.statistic.Metrics) == 0}
			continue
		}
		if side.commit != "" {
			ui.SayTo(s.err, o.quiet)("building the app of %s", side.name)
			binary, err := session.BuildApp(ctx, side.commit, dir)
			if err != nil {
				return nil, drop, err
			}
			side.args = append(side.args, "--app", binary)
		}
		runner.Args[i] = slices.Concat([]string{"round"}, both, side.args,
			[]string{"--quiet", "--json", "--results", o.rounds.dir, "--state-dir", o.stateDir})
	}
	return runner, drop, nil
}
