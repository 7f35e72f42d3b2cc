package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/spf13/cobra"

	"isukit/bench/result"
	"isukit/cmd/internal/ui"
)

func newRestoreCmd(s streams) *cobra.Command {
	var dir, project string
	var apply bool
	cmd := &cobra.Command{
		Use:   "restore ROUND",
		Short: "Restore the commit, topology and tunings of a round",
		Long: `Restore the commit, topology and tunings of a saved round. Without --apply, isukit only prints the plan, a list of commands. With --apply
it runs them in order and stops at the first that fails. Changes that were not committed when the round ran are in its dirty.diff and
are not restored. ROUND: see "isukit show --help".`,
		Example: "  isukit restore last-3\n  isukit restore 20261122T2044 --apply",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			r, _, err := findRound(dir, args[0])
			if err != nil {
				return err
			}
			return runRestore(cmd.Context(), r, filepath.Dir(project), apply, s)
		},
	}
	resultsFlag(cmd.Flags(), &dir)
	projectFlag(cmd.Flags(), &project)
	cmd.Flags().BoolVar(&apply, "apply", false, "run the commands of the plan")
	return cmd
}

// A record may come from another person: only what looks like an argument is taken from it as one.
var (
	commitHash = regexp.MustCompile(`^[0-9a-f]{7,64}$`)
	plainName  = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._/-]*$`)
)

func restorePlan(r *result.Round, dir string) (plan [][]string, err error) {
	if hash, _, _ := strings.Cut(r.Fact("commit"), " "); hash != "" {
		if !commitHash.MatchString(hash) {
			return nil, fmt.Errorf("the commit of %s is %q, not a commit hash", r.ID, hash)
		}
		plan = append(plan, []string{"git", "-C", dir, "checkout", "--detach", hash})
	}
	named := func(names []string, command ...string) error {
		for _, name := range names {
			if !plainName.MatchString(name) {
				return fmt.Errorf("%s of %s names %q", command[0], r.ID, name)
			}
		}
		plan = append(plan, append(append([]string{"isukit"}, command...), names...))
		return nil
	}
	if topology := r.Fact("topology"); topology != "" {
		err = named([]string{topology}, "topology", "apply")
	}
	if tunings := r.Fact("tunings"); tunings != "" {
		err = errors.Join(err, named(strings.Split(tunings, ", "), "tune", "apply"))
	}
	return plan, err
}

func runRestore(ctx context.Context, r *result.Round, dir string, apply bool, s streams) error {
	plan, err := restorePlan(r, dir)
	if err != nil {
		return err
	}
	if len(plan) == 0 {
		return ui.UsageError(fmt.Errorf("round %s records neither commit, topology nor tunings", r.ID), `"isukit show --json" prints its facts`)
	}
	if r.Fact("uncommitted") != "" {
		fmt.Fprintf(s.err, "isukit: warning: the round had uncommitted changes: see its dirty.diff\n")
	}
	for _, argv := range plan {
		fmt.Fprintf(s.out, "%s\n", strings.Join(argv, " "))
	}
	if !apply {
		fmt.Fprintf(s.err, "isukit: nothing was done; run these with --apply\n")
		return nil
	}
	if plan[0][0] == "git" {
		if status, err := exec.CommandContext(ctx, "git", "-C", dir, "status", "--porcelain", "--untracked-files=no").Output(); err != nil || len(bytes.TrimSpace(status)) > 0 {
			return ui.UsageError(errors.Join(fmt.Errorf("%s has uncommitted changes", dir), err), "commit or stash them first")
		}
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	for _, argv := range plan {
		name := argv[0]
		if name == "isukit" {
			name = self
		}
		cmd := exec.CommandContext(ctx, name, argv[1:]...)
		cmd.Stdin, cmd.Stdout, cmd.Stderr = s.in, s.err, s.err
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("%s: %w", strings.Join(argv, " "), err)
		}
	}
	return nil
}
