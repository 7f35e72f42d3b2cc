package fanout

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jmoiron/sqlx"
	"golang.org/x/sync/semaphore"

	"forge.example/account/isukit/app/fanout/internal/sqltext"
)

// group is replicas that hold the same tables, and the logical connections to them. A Pool without Config.Groups has one.
type group struct {
	cfg     Config
	members []*member
	db      *sqlx.DB
	writes  writeMode
	texts   sqltext.Cache
	schema  atomic.Pointer[sqltext.Schema]
	packet  int // bytes that a statement may have, for every replica to take it; 0: unknown
	inline  int // bytes that the drivers put into one packet

	foundRows bool // some replica may count rows that an UPDATE found, not those that it changed
	metrics   poolMetrics

	far      sync.Map  // tables of other databases that were found to be equal
	branches *branches // of ModeDurable; else nil
	copying  *copying  // of ModeReplicated; else nil

	fixed      atomic.Pointer[string] // the SET that gives a session what the first replica has, without ';'; nil before Open knows it
	view       atomic.Pointer[view]
	gate       *semaphore.Weighted // a write takes 1, a schema change everything
	doubtUntil atomic.Int64        // Unix nanoseconds until which replicas that answer differently are ejected for it
	excluded   atomic.Pointer[exclusion]

	id        string // of this process among those that use the replicas
	xidPrefix string // of the branches of all of them
	started   time.Time

	stateMu    sync.Mutex // guards what follows
	records    []record
	retired    []*view      // former views, oldest first, until their writes have ended
	unrecorded bool         // an ejection is known to this process only
	locks      []*sql.Conn  // by member index: the session with this process's named lock there, or nil
	looked     atomic.Int64 // group.now of the last look at the states

	linksMu sync.Mutex
	links   map[*link]struct{} // every open one

	stop   context.CancelFunc // ends watchStates and watchLinks
	bgMu   sync.Mutex
	closed bool
	bg     sync.WaitGroup
}

// gateSize is more than the writes that can run at the same time.
const gateSize = 1 << 30

// openGroup connects to the replicas of cfg, which has been checked and names no groups.
func openGroup(ctx context.Context, cfg Config) (*group, error) {
	wctx, stop := context.WithCancel(context.Background())
	p := &group{cfg: cfg, links: map[*link]struct{}{}, stop: stop, gate: semaphore.NewWeighted(gateSize), id: newAppID(), started: time.Now()}
	p.xidPrefix = p.ownXID()
	p.background(func() { p.watchLinks(wctx) })
	if err := p.open(ctx); err != nil {
		_ = p.close()
		return nil, err
	}
	if p.keepsStates() && !cfg.Observer {
		p.background(func() { p.watchStates(wctx) })
	}
	if p.branches != nil && !cfg.Observer {
		p.background(func() { p.branches.watch(wctx) })
	}
	if p.copying != nil && !cfg.Observer {
		p.copying.watch(wctx)
	}
	return p, nil
}

func (p *group) open(ctx context.Context) error {
	for i := range p.cfg.Replicas {
		m, err := newMember(p.cfg, i, p.sessionText)
		if err != nil {
			return fmt.Errorf("replica %s: %w", p.cfg.Replicas[i].Name, err)
		}
		p.members = append(p.members, m)
	}
	p.locks = make([]*sql.Conn, len(p.members))
	p.schema.Store(&sqltext.Schema{Lenient: true})
	records := make([]record, len(p.members))
	for i, m := range p.members {
		records[i] = record{replica: m.name, state: InService}
	}
	p.adopt(records, 0)
	p.chooseMode()
	p.db = p.cfg.open(connector{p})
	if p.copying != nil {
		return p.copying.open(ctx)
	}
	if !p.keepsStates() {
		if p.cfg.Observer {
			return nil
		}
		var errs []error
		for _, m := range p.members {
			if err := m.plain.PingContext(ctx); err != nil {
				errs = append(errs, fmt.Errorf("replica %s: %w", m.name, err))
			}
		}
		if len(errs) > 0 {
			return errors.Join(errs...)
		}
		p.learnLimits(ctx)
		return nil
	}
	return p.join(ctx)
}

// keepsStates reports whether the mode can eject replicas.
func (p *group) keepsStates() bool {
	return p.cfg.Mode != ModeSingle && p.cfg.Mode != ModeParallel && p.cfg.Mode != ModeReplicated
}

func (p *group) chooseMode() {
	if p.cfg.Mode == ModeDurable {
		p.branches = &branches{p: p, over: map[*member][]string{}}
	}
	if p.cfg.Mode == ModeReplicated {
		p.copying = &copying{p: p}
	}
	switch {
	case p.cfg.Observer, p.cfg.Mode == ModeSingle:
		p.writes = single{p}
	case p.cfg.Mode == ModeParallel:
		p.writes = parallel{single{p}}
	case p.cfg.Mode == ModeKeyed:
		p.writes = newKeyed(p)
	case p.cfg.Mode == ModeReplicated:
		p.writes = replicated{single{p}}
	default:
		p.writes = newOrdered(p)
	}
}

// setup is the first statement of a link to m. The locks of the first replica decide the order, so another one only waits for a COMMIT in
// progress; a longer wait there is a deadlock across servers, which no server sees.
func (p *group) setup(m *member) string {
	if !p.keepsStates() {
		return ""
	}
	wait := max(time.Second, p.cfg.LockWait.Round(time.Second))
	if v := p.view.Load(); p.cfg.Mode != ModeKeyed && len(v.writers) > 0 && v.writers[0] != m {
		wait = min(wait, time.Second)
	}
	fixed := p.sessionText()
	if fixed != "" {
		fixed += "; "
	}
	return fixed + fmt.Sprintf("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ; SET SESSION innodb_lock_wait_timeout=%d%s; ", int(wait.Seconds()), keepMemory)
}

// sessionText is the SET for every connection that the app reads or writes over, or empty.
func (p *group) sessionText() string {
	if s := p.fixed.Load(); s != nil {
		return *s
	}
	return ""
}

// keepMemory lets MariaDB keep memory for a packet of statements: 5 % of such a write's cost. Others take it for a comment.
const keepMemory = "/*M! ,query_prealloc_size=65536 */"

// join reads who is in service, compares schemas and settings, cleans up after crashed processes, and registers this one.
func (p *group) join(ctx context.Context) error {
	p.stateMu.Lock()
	err := p.learnStates(ctx)
	p.stateMu.Unlock()
	if err != nil || p.cfg.Observer {
		return err
	}
	if err := p.sameSettings(ctx); err != nil {
		return err
	}
	if err := p.compareSchemas(ctx); err != nil {
		return err
	}
	p.learnLimits(ctx)
	p.stateMu.Lock()
	err = errors.Join(p.signIn(ctx, p.view.Load().epoch), p.holdLocks(ctx))
	p.stateMu.Unlock()
	if err == nil {
		err = p.sameOrder(ctx)
	}
	if err != nil {
		return err
	}
	if err := p.recover(ctx); err != nil || p.cfg.Mode != ModeKeyed {
		return err
	}
	return p.alone(ctx)
}

// learnStates adopts the newest state that any replica knows. Every replica that it calls in service must answer: one that
// does not may hold a newer state, in which those that answer were ejected.
func (p *group) learnStates(ctx context.Context) error {
	errs := make([]error, len(p.members))
	inParallel(len(p.members), func(i int) {
		if err := p.members[i].makeOwn(ctx); err != nil {
			errs[i] = fmt.Errorf("replica %s: %w", p.members[i].name, err)
		}
	})
	up := slices.DeleteFunc(slices.Clone(p.members), func(m *member) bool { return errs[m.index] != nil })
	if len(up) == 0 {
		return errors.Join(errs...)
	}
	records, epoch, err := p.newest(ctx, p.cfg.DialTimeout, up) // a server that has just started may take longer than a probe
	if err != nil {
		return err
	}
	var missing []error
	for i := range p.members {
		if records[i].state == InService && errs[i] != nil && !p.cfg.Observer {
			missing = append(missing, errs[i])
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("a replica in service does not answer, and the others may be behind it: %w", errors.Join(missing...))
	}
	p.adopt(records, epoch)
	return nil
}

// background runs f, and Close waits for it. After Close it does nothing.
func (p *group) background(f func()) {
	p.bgMu.Lock()
	defer p.bgMu.Unlock()
	if p.closed {
		return
	}
	p.bg.Add(1)
	go func() {
		defer p.bg.Done()
		f()
	}()
}

// every calls f each time that d has passed, until ctx ends.
func every(ctx context.Context, d time.Duration, f func()) {
	tick := time.NewTicker(d)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			f()
		}
	}
}

func (p *group) member(name string) *member {
	if i := slices.IndexFunc(p.members, func(m *member) bool { return m.name == name }); i >= 0 {
		return p.members[i]
	}
	return nil
}

// reader is a replica in service, or, when there is none, the first one.
func (p *group) reader() *member {
	if m := pick(p.view.Load().readers, p.cfg.Reads, 0); m != nil {
		return m
	}
	return p.members[0]
}

// close ends what runs in the background and closes every connection.
func (p *group) close() error {
	p.stop()
	p.bgMu.Lock()
	again := p.closed
	p.closed = true
	p.bgMu.Unlock()
	var err error
	if p.db != nil && !again {
		err = p.db.Close()
	}
	p.bg.Wait()
	if p.view.Load() != nil && p.keepsStates() && !p.cfg.Observer && !again {
		ctx, cancel := context.WithTimeout(context.Background(), 4*p.cfg.ProbeTimeout)
		defer cancel()
		if p.branches != nil {
			p.branches.tidy(ctx)
		}
		p.stateMu.Lock()
		p.forget(ctx, p.id) // it ended in order
		for i := range p.members {
			p.releaseLock(i)
		}
		p.stateMu.Unlock()
	}
	for _, m := range p.members {
		m.close()
	}
	return err
}
