package fanout

import (
	"slices"
	"sync"
	"sync/atomic"
)

// State is where a replica stands.
type State string

// The states of a replica.
const (
	InService State = "in service" // written and read
	Copying   State = "copying"    // written, not read: Admit is filling it, so what it answers is not compared
	Verifying State = "verifying"  // written, not read: Admit compares it; a write that fails there starts that again
	Ejected   State = "ejected"    // neither written nor read
	LeftOut   State = "left out"   // not read: ModeReplicated found it late, stopped or silent; it returns when it has caught up
)

// view is who takes part in writes and reads: a snapshot that never changes. A write keeps the view that it began with.
type view struct {
	epoch   int64
	writers []*member // in replica order; the first one in service decides
	readers []*member // those in service
	states  []State   // by member index

	followed  atomic.Bool // no process acts by an earlier view, in which a replica was in service that has left
	following sync.Mutex  // held by who waits for that

	inflight atomic.Int64
	retired  atomic.Bool
	once     sync.Once
	idle     chan struct{} // closed when retired and nothing is in flight
}

// newView is the view by states. In ModeReplicated the source is the only writer, also while it does not answer.
func newView(epoch int64, members []*member, states []State, mode Mode) *view {
	v := &view{epoch: epoch, states: states, idle: make(chan struct{})}
	var joining []*member
	for _, m := range members {
		switch states[m.index] {
		case InService:
			v.readers = append(v.readers, m)
		case Copying, Verifying:
			joining = append(joining, m)
		}
	}
	switch {
	case mode == ModeReplicated:
		v.writers = members[:1]
	case len(v.readers) > 0:
		v.writers = slices.Concat(v.readers, joining) // behind the others: what they answer decides nothing
	}
	return v
}

// has reports whether m is in service.
func (v *view) has(m *member) bool { return v.states[m.index] == InService }

// lacks reports whether a replica that old has in service is not in service in v.
func (v *view) lacks(old *view) bool {
	return slices.ContainsFunc(old.readers, func(m *member) bool { return !v.has(m) })
}

// acquire returns the current view, once all processes follow it, and counts a write in it; the caller releases it.
func (p *group) acquire() *view {
	for {
		v := p.view.Load()
		p.follow(v)
		v.inflight.Add(1)
		if p.view.Load() == v {
			return v
		}
		v.release()
	}
}

func (v *view) release() {
	if v.inflight.Add(-1) == 0 && v.retired.Load() {
		v.once.Do(func() { close(v.idle) })
	}
}

// retire says that no new write will begin in v.
func (v *view) retire() {
	v.inflight.Add(1)
	v.retired.Store(true)
	v.release()
}
