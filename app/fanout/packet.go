package fanout

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/go-sql-driver/mysql"
)

// plainVerbs begin the statements that give one answer, without rows.
var plainVerbs = [...]string{"UPDATE ", "INSERT ", "DELETE ", "REPLACE "}

// extends reports whether the pool's statements can follow q in one packet: its text could neither end it nor hide them.
func (q call) extends() bool {
	if q.prep != nil || q.large || strings.ContainsAny(q.text, ";#") || strings.Contains(q.text, "--") {
		return false
	}
	return slices.ContainsFunc(plainVerbs[:], func(verb string) bool { return len(q.text) > len(verb) && strings.EqualFold(q.text[:len(verb)], verb) })
}

// commitsInPacket reports whether the other of two replicas can get q and its conditional commit in one packet.
func (t *orderedTxn) commitsInPacket(q call) bool { return q.extends() && t.parts[1].m.streams }

// pair runs q, the whole transaction, on the first of two replicas, then on the other, which commits it, and then commits it on the first.
// From the second step on nothing is killed. The other one commits alone if it must find the rows that the first one found (exact), and
// otherwise in a packet that also checks their number; as soon as it does, COMMIT is sent to the first: both flush at the same time.
func (t *orderedTxn) pair(ctx context.Context, q call) (answer, error) {
	other := t.parts[1]
	a, with, err := t.runOnFirst(ctx, q, false)
	if err := t.goesOn(ctx, err); err != nil {
		return answer{}, err
	}
	p := t.c.p
	q = t.forOthers(q, with)
	p.at(stepOther, other.m)
	var b answer
	var rows driver.Rows // of a COMMIT that is under way
	switch {
	case p.exact(q, a):
		b, err = other.run(context.WithoutCancel(ctx), t.c, q, "", with, false)
	case t.commitsInPacket(q):
		b = a
		rows, err = other.runToCommit(ctx, t.c, q, t.begun, with, a.affected)
	default:
		return a, t.commitJudged(ctx, q, a, t.others(ctx, t.parts[1:], q, with, false))
	}
	p.at(stepOtherDone, other.m)
	if err != nil && (outcomeOf(err) != lost || unsent(err)) {
		return a, t.commitJudged(ctx, q, a, []verdict{{other, answer{}, err}})
	}
	return a, t.commitPair(err, rows, a, b)
}

// commitJudged commits what has not been committed on any replica, if the others' verdicts allow that.
func (t *orderedTxn) commitJudged(ctx context.Context, q call, a answer, verdicts []verdict) error {
	if err := t.goesOn(ctx, t.judge(ctx, q, a, verdicts)); err != nil {
		return err
	}
	return t.commit()
}

// commitPair commits on the first replica what the other one has committed, or (rows) is committing; err: its answer was lost.
func (t *orderedTxn) commitPair(err error, rows driver.Rows, a, b answer) error {
	defer t.finish()
	first, other, p := t.parts[0], t.parts[1], t.c.p
	p.at(stepCommit, first.m)
	ferr := first.end(t.c, "COMMIT")
	p.at(stepCommitted, first.m)
	switch {
	case err != nil:
	case rows != nil:
		err = other.committed(rows)
	case !b.same(a):
		err = fmt.Errorf("it answered %s, the first replica %s", b, a)
	}
	p.at(stepCommitted, other.m)
	if err != nil {
		other.leave(t.c, err)
	}
	return t.decide(t.parts, []error{ferr, err})
}

// runToCommit sends q and a COMMIT in one packet, of which the server drops the rest when one statement fails, and returns
// when q has been executed and changed as many rows as affected says: the COMMIT is under way then.
func (pt *part) runToCommit(ctx context.Context, c *conn, q call, begin string, with pins, affected int64) (driver.Rows, error) {
	if err := pt.dial(ctx, c); err != nil {
		return nil, err
	}
	tail := "; COMMIT"
	if !with.clock.IsZero() {
		tail = "; " + unpin + tail
	}
	q.text += unlessAffected + strconv.FormatInt(affected, 10) + ",1,1000))" + tail
	rows, err := pt.l.runQuery(pt.l.begin(), pt.l.opening(begin)+pt.l.pin(with), q)
	pt.l.answered(err)
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
		err = fmt.Errorf("%w, which changed %d: %w", errRows, affected, err)
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
	pt.l.pinned = false
	return rows.Close()
}

// errRows is why a write was not committed in the packet that executed it.
var errRows = errors.New("it did not change as many rows as the first replica")

// errOutOfRange is the number of the error that unlessAffected provokes.
const errOutOfRange = 1690

// unlessAffected begins a query that fails unless the statement before changed that many rows: e to the power of 1000 is out of range.
const unlessAffected = "; SELECT EXP(IF(ROW_COUNT()="
