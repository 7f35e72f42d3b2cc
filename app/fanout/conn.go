package fanout

import (
	"cmp"
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"slices"
	"strings"

	"forge.example/account/isukit/app/fanout/internal/sqltext"
)

// connector makes the logical connections of a Pool for database/sql.
type connector struct{ p *group }

// Connect dials one replica, so that an unreachable set of replicas is an error here; the others when they are first needed.
func (k connector) Connect(ctx context.Context) (driver.Conn, error) {
	c := &conn{p: k.p, links: make([]*link, len(k.p.members))}
	var errs []error
	for _, m := range k.p.view.Load().readers {
		_, err := c.link(ctx, m)
		if err == nil {
			return c, nil
		}
		errs = append(errs, err)
	}
	return nil, cmp.Or(errors.Join(errs...), ErrNoReplica)
}

func (k connector) Driver() driver.Driver { return noDriver{} }

// neverCalled are methods that driver.Conn requires; database/sql prefers those with a context.
type neverCalled struct{}

func (neverCalled) Begin() (driver.Tx, error) { return nil, errors.New("fanout: use BeginTx") }
func (neverCalled) Prepare(string) (driver.Stmt, error) {
	return nil, errors.New("fanout: use PrepareContext")
}

// noDriver exists for sql.DB.Driver; a Pool is made by Open.
type noDriver struct{}

func (noDriver) Open(string) (driver.Conn, error) {
	return nil, errors.New("fanout: a pool is opened with fanout.Open")
}

// conn is a logical connection: at most one link to each replica. Like every driver.Conn it is used by one goroutine at a time; a write
// uses its links in parallel, but never one link twice at the same time.
type conn struct {
	neverCalled
	p        *group
	links    []*link  // by member index; nil until needed
	settings []string // the app's SET statements, for links dialled later
	tx       txn      // the open transaction, or nil

	last     *link      // where the statement before ran, if that was a query
	numbered *link      // whose session has the LAST_INSERT_ID() of what was written last
	locked   *exclusion // by LOCK TABLES
}

var (
	_ driver.ConnBeginTx        = (*conn)(nil)
	_ driver.ConnPrepareContext = (*conn)(nil)
	_ driver.ExecerContext      = (*conn)(nil)
	_ driver.QueryerContext     = (*conn)(nil)
	_ driver.NamedValueChecker  = (*conn)(nil)
	_ driver.SessionResetter    = (*conn)(nil)
	_ driver.Validator          = (*conn)(nil)
	_ driver.Pinger             = (*conn)(nil)
)

// link returns the link to m, dialled when there is none.
func (c *conn) link(ctx context.Context, m *member) (*link, error) {
	if l := c.links[m.index]; l != nil && !l.spent {
		return l, nil
	}
	c.drop(m)
	l, err := dialLink(ctx, c.p, m, c.settings)
	if err != nil {
		return nil, err
	}
	c.links[m.index] = l
	return l, nil
}

// drop closes the link to m, if there is one.
func (c *conn) drop(m *member) {
	if l := c.links[m.index]; l != nil {
		l.close()
		c.links[m.index] = nil
	}
}

// call is one statement to be run: by text, or by a prepared statement.
type call struct {
	st   *sqltext.Statement
	v    *sqltext.Verdict
	text string
	args []driver.NamedValue
	prep *stmt // nil for a call by text

	after int  // statements of the pool's own that follow in text
	large bool // the driver sends it in pieces, so nothing can follow in its packet
	ids   bool // the last column of its rows is the id, for the pool

	guards bool // it fails where a number that is tried for a row is taken
}

func (c *conn) ExecContext(ctx context.Context, text string, args []driver.NamedValue) (driver.Result, error) {
	return c.execCall(ctx, call{st: c.p.texts.Get(text), text: text, args: args})
}

func (c *conn) execCall(ctx context.Context, q call) (driver.Result, error) {
	q, err := c.judged(ctx, q)
	if err != nil {
		return nil, err
	}
	if c.tx != nil {
		return c.tx.exec(ctx, q)
	}
	return c.p.writes.exec(ctx, c, q)
}

func (c *conn) QueryContext(ctx context.Context, text string, args []driver.NamedValue) (driver.Rows, error) {
	return c.queryCall(ctx, call{st: c.p.texts.Get(text), text: text, args: args})
}

func (c *conn) queryCall(ctx context.Context, q call) (driver.Rows, error) {
	q, err := c.judged(ctx, q)
	if err != nil {
		return nil, err
	}
	if c.tx != nil {
		return c.tx.query(ctx, q)
	}
	if q.st.Kind == sqltext.Read && c.p.cfg.Mode != ModeSingle {
		return c.read(ctx, q)
	}
	return c.p.writes.query(ctx, c, q)
}

// BeginTx begins a transaction. A read-only one runs on one replica; any other sends its BEGIN with the first statement.
func (c *conn) BeginTx(ctx context.Context, opts driver.TxOptions) (driver.Tx, error) {
	if c.tx != nil {
		return nil, errors.New("fanout: this connection is in a transaction")
	}
	begin, err := beginText(opts)
	if err != nil {
		return nil, err
	}
	c.unlockTables() // as in the servers
	c.last = nil
	var t txn
	switch {
	case opts.ReadOnly:
		t, err = c.beginRead(ctx, begin)
	case c.p.cfg.Observer:
		err = refused("this pool was opened with Config.Observer; a read-only transaction is possible")
	default:
		t, err = c.p.writes.begin(ctx, c, opts)
	}
	if err != nil {
		return nil, err
	}
	c.tx = t
	return driverTx{c}, nil
}

// txn is an open transaction.
type txn interface {
	exec(ctx context.Context, q call) (driver.Result, error)
	query(ctx context.Context, q call) (driver.Rows, error)
	commit() error
	rollback() error
}

// driverTx ends the connection's transaction.
type driverTx struct{ c *conn }

func (t driverTx) Commit() error {
	x := t.c.tx
	t.c.tx = nil
	return x.commit()
}

func (t driverTx) Rollback() error {
	x := t.c.tx
	t.c.tx = nil
	return x.rollback()
}

var levels = []sql.IsolationLevel{sql.LevelReadUncommitted, sql.LevelReadCommitted, sql.LevelRepeatableRead, sql.LevelSerializable}

// beginText is the packet that begins a transaction with opts.
func beginText(opts driver.TxOptions) (string, error) {
	text := plainBegin
	if opts.ReadOnly {
		text = "START TRANSACTION READ ONLY; "
	}
	level := sql.IsolationLevel(opts.Isolation)
	if level == sql.LevelDefault {
		return text, nil
	}
	if !slices.Contains(levels, level) {
		return "", fmt.Errorf("fanout: isolation level %v is not one that MySQL has", level)
	}
	return "SET TRANSACTION ISOLATION LEVEL " + strings.ToUpper(level.String()) + "; " + text, nil
}

// Ping asks one replica in service.
func (c *conn) Ping(ctx context.Context) error {
	rows, err := c.QueryContext(ctx, "SELECT 1", nil)
	if err != nil {
		return err
	}
	return rows.Close()
}

// CheckNamedValue leaves the conversion to the replicas' driver.
func (c *conn) CheckNamedValue(nv *driver.NamedValue) error {
	for _, l := range c.links {
		if l == nil {
			continue
		}
		if checker, ok := l.dc.(driver.NamedValueChecker); ok {
			return checker.CheckNamedValue(nv)
		}
		break
	}
	v, err := driver.DefaultParameterConverter.ConvertValue(nv.Value)
	nv.Value = v
	return err
}

// ResetSession drops the links that went stale while the connection was idle and those of replicas that left service.
func (c *conn) ResetSession(ctx context.Context) error {
	v := c.p.view.Load()
	c.last, c.numbered = nil, nil
	for _, l := range c.links {
		if l == nil {
			continue
		}
		stale := l.spent || v.states[l.m.index] == Ejected
		if r, ok := l.dc.(driver.SessionResetter); ok && !stale {
			stale = r.ResetSession(ctx) != nil
		}
		if stale {
			c.drop(l.m)
		}
	}
	return nil
}

// IsValid keeps the connection: a broken link is dialled again when it is needed.
func (c *conn) IsValid() bool { return true }

// Close closes the links.
func (c *conn) Close() error {
	c.unlockTables()
	for _, m := range c.p.members {
		c.drop(m)
	}
	return nil
}
