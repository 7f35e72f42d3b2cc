package fanout

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
)

const (
	commitTable  = ownPrefix + "commit"
	createCommit = "CREATE TABLE IF NOT EXISTS " + commitTable + " (xid VARCHAR(64) NOT NULL PRIMARY KEY, verdict TINYINT NOT NULL) " +
		"ENGINE=InnoDB DEFAULT CHARSET=ascii COLLATE=ascii_bin"
	xidPrefix = "isk-"
)

// ownXID begins the ids of the branches of pools over the same databases: a server lists those of all its databases. It is
// made of the first replica's database, which has one name for all app processes.
func (p *group) ownXID() string {
	name := ""
	if cfg, err := p.cfg.Replicas[0].mysqlConfig(); err == nil && cfg != nil {
		name = cfg.DBName
	}
	h := fnv.New32a()
	_, _ = h.Write([]byte(strings.ToLower(name)))
	return fmt.Sprintf("%s%08x-", xidPrefix, h.Sum32())
}

// branches keeps account of the XA transactions of this process, and settles those that were left prepared.
type branches struct {
	p   *group
	seq atomic.Int64

	mu      sync.Mutex
	orphans []orphan             // prepared branches that nobody ended
	over    map[*member][]string // transactions whose decision, on this replica, nobody needs any more
	gone    []string             // dead processes that were settled here
}

type orphan struct {
	m      *member
	xid    string
	commit bool // the decision
}

// next is a new transaction's id: the process and a number.
func (b *branches) next() string {
	return b.p.xidPrefix + b.p.id + "-" + strconv.FormatInt(b.seq.Add(1), 36)
}

// processOf is the process that made xid, or empty when it is not one of a pool's over these databases.
func (p *group) processOf(xid string) string {
	rest, ok := strings.CutPrefix(xid, p.xidPrefix)
	if !ok {
		return ""
	}
	id, _, _ := strings.Cut(rest, "-")
	return id
}

func (b *branches) orphan(m *member, xid string, commit bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.orphans = append(b.orphans, orphan{m, xid, commit})
}

// finish commits a prepared branch on m over another connection, for some seconds if it insists.
func (b *branches) finish(m *member, xid string, insist bool) error {
	limit := b.p.cfg.ProbeTimeout
	if insist {
		limit *= 5
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	for attempt := 1; ; attempt++ {
		err := b.p.endBranch(ctx, m, xid, true)
		if err == nil || !insist || !pause(ctx, attempt) {
			return err
		}
	}
}

// settled notes that every replica has followed the decision on xid, which is on m.
func (b *branches) settled(xid string, m *member) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.over[m] = append(b.over[m], xid)
}

// inDoubt is the number of prepared branches that this process has left behind.
func (b *branches) inDoubt() int {
	if b == nil {
		return 0
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.orphans)
}

// tidy ends this process's orphans as decided, and forgets decisions that are followed everywhere.
func (b *branches) tidy(ctx context.Context) {
	b.mu.Lock()
	orphans, over := b.orphans, b.over
	b.orphans, b.over = nil, map[*member][]string{}
	b.mu.Unlock()
	for _, o := range orphans {
		octx, cancel := context.WithTimeout(ctx, b.p.cfg.ProbeTimeout)
		if err := b.p.endBranch(octx, o.m, o.xid, o.commit); err != nil {
			b.mu.Lock()
			b.orphans = append(b.orphans, o)
			b.mu.Unlock()
		}
		cancel()
	}
	for m, xids := range over {
		for some := range slices.Chunk(xids, 500) {
			_, _ = m.admin.ExecContext(ctx, "DELETE FROM "+commitTable+" WHERE xid IN ('"+strings.Join(some, "','")+"')") // one that stays costs a row
		}
	}
}

// end brings a dead process's branch on m to the decision that the replicas in service know.
func (b *branches) end(ctx context.Context, m *member, xid string) error {
	commit := false
	for _, r := range b.p.view.Load().readers {
		if r == m {
			continue
		}
		committed, err := verdictOn(ctx, r, xid)
		if err != nil {
			return err
		}
		commit = commit || committed
	}
	return b.p.endBranch(ctx, m, xid, commit)
}

// endAttempts bounds how often a branch is to be ended that its session has not yet let go: about 3 s.
const endAttempts = 100

// endBranch ends a prepared branch over a connection of its own. While its session is ending, a server denies it but still lists it.
func (p *group) endBranch(ctx context.Context, m *member, xid string, commit bool) error {
	text := "XA ROLLBACK '"
	if commit {
		text = "XA COMMIT '"
	}
	for attempt := 1; ; attempt++ {
		_, err := m.admin.ExecContext(ctx, text+xid+"'")
		if numberOfError(err) != 1397 {
			return err
		}
		list, lerr := p.prepared(ctx, m)
		if lerr == nil && !slices.Contains(list, xid) {
			return nil // it never was prepared, or has ended
		}
		if attempt == endAttempts || !pause(ctx, attempt) {
			return errors.Join(err, lerr)
		}
	}
}

// prepared lists the branches of pools over these databases that are prepared on m.
func (p *group) prepared(ctx context.Context, m *member) ([]string, error) {
	rows, err := m.list(ctx, "XA RECOVER") // format, lengths of two parts, and both
	var list []string
	for _, row := range rows {
		if p.processOf(row[3]) != "" {
			list = append(list, row[3])
		}
	}
	return list, err
}

// settle ends what the dead processes had prepared on the replicas in service, and forgets their decisions. Refusals stay: a packet that
// would commit may still wait for a lock on its server.
func (b *branches) settle(ctx context.Context, dead []string) error {
	if err := b.endAll(ctx, dead); err != nil {
		return err
	}
	b.mu.Lock()
	b.gone = append(b.gone, dead...)
	b.mu.Unlock()
	for _, id := range dead {
		if err := b.p.note(ctx, "DELETE FROM "+commitTable+" WHERE verdict = 1 AND xid LIKE ?", b.p.xidPrefix+id+"-%"); err != nil {
			return err
		}
	}
	return nil
}

// dropBranches rolls back every pool's branch on a replica that is about to be made equal to another one anyway.
func (p *group) dropBranches(ctx context.Context, m *member) error {
	xids, err := p.prepared(ctx, m)
	if err != nil {
		return nil // without the right to ask, there was no ModeDurable either
	}
	for _, xid := range xids {
		if err := p.endBranch(ctx, m, xid, false); err != nil {
			return fmt.Errorf("replica %s: roll back %s: %w", m.name, xid, err)
		}
	}
	return nil
}

// endStrays ends branches of processes that this one has settled: a server may prepare one after that, since it goes on with
// a packet whose sender has died.
func (b *branches) endStrays(ctx context.Context) {
	b.mu.Lock()
	gone := slices.Clone(b.gone)
	b.mu.Unlock()
	if len(gone) > 0 {
		_ = b.endAll(ctx, gone) // tried again at the next call
	}
}

// endAll ends what these processes have prepared on the replicas in service.
func (b *branches) endAll(ctx context.Context, ids []string) error {
	var errs []error
	for _, m := range b.p.view.Load().readers {
		xids, err := b.p.prepared(ctx, m)
		errs = append(errs, err)
		for _, xid := range xids {
			if slices.Contains(ids, b.p.processOf(xid)) {
				if err := b.end(ctx, m, xid); err != nil {
					errs = append(errs, fmt.Errorf("replica %s: end %s: %w", m.name, xid, err))
				}
			}
		}
	}
	return errors.Join(errs...)
}

// watch tidies up, and settles what other processes left when they died, until ctx ends.
func (b *branches) watch(ctx context.Context) {
	every(ctx, 5*b.p.cfg.StatePoll, func() {
		b.tidy(ctx)
		b.endStrays(ctx)
		apps, _ := b.p.otherApps(ctx) // asked again at the next call
		for _, a := range apps {
			if a.dead && b.settle(ctx, []string{a.id}) == nil {
				b.p.forget(ctx, a.id)
			}
		}
	})
}
