package fanout

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"
)

// plainVerbs begin the statements that give one answer, without rows.
var plainVerbs = [...]string{"UPDATE ", "INSERT ", "DELETE ", "REPLACE "}

// extends reports whether statements of the pool's own can follow q in one packet: nothing in its text could end it or hide
// what follows.
func (q call) extends() bool {
	if q.prep != nil || strings.ContainsAny(q.text, ";#") || strings.Contains(q.text, "--") {
		return false
	}
	for _, verb := range plainVerbs {
		if len(q.text) > len(verb) && strings.EqualFold(q.text[:len(verb)], verb) {
			return true
		}
	}
	return false
}

// commitsInPacket reports whether the other replica can execute q, the whole transaction, and commit it in one packet. That
// spares a packet and two hand-overs between goroutines. With two others, one could commit what the other one refuses. The
// driver must be one that gives the rows of one statement before the next one has ended, as go-sql-driver does.
func (t *orderedTxn) commitsInPacket(q call, rows bool) bool {
	return len(t.parts) == 2 && t.xid == "" && !rows && q.extends() && t.parts[1].m.streams && t.v.has(t.parts[1].m)
}

// inPacket runs q on the first replica, then on the other, which commits it in the same packet if it changed as many rows.
// When that one says that it will, COMMIT is sent to the first, so that both flush at the same time. From the second step
// on nothing is killed, since the other replica may have committed.
func (t *orderedTxn) inPacket(ctx context.Context, q call) (answer, error) {
	first, other := t.parts[0], t.parts[1]
	a, with, err := t.runOnFirst(ctx, q, false)
	if err == nil && ctx.Err() != nil {
		err = &WriteError{Fate: NotApplied, Cause: ctx.Err()}
	}
	if err != nil {
		_ = t.rollback()
		return answer{}, err
	}
	p := t.c.p
	p.at(stepOther, other.m)
	began := time.Now()
	rows, err := other.runToCommit(ctx, t.c, q, t.begun, with, a.affected)
	other.m.metrics.others.observe(time.Since(began), err)
	p.at(stepOtherDone, other.m)
	if err != nil && (outcomeOf(err) != lost || neverBegan(err)) {
		if err := t.judge(ctx, q, a, []verdict{{other, answer{}, err}}); err != nil {
			_ = t.rollback()
			return answer{}, err
		}
		return a, t.commit() // the other one was ejected
	}
	defer t.finish()
	p.at(stepCommit, first.m)
	began = time.Now()
	ferr := first.end(t.c, "COMMIT")
	first.m.metrics.commit.observe(time.Since(began), ferr)
	p.at(stepCommitted, first.m)
	if err == nil {
		err = other.committed(rows)
		other.m.metrics.commit.observe(time.Since(began), err)
	}
	p.at(stepCommitted, other.m)
	if err != nil {
		other.leave(t.c, err)
	}
	return a, t.decide(t.parts, []error{ferr, err})
}

// neverBegan reports whether err says that nothing was sent.
func neverBegan(err error) bool {
	var de *dialError
	return errors.As(err, &de)
}

// runToCommit sends q and a COMMIT in one packet, of which the server drops the rest when one statement fails, and returns
// when q has been executed and changed as many rows as affected says: the COMMIT is under way then.
func (pt *part) runToCommit(ctx context.Context, c *conn, q call, begin string, with pins, affected int64) (driver.Rows, error) {
	if pt.l == nil {
		l, err := c.link(context.WithoutCancel(ctx), pt.m)
		if err != nil {
			return nil, err
		}
		pt.l = l
	}
	tail := "; COMMIT"
	if !with.clock.IsZero() {
		tail = "; " + unpin + tail
		pt.l.pinned, pt.pinned = true, true
	}
	q.text += unlessAffected + strconv.FormatInt(affected, 10) + ",1,1000))" + tail
	rows, err := pt.l.runQuery(pt.l.begin(), begin+with.text(), q)
	if err == nil {
		var one [1]driver.Value
		if err = rows.Next(one[:]); err == nil {
			return rows, nil
		}
		_ = rows.Close()
	}
	pt.l.end()
	pt.began = outcomeOf(err) != lost
	var me *mysql.MySQLError
	if errors.As(err, &me) && me.Number == errOutOfRange && strings.Contains(strings.ToLower(me.Message), "exp(") {
		err = fmt.Errorf("it did not change %d rows, as the first replica did: %w", affected, err)
	}
	return nil, err
}

// committed waits for the answer to the COMMIT that runToCommit left under way.
func (pt *part) committed(rows driver.Rows) error {
	defer pt.l.end()
	var one [1]driver.Value
	err := rows.Next(one[:])
	if more, ok := rows.(driver.RowsNextResultSet); ok && err == io.EOF {
		err = more.NextResultSet()
	}
	if err != io.EOF {
		_ = rows.Close()
		return err
	}
	pt.l.pinned, pt.pinned = false, false
	return rows.Close()
}

// errOutOfRange is the number of the error that unlessAffected provokes.
const errOutOfRange = 1690

// unlessAffected begins a query that fails unless the statement before it changed a number of rows: e to the power of 1000
// is out of range.
const unlessAffected = "; SELECT EXP(IF(ROW_COUNT()="
