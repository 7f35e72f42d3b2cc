package infra

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"isukit/infra/dbserver"
	"isukit/infra/host"
	"isukit/infra/render"
	"isukit/infra/topology"
)

// ErrNothingUp says that a site has no topology that is up.
var ErrNothingUp = errors.New("no topology is up")

// deployed is the layout of what is up, on those hosts that can be asked.
func (s *Site) deployed(ctx context.Context) (*layout, *hostSet, error) {
	f, err := s.findPartly(ctx)
	if err != nil {
		return nil, nil, err
	}
	g, err := s.up(f)
	if err != nil {
		return nil, nil, err
	}
	l, err := s.layOut(ctx, g, f)
	return l, f, err
}

// up is the deployment that was reached.
func (s *Site) up(f *hostSet) (*deployment, error) {
	g, complete := f.current()
	if err := f.missing(); g == nil && err != nil {
		return nil, err
	}
	if g == nil {
		return nil, host.Hinted(ErrNothingUp, "isukit topology apply FILE --driver "+s.driver.Name())
	}
	if !complete {
		return nil, host.Hinted(fmt.Errorf("the apply of topology %s was interrupted", g.Topology.Name), "apply it again, or isukit topology down")
	}
	return g, nil
}

// Running is a topology that is up: Topology, its Hash as it was declared, and Scale and Seed of its data.
type Running struct {
	// BaseURL is where the proxy listens: "http://127.0.0.1:PORT".
	BaseURL string
	// WorkerToken is what workers must present to the api role. It is a secret.
	WorkerToken string
	// Instances are in the order of the topology.
	Instances []Instance
	// Facts are the conditions under which it runs.
	Facts []Fact

	*layout
	site    *Site
	set     *hostSet
	proxies []string              // address:port of each
	roots   *x509.CertPool        // that proxies' certificates are of; nil without TLS
	dbs     []database            // in the order of the topology
	marked  map[string]host.State // by instance, see Mark
}

// Instance is one role that runs.
type Instance struct {
	Name string // as in the topology, e.g. "db-1"
	Role string
	Host string // name in the topology
	Addr string // address:port
	// DebugAddr is address:port of pprof for web and api, of the admin page for Envoy; "" for others.
	DebugAddr string
	Dir       string
}

// Running is what the site runs, with its facts, for a round. All hosts have to answer.
func (s *Site) Running(ctx context.Context) (*Running, error) {
	r, err := s.Up(ctx)
	if err != nil {
		return nil, err
	}
	defer r.set.act()
	return r, cancelled(ctx, r.gatherFacts(ctx))
}

// Up is what the site runs, without facts, on those hosts that can be asked; the error names the others, too.
func (s *Site) Up(ctx context.Context) (r *Running, err error) {
	l, f, err := s.deployed(ctx)
	if err != nil {
		return nil, err
	}
	r = &Running{layout: l, site: s, set: f, WorkerToken: l.secrets.WorkerToken}
	for _, i := range l.Topology.Instances {
		if f.away[i.Host] != nil {
			continue
		}
		r.Instances = append(r.Instances, instanceOf(i, l.input.Places[i.Name]))
	}
	proxies := l.Topology.Of(topology.Proxy)
	r.BaseURL = l.input.URLOf(proxies[0])
	for _, i := range proxies {
		if i.TLS == proxies[0].TLS {
			r.proxies = append(r.proxies, l.input.Places[i.Name].HostPort())
		}
	}
	if l.ca.Certificate != nil {
		if r.roots, err = l.ca.Pool(); err != nil {
			return nil, err
		}
	}
	if r.dbs, err = l.attach(ctx, f); err != nil {
		return nil, err
	}
	return r, f.missing()
}

// attach finds the databases, in parallel.
func (l *layout) attach(ctx context.Context, f *hostSet) ([]database, error) {
	declared := slices.DeleteFunc(l.Topology.Of(topology.DB), func(i topology.Instance) bool { return f.away[i.Host] != nil })
	list := make([]database, len(declared))
	group, ctx := errgroup.WithContext(ctx)
	for n, i := range declared {
		group.Go(func() error {
			inst, err := dbserver.Attach(ctx, l.hosts[i.Host], l.instanceConfig(i))
			list[n] = database{inst, i.Name}
			return err
		})
	}
	return list, group.Wait()
}

// Dial is how the load generator connects; nil is the usual way. Connections to the first proxy use all proxies in turn.
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
func (r *Running) Roots() *x509.CertPool { return r.roots }

func instanceOf(i topology.Instance, place render.Place) Instance {
	inst := Instance{
		Name: i.Name, Role: string(i.Role), Host: i.Host, Dir: place.Dir,
		Addr: place.HostPort(),
	}
	if i.Role != topology.DB && i.Kind != topology.Nginx {
		inst.DebugAddr = fmt.Sprintf("%s:%d", place.Address, place.DebugPort)
	}
	return inst
}

func (r *Running) of(role topology.Role) []Instance {
	var list []Instance
	for _, i := range r.Instances {
		if i.Role == string(role) {
			list = append(list, i)
		}
	}
	return list
}

// Fact is a condition under which a topology runs.
type Fact struct{ Key, Value string }

var versionRE = regexp.MustCompile(`[0-9]+\.[0-9]+(\.[0-9]+)?[0-9A-Za-z.+~-]*`)

func (r *Running) gatherFacts(ctx context.Context) error {
	top := r.input.Topology
	proxy := r.of(topology.Proxy)[0]
	var proxyVersion, kernel, cpu string
	var app appVersion
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() (err error) {
		at := r.hosts[r.of(topology.Web)[0].Host]
		app, err = askApp(ctx, at, appPath(at, r.deployment))
		return err
	})
	group.Go(func() (err error) {
		proxyVersion, err = r.proxyVersion(ctx, proxy)
		return err
	})
	group.Go(func() error { // of the proxy's host, or of the machine that it is on
		res, err := r.hosts[proxy.Host].Run(ctx, *kernelOp.Run)
		kernel, cpu, _ = strings.Cut(string(res.Stdout), "\n")
		cpu, _, _ = strings.Cut(cpu, "\n")
		return err
	})
	if err := group.Wait(); err != nil {
		return err
	}
	r.Facts = []Fact{
		{"topology", top.Name}, {"topology_hash", r.Hash}, {"driver", r.site.driver.Name()},
		{"proxy", string(r.kindOf(proxy.Name)) + " " + proxyVersion},
		{"db", fmt.Sprintf("%d x %s %s", len(r.dbs), r.dbs[0].Engine, r.dbs[0].Version)},
		{"app", strings.TrimSpace(app.Version + " " + app.Commit)},
		{"dataset", fmt.Sprintf("%s, seed %d, version %d", r.Scale, r.Seed, app.DatasetVersion)},
		{"kernel", kernel}, {"cpu", cpu},
		{"cpus", fmt.Sprint(r.input.Machine.CPUs)},
		{"memory_mib", fmt.Sprint(r.input.Machine.MemoryBytes >> 20)},
		{"go", runtime.Version()},
	}
	return nil
}

// kernelOp tells a host's kernel and CPU. Not every architecture names its model.
var kernelOp = host.Script(`uname -r; sed -n 's/^model name[^:]*: *//p' /proc/cpuinfo | head -n 1; uname -m`)

func (r *Running) proxyVersion(ctx context.Context, proxy Instance) (string, error) {
	envoy, flag := r.kindOf(proxy.Name) == topology.Envoy, "-v"
	if envoy {
		flag = "--version"
	}
	res, err := r.hosts[proxy.Host].Run(ctx, host.Command{Argv: []string{r.services[proxy.Name].Argv[0], flag}})
	if err != nil {
		return "", err
	}
	out := string(res.Stdout) + string(res.Stderr)
	if envoy {
		// "envoy  version: COMMIT/1.40.0/Clean/RELEASE/BoringSSL"
		_, out, _ = strings.Cut(out, "/")
	}
	return versionRE.FindString(out), nil
}
