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
		Short: "Add a note to a round, for isukit serve",
		Long: `Add a note to a round. Words that begin with # are tags. Notes are files next to the rounds (.notes), so rounds never change and several
people can write at the same time. "isukit serve" shows them and accepts new ones. ROUND: see "isukit show --help".`,
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
				return ui.UsageError(err, "notes belong to a saved round in --results and have at most 4,000 bytes")
			}
			_, err = fmt.Fprintf(s.err, "isukit: added a note to %s\n", r.ID)
			return err
		},
	}
	resultsFlag(cmd.Flags(), &dir)
	return cmd
}
