package fanout

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"
)

// An app process is known to the others by a row in appTable and by a named lock that it holds on every replica that it writes to. A row whose
// lock is free is a process that ended without Close: what it was writing may be on some replicas only.

// newAppID returns a random name for this group of replicas among the app processes. It is part of every branch's id, which a server
// parses four times a write, so it is short; of two that were equal, the second one would find its lock taken.
func newAppID() string {
	var b [6]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// signIn writes this process's row on the replicas in service.
func (p *group) signIn(ctx context.Context, epoch int64) error {
	return p.note(ctx, "REPLACE INTO "+appTable+" (id, mode, started_us, epoch) VALUES (?, ?, ?, ?)", p.id, string(p.cfg.Mode), p.started.UnixMicro(), epoch)
}

// note writes to the pool's own tables on the replicas in service.
func (p *group) note(ctx context.Context, text string, args ...any) error {
	var errs []error
	for _, m := range p.view.Load().readers {
		if _, err := m.admin.ExecContext(ctx, text, args...); err != nil {
			errs = append(errs, fmt.Errorf("replica %s: write to the pool's own tables: %w", m.name, err))
		}
	}
	return errors.Join(errs...)
}

// holdLocks takes this process's named lock on every replica that is written where it is not held already, and gives up that on others.
func (p *group) holdLocks(ctx context.Context) error {
	v := p.view.Load()
	errs := make([]error, len(p.members))
	inParallel(len(p.members), func(i int) {
		switch c := p.locks[i]; {
		case v.states[i] == Ejected:
			p.releaseLock(i)
		case c == nil || c.PingContext(ctx) != nil:
			p.releaseLock(i)
			errs[i] = p.takeLock(ctx, i)
		}
	})
	return errors.Join(errs...)
}

func (p *group) takeLock(ctx context.Context, i int) error {
	m := p.members[i]
	c, err := m.admin.Conn(ctx)
	if err != nil {
		return fmt.Errorf("replica %s: %w", m.name, err)
	}
	var got sql.NullInt64
	if err := c.QueryRowContext(ctx, "SELECT GET_LOCK(?, 0)", ownPrefix+p.id).Scan(&got); err != nil || got.Int64 != 1 {
		_ = c.Close()
		return fmt.Errorf("replica %s: take this process's lock: got %d, %w", m.name, got.Int64, err)
	}
	p.locks[i] = c
	return nil
}

func (p *group) releaseLock(i int) {
	if c := p.locks[i]; c != nil {
		discard(c) // with its session the lock ends
		p.locks[i] = nil
	}
}

// app is another process that uses the same replicas.
type app struct {
	id    string
	epoch int64
	dead  bool
}

// otherApps lists the other processes that the replicas in service know. Dead are those that hold their lock on none of them: one that has not
// yet followed a change holds it on some.
func (p *group) otherApps(ctx context.Context) ([]app, error) {
	members := p.view.Load().readers
	if len(members) == 0 {
		return nil, ErrNoReplica
	}
	lists, errs := make([][]app, len(members)), make([]error, len(members))
	inParallel(len(members), func(i int) { lists[i], errs[i] = p.appsOn(ctx, members[i]) })
	var all []app
	for _, a := range slices.Concat(lists...) {
		i := slices.IndexFunc(all, func(b app) bool { return b.id == a.id })
		if i < 0 {
			all = append(all, a)
			continue
		}
		all[i].epoch, all[i].dead = max(all[i].epoch, a.epoch), all[i].dead && a.dead
	}
	return all, errors.Join(errs...)
}

// appsOn lists the other processes that m knows, those as dead whose lock is not held there.
func (p *group) appsOn(ctx context.Context, m *member) ([]app, error) {
	rows, err := m.list(ctx, "SELECT id, epoch, COALESCE(IS_FREE_LOCK(CONCAT(?, id)), 1) FROM "+appTable+" WHERE id <> ?", ownPrefix, p.id)
	var list []app
	for _, row := range rows {
		epoch, _ := strconv.ParseInt(row[1], 10, 64)
		list = append(list, app{id: row[0], epoch: epoch, dead: row[2] == "1"})
	}
	return list, err
}

// forget removes a process's row.
func (p *group) forget(ctx context.Context, id string) {
	_ = p.note(ctx, "DELETE FROM "+appTable+" WHERE id = ?", id) // a row that stays is that of a dead process
}

// watchStates follows, until ctx ends, what other processes change, and tells them how far this one has followed.
func (p *group) watchStates(ctx context.Context) {
	acked := p.view.Load().epoch
	every(ctx, p.cfg.StatePoll, func() {
		p.followStates(ctx)
		actx, cancel := context.WithTimeout(ctx, p.cfg.ProbeTimeout)
		defer cancel()
		if epoch, idle := p.settled(); idle && epoch != acked && p.signIn(actx, epoch) == nil && p.keepOrder(actx) == nil {
			acked = epoch // the other processes know that this one writes by it
		}
	})
}

// followStates adopts newer states, and records an ejection that could not be recorded before.
func (p *group) followStates(ctx context.Context) {
	p.stateMu.Lock()
	defer p.stateMu.Unlock()
	v := p.view.Load()
	if p.unrecorded {
		moved, err := p.recordEverywhere(ctx, p.records, v.epoch-1)
		p.unrecorded = err != nil && !moved
	}
	p.looked.Store(p.now())
	records, epoch, err := p.newest(ctx, p.cfg.ProbeTimeout, v.readers)
	if epoch > v.epoch {
		p.adopt(records, epoch)
	}
	if numberOfError(err) == errNoTable {
		p.restore(ctx, v)
	}
	lctx, cancel := context.WithTimeout(ctx, p.cfg.ProbeTimeout)
	defer cancel()
	_ = p.holdLocks(lctx) // tried again at the next tick
}

// errNoTable is a server's error for a table that is not there.
const errNoTable = 1146

// restore makes the pool's own tables again, and records in them what this process knows: an app's initialize may drop whole databases.
func (p *group) restore(ctx context.Context, v *view) {
	for _, m := range v.readers {
		_ = m.makeOwn(ctx) // all of this is tried again at the next look
	}
	if v.epoch > 0 {
		_, _ = p.recordEverywhere(ctx, p.records, v.epoch)
	}
	_ = errors.Join(p.signIn(ctx, v.epoch), p.keepOrder(ctx))
}

// settled returns the current epoch, and whether every write that began before it has ended.
func (p *group) settled() (int64, bool) {
	p.stateMu.Lock()
	defer p.stateMu.Unlock()
	for len(p.retired) > 0 {
		select {
		case <-p.retired[0].idle:
			p.retired = p.retired[1:]
		default:
			return 0, false
		}
	}
	return p.view.Load().epoch, true
}

// unchanged: all writes use the states in v. While some use others, they execute on another replica first, and answers may differ.
func (p *group) unchanged(v *view) bool {
	ctx, cancel := context.WithTimeout(context.Background(), p.cfg.ProbeTimeout)
	defer cancel()
	p.followStates(ctx)
	idle, late, err := p.laggards(ctx)
	return p.view.Load() == v && err == nil && idle && late == ""
}

// laggards reports whether this process's writes all follow the current epoch, and names another process whose writes may not.
func (p *group) laggards(ctx context.Context) (idle bool, late string, err error) {
	epoch, idle := p.settled()
	apps, err := p.otherApps(ctx)
	for _, a := range apps {
		if !a.dead && a.epoch < epoch {
			late = a.id
		}
	}
	return idle, late, err
}

// patience is how long a process may take to follow new states before the others go on without it.
func (p *group) patience() time.Duration { return 10*p.cfg.StatePoll + 2*p.cfg.ProbeTimeout }

// follow waits, if a replica has left service with v, until every process acts by v or newer states: one that does not know yet might read old
// rows there, and write what it makes of them.
func (p *group) follow(v *view) {
	if v.followed.Load() {
		return
	}
	v.following.Lock()
	defer v.following.Unlock()
	if v.followed.Load() {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), p.patience())
	defer cancel()
	_ = p.waitForApps(ctx) // one that does not follow looks again before its next COMMIT
	v.followed.Store(true)
}

// left reports whether m is out of service, as this process has known for half of its patience at most.
func (p *group) left(m *member) bool {
	if p.now()-p.looked.Load() > int64(p.patience()/2) {
		p.followStates(context.Background())
	}
	return !p.view.Load().has(m)
}

// waitForApps returns when every write anywhere follows the current epoch: this process's and those of all others.
func (p *group) waitForApps(ctx context.Context) error {
	tick := time.NewTicker(p.cfg.StatePoll / 2)
	defer tick.Stop()
	for {
		idle, late, err := p.laggards(ctx)
		if err == nil && idle && late == "" {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for writes of earlier states to end (process %q): %w", late, errors.Join(ctx.Err(), err))
		case <-tick.C:
		}
	}
}
