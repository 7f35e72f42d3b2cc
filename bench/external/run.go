// Package external runs a benchmark that is a command, and finds in its output the score and whether it passed. It does not trust the exit
// status alone: some benchmarks exit with 0 and print "pass": false. Measuring during the run, and saving it, are left to others.
package external

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Command is a benchmark to run.
type Command struct {
	// Line is run by sh.
	Line string
	Dir  string
	// Env is KEY=value, all of it.
	Env []string
	// Timeout ends a benchmark that hangs: with SIGTERM, and with SIGKILL ten seconds later; 0 is none.
	Timeout time.Duration
	// Log takes all that it writes, as it comes; nil drops it.
	Log io.Writer
	// OnLine, if set, is called with every line that it writes, without its end, by one goroutine at a time; what it writes last
	// counts as a line without an end, too.
	OnLine func(line string)
}

// MaxOutputBytes is how much of the end of the output rules look at.
const MaxOutputBytes = 8 << 20

// Run is how a benchmark ran.
type Run struct {
	Began, Ended time.Time
	// Exit is the exit status, 128 and the signal's number where one ended it.
	Exit int
	// Output is the end of what it wrote to both its outputs.
	Output []byte
	// Ending is why isukit stopped it: it hung, or the user interrupted it; "" if it exited.
	Ending string
}

const killAfter = 10 * time.Second

// Start runs the command and waits for its end. It is an error if the command cannot be started or its output not be saved; a benchmark
// that fails, hangs or is killed is a Run. When ctx ends, the command is stopped as if it hung.
func (c Command) Start(ctx context.Context) (*Run, error) {
	cmd := exec.Command("sh", "-c", c.Line)
	cmd.Dir, cmd.Env = c.Dir, c.Env
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out := &output{log: c.Log, onLine: c.OnLine}
	cmd.Stdout, cmd.Stderr = out, out
	// What it leaves behind may hold its output open.
	cmd.WaitDelay = 5 * time.Second
	r := &Run{Began: time.Now()}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the benchmark: %w", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	var expired <-chan time.Time
	if c.Timeout > 0 {
		timer := time.NewTimer(c.Timeout)
		defer timer.Stop()
		expired = timer.C
	}
	var err error
	select {
	case err = <-ended:
	case <-expired:
		r.Ending = fmt.Sprintf("it did not end within %v", c.Timeout)
		err = end(cmd, ended)
	case <-ctx.Done():
		r.Ending = "it was interrupted"
		err = end(cmd, ended)
	}
	r.Ended = time.Now()
	r.Output = out.end()
	r.Exit = exitOf(cmd, err)
	return r, out.err
}

// end asks the command and all of its children to end, and makes them.
func end(cmd *exec.Cmd, ended <-chan error) error {
	_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM)
	select {
	case err := <-ended:
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		return err
	case <-time.After(killAfter):
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		return <-ended
	}
}

func exitOf(cmd *exec.Cmd, err error) int {
	var exit *exec.ExitError
	if err == nil || errors.Is(err, exec.ErrWaitDelay) {
		return cmd.ProcessState.ExitCode()
	}
	if !errors.As(err, &exit) {
		return -1
	}
	if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return 128 + int(status.Signal())
	}
	return exit.ExitCode()
}

// output keeps the end of what is written and passes it on.
type output struct {
	mu     sync.Mutex
	log    io.Writer
	onLine func(string)
	kept   []byte
	line   []byte
	err    error
}

// Write implements io.Writer. It never fails: a benchmark must not end because a disk is full.
func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.log != nil && o.err == nil {
		if _, err := o.log.Write(p); err != nil {
			o.err = fmt.Errorf("keep the benchmark's output: %w", err)
		}
	}
	if o.kept = append(o.kept, p...); len(o.kept) > 2*MaxOutputBytes {
		o.kept = append(o.kept[:0], o.kept[len(o.kept)-MaxOutputBytes:]...)
	}
	o.lines(p)
	return len(p), nil
}

const maxLine = 4096

func (o *output) lines(p []byte) {
	if o.onLine == nil {
		return
	}
	for _, b := range p {
		switch {
		case b == '\n':
			o.lineEnds()
		case len(o.line) < maxLine:
			o.line = append(o.line, b)
		}
	}
}

func (o *output) lineEnds() {
	o.onLine(strings.ToValidUTF8(string(o.line), "?"))
	o.line = o.line[:0]
}

// end returns what rules look at, once nothing more is written.
func (o *output) end() []byte {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.line) > 0 {
		o.lineEnds()
	}
	return o.kept[max(0, len(o.kept)-MaxOutputBytes):]
}
