package topology

import (
	"fmt"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// check notes what is wrong between the parts of a file.
func (p *reader) check(hosts []hostNode, instances []instanceNode, data *dataNode) {
	known := p.checkHosts(hosts)
	var t Topology
	for _, i := range instances {
		if i.Host == "" {
			continue // noted already
		}
		if _, ok := known[i.Host]; !ok && len(known) > 0 {
			p.Fault(i.hostAt, "host %q does not exist (have %s)", i.Host, strings.Join(namesOf(hosts), ", "))
		}
		t.Instances = append(t.Instances, i.Instance)
	}
	p.checkPorts(&t, instances)
	p.checkMemory(hosts, instances)
	if data != nil {
		t.Data = data.Data
		p.checkGroups(&t, data)
		p.checkWrite(&t, data, instances)
		p.checkBalance(&t, data)
	}
}

func namesOf(hosts []hostNode) []string {
	var names []string
	for _, h := range hosts {
		if h.Name != "" && !slices.Contains(names, h.Name) {
			names = append(names, h.Name)
		}
	}
	return names
}

func lineOf(n ast.Node) int { return n.GetToken().Position.Line }

func (p *reader) checkHosts(hosts []hostNode) map[string]hostNode {
	known, addresses := map[string]hostNode{}, map[string]hostNode{}
	for _, h := range hosts {
		if h.Name == "" {
			continue // noted already
		}
		if first, ok := known[h.Name]; ok {
			p.Fault(h.at, "host %q is there twice (first on line %d)", h.Name, lineOf(first.at))
			continue
		}
		known[h.Name] = h
		if first, ok := addresses[h.Address]; ok && h.Address != "" {
			p.Fault(h.addressAt, "address %q is that of host %q, too", h.Address, first.Name)
		}
		addresses[h.Address] = h
	}
	for _, h := range hosts {
		if _, ok := known[h.Flaws.Peer]; !ok && h.Flaws.Peer != "" && h.Flaws.Peer != "generator" || h.Flaws.Peer == h.Name && h.Name != "" {
			p.Fault(h.at, "link: peer %q must be another host of this file, or generator", h.Flaws.Peer)
		}
	}
	return known
}

// checkPorts: instances may omit their port, so the error names the port that two would share.
func (p *reader) checkPorts(t *Topology, instances []instanceNode) {
	type place struct {
		host string
		port int
	}
	ports, taken := t.Ports(), map[place]instanceNode{}
	for _, i := range instances {
		if i.Host == "" {
			continue
		}
		at := place{i.Host, ports[i.Name]}
		other, ok := taken[at]
		taken[at] = i
		switch {
		case !ok:
		case i.Role == Proxy && other.Role == Proxy:
			p.Fault(i.hostAt, "two proxies on host %q would listen on one port, %d (the other is on line %d)", i.Host, at.port, lineOf(other.hostAt))
		default:
			p.Fault(i.hostAt, "%s and %s on host %q would listen on one port, %d (the other is on line %d)", i.Name, other.Name, i.Host, at.port, lineOf(other.hostAt))
		}
	}
}

// The least that an instance lives on, and what a database takes besides its buffer pool.
const (
	leastDatabase     = 192 << 20
	leastOther        = 32 << 20
	besidesBufferPool = 128 << 20
	mib               = 1 << 20
)

// need is the memory that an instance takes at least.
func (i Instance) need() int64 {
	least := int64(leastOther)
	if i.Role == DB {
		least = leastDatabase
		if i.Sizes.BufferPoolBytes > 0 {
			least = max(least, i.Sizes.BufferPoolBytes+besidesBufferPool)
		}
	}
	return max(least, i.Sizes.MemoryBytes)
}

func (p *reader) checkMemory(hosts []hostNode, instances []instanceNode) {
	for _, h := range hosts {
		var sum int64
		var parts []string
		var last instanceNode
		for _, i := range instances {
			if i.Host == h.Name && h.Name != "" {
				sum += i.need()
				parts = append(parts, fmt.Sprintf("%s %d", i.Name, i.need()/mib))
				last = i
			}
		}
		if h.MemoryBytes > 0 && sum > h.MemoryBytes {
			p.Fault(last.hostAt, "host %q has %d MiB of memory, but what is placed there needs at least %d: %s", h.Name,
				h.MemoryBytes/mib, sum/mib, strings.Join(parts, ", "))
		}
	}
}
