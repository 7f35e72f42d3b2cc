package main

import (
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"isukit/bench/result"
	"isukit/cmd/internal/round"
	"isukit/infra/project"
)

// TestProjectTakesHostsOfATopology names hosts that only the topology file next to the project has.
func TestProjectTakesHostsOfATopology(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "two.yaml"), `name: two
hosts:
  - {name: s1, address: 127.0.0.1}
  - {name: s2, address: 10.0.0.2}
roles:
  proxy: [{host: s1}]
  web: [{host: s1}]
  api: [{host: s1}]
  db: [{host: s2}]
`)
	file := filepath.Join(dir, "isukit.yaml")
	const head = "name: a\nlogs: {slow: [{host: s2, file: /slow.log}]}\nbenchmark: {command: x}\n"
	write(t, file, head+"topology: two.yaml\n")
	p, _, err := round.FindProject(file)
	if err != nil {
		t.Fatal(err)
	}
	want := []project.Host{{Name: "s1", Roles: []string{"proxy", "web", "api"}}, {Name: "s2", Address: "10.0.0.2", Roles: []string{"db"}}}
	if diff := cmp.Diff(want, p.Hosts); diff != "" {
		t.Errorf("(- want, + got):\n%s", diff)
	}
	facts := []result.Fact{{Key: "topology", Value: "two.yaml"}, {Key: "hosts", Value: "s1 (proxy, web, api), s2 (db)"}}
	if diff := cmp.Diff(facts, round.PlaceFacts(p)); diff != "" {
		t.Errorf("facts (- want, + got):\n%s", diff)
	}
	for _, other := range []string{"topology: none.yaml\n", "topology: by-hand\n", ""} {
		write(t, file, head+other)
		if _, _, err := round.FindProject(file); err == nil {
			t.Errorf("%q: a host that nobody names is taken", other)
		}
	}
}
