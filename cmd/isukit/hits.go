package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"isukit/bench/load"
	"isukit/bench/result"
	"isukit/cmd/internal/ui"
)

// hitsFile is the name of the hit log inside a round's directory.
const hitsFile = "hits"

func newHitsCmd(s streams) *cobra.Command {
	var o roundsOptions
	cmd := &cobra.Command{
		Use:   "hits [ROUND]",
		Short: "Print every hit of a round as CSV or JSON Lines",
		Long: `Print every hit of a round's load: user, endpoint, how it ended, status, size, and when it was meant to go, went and was
answered. ROUND is named as for show; the default is the last. Hits stand in the order in which they were counted, which is
not quite that of time.`,
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

func runHits(o roundsOptions, query string, s streams) error {
	r, path, err := findRound(o.dir, query)
	if err != nil {
		return err
	}
	f, err := os.Open(filepath.Join(path, hitsFile))
	if errors.Is(err, os.ErrNotExist) {
		return ui.UsageError(fmt.Errorf("round %s kept no hit log", r.ID), "it ran with --hits=false, or is older than the hit log")
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

// hitLog takes a round's hits while it runs. Its file has no name, so that nothing stays behind, whatever happens.
type hitLog struct {
	file   *os.File
	writer *load.HitWriter
}

// newHitLog returns an empty log; whoever asked for it closes its file.
func newHitLog() (*hitLog, error) {
	f, err := os.CreateTemp("", "isukit-hits-")
	if err != nil {
		return nil, fmt.Errorf("make the hit log: %w", err)
	}
	if err := os.Remove(f.Name()); err != nil {
		return nil, errors.Join(fmt.Errorf("make the hit log: %w", err), f.Close())
	}
	return &hitLog{file: f, writer: load.NewHitWriter(f)}, nil
}

// artifact is the log as a file of the record; the load must be over.
func (h *hitLog) artifact() result.File {
	return result.File{Path: hitsFile, About: "every hit of the load, for isukit hits", Write: func(w io.Writer, _ *result.Round) error {
		if err := h.writer.Flush(); err != nil {
			return err
		}
		if _, err := h.file.Seek(0, io.SeekStart); err != nil {
			return fmt.Errorf("read the hit log back: %w", err)
		}
		_, err := io.Copy(w, h.file)
		return err
	}}
}
