package main

import (
	"fmt"
	"os/user"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"isukit/bench/result"
	"isukit/cmd/internal/ui"
	"isukit/infra/redact"
)

func newNoteCmd(s streams) *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use:   "note ROUND TEXT...",
		Short: "Write a note about a round; serve shows it",
		Long: `Write a note about a round. Words that begin with # are tags. The note is a file beside the rounds (.notes), so that a round is
never changed and any number of people can write at a time; "isukit serve" shows it, and takes notes as well. ROUND is named as
for show.`,
		Example: "  isukit note last 'index on comments, did nothing #noidea'\n  isukit note last-1 '#keep'",
		Args:    cobra.MinimumNArgs(2),
		RunE: func(_ *cobra.Command, args []string) error {
			r, _, err := findRound(dir, args[0])
			if err != nil {
				return err
			}
			n := result.Note{At: time.Now().UTC(), Text: redact.Text(strings.Join(args[1:], " "))}
			if u, err := user.Current(); err == nil {
				n.By = u.Username
			}
			if err := result.AddNote(dir, r.ID, n); err != nil {
				return ui.UsageError(err, "a round below --results takes notes; text has at most 4,000 bytes")
			}
			_, err = fmt.Fprintf(s.err, "isukit: noted of %s\n", r.ID)
			return err
		},
	}
	resultsFlag(cmd.Flags(), &dir)
	return cmd
}
