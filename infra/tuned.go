package infra

import (
	"encoding/json"
	"path"

	"isukit/infra/host"
	"isukit/infra/plan"
	"isukit/infra/tune"
)

// note returns what notes which files that isukit had made on a host tunings have written since: an apply does not take these for changed
// by somebody else then.
func (f *found) note(name string) func(map[string]tune.Written) []host.Op {
	inv, h := f.inventories[name], f.hosts[name]
	if inv == nil {
		return nil
	}
	return func(files map[string]tune.Written) []host.Op {
		changed := false
		for n := range inv.Items {
			i := &inv.Items[n]
			w, ok := files[i.Name]
			was, now := hashOf(w.Before), hashOf(w.After)
			if !ok || i.Kind != plan.File || was == now || was != i.Hash && (i.Tuned == "" || was != i.Tuned) {
				continue // not touched, or somebody else had changed it already
			}
			if i.Tuned, changed = now, true; now == i.Hash {
				i.Tuned = ""
			}
		}
		text, err := json.MarshalIndent(inv, "", " ")
		if !changed || err != nil {
			return nil
		}
		return []host.Op{{Put: &host.File{Path: path.Join(h.About().Dir, inventoryFile), Data: text, Mode: 0o600}}}
	}
}

// hashOf is that of a file's text; "" for none.
func hashOf(text []byte) string {
	if text == nil {
		return ""
	}
	return plan.Hash(text)
}
