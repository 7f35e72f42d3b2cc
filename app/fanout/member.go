package fanout

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/jmoiron/sqlx"
)

// member is one replica at run time.
type member struct {
	name      string
	index     int              // position in Config.Replicas and in conn.links
	connector driver.Connector // for the links of logical connections
	plain     *sqlx.DB         // Replica(name) and Reader()
	admin     *sql.DB          // state, kills and probes: never starved by the app's statements
	weight    int
	streams   bool         // the driver gives rows of one statement of a packet before the next one has ended
	reading   atomic.Int64 // reads running now, for LeastBusy
	shunned   atomic.Int64 // Unix nanoseconds until which reads go elsewhere
	answers   atomic.Int64 // that the app's statements got
	asking    sync.Mutex   // held by who asks whether it is dead; guards asked and gone
	asked     time.Time
	gone      bool
	lag       atomic.Int64 // nanoseconds that it last took to get what the source had, in ModeReplicated
}

// adminConns limits the pool's own connections to a replica, in addition to the app's.
const adminConns = 8

// newMember prepares the connections to a replica; session gives the SET for those that the app reads over.
func newMember(cfg Config, index int, session func() string) (*member, error) {
	r := cfg.Replicas[index]
	linkConn, plainConn, adminConn := r.Connector, r.Connector, r.Connector
	if r.Connector == nil {
		mc, err := r.mysqlConfig()
		if err != nil {
			return nil, err
		}
		mc.InterpolateParams = true // saves the round trips of prepare and close on every statement with arguments
		mc.Timeout = cfg.DialTimeout
		catchWire(mc)
		if plainConn, err = mysql.NewConnector(mc); err != nil {
			return nil, err
		}
		admin := mc.Clone()
		admin.MaxAllowedPacket = max(admin.MaxAllowedPacket, mysql.NewConfig().MaxAllowedPacket)
		admin.ParseTime, admin.Loc = false, time.UTC // what is compared and copied is never made a time of another zone
		if adminConn, err = mysql.NewConnector(admin); err != nil {
			return nil, err
		}
		mc = mc.Clone()
		mc.MultiStatements = true // BEGIN and a statement in one packet; texts of the app with ';' are refused
		mc.Logger = &mysql.NopLogger{}
		if linkConn, err = mysql.NewConnector(mc); err != nil {
			return nil, err
		}
	}
	m := &member{name: r.Name, index: index, connector: linkConn, weight: max(r.Weight, 1), streams: r.Connector == nil}
	m.plain = cfg.open(settled{plainConn, session})
	m.admin = sql.OpenDB(settled{adminConn, func() string { return adminSession }})
	m.admin.SetMaxOpenConns(adminConns)
	m.admin.SetMaxIdleConns(1)
	return m, nil
}

// close closes the connections other than links, as link.close does.
func (m *member) close() {
	_ = m.plain.Close()
	_ = m.admin.Close()
}

// shun keeps reads away from m for a while: it did not answer, but no write failed on it.
func (m *member) shun() { m.shunned.Store(time.Now().Add(time.Second).UnixNano()) }

// kill ends what thread runs on m: the query only, or the connection, too. It is bounded in time; after an error the thread is gone.
func (m *member) kill(thread int64, query bool) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	text := "KILL "
	if query {
		text = "KILL QUERY "
	}
	_, _ = m.admin.ExecContext(ctx, text+strconv.FormatInt(thread, 10))
}

// link is one connection to one replica, part of a logical connection.
type link struct {
	m      *member
	dc     driver.Conn
	exec   driver.ExecerContext
	query  driver.QueryerContext
	thread int64 // the server's id of this connection, for KILL
	pinned bool  // the session's clock stands still
	unpins bool  // the packet that is being answered lets it run

	commits, wanted commits // what ends a transaction in the session now, and after the packet that is being answered
	row             int     // transactions since anything else was run

	spent bool // to be closed: its session may not be what it should

	p       *group
	busy    atomic.Int64 // group.now of the statement that is being answered, or 0
	writes  atomic.Bool  // the last of them was a write's
	life    context.Context
	endLife context.CancelFunc // of life
	wire    *wire
}

// wire holds the network connection under a link, so that a read that waits for a dead server can be ended.
type wire struct{ nc atomic.Pointer[net.Conn] }

type wireKey struct{}

// catchWire makes a driver's dialling leave the connection in the wire of its context.
func catchWire(mc *mysql.Config) {
	dial := mc.DialFunc
	if dial == nil {
		if mc.Net != "tcp" && mc.Net != "unix" && mc.Net != "tcp6" {
			return // a dialler registered with the driver
		}
		dial = (&net.Dialer{}).DialContext
	}
	mc.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
		nc, err := dial(ctx, network, addr)
		if w, ok := ctx.Value(wireKey{}).(*wire); ok && err == nil {
			w.nc.Store(&nc)
		}
		return nc, err
	}
}

// begin notes that a write's statement is being run, and returns the context for it. Where the pool holds the network
// connection, whose end ends the statement, that context never does: for one that may end, the driver wakes a goroutine of its
// own before and after each statement, which costs as much as a short statement does.
func (l *link) begin() context.Context {
	l.writes.Store(true)
	l.busy.Store(l.p.now())
	return l.life
}

func (l *link) end() { l.busy.Store(0) }

// killSoon ends the link's session on the server, which may not know that the connection is gone.
func (l *link) killSoon() {
	if l.thread != 0 {
		l.p.background(func() { l.m.kill(l.thread, false) })
	}
}

// dialLink connects to m and prepares the session; settings are the app's SET statements so far.
func dialLink(ctx context.Context, p *group, m *member, settings []string) (*link, error) {
	ctx, cancel := context.WithTimeout(ctx, p.cfg.DialTimeout) // the driver's own timeout leaves out the login
	defer cancel()
	w := &wire{}
	dc, err := m.connector.Connect(context.WithValue(ctx, wireKey{}, w))
	if err != nil {
		return nil, &dialError{m.name, err}
	}
	l := &link{p: p, m: m, dc: dc, wire: w, commits: byItself}
	var okExec, okQuery bool
	l.exec, okExec = dc.(driver.ExecerContext)
	l.query, okQuery = dc.(driver.QueryerContext)
	if !okExec || !okQuery {
		_ = dc.Close()
		return nil, fmt.Errorf("replica %s: its driver's connections lack ExecContext or QueryContext", m.name)
	}
	if err := l.prepare(ctx, p.setup(m), settings); err != nil {
		_ = dc.Close()
		return nil, &dialError{m.name, fmt.Errorf("set up the session: %w", err)}
	}
	if err := l.holdBranches(ctx); err != nil {
		_ = dc.Close()
		return nil, &dialError{m.name, err}
	}
	l.life, l.endLife = context.Background(), func() {}
	if w.nc.Load() == nil {
		l.life, l.endLife = context.WithCancel(context.Background())
	}
	p.linksMu.Lock()
	p.links[l] = struct{}{}
	p.linksMu.Unlock()
	return l, nil
}

func (l *link) prepare(ctx context.Context, setup string, settings []string) error {
	id, err := l.ask(ctx, setup+"SELECT CONNECTION_ID()")
	if err != nil {
		return err
	}
	if l.thread, err = strconv.ParseInt(id, 10, 64); err != nil {
		return err
	}
	for _, text := range settings {
		if _, err := l.exec.ExecContext(ctx, text, nil); err != nil {
			return err
		}
	}
	return nil
}

// close ends the connection. A failed goodbye is not an error: the server was gone before.
func (l *link) close() {
	l.p.linksMu.Lock()
	delete(l.p.links, l)
	l.p.linksMu.Unlock()
	_ = l.dc.Close()
	l.endLife()
}

// pick chooses one of readers by policy, a shunned one rather than none, or nil when there is none. tried is a bit set of indexes to leave out.
func pick(readers []*member, policy ReadPolicy, tried uint64) *member {
	one := draw(readers, tried)
	if one == nil {
		return pickAny(readers, tried)
	}
	if policy == LeastBusy {
		if two := draw(readers, tried); two != nil && two.reading.Load() < one.reading.Load() {
			return two
		}
	}
	return one
}

// draw is a random one by weight, of those that are not shunned, or nil.
func draw(readers []*member, tried uint64) (drawn *member) {
	total := 0
	for _, m := range readers {
		if until := m.shunned.Load(); tried>>m.index&1 != 0 || until != 0 && until > time.Now().UnixNano() {
			continue
		}
		total += m.weight
		if total == m.weight || rand.IntN(total) < m.weight {
			drawn = m
		}
	}
	return drawn
}

func pickAny(readers []*member, tried uint64) *member {
	if i := slices.IndexFunc(readers, func(m *member) bool { return tried>>m.index&1 == 0 }); i >= 0 {
		return readers[i]
	}
	return nil
}
