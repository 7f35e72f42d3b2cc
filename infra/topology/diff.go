package topology

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"isukit/infra/host"
)

// Diff lists how b differs from a, one difference per line. Names of the topologies are not compared.
func Diff(a, b *Topology) (lines []string) {
	was, now := a.parts(), b.parts()
	find := func(list []part, key string) (text string, there bool) {
		n := slices.IndexFunc(list, func(p part) bool { return p.key == key })
		if n < 0 {
			return "none", false
		}
		return list[n].text, true
	}
	for n, p := range append(slices.Clone(was), now...) {
		from, known := find(was, p.key)
		if to, _ := find(now, p.key); from != to && (n < len(was) || !known) {
			lines = append(lines, fmt.Sprintf("%s: %s -> %s", p.key, from, to))
		}
	}
	return lines
}

// part is something that a topology says.
type part struct{ key, text string }

func (t *Topology) parts() (list []part) {
	for _, h := range t.Hosts {
		list = append(list, part{"host " + h.Name, h.text()})
	}
	for _, i := range t.Instances {
		list = append(list, part{i.Name, i.text()})
	}
	for n, text := range t.Data.texts() {
		list = append(list, part{"data." + dataKeys[n], text})
	}
	return append(list, part{"tunings", listText(t.Tunings)})
}

func (h Host) text() string {
	parts := []string{h.Address}
	if h.CPUs > 0 {
		parts = append(parts, fmt.Sprintf("%g CPUs", h.CPUs))
	}
	if h.MemoryBytes > 0 {
		parts = append(parts, fmt.Sprintf("%d MiB", h.MemoryBytes/mib))
	}
	if h.LinkBitsPerSec > 0 {
		parts = append(parts, fmt.Sprintf("%g Mbit/s", float64(h.LinkBitsPerSec)/1e6))
	}
	if h.Flaws != (host.Flaws{}) {
		parts = append(parts, "link {"+h.Flaws.String()+"}")
	}
	return strings.Join(parts, ", ")
}

// text is where an instance is, and what.
func (i Instance) text() string {
	parts := []string{i.Host}
	if i.Kind != "" {
		parts = append(parts, string(i.Kind))
	}
	if i.TLS {
		parts = append(parts, "tls")
	}
	s := i.Sizes
	for _, size := range []struct {
		name  string
		value int64
	}{
		{"port", int64(s.Port)}, {"workers", int64(s.Workers)}, {"connections", int64(s.Connections)}, {"files", int64(s.Files)},
		{"gomaxprocs", int64(s.GOMAXPROCS)}, {"db_connections", int64(s.DBConnections)},
		{"buffer_pool MiB", s.BufferPoolBytes / mib}, {"memory MiB", s.MemoryBytes / mib},
	} {
		if size.value > 0 {
			parts = append(parts, fmt.Sprintf("%s %d", size.name, size.value))
		}
	}
	return strings.Join(parts, ", ")
}

var dataKeys = []string{"write", "read", "replication", "groups", "balance"}

// texts are the values of dataKeys.
func (d Data) texts() []string {
	var groups []string
	for _, g := range d.Groups {
		groups = append(groups, fmt.Sprintf("%s (%s on %s)", g.Name, strings.Join(g.Tables, ", "), strings.Join(g.Databases, ", ")))
	}
	balance := "none"
	if b := d.Balance; b != nil {
		balance = strings.TrimSpace(fmt.Sprintf("%s %s:%d over %s", b.Kind, b.Host, b.Port, strings.Join(b.Databases, ", ")))
	}
	const unsaid = "default"
	return []string{cmp.Or(string(d.Write), unsaid), cmp.Or(string(d.Read), unsaid), cmp.Or(string(d.Replication), unsaid), listText(groups), balance}
}

func listText(list []string) string {
	if len(list) == 0 {
		return "none"
	}
	return strings.Join(list, ", ")
}
