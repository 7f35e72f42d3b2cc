package tune

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"

	"isukit/infra/engine"
	"isukit/infra/host"
)

// RevertOptions are what to revert.
type RevertOptions struct {
	Tunings []string // nil: all
	// On are those of each target, for RevertAll; nil: Tunings of all targets.
	On map[*Target][]string
	// Force also reverts values that others have changed since.
	Force bool
}

func (o RevertOptions) wants(tuning string) bool {
	return o.Tunings == nil || slices.Contains(o.Tunings, tuning)
}

// revertOn reverts tunings on every layer, on targets of one host as applyOn applies them: to the value of an earlier tuning that still
// applies, or otherwise to the recorded original. It reports, and leaves alone, a value that others have changed. Files come first, then a
// restart if needed, then the running values. It may run again after an interruption. A target that fails does not stop the others.
func revertOn(ctx context.Context, targets []*Target, o RevertOptions) []outcome {
	outcomes := make([]outcome, len(targets))
	var jobs []*job
	for n, t := range targets {
		own := o
		if o.On != nil {
			own.Tunings = append([]string{}, o.On[t]...)
		}
		j := &job{outcome: &outcomes[n], t: t, doing: "revert", back: &own}
		_ = t.release(ctx) // a server that is down needs its files first; this is tried again after the restart
		if _, err := t.store.all(ctx); !j.fail(err) {
			jobs = append(jobs, j)
		}
	}
	err := lookAt(ctx, targets, (*Target).heldKeys)
	jobs = slices.DeleteFunc(jobs, func(j *job) bool {
		if j.fail(err) || j.fail(j.planBack(ctx, false)) {
			return true
		}
		j.needs(func(c change) bool { return c.record.Pending })
		files, report := j.changes, j.report
		if err := j.planBack(ctx, true); j.need == Never {
			j.fail(err)
		} else { // they are looked at again after the restart
			j.changes, j.report = files, report
		}
		return false
	})
	again := together(ctx, jobs) // what another kept from being done
	for _, t := range targets {
		t.host.act()
	}
	for _, j := range again {
		together(ctx, []*job{j})
	}
	return outcomes
}

// planBack plans to revert running values, or files.
func (j *job) planBack(ctx context.Context, running bool) error {
	records, err := j.t.store.all(ctx)
	for _, r := range records {
		if err != nil {
			break
		}
		if (r.Layer == RuntimeLayer) != running {
			continue
		}
		c, outcome, planErr := j.t.revertOne(ctx, r, *j.back)
		if planErr != nil {
			err = fmt.Errorf("%s: %w", r.Key, planErr)
		}
		if outcome != nil {
			j.report = append(j.report, *outcome)
		}
		if c == nil {
			continue
		}
		if j.changes = append(j.changes, *c); !c.from.Equal(c.to) && !r.Pending { // that it is being written is on record before
			r.Pending = true
			j.t.store.stage(r)
		}
	}
	return err
}

// endBack makes what was written effective, and then takes the running values back, which a restart may have changed.
func (j *job) endBack(ctx context.Context, answers []host.Answer) error {
	j.finish(ctx, answers)
	err := j.written()
	if err != nil {
		return err
	}
	outcome, err := j.settle(ctx, answers)
	if j.report = append(j.report, outcome...); err != nil {
		return err
	}
	done := j.changes
	if j.need != Never {
		err = j.runningBack(ctx)
	}
	for _, c := range done { // once the effect of what records are about is gone
		j.t.store.stage(c.after)
	}
	return err
}

func (j *job) runningBack(ctx context.Context) error {
	j.changes = nil
	j.t.host.look(nil)
	err := j.planBack(ctx, true)
	j.t.host.act()
	if err != nil {
		return err
	}
	j.assign(func(change) bool { return true })
	if err := writeSlots(ctx, j.t.host, j.t.store.ops(), j.slots, j.list); err != nil {
		return err
	}
	if err := j.written(); err != nil {
		return err
	}
	for _, c := range j.changes {
		j.t.store.stage(c.after)
	}
	return nil
}

// written tells whether every key has what was written.
func (j *job) written() error {
	var faults []error
	for _, a := range j.list {
		if a.err == nil && !a.got.Equal(a.to) {
			a.err = fmt.Errorf("the value is %s after %s was written", a.got, a.to)
		}
		if a.err != nil {
			faults = append(faults, fmt.Errorf("%s: %w", a.key, a.err))
		}
	}
	return errors.Join(faults...)
}

// revertOne plans to take one key on one layer back; nil where nothing is to be done.
func (t *Target) revertOne(ctx context.Context, r *Record, o RevertOptions) (*change, *Outcome, error) {
	left := slices.DeleteFunc(slices.Clone(r.Writes), func(w Write) bool { return o.wants(w.Tuning) })
	if len(left) == len(r.Writes) && !(r.Pending && o.Tunings == nil) {
		return nil, nil, nil
	}
	out := &Outcome{Target: t.Name, Key: r.Key, Layer: r.Layer, Did: Reverted, From: r.current().String()}
	if n := len(r.Writes); n > 0 {
		out.Tuning = r.Writes[n-1].Tuning
	}
	after := r.clone()
	after.Writes, after.Pending = left, false
	to := after.current()
	out.To = to.String()

	current, err := t.slot(r).read(ctx, r.Key)
	if errors.Is(err, engine.ErrGone) {
		out.Reason = err.Error()
		return &change{record: r, after: after}, out, nil
	}
	if err != nil {
		return nil, nil, err
	}
	if current.Equal(to) {
		return &change{record: r, after: after}, out, nil
	}
	if !r.knows(current) && !o.Force {
		out.Did, out.From = Left, current.String()
		out.Reason = fmt.Sprintf("changed outside isukit: %s (isukit set %s, the original is %s)", current, r.current(), r.Original)
		return nil, out, nil
	}
	return &change{slot: t.slot(r), record: r, after: after, from: current, to: to}, out, nil
}

// verify compares every applied value with the current one, on every layer, and returns the differences. It is a part of a look.
func (t *Target) verify(ctx context.Context) (Report, error) {
	defer t.host.act()
	records, err := t.store.all(ctx)
	if err != nil {
		return nil, fmt.Errorf("verify %s: %w", t.Name, err)
	}
	var report Report
	for _, r := range records {
		problem, from, err := t.verifyOne(ctx, r)
		if err != nil {
			return report, fmt.Errorf("verify %s: %s: %w", t.Name, r.Key, err)
		}
		if problem == "" {
			continue
		}
		o := Outcome{Target: t.Name, Key: r.Key, Layer: r.Layer, Did: Drifted, From: from, To: r.current().String(), Reason: problem}
		if n := len(r.Writes); n > 0 {
			o.Tuning = r.Writes[n-1].Tuning
		}
		report = append(report, o)
	}
	return report, nil
}

func (t *Target) verifyOne(ctx context.Context, r *Record) (problem, from string, err error) {
	if r.Pending || r.Held != nil {
		return "a change was cut off: apply the tuning again or revert it", "", nil
	}
	current, err := t.slot(r).read(ctx, r.Key)
	if errors.Is(err, errSucceeded) || errors.Is(err, engine.ErrGone) && r.Original.Equal(r.current()) {
		return "", "", nil // nothing was changed that could be lost
	}
	if errors.Is(err, engine.ErrGone) {
		return err.Error(), "", nil
	}
	if err != nil {
		return "", "", err
	}
	if !current.Equal(r.current()) {
		return fmt.Sprintf("it is %s, isukit set %s", current, r.current()), current.String(), nil
	}
	if problem, err = t.check(ctx, r); err != nil || problem != "" {
		return problem, current.String(), err
	}
	if r.Restart == Never || r.Restart == Listeners || r.Layer == RuntimeLayer || r.Process == "" {
		return "", "", nil
	}
	now, err := t.process(ctx)
	if err != nil {
		return "", "", err
	}
	if now == r.Process {
		return fmt.Sprintf("the server still runs with the configuration of before: it needs: %s", r.Restart), current.String(), nil
	}
	return "", "", nil
}

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
