package topology

import (
	"fmt"
	"strings"

	"isukit/infra/host"
)

// Diff tells how b differs from a, a line each; nothing when no difference. Names of the topologies are not compared.
func Diff(a, b *Topology) []string {
	var lines []string
	add := func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }
	for _, h := range a.Hosts {
		if _, ok := b.Host(h.Name); !ok {
			add("host %s: removed", h.Name)
		}
	}
	for _, h := range b.Hosts {
		was, ok := a.Host(h.Name)
		if !ok {
			add("host %s: added (%s)", h.Name, h.text())
		} else if was != h {
			add("host %s: %s -> %s", h.Name, was.text(), h.text())
		}
	}
	for _, i := range a.Instances {
		if _, ok := b.Instance(i.Name); !ok {
			add("%s: removed from %s", i.Name, i.Host)
		}
	}
	for _, i := range b.Instances {
		was, ok := a.Instance(i.Name)
		switch {
		case !ok:
			add("%s: added on %s", i.Name, i.Host)
		case was.Host != i.Host:
			add("%s: %s -> %s", i.Name, was.Host, i.Host)
		}
		if ok && was.text() != i.text() {
			add("%s: %s -> %s", i.Name, was.text(), i.text())
		}
	}
	for n, was := range a.Data.texts() {
		if now := b.Data.texts()[n]; was != now {
			add("data.%s: %s -> %s", dataKeys[n], was, now)
		}
	}
	if was, now := listText(a.Tunings), listText(b.Tunings); was != now {
		add("tunings: %s -> %s", was, now)
	}
	return lines
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

// text is what an instance is, but for where.
func (i Instance) text() string {
	var parts []string
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
	if len(parts) == 0 {
		return "sizes of its host"
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
	return []string{orDefault(string(d.Write)), orDefault(string(d.Read)), orDefault(string(d.Replication)), listText(groups), balance}
}

func orDefault(s string) string {
	if s == "" {
		return "default"
	}
	return s
}

func listText(list []string) string {
	if len(list) == 0 {
		return "none"
	}
	return strings.Join(list, ", ")
}
