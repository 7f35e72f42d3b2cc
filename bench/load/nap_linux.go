package load

import (
	"time"

	"golang.org/x/sys/unix"
)

// sharpTimers lets the calling thread's sleeps end within a microsecond instead of 50.
func sharpTimers() {
	// Failure only leaves the timers as they are; the report tells how late they were.
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0)
}

// nap sleeps in the kernel: the runtime's timers are late by half a millisecond and more.
func nap(d time.Duration) {
	ts := unix.NsecToTimespec(d.Nanoseconds())
	_ = unix.Nanosleep(&ts, nil) // a signal only makes it short; the caller looks at the clock
}
