package tune

import (
	"context"
	"slices"

	"isukit/infra/host"
)

// AppliedTo names the tunings of which something is applied to any target of a host, in order. stateDir is Place.StateDir.
func AppliedTo(ctx context.Context, h host.Host, stateDir string) ([]string, error) {
	files, err := filesIn(ctx, h, stateDir)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, f := range files {
		r, err := decodeRecord(f.text)
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

// AppliedOn names the tunings of which something is applied to each target, in order.
func AppliedOn(ctx context.Context, targets []*Target) (map[*Target][]string, error) {
	defer closeAll(targets)
	if err := openAll(ctx, targets); err != nil {
		return nil, err
	}
	all := map[*Target][]string{}
	for _, t := range targets {
		for _, r := range t.store.held {
			for _, w := range r.Writes {
				all[t] = append(all[t], w.Tuning)
			}
		}
		slices.Sort(all[t])
		all[t] = slices.Compact(all[t])
	}
	return all, nil
}
