package fanout

import (
	"context"
	"database/sql/driver"
	"errors"
	"sync"
	"sync/atomic"
)

// ReadPolicy is which replica answers a read.
type ReadPolicy string

// The read policies. Both heed Replica.Weight.
const (
	Random    ReadPolicy = "random"     // any one
	LeastBusy ReadPolicy = "least-busy" // of two random ones, the one with fewer reads running
)

type ctxKey uint8

const (
	keyOnFirst ctxKey = iota
	keySession
	keyKeys
)

// OnFirst makes the reads that are given this context go to the first replica; in ModeReplicated that is the source.
func OnFirst(ctx context.Context) context.Context { return context.WithValue(ctx, keyOnFirst, true) }

// Session makes the reads that are given this context, or one derived from it, stay on one replica: a client that keeps its Session reads its own
// writes and never sees an older state than before. When the replica leaves service, the session moves to another one. In ModeReplicated a read
// waits, for MaxLag at most, until its replica has what the session wrote or saw before, and else goes to the source.
func Session(ctx context.Context) context.Context {
	return context.WithValue(ctx, keySession, &sessions{})
}

// Fresh is a Session that begins with everything that was acknowledged before, for any client, as if it had written it itself: for a client
// whose requests meet several app processes, with a Fresh context for each. In ModeReplicated its first read asks the source, a round trip
// more; the other modes have it anyway.
func Fresh(ctx context.Context) context.Context {
	return context.WithValue(ctx, keySession, &sessions{fresh: true})
}

// sessions is what Session puts into a context: a session of each group that it meets.
type sessions struct {
	fresh  bool
	groups sync.Map
}

type session struct {
	pinned atomic.Pointer[member]
	seen   seen // of ModeReplicated
}

// session is ctx's session of this group, or nil.
func (p *group) session(ctx context.Context) *session {
	all, _ := ctx.Value(keySession).(*sessions)
	if all == nil {
		return nil
	}
	s, ok := all.groups.Load(p)
	if !ok {
		one := &session{}
		one.seen.ask = all.fresh
		s, _ = all.groups.LoadOrStore(p, one)
	}
	return s.(*session)
}

// route is the replica for a read with ctx. tried is a bit set of replicas that failed for this read.
func (p *group) route(ctx context.Context, v *view, tried uint64) *member {
	if ctx.Value(keyOnFirst) != nil {
		if len(v.writers) == 0 || tried != 0 {
			return nil
		}
		return v.writers[0]
	}
	s := p.session(ctx)
	if s == nil {
		return pick(v.readers, p.cfg.Reads, tried)
	}
	old := s.pinned.Load()
	if old != nil && v.has(old) && tried>>old.index&1 == 0 {
		return old
	}
	m := pick(v.readers, p.cfg.Reads, tried)
	if m != nil && !s.pinned.CompareAndSwap(old, m) {
		return s.pinned.Load()
	}
	return m
}

// reader is the replica for a read with ctx, once that one has what the session saw; failed is the error if none is left.
func (c *conn) reader(ctx context.Context, tried uint64, failed error) (*member, error) {
	v := c.p.view.Load()
	m := c.p.route(ctx, v, tried)
	if m == nil {
		return nil, plainConn(failed)
	}
	return c.caughtUp(ctx, v, m)
}

// read runs a query on one replica. If that one can't be reached, the query runs on another, since the caller has not seen a row.
func (c *conn) read(ctx context.Context, q call) (driver.Rows, error) {
	var tried uint64
	var failed error = ErrNoReplica
	for {
		m, err := c.reader(ctx, tried, failed)
		if err != nil {
			return nil, err
		}
		fresh := c.links[m.index] == nil
		rows, err := c.readOn(ctx, m, q)
		if err == nil || ctx.Err() != nil || outcomeOf(err) != lost || errors.Is(err, driver.ErrSkip) {
			return rows, err
		}
		c.drop(m)
		failed = err
		if fresh { // an idle link may have been stale; a new one tells about the replica
			m.shun()
			tried |= 1 << m.index
		}
	}
}

func (c *conn) readOn(ctx context.Context, m *member, q call) (driver.Rows, error) {
	if err := c.readable(ctx); err != nil {
		return nil, err
	}
	l, err := c.link(ctx, m)
	if err != nil {
		return nil, err
	}
	l.writes.Store(false)
	l.busy.Store(c.p.now())
	defer l.end()
	if text := l.plain() + l.pin(noPins); text != "" {
		_, err := l.exec.ExecContext(ctx, text, nil)
		l.answered(err)
		if err != nil {
			return nil, err
		}
	}
	if c.p.cfg.Reads == LeastBusy {
		m.reading.Add(1)
		defer m.reading.Add(-1)
	}
	rows, err := l.runQuery(ctx, "", q)
	if err != nil && isContext(err) && ctx.Err() != nil {
		c.p.abandon(l)
	}
	c.last = nil
	if err == nil {
		c.last = l
	}
	return rows, err
}

// abandon kills, in the background, what a client that gave up left running: the driver only closes its end.
func (p *group) abandon(l *link) {
	l.spent = true
	p.background(func() { l.m.kill(l.thread, false) })
}

// beginRead begins a read-only transaction on one replica.
func (c *conn) beginRead(ctx context.Context, begin string) (txn, error) {
	if err := c.readable(ctx); err != nil {
		return nil, err
	}
	var failed error = ErrNoReplica
	var tried uint64
	for {
		m, err := c.reader(ctx, tried, failed)
		if err != nil {
			return nil, err
		}
		tried |= 1 << m.index
		l, err := c.link(ctx, m)
		if err == nil {
			_, err = l.exec.ExecContext(ctx, l.pin(noPins)+begin, nil)
			l.answered(err)
		}
		if err == nil {
			return &flatTxn{c: c, members: []*member{m}, reads: true}, nil
		}
		c.drop(m)
		failed = err
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
}
