package tune

import (
	"context"
	"errors"
	"fmt"

	"isukit/infra/engine"
)

// assignment is a value that a key is to have, and what came of it: err where it was not taken, got is what the key has then.
type assignment struct {
	key     string
	to, got engine.Value
	err     error
}

// many is a slot that writes several keys, one after another, and reads them back at the price of one. An error is about all of
// them.
type many interface {
	writeAll(ctx context.Context, list []assignment) error
}

// manyOf finds out whether a slot is one of many keys. One that only embeds such a slot writes in its own way.
func manyOf(s slot) (m many, ok bool) {
	switch s.(type) {
	case procSlot, iniSlot, nginxSlot:
		m, ok = s.(many)
	}
	return m, ok
}

// writeSlots writes values to slots, in their order, and reads them back; those of a slot of many keys that follow one another are
// written together. slots are as many as assignments.
func writeSlots(ctx context.Context, slots []slot, list []assignment) {
	for i := 0; i < len(list); {
		m, ok := manyOf(slots[i])
		n := i + 1
		for ok && n < len(list) && slots[n].layer() == slots[i].layer() && slots[n].file() == slots[i].file() {
			n++
		}
		if !ok {
			writeOne(ctx, slots[i], &list[i])
		} else if err := m.writeAll(ctx, list[i:n]); err != nil {
			for k := i; k < n; k++ { // what was written all the same is seen
				readBack(ctx, slots[k], &list[k], err)
			}
		}
		i = n
	}
}

func writeOne(ctx context.Context, s slot, a *assignment) {
	readBack(ctx, s, a, s.write(ctx, a.key, a.to))
}

// readBack asks what a key has after a write that ended in err.
func readBack(ctx context.Context, s slot, a *assignment, err error) {
	got, readErr := s.read(ctx, a.key)
	a.got, a.err = got, err
	if readErr != nil {
		a.err = errors.Join(err, &unreadError{readErr})
	}
}

// unreadError says that it is not known what a key has after a write.
type unreadError struct{ err error }

func (e *unreadError) Error() string { return fmt.Sprintf("read it back: %v", e.err) }
func (e *unreadError) Unwrap() error { return e.err }
