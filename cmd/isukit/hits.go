package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"isukit/bench/load"
	"isukit/bench/result"
	"isukit/cmd/internal/round"
	"isukit/cmd/internal/ui"
)

func newHitsCmd(s streams) *cobra.Command {
	var o roundsOptions
	cmd := &cobra.Command{
		Use:   "hits [ROUND]",
		Short: "Print every request of a round as CSV or JSON Lines",
		Long: `Print every request ("hit") of a round's load phase: user, endpoint, outcome, status, size, and the scheduled, send and response times.
ROUND: see "isukit show --help". Requests are printed in the order in which they were counted, which is only roughly that of time.`,
		Example: `  isukit hits > hits.csv
  isukit hits last-1 --json | jq 'select(.kind != "ok")'`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			return runHits(o, roundArgument(args), s)
		},
	}
	resultsFlag(cmd.Flags(), &o.dir)
	linesFlag(cmd.Flags(), &o.asJSON)
	return cmd
}

// notTimed reports that a round has no requests of isukit's own: either of its benchmark, or for the reason otherwise.
func notTimed(r *result.Round, lacks, otherwise string) error {
	if r.Observed() {
		otherwise = "its requests were sent by its benchmark; isukit show has their times by route, from access logs"
	}
	return ui.UsageError(fmt.Errorf("round %s has %s", r.ID, lacks), otherwise)
}

func runHits(o roundsOptions, query string, s streams) error {
	r, path, err := findRound(o.dir, query)
	if err != nil {
		return err
	}
	f, err := result.OpenFile(path, round.HitsFile)
	if errors.Is(err, os.ErrNotExist) {
		return notTimed(r, "no hit log", "it ran with --hits=false, or an older isukit ran it")
	}
	if err != nil {
		return err
	}
	defer f.Close()
	export := load.ExportCSV
	if o.asJSON {
		export = load.ExportJSONLines
	}
	if err := export(s.out, load.ReadHits(f)); err != nil {
		return fmt.Errorf("hits of round %s: %w", r.ID, err)
	}
	return nil
}
