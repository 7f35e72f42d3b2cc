package topology

import (
	"fmt"
	"slices"
	"strings"
)

// checkGroups: every database is in one group, every table too, and one group has the rest of the tables.
func (p *reader) checkGroups(t *Topology, data *dataNode) {
	if data.groupsAt == nil {
		return
	}
	owner := map[string]string{} // of a database or a table
	names := map[string]bool{}
	for _, g := range data.groups {
		if g.Name != "" && names[g.Name] {
			p.Fault(g.at, "group %q is there twice", g.Name)
		}
		names[g.Name] = true
		for _, d := range g.databases {
			if !t.isDatabase(d.text) {
				p.Fault(d.at, "database %q does not exist (have %s)", d.text, strings.Join(t.databases(), ", "))
			} else if other, ok := owner["database "+d.text]; ok {
				p.Fault(d.at, "database %q is in group %q, too", d.text, other)
			}
			owner["database "+d.text] = g.Name
		}
		for _, table := range g.tables {
			if other, ok := owner["table "+table.text]; ok {
				p.Fault(table.at, "table %q is in group %q, too", table.text, other)
			}
			owner["table "+table.text] = g.Name
		}
	}
	if _, ok := owner["table "+AllTables]; !ok {
		p.Fault(data.groupsAt, `no group has the tables "*", which are those that no other group names`)
	}
	for _, name := range t.databases() {
		if _, ok := owner["database "+name]; !ok {
			p.Fault(data.groupsAt, "database %q is in no group", name)
		}
	}
}

func (t *Topology) databases() []string {
	var names []string
	for _, i := range t.Of(DB) {
		names = append(names, i.Name)
	}
	return names
}

func (t *Topology) isDatabase(name string) bool { return slices.Contains(t.databases(), name) }

// checkWrite: the mode fits the number of databases, and replication fits the mode.
func (p *reader) checkWrite(t *Topology, data *dataNode, instances []instanceNode) {
	largest := 0
	for _, name := range t.databases() {
		g := t.GroupOf(name)
		largest = max(largest, len(g.Databases))
		p.checkEngines(t, g, instances, name)
	}
	switch {
	case data.Write == "single" && largest > 1:
		p.Fault(data.writeAt, "write single would leave %d of %d databases with the same tables behind", largest-1, largest)
	case data.Write == Replicated && largest < 2:
		p.Fault(data.writeAt, "write replicated needs a second database with the same tables")
	}
	if data.Replication != "" && data.Write != Replicated {
		p.Fault(data.replicationAt, "replication %s goes with write: replicated only", data.Replication)
	}
}

// checkEngines: databases with the same tables need the same engine, as far as the file names one.
func (p *reader) checkEngines(t *Topology, g Group, instances []instanceNode, name string) {
	var first instanceNode
	for _, i := range instances {
		if i.Role != DB || !slices.Contains(g.Databases, i.Name) {
			continue
		}
		if first.Kind == "" {
			first = i
		}
		if i.Name == name && i.Kind != first.Kind {
			p.Fault(i.hostAt, "%s is %s and %s is %s; databases with the same tables must be of one engine", i.Name, i.Kind, first.Name, first.Kind)
		}
	}
}

// checkBalance: what is behind one address for reads must hold the same tables, and something must be there to spread them.
func (p *reader) checkBalance(t *Topology, data *dataNode) {
	b := data.Balance
	if b == nil {
		return
	}
	groups := map[string]bool{}
	var held []string
	for _, d := range data.balanced {
		if !t.isDatabase(d.text) {
			p.Fault(d.at, "database %q does not exist (have %s)", d.text, strings.Join(t.databases(), ", "))
		}
	}
	for _, name := range b.Databases {
		if g := t.GroupOf(name); t.isDatabase(name) {
			groups[g.Name] = true
			held = append(held, fmt.Sprintf("%s: %s", name, strings.Join(g.Tables, ", ")))
		}
	}
	switch {
	case len(groups) > 1:
		p.Fault(data.balanceAt, "reads would be balanced over databases that hold different tables (%s)", strings.Join(held, "; "))
	case len(t.Data.Groups) > 1:
		p.Fault(data.balanceAt, "reads can be balanced where all tables are together; here are %d groups of tables", len(t.Data.Groups))
	}
	if data.Write == Replicated {
		p.Fault(data.balanceAt, "reads would be balanced over replicas that may be behind; with write: replicated the app knows which are not")
	}
	runsNginx := slices.ContainsFunc(t.On(b.Host), func(i Instance) bool { return i.Role == Proxy && i.Kind == Nginx })
	switch {
	case b.Kind == BalanceNginx && b.Host == "":
		p.Fault(data.balanceAt, "balance by nginx has no key %q: which host's nginx is it?", "host")
	case b.Kind == BalanceNginx && !runsNginx:
		p.Fault(data.balanceAt, "balance by nginx: host %q runs no proxy of kind nginx", b.Host)
	case b.Kind == BalanceNftables && b.Host != "":
		p.Fault(data.balanceAt, "balance by nftables has no host: it is done on every host that web or api runs on")
	}
	for name, port := range t.Ports() {
		if i, _ := t.Instance(name); port == b.Port && i.Host == b.Host && b.Host != "" {
			p.Fault(data.balanceAt, "%s on host %q listens on port %d, too", name, b.Host, port)
		}
	}
}
