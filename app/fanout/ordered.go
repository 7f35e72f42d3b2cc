package fanout

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"slices"
	"time"

	"forge.example/account/isukit/app/fanout/internal/sqltext"
)

// writeMode is how writes reach the replicas.
type writeMode interface {
	exec(ctx context.Context, c *conn, q call) (driver.Result, error)
	query(ctx context.Context, c *conn, q call) (driver.Rows, error)
	begin(ctx context.Context, c *conn, opts driver.TxOptions) (txn, error)
}

// ordered is ModeOrdered.
type ordered struct {
	p     *group
	write func(ctx context.Context, c *conn, q call, rows bool) (answer, error) // one statement outside of a transaction
}

func newOrdered(p *group) ordered { return ordered{p, writeInOrder} }

func (o ordered) exec(ctx context.Context, c *conn, q call) (driver.Result, error) {
	return o.run(ctx, c, q)
}

func (o ordered) run(ctx context.Context, c *conn, q call) (answer, error) {
	switch q.st.Kind {
	case sqltext.DDL:
		return o.p.execDDL(ctx, c, q)
	case sqltext.Session:
		return o.p.execSession(ctx, c, q)
	case sqltext.Lock:
		return c.lockTables(ctx, q)
	case sqltext.Unlock:
		c.unlockTables()
		return answer{}, nil
	case sqltext.Guarded:
		rows, err := c.guarded(ctx, q)
		return answer{rows: rows}, err
	case sqltext.Read, sqltext.ReadFirst, sqltext.ReadLast:
		return c.onFirst(ctx, q)
	}
	return o.write(ctx, c, q, q.st.Form.Returns())
}

func (o ordered) query(ctx context.Context, c *conn, q call) (driver.Rows, error) {
	switch q.st.Kind {
	case sqltext.ReadFirst:
		return c.queryFirst(ctx, q)
	case sqltext.ReadLast:
		return c.queryLast(ctx, q)
	}
	return rowsOf(o.run(ctx, c, q))
}

// rowsOf are an answer's rows, or none.
func rowsOf(a answer, err error) (driver.Rows, error) {
	if err != nil {
		return nil, err
	}
	if a.rows == nil {
		return &rowSets{sets: make([]rowSet, 1)}, nil
	}
	return a.rows, nil
}

func (o ordered) begin(ctx context.Context, c *conn, opts driver.TxOptions) (txn, error) {
	return newOrderedTxn(c, sql.IsolationLevel(opts.Isolation)), nil
}

// writeAttempts bounds how often one statement is run again, when a connection broke before anything was committed.
const writeAttempts = 4

// writeInOrder runs one statement as a transaction of its own.
func writeInOrder(ctx context.Context, c *conn, q call, rows bool) (answer, error) {
	differed := false
	for attempt := 1; ; attempt++ {
		t := newOrderedTxn(c, sql.LevelDefault)
		t.differed = differed
		a, err := t.single(ctx, q, rows)
		if err == nil || !t.again || attempt == writeAttempts || ctx.Err() != nil {
			return a, err
		}
		differed = t.doubted
	}
}

// orderedTxn is a read-write transaction over every replica. The first replica executes each statement before the others
// do, so its row locks decide the order of conflicting transactions for all of them.
type orderedTxn struct {
	c        *conn
	v        *view // nil before the first statement and after the end
	parts    []*part
	level    sql.IsolationLevel
	alone    bool // one statement is the whole transaction
	begun    string
	xid      string // of the other replicas' branches in ModeDurable, or empty
	loose    bool   // runs without gap locks, as the app asked for READ COMMITTED
	doubted  bool   // it was rolled back since replicas answered differently
	differed bool   // therefore a single statement is run again
	leave    func() // lets others through the gate
	lost     error  // what said, behind a query\'s rows, that the first replica has rolled it back
	dead     error  // set when it was rolled back everywhere: every further statement gets this
	again    bool   // it was rolled back for a reason that may not come back
}

func newOrderedTxn(c *conn, level sql.IsolationLevel) *orderedTxn {
	return &orderedTxn{c: c, level: level}
}

// single runs q and commits.
func (t *orderedTxn) single(ctx context.Context, q call, rows bool) (answer, error) {
	t.alone = true
	if err := t.start(ctx, q); err != nil {
		return answer{}, err
	}
	if len(t.parts) == 1 && !rows { // those may be too many, and the write is rolled back then
		defer t.finish()
		return t.c.direct(ctx, t.parts[0].m, q, rows)
	}
	q, err := t.rewritten(ctx, q)
	if err != nil {
		_ = t.rollback()
		return answer{}, err
	}
	if q.text == "" { // no row to insert
		return answer{}, t.rollback()
	}
	if len(t.parts) == 2 && !rows && t.v.has(t.parts[1].m) && t.parts[0].gone == nil {
		if t.xid == "" {
			return t.pair(ctx, q)
		}
		if t.commitsInPacket(q) && !t.parts[0].began && !q.st.NextID && !q.v.Is(sqltext.AskIDs) && t.holds(q) { // a branch can't begin after a question
			return t.pairDurably(ctx, q)
		}
	}
	a, err := t.execute(ctx, q, rows)
	if err := t.goesOn(ctx, err); err != nil {
		return answer{}, err
	}
	return a, t.commit()
}

// goesOn rolls back everywhere, and returns why, where err does not let the transaction be committed, or the caller has given up.
func (t *orderedTxn) goesOn(ctx context.Context, err error) error {
	if err == nil && ctx.Err() != nil {
		err = &WriteError{Fate: NotApplied, Cause: ctx.Err()}
	}
	if err == nil {
		err = t.decided()
	}
	if err != nil {
		_ = t.rollback()
	}
	return err
}

// start joins the writers when the first statement comes, which also chooses the isolation.
func (t *orderedTxn) start(ctx context.Context, q call) error {
	if t.v != nil {
		return nil
	}
	p := t.c.p
	t.c.last = nil
	leave, err := t.c.enter(ctx, 1)
	if err != nil {
		return err
	}
	v := p.acquire()
	if len(v.writers) == 0 {
		v.release()
		leave()
		return ErrNoReplica
	}
	t.v, t.leave = v, leave
	t.parts = make([]*part, len(v.writers))
	for i, m := range v.writers {
		t.parts[i] = &part{m: m}
	}
	if t.alone && len(t.parts) > 1 && q.v.Is(sqltext.SendRows) {
		t.level = sql.LevelSerializable // the query locks what it reads, as INSERT ... SELECT does
	}
	t.loose = t.level == sql.LevelReadUncommitted || t.level == sql.LevelReadCommitted
	if t.level == sql.LevelRepeatableRead {
		t.level = sql.LevelDefault // as the sessions are
	}
	begin, err := beginText(driver.TxOptions{Isolation: driver.IsolationLevel(t.level)})
	t.begun = begin
	if p.branches != nil && len(t.parts) > 1 {
		t.xid = p.branches.next()
		for _, pt := range t.parts[1:] {
			pt.xid = t.xid
		}
	}
	if err != nil {
		t.finish()
	}
	return err
}

// finish ends the transaction's part in the view. If a replica has left service with it, that is answered when all processes know.
func (t *orderedTxn) finish() {
	if t.v != nil {
		t.v.release()
		t.v = nil
		t.leave()
		t.c.p.follow(t.c.p.view.Load())
	}
}

// decided fails when the replica that decides has left service since the transaction began: what was read there may be old.
func (t *orderedTxn) decided() error {
	if first := t.live()[0].m; t.v.has(first) && t.c.p.left(first) {
		t.again = true
		return rolledBack("replica " + first.name + " has left service; rolled back everywhere, run the transaction again")
	}
	return nil
}

// live are the parts that still take part; the first of them decides.
func (t *orderedTxn) live() []*part {
	return slices.DeleteFunc(slices.Clone(t.parts), func(pt *part) bool { return pt.gone != nil })
}

func (t *orderedTxn) exec(ctx context.Context, q call) (driver.Result, error) {
	if err := t.admits(ctx, q); err != nil {
		return nil, err
	}
	switch q.st.Kind {
	case sqltext.Session:
		return t.c.p.execSession(ctx, t.c, q)
	case sqltext.Write:
		return t.run(ctx, q, q.st.Form.Returns())
	}
	first := t.live()[0]
	a, err := first.run(ctx, t.c, q, t.begun, noPins, false)
	if err != nil {
		return a, t.firstFailed(ctx, first, err)
	}
	return a, nil
}

func (t *orderedTxn) query(ctx context.Context, q call) (driver.Rows, error) {
	if err := t.admits(ctx, q); err != nil {
		return nil, err
	}
	switch q.st.Kind {
	case sqltext.Session:
		return rowsOf(t.c.p.execSession(ctx, t.c, q))
	case sqltext.Write:
		return rowsOf(t.run(ctx, q, q.st.Form.Returns()))
	}
	return t.stream(ctx, q)
}

// admits refuses what can't be part of this transaction, and begins it with the first statement.
func (t *orderedTxn) admits(ctx context.Context, q call) error {
	switch {
	case t.dead != nil:
		return t.dead
	case t.lost != nil:
		return t.abort(t.lost)
	case t.v != nil && t.decided() != nil:
		return t.abort(t.decided())
	case q.st.Kind == sqltext.DDL, q.isLock():
		return refused("DDL and LOCK TABLES commit the transaction around them; run them outside a transaction")
	case q.st.Kind == sqltext.Guarded && (t.v == nil || len(t.parts) > 1):
		return errGuardedWrite
	case q.st.Kind == sqltext.ReadLast && t.c.asksLast() != nil:
		return t.c.asksLast()
	case q.st.NextID && q.st.Kind == sqltext.ReadFirst && t.c.asksID() != nil:
		return t.c.asksID()
	}
	return t.start(ctx, q)
}

// run executes a write on the first replica, then on the others in parallel.
func (t *orderedTxn) run(ctx context.Context, q call, rows bool) (answer, error) {
	q, err := t.rewritten(ctx, q)
	if err != nil || q.text == "" {
		return answer{}, err
	}
	return t.execute(ctx, q, rows)
}

// execute is run for a statement that is as every replica is to execute it.
func (t *orderedTxn) execute(ctx context.Context, q call, rows bool) (answer, error) {
	q = t.withIDs(q)
	a, with, err := t.runOnFirst(ctx, q, rows)
	parts := t.live()
	if err != nil || len(parts) == 1 {
		return a, err
	}
	q = t.forOthers(q, with)
	return a, t.judge(ctx, q, a, t.others(ctx, parts[1:], q, with, rows))
}

// runOnFirst executes a write on the first replica and says with which pins the others must.
func (t *orderedTxn) runOnFirst(ctx context.Context, q call, rows bool) (answer, pins, error) {
	p := t.c.p
	with := noPins
	parts := t.live()
	if q.v.Is(sqltext.PinClock) {
		with.clock = time.Now()
	}
	if q.v.Is(sqltext.PinLastID) && len(parts) > 1 {
		if err := t.c.asksID(); err != nil {
			return answer{}, with, t.abort(err)
		}
		id, err := t.askID(ctx, "SELECT LAST_INSERT_ID()")
		if err != nil {
			return answer{}, with, err
		}
		with.lastID = id
	}
	asks := q.v.Is(sqltext.AskIDs) && len(parts) > 1
	var before int64
	if asks {
		var err error
		if before, err = t.askID(ctx, "SELECT LAST_INSERT_ID(), LAST_INSERT_ID(0)"); err != nil {
			return answer{}, with, err
		}
	}
	p.at(stepFirst, parts[0].m)
	a, err := t.runPart(ctx, parts[0], q, with, rows)
	p.at(stepFirstDone, parts[0].m)
	if asks && (err == nil || outcomeOf(err) == answered) {
		id, err := t.askID(ctx, fmt.Sprintf("SELECT LAST_INSERT_ID(), LAST_INSERT_ID(%d)", uint64(before)))
		if err != nil {
			return answer{}, with, err
		}
		if id != 0 {
			return answer{}, with, t.abort(refused("the query gives NULL or zero for an id, so the server numbers that row; leave the id out, or give each row one"))
		}
	}
	if err != nil {
		return answer{}, with, t.firstFailed(ctx, parts[0], err)
	}
	if q.ids {
		if err := a.takeIDs(); err != nil {
			return answer{}, with, t.abort(err)
		}
	}
	if a.id != 0 {
		t.c.numbered = parts[0].l
	}
	if len(parts) > 1 {
		if with.insertID, err = t.nextID(ctx, q, a, with.lastID); err != nil {
			return answer{}, with, err
		}
	}
	return a, with, nil
}

// askID asks the first replica's session for LAST_INSERT_ID(), the first column of text.
func (t *orderedTxn) askID(ctx context.Context, text string) (int64, error) {
	rows, err := t.ask(ctx, text, nil)
	if err != nil {
		return 0, err
	}
	var id sql.NullInt64
	err = id.Scan(rows.sets[0].rows[0][0])
	return id.Int64, err
}

// verdict is one replica's answer to a statement that the first one executed.
type verdict struct {
	pt  *part
	a   answer
	err error
}

// others runs q on parts in parallel and waits for all.
func (t *orderedTxn) others(ctx context.Context, parts []*part, q call, with pins, rows bool) []verdict {
	out := make([]verdict, len(parts))
	inParallel(len(parts), func(i int) {
		pt := parts[i]
		t.c.p.at(stepOther, pt.m)
		a, err := t.runPart(ctx, pt, q, with, rows)
		if q.ids && err == nil {
			err = a.takeIDs()
		}
		t.c.p.at(stepOtherDone, pt.m)
		out[i] = verdict{pt, a, err}
	})
	return out
}

// inParallel calls f for 0..n-1, the last one on the caller's goroutine, and returns when all have.
func inParallel(n int, f func(int)) {
	if n == 0 {
		return
	}
	finished := make(chan struct{}, n)
	for i := range n - 1 {
		go func() {
			f(i)
			finished <- struct{}{}
		}()
	}
	f(n - 1)
	for range n - 1 {
		<-finished
	}
}

// stream runs a query on the first replica and returns its rows as they come.
func (t *orderedTxn) stream(ctx context.Context, q call) (driver.Rows, error) {
	first := t.live()[0]
	l, err := t.c.link(ctx, first.m)
	if err != nil {
		return nil, t.firstFailed(ctx, first, err)
	}
	first.l = l
	prefix := ""
	if !first.began {
		prefix = l.opening(t.begun)
	}
	prefix += l.pin(noPins)
	rows, err := l.runQuery(ctx, prefix, q)
	l.answered(err)
	if errors.Is(err, driver.ErrSkip) {
		return nil, err
	}
	first.began = true
	if err != nil {
		return nil, t.firstFailed(ctx, first, err)
	}
	t.c.last = l
	if !q.st.Locks && t.level != sql.LevelSerializable {
		return rows, nil
	}
	if all, ok := rows.(driverRows); ok {
		return &lockingRows{all, t}, nil
	}
	sets, err := readAll(rows)
	if err != nil {
		return nil, t.firstFailed(ctx, first, err)
	}
	return sets, nil
}
