package round

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"isukit/bench/external"
	"isukit/cmd/internal/ui"
	"isukit/infra/host"
	"isukit/infra/host/machine"
	"isukit/infra/host/proc"
	"isukit/infra/observe"
	"isukit/infra/project"
	"isukit/infra/site"
	"isukit/infra/subject"
	"isukit/input"
)

// Opened is a project with its hosts.
type Opened struct {
	*project.Project
	Reach observe.Hosts
	// Missing says of each host that cannot be reached why.
	Missing []error
	// declared is the project as its file has it, without what is known of the topology that is up.
	declared *project.Project
	up       string // that topology; "" for none
	drivers  map[string]host.Driver
	// stateDir is where this machine's tunings are recorded.
	stateDir string
	Close    func(context.Context) error
}

// Subject is what the project's file names, for commands that read and change it; with consent they may change the kernel of this machine.
// The error names what could not be read; the subject contains the rest.
func (o *Opened) Subject(ctx context.Context, consent bool) (*subject.Subject, error) {
	s, err := subject.OfProject(ctx, o.Project, o.Reach.Named, o.stateDir, consent)
	return s, errors.Join(err, errors.Join(o.Missing...))
}

// Site is where the project's topologies are placed. Hosts that cannot be reached are an error.
func (o *Opened) Site() (*site.Site, error) {
	if err := errors.Join(o.Missing...); err != nil {
		return nil, err
	}
	return &site.Site{Project: o.Project, Hosts: o.Reach.Named, StateDir: o.stateDir}, nil
}

// place selects the services of the deployed topology for the subject and the rounds, or of the file's first one; it returns its name.
func (o *Opened) place(ctx context.Context) (up string, err error) {
	if len(o.Topologies) == 0 {
		return "", nil
	}
	up, _, err = (&site.Site{Project: o.Project, Hosts: o.Reach.Named, StateDir: o.stateDir}).Up(ctx)
	t, ok := o.Placement(up)
	if !ok {
		t = o.Topologies[0]
	}
	o.Project = o.declared.Placed(t)
	return up, err
}

// Apply applies a topology of the project.
func (o *Opened) Apply(ctx context.Context, topology string, say func(string, ...any)) error {
	placed, err := o.Site()
	if err != nil {
		return err
	}
	placed.Progress = func(step string) { say("%s", step) }
	release, err := o.Lock(ctx, UserName())
	if err != nil {
		return err
	}
	_, err = o.Place(ctx, placed, topology, site.Options{Planned: func(*site.Plan) error { return nil }})
	return errors.Join(err, release())
}

// Lock keeps others from changing the hosts until release, or the end of this process.
func (o *Opened) Lock(ctx context.Context, holder string) (release func() error, err error) {
	var held closers
	file, err := proc.TryLock(filepath.Join(o.stateDir, "site.lock"))
	if err != nil {
		return nil, ui.Hinted(fmt.Errorf("another isukit command changes the hosts of this project: %w", err), "wait until it ends, or stop it")
	}
	held = append(held, func() error { return proc.Unlock(file) })
	for _, d := range o.drivers {
		r, err := d.Lock(ctx, holder)
		if err != nil {
			return nil, errors.Join(err, held.close())
		}
		held = append(held, r)
	}
	return held.close, nil
}

// closers are what ends things that were opened one after another.
type closers []func() error

// close ends the last one first.
func (c closers) close() error {
	var errs []error
	for _, one := range slices.Backward(c) {
		errs = append(errs, one())
	}
	return errors.Join(errs...)
}

// FindProject reads the project file; path "" takes isukit.yaml of the current directory where there is one, else nil.
func FindProject(path string) (*project.Project, string, error) {
	given := path != ""
	if !given {
		path = project.FileName
	}
	text, err := input.Read(path, project.MaxFileBytes)
	if errors.Is(err, os.ErrNotExist) && !given {
		return nil, "", nil
	}
	if err != nil {
		return nil, "", ui.UsageError(err, `"isukit init" writes a project file`)
	}
	dir, err := filepath.Abs(filepath.Dir(path))
	if err != nil {
		return nil, "", err
	}
	p, err := project.ParseWith(text, project.Outside{
		Hosts: topologyHosts(dir),
		Rule:  func(r project.Rule) error { return external.Rule(r).Check() },
	})
	if err != nil {
		return nil, "", ui.UsageError(fmt.Errorf("%s: %w", path, err), "docs/project.md describes the file")
	}
	return p, dir, nil
}

// FindServed is FindProject for commands about servers: those of the portal are what is up, whatever describes it, and no project's.
func FindServed(path string) (*project.Project, string, error) {
	p, dir, err := FindProject(path)
	if p != nil && p.Portal != nil {
		return nil, "", err
	}
	return p, dir, err
}

// OpenProject connects to the project's hosts. A host that cannot be reached is not an error: the rest is measured.
func OpenProject(ctx context.Context, p *project.Project, dir, stateDir string) (*Opened, error) {
	here, err := machine.OpenHere(stateDir)
	if err != nil {
		return nil, err
	}
	o := &Opened{Project: p, declared: p, stateDir: stateDir, Reach: observe.Hosts{Here: here, Dir: dir, Named: map[string]host.Host{}}}
	o.Close = here.Close
	if err = o.openDrivers(ctx, stateDir); err == nil {
		o.up, err = o.place(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, o.Close(context.WithoutCancel(ctx)))
	}
	return o, nil
}

// WithProject calls fn with a project whose hosts are connected.
func WithProject(ctx context.Context, p *project.Project, dir, stateDir string, fn func(*Opened) error) error {
	o, err := OpenProject(ctx, p, dir, stateDir)
	if err != nil {
		return err
	}
	return errors.Join(fn(o), o.Close(context.WithoutCancel(ctx)))
}

// openDrivers makes the project's hosts usable, each through its driver. One that cannot be reached is noted as missing.
func (o *Opened) openDrivers(ctx context.Context, stateDir string) error {
	o.drivers = map[string]host.Driver{}
	for _, h := range o.Hosts {
		name := o.Driver
		if h.Address != "" {
			name = "ssh"
		}
		if name == "" { // it is this machine
			o.Reach.Named[h.Name] = o.Reach.Here
			continue
		}
		d, ok := o.drivers[name]
		if !ok {
			var err error
			if d, err = OpenApart(name, stateDir); err != nil {
				return err
			}
			o.drivers[name] = d
			before := o.Close
			o.Close = func(ctx context.Context) error { return errors.Join(d.Close(ctx), before(ctx)) }
		}
		if !ok && name == "ssh" { // all at the same time; who is missing is found out below
			_ = d.Ensure(ctx, o.wants())
		}
		at, err := o.reach(ctx, d, h)
		if err != nil {
			o.Missing = append(o.Missing, fmt.Errorf("host %s is unreachable: %w", h.Name, err))
			continue
		}
		o.Reach.Named[h.Name] = at
	}
	return nil
}

// wants are the hosts that are reached over ssh.
func (o *Opened) wants() (list []host.Want) {
	for _, h := range o.Hosts {
		if h.Address != "" {
			list = append(list, host.Want{Name: h.Name, Address: h.Address})
		}
	}
	return list
}

// reach returns a host of a driver. Hosts over ssh need nothing but an address; those of the lab must be up.
func (o *Opened) reach(ctx context.Context, d host.Driver, h project.Host) (host.Host, error) {
	if h.Address != "" {
		if err := d.Ensure(ctx, []host.Want{{Name: h.Name, Address: h.Address}}); err != nil {
			return nil, err
		}
	}
	return d.Host(h.Name)
}
