package fanout

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/jmoiron/sqlx"
)

// InTx runs fn in a transaction and commits it. It rolls back and runs fn again, after a short random pause, when a server answers deadlock (1213)
// or lock wait timeout (1205), or when a replica failed before anything was committed, until ctx ends or Config.TxAttempts is used up; so fn must
// not keep effects of its own from a failed run. Any other error is returned as it is. After a commit of unknown fate, fn is never run again.
func (p *Pool) InTx(ctx context.Context, opts *sql.TxOptions, fn func(*sqlx.Tx) error) error {
	for attempt := 1; ; attempt++ {
		err := p.runTx(ctx, opts, fn)
		if !mayRetry(err) || attempt >= p.cfg.TxAttempts {
			return err
		}
		if !pause(ctx, attempt) {
			return fmt.Errorf("transaction given up after %d attempts, %w: %w", attempt, context.Cause(ctx), err)
		}
	}
}

// runTx is one run of fn; it rolls back also when fn panics.
func (p *Pool) runTx(ctx context.Context, opts *sql.TxOptions, fn func(*sqlx.Tx) error) error {
	tx, err := p.db.BeginTxx(ctx, opts)
	if err != nil {
		return err
	}
	defer tx.Rollback() // after a Commit it does nothing
	if err := fn(tx); err != nil {
		return err
	}
	return tx.Commit()
}

// mayRetry reports whether err says that nothing was applied, for a reason that may not come back.
func mayRetry(err error) bool {
	var we *WriteError
	isWrite := errors.As(err, &we)
	if isWrite && (we.Fate != NotApplied || isContext(we.Cause)) {
		return false
	}
	return isWrite && we.Again || numberOfError(err) == 1213 || numberOfError(err) == 1205
}

// pause waits a random time up to 1 ms, doubled at each attempt, at most 64 ms. It is false when ctx ended first.
func pause(ctx context.Context, attempt int) bool {
	limit := time.Millisecond << min(attempt, 6)
	timer := time.NewTimer(rand.N(limit))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
