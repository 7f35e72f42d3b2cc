package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"isukit/bench/diff"
	"isukit/bench/report"
	"isukit/bench/result"
	"isukit/cmd/internal/round"
	"isukit/cmd/internal/ui"
	"isukit/infra/digest/query"
	"isukit/input"
)

func newDigestDiffCmd(s streams) *cobra.Command {
	var o digestAccessOptions
	cmd := &cobra.Command{
		Use:   "diff FILE FILE",
		Short: "Compare two access logs by route, or two slow logs by query",
		Long: `Compare two logs: the differences by route or query, the largest first. If the logs cover times of different length, sums and counts
are given per minute. Each FILE is an access log as "isukit digest access" reads it, a slow log, or a digest that --json printed.`,
		Example: `  isukit digest diff before.log after.log --route '/api/posts/:id'
  isukit digest diff slow.log.1.gz slow.log --top 5
  isukit digest access --json access.log > before.json; isukit digest diff before.json access.log`,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error { return runDigestDiff(cmd.Context(), o, args, s) },
	}
	f := cmd.Flags()
	f.IntVar(&o.top, "top", 20, "print at most this many routes or queries; 0 prints all")
	f.StringVar(&o.match, "match", "", "only rows whose method and path, or query, match this regular expression")
	jsonFlag(f, &o.asJSON)
	o.addAccessFlags(f)
	return cmd
}

func runDigestDiff(ctx context.Context, o digestAccessOptions, files []string, s streams) error {
	match, err := o.matcher()
	if err != nil {
		return err
	}
	var sides [2]*result.Round
	for i, file := range files {
		if sides[i], err = o.side(ctx, file, s); err != nil {
			return err
		}
	}
	if a, b := sides[0].Access.Lines > 0, sides[1].Access.Lines > 0; a != b {
		return ui.UsageError(fmt.Errorf("%s and %s are not of the same kind", files[0], files[1]), "compare two access logs or two slow logs")
	}
	if sides[0].LoadSeconds <= 0 || sides[1].LoadSeconds <= 0 { // a digest does not say of what time it is
		sides[0].LoadSeconds, sides[1].LoadSeconds = 0, 0
	}
	d := diff.Of(sides[0], sides[1])
	d.Moved = slices.DeleteFunc(d.Moved, func(m diff.Move) bool { return m.Group == "round" || !match.MatchString(m.Name) })
	if o.asJSON {
		return printDiffJSON(d, s)
	}
	return report.Moves(s.out, d, o.top, wideStyle(s.out))
}

// side reads one file as if it were what a round has of logs.
func (o *digestAccessOptions) side(ctx context.Context, file string, s streams) (r *result.Round, err error) {
	r = &result.Round{ID: file}
	failed := readLogs(ctx, []string{file}, s, func(name string, in io.Reader) error {
		var first, last time.Time
		unpacked, err := input.Unpack(in)
		if err != nil {
			return err
		}
		head, _ := unpacked.Peek(4096)
		switch {
		case bytes.HasPrefix(head, []byte("{\n")): // a log has its objects on one line each
			return savedDigest(r, unpacked)
		case bytes.Contains(head, []byte("# Query_time:")) || bytes.HasPrefix(head, []byte("# User@Host:")):
			digester := query.New(query.Options{})
			err = digester.Read(ctx, name, unpacked)
			d := digester.Digest()
			r.Queries, first, last = round.QueryDigest(d, ""), d.First, d.Last
		default:
			digester, err := o.digester()
			if err != nil {
				return err
			}
			if err := digester.Read(ctx, name, unpacked); err != nil {
				return err
			}
			d := digester.Digest()
			r.Access, first, last = round.AccessDigest(d), d.First, d.Last
		}
		r.LoadSeconds = last.Sub(first).Seconds()
		return err
	})
	if failed != nil {
		return nil, failed
	}
	if r.Access.Lines+r.Queries.Statements == 0 {
		return nil, noLines([]string{file})
	}
	return r, round.MaskValues(r)
}

// savedDigest reads what digest access --json or digest queries --json wrote.
func savedDigest(r *result.Round, in *bufio.Reader) error {
	var into any = &r.Access
	if head, _ := in.Peek(200); bytes.Contains(head, []byte(`"statements"`)) {
		into = &r.Queries
	}
	if err := result.DecodePart(in, into); err != nil {
		return ui.UsageError(fmt.Errorf("%s is not a digest: %w", r.ID, err), "--json of isukit digest writes one")
	}
	return nil
}
