package main

import (
	"net/netip"
	"path/filepath"
	"strings"

	"isukit/cmd/internal/ui"
	"isukit/infra/project"
	"isukit/infra/topology"
)

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
		text, err := ui.ReadRegular(name, maxTopologyBytes)
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
