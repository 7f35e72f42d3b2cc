package fanout

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"
)

// answer is what one replica said to a write; it is the driver.Result of the write.
type answer struct {
	affected, id int64
	rows         *rowSets // for a write that returns rows
	ids          []int64  // of those rows, where they were asked for
}

func (a answer) LastInsertId() (int64, error) { return a.id, nil }
func (a answer) RowsAffected() (int64, error) { return a.affected, nil }

// same reports whether two replicas said the same, in whatever order they returned their rows.
func (a answer) same(b answer) bool {
	return a.affected == b.affected && a.id == b.id && a.rows.equal(b.rows)
}

// part is one replica's share of a transaction.
type part struct {
	m     *member
	l     *link
	began bool
	gone  error // why it takes no part any more; nil while it does

	xid      string // of the part's branch in ModeDurable, or empty
	prepared bool   // the branch is prepared: its fate is not the session's any more
}

// pins are what makes a statement write the same row everywhere.
type pins struct {
	clock    time.Time // zero: not pinned
	insertID int64     // 0: not pinned
	lastID   int64     // -1: not pinned
}

var noPins = pins{lastID: -1}

// text is the SET statement for p, or nothing.
func (p pins) text() string {
	var b []byte
	if !p.clock.IsZero() {
		b = append(b, "SET timestamp="...)
		b = strconv.AppendInt(b, p.clock.Unix(), 10)
		b = append(b, '.')
		micros := strconv.Itoa(1_000_000 + p.clock.Nanosecond()/1000)
		b = append(b, micros[1:]...)
	}
	b = appendSet(b, "insert_id", p.insertID, p.insertID != 0)
	b = appendSet(b, "last_insert_id", p.lastID, p.lastID >= 0)
	if len(b) == 0 {
		return ""
	}
	return string(append(b, "; "...))
}

func appendSet(b []byte, name string, value int64, wanted bool) []byte {
	if !wanted {
		return b
	}
	if len(b) == 0 {
		b = append(b, "SET "...)
	} else {
		b = append(b, ',')
	}
	b = append(b, name...)
	b = append(b, '=')
	return strconv.AppendUint(b, uint64(value), 10)
}

// run executes q on the part's replica, dialling it and beginning its transaction when that has not been done. The
// statement is detached from ctx: when ctx ends, the statement is killed on the server and its answer awaited.
func (pt *part) run(ctx context.Context, c *conn, q call, begin string, with pins, rows bool) (answer, error) {
	if err := pt.dial(ctx, c); err != nil {
		return answer{}, err
	}
	prefix := ""
	switch {
	case pt.began:
	case begin == "":
		prefix = pt.l.plain()
	default:
		prefix = pt.l.opening(begin)
	}
	prefix += pt.l.pin(with)
	unwatch := pt.l.watch(ctx, prefix != "" || q.after > 0)
	a, err := pt.l.answerTo(pt.l.begin(), prefix, q, rows)
	pt.l.answered(err)
	pt.l.end()
	unwatch()
	if outcomeOf(err) != lost {
		pt.began = pt.began || begin != ""
	}
	return a, err
}

// dial connects the part, whatever becomes of ctx.
func (pt *part) dial(ctx context.Context, c *conn) (err error) {
	if pt.l == nil {
		pt.l, err = c.link(context.WithoutCancel(ctx), pt.m)
	}
	return err
}

// watch kills the link's statement when ctx ends. The caller calls what it returns when the statement has been answered; a link whose statement
// was killed is spent, as the kill may come late. A server that kills a query between two statements of one packet says nothing more: with
// several, the connection is killed as well if the answer does not come soon.
func (l *link) watch(ctx context.Context, several bool) func() {
	if ctx.Done() == nil {
		return func() {}
	}
	answered, killed := make(chan struct{}), make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(killed)
		l.m.kill(l.thread, true)
		if !several {
			return
		}
		select {
		case <-answered:
		case <-time.After(killPatience):
			l.m.kill(l.thread, false)
		}
	})
	return func() {
		close(answered)
		if !stop() {
			<-killed
			l.spent = true
		}
	}
}

// killPatience is how long a killed statement may take to report it: rolling back what one statement changed takes less.
const killPatience = 200 * time.Millisecond

func (l *link) answerTo(ctx context.Context, prefix string, q call, rows bool) (answer, error) {
	if rows {
		r, err := l.runQuery(ctx, prefix, q)
		if err != nil {
			return answer{}, err
		}
		sets, err := readAll(r)
		return answer{rows: sets}, err
	}
	res, err := l.runExec(ctx, prefix, q)
	if err != nil {
		return answer{}, err
	}
	return resultOf(res, q.after)
}

// resultOf is the answer of the statement that after others follow.
func resultOf(res driver.Result, after int) (a answer, err error) {
	if all, ok := res.(mysql.Result); ok && after > 0 {
		rows, ids := all.AllRowsAffected(), all.AllLastInsertIds()
		i := len(rows) - 1 - after
		if i < 0 || len(ids) != len(rows) {
			return a, fmt.Errorf("fanout: %d results for a packet of at least %d statements", len(rows), after+1)
		}
		return answer{affected: rows[i], id: ids[i]}, nil
	}
	if a.affected, err = res.RowsAffected(); err != nil {
		return a, err
	}
	a.id, err = res.LastInsertId()
	return a, err
}

// end sends COMMIT or ROLLBACK, whatever became of the caller. A link that fails to end its transaction is closed, which ends it as well.
func (pt *part) end(c *conn, text string) error {
	if pt.l == nil || !pt.began {
		return nil
	}
	commits := strings.HasSuffix(text, "COMMIT")
	if pt.l.spent && !commits { // a late kill might hit the ROLLBACK; closing the connection rolls back as well
		if pt.prepared {
			c.p.branches.orphan(pt.m, pt.xid, false)
		}
		c.drop(pt.m)
		pt.l, pt.began, pt.prepared = nil, false, false
		return nil
	}
	if pt.xid != "" {
		if !pt.prepared {
			text = "END '" + pt.xid + "'; XA " + text
		}
		text = "XA " + text + " '" + pt.xid + "'"
	}
	if pt.l.pinned && !pt.prepared {
		text = unpin + "; " + text // in this order, an error means that the transaction did not end
	}
	_, err := pt.l.exec.ExecContext(pt.l.begin(), text, nil)
	if slices.Contains(doomed, numberOfError(err)) {
		_, err = pt.l.exec.ExecContext(pt.l.begin(), "XA ROLLBACK '"+pt.xid+"'", nil)
	}
	pt.l.end()
	if err != nil {
		pt.l.spent = true
	} else {
		pt.l.pinned = false
	}
	if pt.l.spent {
		c.drop(pt.m)
		if pt.prepared && err != nil {
			if outcomeOf(err) == lost {
				pt.l.killSoon() // the branch cannot be ended while its session lives
			}
			c.p.branches.orphan(pt.m, pt.xid, commits)
		}
	}
	pt.l, pt.began, pt.prepared = nil, false, false
	return err
}

// leave removes the part from the transaction: closing its connection rolls it back.
func (pt *part) leave(c *conn, why error) {
	pt.gone = why
	if pt.l != nil && outcomeOf(why) == lost {
		pt.l.killSoon() // a statement that still runs there would keep its locks
	}
	c.drop(pt.m)
	if pt.prepared {
		c.p.branches.orphan(pt.m, pt.xid, false)
	}
	pt.l, pt.began, pt.prepared = nil, false, false
}

// rowSets are the buffered rows of a write that returns rows.
type rowSets struct {
	sets []rowSet
	at   int // the current set
	next int // the next row in it
}

type rowSet struct {
	columns []string
	types   []string // of the columns, as the driver calls them
	rows    [][]driver.Value
}

// maxBufferedRows bounds what a write may return: its rows are kept until every replica has executed it.
const maxBufferedRows = 100_000

// equal reports whether two replicas returned the same rows.
func (r *rowSets) equal(o *rowSets) bool {
	if r == nil || o == nil {
		return r == o
	}
	return maps.Equal(r.seen(), o.seen())
}

// seen counts equal rows.
func (r *rowSets) seen() map[string]int {
	seen := map[string]int{}
	for _, s := range r.sets {
		for _, row := range s.rows {
			seen[fmt.Sprintf("%q", row)]++
		}
	}
	return seen
}

func (r *rowSets) count() int {
	if r == nil {
		return 0
	}
	n := 0
	for _, s := range r.sets {
		n += len(s.rows)
	}
	return n
}

// readAll reads and closes r.
func readAll(r driver.Rows) (*rowSets, error) {
	out := &rowSets{}
	for {
		set := rowSet{columns: r.Columns()}
		if typed, ok := r.(driver.RowsColumnTypeDatabaseTypeName); ok {
			for i := range set.columns {
				set.types = append(set.types, typed.ColumnTypeDatabaseTypeName(i))
			}
		}
		for {
			row := make([]driver.Value, len(set.columns))
			err := r.Next(row)
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return nil, errors.Join(err, r.Close())
			}
			if len(set.rows) == maxBufferedRows {
				_ = r.Close()
				return nil, &mysql.MySQLError{Number: 1105, Message: "fanout: a write returned more than 100000 rows; select them in a statement of its own"}
			}
			set.rows = append(set.rows, cloneRow(row))
		}
		out.sets = append(out.sets, set)
		more, ok := r.(driver.RowsNextResultSet)
		if !ok || !more.HasNextResultSet() {
			return out, r.Close()
		}
		if err := more.NextResultSet(); errors.Is(err, io.EOF) {
			return out, r.Close()
		} else if err != nil {
			return nil, errors.Join(err, r.Close())
		}
	}
}

// cloneRow copies the bytes that the driver will reuse.
func cloneRow(row []driver.Value) []driver.Value {
	for i, v := range row {
		if b, ok := v.([]byte); ok && b != nil {
			row[i] = append(make([]byte, 0, len(b)), b...)
		}
	}
	return row
}

func (r *rowSets) Columns() []string { return r.sets[r.at].columns }
func (r *rowSets) Close() error      { return nil }

func (r *rowSets) Next(dest []driver.Value) error {
	set := r.sets[r.at]
	if r.next == len(set.rows) {
		return io.EOF
	}
	copy(dest, set.rows[r.next])
	r.next++
	return nil
}

func (r *rowSets) HasNextResultSet() bool { return r.at+1 < len(r.sets) }

func (r *rowSets) NextResultSet() error {
	if !r.HasNextResultSet() {
		return io.EOF
	}
	r.at++
	r.next = 0
	return nil
}

// lockingRows are the rows of a query that locks, in a transaction. A server may roll the transaction back in the middle of them: a client
// that stops reading would miss it, and continue outside of any transaction.
type lockingRows struct {
	driverRows
	t *orderedTxn
}

// driverRows is all that the driver's rows can do.
type driverRows interface {
	driver.Rows
	driver.RowsNextResultSet
	driver.RowsColumnTypeDatabaseTypeName
	driver.RowsColumnTypeNullable
	driver.RowsColumnTypePrecisionScale
	driver.RowsColumnTypeScanType
}

func (r *lockingRows) Next(dest []driver.Value) error { return r.seen(r.driverRows.Next(dest)) }
func (r *lockingRows) Close() error                   { return r.seen(r.driverRows.Close()) }

// seen notes an error by which a server has rolled the transaction back.
func (r *lockingRows) seen(err error) error {
	if numberOfError(err) != 0 && !onlyStatement(err) {
		r.t.lost = err
	}
	return err
}
