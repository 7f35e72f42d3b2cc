package fanout

import (
	"context"
	"fmt"
	"time"
)

// recover cleans up after app processes that ended without Close: a write of theirs may be on some replicas only. It compares the replicas
// and ejects those that differ from the first one in service. It does nothing if every process ended in order.
func (p *group) recover(ctx context.Context) error {
	apps, err := p.otherApps(ctx)
	if err != nil {
		return err
	}
	var dead []string
	for _, a := range apps {
		if a.dead {
			dead = append(dead, a.id)
		}
	}
	if len(dead) == 0 {
		return nil
	}
	members := p.view.Load().readers
	if p.branches == nil {
		p.awaitStrays(ctx, members)
	} else if err := p.branches.settle(ctx, dead); err != nil { // there, a refusal is in the way of what comes late
		return fmt.Errorf("settle what a crashed process had prepared: %w", err)
	}
	report, err := p.checkMembers(ctx, members, nil)
	if err != nil {
		return fmt.Errorf("compare the replicas after a crash: %w", err)
	}
	wrong := report.wrong()
	for _, m := range members {
		if n := wrong[m.name]; n > 0 {
			if err := p.ejectMember(ctx, m, fmt.Sprintf("%d rows differ after an app process crashed", n)); err != nil {
				return fmt.Errorf("eject %s: %w", m.name, err)
			}
		}
	}
	for _, id := range dead {
		p.forget(ctx, id)
	}
	return nil
}

// strayPatience bounds the wait for sessions of dead processes.
const strayPatience = 3 * time.Second

// awaitStrays waits until the sessions of dead processes on members have ended. A server continues with a packet whose sender has died, and
// a write that commits alone could come after the comparison. Other sessions with the same account look the same, so with them it takes all
// its patience.
func (p *group) awaitStrays(ctx context.Context, members []*member) {
	ctx, cancel := context.WithTimeout(ctx, strayPatience)
	defer cancel()
	inParallel(len(members), func(i int) {
		m := members[i]
		for attempt := 1; ; attempt++ {
			var n int
			err := m.admin.QueryRowContext(ctx, "SELECT COUNT(*) FROM information_schema.processlist WHERE db = DATABASE() AND user = SUBSTRING_INDEX(USER(), '@', 1)").Scan(&n)
			if err != nil || n <= p.sessionsOn(m) || !pause(ctx, attempt) {
				return
			}
		}
	})
}

// sessionsOn is the number of this pool's connections to m.
func (p *group) sessionsOn(m *member) int {
	n := m.admin.Stats().OpenConnections + m.plain.Stats().OpenConnections
	p.linksMu.Lock()
	defer p.linksMu.Unlock()
	for l := range p.links {
		if l.m == m {
			n++
		}
	}
	return n
}

// wrong counts, by replica, the named rows that differ from the first one's, which has every acknowledged write.
func (r *CheckReport) wrong() map[string]int {
	wrong := map[string]int{}
	for _, t := range r.Tables {
		for _, d := range t.Differences {
			for name, row := range d.Rows {
				if row != d.Rows[r.Replicas[0]] {
					wrong[name]++
				}
			}
		}
	}
	return wrong
}
