package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"isukit/cmd/internal/session"
	"isukit/cmd/internal/ui"
	"isukit/infra/project"
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
		return nil, nil, ui.UsageError(errors.New("--both only applies to isukit rounds, and both sides are commands"), "add the arguments to the commands")
	}
	runner := &session.Runner{}
	if runner.Isukit, err = os.Executable(); err != nil {
		return nil, nil, err
	}
	dir, err := os.MkdirTemp("", "isukit-compare-")
	if err != nil {
		return nil, nil, err
	}
	var trees []func() error
	drop = func() {
		for _, gone := range trees {
			_ = gone() // git forgets a deleted tree, too
		}
		os.RemoveAll(dir)
	}
	for i, side := range sides {
		if side.command != "" {
			runner.Commands[i] = &session.Command{Command: side.command, Results: o.rounds.dir, NeedScore: len(o.statistic.Metrics) == 0}
			continue
		}
		runner.Before[i] = side.run
		p, file, err := trustedProject(ctx, s, o.stateDir, slices.Concat(both, side.args))
		if err != nil {
			return nil, drop, err
		}
		if side.commit != "" && p != nil {
			if len(p.Build)+len(p.Deploy)+len(p.Restart) == 0 {
				return nil, drop, ui.UsageError(fmt.Errorf("side %q: the project file has no build, deploy or restart, so a commit would not change the running app", side.name),
					"add build, deploy and restart to isukit.yaml")
			}
			there, gone, err := session.ProjectAt(ctx, file, side.commit, dir)
			if err != nil {
				return nil, drop, err
			}
			trees, side.args = append(trees, gone), append(side.args, "--project", there, "--yes") // it is that file, at another path
		} else if side.commit != "" {
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

// trustedProject is projectOf, once it is agreed that the project's commands may run.
func trustedProject(ctx context.Context, s streams, state string, args []string) (*project.Project, string, error) {
	p, file, yes, err := projectOf(args)
	if err == nil && p != nil {
		err = trust(ctx, s, state, p, file, yes)
	}
	return p, file, err
}

// projectOf is the project that a round with these arguments would be of, with its file and --yes; nil for a round of the portal.
func projectOf(args []string) (p *project.Project, file string, yes bool, err error) {
	var o roundOptions
	cmd := &cobra.Command{Use: "round"}
	o.addFlags(cmd.Flags())
	if err := errors.Join(cmd.ParseFlags(args), flagsFromEnv(cmd.Flags())); err != nil {
		return nil, "", false, err
	}
	p, dir, err := roundedProject(cmd)
	if err != nil || p == nil {
		return nil, "", false, err
	}
	yes, err = cmd.Flags().GetBool("yes")
	return p, filepath.Join(dir, filepath.Base(cmp.Or(o.project, project.FileName))), yes, err
}
