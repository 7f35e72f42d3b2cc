package tune

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"isukit/infra/engine"
)

// RevertOptions say what is taken back.
type RevertOptions struct {
	Tunings []string // nil: all
	// Force also takes back values that somebody else has changed since.
	Force bool
}

func (o RevertOptions) wants(tuning string) bool {
	return o.Tunings == nil || slices.Contains(o.Tunings, tuning)
}

// Revert takes tunings back on every layer: to what an earlier tuning gave the key when that still holds, or else to the
// recorded original. A value that somebody else has changed is reported and left. Files come first, then a restart where
// one is needed, then the running values. It may be called again after it was cut off.
func (t *Target) Revert(ctx context.Context, o RevertOptions) (Report, error) {
	defer t.store.close()
	_ = t.release(ctx) // a server that is down needs its files first; this is tried again after the restart
	records, err := t.store.all(ctx)
	if err != nil {
		return nil, fmt.Errorf("revert %s: %w", t.Name, err)
	}
	var report Report
	for _, running := range []bool{false, true} {
		some := slices.DeleteFunc(slices.Clone(records), func(r *Record) bool { return (r.Layer == RuntimeLayer) != running })
		if len(some) == 0 {
			continue
		}
		list, outcomes, err := t.planRevert(ctx, some, o)
		report = append(report, outcomes...)
		if err == nil {
			err = t.restore(ctx, list)
		}
		if err != nil {
			return report, fmt.Errorf("revert %s: %w", t.Name, err)
		}
		need := Never
		for _, v := range list {
			if v.record.Pending && !running && restartRank(v.record.Restart) > restartRank(need) {
				need = v.record.Restart
			}
		}
		outcomes, err = t.restart(ctx, need)
		report = append(report, outcomes...)
		for _, v := range list { // to be forgotten when their effect is gone, too: after the restart
			if err == nil {
				t.store.stage(v.after)
			}
		}
		if err == nil {
			err = doAll(ctx, t.host.Host, append(t.store.ops(), t.host.noted()...))
		}
		if err != nil {
			return report, fmt.Errorf("revert %s: %w", t.Name, err)
		}
	}
	return report, nil
}

// reversal takes one key on one layer back to a value.
type reversal struct {
	record, after *Record // the one that holds now, and from then on
	to            engine.Value
	write         bool // it has another value now
}

// planRevert looks at what is to be taken back.
func (t *Target) planRevert(ctx context.Context, records []*Record, o RevertOptions) (list []reversal, report Report, err error) {
	defer t.host.act()
	if err := lookAt(ctx, []*Target{t}, func(*Target) []string { return keysOf(records) }); err != nil {
		return nil, nil, err
	}
	for _, r := range records {
		v, outcome, err := t.revertOne(ctx, r, o)
		if err != nil {
			return nil, report, fmt.Errorf("%s: %w", r.Key, err)
		}
		if outcome != nil {
			report = append(report, *outcome)
		}
		if v != nil {
			list = append(list, *v)
		}
	}
	return list, report, nil
}

// revertOne plans to take one key on one layer back; nil where nothing is to be done.
func (t *Target) revertOne(ctx context.Context, r *Record, o RevertOptions) (*reversal, *Outcome, error) {
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
		return &reversal{record: r, after: after}, out, nil
	}
	if err != nil {
		return nil, nil, err
	}
	if current.Equal(to) {
		return &reversal{record: r, after: after}, out, nil
	}
	if !r.knows(current) && !o.Force {
		out.Did, out.From = Left, current.String()
		out.Reason = fmt.Sprintf("changed outside isukit: %s (isukit set %s, the original is %s)", current, r.current(), r.Original)
		return nil, out, nil
	}
	return &reversal{r, after, to, true}, out, nil
}

// restore writes values and reads them back. That they are being written is on record before.
func (t *Target) restore(ctx context.Context, all []reversal) error {
	var slots []slot
	var list []assignment
	for _, v := range all {
		if !v.write {
			continue
		}
		v.record.Pending = true
		t.store.stage(v.record)
		slots, list = append(slots, t.slot(v.record)), append(list, assignment{key: v.record.Key, to: v.to})
	}
	if err := writeSlots(ctx, t.host, t.store.ops(), slots, list); err != nil {
		return err
	}
	var faults []error
	for _, a := range list {
		if a.err == nil && !a.got.Equal(a.to) {
			a.err = fmt.Errorf("the value is %s after %s was written", a.got, a.to)
		}
		if a.err != nil {
			faults = append(faults, fmt.Errorf("%s: %w", a.key, a.err))
		}
	}
	return errors.Join(faults...)
}

// Verify compares every applied value with what is there, on every layer, and returns what differs.
func (t *Target) Verify(ctx context.Context) (Report, error) {
	defer t.store.close()
	records, err := t.store.all(ctx)
	if err != nil {
		return nil, fmt.Errorf("verify %s: %w", t.Name, err)
	}
	defer t.host.act()
	if !t.host.looking {
		if err := lookAt(ctx, []*Target{t}, func(*Target) []string { return keysOf(records) }); err != nil {
			return nil, fmt.Errorf("verify %s: %w", t.Name, err)
		}
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

// Records are what is applied on the target.
func (t *Target) Records(ctx context.Context) ([]*Record, error) {
	defer t.store.close()
	return t.store.all(ctx)
}
