package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"isukit/bench/report"
	"isukit/bench/result"
	"isukit/cmd/internal/round"
	"isukit/cmd/internal/ui"
	"isukit/infra/digest/access"
)

func newDigestCmd(s streams) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "digest",
		Short:   "Summarize access logs by route, slow logs by query; compare two",
		Example: "  isukit digest access /var/log/nginx/access.log\n  isukit digest queries /var/log/mysql/slow.log\n  isukit digest diff before.log after.log",
	}
	cmd.AddCommand(newDigestAccessCmd(s), newDigestQueriesCmd(s), newDigestDiffCmd(s))
	return cmd
}

type digestOptions struct {
	from, to string
	top      int
	asJSON   bool
	chosenRows
}

func (o *digestOptions) addFlags(cmd *cobra.Command, what string) {
	f := cmd.Flags()
	f.StringVar(&o.from, "from", "", "only requests that ended at or after this time: RFC 3339, or 15:04:05 (today)")
	f.StringVar(&o.to, "to", "", "only requests before this end time")
	f.IntVar(&o.top, "top", 40, "maximum number of "+what+" to print (0: all)")
	jsonFlag(f, &o.asJSON)
	o.chosenRows.addFlags(cmd)
}

// shown is the number of rows to print: --top, or all.
func (o *digestOptions) shown(n int) int {
	if o.top > 0 {
		return min(o.top, n)
	}
	return n
}

func (o *digestOptions) window() (from, to time.Time, err error) {
	if from, err = parseMoment(o.from); err == nil {
		to, err = parseMoment(o.to)
	}
	if err == nil && !to.IsZero() && !from.Before(to) {
		err = fmt.Errorf("the window ends at %s, before it begins at %s", o.to, o.from)
	}
	if err != nil {
		return from, to, ui.UsageError(err, `write times as 2026-11-22T20:15:03Z or 20:15:03`)
	}
	return from, to, nil
}

// parseMoment reads a time as --from and --to take it; "" is the zero time.
func parseMoment(text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if t, err := time.Parse(time.RFC3339Nano, text); err == nil {
		return t, nil
	}
	clock, err := time.ParseInLocation(time.TimeOnly, text, time.Local)
	if err != nil {
		return time.Time{}, fmt.Errorf("%q is not a time", text)
	}
	now := time.Now()
	return time.Date(now.Year(), now.Month(), now.Day(), clock.Hour(), clock.Minute(), clock.Second(), 0, time.Local), nil
}

type digestAccessOptions struct {
	digestOptions
	format  string
	zone    string
	routes  []string
	literal bool
}

func newDigestAccessCmd(s streams) *cobra.Command {
	var o digestAccessOptions
	cmd := &cobra.Command{
		Use:   "access FILE...",
		Short: "Summarize access logs of nginx, Envoy, Apache or H2O by route",
		Long: `Summarize access logs by method and route: counts by status class, sum and percentiles of the times, bytes, cache status.
Lines are JSON, LTSV, combined (with times appended) or in the format of --format. Files may be rotated and compressed; "-" is standard
input. isukit finds routes by replacing numbers, UUIDs and other variable parts of paths with {id}, {uuid} and {slug}; --route names
routes instead. It counts and shows lines that it cannot read.`,
		Example: `  isukit digest access /var/log/nginx/access.log
  isukit digest access access.log.2.gz access.log.1 access.log --route '/api/posts/:id' --route '^/(css|js)/'
  isukit digest access --from 13:05:00 --to 13:06:00 --sort count --json access.log
  isukit digest access --columns count,sum,p50,p99.9,method,path --match '^POST ' --output markdown access.log
  isukit digest access --format '$remote_addr [$time_local] "$request" $status $request_time' access.log`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return runDigestAccess(cmd.Context(), o, args, s) },
	}
	o.addFlags(cmd, "routes")
	o.addAccessFlags(cmd.Flags())
	return cmd
}

func (o *digestAccessOptions) addAccessFlags(f *pflag.FlagSet) {
	f.StringVar(&o.format, "format", "", "json, ltsv (with labels: 'json took=request_time'), combined, envoy, or the format of nginx, Apache, H2O or Envoy (default: detected)")
	f.StringVar(&o.zone, "zone", "UTC", "time zone of times without one, for example Asia/Tokyo, +09:00 or Local")
	f.StringArrayVar(&o.routes, "route", nil, "route pattern: /posts/:id or /posts/{id} (one segment), /static/* (the rest), or a regular expression that starts with ^ (repeatable)")
	f.BoolVar(&o.literal, "literal", false, "do not group paths that no --route matches")
}

// digester reads access logs as the flags say.
func (o *digestAccessOptions) digester() (*access.Digester, error) {
	opts, err := o.accessOptions()
	if err != nil {
		return nil, err
	}
	digester, err := access.New(opts)
	if err != nil {
		return nil, ui.UsageError(err, `see "isukit digest access --help"`)
	}
	return digester, nil
}

func runDigestAccess(ctx context.Context, o digestAccessOptions, files []string, s streams) error {
	digester, err := o.digester()
	if err != nil {
		return err
	}
	failed := readLogs(ctx, files, s, func(name string, r io.Reader) error { return digester.Read(ctx, name, r) })
	if err := ctx.Err(); err != nil {
		return err
	}
	d := digester.Digest()
	if d.Lines == 0 {
		return cmp.Or(failed, noLines(files))
	}
	match, err := o.matcher()
	if err != nil {
		return err
	}
	d.Keep(func(r *access.Route) bool { return match.MatchString(r.Method + " " + r.Path) })
	printErr := printDigest(o.digestOptions, s, ui.RouteFigures(), d.Routes, func() result.AccessDigest { return round.AccessDigest(d) }, report.Access)
	return errors.Join(printErr, failed)
}

// printDigest prints rows in the order of --sort: by chosen columns, with the notes on standard error, or all of it as JSON or a report.
func printDigest[R, D any](o digestOptions, s streams, figures ui.RowFigures[R], rows []R, digest func() D, text func(io.Writer, *D, int, report.Style) error) error {
	if err := ui.OrderRows(figures, o.sort, rows); err != nil {
		return err
	}
	out := digest()
	if err := round.MaskValues(&out); err != nil {
		return err
	}
	if o.own() {
		return cmp.Or(ui.PrintRows(s.out, o.columns, o.output, figures, rows[:o.shown(len(rows))]), text(s.err, &out, report.NotesOnly, ui.StyleOf(s.err)))
	}
	if o.asJSON {
		return ui.PrintJSON(s.out, out)
	}
	return text(s.out, &out, o.top, wideStyle(s.out))
}

// wideStyle is styleOf with room for all columns unless the output is a terminal.
func wideStyle(w io.Writer) report.Style {
	style := ui.StyleOf(w)
	if style.Width == 0 {
		style.Width = 140
	}
	return style
}

func noLines(files []string) error {
	return ui.UsageError(fmt.Errorf("%v contains no lines", files), "name a log file that is not empty")
}

func (o *digestAccessOptions) accessOptions() (access.Options, error) {
	opts := access.Options{Format: o.format, Literal: o.literal}
	var err error
	if opts.From, opts.To, err = o.window(); err != nil {
		return opts, err
	}
	if opts.Zone, err = parseZone(o.zone); err != nil {
		return opts, ui.UsageError(err, "name a zone such as Asia/Tokyo, +09:00, UTC or Local")
	}
	for _, text := range o.routes {
		p, err := access.ParsePattern(text)
		if err != nil {
			return opts, ui.UsageError(err, "for example /api/posts/:id, /static/* or ^/(css|js)/")
		}
		opts.Patterns = append(opts.Patterns, p)
	}
	return opts, nil
}

func parseZone(text string) (*time.Location, error) {
	if t, err := time.Parse("-07:00", text); err == nil {
		return t.Location(), nil
	}
	return time.LoadLocation(text)
}

// readLogs hands every file to read. One that cannot be read keeps none of the others from being read; the error names all.
func readLogs(ctx context.Context, files []string, s streams, read func(name string, r io.Reader) error) error {
	var errs []error
	for _, file := range files {
		errs = append(errs, func() error {
			f, err := ui.OpenInput(ctx, file, s.in)
			if err != nil {
				return ui.UsageError(err, "name readable logs; - is standard input")
			}
			defer f.Close()
			name := file
			if file == "-" {
				name = "standard input"
			}
			return read(name, f)
		}())
	}
	return errors.Join(errs...)
}

type chosenRows struct{ columns, sort, match, output string }

func (o *chosenRows) addFlags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&o.columns, "columns", "", "columns to print, for example count,sum,p50,p99.9,path (default: those that fit)")
	f.StringVar(&o.sort, "sort", "sum", "column to sort by: sum, count, mean, p99, max or any other")
	f.StringVar(&o.match, "match", "", "only rows whose method and path, or query, match this regular expression")
	f.StringVar(&o.output, "output", "table", "format: table, tsv, csv or markdown")
}

// own tells whether rows are printed by their columns, and not as reports have them.
func (o *chosenRows) own() bool { return o.columns != "" || o.output != "table" }

// matcher is what --match wants.
func (o *chosenRows) matcher() (*regexp.Regexp, error) {
	expr, err := regexp.Compile(o.match)
	if err != nil {
		err = ui.UsageError(fmt.Errorf("--match: %w", err), "write a regular expression such as '^POST '")
	}
	return expr, err
}
