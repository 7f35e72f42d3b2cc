package fanout

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// What the pool keeps in each replica's database, so that other app processes and later starts know who is in service.
// Every table of the pool's own begins with this prefix; Check and Repair leave them out.
const (
	ownPrefix   = "isukit_fanout_"
	stateTable  = ownPrefix + "replica"
	appTable    = ownPrefix + "app"
	createState = "CREATE TABLE IF NOT EXISTS " + stateTable + " (replica VARCHAR(64) NOT NULL PRIMARY KEY, state VARCHAR(16) NOT NULL, " +
		"epoch BIGINT NOT NULL, reason VARCHAR(1000) NOT NULL, since_us BIGINT NOT NULL, spoiled BIGINT NOT NULL DEFAULT 0) " +
		"ENGINE=InnoDB DEFAULT CHARSET=utf8mb4"
	createApp = "CREATE TABLE IF NOT EXISTS " + appTable + " (id VARCHAR(40) NOT NULL PRIMARY KEY, mode VARCHAR(16) NOT NULL, " +
		"started_us BIGINT NOT NULL, epoch BIGINT NOT NULL) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4"
)

// makeOwn makes the pool's own tables on m where they are missing.
func (m *member) makeOwn(ctx context.Context) error {
	for _, text := range []string{createState, createApp, createCommit} {
		if _, err := m.admin.ExecContext(ctx, text); err != nil {
			return err
		}
	}
	return nil
}

// record is one row of the state table. The rows of one epoch are written together.
type record struct {
	replica string
	state   State
	epoch   int64
	reason  string
	since   time.Time
}

// stateOn reads the state table of m. No rows means that nothing ever left service.
func stateOn(ctx context.Context, m *member) ([]record, error) {
	rows, err := m.list(ctx, "SELECT replica, state, epoch, reason, since_us FROM "+stateTable)
	var list []record
	for _, row := range rows {
		epoch, _ := strconv.ParseInt(row[2], 10, 64)
		us, _ := strconv.ParseInt(row[4], 10, 64)
		list = append(list, record{row[0], State(row[1]), epoch, row[3], time.UnixMicro(us)})
	}
	return list, err
}

// statesOn reads the state tables of from, each within limit.
func statesOn(ctx context.Context, limit time.Duration, from []*member) (lists [][]record, errs []error) {
	lists, errs = make([][]record, len(from)), make([]error, len(from))
	inParallel(len(from), func(i int) {
		mctx, cancel := context.WithTimeout(ctx, limit)
		defer cancel()
		lists[i], errs[i] = stateOn(mctx, from[i])
	})
	return lists, errs
}

func epochOf(records []record) int64 {
	var e int64
	for _, r := range records {
		e = max(e, r.epoch)
	}
	return e
}

// newest returns the given replicas' state with the highest epoch, with those in service that it does not mention.
func (p *group) newest(ctx context.Context, limit time.Duration, from []*member) ([]record, int64, error) {
	lists, errs := statesOn(ctx, limit, from)
	best := newestOf(lists) // of two with one epoch, the earlier replica's counts: the same for every process
	full := make([]record, len(p.members))
	for i, m := range p.members {
		full[i] = record{replica: m.name, state: InService}
		for _, r := range best {
			if strings.EqualFold(r.replica, m.name) {
				full[i] = r
			}
		}
	}
	return full, epochOf(best), errors.Join(errs...)
}

// adopt makes records the pool's view. The caller holds stateMu.
func (p *group) adopt(records []record, epoch int64) {
	states := make([]State, len(p.members))
	for i, r := range records {
		states[i] = r.state
	}
	p.records = records
	old, next := p.view.Load(), newView(epoch, p.members, states, p.cfg.Mode)
	next.followed.Store(old == nil || !p.keepsStates() || old.followed.Load() && !next.lacks(old))
	p.view.Store(next)
	if old != nil {
		old.retire()
		p.retired = append(p.retired, old)
	}
}

// errLast is returned for an ejection that would leave no replica in service.
var errLast = errors.New("it is the last replica in service")

// setState moves m to a state, in this process and durably on every replica that is then in service. When another process
// changed the states meanwhile, that is adopted first and decide is asked again; it reports whether to go on.
func (p *group) setState(ctx context.Context, m *member, state State, reason string, decide func(now State) bool) error {
	p.stateMu.Lock()
	defer p.stateMu.Unlock()
	for range 10 {
		v := p.view.Load()
		if !decide(v.states[m.index]) {
			return nil
		}
		if state == Ejected && len(v.readers) == 1 && v.readers[0] == m {
			return errLast
		}
		next := slices.Clone(p.records)
		next[m.index] = record{replica: m.name, state: state, reason: clip(reason, 1000), since: time.Now()}
		epoch := v.epoch + 1
		for i := range next {
			next[i].epoch = epoch
		}
		if state == Ejected {
			p.adopt(next, epoch) // immediately; then for the others
		}
		moved, err := p.recordEverywhere(ctx, next, v.epoch)
		if moved {
			records, epoch, _ := p.newest(ctx, p.cfg.ProbeTimeout, p.members)
			p.adopt(records, epoch)
			continue
		}
		if err != nil {
			p.unrecorded = state == Ejected
			return err
		}
		if state != Ejected {
			p.adopt(next, epoch)
		}
		return nil
	}
	return errors.New("the replicas' states keep changing")
}

// recordEverywhere writes records, provided that the replicas still have the epoch known; moved tells that one has a newer
// one. The ejected replicas come first, if they answer, so that two processes that eject each other's first replica meet.
// It fails when no replica in service could be written.
func (p *group) recordEverywhere(ctx context.Context, records []record, known int64) (moved bool, err error) {
	var in []*member
	for i, m := range p.members {
		if records[i].state != Ejected {
			in = append(in, m)
			continue
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), p.cfg.ProbeTimeout/3)
		err := writeState(ctx, m, records, known)
		cancel()
		if errors.Is(err, errMoved) {
			return true, nil
		}
	}
	errs := make([]error, len(in))
	inParallel(len(in), func(i int) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*p.cfg.ProbeTimeout)
		defer cancel()
		errs[i] = writeState(ctx, in[i], records, known)
	})
	written := 0
	for _, err := range errs {
		if errors.Is(err, errMoved) {
			return true, nil
		}
		if err == nil {
			written++
		}
	}
	if written == 0 {
		return false, fmt.Errorf("record the replicas' states: %w", errors.Join(errs...))
	}
	return false, nil
}

var errMoved = errors.New("the states have changed")

func writeState(ctx context.Context, m *member, records []record, known int64) error {
	tx, err := m.admin.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	var have sql.NullInt64
	if err := tx.QueryRowContext(ctx, "SELECT MAX(epoch) FROM "+stateTable+" FOR UPDATE").Scan(&have); err != nil {
		return err
	}
	if have.Int64 > known {
		return errMoved
	}
	for _, r := range records {
		_, err := tx.ExecContext(ctx, "INSERT INTO "+stateTable+" (replica, state, epoch, reason, since_us) VALUES (?, ?, ?, ?, ?) "+
			"ON DUPLICATE KEY UPDATE state = VALUES(state), epoch = VALUES(epoch), reason = VALUES(reason), since_us = VALUES(since_us)",
			r.replica, string(r.state), r.epoch, r.reason, r.since.UnixMicro())
		if err != nil {
			return err
		}
	}
	// Commit heeds no context, and a server whose disk is full answers when there is space again: all would wait for it.
	if _, err := tx.ExecContext(ctx, "COMMIT"); err != nil {
		return err
	}
	return tx.Commit() // of nothing more: it gives the connection back
}

func clip(s string, n int) string {
	if len(s) > n {
		return strings.ToValidUTF8(s[:n], "")
	}
	return s
}

// ejectMember takes m out of service because of reason. It fails if m is the last one, or if that could not be recorded; then reads and
// writes of this process leave m anyway, and the record is tried again.
func (p *group) ejectMember(ctx context.Context, m *member, reason string) error {
	if !p.keepsStates() {
		return errors.New("mode " + string(p.cfg.Mode) + " keeps no states")
	}
	ejected := false
	err := p.setState(ctx, m, Ejected, reason, func(now State) bool {
		ejected = now != Ejected
		return ejected
	})
	if ejected && !errors.Is(err, errLast) {
		p.metrics.ejections.Add(1)
		if p.cfg.OnEject != nil {
			p.cfg.OnEject(m.name, reason)
		}
	}
	return err
}

// spoil notes durably that a write failed on a replica that Admit is filling, so that Admit compares it again.
func (p *group) spoil(m *member, why error) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*p.cfg.ProbeTimeout)
	defer cancel()
	v := p.view.Load()
	if len(v.readers) > 0 {
		res, err := v.readers[0].admin.ExecContext(ctx, "UPDATE "+stateTable+" SET spoiled = spoiled + 1 WHERE replica = ? AND state <> ?",
			m.name, string(InService))
		if err == nil {
			if n, err := res.RowsAffected(); err == nil && n > 0 {
				return
			}
		}
	}
	_ = p.ejectMember(ctx, m, "while being admitted: "+why.Error())
}
