package topology_test

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"isukit/infra/topology"
)

var update = flag.Bool("update", false, "rewrite the golden files")

const two = `name: two
hosts:
  - {name: s1, cpus: 2, memory: 1GiB, address: 10.0.0.1}
  - name: s2
    cpus: 0.5
    memory: 512MiB
    address: s2.example
roles:
  db: [{host: s2, engine: mysql}]
  proxy: [{host: s1, kind: envoy}]
  web: [{host: s1}, {host: s2}]
  api: [{host: s1}]
`

func TestParse(t *testing.T) {
	got, err := topology.Parse("two.yaml", []byte(two))
	if err != nil {
		t.Fatal(err)
	}
	want := &topology.Topology{
		Name: "two",
		Hosts: []topology.Host{
			{Name: "s1", CPUs: 2, MemoryBytes: 1 << 30, Address: "10.0.0.1"},
			{Name: "s2", CPUs: 0.5, MemoryBytes: 512 << 20, Address: "s2.example"},
		},
		Instances: []topology.Instance{
			{Name: "proxy-1", Role: topology.Proxy, Host: "s1", Kind: topology.Envoy},
			{Name: "web-1", Role: topology.Web, Host: "s1"},
			{Name: "web-2", Role: topology.Web, Host: "s2"},
			{Name: "api-1", Role: topology.API, Host: "s1"},
			{Name: "db-1", Role: topology.DB, Host: "s2", Kind: topology.MySQL},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Parse(two.yaml): -want +got\n%s", diff)
	}
}

// TestFaults reads every testdata/faults/*.yaml and compares the errors of Parse with the file *.txt of that name.
func TestFaults(t *testing.T) {
	files, err := filepath.Glob("testdata/faults/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no testdata/faults/*.yaml (%v)", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			_, err = topology.Parse(filepath.Base(file), text)
			var faults *topology.Faults
			if !errors.As(err, &faults) {
				t.Fatalf("Parse(%s): got error %v, want *Faults", file, err)
			}
			golden := strings.TrimSuffix(file, ".yaml") + ".txt"
			if *update {
				if err := os.WriteFile(golden, []byte(faults.Error()+"\n"), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), faults.Error()+"\n"); diff != "" {
				t.Errorf("faults of %s: -want +got\n%s", file, diff)
			}
		})
	}
}

func TestHash(t *testing.T) {
	parse := func(text string) string {
		t.Helper()
		top, err := topology.Parse("t.yaml", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		return top.Hash()
	}
	base := parse(two)
	for name, text := range map[string]string{
		"a comment":     "# hello\n" + two,
		"another order": strings.Replace(two, "{host: s1, kind: envoy}", "{kind: envoy, host: s1}", 1),
		"another unit":  strings.Replace(two, "1GiB", "1024MiB", 1),
	} {
		if got := parse(text); got != base {
			t.Errorf("hash with %s: got %s, want %s as before", name, got, base)
		}
	}
	for name, text := range map[string]string{
		"more memory":   strings.Replace(two, "1GiB", "2GiB", 1),
		"another proxy": strings.Replace(two, "envoy", "nginx", 1),
		"a moved role":  strings.Replace(two, "api: [{host: s1}]", "api: [{host: s2}]", 1),
	} {
		if got := parse(text); got == base {
			t.Errorf("hash with %s: got %s as before, want another", name, got)
		}
	}
}

func TestWithKind(t *testing.T) {
	top, err := topology.Parse("two.yaml", []byte(two))
	if err != nil {
		t.Fatal(err)
	}
	got, err := top.WithKind(topology.DB, topology.MariaDB)
	if err != nil {
		t.Fatal(err)
	}
	if k := got.Of(topology.DB)[0].Kind; k != topology.MariaDB {
		t.Errorf("kind of db: got %q, want mariadb", k)
	}
	if k := top.Of(topology.DB)[0].Kind; k != topology.MySQL {
		t.Errorf("kind of db in the original: got %q, want mysql, unchanged", k)
	}
	if _, err := top.WithKind(topology.Web, topology.Nginx); err == nil {
		t.Error("WithKind(web, nginx): got no error, want one: web has no kinds")
	}
}

// FuzzParse: no input makes Parse panic, and every fault points into the file.
func FuzzParse(f *testing.F) {
	f.Add([]byte(two))
	files, _ := filepath.Glob("testdata/faults/*.yaml")
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		top, err := topology.Parse("fuzz.yaml", text)
		if err == nil {
			if top.Name == "" || len(top.Hosts) == 0 || len(top.Of(topology.DB)) == 0 {
				t.Errorf("Parse took a file without name, hosts or db: %+v", top)
			}
			return
		}
		var faults *topology.Faults
		if !errors.As(err, &faults) || len(faults.Items) == 0 {
			t.Fatalf("got error %v, want *Faults with items", err)
		}
		lines := strings.Count(string(text), "\n") + strings.Count(string(text), "\r") + 1
		for _, item := range faults.Items {
			if item.Line < 0 || item.Line > lines || item.Message == "" {
				t.Errorf("fault %+v: want a message and a line of 0..%d", item, lines)
			}
		}
	})
}
