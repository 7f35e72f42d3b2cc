package fanout

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"slices"
	"strings"

	"forge.example/account/isukit/app/fanout/internal/sqltext"
)

// ErrGroups is wrapped by the error for a statement or transaction that touches tables of two groups, or of none.
var ErrGroups = errors.New("tables of two groups")

// anyTable in Group.Tables means every table that no other group names.
const anyTable = "*"

// groupOf is the index of the group that has table, or -1.
func groupOf(groups []Group, table string) int {
	rest := -1
	for i, g := range groups {
		for _, t := range g.Tables {
			if strings.EqualFold(t, table) {
				return i
			}
			if t == anyTable {
				rest = i
			}
		}
	}
	return rest
}

// split gives each group a Config of its own.
func (c Config) split() []Config {
	if len(c.Groups) == 0 {
		return []Config{c}
	}
	parts := make([]Config, len(c.Groups))
	for i, g := range c.Groups {
		part := c
		part.Groups = nil
		part.Replicas = nil
		for _, r := range c.Replicas {
			if slices.Contains(g.Replicas, r.Name) {
				part.Replicas = append(part.Replicas, r)
			}
		}
		parts[i] = part
	}
	return parts
}

// router makes connections that send each statement to the group of its tables.
type router struct {
	names  []Group
	groups []*group
	texts  sqltext.Cache
}

// Connect opens a connection; the groups' own are opened when they are first needed.
func (r *router) Connect(context.Context) (driver.Conn, error) {
	return &routed{r: r, subs: make([]*conn, len(r.groups))}, nil
}

func (r *router) Driver() driver.Driver { return noDriver{} }

// routed is a connection to all groups.
type routed struct {
	neverCalled
	r    *router
	subs []*conn // by group; nil until needed
	tx   *routedTx
}

var (
	_ driver.ConnBeginTx        = (*routed)(nil)
	_ driver.ConnPrepareContext = (*routed)(nil)
	_ driver.ExecerContext      = (*routed)(nil)
	_ driver.QueryerContext     = (*routed)(nil)
	_ driver.NamedValueChecker  = (*routed)(nil)
	_ driver.SessionResetter    = (*routed)(nil)
	_ driver.Pinger             = (*routed)(nil)
)

// group is the index of the one group whose tables st names; -1 when it names none.
func (r *router) group(st *sqltext.Statement) (int, error) {
	found := -1
	for _, t := range st.Tables {
		i := groupOf(r.names, t)
		switch {
		case i < 0:
			return -1, fmt.Errorf("%w: table %s is in no group", ErrGroups, t)
		case found >= 0 && i != found:
			return -1, fmt.Errorf("%w: the statement names tables of %s and of %s (%s); run one statement for each", ErrGroups,
				r.names[found].Name, r.names[i].Name, strings.Join(st.Tables, ", "))
		}
		found = i
	}
	return found, nil
}

// sub is the connection of group i.
func (c *routed) sub(ctx context.Context, i int) (*conn, error) {
	if c.subs[i] != nil {
		return c.subs[i], nil
	}
	dc, err := connector{c.r.groups[i]}.Connect(ctx)
	if err != nil {
		return nil, err
	}
	c.subs[i] = dc.(*conn)
	return c.subs[i], nil
}

// to is the connection that runs text: of its tables' group, of the transaction's, or of the first one.
func (c *routed) to(ctx context.Context, text string) (*conn, error) {
	i, err := c.r.group(c.r.texts.Get(text))
	if err != nil {
		return nil, err
	}
	if c.tx != nil {
		return c.tx.to(ctx, i)
	}
	return c.sub(ctx, max(i, 0))
}

// ExecContext runs text in its group; a SET runs in every group.
func (c *routed) ExecContext(ctx context.Context, text string, args []driver.NamedValue) (driver.Result, error) {
	if c.tx == nil && c.r.texts.Get(text).Kind == sqltext.Session {
		return answer{}, c.inAll(ctx, func(sub *conn) error {
			_, err := sub.ExecContext(ctx, text, args)
			return err
		})
	}
	return onGroup(ctx, c, text, func(sub *conn) (driver.Result, error) { return sub.ExecContext(ctx, text, args) })
}

// onGroup calls f with the connection of text's group.
func onGroup[T any](ctx context.Context, c *routed, text string, f func(*conn) (T, error)) (out T, err error) {
	sub, err := c.to(ctx, text)
	if err != nil {
		return out, err
	}
	return f(sub)
}

// inAll calls f with every group's connection, until one fails.
func (c *routed) inAll(ctx context.Context, f func(*conn) error) error {
	for i := range c.subs {
		sub, err := c.sub(ctx, i)
		if err == nil {
			err = f(sub)
		}
		if err != nil {
			return fmt.Errorf("group %s: %w", c.r.names[i].Name, err)
		}
	}
	return nil
}

// QueryContext runs text in its group.
func (c *routed) QueryContext(ctx context.Context, text string, args []driver.NamedValue) (driver.Rows, error) {
	return onGroup(ctx, c, text, func(sub *conn) (driver.Rows, error) { return sub.QueryContext(ctx, text, args) })
}

// PrepareContext prepares text in its group.
func (c *routed) PrepareContext(ctx context.Context, text string) (driver.Stmt, error) {
	return onGroup(ctx, c, text, func(sub *conn) (driver.Stmt, error) { return sub.PrepareContext(ctx, text) })
}

// BeginTx begins a transaction; its first statement with a table chooses the group.
func (c *routed) BeginTx(ctx context.Context, opts driver.TxOptions) (driver.Tx, error) {
	if _, err := beginText(opts); err != nil {
		return nil, err
	}
	c.tx = &routedTx{c: c, opts: opts, group: -1}
	return c.tx, nil
}

// routedTx is a transaction in one group.
type routedTx struct {
	c     *routed
	opts  driver.TxOptions
	group int // -1 until the first statement
	tx    driver.Tx
}

// to is the connection for a statement of group i, -1 for one without tables.
func (t *routedTx) to(ctx context.Context, i int) (*conn, error) {
	switch {
	case t.group >= 0 && i >= 0 && i != t.group:
		return nil, fmt.Errorf("%w: the transaction is in %s, the statement's tables are in %s; a transaction is in one group",
			ErrGroups, t.c.r.names[t.group].Name, t.c.r.names[i].Name)
	case t.group >= 0:
		return t.c.sub(ctx, t.group)
	}
	sub, err := t.c.sub(ctx, max(i, 0))
	if err != nil {
		return nil, err
	}
	tx, err := sub.BeginTx(ctx, t.opts)
	if err != nil {
		return nil, err
	}
	t.tx, t.group = tx, max(i, 0)
	return sub, nil
}

// Commit commits in the transaction's group.
func (t *routedTx) Commit() error { return t.end(driver.Tx.Commit) }

// Rollback rolls back in the transaction's group.
func (t *routedTx) Rollback() error { return t.end(driver.Tx.Rollback) }

func (t *routedTx) end(how func(driver.Tx) error) error {
	t.c.tx = nil
	if t.tx == nil {
		return nil
	}
	return how(t.tx)
}

// Ping asks every group.
func (c *routed) Ping(ctx context.Context) error {
	return c.inAll(ctx, func(sub *conn) error { return sub.Ping(ctx) })
}

// CheckNamedValue leaves the conversion to the replicas' driver.
func (c *routed) CheckNamedValue(nv *driver.NamedValue) error {
	i := max(slices.IndexFunc(c.subs, func(sub *conn) bool { return sub != nil }), 0)
	sub, err := c.sub(context.Background(), i)
	if err != nil {
		return err
	}
	return sub.CheckNamedValue(nv)
}

// ResetSession drops what went stale.
func (c *routed) ResetSession(ctx context.Context) error {
	return c.inOpen(func(sub *conn) error { return sub.ResetSession(ctx) })
}

// inOpen calls f with every connection that is open.
func (c *routed) inOpen(f func(*conn) error) error {
	var errs []error
	for _, sub := range c.subs {
		if sub != nil {
			errs = append(errs, f(sub))
		}
	}
	return errors.Join(errs...)
}

// Close closes every group's connection.
func (c *routed) Close() error {
	return c.inOpen((*conn).Close)
}
