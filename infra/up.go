package infra

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"path/filepath"
	"time"

	"isukit"
	"isukit/infra/host"
	"isukit/infra/host/machine"
	"isukit/infra/render"
	"isukit/infra/topology"
)

const stopLimit = 20 * time.Second // for one role to end when asked to

// Running is a topology that is up. It belongs to one caller, who must call Down.
type Running struct {
	// BaseURL is where the proxy listens: "http://127.0.0.1:PORT".
	BaseURL string
	// WorkerToken is what workers must present to the api role. It is a secret.
	WorkerToken string
	// Instances are in the order of the topology.
	Instances []Instance
	// Facts are the conditions under which it runs.
	Facts []Fact

	spec     Spec
	hash     string // of the topology as it was declared
	local    *host.Local
	hosts    map[string]host.Host // of a Site, by name; nil for local
	site     *Site                // nil for local
	found    *found               // of the site
	proxies  []string             // address:port of each
	client   *http.Client         // reaches the site; nil for local
	ca       *x509.CertPool       // that proxies' certificates are of; nil without TLS
	input    render.Input
	dbs      []database // in the order of the topology
	app      appVersion
	secrets  []string
	services map[string]host.Service // of a Site: how each instance is started
	marked   map[string]host.State   // by instance, see Mark
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

// Up makes the topology real on this machine and returns when every role is healthy. When it fails, or ctx ends, all
// that it started is gone before it returns.
func Up(ctx context.Context, spec Spec) (_ *Running, err error) {
	if err := spec.validate(); err != nil {
		return nil, fmt.Errorf("start topology: %w", err)
	}
	r := &Running{spec: spec, hash: spec.Topology.Hash(), WorkerToken: rand.Text()}
	r.secrets = append(r.secrets, r.WorkerToken)
	if r.local, err = host.OpenLocal(spec.StateDir); err != nil {
		return nil, fmt.Errorf("start topology %s: %w", spec.Topology.Name, err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("start topology %s: %w", spec.Topology.Name, err), r.Down(context.WithoutCancel(ctx)))
		}
	}()
	for _, step := range []func(context.Context) error{r.plan, r.write, r.startDB, r.startApps, r.startProxy, r.gatherFacts} {
		if err := step(ctx); err != nil {
			// A program that was killed since ctx ended says so; the caller asks for the reason.
			if ctx.Err() != nil && !errors.Is(err, ctx.Err()) {
				err = fmt.Errorf("%w: %w", ctx.Err(), err)
			}
			return nil, err
		}
	}
	return r, nil
}

// Down stops every role, in the reverse order of their start, and removes the run directory. Data that is prepared for
// later runs stays.
func (r *Running) Down(ctx context.Context) error {
	r.spec.progress("stopping")
	if r.site != nil {
		return nil // it stays
	}
	if err := r.local.Close(ctx); err != nil {
		return fmt.Errorf("take topology %s down: %w", r.spec.Topology.Name, err)
	}
	return nil
}

// plan settles what the topology leaves open: the engine, and where every instance listens.
func (r *Running) plan(ctx context.Context) error {
	in, err := findServer(ctx, r.spec.Topology, r.spec.LocalDir)
	if err != nil {
		return err
	}
	if r.spec.Topology, err = r.spec.Topology.WithKind(topology.DB, topology.Kind(in.Engine)); err != nil {
		return err
	}
	if err := r.place(); err != nil {
		return err
	}
	return r.planDB(ctx, in)
}

// place settles where every instance is and listens.
func (r *Running) place() error {
	top := r.spec.Topology
	files, err := maxFiles()
	if err != nil {
		return err
	}
	about := r.local.About()
	r.input = render.Input{
		Topology: top, Places: map[string]render.Place{}, Machine: render.Machine{CPUs: about.CPUs, MemoryBytes: about.MemoryBytes},
		Templates: isukit.Assets, StaticDir: filepath.Join(r.local.Dir(), "static"), Root: about.Root, MaxFiles: files,
		Scale: r.spec.Scale, Seed: r.spec.Seed,
	}
	taken := map[int]bool{}
	for _, i := range top.Instances {
		place := render.Place{Dir: filepath.Join(r.local.Dir(), i.Name), Address: "127.0.0.1", Port: i.Sizes.Port}
		if place.Socket = filepath.Join(place.Dir, "app.sock"); len(place.Socket) > maxSocketPath {
			place.Socket = ""
		}
		for _, port := range []*int{&place.Port, &place.DebugPort} {
			for *port == 0 || taken[*port] {
				if *port, err = host.FreePort(); err != nil {
					return err
				}
			}
			taken[*port] = true
		}
		r.input.Places[i.Name] = place
		r.Instances = append(r.Instances, instanceOf(i, place))
	}
	r.BaseURL = "http://" + r.of(topology.Proxy)[0].Addr
	return nil
}

func instanceOf(i topology.Instance, place render.Place) Instance {
	inst := Instance{
		Name: i.Name, Role: string(i.Role), Host: i.Host, Dir: place.Dir,
		Addr: fmt.Sprintf("%s:%d", place.Address, place.Port),
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

// sizesOf are the sizes of an instance.
func (r *Running) sizesOf(name string) topology.Sizes {
	i, _ := r.input.Topology.Instance(name)
	return r.input.SizesOf(i)
}

// write puts the rendered files, the front page and the secrets of the apps.
func (r *Running) write(ctx context.Context) error {
	r.spec.progress("writing configuration")
	page, err := fs.Sub(isukit.Assets, "nginx/static")
	if err != nil {
		return err
	}
	if r.input.Static, err = render.Static(page, r.input.StaticDir); err != nil {
		return err
	}
	for _, f := range r.input.Static {
		data, err := fs.ReadFile(page, pathUnder(r.input.StaticDir, f.File))
		if err != nil {
			return err
		}
		if err := r.local.Put(ctx, f.File, data, 0o644); err != nil {
			return err
		}
	}
	for _, h := range r.input.Topology.Hosts {
		files, err := render.Files(r.input, h.Name)
		if err != nil {
			return err
		}
		for _, f := range files {
			if err := r.local.Put(ctx, f.Path, f.Data, f.Mode); err != nil {
				return err
			}
		}
	}
	return r.writeSecrets(ctx)
}

func (r *Running) writeSecrets(ctx context.Context) error {
	key := make([]byte, 32)
	rand.Read(key)
	secrets := map[string]string{
		render.SessionKeyFile: hex.EncodeToString(key), render.WorkerTokenFile: r.WorkerToken,
	}
	for _, db := range r.dbs {
		secrets[render.DSNFile(db.name)] = db.appDSN()
	}
	r.secrets = append(r.secrets, secrets[render.SessionKeyFile])
	for _, app := range r.apps() {
		for name, text := range secrets {
			if err := r.local.Put(ctx, filepath.Join(app.Dir, name), []byte(text+"\n"), 0o600); err != nil {
				return err
			}
		}
	}
	return nil
}

// apps are the instances of isukit-app: workers' API first, since the web role tells where it is.
func (r *Running) apps() []Instance { return append(r.of(topology.API), r.of(topology.Web)...) }

func (r *Running) startApps(ctx context.Context) error {
	for _, app := range r.apps() {
		r.spec.progress("starting %s", app.Name)
		if err := r.local.Start(ctx, appService(app.Name, r.spec.AppBinary, app.Dir, r.sizesOf(app.Name))); err != nil {
			return err
		}
	}
	for _, app := range r.apps() {
		if err := r.waitHTTP(ctx, app, "/healthz"); err != nil {
			return err
		}
	}
	return nil
}

func (r *Running) startProxy(ctx context.Context) error {
	proxy := r.of(topology.Proxy)[0]
	r.spec.progress("starting %s", proxy.Name)
	if r.kindOf(proxy.Name) == topology.Nginx {
		file, text := nginxTmp(proxy.Dir)
		if err := r.local.Put(ctx, file, text, 0o600); err != nil {
			return err
		}
	}
	service, err := r.proxyService(proxy)
	if err != nil {
		return err
	}
	if err := r.local.Start(ctx, service); err != nil {
		return err
	}
	return r.waitHTTP(ctx, proxy, "/")
}

// proxyService is how a proxy is started.
func (r *Running) proxyService(proxy Instance) (host.Service, error) {
	if service, ok := r.services[proxy.Name]; ok {
		return service, nil
	}
	i, _ := r.input.Topology.Instance(proxy.Name)
	program, err := r.proxyProgram(proxy)
	return proxyService(i, program, proxy.Dir, r.input.SizesOf(i)), err
}

// proxyProgram is the program of a proxy: on this machine where it is, elsewhere its name.
func (r *Running) proxyProgram(proxy Instance) (string, error) {
	kind := r.kindOf(proxy.Name)
	if !r.at(proxy.Host).About().Here {
		return string(kind), nil
	}
	return r.spec.proxyProgram(kind)
}

// CleanDead ends what is left in stateDir of isukits that are dead, and removes their run directories.
func CleanDead(ctx context.Context, stateDir string) (host.Cleaned, error) {
	return machine.CleanDead(ctx, stateDir)
}
