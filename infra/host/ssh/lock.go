package ssh

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"

	"isukit/infra/host"
)

// hostLock is a lock on a host: a command there that holds it until its input ends, as it does when this process dies.
type hostLock struct {
	cmd   *exec.Cmd
	input io.WriteCloser
}

// lockScript takes the lock and holds it until its input ends. It is given the holder as the first line of its input.
const lockScript = `read -r holder
exec 9<>/run/isukit.lock
if ! flock -n 9; then echo taken; cat /run/isukit.holder 2>/dev/null; exit 0; fi
printf '%s\n' "$holder" >/run/isukit.holder
echo mine
cat >/dev/null
rm -f /run/isukit.holder
`

// Lock implements host.Driver. Hosts that come into use while it is held are locked, too.
func (d *Driver) Lock(ctx context.Context, holder string) (release func() error, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.holder.Name != "" {
		return nil, &host.LockedError{Driver: d.Name(), Holder: d.holder}
	}
	list, err := d.read()
	if err != nil {
		return nil, err
	}
	d.holder = who(holder)
	if err := d.lockMore(ctx, list); err != nil {
		return nil, errors.Join(err, d.unlock())
	}
	return func() error {
		d.mu.Lock()
		defer d.mu.Unlock()
		return d.unlock()
	}, nil
}

func who(holder string) host.Holder {
	name, err := os.Hostname()
	if err != nil {
		name = ""
	}
	return host.Holder{Name: holder, Since: time.Now(), PID: os.Getpid(), Where: name}
}

// lockMore locks those hosts that are not locked yet, if somebody holds the lock.
func (d *Driver) lockMore(ctx context.Context, list []record) error {
	if d.holder.Name == "" {
		return nil
	}
	for _, r := range list {
		if d.locks[r.Want.Name] != nil {
			continue
		}
		l, err := d.lockHost(ctx, r)
		if err != nil {
			return err
		}
		d.locks[r.Want.Name] = l
	}
	return nil
}

func (d *Driver) lockHost(ctx context.Context, r record) (*hostLock, error) {
	holder, err := json.Marshal(d.holder)
	if err != nil {
		return nil, err
	}
	c := d.client(r.Want, r.Sudo)
	cmd := c.command(context.WithoutCancel(ctx), "", nil) // it lives as long as the lock
	cmd.Stdin = nil
	errOut := limitedBuffer{limit: host.MaxOutputBytes}
	cmd.Stderr = &errOut
	input, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	output, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("lock host %s: %w", r.Want.Name, err)
	}
	l := &hostLock{cmd, input}
	stop := context.AfterFunc(ctx, func() { cmd.Process.Kill() })
	defer stop()
	_, err = fmt.Fprintf(input, "%d\n%s%s\n", len(lockScript), lockScript, holder)
	said := bufio.NewReader(io.LimitReader(output, 64<<10))
	answer, readErr := said.ReadString('\n')
	switch {
	case answer == "mine\n":
		return l, nil
	case answer == "taken\n":
		text, _ := io.ReadAll(said)
		locked := &host.LockedError{Driver: d.Name(), Host: r.Want.Name, Holder: host.Holder{Name: "somebody"}}
		_ = json.Unmarshal(text, &locked.Holder) // who has it may just be writing down their name
		l.release()
		return nil, locked
	}
	waitErr := l.release()
	if fault := c.fault(host.Result{Code: cmd.ProcessState.ExitCode(), Stderr: errOut.data}); fault != nil {
		return nil, fault
	}
	return nil, fmt.Errorf("lock host %s: %w: %s", r.Want.Name, errors.Join(err, readErr, waitErr), strings.TrimSpace(string(errOut.data)))
}

func (l *hostLock) release() error {
	l.input.Close()
	return l.cmd.Wait()
}

// unlock gives all locks back.
func (d *Driver) unlock() error {
	var errs []error
	for name, l := range d.locks {
		if err := l.release(); err != nil {
			errs = append(errs, fmt.Errorf("unlock host %s: %w", name, err))
		}
		delete(d.locks, name)
	}
	d.holder = host.Holder{}
	return errors.Join(errs...)
}

// exit ends the shared connection to a host.
func (c *client) exit(ctx context.Context) error {
	return exec.CommandContext(ctx, "ssh", append([]string{"-O", "exit"}, c.args()...)...).Run()
}
