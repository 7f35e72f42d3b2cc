package infra

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"syscall"

	"isukit"
	"isukit/infra/dbserver"
	"isukit/infra/host"
	"isukit/infra/pki"
	"isukit/infra/plan"
	"isukit/infra/render"
	"isukit/infra/topology"
)

type layout struct {
	*deployment
	spec    Spec
	driver  string
	input   render.Input
	install dbserver.Install
	tools   map[string]tools // by host; what is not known has none
	secrets secrets
	hosts   map[string]host.Host
	ca      pki.Pair // where a proxy speaks TLS
	binary  []byte   // of the app

	want     map[string][]plan.Wanted // by host, in the order in which they are made
	services map[string]host.Service  // by instance
	modes    map[string]fs.FileMode   // by path of a file
}

// layOut works out what a deployment means. Hosts that do not exist yet are taken for what the topology says of them.
func (s *Site) layOut(ctx context.Context, g *deployment, f *hostSet) (*layout, error) {
	l := &layout{
		deployment: g, tools: map[string]tools{}, spec: s.spec, driver: s.driver.Name(), secrets: f.secrets(), hosts: map[string]host.Host{},
		want: map[string][]plan.Wanted{}, services: map[string]host.Service{}, modes: map[string]fs.FileMode{},
	}
	for _, w := range s.wants(g.Topology) {
		h, ok := f.hosts[w.Name]
		switch about := plannedAbout(w, s.driver.Name()); {
		case !ok:
			h = planned{about: about}
		case h != nil && (f.away[w.Name] != nil || f.placesOnly && !h.About().Here):
			h = planned{about: h.About()} // nobody can ask it anything
		case !slices.Contains(f.wants, w) && !f.ensured:
			now := h.About()
			now.CPUs, now.MemoryBytes = about.CPUs, about.MemoryBytes
			h = planned{h, now}
		}
		l.hosts[w.Name] = h
	}
	err := l.findTools(ctx)
	if err != nil {
		return nil, err
	}
	if l.binary, err = s.binary(ctx, l.deployment, f); err != nil {
		return nil, err
	}
	for _, step := range []func() error{l.places, l.databases, l.rules, l.apps, l.proxies} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	return l, nil
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
	s.After = l.before(hostName, s.Name)
	l.services[s.Name] = s
	l.want[hostName] = append(l.want[hostName], plan.Wanted{
		Item: plan.Item{Kind: plan.Service, Name: s.Name, Owner: s.Name, Hash: s.Stamp}, Needs: needs,
	})
}

// before are the instances of a host that a boot starts before one of its others: what that needs.
func (l *layout) before(hostName, instance string) (names []string) {
	stages := [][]topology.Role{{topology.DB}, {topology.API, topology.Web}, {topology.Proxy}}
	if b := l.Topology.Data.Balance; b != nil && b.Kind == topology.BalanceNginx { // the app reads through the proxy
		stages[1], stages[2] = stages[2], stages[1]
	}
	for _, roles := range stages {
		if slices.Contains(roles, roleOf(instance)) {
			break
		}
		for _, i := range l.Topology.On(hostName) {
			if slices.Contains(roles, i.Role) {
				names = append(names, i.Name)
			}
		}
	}
	return names
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
			return host.Hinted(fmt.Errorf("topology %s balances reads in the kernel, whose rules the local driver leaves alone", l.Topology.Name), "use --driver lab")
		}
		l.file(name, "", path.Join(l.hosts[name].About().Dir, "reads.nft"), text, 0o644)
		l.want[name] = append(l.want[name], plan.Wanted{Item: plan.Item{Kind: plan.Rules, Name: render.RulesTable, Hash: plan.Hash(text)}, Text: text})
	}
	return nil
}

// maxSocketPath is the longest path that a Unix socket's address holds.
const maxSocketPath = 107

// places settles where every instance is and listens.
func (l *layout) places() error {
	t := l.Topology
	machine, err := host.ThisMachine()
	if err != nil {
		return err
	}
	l.input = render.Input{
		Topology: t, Places: map[string]render.Place{}, Machines: map[string]render.Machine{}, Templates: isukit.Assets,
		Machine: render.Machine{CPUs: machine.CPUs, MemoryBytes: machine.MemoryBytes}, Scale: l.Scale, Seed: l.Seed,
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
		if t, ok := l.tools[b.Host]; ok {
			if l.input.StreamModule, err = t.streamModule(b.Host); err != nil {
				return err
			}
		}
	}
	return nil
}

// maxFiles is how many files a process of this machine may be allowed to open.
func maxFiles() (int, error) {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 0, fmt.Errorf("read the limit of open files: %w", err)
	}
	return int(min(limit.Max, 1<<24)), nil
}

// balancePlace is what the port of a balance is kept under among those of the instances.
const balancePlace = "balance"

// ports are the topology's if every host has an address of its own; if hosts share one, free ones that stay with the instance.
func (l *layout) ports() (map[string][2]int, error) {
	t := l.Topology
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
	for _, p := range l.Ports {
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
		p, ok := l.Ports[name]
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
	l.Ports = ports
	return ports, nil
}
