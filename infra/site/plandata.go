package site

import (
	"fmt"
	"slices"
	"strings"

	"isukit/infra/engine"
	"isukit/infra/plan"
	"isukit/infra/project"
)

// move is a schema that has to be filled.
type move struct {
	role project.Role
	from *node // nil where the data does not come from a host
}

// copyBytesPerSecond is what a database of a small host loads, for the estimate in the plan.
const copyBytesPerSecond = 20 << 20

// databases plans accounts and data of a host.
func (p *planner) databases(h *hostPlan) {
	for _, o := range p.site.Project.Roles {
		if o.MySQL == nil {
			continue
		}
		var want []userWas
		if slices.Contains(p.to.Hosts[o.Name], h.node.name) {
			want = p.wantedUsers(h, o)
			p.move(h, o)
		}
		if h.rec != nil {
			for _, u := range h.rec.Users {
				if u.Role == o.Name && !slices.ContainsFunc(want, func(w userWas) bool { return w.User == u.User && w.Host == u.Host }) {
					p.userStep(h, u, plan.Remove)
				}
			}
		}
	}
}

func (p *planner) userStep(h *hostPlan, u userWas, op plan.Op) {
	if op == plan.Remove {
		h.drop = append(h.drop, u)
	} else {
		h.users = append(h.users, u)
	}
	o, _ := p.site.Project.Role(u.Role)
	step := plan.Step{Op: op, Item: plan.Item{Kind: plan.Account, Name: u.User + "@" + u.Host}}
	if o.MySQL != nil && op != plan.Remove {
		step.Reason = "all rights on " + o.MySQL.Schema
	}
	h.Steps = append(h.Steps, step)
}

// wantedUsers are the accounts that clients log in with.
func (p *planner) wantedUsers(h *hostPlan, o project.Role) (want []userWas) {
	d := h.bases[o.Name]
	for _, role := range o.MySQL.Clients {
		for _, c := range p.to.Hosts[role] {
			from := "localhost"
			if client := p.node(c); client != h.node {
				from = client.at.About().Address
			}
			u := userWas{Role: o.Name, User: o.MySQL.User, Host: from}
			if slices.ContainsFunc(want, func(w userWas) bool { return w.Host == from }) {
				continue
			}
			want = append(want, u)
			onRecord := h.rec != nil && slices.ContainsFunc(h.rec.Users, func(w userWas) bool { return w.User == u.User && w.Host == u.Host })
			if !onRecord && (d == nil || !d.users[from] && !d.users["%"]) {
				if _, there := d.has(from); there {
					u.Existed = true
				}
				p.userStep(h, u, plan.Create)
			}
		}
	}
	if len(h.users) > 0 {
		if _, err := p.site.password(o, p.nodes); err != nil {
			p.fault(h.node, "%w", err)
		}
		if d != nil && d.product.Name == "mysql" && d.product.Version[0] >= 9 && o.MySQL.Plugin == "mysql_native_password" {
			p.fault(h.node, "%s has no plugin %s; leave plugin out", d.product, o.MySQL.Plugin)
		}
	}
	return want
}

func (d *database) has(from string) (granted, there bool) {
	if d == nil {
		return false, false
	}
	granted, there = d.users[from]
	return granted, there
}

// homes are the hosts that have a role's data: those of the complete topology. Before the first one, they are the recorded hosts; or
// otherwise those of the first topology of the file, as far as the role runs on its hosts; or otherwise the first host where it runs.
func (p *planner) homes(o project.Role) (list []*node) {
	t, ok := p.site.Project.Placement(complete(p.nodes))
	if !ok {
		for _, n := range p.nodes {
			if n.rec != nil && slices.Contains(n.rec.Homes, o.Name) {
				list = append(list, n)
			}
		}
		t = p.site.Project.Topologies[0]
	}
	if len(list) > 0 {
		return list
	}
	for _, name := range t.Hosts[o.Name] {
		if n := p.node(name); ok || n.units[o.Units[0]].active {
			list = append(list, n)
		}
	}
	for _, n := range p.nodes {
		if len(list) == 0 && n.units[o.Units[0]].active {
			list = append(list, n)
		}
	}
	return list
}

// move plans how a database of a host gets its data.
func (p *planner) move(h *hostPlan, o project.Role) {
	homes := p.homes(o)
	if slices.Contains(homes, h.node) {
		return
	}
	d, m := h.bases[o.Name], move{role: o}
	step := plan.Step{Op: plan.Create, Item: plan.Item{Kind: plan.Data, Name: o.MySQL.Schema}}
	how := o.MySQL.Move
	if o.Make != "" && how == project.MoveDump && len(homes) == 0 {
		how = project.MoveInitialize // the first one has nothing to copy
	}
	switch how {
	case project.MoveInitialize:
		if step.Reason = "empty; the app fills it"; d != nil && d.schema {
			return
		}
	case project.MoveSchema:
		if step.Reason = "from " + o.MySQL.File; d != nil && d.tables > 0 {
			return
		}
		if h.node.files[o.MySQL.File] == nil {
			p.fault(h.node, "%s, the file with the tables of %s, not found", o.MySQL.File, o.MySQL.Schema)
		}
	case project.MoveDump:
		if len(homes) == 0 {
			p.fault(h.node, "no host runs role %s, so %s cannot be copied from anywhere", o.Name, o.MySQL.Schema)
			return
		}
		p.copy(h, o, homes[slices.Index(p.to.Hosts[o.Name], h.node.name)%len(homes)])
		return
	}
	h.moves = append(h.moves, m)
	h.Steps = append(h.Steps, step)
}

// copy plans that a host's database gets all rows of another one's.
func (p *planner) copy(h *hostPlan, o project.Role, source *node) {
	d, from := h.bases[o.Name], source.bases[o.Name]
	step := plan.Step{Op: plan.Create, Item: plan.Item{Kind: plan.Data, Name: o.MySQL.Schema}, Reason: "from " + source.name}
	if d != nil {
		step.Op = plan.Change
	}
	h.moves = append(h.moves, move{o, source})
	if from == nil { // a killed apply stopped it; it is started, and looked at then
		if !source.units[o.Units[0]].there {
			p.fault(source, "the database of role %s does not run, and its data is to be copied from it", o.Name)
		}
		h.Steps = append(h.Steps, step)
		return
	}
	if d != nil {
		if err := loads(from.product, d.product); err != nil {
			p.fault(h.node, "%w", err)
		}
		for _, name := range slices.Compact(slices.Sorted(slices.Values(from.definers))) {
			made := slices.ContainsFunc(h.users, func(u userWas) bool { return u.User+"@"+u.Host == name })
			if p.to != nil && !made && slices.Contains(from.accounts, name) && !slices.Contains(d.accounts, name) {
				p.fault(h.node, "views, routines, triggers or events of %s run as %s (their definer), and this server lacks that account; create it first", o.MySQL.Schema, name)
			}
		}
	}
	need := from.bytes * 2
	if d != nil && h.rec.data(o.Name) == nil && p.to != nil {
		need += d.bytes
	}
	if need > h.free {
		p.fault(h.node, "%s has %d MiB, and its copy takes up to %d; the disk has %d MiB free", o.MySQL.Schema, from.bytes>>20, need>>20, h.free>>20)
	}
	step.Reason = fmt.Sprintf("%d tables, %d MiB from %s, about %d s", from.tables, from.bytes>>20, source.name, 1+from.bytes/copyBytesPerSecond)
	h.Steps = append(h.Steps, step)
}

// loads tells whether a server understands what another one dumps.
func loads(from, to engine.Product) error {
	newer := [2]int{from.Version[0], from.Version[1]}
	if from.Name != to.Name || slices.Compare(newer[:], to.Version[:2]) > 0 {
		return fmt.Errorf("%s cannot be trusted to load what %s dumps; use a server of the same kind that is not older, or move: schema", to, from)
	}
	return nil
}

// dataBack plans that accounts are as before isukit, and that data returns with its current rows.
func (p *planner) dataBack(h *hostPlan) {
	if h.rec == nil {
		return
	}
	made := func(role string) bool { // what isukit made goes with all it has
		o, _ := p.site.Project.Role(role)
		return o.Make != ""
	}
	for _, u := range h.rec.Users {
		if !made(u.Role) {
			p.userStep(h, u, plan.Remove)
		}
	}
	for _, o := range p.site.Project.Roles {
		if o.MySQL == nil || o.Make != "" || o.MySQL.Move != project.MoveDump || !slices.Contains(h.rec.Homes, o.Name) {
			continue
		}
		if homes := p.homes(o); len(homes) > 0 && !slices.Contains(homes, h.node) {
			p.copy(h, o, homes[0])
		}
	}
	for _, d := range h.rec.Data {
		if made(d.Role) {
			continue
		}
		step := plan.Step{Op: plan.Remove, Item: plan.Item{Kind: plan.Data, Name: d.Schema}}
		if d.Existed {
			step.Op, step.Reason = plan.Change, "the previous data is restored"
		}
		if slices.Contains(h.homes, d.Role) {
			step.Reason = strings.TrimPrefix(step.Reason+"; rows that no other host has are kept in "+p.site.keptDir(h.at), "; ")
		}
		h.back = append(h.back, d)
		h.Steps = append(h.Steps, step)
	}
}

// complete is the topology whose apply finished last; "" is the state before isukit.
func complete(nodes []*node) string {
	before := ""
	for _, n := range nodes {
		switch {
		case n.rec == nil || n.rec.Topology == "":
		case n.rec.Complete:
			return n.rec.Topology
		default:
			before = n.rec.Before
		}
	}
	return before
}
