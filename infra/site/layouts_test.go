package site

import (
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"isukit/infra/engine"
	"isukit/infra/host"
	"isukit/infra/project"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// seenHost is a host of which only what it is matters: plans are pure.
type seenHost struct {
	host.Host
	about host.About
}

func (h *seenHost) About() host.About { return h.about }

const layouts = "../project/testdata/layouts"

func text(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// described is what isukit init has written for a layout, with what a person edits: the hosts, a topology, and at most three lines.
func described(t *testing.T, dir string) *project.Project {
	t.Helper()
	draft := text(t, filepath.Join(dir, "init.golden.yaml"))
	edit := func(from, to string) {
		from, to = strings.ReplaceAll(from, `\n`, "\n"), strings.ReplaceAll(to, `\n`, "\n")
		if !strings.Contains(draft, from) {
			t.Fatalf("the draft has no %q", from)
		}
		draft = strings.Replace(draft, from, to, 1)
	}
	draft = regexp.MustCompile(`(?m)^hosts:\n  - .*$`).ReplaceAllString(draft, "hosts: [{name: s1, address: a}, {name: s2, address: b}, {name: s3, address: c}]")
	draft = strings.ReplaceAll(draft, "hosts: [local]", "hosts: [s1]")
	draft = regexp.MustCompile(`(?m)^  # split:.*$`).ReplaceAllString(strings.ReplaceAll(draft, ": local", ": s1"), "  "+strings.TrimSpace(text(t, filepath.Join(dir, "split.txt"))))
	edits := strings.Split(strings.TrimSpace(text(t, filepath.Join(dir, "edits.txt"))), "\n")
	if len(edits) > 3 {
		t.Errorf("%d lines have to be edited", len(edits))
	}
	for _, line := range edits {
		if from, to, ok := strings.Cut(line, " =>"); ok {
			edit(from, strings.TrimPrefix(to, " "))
		}
	}
	p, err := project.Parse([]byte(draft))
	if err != nil {
		t.Fatalf("%v\n%s", err, draft)
	}
	return p
}

// nodesOfLayout are three servers from one image.
func nodesOfLayout(t *testing.T, p *project.Project, probe string) (nodes []*node) {
	t.Helper()
	for i, h := range p.Hosts {
		n := &node{
			name: h.Name, at: &seenHost{about: host.About{Address: "10.0.0." + string(rune('1'+i)), Root: true}}, free: 10 << 30,
			files: map[string][]byte{}, units: map[string]unit{}, bases: map[string]*database{}, cnfs: map[string]string{},
		}
		for _, section := range strings.Split(probe, "\n@")[1:] {
			head, body, _ := strings.Cut(section, "\n")
			kind, name, _ := strings.Cut(head, " ")
			switch kind {
			case "env", "site":
				n.files[name] = []byte(body)
			case "units":
				for u := range strings.FieldsSeq(body) {
					n.units[u] = unit{there: true, active: true, enabled: "enabled"}
				}
			case "unit":
				n.files["/etc/systemd/system/"+name] = []byte("[Unit]\nDescription=" + name + "\n" + body)
			}
		}
		n.files["/etc/memcached.conf"] = []byte("-d\n-m 64\n-p 11211\n-u memcache\n-l 127.0.0.1\n")
		n.cnfs["db"] = "/etc/mysql/mysql.conf.d/zz-isukit-site.cnf"
		n.bases["db"] = &database{product: engine.Product{Name: "mysql", Version: engine.Version{8, 0, 41}}, bind: "127.0.0.1", schema: true, tables: 5, bytes: 600 << 20, users: map[string]bool{"localhost": true}}
		nodes = append(nodes, n)
	}
	return nodes
}

// TestLayouts plans a topology of several hosts for what isukit init has described.
func TestLayouts(t *testing.T) {
	dirs, err := filepath.Glob(layouts + "/*")
	if err != nil || len(dirs) < 4 {
		t.Fatalf("layouts: %q, %v", dirs, err)
	}
	for _, dir := range dirs {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			p := described(t, dir)
			probe := text(t, filepath.Join(dir, "probe.txt"))
			if filepath.Base(dir) == "private-isu" { // its file does not say the defaults, which are the loopback; a person adds them
				probe = strings.Replace(probe, "ISUCONP_DB_NAME=isuconp\n", "ISUCONP_DB_NAME=isuconp\nISUCONP_DB_HOST=localhost\nISUCONP_MEMCACHED_ADDRESS=localhost:11211\n", 1)
			}
			planner := &planner{site: &Site{Project: p}, nodes: nodesOfLayout(t, p, probe), to: &p.Topologies[1]}
			t.Setenv("MYSQL_PASS", "x")
			t.Setenv("ISUCON_DB_PASSWORD", "x")
			t.Setenv("ISUCONP_DB_PASSWORD", "x")
			hosts, err := planner.plan()
			if err != nil {
				t.Fatal(err)
			}
			got := ""
			for _, h := range hosts {
				got += h.Text()
			}
			golden := filepath.Join(dir, "split.golden.txt")
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if want := text(t, golden); got != want {
				t.Errorf("the plan is\n%s\nwant\n%s", got, want)
			}
		})
	}
}

// TestPlanRefuses wants what cannot be held to be a fault of the plan, all together.
func TestPlanRefuses(t *testing.T) {
	dir := layouts + "/private-isu"
	p := described(t, dir)
	t.Setenv("ISUCONP_DB_PASSWORD", "")
	nodes := nodesOfLayout(t, p, strings.Replace(text(t, filepath.Join(dir, "probe.txt")), "ISUCONP_DB_PASSWORD=hidden\n", "", 1))
	nodes[1].free = 1 << 30
	nodes[1].bases["db"].product = engine.Product{Name: "mysql", Version: engine.Version{5, 7, 44}}
	nodes[2].units["isu-ruby.service"] = unit{}
	nodes[0].bases["db"].accounts, nodes[0].bases["db"].definers = []string{"owner@%", "isuconp@localhost"}, []string{"owner@%", "gone@%", "owner@%", "isuconp@localhost"}
	nodes[1].bases["db"].accounts = []string{"isuconp@localhost"}
	_, err := (&planner{site: &Site{Project: p}, nodes: nodes, to: &p.Topologies[1]}).plan()
	for _, want := range []string{
		"host s2: isuconp has 600 MiB, and its copy takes up to 1800; the disk has 1024 MiB free", "mysql 5.7.44 cannot be trusted to load what mysql 8.0.41 dumps",
		"host s3: unit isu-ruby.service not found", "it does not assign ISUCONP_DB_HOST", "no password found for isuconp",
		"host s2: views, routines, triggers or events of isuconp run as owner@% (their definer), and this server lacks that account",
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the error lacks %q:\n%v", want, err)
		}
	}
	if strings.Contains(err.Error(), "gone@%") || strings.Contains(err.Error(), "run as isuconp@localhost") {
		t.Errorf("it also names accounts that the source lacks, or that are made:\n%v", err)
	}
}
