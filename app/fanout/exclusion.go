package fanout

import (
	"context"

	"forge.example/account/isukit/app/fanout/internal/sqltext"
)

// exclusion is LOCK TABLES: nothing else of this process writes, and, where one of the tables is locked to be written, reads.
type exclusion struct {
	reads bool // are kept away as well
	done  chan struct{}
}

// lockTables keeps all others away until UNLOCK TABLES, a transaction, or the connection's end, as on one server. It sends nothing to the
// servers: alone in one process, no locks are needed there.
func (c *conn) lockTables(ctx context.Context, q call) (answer, error) {
	p := c.p
	if _, keyed := p.writes.(*keyed); keyed {
		return answer{}, refused("LOCK TABLES would wait for keys, which wait for it; use WithKeys, or mode ordered")
	}
	if p.cfg.AppProcesses > 1 || p.alone(ctx) != nil {
		return answer{}, refused("LOCK TABLES holds up one app process, and there are several; use a transaction with SELECT ... FOR UPDATE")
	}
	c.unlockTables()
	if err := p.gate.Acquire(ctx, gateSize); err != nil {
		return answer{}, err
	}
	c.locked = &exclusion{reads: q.st.LocksReads, done: make(chan struct{})}
	p.excluded.Store(c.locked)
	return answer{}, nil
}

func (c *conn) unlockTables() {
	if c.locked == nil {
		return
	}
	c.p.excluded.Store(nil)
	close(c.locked.done)
	c.locked = nil
	c.p.gate.Release(gateSize)
}

// enter waits until this connection may write, or change the schema if n is gateSize, and returns what lets others again.
func (c *conn) enter(ctx context.Context, n int64) (leave func(), err error) {
	if c.locked != nil {
		return func() {}, nil
	}
	if err := c.p.gate.Acquire(ctx, n); err != nil {
		return nil, err
	}
	return func() { c.p.gate.Release(n) }, nil
}

// readable waits until no other connection keeps readers away.
func (c *conn) readable(ctx context.Context) error {
	for {
		x := c.p.excluded.Load()
		if x == nil || x == c.locked || !x.reads {
			return nil
		}
		select {
		case <-x.done:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// guarded runs calls of procedures and functions on the first replica in a read-only transaction, so that they cannot write.
func (c *conn) guarded(ctx context.Context, q call) (*rowSets, error) {
	v := c.p.view.Load()
	if len(v.writers) == 0 {
		return nil, ErrNoReplica
	}
	pt := &part{m: v.writers[0]}
	a, err := pt.run(ctx, c, q, "START TRANSACTION READ ONLY; ", noPins, true)
	if err != nil {
		_ = pt.end(c, "ROLLBACK")
		if numberOfError(err) == errReadOnly {
			return nil, refused("it calls a stored procedure or function that writes, whose effect on other replicas can't be told; write what it does as statements of the app")
		}
		return nil, plainConn(err)
	}
	return a.rows, plainConn(pt.end(c, "COMMIT"))
}

const errReadOnly = 1792

var errGuardedWrite = refused("a stored procedure or function may write, so it is called outside of transactions that write, or in a read-only one")

// isLock reports whether q is LOCK TABLES or UNLOCK TABLES.
func (q call) isLock() bool { return q.st.Kind == sqltext.Lock || q.st.Kind == sqltext.Unlock }
