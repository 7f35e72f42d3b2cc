package exchange

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"isukit/cmd/internal/ui"
	"isukit/proto/capture"
)

// maxReplayExchanges and maxReplayBytes bound what is kept in memory to be sorted by start.
const (
	maxReplayExchanges = 200_000
	maxReplayBytes     = 64 << 20
)

// LoadRequests reads the exchanges that can be sent again, by the time of their start. Of a damaged capture it returns those before the
// damage, with an error.
func LoadRequests(ctx context.Context, name string, in io.Reader, opts capture.Options, filter *Filter, decoder *Decoder) (kept []*Decoded, skipped int, damaged error) {
	reader, file, err := Open(ctx, name, in, opts)
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

// requestIncomplete reports whether a part of the request is missing; a missing response is no hindrance.
func requestIncomplete(e *capture.Exchange) bool {
	for _, why := range e.Incomplete {
		if strings.HasPrefix(why, "request") {
			return true
		}
	}
	return false
}
