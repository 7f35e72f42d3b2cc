package project_test

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
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
	shipped, err := filepath.Glob("../topologies/*.yaml")
	if err != nil || len(shipped) == 0 {
		t.Fatalf("%d shipped topologies: %v", len(shipped), err)
	}
	for _, file := range shipped {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		want, err := topology.Parse(file, text)
		if err != nil {
			t.Fatal(err)
		}
		n := slices.IndexFunc(p.Portal, func(got *topology.Topology) bool { return got.Name == want.Name })
		if n < 0 {
			t.Errorf("%s is shipped, and not in the description of the portal", want.Name)
			continue
		}
		got := p.Portal[n]
		if a, b := instancesOf(want), instancesOf(got); a != b || !reflect.DeepEqual(got.Data, want.Data) {
			t.Errorf("%s has %s with %+v, and the shipped topology %s with %+v", want.Name, b, got.Data, a, want.Data)
		}
		everyHost := slices.Contains([]string{"final-2", "final-3", "final-4"}, want.Name) // has a role
		if lines := topology.Diff(want, got); everyHost && (len(lines) > 0 || want.Hash() != got.Hash()) {
			t.Errorf("%s differs from the shipped topology:\n%s", got.Name, strings.Join(lines, "\n"))
		}
	}
	if len(p.Roles)+len(p.Topologies) > 0 {
		t.Errorf("%d roles and %d topologies for units", len(p.Roles), len(p.Topologies))
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

// instancesOf are the instances of a topology, without their hosts: those of one machine have another name in the description.
func instancesOf(t *topology.Topology) (text string) {
	for _, i := range t.Instances {
		text += fmt.Sprintf("%s:%s:%v ", i.Name, i.Kind, i.TLS)
	}
	return text
}
