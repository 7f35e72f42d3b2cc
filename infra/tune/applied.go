package tune

import (
	"context"
	"path"
	"slices"

	"isukit/infra/host"
)

// AppliedTo names the tunings of which something is applied to the targets of a host, by Target.Key, in order. stateDir is Place.StateDir.
func AppliedTo(ctx context.Context, h host.Host, stateDir string) (map[string][]string, error) {
	files, err := filesIn(ctx, h, stateDir)
	if err != nil {
		return nil, err
	}
	all := map[string][]string{}
	for _, f := range files {
		r, err := decodeRecord(f.text)
		if err != nil {
			continue // no record
		}
		key := path.Base(path.Dir(path.Dir(f.name)))
		for _, w := range r.Writes {
			all[key] = append(all[key], w.Tuning)
		}
		slices.Sort(all[key])
		all[key] = slices.Compact(all[key])
	}
	return all, nil
}

// Key names a target among all of its host.
func (t *Target) Key() string { return path.Base(t.store.dir) }
