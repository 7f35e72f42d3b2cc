package infra

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"isukit/infra/host"
	"isukit/infra/plan"
	"isukit/infra/topology"
)

// Plan is what an apply would do; its Hosts are those with something to do, by name.
type Plan struct {
	plan.Plan
	layout *layout
}

// URL is where the portal answers once the plan is carried out: the topology's first proxy.
func (p *Plan) URL() string {
	return p.layout.input.URLOf(p.layout.Topology.Of(topology.Proxy)[0])
}

// refuse is the error for a plan that would overwrite or remove what was changed outside isukit, or by tunings; nil where it does not.
func (p *Plan) refuse(driver string) error {
	var foreign, tuned []string
	for _, h := range p.Hosts {
		for _, s := range h.Steps {
			switch what := s.What() + " on " + h.Name; {
			case s.Foreign:
				foreign = append(foreign, what)
			case s.Tunings:
				tuned = append(tuned, what)
			}
		}
	}
	switch {
	case len(foreign) > 0:
		return host.Hinted(fmt.Errorf("changed outside isukit since: %s", strings.Join(foreign, ", ")),
			"check it with isukit topology verify, then overwrite it with --force")
	case len(tuned) > 0:
		return host.Hinted(fmt.Errorf("it would overwrite files changed by tunings: %s", strings.Join(tuned, ", ")),
			"revert the tunings first: isukit tune revert --all --driver "+driver)
	}
	return nil
}

// Plan is what Apply would do for the site's Spec. Hosts that do not exist are assumed to be as declared.
func (s *Site) Plan(ctx context.Context) (*Plan, error) {
	f, err := s.find(ctx)
	if err != nil {
		return nil, err
	}
	defer f.act()
	return s.planFor(ctx, s.newDeployment(f), f)
}

// newDeployment is the Spec's, with what stays from the one before.
func (s *Site) newDeployment(f *hostSet) *deployment {
	g := &deployment{Topology: s.spec.Topology, Hash: s.spec.Topology.Hash(), Scale: s.spec.Scale, Seed: s.spec.Seed, Ports: map[string][2]int{}}
	old, _ := f.current()
	if old == nil {
		return g
	}
	if s.spec.KeepDataset {
		g.Scale, g.Seed = old.Scale, old.Seed
	}
	for name, ports := range old.Ports {
		now, ok := g.Topology.Instance(name)
		if was, _ := old.Topology.Instance(name); ok && now.Host == was.Host && now.Sizes.Port == was.Sizes.Port {
			g.Ports[name] = ports
		}
	}
	return g
}

func (s *Site) planFor(ctx context.Context, g *deployment, f *hostSet) (*Plan, error) {
	if err := host.CheckWants(s.driver.Name(), s.wants(g.Topology)); err != nil {
		return nil, err
	}
	l, err := s.layOut(ctx, g, f)
	if err != nil {
		return nil, err
	}
	p := &Plan{Plan: plan.Plan{Topology: g.Topology.Name}, layout: l}
	for _, name := range f.names() {
		if _, ok := l.hosts[name]; !ok {
			l.want[name] = nil
		}
	}
	for _, h := range l.hosts {
		if _, ok := l.want[h.About().Name]; !ok {
			l.want[h.About().Name] = nil
		}
	}
	names := sortedKeys(l.want)
	actual := make([][]plan.Actual, len(names))
	group, at := errgroup.WithContext(ctx)
	for n, name := range names { // in parallel: hosts far away take their time to answer
		if h := f.hosts[name]; h != nil && f.away[name] == nil {
			group.Go(func() (err error) {
				actual[n], err = look(at, h, l.want[name], f.items(name))
				return err
			})
		}
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	for n, name := range names {
		if f.away[name] != nil {
			continue
		}
		if f.fresh {
			actual[n] = slices.DeleteFunc(actual[n], func(a plan.Actual) bool { return a.Kind == plan.Data })
		}
		diff := plan.Diff(l.want[name], f.items(name), actual[n])
		diff.Name, diff.New = name, f.hosts[name] == nil
		_, wanted := g.Topology.Host(name)
		diff.Gone = !wanted
		if len(diff.Steps) > 0 || diff.New || diff.Gone {
			p.Hosts = append(p.Hosts, diff)
		}
	}
	p.restartServers()
	p.restartApps()
	return p, nil
}

// items are what was made on a host.
func (f *hostSet) items(name string) []plan.Item {
	if inv := f.inventories[name]; inv != nil {
		return inv.Items
	}
	return nil
}

// restartServers adds what follows from data that is made: a server has to be stopped for it, and rows that are there may be lost.
func (p *Plan) restartServers() {
	for _, h := range p.Hosts {
		for k, s := range h.Steps {
			if s.Kind != plan.Data || s.Op == plan.Remove {
				continue
			}
			if s.Op == plan.Change && !sameData(s.Hash, s.Was) {
				h.Steps[k].Reason = "its rows are replaced by the dataset " + strings.Split(s.Hash, "|")[1]
			}
			p.restart(h.Name, s.Owner, "its data is made")
		}
	}
}

// restart adds the restart of an instance where nothing else is done to it.
func (p *Plan) restart(hostName, instance, reason string) {
	step := plan.Step{Op: plan.Restart, Reason: reason, Item: plan.Item{Kind: plan.Service, Name: instance, Owner: instance, Hash: p.layout.services[instance].Stamp}}
	n := slices.IndexFunc(p.Hosts, func(h plan.Host) bool { return h.Name == hostName })
	if n < 0 {
		p.Hosts = append(p.Hosts, plan.Host{Name: hostName})
		n = len(p.Hosts) - 1
	}
	if h := &p.Hosts[n]; !slices.ContainsFunc(h.Steps, func(s plan.Step) bool { return s.Same(step.Item) }) {
		h.Steps = append(h.Steps, step)
	}
}

// restartApps adds what follows from the databases: an app whose database is away for a moment would take it for dead.
func (p *Plan) restartApps() {
	t := p.layout.Topology
	touched := false
	for _, h := range p.Hosts {
		touched = touched || slices.ContainsFunc(h.Steps, func(s plan.Step) bool {
			return s.Kind == plan.Service && roleOf(s.Owner) == topology.DB
		})
	}
	if !touched {
		return
	}
	for _, i := range append(t.Of(topology.API), t.Of(topology.Web)...) {
		p.restart(i.Host, i.Name, "a database is started or stopped")
	}
	slices.SortFunc(p.Hosts, func(a, b plan.Host) int { return strings.Compare(a.Name, b.Name) })
}

func roleOf(instance string) topology.Role {
	role, _, _ := strings.Cut(instance, "-")
	return topology.Role(role)
}

// readyFile is in the directory of a database whose data is complete; it identifies the data.
const readyFile = "data.ready"

// look reads the current state of everything that is wanted or was made.
func look(ctx context.Context, h host.Host, want []plan.Wanted, made []plan.Item) ([]plan.Actual, error) {
	var items []plan.Item
	for _, w := range want {
		items = append(items, w.Item)
	}
	for _, m := range made {
		if !slices.ContainsFunc(items, m.Same) {
			items = append(items, m)
		}
	}
	seen, err := see(ctx, h, items)
	if err != nil {
		return nil, err
	}
	var list []plan.Actual
	for _, i := range items {
		a := plan.Actual{Item: plan.Item{Kind: i.Kind, Name: i.Name, Owner: i.Owner}}
		switch i.Kind {
		case plan.File:
			a.Hash, a.Text = seen.hashes[i.Name], textOf(want, i)
			if a.Exists = a.Hash != ""; a.Exists && a.Hash != i.Hash { // changed outside isukit
				if a.Text, err = h.Get(ctx, i.Name); err != nil {
					return nil, fmt.Errorf("inspect %s on %s: %w", i.What(), h.About().Name, err)
				}
			}
		case plan.Data:
			a.Hash = seen.ready[i.Name]
			a.Exists = a.Hash != ""
		case plan.Service:
			var st host.State
			st, a.Exists = seen.states[i.Name]
			a.Hash, a.Running, a.Exit = st.Stamp, st.Running, st.Exit
		default: // they are not asked for: what was made is believed
			for _, m := range made {
				if m.Same(i) && m.Made {
					a.Hash, a.Exists = m.Hash, true
				}
			}
		}
		list = append(list, a)
	}
	return list, nil
}

func textOf(want []plan.Wanted, i plan.Item) []byte {
	if n := slices.IndexFunc(want, func(w plan.Wanted) bool { return w.Same(i) }); n >= 0 {
		return want[n].Text
	}
	return nil
}

// contentsOf is what the data of a database of a host is; "" where it has none that is whole.
func contentsOf(ctx context.Context, h host.Host, name string) (string, error) {
	text, err := h.Get(ctx, path.Join(h.About().Dir, name, readyFile))
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	return strings.TrimSpace(string(text)), err
}

// seen is what a host was asked in one go: each question to one far away takes a round trip, and the app's binary is large.
type seen struct {
	hashes map[string]string // of files that are there
	ready  map[string]string // what the data of databases is
	states map[string]host.State
}

// lookScript prints the hashes of existing files of its input, one per line; of those after an empty line, the first lines.
const lookScript = `while read -r file && [ -n "$file" ]; do [ ! -e "$file" ] || set -- "$@" "$file"; done
[ $# = 0 ] || sha256sum -- "$@" || exit 1
while read -r file; do [ ! -e "$file" ] || printf 'ready %s %s\n' "$(head -n 1 -- "$file")" "$file" || exit 1; done`

func see(ctx context.Context, h host.Host, items []plan.Item) (*seen, error) {
	var files, data strings.Builder
	for _, i := range items {
		switch i.Kind {
		case plan.File:
			files.WriteString(i.Name + "\n")
		case plan.Data:
			data.WriteString(path.Join(h.About().Dir, i.Name, readyFile) + "\n")
		}
	}
	all := &seen{hashes: map[string]string{}, ready: map[string]string{}}
	var out string
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() (err error) {
		out, err = host.Must(ctx, h, host.Command{Argv: []string{"sh", "-c", lookScript}, Stdin: []byte(files.String() + "\n" + data.String())})
		if err != nil {
			err = fmt.Errorf("inspect files on %s: %w", h.About().Name, err)
		}
		return err
	})
	group.Go(func() (err error) {
		all.states, _, err = h.States(ctx)
		return err
	})
	if err := group.Wait(); err != nil {
		return nil, err
	}
	for line := range strings.Lines(out) {
		line = strings.TrimSuffix(line, "\n")
		if rest, ok := strings.CutPrefix(line, "ready "); ok {
			end := strings.LastIndexByte(rest, ' ') // isukit's directories have none in their names
			all.ready[path.Base(path.Dir(rest[end+1:]))] = strings.TrimSpace(rest[:end])
			continue
		}
		hash, name, _ := strings.Cut(line, "  ")
		all.hashes[name] = hash
	}
	return all, nil
}
