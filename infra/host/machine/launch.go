package machine

import (
	"bytes"
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

// gate waits for a line before it becomes the program. A process cannot be recorded before it is there, and must not run
// before it is recorded. What follows the line is the program's input: a shell reads a pipe no further than the line's end.
const gate = `read -r go || exit 125; exec "$@"`

// supervise is the gate of a service: it stays, as the first process of the service's group, and writes down how the program
// ended, since there may be no isukit to see it. It is given the file for that.
const supervise = `read -r go || exit 125
"$@" </dev/null
code=$?
printf '%s\n' "$code" >"$0.new" && mv "$0.new" "$0"`

type launch struct {
	argv           []string // of the shell that waits
	env            []string
	dir            string
	stdin          io.Reader // nil is nothing
	stdout, stderr io.Writer
	// patience is how long after the end what it leaves behind may have its output open; 0 is until all is read.
	patience time.Duration
	// record is called with the process before it is let go.
	record func(proc.ID) error
}

type launched struct {
	proc.ID
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended and was waited for
}

// start makes a process and releases it. A goroutine waits for its end; with a kept driver it outlives this program.
func (l launch) start() (*launched, error) {
	input, open, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer input.Close()
	cmd := exec.Command(l.argv[0], l.argv[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = input, l.stdout, l.stderr
	cmd.Env, cmd.Dir = l.env, l.dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	cmd.WaitDelay = l.patience
	if err := cmd.Start(); err != nil {
		open.Close()
		return nil, err
	}
	p := &launched{cmd: cmd, done: make(chan struct{})}
	if p.ID, err = release(cmd, open, l.record); err != nil {
		open.Close()
		return nil, err
	}
	go func() { // it ends with the program, or when a write to the closed input fails
		if l.stdin != nil {
			_, _ = io.Copy(open, l.stdin) // a program that does not want it has done nothing wrong
		}
		open.Close()
	}()
	go func() {
		defer close(p.done)
		cmd.Wait()
		open.Close()
	}()
	return p, nil
}

// release records a process that waits, and lets it go.
func release(cmd *exec.Cmd, open io.Writer, record func(proc.ID) error) (proc.ID, error) {
	st, err := proc.Read(cmd.Process.Pid)
	if err == nil {
		err = record(st.ID)
	}
	if err == nil {
		_, err = io.WriteString(open, "go\n")
	}
	if err != nil {
		cmd.Process.Kill()
		cmd.Wait()
	}
	return st.ID, err
}

// code is the exit status; only to be called when the process is done.
func (p *launched) code() int {
	if ws, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		return 128 + int(ws.Signal())
	}
	return p.cmd.ProcessState.ExitCode()
}

// tool runs a program of the system with text as its input, in the network namespace of a process (0 for this one's).
func tool(ctx context.Context, pid int, input string, argv ...string) error {
	if pid != 0 {
		argv = append([]string{"nsenter", "--target", fmt.Sprint(pid), "--net", "--"}, argv...)
	}
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Stdin = bytes.NewBufferString(input)
	cmd.Env = environment()
	out, err := cmd.CombinedOutput()
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		return fmt.Errorf("%s: %w: %s", argv[len(argv)-1], err, bytes.TrimSpace(out))
	}
	return nil
}

// environment is the environment of commands and services: little, so that they behave the same for every user.
func environment() []string {
	path := os.Getenv("PATH")
	if path != "" {
		path += ":"
	}
	env := []string{"PATH=" + path + "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
	for _, name := range []string{"HOME", "USER", "LOGNAME", "LANG", "TZ", "TMPDIR"} {
		if v, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+v)
		}
	}
	return env
}

// errExited: a process exited before it was ready.
var errExited = errors.New("it exited before it was ready")
