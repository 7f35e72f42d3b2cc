package exchange

import (
	"context"
	"errors"
	"fmt"
	"io"

	"isukit/cmd/internal/ui"
	"isukit/input"
	"isukit/proto/capture"
)

// Open opens a file of packets, "-" for in; whoever asked closes it. Waiting for input ends with ctx.
func Open(ctx context.Context, name string, in io.Reader, opts capture.Options) (*capture.Reader, io.Closer, error) {
	f, err := ui.OpenInput(ctx, name, in)
	if err != nil {
		return nil, nil, ui.UsageError(err, ui.HintOf(err, "isukit round --capture FILE writes one"))
	}
	reader, err := capture.NewReader(f, opts)
	if err != nil {
		err = ui.UsageError(fmt.Errorf("%s: %w", name, err), "the file may be compressed with gzip or zstd")
		return nil, nil, errors.Join(err, f.Close())
	}
	return reader, f, nil
}

// ReadKeyLog reads a key log; no name, no keys.
func ReadKeyLog(name string) (*capture.KeyLog, error) {
	if name == "" {
		return nil, nil
	}
	f, err := input.Open(name)
	if err != nil {
		return nil, ui.UsageError(err, "")
	}
	defer f.Close()
	keys, err := capture.ReadKeyLog(f)
	if err != nil {
		return nil, ui.UsageError(fmt.Errorf("%s: %w", name, err), "")
	}
	return keys, nil
}
