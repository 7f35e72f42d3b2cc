package tune

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"isukit/infra/host"
)

// AppliedTo names the tunings of which something is applied to any target of a host, in order. stateDir is Place.StateDir.
func AppliedTo(ctx context.Context, h host.Host, stateDir string) ([]string, error) {
	out, err := output(ctx, h, "sh", "-c", `[ ! -d "$1" ] || find "$1" -type f ! -name '.*'`, "sh", stateDir)
	if err != nil {
		return nil, fmt.Errorf("list records: %w", err)
	}
	var names []string
	for file := range strings.Lines(out) {
		text, err := h.Get(ctx, strings.TrimRight(file, "\n"))
		if err != nil {
			return nil, fmt.Errorf("read a record: %w", err)
		}
		r, err := decodeRecord(text)
		if err != nil {
			continue // no record
		}
		for _, w := range r.Writes {
			if !slices.Contains(names, w.Tuning) {
				names = append(names, w.Tuning)
			}
		}
	}
	slices.Sort(names)
	return names, nil
}
