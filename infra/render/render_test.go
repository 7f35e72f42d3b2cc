package render_test

import (
	"flag"
	"os"
	"path"
	"path/filepath"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"isukit"
	"isukit/infra/render"
	"isukit/infra/topology"
)

var update = flag.Bool("update", false, "rewrite the golden files")

const two = `name: two
hosts:
  - {name: s1, cpus: 2, memory: 1GiB, address: 10.0.0.1}
  - {name: s2, address: 10.0.0.2}
roles:
  proxy: [{host: s1, kind: nginx}, {host: s2, kind: envoy}]
  web: [{host: s1}, {host: s2}]
  api: [{host: s1}]
  db: [{host: s2, engine: mariadb}, {host: s1, engine: mysql}]
`

var page = fstest.MapFS{
	"index.html": {Data: []byte("<!doctype html>hello")},
	"app.css":    {Data: []byte("body{}")},
}

func parse(t *testing.T, text string) *topology.Topology {
	t.Helper()
	top, err := topology.Parse("test.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return top
}

// input is a whole Input: instance number i in the directory dir/NAME on the ports base+2i and base+2i+1.
func input(t *testing.T, top *topology.Topology, dir, address string, base int) render.Input {
	t.Helper()
	in := render.Input{
		Topology: top, Places: map[string]render.Place{}, Machine: render.Machine{CPUs: 4, MemoryBytes: 16 << 30},
		Templates: isukit.Assets, StaticDir: path.Join(dir, "static"), Scale: "small", Seed: 7,
	}
	for n, i := range top.Instances {
		in.Places[i.Name] = render.Place{Dir: path.Join(dir, i.Name), Address: address, Port: base + 2*n, DebugPort: base + 2*n + 1}
	}
	var err error
	if in.Static, err = render.Static(page, in.StaticDir); err != nil {
		t.Fatal(err)
	}
	return in
}

// TestFiles compares everything that is rendered for two hosts with testdata/two.
func TestFiles(t *testing.T) {
	in := input(t, parse(t, two), "/run/isukit", "10.0.0.9", 8000)
	for _, host := range []string{"s1", "s2"} {
		files, err := render.Files(in, host)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			golden := filepath.Join("testdata/two", filepath.Base(path.Dir(f.Path)), path.Base(f.Path))
			if *update {
				if err := os.MkdirAll(filepath.Dir(golden), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(golden, f.Data, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), string(f.Data)); diff != "" {
				t.Errorf("%s on %s: -want +got\n%s", f.Path, host, diff)
			}
		}
	}
}

func TestFilesFaults(t *testing.T) {
	top := parse(t, two)
	full := input(t, top, "/run", "10.0.0.9", 8000)
	noPlace := full
	noPlace.Places = map[string]render.Place{"proxy-1": {}}
	auto, err := top.WithKind(topology.DB, topology.Auto)
	if err != nil {
		t.Fatal(err)
	}
	unsettled := full
	unsettled.Topology = auto
	for name, tt := range map[string]struct {
		in   render.Input
		host string
		want string
	}{
		"unknown host":     {full, "s9", `render files: host "s9" is not in topology two`},
		"no place":         {noPlace, "s1", "render files for s1: no place for proxy-2"},
		"engine not known": {unsettled, "s2", `render files of db-1 for s2: engine "auto" must be settled before its files are rendered`},
	} {
		if _, err := render.Files(tt.in, tt.host); err == nil || err.Error() != tt.want {
			t.Errorf("%s: got error %v, want %s", name, err, tt.want)
		}
	}
}

func TestStatic(t *testing.T) {
	got, err := render.Static(page, "/static")
	if err != nil {
		t.Fatal(err)
	}
	want := []render.StaticFile{
		{URLPath: "/app.css", File: "/static/app.css", ContentType: "text/css; charset=utf-8", SizeBytes: 6},
		{URLPath: "/index.html", File: "/static/index.html", ContentType: "text/html", SizeBytes: 20},
		{URLPath: "/", File: "/static/index.html", ContentType: "text/html", SizeBytes: 20},
	}
	if len(got) != len(want) {
		t.Fatalf("Static: got %d files, want %d: %+v", len(got), len(want), got)
	}
	for i := range want {
		if len(got[i].ETag) != 18 {
			t.Errorf("ETag of %s: got %s, want 16 hex digits in quotes", got[i].URLPath, got[i].ETag)
		}
		want[i].ETag = got[i].ETag
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Static: -want +got\n%s", diff)
	}
}
