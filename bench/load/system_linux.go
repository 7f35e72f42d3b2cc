package load

import (
	"bufio"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// cpuTick is the unit of /proc/stat: USER_HZ is 100 on every architecture that Go runs on.
const cpuTick = 10 * time.Millisecond

// cpuTimes returns the time so far of the CPUs that this process may use, all of it together, and the part in which they were busy: with
// any process, or taken by other virtual machines. Both are 0 if unknown.
func cpuTimes() (all, busy time.Duration) {
	var allowed unix.CPUSet
	if unix.SchedGetaffinity(0, &allowed) != nil {
		return 0, 0
	}
	f, err := os.Open("/proc/stat")
	if err != nil {
		return 0, 0
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) < 9 || !strings.HasPrefix(fields[0], "cpu") {
			continue
		}
		cpu, err := strconv.Atoi(fields[0][len("cpu"):])
		if err != nil || !allowed.IsSet(cpu) {
			continue // the first line is that of all CPUs
		}
		for i, field := range fields[1:9] { // user nice system idle iowait irq softirq steal
			ticks, err := strconv.ParseInt(field, 10, 64)
			if err != nil {
				return 0, 0
			}
			all += time.Duration(ticks) * cpuTick
			if i != 3 && i != 4 {
				busy += time.Duration(ticks) * cpuTick
			}
		}
	}
	return all, busy
}

// Pin restricts the process to some CPUs, and the runtime to as many threads. Call it before the load: later threads inherit it.
func Pin(cpus []int) error {
	if len(cpus) == 0 {
		return fmt.Errorf("pin the generator: no CPUs named")
	}
	var set unix.CPUSet
	for _, cpu := range cpus {
		set.Set(cpu)
	}
	// A thread that is made while the others are moved may inherit from one that was not; the second pass finds it.
	for range 2 {
		tasks, err := os.ReadDir("/proc/self/task")
		if err != nil {
			return fmt.Errorf("pin the generator: %w", err)
		}
		for _, t := range tasks {
			tid, err := strconv.Atoi(t.Name())
			if err != nil {
				continue
			}
			if err := unix.SchedSetaffinity(tid, &set); err != nil && err != unix.ESRCH {
				return fmt.Errorf("pin the generator to CPUs %v: %w", cpus, err)
			}
		}
	}
	runtime.GOMAXPROCS(len(cpus))
	return nil
}

// sharpTimers lets the calling thread's sleeps end within a microsecond instead of 50.
func sharpTimers() {
	// After a failure the timers stay as they are; the report has their delay.
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0)
}

// nap sleeps in the kernel: the runtime's timers are late by half a millisecond and more.
func nap(d time.Duration) {
	ts := unix.NsecToTimespec(d.Nanoseconds())
	_ = unix.Nanosleep(&ts, nil) // a signal only makes it short; the caller looks at the clock
}

// readFD reads from a socket that does not block, into b, which must not be empty.
//
// It and writeFD skip the kernel's layer of files, and, unlike package syscall, the notice to the runtime's scheduler: none of these calls
// waits.
func readFD(fd uintptr, b []byte) (int, error) {
	return call(syscall.SYS_RECVFROM, fd, b, syscall.MSG_DONTWAIT)
}

// writeFD writes b, which is not empty, or a part of it, to a socket that does not block.
func writeFD(fd uintptr, b []byte) (int, error) {
	return call(syscall.SYS_SENDTO, fd, b, syscall.MSG_DONTWAIT|syscall.MSG_NOSIGNAL)
}

func call(trap, fd uintptr, b []byte, flags uintptr) (int, error) {
	for {
		n, _, errno := syscall.RawSyscall6(trap, fd, uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)), flags, 0, 0)
		switch errno {
		case 0:
			return int(n), nil
		case syscall.EAGAIN:
			return -1, syscall.EAGAIN // errno itself, made an error, would allocate
		case syscall.EINTR:
		default:
			return -1, errno
		}
	}
}
