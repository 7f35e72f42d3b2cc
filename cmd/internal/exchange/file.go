package exchange

import (
	"errors"
	"fmt"
	"io"
	"os"

	"isukit/cmd/internal/ui"
	"isukit/proto/capture"
)

// Open opens a file of packets, "-" for in; whoever asked closes it.
func Open(name string, in io.Reader, opts capture.Options) (*capture.Reader, io.Closer, error) {
	input := io.NopCloser(in)
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, nil, ui.UsageError(err, "isukit round --capture FILE writes one")
		}
		if info, err := f.Stat(); err == nil && info.IsDir() {
			return nil, nil, errors.Join(ui.UsageError(fmt.Errorf("%s is a directory", name), "name a file in it"), f.Close())
		}
		input = f
	}
	reader, err := capture.NewReader(input, opts)
	if err != nil {
		err = ui.UsageError(fmt.Errorf("%s: %w", name, err), "such a file may also be packed with gzip or zstd")
		return nil, nil, errors.Join(err, input.Close())
	}
	return reader, input, nil
}

// ReadKeyLog reads a key log; no name, no keys.
func ReadKeyLog(name string) (*capture.KeyLog, error) {
	if name == "" {
		return nil, nil
	}
	f, err := os.Open(name)
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
