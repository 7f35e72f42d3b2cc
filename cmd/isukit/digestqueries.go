package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"

	"github.com/spf13/cobra"

	"isukit/bench/report"
	"isukit/bench/result"
	"isukit/cmd/internal/round"
	"isukit/cmd/internal/ui"
	"isukit/infra/digest/query"
)

func newDigestQueriesCmd(s streams) *cobra.Command {
	var o digestOptions
	var groups []string
	cmd := &cobra.Command{
		Use:   "queries FILE...",
		Short: "Summarize slow logs of MySQL or MariaDB by query",
		Long: `Summarize slow logs by normalized query (literals removed): count, sum, average, 95th percentile, lock waits, rows examined and sent,
and the slowest query as an example. Files may be rotated and compressed; "-" is standard input. If comments in the queries name the
route, queries are counted by route. Passwords, tokens, session ids and similar strings in examples are masked.`,
		Example: `  isukit digest queries /var/log/mysql/slow.log
  isukit digest queries slow.log.1.gz slow.log --from 13:05:00 --to 13:06:00
  isukit digest queries slow.log --group '^select .* from sessions' --group '^insert into (logs|events)'
  isukit digest queries --json slow.log | jq '.queries[0]'`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runDigestQueries(cmd.Context(), o, groups, args, s)
		},
	}
	o.addFlags(cmd, "queries")
	cmd.Flags().StringArrayVar(&groups, "group", nil, "queries that match this regular expression are one row (repeatable; the first match counts)")
	return cmd
}

func runDigestQueries(ctx context.Context, o digestOptions, groups, files []string, s streams) error {
	var opts query.Options
	var err error
	if opts.From, opts.To, err = o.window(); err != nil {
		return err
	}
	for _, text := range groups {
		expr, err := regexp.Compile(text)
		if err != nil {
			return ui.UsageError(fmt.Errorf("--group: %w", err), "write a regular expression such as '^insert into (users|teams)'")
		}
		opts.Groups = append(opts.Groups, expr)
	}
	digester := query.New(opts)
	failed := readLogs(ctx, files, s, func(name string, r io.Reader) error { return digester.Read(ctx, name, r) })
	if err := ctx.Err(); err != nil {
		return err
	}
	d := digester.Digest()
	if d.Statements == 0 {
		return cmp.Or(failed, noLines(files))
	}
	match, err := o.matcher()
	if err != nil {
		return err
	}
	d.Queries = slices.DeleteFunc(d.Queries, func(q *query.Query) bool { return !match.MatchString(q.Fingerprint) })
	printErr := printDigest(o, s, ui.QueryFigures(), d.Queries, func() result.QueryDigest { return round.QueryDigest(d, "") }, report.Queries)
	return errors.Join(printErr, failed)
}
