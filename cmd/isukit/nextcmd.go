package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"isukit/cmd/internal/round"
	"isukit/cmd/internal/ui"
)

func newNextCmd(s streams) *cobra.Command {
	var file, results, end string
	cmd := &cobra.Command{
		Use:   "next",
		Short: "List what to do next on the contest day, in order, with times",
		Long: `List what to do next, in order, with times and reasons. isukit reads isukit.yaml, the saved rounds and the boot times of the hosts. In the
last hour before --end the list is about not losing points: logging off, a reboot, the final check. next changes nothing.`,
		Example: "  isukit next\n  isukit next --end 17:30",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			dir := stateDir(cmd)
			now := time.Now()
			at, err := time.ParseInLocation("15:04", end, now.Location())
			if err != nil {
				return ui.UsageError(fmt.Errorf("--end %q is not a time", end), "write it as 18:00")
			}
			d := round.Day{Now: now, Flags: resultsFlagOf(results), Placement: databasePlacement, End: time.Date(now.Year(), now.Month(), now.Day(), at.Hour(), at.Minute(), 0, 0, now.Location())}
			return errors.Join(d.Look(cmd.Context(), file, results, dir), printSteps(s.out, d))
		},
	}
	cmd.Flags().StringVar(&file, "project", "", "the project file (default isukit.yaml)")
	resultsFlag(cmd.Flags(), &results)
	cmd.Flags().StringVar(&end, "end", "18:00", "end of the contest, local time")
	return cmd
}

// databasePlacement is the shipped topology with more room for the database.
func databasePlacement(topology string) string { return placements[topology]["db"] }

// printSteps prints what to do, each with its time.
func printSteps(w io.Writer, d round.Day) error {
	at := d.Now
	for _, s := range d.Steps() {
		took := ""
		if s.Minutes > 0 {
			took = fmt.Sprintf("%d min", s.Minutes)
		}
		if _, err := fmt.Fprintf(w, "%s  %-6s  %s\n               %s\n", at.Format("15:04"), took, cmp.Or(s.Command, "stop"), s.Why); err != nil {
			return err
		}
		at = at.Add(time.Duration(s.Minutes) * time.Minute)
	}
	return nil
}
