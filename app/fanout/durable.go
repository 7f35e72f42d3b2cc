package fanout

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// holdBranches lets MySQL leave a prepared branch to the session that prepared it until that one ends, as MariaDB does. Its default is to
// release the branch, which takes 390 microseconds of the server's CPU for a one-row branch instead of 250, and lets less than half as many
// of them through. It stays if the account may not change it, or the server has no other way.
func (l *link) holdBranches(ctx context.Context) error {
	if l.p.branches == nil {
		return nil
	}
	_, err := l.exec.ExecContext(ctx, "SET SESSION xa_detach_on_prepare=OFF", nil)
	if numberOfError(err) != 0 {
		return nil
	}
	return err
}

// doomed are the errors of a branch that the server has marked, after a deadlock or a timeout, as to be rolled back.
var doomed = []uint16{1402, 1613, 1614}

// runPart executes a write on one replica. Where the part has a branch of an XA transaction (ModeDurable) that is in it,
// and a statement that is the whole transaction prepares it in the same packet.
func (t *orderedTxn) runPart(ctx context.Context, pt *part, q call, with pins, rows bool) (answer, error) {
	if pt.xid == "" {
		return pt.run(ctx, t.c, q, t.begun, with, rows)
	}
	id := "'" + pt.xid + "'"
	begin := strings.TrimSuffix(t.begun, plainBegin) + "XA START " + id + "; "
	if !t.alone || rows || !q.extends() {
		return pt.run(ctx, t.c, q, begin, with, rows)
	}
	reset := ""
	q.after = 2
	if !with.clock.IsZero() {
		reset = unpin + "; "
		q.after = 3
	}
	q.text += "; " + reset + "XA END " + id + "; XA PREPARE " + id
	a, err := pt.run(ctx, t.c, q, begin, with, false)
	pt.prepared = err == nil || outcomeOf(err) == lost // perhaps
	if err == nil {
		pt.l.pinned = false
	}
	return a, err
}

// commitDurably prepares the other replicas, lets the first one's COMMIT decide, and brings the others to the decision.
func (t *orderedTxn) commitDurably() error {
	if err := t.prepareOthers(); err != nil {
		return err
	}
	parts := t.live()
	first := parts[0]
	if len(parts) == 1 && !first.began {
		return nil
	}
	t.c.p.at(stepDecide, first.m)
	err := first.end(t.c, "INSERT INTO "+commitTable+" VALUES ('"+t.xid+"', 1); COMMIT")
	t.c.p.at(stepDecided, first.m)
	switch {
	case err == nil:
	case outcomeOf(err) != lost:
		t.rollbackParts(parts[1:])
		return &WriteError{Fate: NotApplied, Cause: errors.New("the first replica refused COMMIT"), Parts: []Part{{first.m.name, NotApplied, err}}}
	default:
		if werr := t.decisionLost(first, parts[1:], err); werr != nil {
			return werr
		}
	}
	return t.finishOthers(parts[1:], first.m)
}

// prepareOthers ends and prepares the other replicas' branches. A failure fails the write everywhere; a lost replica is ejected.
func (t *orderedTxn) prepareOthers() error {
	parts := t.live()[1:]
	verdicts := make([]verdict, len(parts))
	inParallel(len(parts), func(i int) {
		pt := parts[i]
		verdicts[i] = verdict{pt: pt}
		if pt.prepared || !pt.began {
			return
		}
		t.c.p.at(stepPrepare, pt.m)
		verdicts[i].err = pt.prepare()
		t.c.p.at(stepPrepared, pt.m)
	})
	ctx := context.Background()
	for _, v := range verdicts {
		if v.err == nil || outcomeOf(v.err) == lost {
			continue
		}
		if !t.v.has(v.pt.m) {
			v.pt.leave(t.c, v.err)
			t.c.p.spoil(v.pt.m, v.err)
			continue
		}
		t.rollbackParts(t.live())
		return &WriteError{Fate: NotApplied, Again: true, Cause: fmt.Errorf("replica %s could not prepare", v.pt.m.name), Parts: partsOf(verdicts)}
	}
	return t.lostParts(ctx, verdicts)
}

// prepare ends the part's branch and makes it survive a crash.
func (pt *part) prepare() error {
	id := "'" + pt.xid + "'"
	text := "XA END " + id + "; XA PREPARE " + id
	if pt.l.pinned {
		text = unpin + "; " + text
	}
	_, err := pt.l.exec.ExecContext(pt.l.begin(), text, nil)
	pt.l.end()
	// A branch whose answer was lost may be prepared: it is then an orphan.
	pt.prepared = err == nil || outcomeOf(err) == lost
	if err == nil {
		pt.l.pinned = false
	}
	return err
}

// decisionLost settles a write whose COMMIT on the replica that decides was not answered: what that one has is asked, and made
// final, over another connection; if it can't be asked, it is ejected, and the others, which are prepared, decide.
func (t *orderedTxn) decisionLost(first *part, others []*part, why error) error {
	p := t.c.p
	ctx, cancel := context.WithTimeout(context.Background(), 5*p.cfg.ProbeTimeout)
	defer cancel()
	committed, err := verdictOn(ctx, first.m, t.xid)
	switch {
	case err == nil && committed:
		return nil
	case err == nil:
		t.rollbackParts(others)
		return &WriteError{Fate: NotApplied, Again: true, Cause: fmt.Errorf("the connection to replica %s broke", first.m.name),
			Parts: []Part{{first.m.name, NotApplied, plainConn(why)}}}
	}
	eject := p.ejectMember(context.Background(), first.m, "COMMIT: "+why.Error())
	if errors.Is(eject, errLast) || len(others) == 0 {
		t.rollbackParts(others)
		return &WriteError{Fate: Unknown, Cause: errors.New("the answer to COMMIT was lost"), Parts: []Part{{first.m.name, Unknown, plainConn(why)}}}
	}
	return nil
}

// finishOthers commits the prepared branches of a write on which decider, or nil, holds the deciding row. A replica that does not confirm
// it, to a second question either, is ejected; the last one in service is tried again, and the write's fate is unknown until that succeeds.
func (t *orderedTxn) finishOthers(parts []*part, decider *member) error {
	errs := make([]error, len(parts))
	p := t.c.p
	inParallel(len(parts), func(i int) {
		m, prepared := parts[i].m, parts[i].prepared
		p.at(stepFinish, m)
		errs[i] = parts[i].end(t.c, "COMMIT")
		if prepared && outcomeOf(errs[i]) == lost && p.branches.finish(m, t.xid, false) == nil {
			errs[i] = nil
		}
		p.at(stepFinished, m)
	})
	all := true
	for i, err := range errs {
		if err == nil {
			continue
		}
		all = false
		m := parts[i].m
		if !t.v.has(m) {
			p.spoil(m, err)
			continue
		}
		if errors.Is(p.ejectMember(context.Background(), m, "XA COMMIT: "+err.Error()), errLast) && p.branches.finish(m, t.xid, true) != nil {
			return &WriteError{Fate: Unknown, Cause: errors.New("the last replica in service has prepared the write and does not answer"),
				Parts: []Part{{m.name, Unknown, plainConn(err)}}}
		}
	}
	if all && decider != nil {
		p.branches.settled(t.xid, decider)
	}
	return nil
}

// rollbackParts ends parts without effect. One that fails is closed, which rolls back.
func (t *orderedTxn) rollbackParts(parts []*part) {
	inParallel(len(parts), func(i int) { _ = parts[i].end(t.c, "ROLLBACK") })
}

// verdictOn asks m whether the transaction xid committed there, and makes sure that it never will if it has not: the row
// that its COMMIT writes is taken. It waits for a COMMIT that is under way.
func verdictOn(ctx context.Context, m *member, xid string) (committed bool, err error) {
	_, err = m.admin.ExecContext(ctx, "INSERT INTO "+commitTable+" (xid, verdict) VALUES (?, 0)", xid)
	if numberOfError(err) != errDuplicate {
		return false, err
	}
	var verdict int
	err = m.admin.QueryRowContext(ctx, "SELECT verdict FROM "+commitTable+" WHERE xid = ?", xid).Scan(&verdict)
	return verdict == 1, err
}
