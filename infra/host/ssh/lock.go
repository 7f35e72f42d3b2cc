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
	record record
	host   string
	client *client
	cmd    *exec.Cmd
	input  io.WriteCloser
	output *bufio.Reader
	errOut host.Limited
	first  *firstLook
}

// lockScript takes the lock when it is given the holder as the first line of its input, ends what a holder that was killed has left,
// does what it is given, and holds the lock until its input ends. It waits for one who is gone and whose lock still has to end.
var lockScript = `read -r holder || exit 0
exec 9<>/run/isukit.lock
if ! flock -w 5 9; then echo taken; cat /run/isukit.holder 2>/dev/null; exit 0; fi
printf '%%s\n' "$holder" >/run/isukit.holder
` + strings.Replace(endScript, "%s", "/run/isukit/"+heldRuns+"*", 1) + `echo mine
( %s ) </dev/null
cat >/dev/null
rm -f /run/isukit.holder
`

// Lock implements host.Driver. Hosts that come into use while it is held are locked, too.
func (d *Driver) Lock(ctx context.Context, holder string) (release func() error, err error) {
	release, away, err := d.LockPartly(ctx, holder)
	if away != nil {
		return nil, errors.Join(away, release())
	}
	return release, err
}

// LockPartly implements host.PartLocker.
func (d *Driver) LockPartly(ctx context.Context, holder string) (release func() error, away, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.holder.Name != "" {
		return nil, nil, &host.LockedError{Driver: d.Name(), Holder: d.holder}
	}
	list, err := d.read()
	if err != nil {
		return nil, nil, err
	}
	d.holder = who(holder)
	away, err = d.lockMore(ctx, list)
	if err != nil {
		return nil, nil, errors.Join(err, d.unlock())
	}
	return func() error {
		d.mu.Lock()
		defer d.mu.Unlock()
		return d.unlock()
	}, away, nil
}

func who(holder string) host.Holder {
	name, err := os.Hostname()
	if err != nil {
		name = ""
	}
	return host.Holder{Name: holder, Since: time.Now(), PID: os.Getpid(), Where: name}
}

// lockMore locks those hosts that are not locked yet, if the driver holds the lock. It connects to all of them in parallel, and locks one
// after another, in order: of two drivers that do so at the same time one gets them all. Those that are unreachable are in away, and are not
// asked again while the lock is held.
func (d *Driver) lockMore(ctx context.Context, list []record) (away, err error) {
	if d.holder.Name == "" {
		return nil, nil
	}
	holder, err := json.Marshal(d.holder)
	if err != nil {
		return nil, err
	}
	var more []*hostLock
	for _, r := range list {
		if d.locks[r.Want.Name] != nil {
			continue
		}
		l, startErr := d.startLock(ctx, r)
		if err = startErr; err != nil {
			break
		}
		more = append(more, l)
	}
	for _, l := range more {
		if err == nil {
			err = l.take(ctx, holder)
			for n := 1; n < greetings && busy(err); n++ {
				if again, startErr := d.startLock(ctx, l.record); startErr == nil {
					l, err = again, again.take(ctx, holder)
				}
			}
		}
		if err == nil {
			d.locks[l.host] = l
			d.locked.Store(l.host, true)
			continue
		}
		_ = l.cmd.Process.Kill() // it may be waiting for a host that is gone
		_ = l.release()          // the first error says it
		if errors.Is(err, host.ErrUnreachable) {
			d.away.Store(l.host, err)
			away, err = errors.Join(away, err), nil
		}
	}
	return away, err
}

// startLock connects to a host, and is ready to take the lock there.
func (d *Driver) startLock(ctx context.Context, r record) (*hostLock, error) {
	l := &hostLock{record: r, host: r.Want.Name, client: d.client(r.Want, r.Sudo), errOut: host.Limited{Limit: host.MaxOutputBytes}, first: d.firstLook(r)}
	l.cmd = l.client.command(context.WithoutCancel(ctx), "", nil) // it lives as long as the lock
	l.cmd.Stdin, l.cmd.Stderr = nil, &l.errOut
	var err error
	if l.input, err = l.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	output, err := l.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	l.output = bufio.NewReader(io.LimitReader(output, maxBatchBytes))
	if err := l.cmd.Start(); err != nil {
		return nil, fmt.Errorf("lock host %s: %w", l.host, err)
	}
	_, _ = io.WriteString(l.input, toReceive(fmt.Sprintf(lockScript, l.first.script()))) // take finds out
	return l, nil
}

// take takes the lock. After a failure, the caller must release it anyway.
func (l *hostLock) take(ctx context.Context, holder []byte) error {
	stop := context.AfterFunc(ctx, func() { l.cmd.Process.Kill() })
	defer stop()
	_, err := fmt.Fprintf(l.input, "%s\n", holder)
	answer, readErr := "", error(nil)
	for begins := false; !begins && readErr == nil; {
		answer, readErr = l.output.ReadString('\n')
		begins = strings.HasSuffix(answer, begun)
	}
	if readErr == nil {
		answer, readErr = l.output.ReadString('\n')
	}
	switch answer {
	case "mine\n":
		if readErr = l.first.read(l.output); readErr == nil {
			return nil
		}
	case "taken\n":
		text, _ := io.ReadAll(l.output)
		locked := &host.LockedError{Driver: "ssh", Host: l.host, Holder: host.Holder{Name: "somebody"}}
		_ = json.Unmarshal(text, &locked.Holder) // the holder may just be writing its name
		var me host.Holder
		if err := json.Unmarshal(holder, &me); err == nil && locked.Holder.PID == me.PID && locked.Holder.Where == me.Where && locked.Holder.Since.Equal(me.Since) {
			return nil // by its other name
		}
		return locked
	}
	waitErr := l.release()
	if ctx.Err() != nil {
		return fmt.Errorf("lock host %s: %w", l.host, context.Cause(ctx))
	}
	if fault := l.client.fault(host.Result{Code: l.cmd.ProcessState.ExitCode(), Stderr: own(l.errOut.Data)}); fault != nil {
		return fault
	}
	return fmt.Errorf("lock host %s: %w: %s", l.host, errors.Join(err, readErr, waitErr), strings.TrimSpace(string(l.errOut.Data)))
}

// release gives the lock back; again, it does nothing.
func (l *hostLock) release() error {
	l.input.Close()
	if l.cmd.ProcessState != nil {
		return nil
	}
	return l.cmd.Wait()
}

// unlock gives all locks back.
func (d *Driver) unlock() error {
	for _, l := range d.locks { // in parallel
		l.input.Close()
	}
	var errs []error
	for name, l := range d.locks {
		if err := l.release(); err != nil && l.cmd.ProcessState.ExitCode() != sshFailed { // a host that has booted since has no lock
			errs = append(errs, fmt.Errorf("unlock host %s: %w", name, err))
		}
		delete(d.locks, name)
		d.locked.Delete(name)
	}
	d.holder = host.Holder{}
	d.away.Clear()
	return errors.Join(errs...)
}

// exit ends the shared connection to a host.
func (c *client) exit(ctx context.Context) error {
	return exec.CommandContext(ctx, "ssh", append([]string{"-O", "exit"}, c.args()...)...).Run()
}
