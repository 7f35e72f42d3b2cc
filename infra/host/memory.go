package host

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"
	"time"
)

// Program is what a program of a Memory does; it returns the exit status. It must end when ctx does.
type Program func(ctx context.Context, p Proc) int

// Proc is what a Program is given.
type Proc struct {
	Args           []string // without the program's name
	Env            []string
	Stdin          []byte
	Stdout, Stderr io.Writer
}

// Memory is a host without a machine: files in a map, programs that are Go functions. It stands in for the real hosts
// where a test is about what is done with a host, not about the host.
type Memory struct {
	about    About
	programs map[string]Program

	mu       sync.Mutex
	files    map[string][]byte
	services map[string]*task
	order    []string // names of services, as they were started
	pids     int
}

var _ Host = (*Memory)(nil)

type task struct {
	pid    int
	since  time.Time
	stamp  string
	cancel context.CancelFunc
	done   chan struct{}
	code   int // valid when done is closed
}

// NewMemory returns a host with these programs, by the name under which they are started.
func NewMemory(programs map[string]Program) *Memory {
	return &Memory{
		about:    About{Name: "memory", Driver: "memory", Address: "127.0.0.1", CPUs: 1, Threads: 1, MemoryBytes: 1 << 30, Dir: "/isukit", Root: true, Kernel: OwnKernel},
		programs: programs, files: map[string][]byte{}, services: map[string]*task{},
	}
}

// About implements Host.
func (m *Memory) About() About {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.about
}

// Close ends all services.
func (m *Memory) Close() {
	m.mu.Lock()
	services := maps.Clone(m.services)
	m.mu.Unlock()
	for _, t := range services { // without the lock: a program may be writing its log
		t.cancel()
		<-t.done
	}
}

// Put implements Host. Modes are not kept.
func (m *Memory) Put(_ context.Context, name string, data []byte, _ fs.FileMode) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.files[path.Clean(name)] = bytes.Clone(data)
	return nil
}

// Get implements Host.
func (m *Memory) Get(_ context.Context, name string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	data, ok := m.files[path.Clean(name)]
	if !ok {
		return nil, fmt.Errorf("get %s: %w", name, fs.ErrNotExist)
	}
	if len(data) > MaxFileBytes {
		return nil, fmt.Errorf("get %s: %w: more than %d bytes", name, ErrTooLarge, MaxFileBytes)
	}
	return bytes.Clone(data), nil
}

// Remove implements Host.
func (m *Memory) Remove(_ context.Context, name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for f := range m.files {
		if strings.HasPrefix(f+"/", path.Clean(name)+"/") {
			delete(m.files, f)
		}
	}
	return nil
}

// Run implements Host.
func (m *Memory) Run(ctx context.Context, cmd Command) (Result, error) {
	var out, errOut limitedBuffer
	t, err := m.start(Proc{Args: cmd.Argv, Env: cmd.Env, Stdin: cmd.Stdin, Stdout: &out, Stderr: &errOut})
	if err != nil {
		return Result{}, err
	}
	defer t.cancel()
	select {
	case <-t.done:
		return Result{Code: t.code, Stdout: out.data, Stderr: errOut.data}, nil
	case <-ctx.Done():
		t.cancel()
		<-t.done
		return Result{}, fmt.Errorf("run %s: %w", cmd.Argv[0], context.Cause(ctx))
	}
}

// Start implements Host.
func (m *Memory) Start(ctx context.Context, s Service) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("start %s: %w", s.Name, err)
	}
	m.mu.Lock()
	old := m.services[s.Name]
	m.mu.Unlock()
	if old != nil && !isClosed(old.done) {
		return fmt.Errorf("start %s: it runs already", s.Name)
	}
	log := memoryLog{m, path.Clean(s.LogFile)}
	t, err := m.start(Proc{Args: s.Argv, Env: s.Env, Stdout: log, Stderr: log})
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	t.since, t.stamp = time.Now(), s.Stamp
	m.services[s.Name] = t
	m.order = append(slices.DeleteFunc(m.order, func(n string) bool { return n == s.Name }), s.Name)
	return nil
}

// start starts the program that the first of p.Args names.
func (m *Memory) start(p Proc) (*task, error) {
	program, ok := m.programs[p.Args[0]]
	if !ok {
		return nil, fmt.Errorf("start %s: %w", p.Args[0], fs.ErrNotExist)
	}
	p.Args = p.Args[1:]
	ctx, cancel := context.WithCancel(context.Background())
	m.mu.Lock()
	m.pids++
	t := &task{pid: m.pids, cancel: cancel, done: make(chan struct{})}
	m.mu.Unlock()
	go func() { // ends when the program does; Stop, Run and Close wait for that
		defer close(t.done)
		t.code = program(ctx, p)
	}()
	return t, nil
}

// Stop implements Host. Every program ends when told to, so patience is not needed.
func (m *Memory) Stop(_ context.Context, name string, _ time.Duration) error {
	m.mu.Lock()
	t := m.services[name]
	m.mu.Unlock()
	if t != nil {
		t.cancel()
		<-t.done
	}
	return nil
}

// State implements Host.
func (m *Memory) State(_ context.Context, name string) (State, error) {
	m.mu.Lock()
	t := m.services[name]
	m.mu.Unlock()
	if t == nil {
		return State{}, fmt.Errorf("%w: %s", ErrUnknownService, name)
	}
	st := State{Running: true, PID: t.pid, Group: t.pid, Since: t.since, Stamp: t.stamp}
	if isClosed(t.done) {
		st.Running, st.Exit = false, fmt.Sprintf("exit status %d", t.code)
	}
	return st, nil
}

// Services implements Host.
func (m *Memory) Services(context.Context) ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.order), nil
}

// Forget implements Host.
func (m *Memory) Forget(_ context.Context, name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if t := m.services[name]; t != nil && !isClosed(t.done) {
		return fmt.Errorf("forget %s: it runs", name)
	}
	delete(m.services, name)
	m.order = slices.DeleteFunc(m.order, func(n string) bool { return n == name })
	return nil
}

// Used implements Host: there is nothing to be used.
func (m *Memory) Used(context.Context) (Used, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	used := Used{Services: map[string]Usage{}}
	for name, t := range m.services {
		if !isClosed(t.done) {
			used.Services[name] = Usage{Processes: 1}
		}
	}
	return used, nil
}

func isClosed(ch <-chan struct{}) bool {
	select {
	case <-ch:
		return true
	default:
		return false
	}
}

// memoryLog appends to a file of a Memory.
type memoryLog struct {
	m    *Memory
	name string
}

func (l memoryLog) Write(p []byte) (int, error) {
	l.m.mu.Lock()
	defer l.m.mu.Unlock()
	l.m.files[l.name] = append(l.m.files[l.name], p...)
	return len(p), nil
}
