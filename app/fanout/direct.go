package fanout

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"forge.example/account/isukit/app/fanout/internal/sqltext"
)

// maxSettings bounds the SET statements that one connection remembers.
const maxSettings = 100

// direct runs one statement on one replica, with a commit of its own: all that is needed while there is only one.
func (c *conn) direct(ctx context.Context, m *member, q call, rows bool) (answer, error) {
	pt := &part{m: m}
	a, err := pt.run(ctx, c, q, "", noPins, rows)
	if errors.Is(err, driver.ErrBadConn) && ctx.Err() == nil && c.p.cfg.Mode == ModeSingle {
		// The driver's word is taken as database/sql takes it: nothing was sent, an idle link was stale.
		c.drop(m)
		pt = &part{m: m}
		a, err = pt.run(ctx, c, q, "", noPins, rows)
	}
	if err != nil && outcomeOf(err) == lost && !unsent(err) {
		pt.leave(c, err)
	}
	return a, fateOn(ctx, m, err, "the answer was lost")
}

// fateOn is the error of a statement that one replica committed, or did not.
func fateOn(ctx context.Context, m *member, err error, lostText string) error {
	switch {
	case err == nil, outcomeOf(err) != lost && ctx.Err() == nil:
		return err
	case outcomeOf(err) != lost:
		return &WriteError{Fate: NotApplied, Cause: ctx.Err(), Parts: []Part{{m.name, NotApplied, err}}}
	case unsent(err):
		return &WriteError{Fate: NotApplied, Cause: errors.New("it was not sent"), Parts: []Part{{m.name, NotApplied, plainConn(err)}}}
	}
	return &WriteError{Fate: Unknown, Cause: errors.New(lostText), Parts: []Part{{m.name, Unknown, plainConn(err)}}}
}

// onFirst runs, outside of a transaction, a statement that concerns the first replica's session only.
func (c *conn) onFirst(ctx context.Context, q call) (answer, error) {
	v := c.p.view.Load()
	if len(v.writers) == 0 {
		return answer{}, ErrNoReplica
	}
	return c.direct(ctx, v.writers[0], q, false)
}

// queryFirst is onFirst for a query whose rows are returned as they come.
func (c *conn) queryFirst(ctx context.Context, q call) (driver.Rows, error) {
	v := c.p.view.Load()
	if len(v.writers) == 0 {
		return nil, ErrNoReplica
	}
	if q.st.NextID && c.p.keepsStates() {
		if err := c.asksID(); err != nil {
			return nil, err
		}
	}
	rows, err := c.readOn(ctx, v.writers[0], q)
	return rows, plainConn(err)
}

// queryLast asks for the statement before, where that one ran.
func (c *conn) queryLast(ctx context.Context, q call) (driver.Rows, error) {
	if err := c.asksLast(); err != nil {
		return nil, err
	}
	rows, err := c.readOn(ctx, c.last.m, q)
	return rows, plainConn(err)
}

// asksLast fails if the statement before was not a query, or if its connection is gone, on which others have run since.
func (c *conn) asksLast() error {
	if c.last == nil || c.last.spent || c.links[c.last.m.index] != c.last {
		return refused("FOUND_ROWS(), ROW_COUNT() and SHOW WARNINGS ask about the statement before, which was not a query on this connection (sql.Conn or sql.Tx); " +
			"use the Result's RowsAffected, or SELECT COUNT(*)")
	}
	return nil
}

// asksID fails when the session that numbered a row last is gone: its LAST_INSERT_ID() is not known any more.
func (c *conn) asksID() error {
	v := c.p.view.Load()
	if c.numbered != nil && (c.numbered.spent || len(v.writers) == 0 || c.links[v.writers[0].index] != c.numbered) {
		return refused("the connection that has this LAST_INSERT_ID() is gone; use the Result's LastInsertId, which came with the write")
	}
	return nil
}

// execSession runs a SET on every replica that is written, and remembers it for links that are dialled later, and for those that only read. A
// replica that fails it makes the whole statement fail, and its link is closed: it would have other settings.
func (p *group) execSession(ctx context.Context, c *conn, q call) (answer, error) {
	if len(q.args) > 0 {
		return answer{}, refused("SET with arguments can't be remembered for later connections; put the value into the text")
	}
	if len(c.settings) >= maxSettings {
		return answer{}, refused("more than 100 SET statements on one connection")
	}
	v := p.view.Load()
	for _, l := range c.links {
		if l != nil && !slices.Contains(v.writers, l.m) {
			l.spent = true // it is dialled again, with all settings
		}
	}
	for _, m := range v.writers {
		l, err := c.link(ctx, m)
		if err != nil {
			return answer{}, plainConn(err)
		}
		if _, err := l.runExec(ctx, "", q); err != nil {
			l.spent = true
			return answer{}, plainConn(err)
		}
	}
	c.settings = append(c.settings, q.text)
	return answer{}, nil
}

// execDDL changes the schema: alone, on the first replica, then on the others, which are compared with the first afterwards.
func (p *group) execDDL(ctx context.Context, c *conn, q call) (a answer, err error) {
	leave, err := c.enter(ctx, gateSize)
	if err != nil {
		return a, err
	}
	defer leave()
	c.last = nil
	v := p.acquire()
	defer v.release()
	if len(v.writers) == 0 {
		return a, ErrNoReplica
	}
	long := context.WithoutCancel(ctx)
	with := noPins
	if q.v.Is(sqltext.PinClock) {
		with.clock = time.Now()
	}
	run := func(m *member) (answer, error) {
		l, err := c.link(long, m)
		if err != nil {
			return answer{}, err
		}
		prefix := l.plain() + l.pin(with)
		defer l.watch(ctx, prefix != "")()
		a, err := l.answerTo(long, prefix, q, false)
		l.answered(err)
		return a, err
	}
	first := v.writers[0]
	if a, err = run(first); err != nil {
		if outcomeOf(err) == lost {
			c.drop(first)
		}
		return a, fateOn(ctx, first, err, "the answer to a schema change was lost; compare the schemas")
	}
	errs := make([]error, len(v.writers))
	inParallel(len(v.writers)-1, func(i int) { _, errs[i+1] = run(v.writers[i+1]) })
	for i, m := range v.writers[1:] {
		if why := errs[i+1]; why != nil {
			c.drop(m)
			_ = p.ejectMember(long, m, fmt.Sprintf("DDL failed there and not on %s: %v", first.name, why))
		}
	}
	return a, p.compareSchemas(long)
}

// single is ModeSingle: statements go to the one replica as they are.
type single struct{ p *group }

func (s single) exec(ctx context.Context, c *conn, q call) (driver.Result, error) {
	return c.onFirst(ctx, q)
}

func (s single) query(ctx context.Context, c *conn, q call) (driver.Rows, error) {
	return c.queryFirst(ctx, q)
}

func (s single) begin(ctx context.Context, c *conn, opts driver.TxOptions) (txn, error) {
	begin, err := beginText(opts)
	if err != nil {
		return nil, err
	}
	t := &flatTxn{c: c, members: c.p.view.Load().writers}
	if _, err := t.each(ctx, call{text: begin[:len(begin)-2]}); err != nil {
		if sql.IsolationLevel(opts.Isolation) != sql.LevelDefault || len(t.members) > 1 {
			_ = t.rollback()
		}
		return nil, err
	}
	return t, nil
}

// parallel is ModeParallel.
type parallel struct{ single }

func (f parallel) exec(ctx context.Context, c *conn, q call) (driver.Result, error) {
	if q.st.Kind == sqltext.Session {
		return f.p.execSession(ctx, c, q)
	}
	return (&flatTxn{c: c, members: f.p.view.Load().writers}).each(ctx, q)
}

func (f parallel) query(ctx context.Context, c *conn, q call) (driver.Rows, error) {
	if q.st.Kind == sqltext.Write || q.st.Kind == sqltext.Guarded {
		return nil, refused("mode parallel has no writes that return rows")
	}
	return c.queryFirst(ctx, q)
}

// flatTxn is a transaction whose statements are sent to all of its replicas in parallel; with one replica it is a plain one.
type flatTxn struct {
	c       *conn
	members []*member
	reads   bool // it is read-only
}

// each runs q on all replicas in parallel. The first error cancels the others and is returned; the result is the first replica's.
func (t *flatTxn) each(ctx context.Context, q call) (driver.Result, error) {
	if len(t.members) == 0 {
		return nil, ErrNoReplica
	}
	if len(t.members) == 1 {
		return t.on(ctx, t.members[0], q)
	}
	g, ctx := errgroup.WithContext(ctx)
	results := make([]driver.Result, len(t.members))
	for i, m := range t.members {
		g.Go(func() (err error) {
			results[i], err = t.on(ctx, m, q)
			return err
		})
	}
	err := g.Wait()
	return results[0], err
}

func (t *flatTxn) on(ctx context.Context, m *member, q call) (res driver.Result, err error) {
	l, err := t.c.link(ctx, m)
	if err != nil {
		return nil, err
	}
	if len(t.members) > 1 {
		res, err = l.runExec(ctx, "", q)
	} else {
		unwatch := l.watch(ctx, false)
		res, err = l.runExec(l.begin(), "", q)
		l.end()
		unwatch()
	}
	l.spent = l.spent || outcomeOf(err) == lost
	return res, plainConn(err)
}

func (t *flatTxn) exec(ctx context.Context, q call) (driver.Result, error) {
	if t.reads && q.st.Kind != sqltext.Read && q.st.Kind != sqltext.ReadFirst {
		return nil, refused("the transaction is read-only; begin it without ReadOnly")
	}
	return t.each(ctx, q)
}

func (t *flatTxn) query(ctx context.Context, q call) (driver.Rows, error) {
	if (q.st.Kind == sqltext.Write || q.st.Kind == sqltext.Guarded) && len(t.members) > 1 {
		return nil, refused("mode parallel has no writes that return rows")
	}
	if len(t.members) == 0 {
		return nil, ErrNoReplica
	}
	l := t.c.links[t.members[0].index]
	if l == nil || l.spent {
		return nil, errors.New("fanout: the transaction's connection is gone")
	}
	rows, err := l.runQuery(ctx, "", q)
	if err != nil && isContext(err) && ctx.Err() != nil {
		t.c.p.abandon(l)
	}
	return rows, plainConn(err)
}

func (t *flatTxn) commit() error   { return t.end("COMMIT") }
func (t *flatTxn) rollback() error { return t.end("ROLLBACK") }

// end ends the transaction on every replica. One may have ended it and another not, as this mode should show.
func (t *flatTxn) end(text string) error {
	errs := make([]error, len(t.members))
	inParallel(len(t.members), func(i int) {
		m := t.members[i]
		l := t.c.links[m.index]
		if l == nil || l.spent {
			errs[i] = fmt.Errorf("replica %s: the transaction's connection is gone", m.name)
			t.c.drop(m)
			return
		}
		_, errs[i] = l.exec.ExecContext(l.begin(), text, nil)
		l.end()
		if errs[i] != nil {
			t.c.drop(m)
		}
	})
	for i, err := range errs {
		if err == nil {
			continue
		}
		if text == "COMMIT" && outcomeOf(err) == lost && t.c.links[t.members[i].index] == nil {
			return &WriteError{Fate: Unknown, Cause: errors.New("the answer to COMMIT was lost"), Parts: []Part{{t.members[i].name, Unknown, plainConn(err)}}}
		}
		return plainConn(err)
	}
	return nil
}
