package host

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"time"

	"isukit/infra/host/proc"
)

// child is a process of a Local, with its group.
type child struct {
	proc.ID
	name       string
	stopSignal syscall.Signal
	since      time.Time
	stamp      string
	cmd        *exec.Cmd
	done       chan struct{} // closed when the first process has ended and was waited for
}

type launch struct {
	name           string
	argv, env      []string
	dir            string
	stdin          []byte
	stdout, stderr io.Writer
}

// gate waits for a line before it becomes the program. A process cannot be recorded before it is there, and must not
// run before it is recorded; so it is made as this shell, recorded, and then let go. When the recorder dies in
// between, the shell reads the end of its input and ends.
// What follows the line is the program's input: a shell reads a pipe no further than the line's end.
const gate = `read -r go || exit 125; exec "$@"`

// launch starts a program that is on record before it begins.
func (l *Local) launch(what launch) (*child, error) {
	fail := func(err error) (*child, error) { return nil, fmt.Errorf("start %s: %w", what.name, err) }
	program, err := exec.LookPath(what.argv[0])
	if err != nil {
		return fail(err)
	}
	input, open, err := os.Pipe()
	if err != nil {
		return fail(err)
	}
	defer input.Close()

	cmd := exec.Command("/bin/sh", append([]string{"-c", gate, what.name, program}, what.argv[1:]...)...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = input, what.stdout, what.stderr
	cmd.Env = append(cmd.Environ(), what.env...)
	cmd.Dir = what.dir
	if cmd.Dir == "" {
		cmd.Dir = l.dir
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		open.Close()
		return fail(err)
	}
	c := &child{name: what.name, cmd: cmd, done: make(chan struct{})}
	st, err := proc.Read(cmd.Process.Pid)
	if err == nil {
		c.ID = st.ID
		err = l.inventory.add(record{Boot: proc.Boot(), Name: what.name, ID: st.ID})
	}
	if err == nil {
		_, err = io.WriteString(open, "go\n")
	}
	if err != nil {
		open.Close()
		cmd.Process.Kill()
		cmd.Wait()
		return fail(err)
	}
	fed := make(chan struct{})
	go func() { // ends when the program has read its input, or is not there to read it
		defer close(fed)
		defer open.Close()
		_, _ = open.Write(what.stdin) // a program that does not want it has done nothing wrong
	}()
	go func() { // ends with the process; whoever ends the process waits for done
		defer close(c.done)
		cmd.Wait()
		open.Close()
		<-fed
	}()
	return c, nil
}

func (c *child) running() bool {
	select {
	case <-c.done:
		return false
	default:
		return true
	}
}

func (c *child) state() State {
	if c.running() {
		return State{Running: true, PID: c.PID, Group: c.PID, Since: c.since, Stamp: c.stamp}
	}
	return State{PID: c.PID, Group: c.PID, Since: c.since, Stamp: c.stamp, Exit: c.cmd.ProcessState.String()}
}

// code is the exit status; only to be called when the child is done.
func (c *child) code() int {
	if ws, ok := c.cmd.ProcessState.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		return 128 + int(ws.Signal())
	}
	return c.cmd.ProcessState.ExitCode()
}

// end sends sig to the first process, waits, and then kills what is left of its group. dir is the run directory.
func (c *child) end(ctx context.Context, dir string, sig syscall.Signal, patience time.Duration) error {
	if c.running() {
		if err := c.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
			return fmt.Errorf("stop %s: %w", c.name, err)
		}
		select {
		case <-c.done:
		case <-ctx.Done():
		case <-time.After(patience):
		}
	}
	if _, err := proc.EndGroup(context.WithoutCancel(ctx), c.name, c.ID, dir); err != nil {
		return fmt.Errorf("stop %s: %w", c.name, err)
	}
	<-c.done
	return nil
}
