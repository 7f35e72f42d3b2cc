package fanout_test

import (
	"context"
	"database/sql/driver"
	"errors"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/go-sql-driver/mysql"
)

// fakeServer is a replica in memory: it keeps the committed statements, and fails as its fault says. Of SQL it only knows transactions and
// the pool's own tables.
type fakeServer struct {
	mu        sync.Mutex
	committed []string
	executed  int
	nextID    int64
	states    map[string][]driver.Value // rows of the pool's state table
	fault     func(text string) fault
	down      bool
	skewRows  bool // RowsAffected is off by one
	keyed     bool // the schema has a table t with the primary key id
	threads   int64
	slow      time.Duration // what a question for the states takes
}

// fault is what goes wrong with one statement.
type fault uint8

const (
	none       fault = iota
	loseAnswer       // executes, then the connection breaks
	badConn          // executes, then says driver.ErrBadConn
	deadlock         // does not execute: 1213
	lockWait         // does not execute: 1205
	duplicate        // does not execute: 1062
	breakFirst       // the connection breaks before it executes
	badValue         // does not execute: 1292
	taken            // does not execute: 1869
	hidden           // rolls back, and calls it 1296
)

func newFakeServer() *fakeServer {
	return &fakeServer{states: map[string][]driver.Value{}, fault: func(string) fault { return none }}
}

// log returns what was committed, in order.
func (s *fakeServer) log() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string{}, s.committed...)
}

func (s *fakeServer) setFault(f func(text string) fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = f
}

func (s *fakeServer) setDown(down bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.down = down
}

func (s *fakeServer) Connect(context.Context) (driver.Conn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down {
		return nil, errors.New("connection refused")
	}
	s.threads++
	return &fakeConn{s: s, thread: s.threads}, nil
}

func (s *fakeServer) Driver() driver.Driver { return nil }

type fakeConn struct {
	s      *fakeServer
	thread int64
	inTx   bool
	manual bool // autocommit is off
	tx     []string
	broken bool
}

type fakeResult struct{ id, rows int64 }

func (r fakeResult) LastInsertId() (int64, error) { return r.id, nil }
func (r fakeResult) RowsAffected() (int64, error) { return r.rows, nil }

// fakeResults are those of all statements of a packet.
type fakeResults struct {
	fakeResult
	all []fakeResult
}

func (r fakeResults) AllRowsAffected() (list []int64) {
	for _, one := range r.all {
		list = append(list, one.rows)
	}
	return list
}

func (r fakeResults) AllLastInsertIds() (list []int64) {
	for _, one := range r.all {
		list = append(list, one.id)
	}
	return list
}

var errBroken = errors.New("fake: connection reset")

func (c *fakeConn) ExecContext(_ context.Context, text string, args []driver.NamedValue) (driver.Result, error) {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	if c.broken || c.s.down {
		return nil, errBroken
	}
	var res fakeResults
	for _, one := range strings.Split(text, "; ") {
		r, err := c.one(one, args)
		if err != nil {
			return nil, err
		}
		res.fakeResult = r.(fakeResult)
		res.all = append(res.all, res.fakeResult)
	}
	return res, nil
}

// one executes a single statement. The caller holds the server's lock.
func (c *fakeConn) one(text string, args []driver.NamedValue) (driver.Result, error) {
	own := strings.Contains(text, "isukit_fanout_")
	f := none
	if !own {
		f = c.s.fault(text)
	}
	switch f {
	case breakFirst:
		c.broken = true
		return nil, errBroken
	case deadlock:
		c.tx, c.inTx = nil, false
		return nil, &mysql.MySQLError{Number: 1213, Message: "fake deadlock"}
	case hidden:
		c.tx, c.inTx = nil, false
		return nil, &mysql.MySQLError{Number: 1296, SQLState: [5]byte{'H', 'Y', '0', '0', '0'}, Message: "fake rollback"}
	case badValue:
		return nil, &mysql.MySQLError{Number: 1292, SQLState: [5]byte{'2', '2', '0', '0', '7'}, Message: "fake value"}
	case taken:
		return nil, &mysql.MySQLError{Number: 1869, SQLState: [5]byte{'H', 'Y', '0', '0', '0'}, Message: "fake number"}
	case lockWait:
		return nil, &mysql.MySQLError{Number: 1205, Message: "fake lock wait"}
	case duplicate:
		return nil, &mysql.MySQLError{Number: 1062, SQLState: [5]byte{'2', '3', '0', '0', '0'}, Message: "fake duplicate"}
	}
	res := c.apply(text, own, args)
	switch f {
	case loseAnswer:
		c.broken = true
		return nil, errBroken
	case badConn:
		c.broken = true
		return nil, driver.ErrBadConn
	}
	return res, nil
}

func (c *fakeConn) apply(text string, own bool, args []driver.NamedValue) driver.Result {
	switch {
	case text == "BEGIN" || strings.HasPrefix(text, "START TRANSACTION"):
		c.inTx, c.tx = true, nil
	case text == "COMMIT":
		c.s.committed = append(c.s.committed, c.tx...)
		c.inTx, c.tx = false, nil
	case text == "ROLLBACK":
		c.inTx, c.tx = false, nil
	case own && strings.HasPrefix(text, "INSERT INTO isukit_fanout_replica"):
		row := make([]driver.Value, len(args))
		for i, a := range args {
			row[i] = a.Value
		}
		c.s.states[row[0].(string)] = row
	case text == "SET autocommit=0":
		c.manual = true
	case text == "SET autocommit=1":
		c.s.committed = append(c.s.committed, c.tx...)
		c.inTx, c.tx, c.manual = false, nil, false
	case own, strings.HasPrefix(text, "SET "), strings.HasPrefix(text, "KILL"):
	default:
		c.s.executed++
		res := fakeResult{rows: 1}
		if strings.HasPrefix(text, "INSERT") {
			c.s.nextID++
			res.id = c.s.nextID
		}
		if c.s.skewRows {
			res.rows++
		}
		if c.inTx || c.manual {
			c.inTx = true
			c.tx = append(c.tx, text)
		} else {
			c.s.committed = append(c.s.committed, text)
		}
		return res
	}
	return fakeResult{}
}

func (c *fakeConn) QueryContext(ctx context.Context, text string, args []driver.NamedValue) (driver.Rows, error) {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	if c.broken || c.s.down {
		return nil, errBroken
	}
	parts := strings.Split(text, "; ")
	for _, one := range parts[:len(parts)-1] {
		if _, err := c.one(one, args); err != nil {
			return nil, err
		}
	}
	last := parts[len(parts)-1]
	if !strings.Contains(last, "isukit_fanout_") && c.s.fault(last) == breakFirst {
		c.broken = true
		return nil, errBroken
	}
	rows := c.s.answer(last, c.thread)
	return rows, ctx.Err()
}

// answer is the result of a query. The caller holds the lock.
func (s *fakeServer) answer(text string, thread int64) driver.Rows {
	switch {
	case strings.HasPrefix(text, "SELECT CONNECTION_ID()"):
		return &fakeRows{columns: 1, rows: [][]driver.Value{{thread}}}
	case strings.HasPrefix(text, "SELECT GET_LOCK"), text == "SELECT 1":
		return &fakeRows{columns: 1, rows: [][]driver.Value{{int64(1)}}}
	case strings.HasPrefix(text, "SELECT LOWER(DATABASE())"):
		return &fakeRows{columns: 2, rows: [][]driver.Value{{"shop", int64(0)}}}
	case strings.HasPrefix(text, "SELECT table_name FROM information_schema.tables"):
		return &fakeRows{columns: 1, rows: [][]driver.Value{{"t"}, {"u"}}}
	case strings.HasPrefix(text, "SHOW CREATE TABLE"):
		create := "CREATE TABLE " + text[len("SHOW CREATE TABLE "):] + " (id INT NOT NULL, a INT)"
		if s.keyed && strings.HasSuffix(text, "`t`") {
			create = "CREATE TABLE t (id INT NOT NULL PRIMARY KEY, a INT)"
		}
		return &fakeRows{columns: 2, rows: [][]driver.Value{{"", create}}}
	case strings.HasPrefix(text, "SELECT MAX(epoch)"):
		var epoch int64
		for _, r := range s.states {
			epoch = max(epoch, r[2].(int64))
		}
		return &fakeRows{columns: 1, rows: [][]driver.Value{{epoch}}}
	case strings.HasPrefix(text, "SELECT replica"):
		time.Sleep(s.slow)
		out := &fakeRows{columns: 5}
		for _, r := range s.states {
			out.rows = append(out.rows, r)
		}
		return out
	}
	return &fakeRows{columns: 1}
}

type fakeRows struct {
	columns int
	rows    [][]driver.Value
}

func (r *fakeRows) Columns() []string { return make([]string, r.columns) }
func (r *fakeRows) Close() error      { return nil }
func (r *fakeRows) Next(dest []driver.Value) error {
	if len(r.rows) == 0 {
		return io.EOF
	}
	copy(dest, r.rows[0])
	r.rows = r.rows[1:]
	return nil
}

func (c *fakeConn) Prepare(string) (driver.Stmt, error) {
	return nil, errors.New("fake: no prepared statements")
}
func (c *fakeConn) Begin() (driver.Tx, error) {
	_, err := c.ExecContext(context.Background(), "BEGIN", nil)
	return fakeTx{c}, err
}

// Close takes leave of the server, as drivers do.
func (c *fakeConn) Close() error {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	if c.broken || c.s.down {
		return errBroken
	}
	return nil
}

// IsValid makes database/sql drop a broken connection.
func (c *fakeConn) IsValid() bool { return !c.broken }
func (c *fakeConn) Ping(context.Context) error {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	if c.s.down || c.broken {
		return errBroken
	}
	return nil
}
func (c *fakeConn) CheckNamedValue(*driver.NamedValue) error { return nil }

type fakeTx struct{ c *fakeConn }

func (t fakeTx) Commit() error {
	_, err := t.c.ExecContext(context.Background(), "COMMIT", nil)
	return err
}

func (t fakeTx) Rollback() error {
	_, err := t.c.ExecContext(context.Background(), "ROLLBACK", nil)
	return err
}
