package infra

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"sync"

	"isukit/infra/host"
	"isukit/infra/plan"
	"isukit/infra/subject"
	"isukit/infra/topology"
	"isukit/infra/tune"
)

// ApplyOptions are what a user may say about an apply.
type ApplyOptions struct {
	Holder string // who applies, for others who want the same hosts meanwhile
	Fresh  bool   // databases begin with the dataset; otherwise their data stays, and goes with them when they move
	Force  bool   // overwrite what was changed outside isukit
	// Planned is called with the plan before anything is done; nil: not called.
	Planned func(*Plan)
}

// Apply makes the site what its Spec declares, changing only what differs. If it fails, the previous services are restored.
func (s *Site) Apply(ctx context.Context, o ApplyOptions) (p *Plan, err error) {
	if err := s.spec.validate(); err != nil {
		return nil, err
	}
	release, err := s.driver.Lock(ctx, o.Holder)
	if err != nil {
		return nil, err
	}
	defer func() { err = cancelled(ctx, errors.Join(err, release())) }()
	f, err := s.findAll(ctx)
	if err != nil {
		return nil, err
	}
	defer f.act()
	f.fresh = o.Fresh
	g, before := s.newDeployment(f), f.reached()
	if p, err = s.planFor(ctx, g, f); err != nil {
		return nil, err
	}
	if o.Planned != nil {
		o.Planned(p)
	}
	if err := p.refuse(s.driver.Name()); err != nil && !o.Force {
		return p, err
	}
	if p.Empty() {
		return p, nil
	}
	data, err := s.dataset(ctx, p)
	if err != nil {
		return p, err
	}
	_, whole := f.current()
	err = s.reach(ctx, g, f, p, data)
	if errors.Is(err, errAsleep) && before != nil {
		err = s.reachAwake(ctx, before, o, data)
	}
	if err == nil {
		return p, nil
	}
	var untouched *untouchedError
	if errors.As(err, &untouched) && whole {
		return p, s.leave(context.WithoutCancel(ctx), before, f, err)
	}
	return p, s.putBack(context.WithoutCancel(ctx), before, err)
}

// cancelled is the context's error if it has ended: a program that was killed since only reports the kill.
func cancelled(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil && !errors.Is(err, ctx.Err()) {
		return fmt.Errorf("%w: %w", ctx.Err(), err)
	}
	return err
}

// reachAwake has the topology before run whole again, and then makes the site what its Spec says.
func (s *Site) reachAwake(ctx context.Context, before *deployment, o ApplyOptions, data string) error {
	s.spec.progress("putting topology %s back first: its databases have to run", before.Topology.Name)
	if err := s.reachAgain(ctx, before); err != nil {
		return err
	}
	f, err := s.find(ctx)
	if err != nil {
		return err
	}
	f.fresh = o.Fresh
	return s.reach(ctx, s.newDeployment(f), f, nil, data)
}

// dataset makes, before anything is touched, what new databases begin with.
func (s *Site) dataset(ctx context.Context, p *Plan) (dir string, err error) {
	if s.driver.Name() == "ssh" {
		return "", nil // the app makes it there
	}
	for _, h := range p.Hosts {
		if slices.ContainsFunc(h.Steps, func(s plan.Step) bool { return s.Kind == plan.Data && s.Op != plan.Remove }) {
			return s.prepared(ctx, p.layout)
		}
	}
	return "", nil
}

// reach makes the hosts, plans with their real properties, and carries the plan out. p is a plan that was made so already, or nil.
func (s *Site) reach(ctx context.Context, g *deployment, f *hostSet, p *Plan, data string) error {
	s.spec.progress("making hosts")
	if err := s.driver.Ensure(ctx, s.wants(g.Topology)); err != nil {
		return err
	}
	if !f.ensured || p == nil {
		f.ensured = true
		var names []string
		for _, w := range s.wants(g.Topology) { // also those that were there: they may have other sizes now
			names = append(names, w.Name)
		}
		f.add(ctx, s.driver, names...)
		if err := f.missing(); err != nil {
			return err
		}
		var err error
		if p, err = s.planFor(ctx, g, f); err != nil {
			return err
		}
	}
	e := &execution{site: s, plan: p, l: p.layout, f: f, data: data, servers: map[string]*server{}}
	if err := e.run(ctx); err != nil {
		return err
	}
	var gone []string
	for _, name := range f.names() {
		if _, ok := g.Topology.Host(name); !ok {
			gone = append(gone, name)
		}
	}
	return s.driver.Remove(ctx, gone...)
}

// reachAgain makes the hosts what they were, regardless of what they are now.
func (s *Site) reachAgain(ctx context.Context, before *deployment) error {
	f, err := s.find(ctx)
	if err == nil {
		err = s.reach(ctx, before, f, nil, "")
	}
	return err
}

// leave removes hosts that were made for an apply that failed, for the given reason, before it changed anything.
func (s *Site) leave(ctx context.Context, before *deployment, f *hostSet, reason error) error {
	var made []string
	for _, name := range f.names() {
		if _, ok := before.Topology.Host(name); !ok {
			made = append(made, name)
		}
	}
	if err := s.driver.Remove(ctx, made...); err != nil {
		return &host.ApplyError{Reason: reason, Left: "hosts made for it could not be removed", Err: err}
	}
	return &host.ApplyError{Reason: reason, Left: fmt.Sprintf("nothing was touched: topology %s runs on", before.Topology.Name)}
}

// putBack makes the site what it was before an apply that failed for the reason given; what is owed then is in the inventories.
func (s *Site) putBack(ctx context.Context, before *deployment, reason error) error {
	name, back := "", func() error { return s.takeDown(ctx) }
	if before != nil {
		name, back = before.Topology.Name, func() error { return s.reachAgain(ctx, before) }
	}
	return host.Restore(ctx, reason, name, "nothing ran before, nothing runs now", s.spec.healthLimit(), s.spec.progress, back)
}

// Down removes everything that was made, services first, in the reverse order of their start, and returns the name of the topology that
// was applied last; "" when none was, or when what is on record of it cannot be read. What hosts have that are away stays on record.
func (s *Site) Down(ctx context.Context, holder string) (name string, err error) {
	var release func() error
	if d, ok := s.driver.(host.PartLocker); ok {
		release, _, err = d.LockPartly(ctx, holder) // takeDown reports hosts that are away
	} else {
		release, err = s.driver.Lock(ctx, holder)
	}
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, release()) }()
	if f, err := s.findPartly(ctx); err == nil {
		if g, _ := f.current(); g != nil {
			name = g.Topology.Name
		}
	}
	return name, s.takeDown(ctx)
}

// takeDown goes on past hosts that are away, which stay on record, and past inventories that cannot be read.
func (s *Site) takeDown(ctx context.Context) error {
	f, err := s.findPartly(ctx)
	if err != nil {
		return s.driver.Down(ctx) // hosts whose record cannot be read are not kept alive by that
	}
	services := map[string][]string{}
	var noting sync.Mutex
	errs := []error{f.onHosts(func(name string, h host.Host) error {
		names, err := h.Services(ctx)
		noting.Lock()
		defer noting.Unlock()
		services[name] = names
		return err
	})}
	for _, role := range topology.Roles() {
		errs = append(errs, f.onHosts(func(name string, h host.Host) error { return stopRole(ctx, h, services[name], role) }))
	}
	errs = append(errs, f.onHosts(func(name string, h host.Host) error {
		err := untune(ctx, name, h)
		for _, i := range f.items(name) {
			if i.Kind == plan.Rules { // the driver removes the host's directory, with all else
				err = errors.Join(err, remove(ctx, h, i))
			}
		}
		return err
	}))
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("take topology down: %w", err)
	}
	if err := s.driver.Down(ctx); err != nil {
		return host.Hinted(fmt.Errorf("take topology down: %w", err), "what could be reached is gone; take down the rest once it answers: isukit topology down")
	}
	return f.missing() // of hosts that are gone by now: inventories that could not be read
}

// onHosts runs do on all reachable hosts in parallel. A failure does not stop the others.
func (f *hostSet) onHosts(do func(name string, h host.Host) error) error {
	names := f.names()
	errs := make([]error, len(names))
	var all sync.WaitGroup
	for n, name := range names {
		if f.away[name] != nil {
			continue
		}
		all.Go(func() { errs[n] = do(name, f.hosts[name]) })
	}
	all.Wait()
	return errors.Join(errs...)
}

// stopRole stops those services of a host, in the order of their start, that are of a role.
func stopRole(ctx context.Context, h host.Host, services []string, role topology.Role) error {
	var errs []error
	for _, name := range slices.Backward(services) {
		if roleOf(name) == role {
			errs = append(errs, h.Stop(ctx, name, stopLimit))
		}
	}
	return errors.Join(errs...)
}

// untune reverts tunings of a kernel that outlives the topology; the records are removed with the host's directory.
func untune(ctx context.Context, name string, h host.Host) error {
	if h.About().Kernel != host.OwnKernel {
		return nil
	}
	kernel, link, boot := subject.Host{Name: name, At: h, StateDir: path.Join(h.About().Dir, "tune")}.KernelTargets()
	_, err := tune.RevertAll(ctx, []*tune.Target{kernel, link, boot}, tune.RevertOptions{})
	return err
}

// validate: what Apply needs of a Spec.
func (s Spec) validate() error {
	var errs []error
	if s.Topology == nil {
		errs = append(errs, errors.New("no topology"))
	} else {
		dbs := s.Topology.Of(topology.DB)
		if slices.ContainsFunc(dbs, func(i topology.Instance) bool { return i.Kind != dbs[0].Kind }) {
			errs = append(errs, fmt.Errorf("topology %s has databases of several engines; they could not hold the same tables", s.Topology.Name))
		}
	}
	if s.StateDir == "" {
		errs = append(errs, errors.New("no state directory"))
	}
	return errors.Join(errs...)
}

// findAll is find for an apply: it first asks hosts that exist without isukit, which another state directory may use.
func (s *Site) findAll(ctx context.Context) (*hostSet, error) {
	if s.driver.Name() != "ssh" {
		return s.find(ctx)
	}
	if err := s.driver.Ensure(ctx, s.wants(s.spec.Topology)); err != nil {
		return nil, err
	}
	f, err := s.find(ctx)
	if err != nil {
		return nil, err
	}
	g, _ := f.current()
	var more []host.Want
	if g != nil {
		for _, w := range s.wants(g.Topology) {
			if f.hosts[w.Name] == nil {
				more = append(more, w)
			}
		}
	}
	if len(more) > 0 {
		if err := s.driver.Ensure(ctx, more); err != nil {
			return nil, fmt.Errorf("the hosts of topology %s, which is up: %w", g.Topology.Name, err)
		}
		f, err = s.find(ctx)
	}
	if err == nil {
		f.ensured = true
	}
	return f, err
}
