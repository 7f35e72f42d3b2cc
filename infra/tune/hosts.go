package tune

import (
	"context"
	"errors"
	"path"
	"sync"

	"golang.org/x/sync/errgroup"

	"isukit/infra/host"
)

// byHost divides targets into those of each host.
func byHost(targets []*Target) (groups [][]*Target) {
	at := map[host.Host]int{}
	for _, t := range targets {
		n, ok := at[t.store.host]
		if !ok {
			n = len(groups)
			at[t.store.host], groups = n, append(groups, nil)
		}
		groups[n] = append(groups[n], t)
	}
	return groups
}

type outcome struct {
	report Report
	err    error
}

// onHosts runs do for each host's targets, on other hosts in parallel, and reports in order. Servers restart one at a time.
func onHosts(targets []*Target, do func(group []*Target) []outcome) (Report, error) {
	became := map[*Target]outcome{}
	var turn, writing, here sync.Mutex
	var all sync.WaitGroup
	for _, group := range byHost(targets) {
		all.Go(func() {
			for _, t := range group {
				t.turn = &turn
			}
			if group[0].store.host.About().Here {
				here.Lock()
				defer here.Unlock()
			}
			outcomes := do(group)
			writing.Lock()
			defer writing.Unlock()
			for n, o := range outcomes {
				became[group[n]] = o
			}
		})
	}
	all.Wait()
	var report Report
	var faults []error
	for _, t := range targets {
		report, faults = append(report, became[t].report...), append(faults, became[t].err)
	}
	return report, errors.Join(faults...)
}

// oneByOne does something with one target after another, up to the first that fails.
func oneByOne(do func(*Target) (Report, error)) func([]*Target) []outcome {
	return func(group []*Target) (outcomes []outcome) {
		for _, t := range group {
			var o outcome
			o.report, o.err = do(t)
			outcomes = append(outcomes, o)
			if o.err != nil {
				break
			}
		}
		return outcomes
	}
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
	for _, t := range targets { // what was too much together may fit alone
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
