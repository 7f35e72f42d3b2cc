// Package infratest starts real servers for tests: private MariaDB, MySQL and nginx instances on 127.0.0.1, each with
// its own directory, port, socket and password, gone when the test ends (and also when the test process is killed).
//
//	func TestX(t *testing.T) {
//		for _, engine := range infratest.Engines(t) {
//			t.Run(engine, func(t *testing.T) {
//				db := infratest.StartDB(t, engine)
//				pool := db.Open(t, "")
//				...
//				db.Kill() // as a power failure would
//				db.Restart()
//			})
//		}
//	}
//
// Such tests run when the environment has ISUKIT_TEST_REAL=1 and are skipped, with that sentence, when it has not.
// When they run, a missing server fails them. Starting takes about a second the first time on a machine and a few
// tenths after that: initialised data directories are kept in .local/cache of the repository.
package infratest

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"isukit/infra/host"
	"isukit/infra/host/proc"
	"isukit/infra/infratest/wait"
)

// RealEnv is the environment variable that makes tests against real servers run, when it is "1".
const RealEnv = "ISUKIT_TEST_REAL"

// Real skips the test unless tests against real servers were asked for.
func Real(tb testing.TB) {
	tb.Helper()
	if os.Getenv(RealEnv) != "1" {
		tb.Skipf("needs real servers: set %s=1 to run it (then a missing server fails it)", RealEnv)
	}
}

// NoError fails tb with an error, where there is one.
func NoError(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

// Root is the directory of the repository's go.mod.
func Root(tb testing.TB) string {
	tb.Helper()
	dir, err := os.Getwd()
	if err != nil {
		tb.Fatalf("find the repository: %v", err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			tb.Fatal("find the repository: no go.mod above the working directory")
		}
		dir = parent
	}
}

func localDir(tb testing.TB) string { return filepath.Join(Root(tb), ".local") }

// shortTempDir is like tb.TempDir with a path short enough for a Unix socket in it.
func shortTempDir(tb testing.TB) string {
	tb.Helper()
	dir, err := os.MkdirTemp("", "isukit-test-")
	if err != nil {
		tb.Fatalf("make a directory: %v", err)
	}
	tb.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// FreePort is a TCP port of 127.0.0.1 on which nothing listens.
func FreePort(tb testing.TB) int {
	tb.Helper()
	port, err := host.FreePort()
	NoError(tb, err)
	return port
}

// process is a running server. It is in a process group of its own, and gets deathSignal when the test process dies.
type process struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when the process has ended and was waited for
}

// startProcess starts argv with its output appended to logFile. The kernel ties the death signal to the thread that
// forked, so one goroutine holds its thread from the start of the process to its end.
func startProcess(argv []string, logFile string, deathSignal syscall.Signal) (*process, error) {
	log, err := os.OpenFile(logFile, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	p := &process{cmd: exec.Command(argv[0], argv[1:]...), done: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = log, log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: deathSignal}
	started := make(chan error)
	go func() {
		defer close(p.done)
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := p.cmd.Start()
		started <- err
		if err == nil {
			p.cmd.Wait()
			// Kill the rest of its group now: as long as a member exists, no other process gets the group's number. Later it may be another
			// server's.
			_ = syscall.Kill(-p.pid(), syscall.SIGKILL)
		}
	}()
	return p, <-started
}

func (p *process) pid() int { return p.cmd.Process.Pid }

// signal sends sig to the process, or, where group is set, to all of its process group, unless it has ended.
func (p *process) signal(sig syscall.Signal, group bool) error {
	select {
	case <-p.done:
		return nil
	default:
	}
	pid := p.pid()
	if group {
		pid = -pid
	}
	if err := syscall.Kill(pid, sig); err != nil && !errors.Is(err, syscall.ESRCH) {
		return err
	}
	return nil
}

// end stops the process with sig, and all of its group with SIGKILL after patience, or when the process has ended.
func (p *process) end(sig syscall.Signal, patience time.Duration) error {
	if err := p.signal(sig, false); err != nil {
		return err
	}
	select {
	case <-p.done:
		return nil
	case <-time.After(patience):
	}
	err := p.signal(syscall.SIGKILL, true)
	<-p.done
	return err
}

// StartProcess starts a program in the foreground with its output appended to logFile, and returns when ready returns nil. The returned
// function stops it with stopSignal and waits until all of its process group is gone; it is also called when tb ends. A program that exits,
// or is not ready in time, fails tb with the end of its log.
func StartProcess(tb testing.TB, argv []string, logFile string, stopSignal syscall.Signal, ready func() error) (stop func()) {
	tb.Helper()
	Real(tb)
	p, err := startProcess(argv, logFile, syscall.SIGTERM)
	if err != nil {
		tb.Fatalf("start %s: %v", argv[0], err)
	}
	stop = func() {
		if err := p.end(stopSignal, stopLimit); err != nil {
			tb.Errorf("stop %s: %v", argv[0], err)
		}
	}
	tb.Cleanup(stop)
	if err := p.ready(tb.Context(), ready); err != nil {
		log, _ := os.ReadFile(logFile)
		tb.Fatalf("start %s: %v\n%s", argv[0], err, log[max(0, len(log)-4096):])
	}
	return stop
}

// ready waits until try returns nil; a process that ends before that is an error.
func (p *process) ready(ctx context.Context, try func() error) error {
	var err error
	ended := false
	wait.Within(func() bool {
		select {
		case <-p.done:
			ended = true
		default:
			err = try()
		}
		return ended || err == nil || ctx.Err() != nil
	})
	switch {
	case ended:
		return fmt.Errorf("it exited before it was ready: %w", cmp.Or(err, errEnded))
	case err != nil:
		return fmt.Errorf("it is not ready after %v: %w", wait.Limit, cmp.Or(ctx.Err(), err))
	}
	return nil
}

var errEnded = errors.New("it was never asked")

// ProcessesIn lists the processes that work in dir, even a removed one, or write to a file in it, each as pid and command line.
func ProcessesIn(dir string) (found []string) {
	for _, st := range proc.List(func(st proc.Stat) bool { return proc.StandsIn(st.PID, dir) }) {
		cmdline, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", st.PID))
		found = append(found, fmt.Sprintf("%d %s", st.PID, strings.ReplaceAll(string(cmdline), "\x00", " ")))
	}
	return found
}

// apartEnv holds the name of the test that runs apart.
const apartEnv = "ISUKIT_TEST_APART"

// apartScript makes the new namespaces usable, and names of network namespaces their own.
const apartScript = `ip link set lo up; mount --make-rprivate /; mkdir -p /run/netns; mount -t tmpfs tmpfs /run/netns; exec "$0" "$@"`

// Apart runs a test in a process with network and mount namespaces of its own: what others on the machine do meanwhile is not seen
// there. It is true inside; outside it has run the test, with more in its environment, and reports as that did. It needs root.
func Apart(t *testing.T, env ...string) bool {
	t.Helper()
	if os.Getenv(apartEnv) == t.Name() {
		return true
	}
	cmd := exec.Command("sh", "-ec", apartScript, os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=40m")
	cmd.Env = append(append(os.Environ(), apartEnv+"="+t.Name()), env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	runtime.LockOSThread() // the kernel ties the death signal to it
	defer runtime.UnlockOSThread()
	out, err := cmd.CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte("--- PASS: "+t.Name())) {
		t.Fatalf("in namespaces of its own (root is needed): %v\n%s", err, out)
	}
	t.Logf("%s", out)
	return false
}

// Program writes a program that the test runs. No child is forked meanwhile: it would have the file open for writing for a moment, and
// running the program would fail with "Text file busy".
func Program[T string | []byte](tb testing.TB, path string, text T) {
	tb.Helper()
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	NoError(tb, os.WriteFile(path, []byte(text), 0o755))
}
