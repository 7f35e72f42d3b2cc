package round

import (
	"errors"
	"fmt"
	"strings"

	"isukit/infra/topology"
)

// Place returns a topology's file with its roles on other hosts and with other sizes: where has the hosts of each role, sizes what is said
// of all instances of a role, as "buffer_pool: 256MiB". The error says what the topology has that cannot be placed so, or why the
// topology that comes of it is refused.
func Place(base *topology.Topology, name string, where map[string][]string, sizes map[string][]string) ([]byte, error) {
	if len(base.Of(topology.DB)) > 1 || len(base.Data.Groups) > 0 {
		return nil, errors.New("its data is on several databases, which stay where they are")
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
		if h.LinkBitsPerSec > 0 {
			fmt.Fprintf(&b, ", link: %gkbit", float64(h.LinkBitsPerSec)/1e3)
		}
		b.WriteString("}\n")
	}
	b.WriteString("roles:\n")
	for _, role := range topology.Roles() {
		like := base.Of(role)[0]
		if like.Sizes != (topology.Sizes{}) {
			return nil, fmt.Errorf("%s has sizes of its own, which may not suit another host", like.Name)
		}
		said := append([]string{}, sizes[string(role)]...)
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
		for _, h := range where[string(role)] {
			fmt.Fprintf(&b, "    - {%s}\n", strings.Join(append([]string{"host: " + h}, said...), ", "))
		}
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
