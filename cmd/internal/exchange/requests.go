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

// maxReplayExchanges bounds what is kept in memory to be sorted by start.
const maxReplayExchanges = 1_000_000

// LoadRequests reads the exchanges that can be sent again, by the time of their start.
func LoadRequests(ctx context.Context, name string, in io.Reader, opts capture.Options, filter *Filter, decoder *Decoder) (kept []*Decoded, skipped int, err error) {
	reader, file, err := Open(ctx, name, in, opts)
	if err != nil {
		return nil, 0, err
	}
	defer file.Close()
	for {
		e, err := reader.Next(ctx)
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, 0, fmt.Errorf("%s: %w", name, err)
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
			kept = append(kept, d)
		}
		if len(kept) > maxReplayExchanges {
			return nil, 0, ui.UsageError(fmt.Errorf("more than %d exchanges", maxReplayExchanges), "choose some with --path, --method or --status")
		}
	}
	slices.SortStableFunc(kept, func(a, b *Decoded) int { return a.Time().Compare(b.Time()) })
	return kept, skipped, nil
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
