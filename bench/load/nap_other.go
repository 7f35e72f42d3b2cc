//go:build !linux

package load

import "time"

func sharpTimers() {}

func nap(d time.Duration) { time.Sleep(d) }
