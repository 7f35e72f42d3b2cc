package site

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"isukit/infra/plan"
	"isukit/infra/project"
)

// hostPlan is what there is to do on one host.
type hostPlan struct {
	*node
	plan.Host
	files []fileWas // as they will be on record
	units []unitPlan
	users []userWas // that have to be there
	drop  []userWas
	moves []move
	back  []dataWas // that go back to what they were
	homes []string  // roles whose data is here
	lame  bool      // a role here was waited for in vain
}

type unitPlan struct {
	name           string
	role           project.Role
	up, restart    bool
	enable, toggle bool // whether a boot starts it, and whether that has to be changed
	stamp          string
}

// planner compares what is wanted with the observed state. It reads and changes nothing.
type planner struct {
	site  *Site
	nodes []*node
	to    *project.Placement // nil is the state before isukit
	force bool
	// untuned takes files on record for what isukit wrote.
	untuned bool
	errs    []error
	left    []string // what was changed outside isukit, and stays
}

func (p *planner) fault(n *node, format string, args ...any) {
	p.errs = append(p.errs, fmt.Errorf("host "+n.name+": "+format, args...))
}

func (p *planner) plan() ([]*hostPlan, error) {
	var list []*hostPlan
	for _, n := range p.nodes {
		h := &hostPlan{node: n, Host: plan.Host{Name: n.name}}
		list = append(list, h)
		for _, o := range p.site.Project.Roles {
			if o.MySQL != nil && slices.Contains(p.homes(o), n) {
				h.homes = append(h.homes, o.Name)
			}
		}
		texts := p.files(h)
		if p.to == nil {
			p.unitsBack(h)
			p.dataBack(h)
			continue
		}
		p.databases(h)
		p.units(h, texts)
	}
	return list, errors.Join(p.errs...)
}

// base is a file without isukit's lines; ok is false where they cannot be found any more.
func (n *node) base(name string) (text []byte, ok bool) {
	now, was := n.files[name], n.rec.file(name)
	switch {
	case was == nil:
		return now, true
	case same(now, was.Wrote), same(now, was.Was), same(now, was.Base):
		return was.Base, true
	case now == nil || was.Wrote == nil:
		return now, was.Base == nil
	case was.Base == nil:
		return now, false
	}
	back, ok := takeBack(string(was.Base), string(was.Wrote), string(now))
	return []byte(back), ok
}

func same(a, b []byte) bool { return (a == nil) == (b == nil) && string(a) == string(b) }

// edited is a file with what roles want of it.
type edited struct {
	edits []func(text string, there bool) (string, error)
	roles []string
}

// files plans the files of a host, and returns what those of each role will say.
func (p *planner) files(h *hostPlan) map[string]string {
	want := map[string]*edited{}
	if p.to != nil {
		for _, o := range p.site.Project.Roles {
			if slices.Contains(p.to.Hosts[o.Name], h.node.name) || o.Make != "" && h.rec.unit(o.Units[0]) != nil {
				p.edits(h, o, want)
			}
		}
	}
	names := slices.Collect(maps.Keys(want))
	if h.rec != nil {
		for _, f := range h.rec.Files {
			names = append(names, f.Path)
		}
	}
	slices.Sort(names)
	texts := map[string]string{}
	for _, name := range slices.Compact(names) {
		base, ok := h.base(name)
		if !ok && p.untuned {
			was := h.rec.file(name)
			h.node.files[name], base, ok = was.Wrote, was.Base, true
		}
		if !ok && p.to == nil {
			p.left = append(p.left, fmt.Sprintf("host %s: %s was changed outside isukit where isukit had written; it stays as it is", h.node.name, name))
			continue
		}
		if !ok {
			if !p.force {
				p.fault(h.node, "%s was changed outside isukit, or by tunings, where isukit had written; revert the tunings first, or --force takes it as it is now", name)
				continue
			}
			base = h.node.files[name]
		}
		text := base
		if e := want[name]; e != nil {
			after, there := string(base), base != nil
			for _, edit := range e.edits {
				next, err := edit(after, there)
				if err != nil {
					p.fault(h.node, "%s: %w", name, err)
					break
				}
				after, there = next, true
			}
			text = []byte(after)
			for _, role := range e.roles {
				texts[role] += name + "\x00" + after + "\x00"
			}
		}
		p.file(h, name, base, text)
	}
	return texts
}

func (p *planner) file(h *hostPlan, name string, base, text []byte) {
	now := h.node.files[name]
	f := fileWas{Path: name, Base: base, Wrote: text, Was: now}
	if p.to == nil && h.rec.file(name) != nil && !same(base, h.rec.file(name).Base) {
		p.left = append(p.left, fmt.Sprintf("host %s: %s was changed outside isukit; isukit reverts its own lines only", h.node.name, name))
	}
	if h.rec.file(name) == nil && same(now, text) {
		return
	}
	h.files = append(h.files, f)
	if same(now, text) {
		return
	}
	step := plan.Step{Op: plan.Change, Item: plan.Item{Kind: plan.File, Name: name}}
	switch {
	case text == nil:
		step.Op = plan.Remove
	case now == nil:
		step.Op = plan.Create
		fallthrough
	default:
		step.Lines = plan.Lines(string(now), string(text))
	}
	h.Steps = append(h.Steps, step)
}

// edits adds what a role wants of files on a host.
func (p *planner) edits(h *hostPlan, o project.Role, want map[string]*edited) {
	add := func(name string, edit func(string, bool) (string, error)) {
		if want[name] == nil {
			want[name] = &edited{}
		}
		want[name].edits, want[name].roles = append(want[name].edits, edit), append(want[name].roles, o.Name)
	}
	existing := func(edit func(string) (string, error)) func(string, bool) (string, error) {
		return func(text string, there bool) (string, error) {
			if !there {
				return "", errors.New("file not found")
			}
			return edit(text)
		}
	}
	if o.Make != "" {
		if err := p.makes(h, o, add); err != nil {
			p.fault(h.node, "role %s: %w", o.Name, err)
		}
	}
	for _, e := range o.Env {
		value, err := p.value(h.node, e.Value)
		if err != nil {
			p.fault(h.node, "%s: %w", e.Key, err)
		}
		add(e.File, existing(func(text string) (string, error) { return setEnv(text, e.Key, value) }))
	}
	upstreams := map[string]int{} // by role: each swap has its own
	for _, e := range o.Swap {
		addresses, err := p.addresses(h.node, e)
		if err != nil {
			p.fault(h.node, "%s: %w", e.Key, err)
		}
		name := e.Value
		if upstreams[e.Value]++; upstreams[e.Value] > 1 {
			name += "-" + strconv.Itoa(upstreams[e.Value])
		}
		add(e.File, existing(func(text string) (string, error) { return swap(e.File, text, e.Key, name, addresses) }))
	}
	for _, r := range o.Requires {
		if slices.Contains(p.to.Hosts[r.Value], h.node.name) {
			continue
		}
		found := false
		for _, u := range o.Units {
			own := unitDirs[0] + u
			text, _ := h.base(own)
			for _, dir := range unitDirs[1:] {
				if text == nil {
					text = h.node.files[dir+u]
				}
			}
			if _, err := without(string(text), r.Key); err != nil {
				continue
			}
			found = true
			add(own, func(now string, there bool) (string, error) {
				if !there {
					now = string(text)
				}
				return without(now, r.Key)
			})
		}
		if !found {
			p.fault(h.node, "no unit of role %s requires %s", o.Name, r.Key)
		}
	}
	if o.Files > 0 {
		for _, u := range o.Units {
			add(dropIn(u), func(string, bool) (string, error) { return fmt.Sprintf("[Service]\nLimitNOFILE=%d\n", o.Files), nil })
		}
	}
	if o.MySQL != nil && p.opens(h, o) {
		add(h.cnfs[o.Name], func(text string, _ bool) (string, error) {
			if text != "" && !strings.HasSuffix(text, "\n") {
				text += "\n"
			}
			return text + "[mysqld]\nbind-address = 0.0.0.0\n", nil
		})
	}
}

// opens tells whether a database has to be made to listen for other hosts.
func (p *planner) opens(h *hostPlan, o project.Role) bool {
	others := slices.ContainsFunc(o.MySQL.Clients, func(role string) bool {
		return slices.ContainsFunc(p.to.Hosts[role], func(c string) bool { return c != h.node.name })
	})
	d := h.bases[o.Name]
	listens := d != nil && slices.Contains([]string{"*", "0.0.0.0", "::", ""}, d.bind) && h.rec.file(h.cnfs[o.Name]) == nil
	return others && !listens
}

func (p *planner) node(name string) *node {
	return p.nodes[slices.IndexFunc(p.nodes, func(n *node) bool { return n.name == name })]
}

// address is how a host is reached from another.
func (n *node) address(from *node) (string, error) {
	switch about := n.at.About(); {
	case n == from || n.at == from.at:
		return "127.0.0.1", nil
	case about.Here:
		return "", fmt.Errorf("host %s is this machine, and %s would have to reach it: give it an address in isukit.yaml", n.name, from.name)
	default:
		return about.Address, nil
	}
}

// value is what a value means on a host.
func (p *planner) value(n *node, text string) (string, error) {
	for _, ref := range project.Refs(text) {
		name, err := p.to.Find(ref, n.name)
		if err != nil {
			return "", err
		}
		to := p.node(name)
		address, err := to.address(n)
		if err != nil {
			return "", err
		}
		if ref.Public {
			address = to.at.About().Address
		}
		text = strings.ReplaceAll(text, ref.Text, address)
	}
	return text, nil
}

// addresses are what an address in a file of a host is swapped for; on the host itself it stays where it is the loopback's or a socket.
func (p *planner) addresses(n *node, e project.Edit) (list []string, err error) {
	role, _ := p.site.Project.Role(e.Value)
	port := ""
	if i := strings.LastIndexByte(e.Key, ':'); i >= 0 && !strings.HasPrefix(e.Key, "unix:") {
		port = e.Key[i:]
	}
	if role.Port > 0 && (port != "" || strings.ContainsAny(e.Key, ":/ ")) { // an address without a port stays one
		port = ":" + strconv.Itoa(role.Port)
	}
	for _, host := range p.to.Hosts[e.Value] {
		address, err := p.node(host).address(n)
		if err != nil {
			return nil, err
		}
		own := loopback(e.Key)
		if address == "127.0.0.1" && (strings.HasPrefix(own, address) || strings.HasPrefix(own, "unix:")) {
			list = append(list, e.Key)
			continue
		}
		list = append(list, address+port)
	}
	return list, nil
}

// units plans what runs on a host.
func (p *planner) units(h *hostPlan, texts map[string]string) {
	for _, o := range p.site.Project.Roles {
		up := slices.Contains(p.to.Hosts[o.Name], h.node.name)
		sum := sha256.Sum256([]byte(texts[o.Name]))
		stamp := hex.EncodeToString(sum[:8])
		changed := slices.ContainsFunc(h.files, func(f fileWas) bool {
			return strings.Contains(texts[o.Name], f.Path+"\x00") && !same(f.Wrote, f.Was)
		})
		for _, name := range o.Units {
			u := h.node.units[name]
			switch {
			case o.Make != "" && !up && h.rec.unit(name) == nil:
				continue
			case o.Make != "" && up && h.node.lacks[o.Make]:
				p.fault(h.node, "%s is not installed, and role %s is made there", o.Make, o.Name)
				continue
			case !u.there && up:
				p.fault(h.node, "unit %s not found, but role %s is placed there", name, o.Name)
				continue
			case u.enabled == "masked" && up:
				p.fault(h.node, "unit %s is masked, and role %s is placed there", name, o.Name)
				continue
			case !u.there:
				continue
			}
			v := unitPlan{name: name, role: o, up: up, enable: up, toggle: !u.fixed() && u.boots() != up, stamp: stamp}
			was := h.rec.unit(name)
			v.restart = up && u.active && (changed || was != nil && was.Up && was.Stamp != stamp)
			if was == nil && up && u.active && !v.restart && !v.toggle {
				h.units = append(h.units, v) // on record, and otherwise as it is
				continue
			}
			p.unitStep(h, v, u)
		}
	}
}

func (p *planner) unitStep(h *hostPlan, v unitPlan, u unit) {
	h.units = append(h.units, v)
	step := plan.Step{Item: plan.Item{Kind: plan.Unit, Name: v.name}}
	switch {
	case v.up && !u.active:
		step.Op = plan.Start
	case v.restart:
		step.Op, step.Reason = plan.Restart, "what it reads changed"
	case !v.up && u.active:
		step.Op = plan.Stop
	case v.toggle:
		step.Op = plan.Change
	default:
		return
	}
	if v.toggle {
		step.Reason = strings.TrimPrefix(step.Reason+", "+map[bool]string{true: "enabled", false: "disabled"}[v.enable], ", ")
	}
	h.Steps = append(h.Steps, step)
}

// unitsBack plans that units are as they were before isukit came; one that somebody has switched since stays.
func (p *planner) unitsBack(h *hostPlan) {
	if h.rec == nil {
		return
	}
	for _, was := range h.rec.Units {
		u := h.node.units[was.Name]
		if !u.there {
			p.left = append(p.left, fmt.Sprintf("host %s: unit %s is not there any more", h.node.name, was.Name))
			continue
		}
		if h.rec.Complete && !u.fixed() && u.boots() != was.Up {
			p.left = append(p.left, fmt.Sprintf("host %s: unit %s was %s outside isukit; it stays so", h.node.name, was.Name, map[bool]string{true: "enabled", false: "disabled"}[u.boots()]))
			continue
		}
		role := project.Role{}
		for _, o := range p.site.Project.Roles {
			if slices.Contains(o.Units, was.Name) {
				role = o
			}
		}
		enable := was.Enabled == "enabled" || was.Enabled == "enabled-runtime"
		changed := slices.ContainsFunc(h.rec.Files, func(f fileWas) bool {
			return !same(f.Base, f.Wrote) && (f.Path == h.cnfs[role.Name] || f.Path == dropIn(was.Name) || f.Path == unitDirs[0]+was.Name ||
				slices.ContainsFunc(slices.Concat(role.Env, role.Swap), func(e project.Edit) bool { return e.File == f.Path }))
		})
		p.unitStep(h, unitPlan{
			name: was.Name, role: role, up: was.Active, restart: was.Active && u.active && changed,
			enable: enable, toggle: !u.fixed() && u.boots() != enable,
		}, u)
	}
}
