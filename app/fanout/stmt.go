package fanout

import (
	"context"
	"database/sql/driver"
	"errors"

	"forge.example/account/isukit/app/fanout/internal/sqltext"
)

// runExec runs q on l after prefix, the pool's statements, in the same packet if the driver can put the arguments into the text.
func (l *link) runExec(ctx context.Context, prefix string, q call) (res driver.Result, err error) {
	defer l.heard(&err)
	if q.prep == nil {
		res, err = l.exec.ExecContext(ctx, prefix+q.text, q.args)
		if !errors.Is(err, driver.ErrSkip) {
			return res, err
		}
	}
	s, err := l.preparedAfter(ctx, prefix, q)
	if err != nil {
		return nil, err
	}
	if q.prep == nil {
		defer s.Close()
	}
	if x, ok := s.(driver.StmtExecContext); ok {
		return x.ExecContext(ctx, q.args)
	}
	return nil, errors.New("fanout: the replica's driver has no StmtExecContext")
}

// runQuery is runExec for a statement that returns rows.
func (l *link) runQuery(ctx context.Context, prefix string, q call) (rows driver.Rows, err error) {
	defer l.heard(&err)
	if q.prep == nil {
		rows, err = l.query.QueryContext(ctx, prefix+q.text, q.args)
		if !errors.Is(err, driver.ErrSkip) || prefix == "" {
			return rows, err // database/sql prepares when it gets ErrSkip
		}
	}
	s, err := l.preparedAfter(ctx, prefix, q)
	if err != nil {
		return nil, err
	}
	x, ok := s.(driver.StmtQueryContext)
	if !ok {
		return nil, errors.New("fanout: the replica's driver has no StmtQueryContext")
	}
	rows, err = x.QueryContext(ctx, q.args)
	if q.prep == nil {
		if err != nil {
			_ = s.Close()
			return nil, err
		}
		return &stmtRows{rows, s}, nil
	}
	return rows, err
}

// heard notes that the replica has answered, unless err says that nobody knows.
func (l *link) heard(err *error) {
	if outcomeOf(*err) != lost {
		l.m.answers.Add(1)
	}
}

// stmtRows closes, with the rows, the statement that they came from.
type stmtRows struct {
	driver.Rows
	s driver.Stmt
}

func (r *stmtRows) Close() error { return errors.Join(r.Rows.Close(), r.s.Close()) }

// preparedAfter runs prefix and returns q's statement prepared on l.
func (l *link) preparedAfter(ctx context.Context, prefix string, q call) (driver.Stmt, error) {
	if prefix != "" {
		if _, err := l.exec.ExecContext(ctx, prefix, nil); err != nil {
			return nil, err
		}
	}
	if q.prep != nil {
		return q.prep.on(ctx, l)
	}
	return l.prepareText(ctx, q.text)
}

func (l *link) prepareText(ctx context.Context, text string) (driver.Stmt, error) {
	p, ok := l.dc.(driver.ConnPrepareContext)
	if !ok {
		return l.dc.Prepare(text)
	}
	return p.PrepareContext(ctx, text)
}

// stmt is prepared on one replica first, which finds its faults and the number of arguments, and on the others when they run it.
type stmt struct {
	c      *conn
	st     *sqltext.Statement
	text   string
	inputs int
	first  *member // where a read runs, until Close
	parts  []linkStmt
}

// linkStmt is a statement on one link; a link that is dialled again needs a new one.
type linkStmt struct {
	l *link
	s driver.Stmt
}

// PrepareContext prepares text.
func (c *conn) PrepareContext(ctx context.Context, text string) (driver.Stmt, error) {
	st := c.p.texts.Get(text)
	if _, err := c.judged(ctx, call{st: st, text: text}); err != nil {
		return nil, err
	}
	s := &stmt{c: c, st: st, text: text, parts: make([]linkStmt, len(c.links))}
	v := c.p.view.Load()
	if len(v.readers) == 0 {
		return nil, ErrNoReplica
	}
	s.first = v.readers[0]
	if st.Kind == sqltext.Read && c.tx == nil {
		s.first = c.p.route(ctx, v, 0)
	}
	l, err := c.link(ctx, s.first)
	if err != nil {
		return nil, plainConn(err)
	}
	ps, err := s.on(ctx, l)
	if err != nil {
		return nil, plainConn(err)
	}
	s.inputs = ps.NumInput()
	return s, nil
}

// on returns the statement prepared on l.
func (s *stmt) on(ctx context.Context, l *link) (driver.Stmt, error) {
	p := &s.parts[l.m.index]
	if p.l == l {
		return p.s, nil
	}
	ps, err := l.prepareText(ctx, s.text)
	if err != nil {
		return nil, err
	}
	*p = linkStmt{l: l, s: ps}
	return ps, nil
}

func (s *stmt) NumInput() int { return s.inputs }

// Close closes the statement on every replica where it was prepared.
func (s *stmt) Close() error {
	var errs []error
	for i, p := range s.parts {
		if p.s != nil && s.c.links[i] == p.l {
			errs = append(errs, p.s.Close())
		}
		s.parts[i] = linkStmt{}
	}
	return errors.Join(errs...)
}

// ExecContext runs the statement as the same text would.
func (s *stmt) ExecContext(ctx context.Context, args []driver.NamedValue) (driver.Result, error) {
	return s.c.execCall(ctx, s.call(args))
}

// QueryContext runs the statement; a read outside of a transaction stays on the replica that prepared it, unless its context differs.
func (s *stmt) QueryContext(ctx context.Context, args []driver.NamedValue) (driver.Rows, error) {
	aimed := ctx.Value(keySession) != nil || ctx.Value(keyOnFirst) != nil
	if s.st.Kind != sqltext.Read || s.c.tx != nil || aimed || !s.c.p.view.Load().has(s.first) {
		return s.c.queryCall(ctx, s.call(args))
	}
	rows, err := s.c.readOn(ctx, s.first, s.call(args))
	if outcomeOf(err) == lost && ctx.Err() == nil {
		s.c.drop(s.first)
		return s.c.queryCall(ctx, s.call(args))
	}
	return rows, err
}

func (s *stmt) call(args []driver.NamedValue) call {
	return call{st: s.st, text: s.text, args: args, prep: s}
}

// Exec is never called by database/sql, which prefers ExecContext.
func (s *stmt) Exec([]driver.Value) (driver.Result, error) {
	return nil, errors.New("fanout: use ExecContext")
}

// Query is never called by database/sql, which prefers QueryContext.
func (s *stmt) Query([]driver.Value) (driver.Rows, error) {
	return nil, errors.New("fanout: use QueryContext")
}
