package fanout

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/go-sql-driver/mysql"
)

// pairDurably runs q, the whole transaction, on two replicas in three packets: the first one executes and prepares, the other
// one executes and commits with the row that is the decision, and then the first commits. The locks of the first
// replica, which a prepared branch keeps even when everything dies, decide the order as ever.
func (t *orderedTxn) pairDurably(ctx context.Context, q call) (answer, error) {
	defer t.finish()
	first, other, p := t.parts[0], t.parts[1], t.c.p
	first.xid, other.xid = t.xid, ""
	a, with, err := t.runOnFirst(ctx, q, false)
	if err := t.goesOn(ctx, err); err != nil {
		return answer{}, err
	}
	q = t.forOthers(q, with)
	p.at(stepDecide, other.m)
	b, err := t.decideOn(ctx, other, q, with, a)
	p.at(stepDecided, other.m)
	switch {
	case t.dead != nil:
		return answer{}, err
	case err == nil:
		other.began = false
	case outcomeOf(err) != lost || unsent(err):
		if err := t.judge(ctx, q, a, []verdict{{other, answer{}, err}}); err != nil {
			_ = t.rollback()
			return answer{}, err
		}
		return a, t.finishOthers(t.parts[:1], nil) // the other one was ejected
	default:
		other.leave(t.c, err)
		if err := t.decisionLost(other, t.parts[:1], err); err != nil {
			t.again = FateOf(err) == NotApplied
			return answer{}, err
		}
	}
	if err := t.finishOthers(t.parts[:1], other.m); err != nil {
		return a, err
	}
	if other.gone == nil && !b.same(a) {
		_ = p.ejectMember(context.Background(), other.m, fmt.Sprintf("it answered %s, the first replica %s", b, a))
	}
	return a, nil
}

// holds reports whether the locks that a prepared branch keeps are enough for q. MariaDB lets go of gap locks and of shared locks then: what
// is left are the rows that q changed. These are enough where it gives its rows or names its one row by a unique key.
func (t *orderedTxn) holds(q call) bool {
	f := &q.st.Form
	given := f.Rows != nil && !f.Ignore && !q.st.Queries()
	return !t.c.p.schema.Load().MariaDB || len(t.table(q).Triggers) == 0 && (given || picks(t.table(q), q.st.Equals, q.args))
}

// decideOn executes q on pt and commits it with the row that is the decision, unless it changed another number of rows than the first replica
// did with answer first: the row's verdict would be NULL then, which the table does not take, and the server drops the COMMIT. A write that can't
// but find the same rows (exact) is not asked for their number. From here on nothing is killed.
func (t *orderedTxn) decideOn(ctx context.Context, pt *part, q call, with pins, first answer) (answer, error) {
	verdict := "1"
	if !t.c.p.exact(q, first) {
		verdict = "IF(ROW_COUNT()=" + strconv.FormatInt(first.affected, 10) + ",1,NULL)"
	}
	tail := "; COMMIT"
	q.after = 2
	if !with.clock.IsZero() {
		tail = "; " + unpin + tail
		q.after = 3
	}
	q.text += "; INSERT INTO " + commitTable + " VALUES ('" + t.xid + "', " + verdict + ")" + tail
	a, err := pt.run(context.WithoutCancel(ctx), t.c, q, t.begun, with, false)
	var me *mysql.MySQLError
	switch {
	case err == nil:
		pt.l.pinned = false
	case errors.As(err, &me) && me.Number == errNull && strings.Contains(me.Message, "verdict"):
		err = fmt.Errorf("%w, which changed %d: %w", errRows, first.affected, err)
	case errors.As(err, &me) && me.Number == errDuplicate && strings.Contains(me.Message, t.xid):
		t.again = true
		err = t.abort(&WriteError{Fate: NotApplied, Again: true, Cause: errors.New("another process took this one for dead")})
	}
	return a, err
}

// The numbers of the errors by which a decision is refused.
const (
	errNull      = 1048
	errDuplicate = 1062
)
