//go:build unix

package load

import (
	"fmt"
	"syscall"
)

// RaiseFileLimit raises the soft limit to n open files, connections included; if the hard limit is lower, the error explains how.
func RaiseFileLimit(n int) error {
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		return fmt.Errorf("read the limit of open files: %w", err)
	}
	if l.Cur >= uint64(n) {
		return nil
	}
	if l.Max < uint64(n) {
		return fmt.Errorf("the load needs %d open files, %d are allowed: raise the hard limit (ulimit -Hn)", n, l.Max)
	}
	l.Cur = uint64(n)
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		return fmt.Errorf("raise the limit of open files to %d: %w", n, err)
	}
	return nil
}
