package infra

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"isukit/infra/dbserver"
	"isukit/infra/subject"
	"isukit/infra/topology"
)

// ErrNothingUp says that a site has no topology that is up.
var ErrNothingUp = errors.New("no topology is up")

// standing is the layout of what is up, and what there is of it on those hosts that can be asked.
func (s *Site) standing(ctx context.Context) (*Plan, error) {
	f, err := s.findPartly(ctx)
	if err != nil {
		return nil, err
	}
	g, complete := f.current()
	if err := f.missing(); g == nil && err != nil {
		return nil, err
	}
	if g == nil {
		return nil, &HintError{ErrNothingUp, "isukit topology apply FILE --driver " + s.driver.Name()}
	}
	if !complete {
		return nil, &HintError{fmt.Errorf("the apply of topology %s was interrupted", g.Topology.Name), "apply it again, or isukit topology down"}
	}
	return s.planFor(ctx, g, f)
}

// Standing is the name of the topology that was applied last, whole or not; "" when none was, or when what is on record of it
// cannot be read.
func (s *Site) Standing(ctx context.Context) string {
	f, err := s.findPartly(ctx)
	if err != nil {
		return ""
	}
	defer f.act()
	if g, _ := f.current(); g != nil {
		return g.Topology.Name
	}
	return ""
}

// Topology is what runs.
func (r *Running) Topology() *topology.Topology { return r.spec.Topology }

// Running is what the site runs, for a round. Its Down leaves it up.
func (s *Site) Running(ctx context.Context) (*Running, error) {
	p, err := s.standing(ctx)
	if err != nil {
		return nil, err
	}
	defer p.found.act()
	if err := p.found.missing(); err != nil {
		return nil, err
	}
	r, err := s.attached(ctx, p)
	if err != nil {
		return nil, err
	}
	at := p.layout.hosts[p.layout.goal.Topology.Of(topology.Web)[0].Host]
	if r.app, err = askApp(ctx, at, appPath(at, p.layout.goal)); err != nil {
		return nil, err
	}
	return r, r.gatherFacts(ctx)
}

// Subject is what the site runs, as commands act on it, on those hosts that can be asked; the error names the others, too.
func (s *Site) Subject(ctx context.Context) (*subject.Subject, error) {
	p, err := s.standing(ctx)
	if err != nil {
		return nil, err
	}
	defer p.found.act()
	r, err := s.attached(ctx, p)
	if err != nil {
		return nil, err
	}
	sub, err := r.Subject()
	return sub, errors.Join(err, p.found.missing())
}

// attached is what runs on the hosts that can be asked.
func (s *Site) attached(ctx context.Context, p *Plan) (r *Running, err error) {
	l := p.layout
	r = &Running{
		spec: s.spec, hash: l.goal.Hash, WorkerToken: l.secrets.WorkerToken, input: l.input, hosts: l.hosts, site: s, found: p.found, services: l.services, secrets: l.secrets.list(),
	}
	r.spec.Topology, r.spec.Scale, r.spec.Seed = l.goal.Topology, l.goal.Scale, l.goal.Seed
	for _, i := range l.goal.Topology.Instances {
		if p.found.away[i.Host] != nil {
			continue
		}
		r.Instances = append(r.Instances, instanceOf(i, l.input.Places[i.Name]))
	}
	proxies := l.goal.Topology.Of(topology.Proxy)
	r.BaseURL = l.input.URLOf(proxies[0])
	for _, i := range proxies {
		if i.TLS == proxies[0].TLS {
			r.proxies = append(r.proxies, instanceOf(i, l.input.Places[i.Name]).Addr)
		}
	}
	if l.ca.Certificate != nil {
		if r.ca, err = l.ca.Pool(); err != nil {
			return nil, err
		}
	}
	if r.client, err = l.client(s.driver); err != nil {
		return nil, err
	}
	r.dbs, err = l.attach(ctx, p.found)
	return r, err
}

// attach finds the databases, all at once.
func (l *layout) attach(ctx context.Context, f *found) ([]database, error) {
	declared := slices.DeleteFunc(l.goal.Topology.Of(topology.DB), func(i topology.Instance) bool { return f.away[i.Host] != nil })
	list := make([]database, len(declared))
	group, ctx := errgroup.WithContext(ctx)
	for n, i := range declared {
		group.Go(func() error {
			inst, err := dbserver.Attach(ctx, l.hosts[i.Host], l.instanceConfig(i))
			list[n] = database{Instance: inst, name: i.Name, appPassword: l.secrets.AppPassword}
			return err
		})
	}
	return list, group.Wait()
}

// Dial is how the load generator connects; nil is as any program does. Connections to the topology's first proxy go to all of
// them in turn.
func (r *Running) Dial() func(ctx context.Context, network, address string) (net.Conn, error) {
	if r.site.driver.Name() == "local" && len(r.proxies) == 1 {
		return nil
	}
	var turn atomic.Uint64
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		if address == r.proxies[0] {
			address = r.proxies[turn.Add(1)%uint64(len(r.proxies))]
		}
		return r.site.driver.Dial(ctx, network, address)
	}
}

// Roots are the authorities of the proxies' certificates; nil is the system's.
func (r *Running) Roots() *x509.CertPool { return r.ca }
