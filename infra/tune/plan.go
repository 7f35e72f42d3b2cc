package tune

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"isukit/infra/engine"
)

// change is one key on one layer that is about to be written.
type change struct {
	slot   slot
	record *Record
	from   engine.Value
	to     engine.Value
	writes int     // of the record, that this change adds
	after  *Record // for one that is reverted: from then on
}

// lastOnly drops changes that a later one overrides: only the last value of a key and layer is written, though all are recorded.
func lastOnly(target string, changes []change) (kept []change, report Report) {
	for i, c := range changes {
		later := slices.IndexFunc(changes[i+1:], func(o change) bool { return o.record.Layer == c.record.Layer && o.record.Key == c.record.Key })
		if later < 0 {
			kept = append(kept, c)
			continue
		}
		next := &changes[i+1+later]
		next.writes += c.writes
		report = append(report, Outcome{Target: target, Tuning: c.record.last().Tuning, Key: c.record.Key, Layer: c.record.Layer, Did: Kept,
			From: c.from.String(), To: c.to.String(), Reason: next.record.last().Tuning + " sets it as well, and comes later"})
	}
	return kept, report
}

// planAll looks at everything that tunings set, and stages the records of its originals.
func (t *Target) planAll(ctx context.Context, now time.Time, tunings []Tuning) (changes []change, report Report, err error) {
	product, err := t.product(ctx)
	if err != nil {
		return nil, nil, err
	}
	for _, tuning := range tunings {
		for _, s := range tuning.Settings {
			reason := s.unknown(product)
			if reason == "" {
				reason, err = t.refuse(ctx, s)
			}
			if err != nil {
				return nil, report, fmt.Errorf("%s: %w", s.Key, err)
			}
			if reason != "" {
				report = append(report, Outcome{Target: t.Name, Tuning: tuning.Name, Key: s.Key, Did: Refused, Reason: reason})
				continue
			}
			some, outcomes, err := t.plan(ctx, now, tuning.Name, s)
			report = append(report, outcomes...)
			if err != nil {
				return nil, report, fmt.Errorf("%s: %w", s.Key, err)
			}
			changes = append(changes, some...)
		}
	}
	return changes, report, nil
}

func settingKeys(tunings []Tuning) []string {
	var keys []string
	for _, tuning := range tunings {
		for _, s := range tuning.Settings {
			if !slices.Contains(keys, s.Key) {
				keys = append(keys, s.Key)
			}
		}
	}
	return keys
}

// plan stages the originals of one setting on all of its layers.
func (t *Target) plan(ctx context.Context, now time.Time, tuning string, s Setting) ([]change, Report, error) {
	text, err := t.Sizes.Eval(s.Value)
	if err != nil {
		return nil, nil, err
	}
	keys, err := t.expand(ctx, s)
	if err != nil {
		return nil, nil, err
	}
	slots, err := t.slots(ctx, s)
	if err != nil {
		return nil, nil, err
	}
	var changes []change
	var report Report
	for _, key := range keys {
		slots := having(slots, key)
		to, kept, err := t.aim(ctx, s, key, text, slots)
		var why exempt
		if errors.As(err, &why) {
			report = append(report, Outcome{Target: t.Name, Tuning: tuning, Key: key, Did: Kept, Reason: string(why)})
			continue
		}
		if err != nil {
			return changes, report, err
		}
		for _, sl := range slots {
			c, outcome, err := t.planOne(ctx, now, tuning, s, key, sl, to, kept)
			if err != nil {
				return changes, report, err
			}
			if outcome != nil {
				report = append(report, *outcome)
			} else if c != nil {
				changes = append(changes, *c)
			}
		}
	}
	return changes, report, nil
}

// aim is the value that a key shall have; kept tells that the running one is as high already.
func (t *Target) aim(ctx context.Context, s Setting, key, text string, slots []slot) (to string, kept bool, err error) {
	current, err := slots[len(slots)-1].read(ctx, key)
	if err != nil {
		return "", false, err
	}
	k := keyed{key: key, current: current, original: current}
	if r := t.store.load(slots[len(slots)-1].layer(), key); r != nil {
		k.original = r.Original
	}
	to, err = t.value(ctx, s, k, text)
	if err != nil || !s.RaiseOnly || current.Absent {
		return to, false, err
	}
	to = raised(current.Text, to)
	return to, to == current.Text, nil
}

// planOne stages the record of one key on one layer: nil and nil mean that there is nothing to do there.
func (t *Target) planOne(ctx context.Context, now time.Time, tuning string, s Setting, key string, sl slot, text string, kept bool,
) (*change, *Outcome, error) {
	to := engine.Value{Text: text}
	if sl.layer() == PersistLayer {
		to = engine.Value{Absent: true}
	}
	current, err := sl.read(ctx, key)
	if err != nil {
		return nil, nil, err
	}
	r := t.store.load(sl.layer(), key)
	if r != nil && !r.knows(current) {
		return nil, &Outcome{Target: t.Name, Tuning: tuning, Key: key, Layer: sl.layer(), Did: Left, From: current.String(), To: to.String(),
			Reason: fmt.Sprintf("changed outside isukit: %s (isukit set %s)", current, r.current())}, nil
	}
	// A key that is not persisted is recorded anyway: a value persisted later wins over the tuning's file.
	if r == nil && kept && sl.layer() == PersistLayer {
		return nil, nil, nil
	}
	if r == nil && kept && sl.layer() == FileLayer {
		return nil, &Outcome{Target: t.Name, Tuning: tuning, Key: key, Layer: sl.layer(), Did: Kept, From: current.String(), To: current.String(),
			Reason: "what runs has no less"}, nil
	}
	if r == nil {
		r = &Record{Target: t.Name, Key: key, Layer: sl.layer(), File: sl.file(), Original: current}
	}
	r.Writes = append(slices.DeleteFunc(r.Writes, func(w Write) bool { return w.Tuning == tuning }), Write{tuning, to})
	r.At, r.Reads, r.Pending = now, s.Reads, true
	if r.Restart == "" || restartRank(s.Restart) > restartRank(r.Restart) {
		r.Restart = s.Restart
	}
	if r.Process, err = t.process(ctx); err != nil {
		return nil, nil, err
	}
	t.store.stage(r)
	return &change{slot: sl, record: r, from: current, to: to, writes: 1}, nil, nil
}

func restartRank(r Restart) int {
	return slices.Index([]Restart{Never, Listeners, Reload, Service, Reboot}, r)
}
