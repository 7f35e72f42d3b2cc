package infra

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"isukit"
	"isukit/infra/dbserver"
	"isukit/infra/host"
	"isukit/infra/pki"
	"isukit/infra/plan"
	"isukit/infra/render"
	"isukit/infra/topology"
)

// layout is everything that a goal means for the hosts.
type layout struct {
	goal    *goal
	spec    Spec
	driver  string
	input   render.Input
	install dbserver.Install
	far     map[string]tools // by host, of those that are not this machine
	secrets secrets
	hosts   map[string]host.Host
	ca      pki.Pair // where a proxy speaks TLS
	binary  []byte   // of the app

	want     map[string][]plan.Wanted // by host, in the order in which they are made
	services map[string]host.Service  // by instance
	modes    map[string]fs.FileMode   // by path of a file
}

// layOut works out what a goal means. Hosts that do not exist yet are taken for what the topology says of them.
func (s *Site) layOut(ctx context.Context, g *goal, f *found) (*layout, error) {
	l := &layout{
		goal: g, far: map[string]tools{}, spec: s.spec, driver: s.driver.Name(), secrets: f.secrets(), hosts: map[string]host.Host{},
		want: map[string][]plan.Wanted{}, services: map[string]host.Service{}, modes: map[string]fs.FileMode{},
	}
	for _, w := range s.wants(g.Topology) {
		h, ok := f.hosts[w.Name]
		switch about := plannedAbout(w, s.driver.Name()); {
		case !ok:
			h = planned{about: about}
		case !slices.Contains(f.wants, w) && !f.ensured:
			now := h.About()
			now.CPUs, now.MemoryBytes = about.CPUs, about.MemoryBytes
			h = planned{h, now}
		}
		l.hosts[w.Name] = h
	}
	err := l.findServers(ctx)
	if err != nil {
		return nil, err
	}
	if l.binary, err = s.binary(ctx, g, f); err != nil {
		return nil, err
	}
	for _, step := range []func() error{l.places, l.databases, l.rules, l.apps, l.proxies} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	return l, nil
}

// findServer finds the database server that a topology asks for.
func findServer(ctx context.Context, t *topology.Topology, localDir string) (dbserver.Install, error) {
	engine := dbserver.Engine(t.Of(topology.DB)[0].Kind)
	in, err := dbserver.Find(ctx, engine, localDir)
	if errors.Is(err, dbserver.ErrNotFound) {
		hint := "make setup"
		if engine == dbserver.MySQL {
			hint = "make mysql"
		}
		return in, &HintError{err, hint}
	}
	return in, err
}

// planned stands in for a host that is not there yet: nothing but About is asked of it.
type planned struct {
	host.Host
	about host.About
}

func (p planned) About() host.About { return p.about }

func plannedAbout(w host.Want, driver string) host.About {
	a := host.About{
		Name: w.Name, Driver: driver, Address: w.Address, CPUs: w.CPUs, MemoryBytes: w.MemoryBytes, Dir: "/" + w.Name,
		Root: os.Geteuid() == 0, Here: driver != "ssh",
	}
	if a.Address == "" {
		a.Address = "127.0.0.1"
	}
	return a
}

// maxSocketPath is the longest path that a Unix socket's address holds.
const maxSocketPath = 107

// places settles where every instance is and listens.
func (l *layout) places() error {
	t := l.goal.Topology
	machine, err := host.ThisMachine()
	if err != nil {
		return err
	}
	l.input = render.Input{
		Topology: t, Places: map[string]render.Place{}, Machines: map[string]render.Machine{}, Templates: isukit.Assets,
		Machine: render.Machine{CPUs: machine.CPUs, MemoryBytes: machine.MemoryBytes}, Scale: l.goal.Scale, Seed: l.goal.Seed,
	}
	if l.input.MaxFiles, err = maxFiles(); err != nil {
		return err
	}
	if l.driver == "ssh" {
		l.input.MaxFiles = l.filesOf()
	}
	ports, err := l.ports()
	if err != nil {
		return err
	}
	for name, h := range l.hosts {
		about := h.About()
		if about.CPUs > 0 && about.MemoryBytes > 0 && l.driver != "local" {
			l.input.Machines[name] = render.Machine{CPUs: about.CPUs, MemoryBytes: about.MemoryBytes}
		}
		l.input.Root = about.Root
		for _, i := range t.On(name) {
			p := render.Place{
				Dir: path.Join(about.Dir, i.Name), Address: about.Address, Port: ports[i.Name][0], DebugPort: ports[i.Name][1],
			}
			if p.Socket = path.Join(p.Dir, "app.sock"); len(p.Socket) > maxSocketPath {
				p.Socket = ""
			}
			l.input.Places[i.Name] = p
		}
	}
	if b := t.Data.Balance; b != nil && b.Kind == topology.BalanceNginx {
		l.input.BalancePort = ports[balancePlace][0]
		if t, ok := l.far[b.Host]; ok {
			l.input.StreamModule, err = t.streamModule(b.Host)
		} else {
			l.input.StreamModule, err = StreamModule()
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// maxFiles is how many files a process of this machine may be allowed to open.
func maxFiles() (int, error) {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 0, fmt.Errorf("ask for the limit of open files: %w", err)
	}
	return int(min(limit.Max, 1<<24)), nil
}

// balancePlace is what the port of a balance is kept under among those of the instances.
const balancePlace = "balance"

// ports are those of the topology where every host has an address of its own, and free ones, kept for as long as the instance is
// on its host, where hosts share one.
func (l *layout) ports() (map[string][2]int, error) {
	t := l.goal.Topology
	ports := map[string][2]int{}
	if l.driver != "local" {
		for name, port := range t.Ports() {
			ports[name] = [2]int{port, port + topology.DebugPorts}
		}
		if t.Data.Balance != nil {
			ports[balancePlace] = [2]int{t.Data.Balance.Port}
		}
		return ports, nil
	}
	taken := map[int]bool{}
	for _, p := range l.goal.Ports {
		taken[p[0]], taken[p[1]] = true, true
	}
	free := func() (int, error) {
		for {
			if port, err := host.FreePort(); err != nil || !taken[port] {
				taken[port] = true
				return port, err
			}
		}
	}
	names := []string{balancePlace}
	for _, i := range t.Instances {
		names = append(names, i.Name)
	}
	for _, name := range names {
		p, ok := l.goal.Ports[name]
		if i, _ := t.Instance(name); !ok {
			var errs [2]error
			p[0], errs[0] = free()
			p[1], errs[1] = free()
			if err := errors.Join(errs[:]...); err != nil {
				return nil, err
			}
			if i.Sizes.Port > 0 {
				p[0] = i.Sizes.Port
			}
		}
		ports[name] = p
	}
	l.goal.Ports = ports
	return ports, nil
}

// file adds a file to what is wanted on a host.
func (l *layout) file(hostName, owner, name string, text []byte, mode fs.FileMode) {
	l.want[hostName] = append(l.want[hostName], plan.Wanted{
		Item: plan.Item{Kind: plan.File, Name: name, Owner: owner, Hash: plan.Hash(text)}, Text: text, Secret: mode&0o077 == 0,
	})
	l.modes[name] = mode
}

// rendered adds the rendered files of an instance.
func (l *layout) rendered(i topology.Instance) error {
	files, err := render.Files(l.input, i.Host)
	if err != nil {
		return err
	}
	for _, f := range files {
		if path.Dir(f.Path) == l.input.Places[i.Name].Dir {
			l.file(i.Host, i.Name, f.Path, f.Data, f.Mode)
		}
	}
	return nil
}

// service adds a service that is to be started again when one of its owner's files, or what is in also, changes.
func (l *layout) service(hostName string, s host.Service, also ...string) {
	parts := append([]string{fmt.Sprint(s.NoFile, s.StopSignal)}, also...)
	parts = append(append(parts, s.Argv...), s.Env...)
	var needs []string
	for _, w := range l.want[hostName] {
		if w.Kind == plan.File && w.Owner == s.Name {
			parts = append(parts, w.Name, w.Hash)
			needs = append(needs, path.Base(w.Name))
		}
	}
	s.Stamp = plan.Hash([]byte(strings.Join(parts, "\x00")))
	l.services[s.Name] = s
	l.want[hostName] = append(l.want[hostName], plan.Wanted{
		Item: plan.Item{Kind: plan.Service, Name: s.Name, Owner: s.Name, Hash: s.Stamp}, Needs: needs,
	})
}

func (l *layout) rules() error {
	for name := range l.hosts {
		text, err := render.Rules(l.input, name)
		if err != nil {
			return err
		}
		if text == nil {
			continue
		}
		if l.driver == "local" {
			return &HintError{fmt.Errorf("topology %s balances reads in the kernel, whose rules the local driver leaves alone", l.goal.Topology.Name), "use --driver lab"}
		}
		l.file(name, "", path.Join(l.hosts[name].About().Dir, "reads.nft"), text, 0o644)
		l.want[name] = append(l.want[name], plan.Wanted{Item: plan.Item{Kind: plan.Rules, Name: render.RulesTable, Hash: plan.Hash(text)}, Text: text})
	}
	return nil
}

// appPath is where the app's binary is on a host. Another build is another file, so that what runs can be put back.
func appPath(h host.Host, g *goal) string {
	return path.Join(h.About().Dir, "bin", appName+g.App[:12])
}

// appName begins the name of the app's binary on a host.
const appName = "isukit-app-"

// binary is the app that a goal is about: a new goal takes the one that the Spec names, an old one has its own on the hosts.
func (s *Site) binary(ctx context.Context, g *goal, f *found) ([]byte, error) {
	text, err := os.ReadFile(s.spec.AppBinary)
	if err != nil && g.App == "" {
		return nil, &HintError{fmt.Errorf("the app's binary: %w", err), "make build"}
	}
	if g.App == "" {
		g.App = plan.Hash(text)
	}
	if err == nil && plan.Hash(text) == g.App {
		return text, nil
	}
	for _, name := range f.names() {
		if text, err := f.hosts[name].Get(ctx, appPath(f.hosts[name], g)); err == nil {
			return text, nil
		}
	}
	return nil, fmt.Errorf("the app that topology %s was applied with is on no host any more", g.Topology.Name)
}

func (l *layout) apps() error {
	t := l.goal.Topology
	for name, h := range l.hosts {
		if slices.ContainsFunc(t.On(name), func(i topology.Instance) bool { return i.Role == topology.Web || i.Role == topology.API }) {
			l.file(name, "", appPath(h, l.goal), l.binary, 0o755)
		}
	}
	for _, i := range append(t.Of(topology.API), t.Of(topology.Web)...) {
		if err := l.rendered(i); err != nil {
			return err
		}
		dir := l.input.Places[i.Name].Dir
		secret := map[string]string{render.SessionKeyFile: l.secrets.SessionKey, render.WorkerTokenFile: l.secrets.WorkerToken}
		for _, db := range t.Of(topology.DB) {
			secret[render.DSNFile(db.Name)] = l.appDSN(l.input.Places[db.Name].Address, l.input.Places[db.Name].Port)
		}
		if a := l.input.BalanceAddress(); a != "" {
			secret[render.ReadsDSNFile] = l.dsnAt(a)
		}
		for _, name := range sortedKeys(secret) {
			l.file(i.Host, i.Name, path.Join(dir, name), []byte(secret[name]+"\n"), 0o600)
		}
		sizes := l.input.SizesOf(i)
		l.service(i.Host, host.Service{
			Name: i.Name, Dir: dir, LogFile: path.Join(dir, outputLog), Argv: []string{appPath(l.hosts[i.Host], l.goal), "--config", path.Join(dir, render.AppConf)},
			Env: []string{fmt.Sprintf("GOMAXPROCS=%d", sizes.GOMAXPROCS)}, NoFile: sizes.Files,
		})
	}
	return nil
}

func (l *layout) proxies() error {
	page, err := fs.Sub(isukit.Assets, "nginx/static")
	if err != nil {
		return err
	}
	for _, i := range l.goal.Topology.Of(topology.Proxy) {
		place := l.input.Places[i.Name]
		l.input.StaticDir = path.Join(place.Dir, "static")
		if l.input.Static, err = render.Static(page, l.input.StaticDir); err != nil {
			return err
		}
		seen := map[string]bool{}
		for _, f := range l.input.Static {
			data, err := fs.ReadFile(page, pathUnder(l.input.StaticDir, f.File))
			if err != nil {
				return err
			}
			if !seen[f.File] {
				l.file(i.Host, i.Name, f.File, data, 0o644)
			}
			seen[f.File] = true
		}
		if err := l.rendered(i); err != nil {
			return err
		}
		if err := l.certificate(i); err != nil {
			return err
		}
		if err := l.proxyService(i); err != nil {
			return err
		}
	}
	return nil
}

func (l *layout) proxyService(i topology.Instance) error {
	dir, sizes := l.input.Places[i.Name].Dir, l.input.SizesOf(i)
	service := host.Service{Name: i.Name, Dir: dir, LogFile: path.Join(dir, outputLog), NoFile: sizes.Files}
	if i.Kind == topology.Envoy {
		program, err := l.program(i.Host, "envoy", envoyInLocal, envoyHint)
		if err != nil {
			return err
		}
		service.Argv = []string{program, "-c", path.Join(dir, render.EnvoyConf),
			"--disable-hot-restart", "--log-level", "warn", "--concurrency", fmt.Sprint(sizes.Workers)}
	} else {
		program, err := l.program(i.Host, "nginx", "", "make setup")
		if err != nil {
			return err
		}
		// nginx makes the temporary directories itself, but not the one above them.
		l.file(i.Host, i.Name, path.Join(dir, "tmp", "README"), []byte("bodies that nginx buffers\n"), 0o600)
		service.Argv = []string{program, "-p", dir, "-c", path.Join(dir, render.NginxConf), "-e", path.Join(dir, errorLog)}
		service.StopSignal = syscall.SIGQUIT
	}
	l.service(i.Host, service)
	return nil
}

// certificate gives a proxy with TLS a certificate of the state directory's own authority; it stays the same for as long as
// the proxy's address does.
func (l *layout) certificate(i topology.Instance) error {
	if !i.TLS {
		return nil
	}
	place := l.input.Places[i.Name]
	now := time.Now()
	ca, err := keptPair(filepath.Join(l.spec.StateDir, "pki", "authority"), func() (pki.Pair, error) { return pki.NewAuthority(now) })
	if err != nil {
		return err
	}
	l.ca = ca
	name := strings.NewReplacer(":", "-", "/", "-").Replace(place.Address)
	pair, err := keptPair(filepath.Join(l.spec.StateDir, "pki", name), func() (pki.Pair, error) { return ca.Issue(now, place.Address) })
	if err != nil {
		return err
	}
	l.file(i.Host, i.Name, path.Join(place.Dir, render.TLSCertFile), pair.Certificate, 0o644)
	l.file(i.Host, i.Name, path.Join(place.Dir, render.TLSKeyFile), pair.Key, 0o600)
	return nil
}
