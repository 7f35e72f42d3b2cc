package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"isukit/bench/report"
	"isukit/bench/result"
	"isukit/cmd/internal/ui"
)

type roundsOptions struct {
	dir    string
	asJSON bool
}

func (o *roundsOptions) addFlags(cmd *cobra.Command) {
	resultsFlag(cmd.Flags(), &o.dir)
	jsonFlag(cmd.Flags(), &o.asJSON)
}

func newLsCmd(s streams) *cobra.Command {
	var o roundsOptions
	cmd := &cobra.Command{
		Use:     "ls",
		Short:   "List saved rounds, newest first",
		Example: "  isukit ls\n  isukit ls --json",
		Args:    cobra.NoArgs,
		RunE:    func(*cobra.Command, []string) error { return runLs(o, s) },
	}
	resultsFlag(cmd.Flags(), &o.dir)
	linesFlag(cmd.Flags(), &o.asJSON)
	return cmd
}

type listedRound struct {
	ID     string `json:"id"`
	Passed bool   `json:"passed"`
	Score  int64  `json:"score"`
	// Reason says why it did not pass.
	Reason string `json:"reason,omitempty"`
	// Warnings say why its figures may be doubted.
	Warnings []string `json:"warnings,omitempty"`
	// Error says why the round's record can't be read.
	Error string `json:"error,omitempty"`
}

func runLs(o roundsOptions, s streams) error {
	entries, err := result.List(o.dir)
	if err != nil {
		return err
	}
	if o.asJSON {
		lines := make([]listedRound, 0, len(entries))
		for _, e := range entries {
			line := listedRound{ID: e.ID}
			if e.Err != nil {
				line.Error = e.Err.Error()
			} else {
				line.Passed, line.Score, line.Reason, line.Warnings = e.Round.Passed, e.Round.Score.Total, e.Round.Reason, e.Round.Warnings
			}
			lines = append(lines, line)
		}
		return ui.PrintJSONLines(s.out, lines)
	}
	if len(entries) == 0 {
		_, err := fmt.Fprintf(s.err, "isukit: no rounds in %s yet; make one with: isukit round\n", o.dir)
		return err
	}
	return report.List(s.out, entries, ui.StyleOf(s.out))
}

const noRoundHint = `"isukit ls" lists the rounds, "isukit round" makes one; they are kept in the directory where it is run, unless --results names another`

// findRound reads the round that a user names, as show's help says; it returns the round's directory as well.
func findRound(dir, query string) (r *result.Round, path string, err error) {
	r, path, err = result.Find(dir, query)
	if errors.Is(err, result.ErrNoRound) {
		err = ui.UsageError(err, noRoundHint)
	}
	return r, path, err
}

func roundArgument(args []string) string {
	if len(args) == 0 {
		return "last"
	}
	return args[0]
}

const briefLines = 40

func newShowCmd(s streams) *cobra.Command {
	var o roundsOptions
	var brief bool
	cmd := &cobra.Command{
		Use:   "show [ROUND]",
		Short: "Print a saved round",
		Long: `Print a saved round. ROUND is an id from "isukit ls" or the first part of one, "last" (the default), "last-1" for the one
before it, or the path of a round's directory.`,
		Example: "  isukit show\n  isukit show last-1 --brief\n  isukit show 20261122T2044 --json",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if brief {
				r, _, err := findRound(o.dir, roundArgument(args))
				if err == nil {
					_, err = io.WriteString(s.out, report.Summary(r, 10))
				}
				return err
			}
			return runShow(o, roundArgument(args), s)
		},
	}
	o.addFlags(cmd)
	cmd.Flags().BoolVar(&brief, "brief", false, "print at most 40 lines of plain text, for chats and scripts")
	return cmd
}

func runShow(o roundsOptions, query string, s streams) error {
	r, path, err := findRound(o.dir, query)
	if err != nil {
		return err
	}
	return printRound(r, path, o.asJSON, s)
}

func printRound(r *result.Round, path string, asJSON bool, s streams) error {
	if asJSON {
		return ui.PrintJSON(s.out, r)
	}
	style := ui.StyleOf(s.out)
	style.Record = path
	return report.Text(s.out, r, style)
}
