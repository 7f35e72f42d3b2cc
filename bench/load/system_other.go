//go:build !linux

package load

import (
	"errors"
	"syscall"
	"time"
)

func cpuTimes() (all, busy time.Duration) { return 0, 0 }

// Pin restricts the process to some CPUs; it can do so on Linux only.
func Pin([]int) error { return errors.New("pin the generator: only Linux can") }

func sharpTimers() {}

func nap(d time.Duration) { time.Sleep(d) }

func readFD(fd uintptr, b []byte) (int, error) {
	for {
		n, err := syscall.Read(int(fd), b)
		if err != syscall.EINTR {
			return n, err
		}
	}
}

func writeFD(fd uintptr, b []byte) (int, error) {
	for {
		n, err := syscall.Write(int(fd), b)
		if err != syscall.EINTR {
			return n, err
		}
	}
}
