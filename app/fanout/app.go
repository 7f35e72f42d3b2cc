package fanout

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"time"
)

// An app process is known to the others by a row in appTable and by a named lock that it holds on the first replica in
// service. A row whose lock is free is a process that ended without Close: what it was writing may be on some replicas
// only.

// newAppID returns a random name for this group of replicas among the app processes. It is part of every branch's id, which a server
// parses four times a write, so it is short; of two that were equal, the second one would find its lock taken.
func newAppID() string {
	var b [6]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// register makes this process known on the replicas in service.
func (p *group) register(ctx context.Context) error {
	v := p.view.Load()
	if err := p.signIn(ctx, v.epoch); err != nil {
		return err
	}
	return p.holdLock(ctx)
}

// signIn writes this process's row on the replicas in service.
func (p *group) signIn(ctx context.Context, epoch int64) error {
	var errs []error
	for _, m := range p.view.Load().readers {
		_, err := m.admin.ExecContext(ctx, "REPLACE INTO "+appTable+" (id, mode, started_us, epoch) VALUES (?, ?, ?, ?)",
			p.id, string(p.cfg.Mode), p.started.UnixMicro(), epoch)
		if err != nil {
			errs = append(errs, fmt.Errorf("replica %s: register this process: %w", m.name, err))
		}
	}
	return errors.Join(errs...)
}

// holdLock takes this process's named lock on the first replica in service, unless it is held there already.
func (p *group) holdLock(ctx context.Context) error {
	v := p.view.Load()
	if len(v.readers) == 0 {
		return ErrNoReplica
	}
	first := v.readers[0]
	if p.lock != nil && p.lockOn == first && p.lock.PingContext(ctx) == nil {
		return nil
	}
	p.releaseLock()
	c, err := first.admin.Conn(ctx)
	if err != nil {
		return fmt.Errorf("replica %s: %w", first.name, err)
	}
	var got sql.NullInt64
	if err := c.QueryRowContext(ctx, "SELECT GET_LOCK(?, 0)", ownPrefix+p.id).Scan(&got); err != nil || got.Int64 != 1 {
		_ = c.Close()
		return fmt.Errorf("replica %s: take this process's lock: got %d, %w", first.name, got.Int64, err)
	}
	p.lock, p.lockOn = c, first
	return nil
}

func (p *group) releaseLock() {
	if p.lock == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), p.cfg.ProbeTimeout)
	defer cancel()
	_, _ = p.lock.ExecContext(ctx, "DO RELEASE_LOCK(?)", ownPrefix+p.id)
	_ = p.lock.Close()
	p.lock, p.lockOn = nil, nil
}

// app is another process that uses the same replicas.
type app struct {
	id    string
	epoch int64
	dead  bool
}

// otherApps lists the other processes that the first replica in service knows.
func (p *group) otherApps(ctx context.Context) ([]app, error) {
	v := p.view.Load()
	if len(v.readers) == 0 {
		return nil, ErrNoReplica
	}
	return p.appsOn(ctx, v.readers[0])
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
	for _, m := range p.view.Load().readers {
		_, _ = m.admin.ExecContext(ctx, "DELETE FROM "+appTable+" WHERE id = ?", id)
	}
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
	records, epoch, err := p.newest(ctx, p.cfg.ProbeTimeout, v.readers)
	if epoch > v.epoch {
		p.adopt(records, epoch)
	}
	if numberOfError(err) == errNoTable {
		p.restore(ctx, v)
	}
	lctx, cancel := context.WithTimeout(ctx, p.cfg.ProbeTimeout)
	defer cancel()
	_ = p.holdLock(lctx) // tried again at the next tick
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

// waitForApps returns when every write anywhere follows the current epoch: this process's and those of all others.
func (p *group) waitForApps(ctx context.Context) error {
	tick := time.NewTicker(p.cfg.StatePoll / 2)
	defer tick.Stop()
	for {
		idle, late, err := p.laggards(ctx)
		if err != nil {
			return err
		}
		if idle && late == "" {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for writes of earlier states to end (process %q): %w", late, ctx.Err())
		case <-tick.C:
		}
	}
}
