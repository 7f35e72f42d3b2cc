package infra

import (
	"context"
	"errors"
	"slices"

	"golang.org/x/sync/errgroup"

	"isukit/infra/plan"
)

// Tuning runs fn, which applies tunings to what is up or takes them back, and notes what it made of files that isukit had
// written: an apply does not take these for changed by somebody else then. Where nothing stays up it only runs fn. The
// driver's lock must be held.
func (r *Running) Tuning(ctx context.Context, fn func() error) error {
	errs := []error{fn()}
	ctx = context.WithoutCancel(ctx)
	f, before := r.found, r.found.files
	after, err := f.fileHashes(ctx)
	if err != nil {
		return errors.Join(append(errs, err)...)
	}
	f.files = after
	for name, inv := range f.inventories {
		changed := false
		for n := range inv.Items {
			i := &inv.Items[n]
			was, now := before[name][i.Name], after[name][i.Name]
			if i.Kind != plan.File || was == now || was != i.Hash && (i.Tuned == "" || was != i.Tuned) {
				continue // not touched, or somebody else had changed it already
			}
			i.Tuned, changed = now, true
			if now == i.Hash {
				i.Tuned = ""
			}
		}
		if changed {
			errs = append(errs, f.put(ctx, name))
		}
	}
	return errors.Join(errs...)
}

// fileHashes are those of the files that were made, by host and name; a file that is gone has none.
func (f *found) fileHashes(ctx context.Context) (map[string]map[string]string, error) {
	names := f.names()
	lists := make([][]plan.Actual, len(names))
	group, ctx := errgroup.WithContext(ctx)
	for n, name := range names {
		files := slices.DeleteFunc(slices.Clone(f.items(name)), func(i plan.Item) bool { return i.Kind != plan.File })
		group.Go(func() (err error) {
			lists[n], err = look(ctx, f.hosts[name], nil, files)
			return err
		})
	}
	err := group.Wait()
	all := map[string]map[string]string{}
	for n, name := range names {
		all[name] = hashesOf(lists[n])
	}
	return all, err
}

func hashesOf(list []plan.Actual) map[string]string {
	hashes := map[string]string{}
	for _, a := range list {
		if a.Kind == plan.File && a.Exists {
			hashes[a.Name] = a.Hash
		}
	}
	return hashes
}
