package fanout

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"sync"

	"forge.example/account/isukit/app/fanout/internal/sqltext"
)

// replicated is ModeReplicated: statements go to the source as they are, and it remembers for sessions what they wrote.
type replicated struct{ single }

func (r replicated) exec(ctx context.Context, c *conn, q call) (driver.Result, error) {
	if q.st.Kind == sqltext.Session {
		return r.p.execSession(ctx, c, q)
	}
	res, err := r.single.exec(ctx, c, q)
	if err == nil {
		c.wrote(ctx)
	}
	return res, err
}

func (r replicated) query(ctx context.Context, c *conn, q call) (driver.Rows, error) {
	rows, err := r.single.query(ctx, c, q)
	if s := r.p.session(ctx); s != nil {
		s.seen.newest() // what these rows show, the source has
	}
	return rows, err
}

func (r replicated) begin(ctx context.Context, c *conn, opts driver.TxOptions) (txn, error) {
	t, err := r.single.begin(ctx, c, opts)
	if err != nil {
		return nil, err
	}
	return &replicatedTxn{t, r.p.session(ctx)}, nil
}

// replicatedTxn is a transaction on the source.
type replicatedTxn struct {
	txn
	s *session // of the context that it was begun with, or nil
}

func (t *replicatedTxn) commit() error {
	err := t.txn.commit()
	if err == nil && t.s != nil {
		t.s.seen.newest() // its reads were the source's, too, so its own write's position is not enough
	}
	return err
}

func (t *replicatedTxn) rollback() error {
	if t.s != nil {
		t.s.seen.newest()
	}
	return t.txn.rollback()
}

// seen is what a session must not see less than, in ModeReplicated.
type seen struct {
	mu       sync.Mutex
	position string  // of the source; empty: nothing yet
	ask      bool    // the source's present position must be added
	last     *member // that the session read
	reached  bool    // last has position
}

// newest makes the session's next read wait for all that the source has now.
func (s *seen) newest() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ask = true
}

// wrote notes, for ctx's session, the position of what the link to the source has just written.
func (c *conn) wrote(ctx context.Context) {
	s := c.p.session(ctx)
	if s == nil {
		return
	}
	l := c.links[0]
	s.seen.mu.Lock()
	defer s.seen.mu.Unlock()
	if l == nil || l.spent {
		s.seen.ask = true
		return
	}
	d := c.p.copying.dialect
	position, err := l.ask(ctx, d.own)
	if err != nil {
		l.spent = true
		s.seen.ask = true
		return
	}
	s.seen.position, s.seen.reached = d.later(s.seen.position, position), false
}

// ask reads one value by a query.
func (l *link) ask(ctx context.Context, text string) (string, error) {
	l.writes.Store(false)
	l.busy.Store(l.p.now())
	defer l.end()
	rows, err := l.query.QueryContext(ctx, text, nil)
	if err != nil {
		return "", err
	}
	all, err := readAll(rows)
	if err != nil {
		return "", err
	}
	if all.count() != 1 {
		return "", fmt.Errorf("%d rows where one value was asked for", all.count())
	}
	var value sql.NullString
	err = value.Scan(all.sets[0].rows[0][0])
	return value.String, err
}

// errSeen is returned for a session's read when no server is known to have what the session has seen.
var errSeen = fmt.Errorf("%w that has what this session wrote or saw before; begin a new Session to read what there is", ErrNoReplica)

// caughtUp returns the replica on which ctx's session may read: m once it has what the session wrote or saw, otherwise the source.
func (c *conn) caughtUp(ctx context.Context, v *view, m *member) (*member, error) {
	if c.p.copying == nil {
		return m, nil
	}
	s := c.p.session(ctx)
	if s == nil {
		return m, nil
	}
	source := c.p.members[0]
	s.seen.mu.Lock()
	defer s.seen.mu.Unlock()
	if ctx.Value(keyOnFirst) != nil {
		s.seen.ask = true
		return m, nil
	}
	if s.seen.last != nil && s.seen.last != m {
		s.seen.ask, s.seen.reached = true, false
	}
	if m == source {
		s.seen.last = m
		return m, nil
	}
	err := c.reach(ctx, &s.seen, m)
	switch {
	case err == nil:
		s.seen.last = m
		return m, nil
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case !v.has(source):
		return nil, fmt.Errorf("%w: %w", errSeen, err)
	}
	s.pinned.Store(source)
	s.seen.last = source
	return source, nil
}

// reach waits until m has what s has seen.
func (c *conn) reach(ctx context.Context, s *seen, m *member) error {
	d := c.p.copying.dialect
	if s.ask {
		position, err := c.p.copying.position(ctx)
		if err != nil {
			return err
		}
		s.position, s.ask, s.reached = d.later(s.position, position), false, false
	}
	if s.position == "" || s.reached {
		return nil
	}
	l, err := c.link(ctx, m)
	if err != nil {
		return err
	}
	got, err := l.ask(ctx, d.wait(s.position, c.p.cfg.MaxLag))
	if err != nil {
		l.spent = true
		return err
	}
	if got != "0" {
		return errors.New("replica " + m.name + " is behind")
	}
	s.reached = true
	return nil
}

// bring waits until m has what the source has now.
func (k *copying) bring(ctx context.Context, m *member) error {
	position, err := k.position(ctx)
	if err != nil {
		return err
	}
	ok, err := k.reached(ctx, m, position, k.p.cfg.WriteTimeout)
	if err == nil && !ok {
		reason, _ := k.state(ctx, m)
		err = fmt.Errorf("replica %s is behind %s%s", m.name, k.p.members[0].name, suffix(": ", reason))
	}
	return err
}
