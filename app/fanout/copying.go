package fanout

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// copying looks after the servers' own replication in ModeReplicated: which replicas keep up with the source.
type copying struct {
	p       *group
	dialect dialect
	strikes []atomic.Int32 // looks in a row at which a member did not answer
}

// open finds out what the servers speak, holds the replication to what the mode needs, and looks at each replica once. The
// source must answer; a replica that does not is left out. For an Observer nothing must.
func (k *copying) open(ctx context.Context) error {
	k.strikes = make([]atomic.Int32, len(k.p.members))
	k.dialect = mysqlDialect
	source := k.p.members[0]
	version, err := source.value(ctx, "SELECT VERSION()")
	if err == nil && strings.Contains(strings.ToLower(version), "mariadb") {
		k.dialect = mariadbDialect
	}
	if err == nil {
		err = k.fitSource(ctx)
	}
	if err != nil && !k.p.cfg.Observer {
		return fmt.Errorf("replica %s, the source: %w", source.name, err)
	}
	if err := k.look(ctx); err != nil && !k.p.cfg.Observer {
		return err
	}
	return nil
}

// fitSource fails when the source's binary log is not one that positions and replicas can rely on.
func (k *copying) fitSource(ctx context.Context) error {
	var format, on string
	if err := k.p.members[0].admin.QueryRowContext(ctx, k.dialect.fit).Scan(&format, &on); err != nil {
		return err
	}
	if format == "STATEMENT" || on != "1" && on != "ON" {
		return fmt.Errorf("mode replicated needs a binary log with GTIDs and row events; %s (binlog_format %s, %s)", k.dialect.needs, format, on)
	}
	return nil
}

// watch checks every member at each StatePoll until ctx ends, in parallel: a slow one must not hide another.
func (k *copying) watch(ctx context.Context) {
	for _, m := range k.p.members {
		k.p.background(func() {
			every(ctx, k.p.cfg.StatePoll, func() {
				reason, _ := k.state(ctx, m)
				if ctx.Err() == nil {
					k.note(m, reason)
				}
			})
		})
	}
}

// look is one look at every member. It fails for those that will never be read.
func (k *copying) look(ctx context.Context) error {
	faults := make([]error, len(k.p.members))
	inParallel(len(k.p.members), func(i int) {
		reason, err := k.state(ctx, k.p.members[i])
		k.note(k.p.members[i], reason)
		if errors.Is(err, errNoCopy) || outcomeOf(err) == answered { // no right to ask
			faults[i] = fmt.Errorf("replica %s: %w", k.p.members[i].name, err)
		}
	})
	return errors.Join(faults...)
}

// errNoCopy is for a replica that never will have what the source has.
var errNoCopy = errors.New("it does not replicate from the first replica, the source")

// state says why m is not to be read, or nothing. A silent member is given a second chance.
func (k *copying) state(ctx context.Context, m *member) (reason string, err error) {
	if m.index == 0 {
		_, err = k.position(ctx)
	} else {
		reason, err = k.replicaState(ctx, m)
	}
	switch {
	case errors.Is(err, errNoCopy):
		return err.Error(), err
	case err == nil:
		k.strikes[m.index].Store(0)
		return reason, nil
	case k.strikes[m.index].Add(1) < maxStrikes && k.p.view.Load().has(m):
		return "", err
	}
	return "it does not answer: " + err.Error(), err
}

// replicaState asks a replica for its threads, and, when the source answers, waits for what the source has.
func (k *copying) replicaState(ctx context.Context, m *member) (reason string, err error) {
	position, sourceErr := k.position(ctx)
	row, err := k.statusRow(ctx, m)
	if err != nil {
		return "", err
	}
	d := k.dialect
	switch {
	case row == nil:
		return "", errNoCopy
	case row[d.apply] != "Yes":
		return "its replication has stopped: " + cmp.Or(row["Last_SQL_Error"], "the applying thread does not run"), nil
	case sourceErr != nil:
		return k.kept(m), nil // nobody knows better: who could be read may still be
	case !k.fromSource(ctx, row):
		return "", errNoCopy
	}
	began := time.Now()
	ok, err := k.reached(ctx, m, position, k.p.cfg.MaxLag)
	if err != nil {
		return "", err
	}
	m.lag.Store(int64(time.Since(began)))
	switch {
	case !ok:
		return fmt.Sprintf("it is more than %v behind the source%s", k.p.cfg.MaxLag, suffix(": ", row["Last_IO_Error"])), nil
	case row[d.receive] == "No":
		return "its replication has stopped: " + cmp.Or(row["Last_IO_Error"], "the receiving thread does not run"), nil
	}
	return "", nil
}

func suffix(before, text string) string {
	if text == "" {
		return ""
	}
	return before + text
}

// kept is the reason that m is left out for at present, or nothing.
func (k *copying) kept(m *member) string {
	k.p.stateMu.Lock()
	defer k.p.stateMu.Unlock()
	return k.p.records[m.index].reason
}

// fromSource reports whether a status row names the source as the server that is copied.
func (k *copying) fromSource(ctx context.Context, row map[string]string) bool {
	ctx, cancel := context.WithTimeout(ctx, k.p.cfg.ProbeTimeout)
	defer cancel()
	id, err := k.p.members[0].value(ctx, k.dialect.sourceID)
	// A replica that has not reached its source yet does not know its id.
	return err != nil || row[k.dialect.copied] == id || row[k.dialect.copied] == "" || row[k.dialect.copied] == "0"
}

// statusRow is what the replica says of its replication, by column; nil where none is set up.
func (k *copying) statusRow(ctx context.Context, m *member) (map[string]string, error) {
	ctx, cancel := context.WithTimeout(ctx, k.p.cfg.ProbeTimeout)
	defer cancel()
	columns, list, err := texts(ctx, m.admin, k.dialect.status)
	if err != nil || len(list) == 0 {
		return nil, err
	}
	row := make(map[string]string, len(columns))
	for i, name := range columns {
		row[name] = list[0][i]
	}
	return row, nil
}

// position is what the source has executed.
func (k *copying) position(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, k.p.cfg.ProbeTimeout)
	defer cancel()
	return k.p.members[0].value(ctx, k.dialect.position)
}

// reached waits until m has executed position, for limit at most.
func (k *copying) reached(ctx context.Context, m *member, position string, limit time.Duration) (bool, error) {
	if position == "" {
		return true, nil
	}
	ctx, cancel := context.WithTimeout(ctx, limit+k.p.cfg.ProbeTimeout)
	defer cancel()
	got, err := m.value(ctx, k.dialect.wait(position, limit))
	return got == "0", err
}

// note makes reason the reason for which m is not read; nothing means that it is.
func (k *copying) note(m *member, reason string) {
	p := k.p
	state := InService
	if reason != "" {
		state = LeftOut
	}
	p.stateMu.Lock()
	defer p.stateMu.Unlock()
	old := p.records[m.index]
	if old.state == state {
		p.records[m.index].reason = reason
		return
	}
	records := slices.Clone(p.records)
	records[m.index] = record{replica: m.name, state: state, reason: reason, since: time.Now()}
	p.adopt(records, p.view.Load().epoch+1)
	p.retired = nil // no write waits for another view here
	if state == LeftOut {
		p.metrics.ejections.Add(1)
		if p.cfg.OnEject != nil {
			p.cfg.OnEject(m.name, reason)
		}
	}
}
