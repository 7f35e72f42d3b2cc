package infra

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"

	"isukit/infra/host"
	"isukit/infra/plan"
)

// prune removes what is no longer declared, on each host in the reverse order of its making. What fails stays in the inventory.
func (e *execution) prune(ctx context.Context) error {
	return e.f.onHosts(func(name string, h host.Host) error { return e.pruneOn(ctx, name, h) })
}

func (e *execution) pruneOn(ctx context.Context, name string, h host.Host) error {
	inv := e.f.inventories[name]
	var errs []error
	steps := slices.DeleteFunc(slices.Clone(e.steps(name)), func(s plan.Step) bool { return s.Op != plan.Remove })
	for len(steps) > 0 {
		n := 1
		if files := slices.IndexFunc(steps, func(s plan.Step) bool { return !plainFile(s.Item) }); files != 0 {
			n = len(steps)
			if files > 0 {
				n = files
			}
		}
		some := steps[:n]
		steps = steps[n:]
		var err error
		if n == 1 {
			err = remove(ctx, h, some[0].Item)
		} else {
			err = removeFiles(ctx, h, some)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("remove %s on %s: %w", some[0].What(), name, err))
			continue
		}
		for _, s := range some {
			inv.Items = slices.DeleteFunc(inv.Items, s.Same)
		}
	}
	return errors.Join(errs...)
}

// plainFile is a file that was not there before.
func plainFile(i plan.Item) bool { return i.Kind == plan.File && i.Original == nil }

// removeFiles removes plain files, in one go.
func removeFiles(ctx context.Context, h host.Host, steps []plan.Step) error {
	argv := []string{"rm", "-rf", "--"}
	for _, s := range steps {
		argv = append(argv, s.Name)
	}
	return runOn(ctx, h, host.Command{Argv: argv})
}

// remove takes one item away, or puts back what was there before it.
func remove(ctx context.Context, h host.Host, i plan.Item) error {
	switch {
	case i.Kind == plan.File && i.Original != nil:
		text, err := h.Get(ctx, i.Original.Copy)
		if err != nil {
			return err
		}
		return errors.Join(h.Put(ctx, i.Name, text, fs.FileMode(i.Original.Mode)), h.Remove(ctx, i.Original.Copy))
	case i.Kind == plan.File:
		return h.Remove(ctx, i.Name)
	case i.Kind == plan.Service:
		if err := h.Stop(ctx, i.Name, dbStopLimit); err != nil {
			return err
		}
		// What it wrote itself, its logs among it, goes with it.
		return errors.Join(h.Forget(ctx, i.Name), h.Remove(ctx, path.Join(h.About().Dir, i.Name)))
	case i.Kind == plan.Data:
		return h.Remove(ctx, path.Join(h.About().Dir, i.Name))
	case i.Kind == plan.Rules:
		return runOn(ctx, h, host.Command{Argv: []string{"nft", "-f", "-"}, Stdin: []byte("table ip " + i.Name + "\ndelete table ip " + i.Name + "\n")})
	}
	return nil // accounts go when a database's are set
}
