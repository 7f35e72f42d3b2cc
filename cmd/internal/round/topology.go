package round

import (
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

// WithProxy is the topology with proxies of the kind that --proxy names.
func WithProxy(top *topology.Topology, kind string) (*topology.Topology, error) {
	if kind == "" {
		return top, nil
	}
	top, err := top.WithKind(topology.Proxy, topology.Kind(kind))
	if err != nil {
		return nil, fmt.Errorf("--proxy: %w", err)
	}
	return top, nil
}

// WithEngine is the topology with databases of the engine that --engine names.
func WithEngine(top *topology.Topology, engine string) (*topology.Topology, error) {
	if engine == "auto" || engine == "" {
		return top, nil
	}
	top, err := top.WithKind(topology.DB, topology.Kind(engine))
	if err != nil {
		return nil, fmt.Errorf("--engine: %w", err)
	}
	return top, nil
}

// MaxTopologyBytes bounds a topology file.
const MaxTopologyBytes = 1 << 20

// FindTopology takes what looks like a path for a file, anything else for the name of a shipped topology.
func FindTopology(name string) (*topology.Topology, error) {
	if !strings.ContainsAny(name, "./") {
		top, err := infra.Shipped(name)
		if hint := ui.DidYouMean(name, infra.ShippedNames()); err != nil && hint != "" {
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

// topologyHosts returns what tells the hosts of the topology that a project names: those of a file, which lies beside the
// project. A name that is no file is for the record alone.
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
