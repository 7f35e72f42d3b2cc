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
			d, err := newDay(end, results)
			if err != nil {
				return err
			}
			p, dir, err := round.FindProject(file)
			if err != nil {
				return err
			}
			d.Project = p
			show := func(opened *round.Opened) error {
				return errors.Join(d.Look(cmd.Context(), opened, results), printSteps(s.out, d))
			}
			if p == nil {
				return show(nil)
			}
			return round.WithProject(cmd.Context(), p, dir, stateDir(cmd), show)
		},
	}
	cmd.Flags().StringVar(&file, "project", "", "the project file (default isukit.yaml)")
	resultsFlag(cmd.Flags(), &results)
	cmd.Flags().StringVar(&end, "end", contestEnd, "end of the contest, local time")
	return cmd
}

// contestEnd is when the next line of a round takes the contest to end.
const contestEnd = "18:00"

// newDay is the current day until end, for rounds in the directory results.
func newDay(end, results string) (round.Day, error) {
	now := time.Now()
	at, err := time.ParseInLocation("15:04", end, now.Location())
	if err != nil {
		return round.Day{}, ui.UsageError(fmt.Errorf("--end %q is not a time", end), "write it as 18:00")
	}
	return round.Day{Now: now, End: time.Date(now.Year(), now.Month(), now.Day(), at.Hour(), at.Minute(), 0, 0, now.Location()), Flags: resultsFlagOf(results), Reference: afterSavedRound}, nil
}

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
