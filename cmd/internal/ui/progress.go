package ui

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
)

// patience is how long a command may be silent, and again is how often it says again that it still works.
const patience, again = 2 * time.Second, 5 * time.Second

// SayWhile calls say after two seconds, and then every five, until the function that it returns is called; that may be called again.
func SayWhile(say func()) (done func()) {
	quit, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for wait := patience; ; wait = again {
			select {
			case <-quit:
				return
			case <-time.After(wait):
				say()
			}
		}
	}()
	return sync.OnceFunc(func() { close(quit); <-ended })
}

// Waiting shows on a terminal what a command is waiting for.
func Waiting(w io.Writer, quiet bool, what string) (done func()) {
	if quiet {
		return func() {}
	}
	begun := time.Now()
	return SayWhile(func() { fmt.Fprintf(w, "isukit: %5.1f s  %s\n", time.Since(begun).Seconds(), what) })
}

// SayTo prints the current step, with the time since the beginning.
func SayTo(w io.Writer, quiet bool) func(string, ...any) {
	began := time.Now()
	var mu sync.Mutex
	return func(format string, args ...any) {
		if quiet {
			return
		}
		mu.Lock()
		defer mu.Unlock()
		text := strings.ReplaceAll(fmt.Sprintf(format, args...), "\n", " ")
		fmt.Fprintf(w, "isukit: %5.1f s  %s\n", time.Since(began).Seconds(), text)
	}
}
