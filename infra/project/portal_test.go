package project_test

import (
	"os"
	"strings"
	"testing"

	"isukit/infra/project"
	"isukit/infra/topology"
)

// TestPortal reads the shipped description of the portal: its topologies are what topology files say, and what is wrong names its topology.
func TestPortal(t *testing.T) {
	text, err := os.ReadFile("../../scripts/portal.yaml")
	if err != nil {
		t.Fatal(err)
	}
	p, err := project.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	same := map[string]string{"final-2": "", "final-3": "", "final-4": ""} // all hosts have a role
	for _, got := range p.Portal {
		if _, ok := same[got.Name]; !ok {
			continue
		}
		delete(same, got.Name)
		file, err := os.ReadFile("../topologies/" + got.Name + ".yaml")
		if err != nil {
			t.Fatal(err)
		}
		want, err := topology.Parse(got.Name, file)
		if err != nil {
			t.Fatal(err)
		}
		if lines := topology.Diff(want, got); len(lines) > 0 || want.Hash() != got.Hash() {
			t.Errorf("%s differs from the shipped topology:\n%s", got.Name, strings.Join(lines, "\n"))
		}
	}
	if len(same) > 0 || len(p.Portal) != 10 || len(p.Roles)+len(p.Topologies) > 0 {
		t.Errorf("%d topologies, without %v", len(p.Portal), same)
	}
	for _, c := range []struct{ from, to, want string }{
		{"single:   {db: local", "single:   {db: nowhere", `host "nowhere" does not exist`},
		{"web: s3, edge: s1", "web: s3, edgy: s1", `role "edgy" is not one`},
		{"{make: portal-web}", "{units: [web]}", `role "web" is not one that isukit makes`},
		{"db: s2, api: s1, web: s1, edge: s1", "db: s2, api: s1, edge: s1", `no key "web"`},
	} {
		_, err := project.Parse([]byte(strings.Replace(string(text), c.from, c.to, 1)))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.to, err, c.want)
		}
	}
}
