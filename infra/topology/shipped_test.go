package topology_test

import (
	"io/fs"
	"strings"
	"testing"

	"isukit/infra/topologies"
	"isukit/infra/topology"
)

// TestShipped: every shipped file is without fault, and is called what its file is.
func TestShipped(t *testing.T) {
	files, err := fs.Glob(topologies.Files, "*.yaml")
	if err != nil || len(files) < 16 {
		t.Fatalf("got %d shipped files (%v), want at least 16", len(files), err)
	}
	for _, file := range files {
		text, err := fs.ReadFile(topologies.Files, file)
		if err != nil {
			t.Fatal(err)
		}
		top, err := topology.Parse(file, text)
		if err != nil {
			t.Error(err)
			continue
		}
		if want := strings.TrimSuffix(file, ".yaml"); top.Name != want {
			t.Errorf("name in %s: got %s, want %s", file, top.Name, want)
		}
		if !strings.HasPrefix(string(text), "# ") {
			t.Errorf("%s does not begin with a comment that says what it is for", file)
		}
	}
}

func TestDataOf(t *testing.T) {
	top, err := topology.Parse("split.yaml", []byte(`{name: split, hosts: [{name: s1, address: 10.0.0.1}], roles: {
		proxy: [{host: s1}], web: [{host: s1}], api: [{host: s1}], db: [{host: s1}, {host: s1}, {host: s1}]},
		data: {write: replicated, replication: semisync, groups: [
			{name: jobs, tables: [jobs], databases: [db-2, db-1]}, {name: rest, tables: ["*"], databases: [db-3]}]}}`))
	if err != nil {
		t.Fatal(err)
	}
	for database, want := range map[string]string{"db-1": "db-2", "db-2": "db-2", "db-3": "db-3"} {
		if got := top.Source(database); got != want {
			t.Errorf("source of %s: got %s, want %s", database, got, want)
		}
	}
	if g := top.GroupOf("db-1"); g.Name != "jobs" {
		t.Errorf("group of db-1: got %s, want jobs", g.Name)
	}
	want := map[string]int{"proxy-1": 80, "web-1": 8080, "api-1": 9292, "db-1": 3306, "db-2": 3307, "db-3": 3308}
	for name, port := range top.Ports() {
		if port != want[name] {
			t.Errorf("port of %s: got %d, want %d", name, port, want[name])
		}
	}
}
