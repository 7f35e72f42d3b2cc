package machine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"isukit/infra/host"
	"isukit/infra/host/proc"
)

func leafOf(service string) string { return "service-" + service }

// exitFile is where the way in which a service ended is written.
func (n *node) exitFile(service string) string {
	return filepath.Join(n.d.ownDir(n.about.Name), service+".exit")
}

// Start implements host.Host.
func (n *node) Start(ctx context.Context, s host.Service) error {
	if err := n.start(ctx, s); err != nil {
		return fmt.Errorf("start %s on %s: %w", s.Name, n.about.Name, err)
	}
	return nil
}

func (n *node) start(ctx context.Context, s host.Service) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if s.Name == "" || strings.ContainsAny(s.Name, "/\x00") || strings.HasPrefix(s.Name, ".") {
		return fmt.Errorf("%q cannot be the name of a service", s.Name)
	}
	if st, err := n.State(ctx, s.Name); err == nil && st.Running {
		return errors.New("it runs already")
	}
	argv, err := n.command(s)
	if err != nil {
		return err
	}
	if dead, ok, err := n.service(s.Name); err != nil || ok { // what was started by it may live on
		if err = errors.Join(err, n.killAll(ctx, dead)); err != nil {
			return err
		}
	}
	exit := n.exitFile(s.Name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(exit), 0o700), removeFile(exit)); err != nil {
		return err
	}
	if err := n.freshLeaf(ctx, s.Name); err != nil {
		return err
	}
	log, err := n.openLog(s.LogFile)
	if err != nil {
		return err
	}
	defer log.Close()
	_, shellDir := n.workDir(s.Dir)
	p, err := launch{
		argv: append([]string{"/bin/sh", "-c", supervise, exit}, argv...), env: slices.Concat(n.env, s.Env), dir: shellDir,
		stdout: log, stderr: log, patience: time.Second,
		record: func(id proc.ID) error {
			if !n.group.None() {
				if err := n.group.Leaf(leafOf(s.Name)).Add(id.PID); err != nil {
					return err
				}
			}
			return n.d.store.onHost(n.about.Name, func(h *hostRecord) error {
				h.forget(s.Name)
				h.Services = append(h.Services, serviceRecord{Service: s, ID: id, Since: time.Now()})
				return nil
			})
		},
	}.start()
	if err != nil {
		return err
	}
	return p.awaitProgram(ctx)
}

func (n *node) command(s host.Service) ([]string, error) {
	argv, err := s.Command()
	if err != nil {
		return nil, err
	}
	if _, err := n.find(s.Argv[0]); err != nil {
		return nil, err
	}
	dir, _ := n.workDir(s.Dir)
	return n.inside(dir, argv), nil
}

// freshLeaf gives a service a control group that has seen nobody killed.
func (n *node) freshLeaf(ctx context.Context, service string) error {
	if n.group.None() {
		return nil
	}
	g := n.group.Leaf(leafOf(service))
	if _, err := g.Kill(ctx); err != nil {
		return err
	}
	if err := g.Remove(); err != nil {
		return err
	}
	return g.Make()
}

func (n *node) openLog(path string) (log *os.File, err error) {
	err = inMount(n.holder, func() error {
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return err
		}
		log, err = os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
		return err
	})
	return log, err
}

// awaitProgram waits until the shell has started the program, or has ended.
func (p *launched) awaitProgram(ctx context.Context) error {
	for {
		if len(proc.Children(p.PID)) > 0 {
			return nil
		}
		select {
		case <-p.done:
			return nil // it was quick
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Millisecond):
		}
	}
}

func removeFile(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// services are those on record, in the order of their start.
func (n *node) services() ([]serviceRecord, error) {
	s, err := n.d.store.read()
	if h := s.host(n.about.Name); err == nil && h != nil {
		return h.Services, nil
	}
	return nil, err
}

func (n *node) service(name string) (serviceRecord, bool, error) {
	list, err := n.services()
	if i := slices.IndexFunc(list, func(r serviceRecord) bool { return r.Name == name }); i >= 0 {
		return list[i], true, nil
	}
	return serviceRecord{}, false, err
}

// State implements host.Host.
func (n *node) State(_ context.Context, name string) (host.State, error) {
	r, ok, err := n.service(name)
	if err != nil {
		return host.State{}, err
	}
	if !ok {
		return host.State{}, fmt.Errorf("%w: %s", host.ErrUnknownService, name)
	}
	return n.state(r)
}

// States implements host.Host.
func (n *node) States(context.Context) (states map[string]host.State, booted time.Time, err error) {
	list, err := n.services()
	states = map[string]host.State{}
	for _, r := range list {
		if err == nil {
			states[r.Name], err = n.state(r)
		}
	}
	return states, booted, err
}

func (n *node) state(r serviceRecord) (st host.State, err error) {
	st = host.State{Group: r.ID.PID, PID: r.ID.PID, Since: r.Since, Stamp: r.Stamp, Running: r.ID.Alive()}
	if !n.group.None() {
		if killed, err := n.group.Leaf(leafOf(r.Name)).OutOfMemory(); err == nil {
			st.OutOfMemory = killed > 0
		}
	}
	if st.Running {
		if children := proc.Children(r.ID.PID); len(children) > 0 {
			st.PID = children[0].PID
		}
		return st, nil
	}
	st.Exit, err = n.howItEnded(r.Name)
	return st, err
}

func (n *node) howItEnded(service string) (string, error) {
	text, err := os.ReadFile(n.exitFile(service))
	if errors.Is(err, fs.ErrNotExist) {
		return "killed with all that belonged to it", nil
	}
	if err != nil {
		return "", err
	}
	code, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return "", fmt.Errorf("read how %s ended: %w", service, err)
	}
	if code > 128 && code < 128+65 {
		return "signal: " + syscall.Signal(code-128).String(), nil
	}
	return fmt.Sprintf("exit status %d", code), nil
}

// Stop implements host.Host.
func (n *node) Stop(ctx context.Context, name string, patience time.Duration) error {
	r, ok, err := n.service(name)
	if err != nil || !ok {
		return err
	}
	if err := n.stop(ctx, r, patience); err != nil {
		return fmt.Errorf("stop %s on %s: %w", name, n.about.Name, err)
	}
	return nil
}

func (n *node) stop(ctx context.Context, r serviceRecord, patience time.Duration) error {
	sig := r.StopSignal
	if sig == 0 {
		sig = syscall.SIGTERM
	}
	var children []proc.Stat
	for deadline := time.Now().Add(patience); r.ID.Alive() && time.Now().Before(deadline) && ctx.Err() == nil; {
		if len(children) == 0 {
			if children = proc.Children(r.ID.PID); len(children) > 0 {
				if err := syscall.Kill(children[0].PID, sig); err != nil && !errors.Is(err, syscall.ESRCH) {
					return err
				}
			}
		}
		time.Sleep(2 * time.Millisecond)
	}
	return n.killAll(context.WithoutCancel(ctx), r)
}

// killAll ends the remaining processes of a service. The shell comes last, for it records how the program ended.
func (n *node) killAll(ctx context.Context, r serviceRecord) error {
	if r.ID.Alive() {
		for _, child := range proc.Children(r.ID.PID) {
			if err := syscall.Kill(child.PID, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
				return err
			}
		}
	}
	for deadline := time.Now().Add(time.Second); r.ID.Alive() && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	if _, err := proc.EndGroup(ctx, r.Name, r.ID, n.about.Dir); err != nil {
		return err
	}
	if n.group.None() {
		return nil
	}
	_, err := n.group.Leaf(leafOf(r.Name)).Kill(ctx)
	return err
}

// Services implements host.Host.
func (n *node) Services(context.Context) (names []string, err error) {
	list, err := n.services()
	for _, r := range list {
		names = append(names, r.Name)
	}
	return names, err
}

// Forget implements host.Host.
func (n *node) Forget(_ context.Context, name string) error {
	return n.d.store.onHost(n.about.Name, func(h *hostRecord) error {
		if r := h.service(name); r != nil && r.ID.Alive() {
			return fmt.Errorf("forget %s on %s: it runs", name, n.about.Name)
		}
		h.forget(name)
		return removeFile(n.exitFile(name))
	})
}
