package main

import (
	"fmt"
	"sync"
	"time"
)

// patience is how long a command may be silent, and again is how often it says again that it still works.
const patience, again = 2 * time.Second, 5 * time.Second

// sayWhile calls say after two seconds, and then every five, until the function that it returns is called; that may be called again.
func sayWhile(say func()) (done func()) {
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

// waiting says what a command that takes its time is doing.
func waiting(s streams, quiet bool, what string) (done func()) {
	if quiet {
		return func() {}
	}
	begun := time.Now()
	return sayWhile(func() { fmt.Fprintf(s.err, "isukit: %5.1f s  %s\n", time.Since(begun).Seconds(), what) })
}

// during says what is being done before and after the round proper, where it takes its time.
func (v *roundView) during(what string) (done func()) {
	return sayWhile(func() { v.step("%s", what) })
}
