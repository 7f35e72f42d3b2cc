package host

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// ApplyError is why an apply failed or was interrupted, and what became of the hosts.
type ApplyError struct {
	Reason error
	Left   string // how the hosts were left, as a clause
	Err    error  // why they could not be left as they were before; nil if they were
}

func (e *ApplyError) Error() string {
	if e.Err != nil {
		return fmt.Sprintf("%v; and %s: %v", e.Reason, e.Left, e.Err)
	}
	return fmt.Sprintf("%v (%s)", e.Reason, e.Left)
}

func (e *ApplyError) Unwrap() []error {
	if e.Err != nil {
		return []error{e.Reason, e.Err}
	}
	return []error{e.Reason}
}

// Restore makes hosts what they were before an apply of a topology that failed for the reason given, and returns the reason with how they were
// left. before is the topology that was applied before; "" is none, and undone then describes the hosts without one. While a host is away, as
// one that boots is, back is called again, within the limit.
func Restore(ctx context.Context, reason error, before, undone string, limit time.Duration, say func(format string, args ...any), back func() error) error {
	restored, failed := undone, "the changes could not be undone"
	if before == "" {
		say("undoing the changes")
	} else {
		restored, failed = "topology "+before+" was restored and is running", "topology "+before+" could not be restored"
		say("putting topology %s back", before)
	}
	var last error
	err := Until(ctx, limit, time.Second, func(context.Context) error {
		if last = back(); errors.Is(last, ErrUnreachable) {
			say("waiting for a host that is away: %v", last)
			return last
		}
		return nil
	})
	if err = errors.Join(err, last); err != nil {
		return Hinted(&ApplyError{reason, failed, err}, "isukit topology status shows the current state; when all hosts answer, apply the topology again, or remove it: isukit topology down")
	}
	return &ApplyError{reason, restored, nil}
}
