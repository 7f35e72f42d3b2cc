package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"isukit/bench/diff"
	"isukit/bench/report"
	"isukit/bench/result"
	"isukit/cmd/internal/ui"
)

func newDiffCmd(s streams) *cobra.Command {
	var o roundsOptions
	top, brief := 10, false
	cmd := &cobra.Command{
		Use:   "diff ROUND ROUND",
		Short: "Show what changed between two rounds",
		Long: `Show the changes between two rounds (commits, settings, topology, tunings) and the changed metrics (score, routes, queries, CPU per
process), largest first. ROUND: see "isukit show --help". A difference between single rounds may be noise: isukit compare runs several.`,
		Example: "  isukit diff last-1 last\n  isukit diff last-1 last --brief",
		Args:    cobra.ExactArgs(2),
		RunE:    func(_ *cobra.Command, args []string) error { return runDiff(o, top, brief, args[0], args[1], s) },
	}
	o.addFlags(cmd)
	cmd.Flags().IntVar(&top, "top", top, "maximum number of entries of each kind (0: all)")
	cmd.Flags().BoolVar(&brief, "brief", false, "print at most 40 lines of plain text, for chats and scripts")
	return cmd
}

func runDiff(o roundsOptions, top int, brief bool, from, to string, s streams) error {
	var rounds [2]*result.Round
	for i, query := range []string{from, to} {
		r, _, err := findRound(o.dir, query)
		if err != nil {
			return err
		}
		rounds[i] = r
	}
	d := diff.Of(rounds[0], rounds[1])
	if o.asJSON {
		return printDiffJSON(d, s)
	}
	if brief {
		var b strings.Builder
		if err := report.Diff(&b, d, 4, report.Style{Width: 100}); err != nil {
			return err
		}
		_, err := io.WriteString(s.out, strings.Join(firstLines(b.String(), briefLines), "\n")+"\n")
		return err
	}
	return report.Diff(s.out, d, top, wideStyle(s.out))
}

func firstLines(text string, most int) []string {
	lines := slices.DeleteFunc(strings.Split(text, "\n"), func(l string) bool { return l == "" })
	if len(lines) > most {
		lines = append(lines[:most-1], fmt.Sprintf("%d more lines: leave out --brief", len(lines)-most+1))
	}
	return lines
}

type diffJSON struct {
	A       string        `json:"a"`
	B       string        `json:"b"`
	Changed []diff.Change `json:"changed"`
	Moved   []diff.Move   `json:"moved"`
}

func printDiffJSON(d *diff.Diff, s streams) error {
	return ui.PrintJSON(s.out, diffJSON{d.A.ID, d.B.ID, append([]diff.Change{}, d.Changed...), append([]diff.Move{}, d.Moved...)})
}
