package ssh

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"isukit/infra/host"
)

var _ host.Dialer = (*node)(nil)

// Pipe implements host.Host.
func (n *node) Pipe(ctx context.Context, cmd host.Command, in io.Reader, out io.Writer) error {
	name, id := path.Base(cmd.Argv[0]), n.client.newID()
	run := n.client.command(ctx, fmt.Sprintf(runScript, id, changeTo(cmd.Dir), exports(cmd.Env), quote(cmd.Argv[0]), quoteAll(cmd.Argv[1:])), nil)
	if in == nil {
		in = bytes.NewReader(cmd.Stdin)
	}
	errOut := host.Limited{Limit: host.MaxOutputBytes}
	run.Stdin, run.Stdout, run.Stderr = io.MultiReader(run.Stdin, in), &framed{to: out}, &errOut
	err := run.Run()
	if ctx.Err() != nil {
		return errors.Join(fmt.Errorf("run %s on %s: %w", name, n.about.Name, context.Cause(ctx)), n.kill(id))
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		res := host.Result{Code: exit.ExitCode(), Stderr: own(errOut.Data)}
		if err = n.client.fault(res); err == nil {
			err = n.client.failure(res)
		}
	}
	if err != nil && !errors.Is(err, exec.ErrWaitDelay) {
		return fmt.Errorf("run %s on %s: %w", name, n.about.Name, err)
	}
	return nil
}

// Dial implements host.Dialer: the connection is forwarded by the host's sshd.
func (n *node) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	if !strings.HasPrefix(network, "tcp") {
		return nil, fmt.Errorf("dial %s from %s: network %s: %w", address, n.about.Name, network, host.ErrUnsupported)
	}
	syscall.ForkLock.RLock() // no other program that is started meanwhile gets them
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err == nil {
		unix.CloseOnExec(fds[0])
		unix.CloseOnExec(fds[1])
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return nil, fmt.Errorf("dial %s from %s: %w", address, n.about.Name, err)
	}
	ours, theirs := os.NewFile(uintptr(fds[0]), "forwarded"), os.NewFile(uintptr(fds[1]), "forwarded")
	defer theirs.Close()
	conn, err := net.FileConn(ours)
	ours.Close()
	if err != nil {
		return nil, fmt.Errorf("dial %s from %s: %w", address, n.about.Name, err)
	}
	f := &forwarded{Conn: conn, cmd: exec.Command("ssh", append([]string{"-W", address}, n.client.args()...)...), what: address + " from " + n.about.Name}
	f.errOut.Limit = 64 << 10
	f.cmd.Stdin, f.cmd.Stdout, f.cmd.Stderr = theirs, theirs, &f.errOut
	f.cmd.WaitDelay = time.Second
	if err := f.cmd.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("dial %s from %s: %w", address, n.about.Name, err), conn.Close())
	}
	return f, nil
}

// forwarded is a connection through ssh. That nobody answers at its other end shows when it is read.
type forwarded struct {
	net.Conn
	cmd    *exec.Cmd
	errOut host.Limited
	what   string
	end    sync.Once
	read   bool
}

// Read implements net.Conn.
func (f *forwarded) Read(p []byte) (int, error) {
	n, err := f.Conn.Read(p)
	if n == 0 && err == io.EOF && !f.read {
		f.finish()
		if text := lastLines(f.errOut.Data, 2); text != "" {
			err = fmt.Errorf("dial %s: %s", f.what, text)
		}
	}
	f.read = f.read || n > 0
	return n, err
}

// Close implements net.Conn.
func (f *forwarded) Close() error {
	err := f.Conn.Close()
	f.finish()
	return err
}

// finish ends ssh, which the connection cannot do without.
func (f *forwarded) finish() {
	f.end.Do(func() {
		timer := time.AfterFunc(200*time.Millisecond, func() { f.cmd.Process.Kill() }) // it may have to say why it ends
		defer timer.Stop()
		_ = f.cmd.Wait() // how it ended does not matter
	})
}
