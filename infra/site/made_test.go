package site

import (
	"strings"
	"testing"

	"isukit/infra/host"
	"isukit/infra/project"
)

// TestMade plans servers that isukit makes: their units and configurations, with the addresses of the hosts that they pass to, and one that is
// not installed is a fault.
func TestMade(t *testing.T) {
	p, err := project.Parse([]byte(`name: team
hosts: [{name: s1, address: a}, {name: s2, address: b}]
roles:
  app: {units: [team], port: 1323}
  front: {make: nginx, port: 8080, pass: app}
  edge: {make: envoy, port: 8090, pass: app}
topologies:
  one: {app: [s1, s2], front: s1, edge: s2}
benchmark: {external: true}
`))
	if err != nil {
		t.Fatal(err)
	}
	for _, installed := range []bool{true, false} {
		planner := planner{site: &Site{Project: p}, to: &p.Topologies[0]}
		for i, h := range p.Hosts {
			n := &node{
				name: h.Name, at: &seenHost{about: host.About{Address: "10.0.0." + string(rune('1'+i)), Root: true}}, lacks: map[string]bool{"envoy": !installed}, files: map[string][]byte{},
				units: map[string]unit{"team.service": {there: true, active: true, enabled: "enabled"}, "made-team-front.service": {there: true, enabled: "disabled"}, "made-team-edge.service": {there: true, enabled: "disabled"}},
			}
			planner.nodes = append(planner.nodes, n)
		}
		hosts, err := planner.plan()
		if !installed {
			if err == nil || !strings.Contains(err.Error(), "host s2: envoy is not installed") {
				t.Errorf("without an Envoy: %v", err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		written := ""
		for _, h := range hosts {
			for _, f := range h.files {
				written += h.node.name + ":" + f.Path + "\n" + string(f.Wrote)
			}
			written += h.Text()
		}
		for _, want := range []string{"s1:/etc/systemd/system/made-team-front.service", "s1:/var/lib/isukit-made/team/front/nginx.conf", "server 127.0.0.1:1323;", "server 10.0.0.2:1323;", "listen 8080",
			"s2:/var/lib/isukit-made/team/edge/envoy.yaml", "address: 10.0.0.1", "start   unit made-team-edge.service (enabled)"} {
			if strings.Count(written, want) != 1 {
				t.Errorf("%q is not there once:\n%s", want, written)
			}
		}
	}
}
