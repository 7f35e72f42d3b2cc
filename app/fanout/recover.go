package fanout

import (
	"context"
	"fmt"
)

// RecoverReport is what Recover found and did.
type RecoverReport struct {
	Crashed int          // app processes that had ended without Close
	Check   *CheckReport // nil when none had
	Ejected []string     // replicas that were ejected since they differed
}

// recover is Pool.Recover.
func (p *group) recover(ctx context.Context) (*RecoverReport, error) {
	report := &RecoverReport{}
	if !p.keepsStates() {
		return report, nil
	}
	apps, err := p.otherApps(ctx)
	if err != nil {
		return nil, err
	}
	var dead []string
	for _, a := range apps {
		if a.dead {
			dead = append(dead, a.id)
		}
	}
	report.Crashed = len(dead)
	if len(dead) == 0 {
		return report, nil
	}
	members := p.view.Load().readers
	if p.branches != nil {
		if err := p.branches.settle(ctx, dead); err != nil {
			return nil, fmt.Errorf("settle what a crashed process had prepared: %w", err)
		}
	}
	if report.Check, err = p.checkMembers(ctx, members, nil); err != nil {
		return nil, fmt.Errorf("compare the replicas after a crash: %w", err)
	}
	wrong := report.Check.wrong()
	for _, m := range members {
		if n := wrong[m.name]; n > 0 {
			if err := p.ejectMember(ctx, m, fmt.Sprintf("%d rows differ after an app process crashed", n)); err != nil {
				return nil, fmt.Errorf("eject %s: %w", m.name, err)
			}
			report.Ejected = append(report.Ejected, m.name)
		}
	}
	for _, id := range dead {
		p.forget(ctx, id)
	}
	return report, nil
}

// wrong counts, by replica, the named rows that are not what most replicas, or else the first one, have.
func (r *CheckReport) wrong() map[string]int {
	wrong := map[string]int{}
	for _, t := range r.Tables {
		for _, d := range t.Differences {
			votes := map[string]int{}
			for _, row := range d.Rows {
				votes[row]++
			}
			right := d.Rows[r.Replicas[0]]
			for row, n := range votes {
				if 2*n > len(d.Rows) {
					right = row
				}
			}
			for name, row := range d.Rows {
				if row != right {
					wrong[name]++
				}
			}
		}
	}
	return wrong
}
