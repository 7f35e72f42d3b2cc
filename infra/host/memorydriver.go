package host

import (
	"context"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

// MemoryDriver is the driver whose hosts are Memory: a twin of the real ones for tests about what is done with hosts. It
// remembers nothing on disk.
type MemoryDriver struct {
	programs map[string]Program

	mu     sync.Mutex
	wants  []Want // by name
	hosts  map[string]*Memory
	holder *Holder
}

var _ Driver = (*MemoryDriver)(nil)

// NewMemoryDriver returns a driver whose hosts have these programs.
func NewMemoryDriver(programs map[string]Program) *MemoryDriver {
	return &MemoryDriver{programs: programs, hosts: map[string]*Memory{}}
}

// Name implements Driver.
func (d *MemoryDriver) Name() string { return "memory" }

// Ensure implements Driver.
func (d *MemoryDriver) Ensure(_ context.Context, hosts []Want) error {
	if err := CheckWants(hosts); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, w := range hosts {
		m := d.hosts[w.Name]
		if m == nil {
			m = NewMemory(d.programs)
			d.hosts[w.Name] = m
		}
		m.want(w)
		d.wants = append(slices.DeleteFunc(d.wants, func(o Want) bool { return o.Name == w.Name }), w)
	}
	slices.SortFunc(d.wants, func(a, b Want) int { return strings.Compare(a.Name, b.Name) })
	return nil
}

func (m *Memory) want(w Want) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.about.Name = w.Name
	if w.CPUs > 0 {
		m.about.CPUs, m.about.Threads = w.CPUs, max(1, int(w.CPUs+0.999))
	}
	if w.MemoryBytes > 0 {
		m.about.MemoryBytes = w.MemoryBytes
	}
	if w.Address != "" {
		m.about.Address = w.Address
	}
}

// Hosts implements Driver.
func (d *MemoryDriver) Hosts(context.Context) ([]Want, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.wants), nil
}

// Host implements Driver.
func (d *MemoryDriver) Host(name string) (Host, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if m := d.hosts[name]; m != nil {
		return m, nil
	}
	return nil, fmt.Errorf("%w: %s", ErrUnknownHost, name)
}

// Remove implements Driver.
func (d *MemoryDriver) Remove(_ context.Context, names ...string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, name := range names {
		if m := d.hosts[name]; m != nil {
			m.Close()
		}
		delete(d.hosts, name)
		d.wants = slices.DeleteFunc(d.wants, func(w Want) bool { return w.Name == name })
	}
	return nil
}

// Down implements Driver.
func (d *MemoryDriver) Down(ctx context.Context) error {
	d.mu.Lock()
	var names []string
	for name := range d.hosts {
		names = append(names, name)
	}
	d.mu.Unlock()
	return d.Remove(ctx, names...)
}

// Lock implements Driver.
func (d *MemoryDriver) Lock(_ context.Context, holder string) (func() error, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.holder != nil {
		return nil, &LockedError{Driver: d.Name(), Holder: *d.holder}
	}
	d.holder = &Holder{Name: holder, Since: time.Now(), PID: os.Getpid()}
	return func() error {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.holder = nil
		return nil
	}, nil
}

// Dial implements Driver: what programs of a Memory listen on is this machine's.
func (d *MemoryDriver) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, network, address)
}

// Close implements Driver.
func (d *MemoryDriver) Close(ctx context.Context) error { return d.Down(ctx) }
