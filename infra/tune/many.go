package tune

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"isukit/infra/engine"
	"isukit/infra/host"
)

// assignment is the value for a key, and the result: err if it was refused, got is the key's value afterwards.
type assignment struct {
	key     string
	to, got engine.Value
	err     error
}

// writing gives values to keys: those that the host writes go in one batch with other ops; statements to a server follow.
type writing struct {
	slots []slot
	list  []assignment // one for each slot
	ops   []host.Op
	parts []part
}

// part are the assignments to one slot; those of a setter are one each, without ops.
type part struct {
	at             []int // in the list
	list           []assignment
	firstOp, endOp int
	done           func([]host.Answer) error
	err            error
}

// plan works out what is to be done. Files are read meanwhile.
func (w *writing) plan(ctx context.Context) {
	for i, a := range w.list {
		_, many := w.slots[i].(writer)
		n := slices.IndexFunc(w.parts, func(p part) bool {
			first := w.slots[p.at[0]]
			return many && first.layer() == w.slots[i].layer() && first.file() == w.slots[i].file()
		})
		if n < 0 {
			n, w.parts = len(w.parts), append(w.parts, part{})
		}
		w.parts[n].at, w.parts[n].list = append(w.parts[n].at, i), append(w.parts[n].list, a)
	}
	for n := range w.parts {
		p := &w.parts[n]
		p.firstOp = len(w.ops)
		if s, ok := w.slots[p.at[0]].(writer); ok {
			var ops []host.Op
			ops, p.done, p.err = s.writes(ctx, p.list)
			w.ops = append(w.ops, ops...)
		}
		p.endOp = len(w.ops)
	}
}

// finish sends statements to servers, and reads the keys' new values.
func (w *writing) finish(ctx context.Context, answers []host.Answer) {
	for _, p := range w.parts {
		first, err := w.slots[p.at[0]], p.err
		if s, ok := first.(setter); ok {
			err = s.write(ctx, p.list[0].key, p.list[0].to)
		} else if err == nil {
			err = p.done(answers[p.firstOp:p.endOp])
		}
		_, told := first.(setter)
		for n, i := range p.at {
			if w.list[i] = p.list[n]; err == nil && !told {
				continue
			}
			got, readErr := w.slots[i].read(ctx, w.list[i].key) // a value that was written anyway is seen
			if w.list[i].got, w.list[i].err = got, err; readErr != nil {
				w.list[i].err = errors.Join(err, &unreadError{readErr})
			}
		}
	}
}

// writeSlots writes a batch of its own, after ops that must be on disk before.
func writeSlots(ctx context.Context, h *seen, before []host.Op, slots []slot, list []assignment) error {
	w := &writing{slots: slots, list: list}
	w.plan(ctx)
	answers, err := h.do(ctx, append(before, w.ops...))
	if err != nil {
		return err
	}
	for _, a := range answers[:len(before)] {
		if err := a.Failed(); err != nil {
			return err
		}
	}
	w.finish(ctx, answers[len(before):])
	return nil
}

func writeOne(ctx context.Context, h *seen, s slot, key string, v engine.Value) error {
	list := []assignment{{key: key, to: v}}
	if err := writeSlots(ctx, h, nil, []slot{s}, list); err != nil {
		return err
	}
	return list[0].err
}

// unreadError says that it is not known what a key has after a write.
type unreadError struct{ err error }

func (e *unreadError) Error() string { return fmt.Sprintf("read it back: %v", e.err) }
func (e *unreadError) Unwrap() error { return e.err }
