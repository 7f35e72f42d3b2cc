package fanout

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
)

// Statements for a link's session in addition to the app's, and those that restore it before others run on it.
const (
	unpin      = "SET timestamp=DEFAULT" // lets the clock run again
	plainBegin = "BEGIN; "
	manualOn   = "SET autocommit=0; "
	manualOff  = "SET autocommit=1; "
)

// commits is what ends a transaction in a session.
type commits uint8

const (
	unknown  commits = iota // a statement that sets it has failed, or something before or after it
	byItself                // every statement is a transaction, except for those after BEGIN: autocommit
	byHand                  // COMMIT
)

// manualAfter is how many transactions follow each other on a link before it stops sending BEGIN.
const manualAfter = 8

// opening begins a transaction on l with text. On a link that serves one transaction after another, autocommit is off: each of them saves
// its BEGIN, 4 % of the cost of a one-row write in ModeOrdered. Between them no transaction is open, as with autocommit, which other
// statements on the link need again (plain).
func (l *link) opening(text string) string {
	if text != plainBegin {
		return text
	}
	switch l.commits {
	case byHand:
		return ""
	case byItself:
		if l.row++; l.row <= manualAfter {
			return plainBegin
		}
	}
	l.commits, l.wanted = unknown, byHand
	return manualOn
}

// plain switches autocommit on again; it precedes the next statement.
func (l *link) plain() string {
	l.row = 0
	if l.commits == byItself {
		return ""
	}
	l.commits, l.wanted = unknown, byItself
	return manualOff
}

// pin sets what with says for the next statement. A clock that was stopped for another one runs again, whatever that was part of: a session
// is never taken to have the time of day because a transaction has ended.
func (l *link) pin(with pins) string {
	text := with.text()
	switch {
	case !with.clock.IsZero():
		l.pinned = true
	case l.pinned:
		l.unpins, text = true, unpin+"; "+text
	}
	return text
}

// answered notes how the packet ended that what opening, plain or pin gave was in.
func (l *link) answered(err error) {
	if err == nil && l.wanted != unknown {
		l.commits = l.wanted
	}
	if err == nil && l.unpins {
		l.pinned = false
	}
	l.wanted, l.unpins = unknown, false
}

// adminSession is for the pool's own connections: what they compare and copy is what is stored. A TIMESTAMP is a moment, and a session's zone
// may show two of them alike, or have none for one.
const adminSession = "SET SESSION time_zone='+00:00', sql_mode=''"

// settled gives every new connection the settings that session returns.
type settled struct {
	driver.Connector
	session func() string
}

func (s settled) Connect(ctx context.Context) (driver.Conn, error) {
	dc, err := s.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	text := s.session()
	if x, ok := dc.(driver.ExecerContext); ok && text != "" {
		if _, err := x.ExecContext(ctx, text, nil); err != nil {
			_ = dc.Close()
			return nil, fmt.Errorf("set up the session: %w", err)
		}
	}
	return dc, nil
}

// discard closes a connection whose session is no longer what the others' are.
func discard(c *sql.Conn) {
	_ = c.Raw(func(any) error { return driver.ErrBadConn })
	_ = c.Close()
}
