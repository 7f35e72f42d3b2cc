package infra

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

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
	tools   map[string]tools // by host; what is not known has none
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
		goal: g, tools: map[string]tools{}, spec: s.spec, driver: s.driver.Name(), secrets: f.secrets(), hosts: map[string]host.Host{},
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
	if l.binary, err = s.binary(ctx, l.goal, f); err != nil {
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
	if b := l.goal.Topology.Data.Balance; b != nil && b.Kind == topology.BalanceNginx { // the app reads through the proxy
		stages[1], stages[2] = stages[2], stages[1]
	}
	for _, roles := range stages {
		if slices.Contains(roles, roleOf(instance)) {
			break
		}
		for _, i := range l.goal.Topology.On(hostName) {
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
			return host.Hinted(fmt.Errorf("topology %s balances reads in the kernel, whose rules the local driver leaves alone", l.goal.Topology.Name), "use --driver lab")
		}
		l.file(name, "", path.Join(l.hosts[name].About().Dir, "reads.nft"), text, 0o644)
		l.want[name] = append(l.want[name], plan.Wanted{Item: plan.Item{Kind: plan.Rules, Name: render.RulesTable, Hash: plan.Hash(text)}, Text: text})
	}
	return nil
}
