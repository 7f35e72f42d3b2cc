package machine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"

	"golang.org/x/term"

	"isukit/infra/host"
)

// attachGate is the gate for a program that has its maker's own input: the line comes by another way.
const attachGate = `read -r go <&3 || exit 125; exec 3<&-; exec "$@"`

// Attach runs a program on a host with the given input and outputs, as a shell would, and returns its exit status. A program
// at a terminal has the terminal: Ctrl-C is for it alone. cmd.Stdin is not used.
func (d *Driver) Attach(ctx context.Context, name string, cmd host.Command, in io.Reader, out, errOut io.Writer) (code int, err error) {
	h, err := d.Host(name)
	if err != nil {
		return 0, err
	}
	n := h.(*node)
	if err := n.attach(ctx, cmd, in, out, errOut); err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) && ctx.Err() == nil {
			return (&launched{cmd: &exec.Cmd{ProcessState: exit.ProcessState}}).code(), nil
		}
		return 0, fmt.Errorf("run %s on %s: %w", filepath.Base(cmd.Argv[0]), name, err)
	}
	return 0, nil
}

func (n *node) attach(ctx context.Context, cmd host.Command, in io.Reader, out, errOut io.Writer) error {
	program, err := n.find(cmd.Argv[0])
	if err != nil {
		return err
	}
	log, err := n.d.commandLog()
	if err != nil {
		return err
	}
	input, open, err := os.Pipe()
	if err != nil {
		return err
	}
	defer input.Close()
	defer open.Close()
	dir, shellDir := n.workDir(cmd.Dir)
	argv := append([]string{"-c", attachGate, "isukit"}, n.inside(dir, append([]string{program}, cmd.Argv[1:]...))...)
	c := exec.CommandContext(ctx, "/bin/sh", argv...)
	c.Stdin, c.Stdout, c.Stderr, c.ExtraFiles = in, out, errOut, []*os.File{input}
	c.Env, c.Dir = slices.Concat(n.env, cmd.Env), shellDir
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if tty, ok := in.(*os.File); ok && term.IsTerminal(int(tty.Fd())) {
		c.SysProcAttr.Foreground, c.SysProcAttr.Ctty = true, int(tty.Fd())
		c.Env = append(c.Env, "TERM="+os.Getenv("TERM"))
	}
	c.Cancel = func() error { return syscall.Kill(-c.Process.Pid, syscall.SIGKILL) }
	if err := c.Start(); err != nil {
		return err
	}
	if _, err := release(c, open, n.recorded(log, filepath.Base(program))); err != nil {
		return err
	}
	err = c.Wait()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}
