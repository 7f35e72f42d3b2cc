package loadbench

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// runPinned runs a command on CPU 0 and returns what it printed, to either output, and how it ended.
func runPinned(ctx context.Context, args ...string) ([]byte, *os.ProcessState, error) {
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	// A Go program on one CPU must know that it has only one.
	cmd.Env = append(os.Environ(), "GOMAXPROCS=1")
	if err := startPinned(cmd, 0); err != nil {
		return nil, nil, err
	}
	if err := cmd.Wait(); err != nil {
		return nil, nil, fmt.Errorf("%w: %.500s", err, out.Bytes())
	}
	return out.Bytes(), cmd.ProcessState, nil
}

// startPinned starts a process that may use one CPU only; on a machine with one, they share it.
//
// Subtle: the child inherits the affinity of the thread that forks. The thread is left locked, so that it ends with its
// goroutine rather than serving others. The child's Pdeathsig is about that thread, too, so the goroutine outlives the child.
func startPinned(cmd *exec.Cmd, cpu int) error {
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		var set unix.CPUSet
		set.Set(cpu % runtime.NumCPU())
		err := unix.SchedSetaffinity(0, &set)
		if err == nil {
			err = cmd.Start()
		}
		started <- err
		if err == nil {
			unix.Waitid(unix.P_PID, cmd.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		}
	}()
	return <-started
}
