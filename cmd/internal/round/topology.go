package round

import (
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"

	"isukit/cmd/internal/ui"
	"isukit/infra"
	"isukit/infra/project"
	"isukit/infra/topology"
	"isukit/input"
)

// WithServers is the topology with the databases that --engine and the proxies that --proxy names; "" and "auto" leave them as they are.
func WithServers(top *topology.Topology, engine, proxy string) (_ *topology.Topology, err error) {
	if engine != "auto" && engine != "" {
		top, err = top.WithKind(topology.DB, topology.Kind(engine))
		if err != nil {
			return nil, fmt.Errorf("--engine: %w", err)
		}
	}
	if proxy != "" {
		if top, err = top.WithKind(topology.Proxy, topology.Kind(proxy)); err != nil {
			return nil, fmt.Errorf("--proxy: %w", err)
		}
	}
	return top, nil
}

// MaxTopologyBytes bounds a topology file.
const MaxTopologyBytes = 1 << 20

// FindTopology takes what looks like a path for a file, anything else for the name of one of the portal that isukit.yaml describes, or of a
// shipped one.
func FindTopology(name string) (*topology.Topology, error) {
	if !strings.ContainsAny(name, "./") {
		own, err := PortalTopologies()
		if err != nil {
			return nil, err
		}
		names := infra.ShippedNames()
		for _, top := range own {
			if names = append(names, top.Name); top.Name == name {
				return top, nil
			}
		}
		top, err := infra.Shipped(name)
		if hint := ui.DidYouMean(name, names); err != nil && hint != "" {
			err = ui.UsageError(err, hint)
		}
		return top, err
	}
	text, err := input.Read(name, MaxTopologyBytes)
	if err != nil {
		return nil, err
	}
	return topology.Parse(name, text)
}

// PortalTopologies are those of an isukit.yaml in this directory that describes the portal; empty without such a file.
func PortalTopologies() ([]*topology.Topology, error) {
	p, _, err := FindProject("")
	if err != nil || p == nil {
		return nil, err
	}
	return p.Portal, nil
}

// topologyHosts reads the hosts of the topology that a project names, from a file next to the project's. A name that is not a file only
// goes into the record.
func topologyHosts(dir string) func(string) ([]project.Host, error) {
	return func(name string) ([]project.Host, error) {
		if !strings.HasSuffix(name, ".yaml") && !strings.HasSuffix(name, ".yml") {
			return nil, nil
		}
		if !filepath.IsAbs(name) {
			name = filepath.Join(dir, name)
		}
		text, err := input.Read(name, MaxTopologyBytes)
		if err != nil {
			return nil, err
		}
		top, err := topology.Parse(name, text)
		if err != nil {
			return nil, err
		}
		var hosts []project.Host
		for _, h := range top.Hosts {
			one := project.Host{Name: h.Name, Address: h.Address}
			if a, err := netip.ParseAddr(h.Address); err == nil && a.IsLoopback() {
				one.Address = "" // this machine
			}
			for _, i := range top.Instances {
				if i.Host == h.Name {
					one.Roles = append(one.Roles, string(i.Role))
				}
			}
			hosts = append(hosts, one)
		}
		return hosts, nil
	}
}

// Placing assigns the roles of a topology to hosts, with sizes.
type Placing struct {
	// Where has the hosts of each role; of db several hold the same tables, unless Tables divides them.
	Where map[string][]string `json:"where"`
	// Tables are those on the first of two databases, the others are on the second; none for all tables on each.
	Tables []string `json:"tables,omitempty"`
	// Sizes are settings of all instances of a role, for example "buffer_pool: 256MiB".
	Sizes map[string][]string `json:"-"`
}

// Place returns a topology's file with its roles on other hosts and with other sizes. It is an error if the topology cannot be placed so,
// or if the result is invalid.
func Place(base *topology.Topology, name string, p Placing) ([]byte, error) {
	if len(base.Of(topology.DB)) > 1 || len(base.Data.Groups) > 0 {
		return nil, errors.New("its data is on several databases, and isukit advise does not move them")
	}
	var b strings.Builder
	fmt.Fprintf(&b, "name: %s\nhosts:\n", name)
	for _, h := range base.Hosts {
		fmt.Fprintf(&b, "  - {name: %s, address: %q", h.Name, h.Address)
		if h.CPUs > 0 {
			fmt.Fprintf(&b, ", cpus: %g", h.CPUs)
		}
		if h.MemoryBytes > 0 {
			fmt.Fprintf(&b, ", memory: %dKiB", h.MemoryBytes>>10)
		}
		var link []string
		if h.LinkBitsPerSec > 0 {
			link = append(link, fmt.Sprintf("rate: %gkbit", float64(h.LinkBitsPerSec)/1e3))
		}
		if text := h.Flaws.String(); text != "" {
			link = append(link, text)
		}
		if len(link) > 0 {
			fmt.Fprintf(&b, ", link: {%s}", strings.Join(link, ", "))
		}
		b.WriteString("}\n")
	}
	b.WriteString("roles:\n")
	for _, role := range topology.Roles() {
		like := base.Of(role)[0]
		if like.Sizes != (topology.Sizes{}) {
			return nil, fmt.Errorf("%s has its own sizes, which may not suit another host", like.Name)
		}
		said := append([]string{}, p.Sizes[string(role)]...)
		switch {
		case role == topology.DB && like.Kind != "":
			said = append(said, "engine: "+string(like.Kind))
		case like.Kind != "":
			said = append(said, "kind: "+string(like.Kind))
		}
		if like.TLS {
			said = append(said, "tls: true")
		}
		fmt.Fprintf(&b, "  %s:\n", role)
		for _, h := range p.Where[string(role)] {
			fmt.Fprintf(&b, "    - {%s}\n", strings.Join(append([]string{"host: " + h}, said...), ", "))
		}
	}
	if len(p.Tables) > 0 {
		fmt.Fprintf(&b, "data:\n  groups:\n    - {name: some, tables: [%s], databases: [db-1]}\n    - {name: rest, tables: [%q], databases: [db-2]}\n", strings.Join(p.Tables, ", "), topology.AllTables)
	}
	if len(base.Tunings) > 0 {
		fmt.Fprintf(&b, "tunings: [%s]\n", strings.Join(base.Tunings, ", "))
	}
	_, err := topology.Parse(name, []byte(b.String()))
	return []byte(b.String()), err
}

// PlacedOn are the hosts of each role.
func PlacedOn(t *topology.Topology) map[string][]string {
	where := map[string][]string{}
	for _, i := range t.Instances {
		where[string(i.Role)] = append(where[string(i.Role)], i.Host)
	}
	return where
}
