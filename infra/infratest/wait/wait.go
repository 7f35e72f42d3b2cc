// Package wait lets tests wait for a condition instead of for time to pass: For and ForNil return as soon as it is true, and name it when
// it stays false. A machine may be slow, or busy with other work: no test judges how long something took.
package wait

import (
	"testing"
	"time"
)

// Limit is how long a condition may take. It is far more than any takes on a quiet machine.
const Limit = time.Minute

const every = 10 * time.Millisecond

// For returns once ok is true, and fails tb after Limit. what is the condition, e.g. "the replica to have 3 rows". Call it from the test.
func For(tb testing.TB, what string, ok func() bool) {
	tb.Helper()
	if !Within(ok) {
		tb.Fatalf("waited %v for %s", Limit, what)
	}
}

// ForNil is For for a condition that is an error until it is true: a failure prints the last one.
func ForNil(tb testing.TB, what string, try func() error) {
	tb.Helper()
	var err error
	if !Within(func() bool { err = try(); return err == nil }) {
		tb.Fatalf("waited %v for %s: %v", Limit, what, err)
	}
}

// Within reports whether ok came true within Limit, for goroutines other than the test's, and for longer messages.
func Within(ok func() bool) bool {
	for end := time.Now().Add(Limit); ; {
		began := time.Now()
		if ok() {
			return true
		}
		if time.Now().After(end) { // clock: this is where tests wait
			return false
		}
		time.Sleep(min(max(every, 3*time.Since(began)), 20*every)) // a condition that starts programs must not keep others from running
	}
}
