package fanout

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// ReplicaStatus is how one replica stands.
type ReplicaStatus struct {
	Name   string
	State  State
	Reason string    // why it was ejected
	Since  time.Time // when it came to this state; zero when it never changed
	Err    error     // nil when it answers
	// Lag is how long the replica last took, when it was asked, to get what the source had (ModeReplicated).
	Lag time.Duration
}

// Status is how the pool stands.
type Status struct {
	Mode     Mode
	Epoch    int64 // grows with every change of a replica's state
	Replicas []ReplicaStatus
	Apps     int // other app processes that use the replicas now; -1 when the first replica did not tell
}

func (p *group) status(ctx context.Context) (Status, error) {
	if p.copying != nil && p.cfg.Observer {
		_ = p.copying.look(ctx)
	}
	p.stateMu.Lock()
	records, epoch := slices.Clone(p.records), p.view.Load().epoch
	p.stateMu.Unlock()
	s := Status{Mode: p.cfg.Mode, Epoch: epoch, Replicas: make([]ReplicaStatus, len(p.members))}
	inParallel(len(p.members), func(i int) {
		pctx, cancel := context.WithTimeout(ctx, p.cfg.ProbeTimeout)
		defer cancel()
		r := records[i]
		s.Replicas[i] = ReplicaStatus{Name: r.replica, State: r.state, Reason: r.reason, Since: r.since,
			Err: p.members[i].admin.PingContext(pctx), Lag: time.Duration(p.members[i].lag.Load())}
	})
	if !p.keepsStates() {
		return s, nil
	}
	apps, err := p.otherApps(ctx)
	if err != nil {
		s.Apps = -1
	}
	for _, a := range apps {
		if !a.dead {
			s.Apps++
		}
	}
	return s, nil
}

// admitPasses bounds how often Admit compares a replica whose writes keep failing.
const admitPasses = 20

// admitMember is Pool.Admit.
func (p *group) admitMember(ctx context.Context, m *member) (*RepairReport, error) {
	name := m.name
	if err := p.mayMend(ctx); err != nil {
		return nil, fmt.Errorf("admit %s: %w", name, err)
	}
	if !p.keepsStates() {
		return nil, fmt.Errorf("admit %s: mode %s keeps no states", name, p.cfg.Mode)
	}
	p.followStates(ctx) // another process may have ejected it a moment ago
	v := p.view.Load()
	if v.states[m.index] == InService {
		return nil, fmt.Errorf("replica %s is in service", name)
	}
	if len(v.readers) == 0 {
		return nil, ErrNoReplica
	}
	if err := p.gate.Acquire(ctx, 1); err != nil { // no schema change meanwhile
		return nil, err
	}
	defer p.gate.Release(1)
	report, err := p.admit(ctx, m, v.readers[0])
	if err != nil {
		_ = p.ejectMember(context.WithoutCancel(ctx), m, "admission failed: "+err.Error())
		return report, fmt.Errorf("admit %s: %w", name, err)
	}
	return report, nil
}

func (p *group) admit(ctx context.Context, m, source *member) (*RepairReport, error) {
	if err := m.makeOwn(ctx); err != nil {
		return nil, err
	}
	if err := p.dropBranches(ctx, m); err != nil {
		return nil, err
	}
	if err := copySchema(ctx, source, m); err != nil {
		return nil, err
	}
	both := []*member{source, m} // with their views, routines and events
	if _, err := compareSettings(ctx, both); err != nil {
		return nil, err
	}
	if _, err := compareDatabases(ctx, both); err != nil {
		return nil, err
	}
	if err := p.moveTo(ctx, m, Copying); err != nil {
		return nil, err
	}
	d := &mender{p: p, members: []*member{source, m}, verb: "REPLACE", right: func(*lockedRange, string) int { return 0 }}
	if err := d.tables(ctx, nil); err != nil {
		return nil, err
	}
	if err := p.moveTo(ctx, m, Verifying); err != nil {
		return nil, err
	}
	for range admitPasses {
		epoch := p.view.Load().epoch
		before, err := p.spoiled(ctx, source, m)
		if err != nil {
			return nil, err
		}
		mendedBefore := d.rows
		if err := d.tables(ctx, nil); err != nil {
			return nil, err
		}
		if d.rows != mendedBefore {
			continue
		}
		err = p.enter(ctx, m, source, epoch, before)
		if errors.Is(err, errSpoiled) {
			continue
		}
		return &RepairReport{Mended: d.report()}, err
	}
	return nil, fmt.Errorf("writes kept failing there during %d passes", admitPasses)
}

// moveTo changes m's state and waits until every app process writes by it.
func (p *group) moveTo(ctx context.Context, m *member, s State) error {
	if err := p.setState(ctx, m, s, "", func(State) bool { return true }); err != nil {
		return err
	}
	wctx, cancel := context.WithTimeout(ctx, p.cfg.WriteTimeout)
	defer cancel()
	return p.waitForApps(wctx)
}

var errSpoiled = errors.New("a write failed on the replica meanwhile")

// spoiled counts the writes that failed on m while it was being admitted, as the replica first knows them.
func (p *group) spoiled(ctx context.Context, first, m *member) (int64, error) {
	var n int64
	err := first.admin.QueryRowContext(ctx, "SELECT COALESCE(SUM(spoiled), 0) FROM "+stateTable+" WHERE replica = ?", m.name).Scan(&n)
	return n, err
}

// enter puts m into service unless a write failed there, or states changed, since epoch and before were read. A write that
// fails after it ejects m.
func (p *group) enter(ctx context.Context, m, first *member, epoch, before int64) error {
	stale := false
	err := p.setState(ctx, m, InService, "", func(State) bool {
		now, err := p.spoiled(ctx, first, m)
		stale = err != nil || now != before || p.view.Load().epoch != epoch
		return !stale
	})
	if err == nil && stale {
		if p.view.Load().states[m.index] != Verifying {
			return errors.New("it was ejected meanwhile")
		}
		return errSpoiled
	}
	if err != nil {
		return err
	}
	// Between the count and the change, another process may have failed a write on m.
	if now, err := p.spoiled(ctx, first, m); err != nil || now != before {
		return errors.Join(errors.New("a write failed there at the last moment"), err)
	}
	return nil
}

// copySchema makes m's tables those of source: missing ones are created, others dropped, differing ones recreated, empty.
func copySchema(ctx context.Context, source, m *member) error {
	want, err := describe(ctx, source)
	if err != nil {
		return err
	}
	have, err := describe(ctx, m)
	if err != nil {
		return err
	}
	c, err := m.admin.Conn(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	if _, err := c.ExecContext(ctx, "SET SESSION foreign_key_checks=0"); err != nil {
		return err
	}
	defer c.ExecContext(context.WithoutCancel(ctx), "SET SESSION foreign_key_checks=DEFAULT")
	for name := range have {
		if !slices.Equal(want[name], have[name]) {
			if _, err := c.ExecContext(ctx, "DROP TABLE IF EXISTS "+quoteName(name)); err != nil {
				return err
			}
		}
	}
	for name := range want {
		if slices.Equal(want[name], have[name]) {
			continue
		}
		create, err := showCreate(ctx, source, name)
		if err != nil {
			return err
		}
		if _, err := c.ExecContext(ctx, create); err != nil {
			return fmt.Errorf("replica %s: %w", m.name, err)
		}
	}
	if have, err = describe(ctx, m); err != nil {
		return err
	}
	if diff := schemaDiff(source.name, want, m.name, have); len(diff) > 0 {
		return fmt.Errorf("%w, and copying tables did not repair it: %s", ErrSchema, strings.Join(diff, "; "))
	}
	return nil
}
