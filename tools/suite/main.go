// Command suite runs go test on real servers and cleans up after it, also after an interruption.
//
//	suite [-busy] go test FLAGS PACKAGES
//	suite run TEST ARGUMENTS
//
// It starts every test binary through itself (the second form), which measures its CPU time.
//
// All temporary files are in one directory, in memory if there is plenty. What a test started has that directory's name in its environment,
// command line or working directory. When the tests are over, and after a run that was killed, suite ends, unmounts and removes everything
// with that name. The output is that of go test without -v, the ten slowest tests, and the ten packages that took most CPU time.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"
	"time"
)

func main() {
	os.Exit(mainExit())
}

func mainExit() int {
	busy := flag.Bool("busy", false, "run a busy loop for each CPU beside the tests, at the same priority")
	flag.Usage = func() {
		fmt.Fprintln(os.Stderr, "usage: suite [-busy] go test FLAGS PACKAGES")
		flag.PrintDefaults()
	}
	flag.Parse()
	if flag.NArg() > 1 && flag.Arg(0) == runArg {
		return runTest(flag.Args()[1:])
	}
	if flag.NArg() < 2 || flag.Arg(1) != "test" {
		flag.Usage()
		return 2
	}
	code, err := suite(flag.Args(), *busy)
	if err != nil {
		fmt.Fprintln(os.Stderr, "suite: error:", err)
		return max(code, 1)
	}
	return code
}

// suite returns the exit code of go test, or that of a shell command that a signal ended.
func suite(argv []string, busy bool) (code int, err error) {
	// The kernel ties the death signal of a child to the thread that started it.
	runtime.LockOSThread()
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	removeDead()
	run, err := newRun()
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, run.remove()) }()
	if busy {
		stop, err := spinAll()
		defer stop()
		if err != nil {
			return 1, err
		}
	}
	return goTest(argv, run.dir, signals)
}

// patience is how long go test and its tests may take to end after a signal.
const patience = 10 * time.Second

func goTest(argv []string, tmp string, signals <-chan os.Signal) (code int, err error) {
	began := time.Now()
	me, err := os.Executable()
	if err != nil {
		return 1, err
	}
	cmd := exec.Command(argv[0], append([]string{"test", "-json", "-exec", me + " " + runArg}, argv[2:]...)...)
	cmd.Env = append(os.Environ(), "TMPDIR="+tmp)
	cmd.Stderr = os.Stderr
	// A group of its own: a signal to this process alone reaches all of it, and one to the terminal's group reaches it once.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return 1, err
	}
	if err := cmd.Start(); err != nil {
		return 1, err
	}
	p := newPrinter(os.Stdout)
	ended := make(chan error, 1)
	go func() {
		err := p.read(out)
		ended <- errors.Join(err, ignoreExit(cmd.Wait()))
	}()
	var told syscall.Signal
	var late <-chan time.Time
	for {
		select {
		case err := <-ended:
			p.slowest(10)
			p.busiest(10)
			fmt.Printf("%s in all, CPU time %.0f s\n", time.Since(began).Round(time.Second), cpuSeconds(cmd))
			if told != 0 {
				return 128 + int(told), err
			}
			return cmd.ProcessState.ExitCode(), err
		case s := <-signals:
			told = s.(syscall.Signal)
			_ = syscall.Kill(-cmd.Process.Pid, told) // it may have ended
			if late == nil {
				late = time.After(patience)
			}
		case <-late:
			_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
			endMarked(tmp) // who holds go test's output open
		}
	}
}

// ignoreExit leaves the exit code to the caller.
func ignoreExit(err error) error {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return nil
	}
	return err
}

const runArg = "run"

// runTest runs a test binary, and says at the end, in a line of its output, what CPU time it and what it waited for took.
func runTest(argv []string) int {
	runtime.LockOSThread() // as above
	// go test sends the signal for a slow test to this process alone; a user's signal reaches all of the group.
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGQUIT, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		fmt.Fprintln(os.Stderr, "suite: error:", err)
		return 1
	}
	go func() {
		for s := range signals {
			if s == syscall.SIGQUIT {
				_ = cmd.Process.Signal(s) // it may have ended
			}
		}
	}()
	if err := ignoreExit(cmd.Wait()); err != nil {
		fmt.Fprintln(os.Stderr, "suite: error:", err)
	}
	fmt.Printf("%s%.2f\n", cpuMark, cpuSeconds(cmd))
	return cmd.ProcessState.ExitCode() // -1 where a signal ended it
}

// cpuSeconds is what a process that was waited for used, and what it waited for itself.
func cpuSeconds(cmd *exec.Cmd) float64 {
	return (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds()
}

// spinAll starts a busy loop for each CPU. They end with this process in any case.
func spinAll() (stop func(), err error) {
	var loops []*exec.Cmd
	stop = func() {
		for _, l := range loops {
			_ = l.Process.Kill()
			_ = l.Wait() // it was killed, that is its error
		}
	}
	for range runtime.NumCPU() {
		l := exec.Command("sh", "-c", "while :; do :; done")
		l.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
		if err := l.Start(); err != nil {
			return stop, err
		}
		loops = append(loops, l)
	}
	fmt.Printf("beside %d busy loop(s)\n", len(loops))
	return stop, nil
}
