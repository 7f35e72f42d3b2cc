// Command suite runs go test on real servers and clears up after it, whatever ended it.
//
//	suite [-busy] go test FLAGS PACKAGES
//
// All temporary files are in one directory, in memory where there is plenty. What a test started has that directory's name in its
// environment, command line or working directory; whatever bears it when the tests are over is ended, unmounted and removed, and so is
// what a run left that was killed. The output is that of go test without -v, and the ten slowest tests.
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
	if flag.NArg() == 1 && flag.Arg(0) == spinArg {
		for n := 0; ; n++ { // until it is killed
		}
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

// patience is how long go test and its tests may take to end when they are told to.
const patience = 10 * time.Second

func goTest(argv []string, tmp string, signals <-chan os.Signal) (code int, err error) {
	began := time.Now()
	cmd := exec.Command(argv[0], append([]string{"test", "-json"}, argv[2:]...)...)
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
			fmt.Printf("%s in all\n", time.Since(began).Round(time.Second))
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

// ignoreExit leaves the exit code to whoever asks for it.
func ignoreExit(err error) error {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return nil
	}
	return err
}

const spinArg = "spin"

// spinAll starts a busy loop for each CPU. They end with this process in any case.
func spinAll() (stop func(), err error) {
	var loops []*exec.Cmd
	stop = func() {
		for _, l := range loops {
			_ = l.Process.Kill()
			_ = l.Wait() // it was killed, that is its error
		}
	}
	me, err := os.Executable()
	if err != nil {
		return stop, err
	}
	for range runtime.NumCPU() {
		l := exec.Command(me, spinArg)
		l.Env = append(os.Environ(), "GOMAXPROCS=1")
		l.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
		if err := l.Start(); err != nil {
			return stop, err
		}
		loops = append(loops, l)
	}
	fmt.Printf("beside %d busy loop(s)\n", len(loops))
	return stop, nil
}
