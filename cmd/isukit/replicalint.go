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
		Short: "List an app's SQL statements and how the fan-out handles each",
		Long: `List every SQL statement in an app's sources and SQL files, with a verdict:
  exact                     every replica executes it with the same effect
  made exact                the pool computes its values once, for all servers
  refused                   the pool rejects it; the line below shows what to write instead
  not known until it runs   part of the text is built at run time

Go sources are parsed (constants, concatenation, fmt.Sprintf, sqlx.In, strings.Builder). In Python, Ruby, PHP, Perl, JavaScript,
TypeScript and Rust, isukit reads strings that look like SQL. The CREATE TABLE statements of all files are the schema, unless --schema
names files. SQL that an ORM generates is not found.`,
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
		return ui.UsageError(err, "name the files and directories of the app's sources")
	case err != nil:
		return err
	case report.Files == 0:
		return ui.UsageError(fmt.Errorf("no source or SQL file found in %q", paths), "name the files and directories of the app's sources")
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
