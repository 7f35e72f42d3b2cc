package fanout

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/go-sql-driver/mysql"
)

// Fate is what became of a write.
type Fate string

// The fates of a write that did not simply succeed.
const (
	NotApplied Fate = "not applied" // on no replica in service; it may be tried again
	Applied    Fate = "applied"     // on every replica in service, and one had to be ejected, which could not be recorded
	Unknown    Fate = "unknown"     // perhaps; only reading the data tells
)

// Part is what one replica did with a write.
type Part struct {
	Replica string
	Fate    Fate
	Err     error // nil when the replica did what it was asked to
}

// WriteError tells the fate of a write that failed for a reason other than the first replica's SQL error (that one is
// returned as it is: the write was not applied). errors.As finds a *mysql.MySQLError in it where a server gave one, the
// first replica's before the others'.
type WriteError struct {
	Fate  Fate
	Cause error  // the reason, for people
	Parts []Part // in replica order
	Again bool   // with NotApplied: what failed has been dealt with, so trying again is likely to work
}

// Error names the fate, the cause and the replicas that had a part in it.
func (e *WriteError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "write %s: %v", e.Fate, e.Cause)
	for _, p := range e.Parts {
		if p.Err != nil {
			fmt.Fprintf(&b, "; %s %s: %v", p.Replica, p.Fate, p.Err)
		}
	}
	return b.String()
}

// Unwrap returns the cause and the parts' errors. A driver.ErrBadConn is hidden, since database/sql would run the write again.
func (e *WriteError) Unwrap() []error {
	list := make([]error, 0, 1+len(e.Parts))
	for _, p := range e.Parts {
		list = appendSafe(list, p.Err)
	}
	return appendSafe(list, e.Cause)
}

func appendSafe(list []error, err error) []error {
	if err == nil || errors.Is(err, driver.ErrBadConn) {
		return list
	}
	return append(list, err)
}

// FateOf returns a write's fate: empty for nil, NotApplied for a server's SQL error or an early refusal, Unknown for foreign errors.
func FateOf(err error) Fate {
	var we *WriteError
	var me *mysql.MySQLError
	switch {
	case err == nil:
		return ""
	case errors.As(err, &we):
		return we.Fate
	case errors.As(err, &me), errors.Is(err, ErrRefused), errors.Is(err, ErrNoReplica), unsent(err):
		return NotApplied
	}
	return Unknown
}

// ErrRefused is wrapped for a statement that can't write the same rows on every replica; the error suggests another one.
var ErrRefused = errors.New("statement refused")

// ErrNoReplica is wrapped when no replica is in service for what was asked.
var ErrNoReplica = errors.New("no replica in service")

func refused(reason string) error { return fmt.Errorf("%w: %s", ErrRefused, reason) }

// outcome sorts what a server, or the way to it, answered.
type outcome uint8

const (
	done     outcome = iota
	conflict         // another transaction was in the way: 1213, 1205
	answered         // any other SQL error: the statement had no effect
	broken           // an SQL error that says the server itself is unwell: full disk, shutting down, read-only
	lost             // the connection failed or the deadline passed: what happened on the server is not known
)

func outcomeOf(err error) outcome {
	if err == nil {
		return done
	}
	var me *mysql.MySQLError
	var de *dialError
	if errors.As(err, &de) || !errors.As(err, &me) {
		return lost
	}
	switch me.Number {
	case 1213, 1205, 1020, 1180, 1206, 1467: // 1020: a row has changed since the snapshot (MariaDB's innodb_snapshot_isolation); 1180: nothing was committed
		return conflict // 1206: too many locks; 1467: MariaDB's for a deadlock over the lock that numbers rows
	case 1021, 1026, 1030, 1114, 1290, 1836, 3675:
		return broken // disk full, write errors, read-only
	case 1053, 1077, 1079, 1927, 3169:
		return lost // shutdown, connection killed
	}
	return answered
}

// onlyStatement reports whether a server's error tells that a statement failed and its transaction goes on. The servers roll back whole
// transactions for more reasons than they have numbers for, so an error that is not known to leave one alone is taken to have ended it.
func onlyStatement(err error) bool {
	var me *mysql.MySQLError
	if !errors.As(err, &me) {
		return false
	}
	switch string(me.SQLState[:2]) {
	case "01", "02", "21", "22", "23", "42", "44", "45": // about values, constraints and the statement's text
		return true
	}
	return slices.Contains(statementErrors, me.Number)
}

// statementErrors are those about values and text that have no SQLSTATE of their own.
var statementErrors = []uint16{1093, 1267, 1364, 1366, 1369, 1411, 1442, 1526, 1748, 1906, 3105, 3572, 3819}

// numberOfError is the number of a server's error, or 0.
func numberOfError(err error) uint16 {
	var me *mysql.MySQLError
	if errors.As(err, &me) {
		return me.Number
	}
	return 0
}

// unsent reports whether err says that a statement was not sent at all.
func unsent(err error) bool {
	var de *dialError
	return errors.As(err, &de) || errors.Is(err, mysql.ErrPktTooLarge)
}

// dialError is a failure to open a connection: nothing was executed on it.
type dialError struct {
	replica string
	err     error
}

func (e *dialError) Error() string { return fmt.Sprintf("replica %s: connect: %v", e.replica, e.err) }
func (e *dialError) Unwrap() error { return e.err }

// rolledBack is dressed as a deadlock, since what to do is the same: everything is rolled back, run the transaction again.
func rolledBack(why string) *mysql.MySQLError {
	return &mysql.MySQLError{Number: 1213, SQLState: [5]byte{'4', '0', '0', '0', '1'}, Message: why}
}

// plainConn replaces driver.ErrBadConn, which must not be seen once anything may have been executed.
func plainConn(err error) error {
	if errors.Is(err, driver.ErrBadConn) {
		return mysql.ErrInvalidConn
	}
	return err
}

func isContext(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}
