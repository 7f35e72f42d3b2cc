package tune

import (
	"context"
	"errors"
	"fmt"
	"slices"
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
	_ = t.release(ctx) // a server that is down needs its files first; this is tried again after the restart
	records, err := t.store.all(ctx)
	if err != nil {
		return nil, fmt.Errorf("revert %s: %w", t.Name, err)
	}
	var report Report
	for _, running := range []bool{false, true} {
		need := Never
		var restored []*Record // to be forgotten when their effect is gone, too: after the restart
		for _, r := range records {
			if (r.Layer == RuntimeLayer) != running {
				continue
			}
			outcome, after, err := t.revertOne(ctx, r, o)
			if err != nil {
				return report, fmt.Errorf("revert %s: %s: %w", t.Name, r.Key, err)
			}
			if outcome != nil {
				report = append(report, *outcome)
			}
			if after == nil {
				continue
			}
			if r.Pending && !running && restartRank(r.Restart) > restartRank(need) {
				need = r.Restart
			}
			restored = append(restored, after)
		}
		outcomes, err := t.restart(ctx, need)
		report = append(report, outcomes...)
		for _, after := range restored {
			if err == nil {
				err = t.keepOrForget(ctx, after)
			}
		}
		if err != nil {
			return report, fmt.Errorf("revert %s: %w", t.Name, err)
		}
	}
	return report, nil
}

func (t *Target) keepOrForget(ctx context.Context, r *Record) error {
	if len(r.Writes) == 0 && !r.Pending {
		return t.store.remove(ctx, r)
	}
	return t.store.save(ctx, r)
}

// revertOne takes one key on one layer back. after is the record that holds from then on; nil where nothing was done. r is
// pending when the layer was written.
func (t *Target) revertOne(ctx context.Context, r *Record, o RevertOptions) (_ *Outcome, after *Record, err error) {
	left := slices.DeleteFunc(slices.Clone(r.Writes), func(w Write) bool { return o.wants(w.Tuning) })
	if len(left) == len(r.Writes) && !(r.Pending && o.Tunings == nil) {
		return nil, nil, nil
	}
	out := &Outcome{Target: t.Name, Key: r.Key, Layer: r.Layer, Did: Reverted, From: r.current().String()}
	if n := len(r.Writes); n > 0 {
		out.Tuning = r.Writes[n-1].Tuning
	}
	copied := *r
	after = &copied
	after.Writes, after.Pending = left, false
	to := after.current()
	out.To = to.String()

	sl := t.slot(r)
	current, err := sl.read(ctx, r.Key)
	if errors.Is(err, errGone) {
		out.Reason = err.Error()
		return out, after, nil
	}
	if err != nil {
		return nil, nil, err
	}
	if current.equal(to) {
		return out, after, nil
	}
	if !r.knows(current) && !o.Force {
		out.Did, out.From = Left, current.String()
		out.Reason = fmt.Sprintf("changed by someone else: %s (isukit set %s, the original is %s)", current, r.current(), r.Original)
		return out, nil, nil
	}
	return out, after, t.restore(ctx, sl, r, to)
}

// restore writes a value and reads it back.
func (t *Target) restore(ctx context.Context, sl slot, r *Record, to Value) error {
	r.Pending = true
	if err := t.store.save(ctx, r); err != nil {
		return err
	}
	if err := sl.write(ctx, r.Key, to); err != nil {
		return err
	}
	got, err := sl.read(ctx, r.Key)
	if err != nil {
		return err
	}
	if !got.equal(to) {
		return fmt.Errorf("the value is %s after %s was written", got, to)
	}
	return nil
}

// Verify compares every applied value with what is there, on every layer, and returns what differs.
func (t *Target) Verify(ctx context.Context) (Report, error) {
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
	if errors.Is(err, errGone) && r.Original.equal(r.current()) {
		return "", "", nil // nothing was changed that could be lost
	}
	if errors.Is(err, errGone) {
		return err.Error(), "", nil
	}
	if err != nil {
		return "", "", err
	}
	if !current.equal(r.current()) {
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
func (t *Target) Records(ctx context.Context) ([]*Record, error) { return t.store.all(ctx) }
