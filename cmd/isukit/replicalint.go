package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"forge.example/account/isukit/app/fanout/lint"

	"isukit/cmd/internal/ui"
)

// newReplicasLintCmd makes isukit replicas lint, which reads sources and asks no database.
func newReplicasLintCmd(s streams) *cobra.Command {
	var opts lint.Options
	cmd := &cobra.Command{
		Use:   "lint PATH...",
		Short: "List an app's SQL statements and what the fan-out does with each",
		Long: `Read an app's sources and SQL files, and list every statement with its verdict, before anybody runs it:
  exact                     every replica executes it with the same effect
  made exact                the pool computes once what each server would compute for itself, and sends it
  refused                   the pool does not execute it; the line below says what to write instead
  not known until it runs   part of the text is made at run time

Go sources are parsed: constants, sums, fmt.Sprintf, sqlx.In, strings.Builder. In Python, Ruby, PHP, Perl, JavaScript,
TypeScript and Rust, text that looks like SQL is read. CREATE TABLE statements in any of these files are the schema, unless
--schema names files. SQL that an object-relational mapper generates is not found.`,
		Example: "  isukit replicas lint webapp/go webapp/sql\n  isukit replicas lint --schema schema.sql main.go\n  isukit replicas lint --json . | jq -r '.statements[] | select(.verdict == \"refused\") | .file'",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			asJSON, err := cmd.Flags().GetBool("json")
			if err != nil {
				return err
			}
			return runReplicasLint(cmd.Context(), args, opts, asJSON, isQuiet(cmd), s)
		},
	}
	cmd.Flags().StringSliceVar(&opts.Schema, "schema", nil, "files with the CREATE TABLE statements (default: those found in PATH...)")
	cmd.Flags().BoolVar(&opts.Tests, "tests", false, "read _test.go files as well")
	return cmd
}

func runReplicasLint(ctx context.Context, paths []string, opts lint.Options, asJSON, quiet bool, s streams) error {
	done := ui.Waiting(s.err, quiet, "reading the sources")
	report, err := lint.Paths(ctx, paths, opts)
	done()
	switch {
	case errors.Is(err, os.ErrNotExist):
		return ui.UsageError(err, "name the files and directories that hold the app's sources")
	case err != nil:
		return err
	case report.Files == 0:
		return ui.UsageError(fmt.Errorf("no source or SQL file found in %q", paths), "name the files and directories that hold the app's sources")
	}
	if asJSON {
		err = ui.PrintJSON(s.out, report)
	} else {
		_, err = fmt.Fprint(s.out, report)
	}
	if err == nil && report.Count(lint.Refused) > 0 {
		return ui.ErrCheckFailed
	}
	return err
}
