package machine

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"isukit/infra/host"
	"isukit/infra/host/cgroup"
	"isukit/infra/host/proc"
)

const (
	localName = "local"
	labName   = "lab"
)

// Options are where a driver keeps what it makes, and for how long.
type Options struct {
	StateDir string
	// Keep leaves the hosts up at Close, for another isukit with the same state directory. Otherwise they end with this one.
	Keep bool
	// CPUScale is how much of the CPUs that it wants a host of the lab gets, a ratio; 0 gives all hosts together three quarters
	// of the machine, and no host more than it wants: the rest is the load generator's.
	CPUScale float64
	// System makes the hosts of a lab boot systemd; nil for hosts that are namespaces around what the driver starts.
	System *System
}

// Driver is local or lab.
type Driver struct {
	opts  Options
	name  string
	dir   string
	store store
	tree  cgroup.Tree // of the lab
	whole cgroup.Tree // of one whose hosts boot systemd, unless wholeErr
	run   *os.File    // locks the run directory of a driver that does not keep its hosts
	self  proc.ID

	wholeErr error

	mu       sync.Mutex
	commands *commandLog
}

var _ host.Driver = (*Driver)(nil)

// OpenLocal returns the driver whose hosts are directories and child processes on loopback. It needs no root.
func OpenLocal(opts Options) (*Driver, error) { return open(localName, opts) }

// OpenLab returns the driver of namespaces and control groups. Where that is impossible, it is a host.Fault of host.ErrUnsupported.
func OpenLab(opts Options) (*Driver, error) {
	if err := labPossible(); err != nil {
		return nil, err
	}
	return open(labName, opts)
}

func open(name string, opts Options) (*Driver, error) {
	d := &Driver{opts: opts, name: name}
	var err error
	if d.self, err = proc.Self(); err != nil {
		return nil, fmt.Errorf("open driver %s: %w", name, err)
	}
	if opts.Keep {
		d.dir = keptDir(opts.StateDir, name)
		if err := os.MkdirAll(d.dir, 0o700); err != nil {
			return nil, fmt.Errorf("open driver %s: %w", name, err)
		}
	} else {
		if d.dir, d.run, err = makeRun(opts.StateDir); err != nil {
			return nil, fmt.Errorf("open driver %s: %w", name, err)
		}
	}
	if err := d.openDir(); err != nil {
		return nil, errors.Join(fmt.Errorf("open driver %s: %w", name, err), d.Close(context.Background()))
	}
	return d, nil
}

func keptDir(stateDir, driver string) string { return filepath.Join(stateDir, "hosts", driver) }

func (d *Driver) openDir() error {
	d.store = store{d.dir}
	if d.name == labName {
		var err error
		if d.tree, err = cgroup.Find(); err != nil {
			return &host.Fault{Err: fmt.Errorf("%w: %w", host.ErrUnsupported, err), Hint: "use --driver local"}
		}
		d.whole, d.wholeErr = d.tree.Whole()
	}
	return nil
}

// begin records the driver, with its first host.
func (s *state) begin(driver string) {
	if s.ID == "" {
		var id [4]byte
		rand.Read(id[:])
		s.Driver, s.ID, s.Boot = driver, hex.EncodeToString(id[:]), proc.Boot()
	}
}

// workLock is held while hosts are made or removed, in this process and among all that use the directory.
const workLock = "work.lock"

func (d *Driver) exclusive() (unlock func(), err error) {
	f, err := proc.Lock(filepath.Join(d.dir, workLock))
	if err != nil {
		return nil, fmt.Errorf("lock the driver's directory: %w", err)
	}
	if err := errors.Join(f.Truncate(0), proc.WriteOwner(f)); err != nil {
		f.Close()
		return nil, fmt.Errorf("lock the driver's directory: %w", err)
	}
	return func() { f.Truncate(0); proc.Unlock(f) }, nil
}

// Name implements host.Driver.
func (d *Driver) Name() string { return d.name }

// Hosts implements host.Driver.
func (d *Driver) Hosts(context.Context) ([]host.Want, error) {
	s, err := d.store.read()
	if err != nil {
		return nil, err
	}
	var list []host.Want
	for _, h := range s.Hosts {
		if h.whole() {
			list = append(list, h.Want)
		}
	}
	return list, nil
}

func (h *hostRecord) whole() bool { return h.Maker == proc.ID{} }

// Host implements host.Driver. In the lab "switch" and "generator" exist, too, for commands in their network namespace.
func (d *Driver) Host(name string) (host.Host, error) {
	s, err := d.store.read()
	if err != nil {
		return nil, err
	}
	if h := s.host(name); h != nil && h.whole() {
		return d.node(s, *h)
	}
	if f := s.fixture(name); f != nil {
		return d.node(s, hostRecord{Want: host.Want{Name: name}, Address: fixtureAddress(name), Holder: f.ID})
	}
	return nil, fmt.Errorf("%w: %s", host.ErrUnknownHost, name)
}

// Ensure implements host.Driver.
func (d *Driver) Ensure(ctx context.Context, hosts []host.Want) (err error) {
	if err := host.CheckWants(d.name, hosts); err != nil {
		return err
	}
	unlock, err := d.exclusive()
	if err != nil {
		return err
	}
	defer unlock()
	if err := d.removeHalfMade(ctx); err != nil {
		return err
	}
	made, err := d.record(hosts)
	if err != nil {
		return err
	}
	if d.name == labName {
		err = d.makeLab(ctx, made)
	}
	for _, name := range made {
		if err == nil {
			err = os.MkdirAll(d.hostDir(name), 0o755)
		}
	}
	if err == nil {
		err = d.store.update(func(s *state) error {
			for _, name := range made {
				s.host(name).Maker = proc.ID{}
			}
			return nil
		})
	}
	if err != nil {
		return errors.Join(fmt.Errorf("make hosts: %w", err), d.remove(context.WithoutCancel(ctx), made))
	}
	return nil
}

// record writes down what is wanted, and returns the names of the hosts that are to be made.
func (d *Driver) record(hosts []host.Want) (made []string, err error) {
	err = d.store.update(func(s *state) error {
		s.begin(d.name)
		made = nil
		if err := d.checkSystem(s); err != nil {
			return err
		}
		for _, w := range hosts {
			h := s.host(w.Name)
			if h == nil || !h.whole() {
				made = append(made, w.Name)
			}
			if h == nil {
				s.Hosts = append(s.Hosts, hostRecord{Want: w, Maker: d.self, Address: "127.0.0.1"})
				continue
			}
			h.Want = w
			if !h.whole() {
				h.Maker = d.self
			}
		}
		slices.SortFunc(s.Hosts, func(a, b hostRecord) int { return strings.Compare(a.Want.Name, b.Want.Name) })
		if d.name == labName {
			return s.shareOut(d.opts.CPUScale)
		}
		return nil
	})
	return made, err
}

// hostDir is the directory of a host's files. Names of hosts cannot begin with a dot, those of the driver's own files do.
func (d *Driver) hostDir(name string) string { return filepath.Join(d.dir, name) }

func (d *Driver) ownDir(name string) string { return filepath.Join(d.dir, ".driver", name) }

// removeHalfMade removes incomplete hosts; the caller has the work lock. Hosts that a boot of the machine stopped keep their files.
func (d *Driver) removeHalfMade(ctx context.Context) error {
	s, err := d.store.read()
	if err != nil {
		return err
	}
	var names []string
	for _, h := range s.Hosts {
		if h.Maker.PID > 0 {
			names = append(names, h.Want.Name)
		}
	}
	return d.remove(ctx, names)
}

// Remove implements host.Driver.
func (d *Driver) Remove(ctx context.Context, names ...string) error {
	unlock, err := d.exclusive()
	if err != nil {
		return err
	}
	defer unlock()
	return d.remove(ctx, names)
}

func (d *Driver) remove(ctx context.Context, names []string) error {
	s, err := d.store.read()
	if err != nil {
		return err
	}
	var errs []error
	for _, name := range names {
		h := s.host(name)
		if h == nil {
			continue
		}
		// From here on it is incomplete if this process ends before the host does.
		if err := d.store.onHost(name, func(h *hostRecord) error { h.Maker = d.self; return nil }); err != nil {
			errs = append(errs, err)
			continue
		}
		if err := d.removeHost(ctx, s, *h); err != nil {
			errs = append(errs, fmt.Errorf("remove host %s: %w", name, err))
			continue
		}
		errs = append(errs, d.store.update(func(s *state) error {
			s.Hosts = slices.DeleteFunc(s.Hosts, func(h hostRecord) bool { return h.Want.Name == name })
			return nil
		}))
	}
	return errors.Join(errs...)
}

func (d *Driver) removeHost(ctx context.Context, s state, h hostRecord) error {
	for _, service := range slices.Backward(h.Services) {
		if _, err := proc.EndGroup(ctx, service.Name, service.ID, d.hostDir(h.Want.Name)); err != nil {
			return err
		}
	}
	if d.name == labName {
		if err := d.unmake(ctx, s, h); err != nil {
			return err
		}
	}
	return errors.Join(os.RemoveAll(d.hostDir(h.Want.Name)), os.RemoveAll(d.ownDir(h.Want.Name)))
}

// Down implements host.Driver.
func (d *Driver) Down(ctx context.Context) error {
	unlock, err := d.exclusive()
	if err != nil {
		return err
	}
	defer unlock()
	return d.down(ctx)
}

func (d *Driver) down(ctx context.Context) error {
	s, err := d.store.read()
	if errors.Is(err, errBroken) {
		return d.abandon(ctx)
	}
	if err != nil || s.ID == "" {
		return err
	}
	var names []string
	for _, h := range s.Hosts {
		names = append(names, h.Want.Name)
	}
	if err := d.remove(ctx, names); err != nil {
		return err
	}
	if d.name == labName {
		if err := d.removeFixtures(ctx, s); err != nil {
			return fmt.Errorf("remove the lab: %w", err)
		}
	}
	if err := d.closeCommands(); err != nil {
		return err
	}
	if err := os.RemoveAll(d.ownDir("")); err != nil {
		return fmt.Errorf("take down driver %s: %w", d.name, err)
	}
	if err := removeFile(filepath.Join(d.dir, stateFile)); err != nil {
		return fmt.Errorf("take down driver %s: %w", d.name, err)
	}
	return nil
}

// Close implements host.Driver.
func (d *Driver) Close(ctx context.Context) error {
	if d.run != nil {
		if err := d.Down(ctx); err != nil {
			return err // the rest stays recorded for CleanDead
		}
		err := errors.Join(os.RemoveAll(d.dir), d.run.Close())
		d.run = nil
		return err
	}
	return d.closeCommands()
}

func (d *Driver) closeCommands() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	log := d.commands
	d.commands = nil
	return log.close()
}
