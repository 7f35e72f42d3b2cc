package fanout

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"hash/maphash"
	"slices"
	"time"

	"forge.example/account/isukit/app/fanout/internal/sqltext"

	"golang.org/x/sync/semaphore"
)

// WithKeys names what the writes with this context touch, for ModeKeyed: two writes that share a key run one after the
// other, on every replica in the same order; others run at the same time. A transaction takes its keys when it begins. The
// keys must cover every row that the write reads or changes. A write without keys runs alone.
func WithKeys(ctx context.Context, keys ...string) context.Context {
	return context.WithValue(ctx, keyKeys, keys)
}

// keyStripes is how many locks the keys share; two keys on one stripe only wait for each other needlessly.
const keyStripes = 4096

// keyed is ModeKeyed.
type keyed struct {
	ordered
	all     *semaphore.Weighted // a write with keys takes 1, one without everything
	stripes [keyStripes]chan struct{}
	seed    maphash.Seed
}

func newKeyed(p *group) *keyed {
	k := &keyed{ordered: newOrdered(p), all: semaphore.NewWeighted(gateSize), seed: maphash.MakeSeed()}
	for i := range k.stripes {
		k.stripes[i] = make(chan struct{}, 1)
	}
	k.write = k.locked
	return k
}

// lock takes the locks of the context's keys, in one order, and returns what gives them back.
func (k *keyed) lock(ctx context.Context) (unlock func(), err error) {
	keys, _ := ctx.Value(keyKeys).([]string)
	if len(keys) == 0 {
		if err := k.all.Acquire(ctx, gateSize); err != nil {
			return nil, err
		}
		return func() { k.all.Release(gateSize) }, nil
	}
	if err := k.all.Acquire(ctx, 1); err != nil {
		return nil, err
	}
	stripes := make([]int, len(keys))
	for i, key := range keys {
		stripes[i] = int(maphash.String(k.seed, key) % keyStripes)
	}
	slices.Sort(stripes)
	stripes = slices.Compact(stripes)
	held := 0
	unlock = func() {
		for _, s := range stripes[:held] {
			<-k.stripes[s]
		}
		k.all.Release(1)
	}
	for _, s := range stripes {
		select {
		case k.stripes[s] <- struct{}{}:
			held++
		case <-ctx.Done():
			unlock()
			return nil, ctx.Err()
		}
	}
	return unlock, nil
}

// locked runs a write under its keys: on all replicas in parallel, or in the ordered way if they need the first one's generated id.
func (k *keyed) locked(ctx context.Context, c *conn, q call, rows bool) (answer, error) {
	unlock, err := k.lock(ctx)
	if err != nil {
		return answer{}, err
	}
	defer unlock()
	given := q.st.Form.Rows != nil && !q.st.Queries()
	if q.v.How&^(sqltext.PinClock|sqltext.OnePick) != 0 || !given && !picks(k.p.schema.Load().Tables[q.st.Form.Table], q.st.Equals, q.args) {
		return writeInOrder(ctx, c, q, rows)
	}
	return k.together(ctx, c, q, rows)
}

// together runs q, which gives its rows or names its one row by a unique key, on every replica in parallel. It is not killed when the
// caller gives up: one replica might have committed it already. If one has a lock conflict, with a query that locks, q runs there again:
// under its keys nothing has changed.
func (k *keyed) together(ctx context.Context, c *conn, q call, rows bool) (answer, error) {
	t := newOrderedTxn(c, sql.LevelDefault)
	t.alone = true
	if err := t.start(ctx, q); err != nil {
		return answer{}, err
	}
	defer t.finish()
	with := noPins
	if q.v.Is(sqltext.PinClock) {
		with.clock = time.Now()
	}
	answers := make([]answer, len(t.parts))
	errs := make([]error, len(t.parts))
	detached := context.WithoutCancel(ctx)
	inParallel(len(t.parts), func(i int) {
		for attempt := 1; attempt == 1 || outcomeOf(errs[i]) == conflict && attempt <= keyedAttempts; attempt++ {
			answers[i], errs[i] = t.parts[i].run(detached, c, q, "", with, rows)
		}
		if errors.Is(errs[i], driver.ErrBadConn) && t.parts[i].m.streams { // the driver's word for: nothing was sent, an idle link was stale
			c.drop(t.parts[i].m)
			t.parts[i].l = nil
			answers[i], errs[i] = t.parts[i].run(detached, c, q, "", with, rows)
		}
		if errs[i] != nil && outcomeOf(errs[i]) == lost {
			t.parts[i].leave(c, errs[i])
		}
	})
	return t.agree(answers, errs)
}

// keyedAttempts bounds how often one replica runs a write again after a lock conflict.
const keyedAttempts = 10

// agree settles a write that every replica committed alone, or did not: the answer of the first one in service that did is correct.
func (t *orderedTxn) agree(answers []answer, errs []error) (answer, error) {
	verdicts := make([]verdict, len(errs))
	right, open := -1, false // open: what happened somewhere is not known
	for i, pt := range t.parts {
		verdicts[i] = verdict{pt, answers[i], errs[i]}
		if right < 0 && t.v.has(pt.m) && errs[i] == nil {
			right = i
		}
		open = open || outcomeOf(errs[i]) == lost && !unsent(errs[i])
	}
	switch {
	case right >= 0:
	case open:
		return answer{}, t.decide(t.parts, errs)
	case slices.ContainsFunc(errs, unsent):
		return answer{}, &WriteError{Fate: NotApplied, Cause: errors.New("no replica executed it"), Parts: partsOf(verdicts)}
	default:
		return answer{}, errs[0] // refused everywhere
	}
	for i, v := range verdicts {
		switch {
		case v.err != nil || v.a.same(answers[right]):
		case !t.v.has(v.pt.m):
			t.joiningAnswer(v, false)
		default:
			errs[i] = fmt.Errorf("it answered %s, %s answered %s", v.a, t.parts[right].m.name, answers[right])
		}
	}
	return answers[right], t.decide(t.parts, errs)
}

// begin begins a transaction under the context's keys, in the ordered way; the keys save it waits and deadlocks.
func (k *keyed) begin(ctx context.Context, c *conn, opts driver.TxOptions) (txn, error) {
	unlock, err := k.lock(ctx)
	if err != nil {
		return nil, err
	}
	t, err := k.ordered.begin(ctx, c, opts)
	if err != nil {
		unlock()
		return nil, err
	}
	return &keyedTxn{t, unlock}, nil
}

// keyedTxn gives its keys back when it ends.
type keyedTxn struct {
	txn
	unlock func()
}

func (t *keyedTxn) commit() error {
	defer t.unlock()
	return t.txn.commit()
}

func (t *keyedTxn) rollback() error {
	defer t.unlock()
	return t.txn.rollback()
}

// still keeps this process's writes away while a range of rows is compared, where the range's locks alone would not: in
// ModeKeyed a write may be on one replica and not yet on another without holding a lock on either.
func (p *group) still(ctx context.Context) (release func(), err error) {
	k, ok := p.writes.(*keyed)
	if !ok {
		return func() {}, nil
	}
	return k.lock(context.WithValue(ctx, keyKeys, nil))
}

// mayMend fails with replication, and for an Observer next to a process in ModeKeyed, whose writes its locks would not order.
func (p *group) mayMend(ctx context.Context) error {
	if p.cfg.Mode == ModeReplicated {
		return errors.New("in mode replicated, repair a replica by setting up its replication again; rows written there directly would stop it later")
	}
	if p.cfg.Mode != ModeKeyed || !p.cfg.Observer {
		return nil
	}
	if err := p.alone(ctx); err != nil {
		return fmt.Errorf("the app must do this itself, or be stopped: %w", err)
	}
	return nil
}

// alone fails when another app process uses the replicas: its writes would not wait for this one's keys.
func (p *group) alone(ctx context.Context) error {
	apps, err := p.otherApps(ctx)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(apps, func(a app) bool { return !a.dead }) {
		return errKeyedAlone
	}
	return nil
}

var errKeyedAlone = errors.New("mode keyed supports one app process only, and another one uses these replicas; use mode ordered")
