package exchange

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"isukit/cmd/internal/ui"
	"isukit/input"
	"isukit/proto/capture"
)

// Open opens a file of packets, "-" for in, with the keys of a key log, "" for none; the caller closes it. Waiting for input ends with ctx.
func Open(ctx context.Context, name, keylog string, in io.Reader, opts capture.Options) (*capture.Reader, io.Closer, error) {
	var err error
	if opts.Keys, err = readKeyLog(keylog); err != nil {
		return nil, nil, err
	}
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

func readKeyLog(name string) (*capture.KeyLog, error) {
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

// maxReplayExchanges and maxReplayBytes bound what is kept in memory to be sorted by start.
const (
	maxReplayExchanges = 200_000
	maxReplayBytes     = 64 << 20
)

// LoadRequests reads the exchanges that can be sent again, by the time of their start. Of a damaged capture it returns those before the
// damage, with an error.
func LoadRequests(ctx context.Context, name, keylog string, in io.Reader, opts capture.Options, filter *Filter, decoder *Decoder) (kept []*Decoded, skipped int, damaged error) {
	reader, file, err := Open(ctx, name, keylog, in, opts)
	if err != nil {
		return nil, 0, err
	}
	defer file.Close()
	size := 0
	for {
		e, err := reader.Next(ctx)
		if err == io.EOF {
			break
		}
		if err != nil {
			damaged = fmt.Errorf("%s: %w", name, err)
			break
		}
		decoder.Learn(e)
		if !filter.beforeDecoding(e) {
			continue
		}
		if e.Request == nil || requestIncomplete(e) {
			skipped++
			continue
		}
		if d := decoder.decode(e); filter.match(d) {
			kept, size = append(kept, d), size+bodyBytes(e)
		}
		if len(kept) > maxReplayExchanges || size > maxReplayBytes {
			return nil, 0, ui.UsageError(fmt.Errorf("more than %d exchanges, or %d bytes of bodies", maxReplayExchanges, maxReplayBytes), "select fewer with --path, --method or --status")
		}
	}
	slices.SortStableFunc(kept, func(a, b *Decoded) int { return a.Time().Compare(b.Time()) })
	return kept, skipped, damaged
}

// requestIncomplete reports whether a part of the request is missing; the response may be missing.
func requestIncomplete(e *capture.Exchange) bool {
	for _, why := range e.Incomplete {
		if strings.HasPrefix(why, "request") {
			return true
		}
	}
	return false
}
