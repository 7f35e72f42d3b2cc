package tune

import (
	"context"
	"errors"
	"path"
	"sync"

	"golang.org/x/sync/errgroup"
)

// byHost divides targets into those that are worked on one after another: those of one host, and those of all hosts that are this
// machine.
func byHost(targets []*Target) (groups [][]*Target) {
	at := map[string]int{}
	for _, t := range targets {
		name := ""
		if about := t.store.host.About(); !about.Here {
			name = about.Name
		}
		n, ok := at[name]
		if !ok {
			n = len(groups)
			at[name], groups = n, append(groups, nil)
		}
		groups[n] = append(groups[n], t)
	}
	return groups
}

// onHosts does something with every target, on all hosts at once, and reports in the order of the targets. Of servers one at a time
// is restarted. stop ends the work on a host, though not elsewhere, at its first target that fails.
func onHosts(targets []*Target, stop bool, do func(*Target) (Report, error)) (Report, error) {
	reports, errs := map[*Target]Report{}, map[*Target]error{}
	var turn, writing sync.Mutex
	var all sync.WaitGroup
	for _, group := range byHost(targets) {
		all.Go(func() {
			for _, t := range group {
				t.turn = &turn
				report, err := do(t)
				writing.Lock()
				reports[t], errs[t] = report, err
				writing.Unlock()
				if err != nil && stop {
					return
				}
			}
		})
	}
	all.Wait()
	var report Report
	var faults []error
	for _, t := range targets {
		report, faults = append(report, reports[t]...), append(faults, errs[t])
	}
	return report, errors.Join(faults...)
}

// openAll reads the records of targets: those of a host that is not this machine in one go.
func openAll(ctx context.Context, targets []*Target) error {
	var group errgroup.Group
	for _, some := range byHost(targets) {
		group.Go(func() error { return openOn(ctx, some) })
	}
	return group.Wait()
}

func openOn(ctx context.Context, targets []*Target) error {
	h := targets[0].store.host
	if !h.About().Here {
		var dirs []string
		for _, t := range targets {
			dirs = append(dirs, t.store.dir)
		}
		all, err := readRecords(ctx, h, path.Dir(dirs[0]), dirs...)
		if err != nil && !errors.Is(err, errTooMuch) {
			return err
		}
		for _, t := range targets {
			if t.store.held = all[t.store.dir]; t.store.held == nil && err == nil {
				t.store.held = map[string]*Record{}
			}
		}
	}
	for _, t := range targets { // what was too much at once is less by itself
		if err := t.store.open(ctx); err != nil {
			return err
		}
	}
	return nil
}

func closeAll(targets []*Target) {
	for _, t := range targets {
		t.store.close()
	}
}
