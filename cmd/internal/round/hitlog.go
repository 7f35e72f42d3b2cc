package round

import (
	"errors"
	"fmt"
	"io"
	"os"

	"isukit/bench/load"
	"isukit/bench/result"
)

// HitsFile is the name of the hit log inside a round's directory.
const HitsFile = "hits"

// hitLog takes a round's hits while it runs. Its file has no name, so that nothing stays behind, whatever happens.
type hitLog struct {
	File   *os.File
	Writer *load.HitWriter
}

// NewHitLog returns an empty log; whoever asked for it closes its file.
func NewHitLog() (*hitLog, error) {
	f, err := os.CreateTemp("", "isukit-hits-")
	if err != nil {
		return nil, fmt.Errorf("make the hit log: %w", err)
	}
	if err := os.Remove(f.Name()); err != nil {
		return nil, errors.Join(fmt.Errorf("make the hit log: %w", err), f.Close())
	}
	return &hitLog{File: f, Writer: load.NewHitWriter(f)}, nil
}

// Artifact is the log as a file of the record; the load must be over.
func (h *hitLog) Artifact() result.File {
	return result.File{Path: HitsFile, About: "every hit of the load, for isukit hits", Write: func(w io.Writer, _ *result.Round) error {
		if err := h.Writer.Flush(); err != nil {
			return err
		}
		if _, err := h.File.Seek(0, io.SeekStart); err != nil {
			return fmt.Errorf("read the hit log back: %w", err)
		}
		_, err := io.Copy(w, h.File)
		return err
	}}
}

// HistogramsFile is the name of the histograms inside a round's directory.
const HistogramsFile = "latency.hlog"

// Histograms are those of a recorder as a file of the record; the load must be over.
func Histograms(rec *load.Recorder) result.File {
	return result.File{Path: HistogramsFile, About: "latencies by endpoint and second, for isukit latency", Write: func(w io.Writer, _ *result.Round) error {
		return rec.WriteHistograms(w)
	}}
}
