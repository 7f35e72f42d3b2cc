package tune

import (
	"context"
	"errors"
	"fmt"
)

// forgetful is a server whose restart loses values that were set while it ran.
type forgetful interface {
	// set are the keys that have such a value now, set by any user.
	set(ctx context.Context) ([]string, error)
}

// restart makes files effective. Values set while the server ran, also by others, are recorded before and set again after it.
func (t *Target) restart(ctx context.Context, need Restart) (Report, error) {
	if f, ok := t.server.(forgetful); ok && need != Never {
		if err := errors.Join(t.hold(ctx, f), t.store.flush(ctx)); err != nil {
			return nil, err
		}
	}
	report, err := t.settleFiles(ctx, need)
	if err != nil {
		return report, err
	}
	return report, t.release(ctx)
}

// hold stages records of the running values that a restart would lose.
func (t *Target) hold(ctx context.Context, f forgetful) error {
	keys, err := f.set(ctx)
	if err != nil {
		return nil // a server that is down has no running values
	}
	records, err := t.store.all(ctx)
	if err != nil {
		return err
	}
	held := map[string]bool{}
	for _, r := range records {
		if r.Layer != RuntimeLayer {
			continue
		}
		held[r.Key] = true
		if r.Held != nil {
			continue
		}
		if err := t.holdOne(ctx, r); err != nil {
			return err
		}
	}
	for _, key := range keys {
		if held[key] {
			continue
		}
		if err := t.holdOne(ctx, &Record{Target: t.Name, Key: key, Layer: RuntimeLayer, Restart: Never}); err != nil {
			return err
		}
	}
	return nil
}

func (t *Target) holdOne(ctx context.Context, r *Record) error {
	v, err := t.slot(r).read(ctx, r.Key)
	if err != nil {
		return err
	}
	if len(r.Writes) == 0 && !r.Pending {
		r.Original = v
	}
	r.Held = &v
	t.store.stage(r)
	return nil
}

// release sets again what was held over a restart, also over one that was cut off.
func (t *Target) release(ctx context.Context) error {
	return errors.Join(t.setAgain(ctx), t.store.flush(ctx))
}

func (t *Target) setAgain(ctx context.Context) error {
	records, err := t.store.all(ctx)
	if err != nil {
		return err
	}
	var faults []error
	for _, r := range records {
		if r.Held == nil {
			continue
		}
		if err := t.releaseOne(ctx, r); err != nil {
			faults = append(faults, err)
			continue
		}
		t.store.stage(r)
	}
	return errors.Join(faults...)
}

func (t *Target) releaseOne(ctx context.Context, r *Record) error {
	sl := t.slot(r)
	current, err := sl.read(ctx, r.Key)
	if err == nil && !current.Equal(*r.Held) {
		err = writeOne(ctx, t.host, sl, r.Key, *r.Held)
	}
	if err != nil {
		return fmt.Errorf("set %s to %s again after the restart: %w", r.Key, *r.Held, err)
	}
	r.Held = nil
	return nil
}
