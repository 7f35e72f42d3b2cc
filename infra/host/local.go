package host

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/google/renameio/v2"
	"golang.org/x/sys/unix"

	"isukit/infra/host/proc"
	"isukit/input"
)

// Local is this machine. Its processes are children of this process, each in a process group of its own, so that a
// Ctrl-C at the terminal reaches them only through Stop.
type Local struct {
	dir       string
	lock      *os.File
	inventory *inventory

	about About

	mu       sync.Mutex
	closing  bool // nothing starts any more
	closed   bool // all is given back
	services map[string]*child
	order    []string // names, as they were started
}

var _ Host = (*Local)(nil)

// OpenLocal makes a run directory in stateDir, which is made when it is not there. Close gives it back.
func OpenLocal(stateDir string) (*Local, error) {
	unlock, err := lockState(stateDir)
	if err != nil {
		return nil, err
	}
	defer unlock()
	// The name is short: the path of a Unix socket in it must be so.
	var id [4]byte
	rand.Read(id[:])
	dir := filepath.Join(runsDir(stateDir), hex.EncodeToString(id[:]))
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make run directory: %w", err)
	}
	l := &Local{dir: dir, services: map[string]*child{}}
	if l.about, err = ThisMachine(); err != nil {
		os.RemoveAll(dir)
		return nil, err
	}
	l.about.Name, l.about.Driver, l.about.Dir = "local", "local", dir
	if l.lock, err = proc.TryLock(filepath.Join(dir, lockName)); err == nil {
		err = proc.WriteOwner(l.lock)
	}
	if err == nil {
		l.inventory, err = createInventory(dir)
	}
	if err != nil {
		os.RemoveAll(dir)
		return nil, fmt.Errorf("open run directory %s: %w", dir, err)
	}
	return l, nil
}

// About implements Host.
func (l *Local) About() About { return l.about }

// Dir is the run directory: a place for all files of the run, removed by Close.
func (l *Local) Dir() string { return l.dir }

// Close stops what still runs, last started first, and removes the run directory. Nothing can be started once it was
// called; calling it again does what could not be done before, if anything.
func (l *Local) Close(ctx context.Context) error {
	l.mu.Lock()
	l.closing = true
	order, closed := slices.Clone(l.order), l.closed
	l.mu.Unlock()
	if closed {
		return nil
	}
	var errs []error
	for _, name := range slices.Backward(order) {
		errs = append(errs, l.Stop(ctx, name, 10*time.Second))
	}
	if err := errors.Join(errs...); err != nil {
		return err // the directory and its inventory stay for CleanDead
	}
	if err := os.RemoveAll(l.dir); err != nil {
		return fmt.Errorf("remove run directory: %w", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	return errors.Join(l.inventory.close(), l.lock.Close())
}

// Put implements Host.
func (l *Local) Put(_ context.Context, path string, data []byte, mode fs.FileMode) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("put %s: %w", path, err)
	}
	if err := renameio.WriteFile(path, data, mode, renameio.IgnoreUmask()); err != nil {
		return fmt.Errorf("put %s: %w", path, err)
	}
	return nil
}

// Get implements Host.
func (l *Local) Get(_ context.Context, path string) ([]byte, error) {
	data, err := input.Read(path, MaxFileBytes)
	if long := (*input.TooLongError)(nil); errors.As(err, &long) {
		return nil, fmt.Errorf("get: %w: %w", ErrTooLarge, err)
	}
	if err != nil {
		return nil, fmt.Errorf("get: %w", err)
	}
	return data, nil
}

// Remove implements Host.
func (l *Local) Remove(_ context.Context, path string) error {
	if err := os.RemoveAll(path); err != nil {
		return fmt.Errorf("remove: %w", err)
	}
	return nil
}

// Run implements Host.
func (l *Local) Run(ctx context.Context, cmd Command) (Result, error) {
	var out, errOut limitedBuffer
	c, err := l.launch(launch{
		name: filepath.Base(cmd.Argv[0]), argv: cmd.Argv, env: cmd.Env, dir: cmd.Dir, stdin: cmd.Stdin, stdout: &out, stderr: &errOut,
	})
	if err != nil {
		return Result{}, err
	}
	select {
	case <-c.done:
	case <-ctx.Done():
		err := c.end(ctx, l.dir, syscall.SIGKILL, time.Second)
		return Result{}, errors.Join(fmt.Errorf("run %s: %w", c.name, context.Cause(ctx)), err)
	}
	return Result{Code: c.code(), Stdout: out.data, Stderr: errOut.data}, nil
}

// Start implements Host.
func (l *Local) Start(ctx context.Context, s Service) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("start %s: %w", s.Name, err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closing {
		return fmt.Errorf("start %s: the host is closed", s.Name)
	}
	if c := l.services[s.Name]; c != nil && c.running() {
		return fmt.Errorf("start %s: it runs already", s.Name)
	} else if c != nil { // what was started by it may live on
		if err := c.end(ctx, l.dir, syscall.SIGKILL, 0); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(filepath.Dir(s.LogFile), 0o700); err != nil {
		return fmt.Errorf("start %s: %w", s.Name, err)
	}
	log, err := os.OpenFile(s.LogFile, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("start %s: %w", s.Name, err)
	}
	defer log.Close()
	argv, err := s.Command()
	if err != nil {
		return err
	}
	c, err := l.launch(launch{name: s.Name, argv: argv, env: s.Env, dir: s.Dir, stdout: log, stderr: log})
	if err != nil {
		return err
	}
	c.stopSignal, c.since, c.stamp = s.StopSignal, time.Now(), s.Stamp
	l.services[s.Name] = c
	l.order = append(slices.DeleteFunc(l.order, func(n string) bool { return n == s.Name }), s.Name)
	return nil
}

// Stop implements Host.
func (l *Local) Stop(ctx context.Context, name string, patience time.Duration) error {
	c := l.service(name)
	if c == nil {
		return nil
	}
	sig := c.stopSignal
	if sig == 0 {
		sig = syscall.SIGTERM
	}
	return c.end(ctx, l.dir, sig, patience)
}

// State implements Host.
func (l *Local) State(_ context.Context, name string) (State, error) {
	c := l.service(name)
	if c == nil {
		return State{}, fmt.Errorf("%w: %s", ErrUnknownService, name)
	}
	return c.state(), nil
}

// Services implements Host.
func (l *Local) Services(context.Context) ([]string, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.order), nil
}

// Forget implements Host.
func (l *Local) Forget(_ context.Context, name string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if c := l.services[name]; c != nil && c.running() {
		return fmt.Errorf("forget %s: it runs", name)
	}
	delete(l.services, name)
	l.order = slices.DeleteFunc(l.order, func(n string) bool { return n == name })
	return nil
}

// Used implements Host.
func (l *Local) Used(context.Context) (Used, error) {
	l.mu.Lock()
	groups := map[string]int{}
	for name, c := range l.services {
		if c.running() {
			groups[name] = c.PID
		}
	}
	l.mu.Unlock()
	return UsedHere(groups)
}

func (l *Local) service(name string) *child {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.services[name]
}

func runsDir(stateDir string) string { return filepath.Join(stateDir, "runs") }

// lockState keeps others from making or cleaning run directories while one is made or cleaned.
func lockState(stateDir string) (unlock func(), err error) {
	if err := os.MkdirAll(runsDir(stateDir), 0o700); err != nil {
		return nil, fmt.Errorf("make state directory: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(stateDir, lockName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock state directory: %w", err)
	}
	if err := proc.Flock(f, unix.LOCK_EX); err != nil {
		f.Close()
		return nil, fmt.Errorf("lock state directory %s: %w", stateDir, err)
	}
	return func() { f.Close() }, nil
}

// limitedBuffer keeps the first MaxOutputBytes that are written to it.
type limitedBuffer struct{ data []byte }

func (b *limitedBuffer) Write(p []byte) (int, error) {
	if free := MaxOutputBytes - len(b.data); free > 0 {
		b.data = append(b.data, p[:min(free, len(p))]...)
	}
	return len(p), nil
}
