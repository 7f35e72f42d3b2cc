package fanout

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// firstFailed settles what the first replica's error means for the transaction and returns what the caller gets.
func (t *orderedTxn) firstFailed(ctx context.Context, first *part, err error) error {
	if gaveUp := ctx.Err(); gaveUp != nil {
		if outcomeOf(err) == lost {
			first.leave(t.c, err)
		}
		return t.abort(&WriteError{Fate: NotApplied, Cause: gaveUp, Parts: []Part{{first.m.name, NotApplied, plainConn(err)}}})
	}
	switch outcomeOf(err) {
	case answered:
		if t.alone || onlyStatement(err) {
			return err // the statement had no effect, the transaction goes on
		}
		return t.abort(err)
	case conflict:
		return t.abort(err)
	case broken:
		t.again = t.eject(first, err)
	default:
		t.again = true
		first.leave(t.c, err)
		if first.m.dead(ctx, t.c.p.cfg.ProbeTimeout) {
			t.again = t.eject(first, err)
		}
	}
	return t.abort(&WriteError{Fate: NotApplied, Again: t.again, Cause: fmt.Errorf("replica %s failed: %w", first.m.name, err),
		Parts: []Part{{first.m.name, NotApplied, plainConn(err)}}})
}

// eject takes the part's replica out of service and the part out of the transaction. It reports whether others are left.
func (t *orderedTxn) eject(pt *part, why error) bool {
	err := t.c.p.ejectMember(context.Background(), pt.m, why.Error())
	pt.leave(t.c, why)
	return err == nil
}

// abort rolls back everywhere and makes err the answer to everything that follows in the transaction.
func (t *orderedTxn) abort(err error) error {
	_ = t.rollback()
	t.dead = err
	return err
}

// judge compares the others' verdicts with the first replica's answer. It returns nil when the transaction goes on.
func (t *orderedTxn) judge(ctx context.Context, q call, a answer, verdicts []verdict) error {
	if err := ctx.Err(); err != nil {
		return t.abort(&WriteError{Fate: NotApplied, Cause: err, Parts: partsOf(verdicts)})
	}
	for _, v := range verdicts {
		if t.v.has(v.pt.m) && (outcomeOf(v.err) == conflict || q.collides(v.err)) {
			cause := fmt.Errorf("lock conflict on replica %s", v.pt.m.name)
			if q.collides(v.err) {
				cause = rolledBack("replica " + v.pt.m.name + " tried a number that is taken for a row; run the transaction again")
			}
			t.again = t.alone
			t.c.p.metrics.conflicts.Add(1)
			return t.abort(&WriteError{Fate: NotApplied, Cause: cause, Parts: partsOf(verdicts)})
		}
	}
	if err := t.lostParts(ctx, verdicts); err != nil {
		return err
	}
	var differ []verdict
	for _, v := range verdicts {
		switch {
		case v.pt.gone != nil:
		case !t.v.has(v.pt.m):
			t.joiningAnswer(v, v.err == nil && v.a.same(a))
		case v.err != nil || !v.a.same(a):
			differ = append(differ, v)
		}
	}
	if len(differ) == 0 {
		return nil
	}
	if t.loose || !t.sure() || !t.c.p.unchanged(t.v) {
		return t.doubt()
	}
	return t.settle(a, verdicts, differ)
}

// sure reports whether replicas have answered differently a moment ago as well.
func (t *orderedTxn) sure() bool {
	if t.alone {
		return t.differed
	}
	until := t.c.p.doubtUntil.Load()
	return until != 0 && time.Now().UnixNano() < until
}

// doubt rolls back after the first different answers: a replica should be wrong, but it is ejected only after a repetition.
func (t *orderedTxn) doubt() error {
	if !t.alone {
		t.c.p.doubtUntil.Store(time.Now().Add(time.Second).UnixNano())
	}
	t.again, t.doubted = true, true
	t.c.p.metrics.differences.Add(1)
	return t.abort(rolledBack("replicas answered differently; rolled back everywhere, run the transaction again"))
}

// lostParts deals with replicas whose connection failed while the first one executed the statement: one that answers
// again means that the transaction is rolled back; one that does not is ejected, and the transaction goes on.
func (t *orderedTxn) lostParts(ctx context.Context, verdicts []verdict) error {
	for _, v := range verdicts {
		if outcomeOf(v.err) != lost {
			continue
		}
		v.pt.leave(t.c, v.err)
		if !v.pt.m.dead(ctx, t.c.p.cfg.ProbeTimeout) {
			if !t.v.has(v.pt.m) {
				t.c.p.spoil(v.pt.m, v.err)
				continue
			}
			t.again = true
			return t.abort(&WriteError{Fate: NotApplied, Again: true, Cause: fmt.Errorf("the connection to replica %s broke", v.pt.m.name), Parts: partsOf(verdicts)})
		}
		if !t.eject(v.pt, v.err) {
			return t.abort(&WriteError{Fate: NotApplied, Cause: fmt.Errorf("replica %s failed and could not be ejected: %w", v.pt.m.name, v.err), Parts: partsOf(verdicts)})
		}
	}
	return nil
}

// joiningAnswer takes note of what a replica said that Admit is filling.
func (t *orderedTxn) joiningAnswer(v verdict, same bool) {
	if same {
		return
	}
	if t.v.states[v.pt.m.index] == Verifying {
		why := v.err
		if why == nil {
			why = errors.New("its answer to a write differed")
		}
		t.c.p.spoil(v.pt.m, why)
	}
	if outcomeOf(v.err) == conflict {
		v.pt.leave(t.c, v.err) // rolled back there: what it misses, Admit copies
	}
}

// settle ejects the replicas that differ under gap locks, where no other transaction can be the reason. The first replica executed the
// statement before them, so it is correct, even if all others agree against it.
func (t *orderedTxn) settle(a answer, verdicts, differ []verdict) error {
	for _, v := range differ {
		why := v.err
		if !errors.Is(why, errRows) && slices.Contains(planErrors, numberOfError(why)) {
			return t.abort(&WriteError{Fate: NotApplied, Parts: partsOf(verdicts),
				Cause: fmt.Errorf("replica %s met a value that the statement can't be computed with, and the first one did not: it may have read rows in another way: %w", v.pt.m.name, why)})
		}
		if why == nil {
			why = fmt.Errorf("it answered %s, the first replica %s", v.a, a)
		}
		if !t.eject(v.pt, why) {
			return t.abort(&WriteError{Fate: NotApplied, Cause: fmt.Errorf("replica %s differed and could not be ejected: %w", v.pt.m.name, why), Parts: partsOf(verdicts)})
		}
	}
	return nil
}

// planErrors may come from a row that a statement only looks at: which rows these are, and in which order conditions are evaluated, is each
// server's choice. Two healthy replicas may differ in it, so nobody is ejected for it.
// They are wrong values for a comparison, divisions by zero, overflows, regular expressions, a subquery with several rows, and JSON.
var planErrors = []uint16{1139, 1242, 1292, 1365, 1411, 1441, 1690, 3140, 3141, 3143, 3144, 3146, 3147, 3156, 3157, 3685, 3692, 3699, 4037, 4038}

// String is what the answer said, for reasons of ejections.
func (a answer) String() string {
	return fmt.Sprintf("%d rows affected, id %d, %d rows returned", a.affected, a.id, a.rows.count())
}

func partsOf(verdicts []verdict) []Part {
	list := make([]Part, len(verdicts))
	for i, v := range verdicts {
		list[i] = Part{v.pt.m.name, NotApplied, plainConn(v.err)}
	}
	return list
}

// rollback ends the transaction everywhere without effect.
func (t *orderedTxn) rollback() error {
	if t.v == nil {
		return nil
	}
	defer t.finish()
	t.rollbackParts(t.live())
	return nil
}

// commit commits everywhere in parallel: all have executed every statement, so only a lost server or connection can prevent it.
func (t *orderedTxn) commit() error {
	if t.dead != nil {
		return t.dead
	}
	if t.v == nil {
		return nil
	}
	if t.lost != nil {
		return t.abort(t.lost)
	}
	if err := t.decided(); err != nil {
		return t.abort(err)
	}
	defer t.finish()
	if t.xid != "" {
		return t.commitDurably()
	}
	parts := t.live()
	errs := make([]error, len(parts))
	inParallel(len(parts), func(i int) {
		t.c.p.at(stepCommit, parts[i].m)
		errs[i] = parts[i].end(t.c, "COMMIT")
		t.c.p.at(stepCommitted, parts[i].m)
	})
	return t.decide(parts, errs)
}

// decide settles the fate of a write from what the replicas answered to COMMIT.
func (t *orderedTxn) decide(parts []*part, errs []error) error {
	var committed, refusedBy, unsure int
	for i, err := range errs {
		switch {
		case !t.v.has(parts[i].m):
			if err != nil {
				t.c.p.spoil(parts[i].m, err)
			}
		case err == nil:
			committed++
		case outcomeOf(err) == lost:
			unsure++
		default:
			refusedBy++
		}
	}
	switch {
	case refusedBy+unsure == 0:
		return nil
	case committed > 0:
		return t.keep(parts, errs, func(err error) bool { return err == nil }, Applied)
	case refusedBy > 0:
		return t.keep(parts, errs, func(err error) bool { return outcomeOf(err) != lost }, NotApplied)
	}
	return t.c.p.unsureAll(parts, errs)
}

// keep ejects the replicas whose COMMIT did not end as good says. When one of them turns out to be the last in service,
// since the good ones were ejected for another write meanwhile, then what became of the write there is its fate.
func (t *orderedTxn) keep(parts []*part, errs []error, good func(error) bool, fate Fate) error {
	we := &WriteError{Fate: fate, Cause: errors.New("the replicas did not all commit")}
	recorded := true
	for i, pt := range parts {
		pf := Applied
		switch {
		case outcomeOf(errs[i]) == lost:
			pf = Unknown
		case errs[i] != nil:
			pf = NotApplied
		}
		we.Parts = append(we.Parts, Part{pt.m.name, pf, plainConn(errs[i])})
		if !t.v.has(pt.m) || good(errs[i]) {
			continue
		}
		switch err := t.c.p.ejectMember(context.Background(), pt.m, "COMMIT: "+errs[i].Error()); {
		case errors.Is(err, errLast):
			we.Fate = pf
		case err != nil:
			recorded = false
		}
	}
	if we.Fate == Applied && recorded {
		return nil
	}
	return we
}

// unsureAll is for a write whose commit no replica confirmed, and no client knows: the first is correct, the others leave service.
func (p *group) unsureAll(parts []*part, errs []error) error {
	we := &WriteError{Fate: Unknown, Cause: errors.New("no replica answered the COMMIT")}
	v := p.view.Load()
	for i, pt := range parts {
		we.Parts = append(we.Parts, Part{pt.m.name, Unknown, plainConn(errs[i])})
		if i > 0 && v.has(pt.m) {
			_ = p.ejectMember(context.Background(), pt.m, "no replica answered a COMMIT: "+errs[i].Error())
		}
	}
	return we
}
