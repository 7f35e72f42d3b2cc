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
	"strconv"
	"strings"
	"sync"
	"time"

	"isukit/infra/host"
	"isukit/infra/host/proc"
)

// hostLock is a lock on a host: a command there that holds it until its input ends, as it does when this process dies, or until nothing is
// heard of this process for silentSeconds, as when the network is gone. One that is lost so is taken again by the next command.
type hostLock struct {
	record record
	host   string
	client *client
	holder host.Holder // who takes it
	first  *firstLook

	mu     sync.Mutex // of what follows, once the lock is in the driver's hands
	cmd    *exec.Cmd  // nil while it has no connection
	input  io.WriteCloser
	output *bufio.Reader
	errOut host.Limited
	over   chan struct{} // closed when the command on the host has ended; nil before it has the lock, and for the other name of a host
}

// A lock is heard of every aliveSeconds. One that is silent for longer than ssh bears has no isukit any more, and ends after silentSeconds.
// It is waited for patience times if it is silent, and living times if it is not, waitSeconds each.
const (
	silentSeconds = aliveSeconds * (aliveCount + 3)
	waitSeconds   = 5
	living        = 2
	patience      = silentSeconds/waitSeconds + 3
)

// lockScript takes the lock when it is given the holder as the first line of its input, ends what a holder that was killed has left, and
// does what it is given. While another has the lock, it says for how many seconds nothing was heard of the holder, the process that holds
// it, and the holder; the next line of its input is for how long to wait, or to end that process.
var lockScript = `read -r holder || exit 0
lock=/run/isukit.lock file=/run/isukit.holder
exec 9<>$lock
until flock -n 9; do
	echo "taken $(($(date +%%s) - $(stat -c %%Y $file 2>/dev/null || date +%%s))) $(cat $file 2>/dev/null)"
	read -r seconds || exit 0
	if [ "$seconds" = end ]; then
		read -r pid _ <$file && [ "/proc/$pid/fd/9" -ef $lock ] && kill -s KILL "$pid"
		seconds=` + strconv.Itoa(waitSeconds) + `
	fi
	! flock -w "$seconds" 9 || break
done
printf '%%s %%s\n' $$ "$holder" >$file
` + strings.Replace(endScript, "%s", "/run/isukit/"+heldRuns+"*", 1) + `echo mine
( %s ) </dev/null
command -v bash >/dev/null && exec bash -c 'while read -r -t ` + strconv.Itoa(silentSeconds) + `; do printf %%s $$ 1<>$0; done; ` + writtenScript + `; rm -f $0' $file
cat >/dev/null
` + writtenScript + `
rm -f $file
`

// writtenScript returns when all that was written and removed where isukit does so is on disk: what a command has said to be done outlives a
// power cut.
const writtenScript = "sync -f / /etc /var/lib /home 2>/dev/null || sync"

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

// who is this process as a holder. What is not known of it is left out.
func who(holder string) host.Holder {
	name, _ := os.Hostname()
	self, _ := proc.Self()
	return host.Holder{Name: holder, Since: time.Now(), PID: os.Getpid(), Where: name, Start: self.Start, Origin: origin()}
}

// origin identifies the boot of this machine and the namespace of this process's id: another process of it can be looked for; "" where that is not known.
func origin() string {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	space, spaceErr := os.Readlink("/proc/self/ns/pid")
	if err != nil || spaceErr != nil {
		return ""
	}
	return strings.TrimSpace(string(boot)) + " " + space
}

// dead tells whether a holder was a process of this machine that has ended.
func dead(h host.Holder) bool {
	return h.Start != 0 && h.Origin != "" && h.Origin == origin() && !proc.ID{PID: h.PID, Start: h.Start}.Alive()
}

// lockMore locks those hosts that are not locked yet, if the driver holds the lock. It connects to all of them in parallel, and locks one
// after another, in order: of two drivers that do so at the same time one gets them all. Those that are unreachable are in away, and are not
// asked again while the lock is held.
func (d *Driver) lockMore(ctx context.Context, list []record) (away, err error) {
	if d.holder.Name == "" {
		return nil, nil
	}
	var more []*hostLock
	for _, r := range list {
		if d.locks[r.Want.Name] == nil && err == nil {
			l := &hostLock{record: r, host: r.Want.Name, client: d.client(r.Want, r.Sudo), holder: d.holder, first: d.firstLook(r)}
			more, err = append(more, l), l.start(ctx)
		}
	}
	for _, l := range more {
		if err == nil {
			err = l.obtain(ctx)
		}
		if err == nil {
			d.locks[l.host] = l
			d.locked.Store(l.host, l)
			continue
		}
		l.drop() // the first error says it
		if errors.Is(err, host.ErrUnreachable) {
			d.away.Store(l.host, err)
			away, err = errors.Join(away, err), nil
		}
	}
	return away, err
}

// start connects to the host, and is ready to take the lock there.
func (l *hostLock) start(ctx context.Context) error {
	l.errOut = host.Limited{Limit: host.MaxOutputBytes}
	cmd := l.client.command(context.WithoutCancel(ctx), "", nil) // it lives as long as the lock
	cmd.Stdin, cmd.Stderr = nil, &l.errOut
	input, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	output, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("lock host %s: %w", l.host, err)
	}
	l.cmd, l.input, l.output = cmd, input, bufio.NewReader(io.LimitReader(output, maxBatchBytes))
	_, _ = io.WriteString(l.input, toReceive(fmt.Sprintf(lockScript, l.first.script()))) // take finds out
	return nil
}

// obtain takes the lock, over a connection that it makes where there is none. After a failure there is none.
func (l *hostLock) obtain(ctx context.Context) (err error) {
	for range greetings {
		if l.cmd == nil {
			err = l.start(ctx)
		}
		if err == nil {
			err = l.take(ctx)
		}
		if err == nil {
			return nil
		}
		l.drop()
		if !busy(err) {
			break
		}
	}
	return err
}

// again takes a lock that was lost: with its connection, or by a boot of the host.
func (l *hostLock) again(ctx context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.over == nil {
		return nil
	}
	select {
	case <-l.over:
	default:
		return nil
	}
	l.drop()
	l.first = &firstLook{} // what it was to foresee is past
	return l.obtain(ctx)
}

func (l *hostLock) take(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { l.cmd.Process.Kill() })
	defer stop()
	me, err := json.Marshal(l.holder)
	if err == nil {
		_, err = fmt.Fprintf(l.input, "%s\n", me)
	}
	answer, readErr := "", error(nil)
	for begins := false; !begins && readErr == nil; {
		answer, readErr = l.output.ReadString('\n')
		begins = strings.HasSuffix(answer, begun)
	}
	for asked := 0; readErr == nil; asked++ {
		answer, readErr = l.output.ReadString('\n')
		if answer == "mine\n" {
			if readErr = l.first.read(l.output); readErr == nil {
				l.keep()
				return nil
			}
		} else if text, taken := strings.CutPrefix(answer, "taken "); taken {
			what, refused := l.meet(ctx, text, asked)
			if what == "" {
				return refused
			}
			_, err = fmt.Fprintln(l.input, what)
		}
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

// meet answers a lock that another has: a holder of this machine that is dead, and this process's lost connection, are ended, others are
// waited for. "" is the end of it: an error, or none where the host is locked already, by its other name.
func (l *hostLock) meet(ctx context.Context, text string, asked int) (answer string, err error) {
	locked := &host.LockedError{Driver: "ssh", Host: l.host, Holder: host.Holder{Name: "somebody"}}
	var silent, pid int
	_, _ = fmt.Sscan(text, &silent, &pid) // the holder may just be writing its name
	if _, name, ok := strings.Cut(text, "{"); ok {
		_ = json.Unmarshal([]byte("{"+name), &locked.Holder)
		locked.End = fmt.Sprintf("ssh %s sudo kill -9 %d", l.client.dest, pid)
	}
	h := locked.Holder
	mine := h.PID == l.holder.PID && h.Where == l.holder.Where && h.Since.Equal(l.holder.Since)
	most, why := living, fmt.Sprintf("waiting up to %d s", living*waitSeconds)
	if silent > 2*aliveSeconds {
		most, why = patience, fmt.Sprintf("its connection has been silent for %d s; the host ends it after %d s", silent, silentSeconds)
	}
	switch {
	case mine && l.over == nil:
		return "", nil
	case mine || dead(h):
		answer, why = "end", "that process has ended, or lost its connection: isukit ends its lock"
	case asked >= most:
		return "", locked
	default:
		answer = strconv.Itoa(waitSeconds)
	}
	if asked == 0 {
		host.Announce(ctx, fmt.Sprintf("%v: %s", locked, why))
	}
	return answer, nil
}

// keep has the host hear of this process, and notices when the command there ends.
func (l *hostLock) keep() {
	over, input, output := make(chan struct{}), l.input, l.output
	l.over = over
	go func() {
		defer close(over)
		_, _ = io.Copy(io.Discard, output)
	}()
	go func() {
		tick := time.NewTicker(aliveSeconds * time.Second)
		defer tick.Stop()
		for {
			select {
			case <-over:
				return
			case <-tick.C:
				_, _ = io.WriteString(input, "\n") // over says when nobody reads it
			}
		}
	}()
}

// release gives the lock back, and ends the connection; again, it does nothing.
func (l *hostLock) release() error {
	if l.cmd == nil {
		return nil
	}
	l.input.Close()
	if l.over != nil {
		<-l.over
	}
	if l.cmd.ProcessState != nil {
		return nil
	}
	return l.cmd.Wait()
}

// drop ends a connection to a host that may be gone.
func (l *hostLock) drop() {
	if l.cmd != nil {
		_ = l.cmd.Process.Kill()
		_ = l.release()
		l.cmd = nil
	}
}

// unlock gives all locks back.
func (d *Driver) unlock() error {
	for _, l := range d.locks { // in parallel
		if l.cmd != nil {
			l.input.Close()
		}
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
