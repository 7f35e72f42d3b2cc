package machine

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// inMount calls f in the mount namespace of a process, and at its root; 0 is this one's. Joining a mount namespace leads to its very root,
// which in a chroot is not the process's: a file for a host would be written to the machine.
func inMount(pid int, f func() error) error {
	if pid == 0 {
		return f()
	}
	result := make(chan error, 1)
	go onThread(func() {
		// The thread is not used for anything else afterwards: it cannot be joined to the others again.
		if err := unix.Unshare(unix.CLONE_FS); err != nil {
			result <- fmt.Errorf("enter a host: %w", err)
			return
		}
		root, err := os.Open(fmt.Sprintf("/proc/%d/root", pid))
		if err != nil {
			result <- fmt.Errorf("enter a host: %w", err)
			return
		}
		defer root.Close()
		if err := enter(pid, "mnt", unix.CLONE_NEWNS); err != nil {
			result <- err
			return
		}
		if err := errors.Join(unix.Fchdir(int(root.Fd())), unix.Chroot(".")); err != nil {
			result <- fmt.Errorf("enter a host: %w", err)
			return
		}
		result <- f()
	})
	return <-result
}

// inNet calls f in the network namespace of a process; what it opens stays there. 0 is this process's own.
func inNet(pid int, f func() error) error {
	if pid == 0 {
		return f()
	}
	result := make(chan error, 1)
	go onThread(func() {
		if err := enter(pid, "net", unix.CLONE_NEWNET); err != nil {
			result <- err
			return
		}
		result <- f()
	})
	return <-result
}

// onThread calls f on a thread that ends with it. It must be called as a goroutine. The program's first thread cannot end,
// and /proc/self shows its namespaces; it is held while another does the work.
func onThread(f func()) {
	runtime.LockOSThread()
	if unix.Gettid() != os.Getpid() {
		f()
		return
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		f()
	}()
	<-done
	runtime.UnlockOSThread()
}

// apart starts a program in network, mount and UTS namespaces of its own.
func apart() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setsid: true, Unshareflags: unix.CLONE_NEWNET | unix.CLONE_NEWNS | unix.CLONE_NEWUTS}
}

func enter(pid int, kind string, flag int) error {
	ns, err := os.Open(fmt.Sprintf("/proc/%d/ns/%s", pid, kind))
	if err != nil {
		return fmt.Errorf("enter a host: %w", err)
	}
	defer ns.Close()
	if err := unix.Setns(int(ns.Fd()), flag); err != nil {
		return fmt.Errorf("enter a host: %w", err)
	}
	return nil
}

// UsableCPUs are the numbers of the CPUs on which this process may run.
func UsableCPUs() ([]int, error) {
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		return nil, fmt.Errorf("read this process's CPUs: %w", err)
	}
	var list []int
	for n := range len(set) * 64 {
		if set.IsSet(n) {
			list = append(list, n)
		}
	}
	return list, nil
}
