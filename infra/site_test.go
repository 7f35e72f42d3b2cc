package infra_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	_ "github.com/go-sql-driver/mysql"

	"isukit/infra"
	"isukit/infra/host"
	drivers "isukit/infra/host/machine"
	"isukit/infra/infratest"
	"isukit/infra/topology"
)

// siteSpec is a Spec and a local driver whose hosts end with the test.
func siteSpec(t *testing.T, engine string) (infra.Spec, host.Driver) {
	t.Helper()
	s := spec(t, engine, "nginx")
	driver, err := drivers.OpenLocal(drivers.Options{StateDir: s.StateDir, Keep: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx := context.WithoutCancel(t.Context())
		if err := errors.Join(driver.Down(ctx), driver.Close(ctx)); err != nil {
			t.Error(err)
		}
	})
	return s, driver
}

func shipped(t *testing.T, name, engine string) *topology.Topology {
	t.Helper()
	top, err := infra.Shipped(name)
	if err == nil {
		top, err = top.WithKind(topology.DB, topology.Kind(engine))
	}
	if err != nil {
		t.Fatal(err)
	}
	return top
}

func apply(t *testing.T, driver host.Driver, s infra.Spec, o infra.ApplyOptions) (*infra.Site, string, error) {
	t.Helper()
	o.Holder = "test"
	site := infra.NewSite(driver, s)
	p, err := site.Apply(t.Context(), o)
	text := ""
	if p != nil {
		text = p.Text()
	}
	return site, text, err
}

func wantVerified(t *testing.T, site *infra.Site) {
	t.Helper()
	faults, err := site.Verify(t.Context())
	if err != nil || len(faults) > 0 {
		t.Errorf("verify: got %q (%v), want no difference", faults, err)
	}
}

// rows counts the rows of a table on the first database that has it.
func rows(t *testing.T, r *infra.Running, table string) (n int) {
	t.Helper()
	for name, dsn := range r.DSNs() {
		db, err := sql.Open("mysql", dsn)
		if err != nil {
			t.Fatal(err)
		}
		err = db.QueryRowContext(t.Context(), "SELECT COUNT(*) FROM "+table).Scan(&n)
		db.Close()
		if err == nil {
			return n
		}
		t.Logf("%s on %s: %v", table, name, err)
	}
	t.Errorf("no database has the table %s", table)
	return 0
}

// TestSwap moves the data through placements of every kind: nothing is lost, and everything is as it was declared.
func TestSwap(t *testing.T) {
	t.Parallel()
	for _, engine := range infratest.Engines(t) {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			s, driver := siteSpec(t, engine)
			want := map[string]int{}
			placements := []string{"single", "split", "replica-async", "single"}
			if engine == "mariadb" { // the engines differ in replication; the rest need not take its time twice
				placements = []string{"single", "split", "fanout-2", "replica-async", "final-4", "proxy-read", "nginx-tls", "single"}
			}
			for n, name := range placements {
				s.Topology = shipped(t, name, engine)
				begin := time.Now()
				site, text, err := apply(t, driver, s, infra.ApplyOptions{})
				if err != nil {
					t.Fatalf("apply %s: %v\n%s", name, err, text)
				}
				t.Logf("%s took %v", name, time.Since(begin).Round(time.Millisecond))
				wantVerified(t, site)
				r, err := site.Running(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if n == 0 {
					initialize(t, r.BaseURL)
				}
				for _, table := range []string{"teams", "results", "jobs", "contestants"} {
					got := rows(t, r, table)
					if n == 0 {
						want[table] = got
					}
					if got != want[table] || got == 0 {
						t.Errorf("%s: got %d rows in %s, want %d as before the swap", name, got, table, want[table])
					}
				}
			}
			if _, text, err := apply(t, driver, s, infra.ApplyOptions{}); err != nil || text != "nothing to do\n" {
				t.Errorf("the same again: got %q (%v), want nothing to do", text, err)
			}
			if _, err := infra.NewSite(driver, s).Down(t.Context(), "test"); err != nil {
				t.Error(err)
			}
			if left, err := filepath.Glob(filepath.Join(s.StateDir, "hosts/local/s[0-9]*")); err != nil || len(left) > 0 {
				t.Errorf("after down: got %v (%v), want no host's directory", left, err)
			}
		})
	}
}

func initialize(t *testing.T, base string) {
	t.Helper()
	resp, err := http.Post(base+"/initialize", "application/protobuf", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("POST /initialize: got status %d, want 200", resp.StatusCode)
	}
}

// TestApplyFails: every failure is reported with a hint, and the running services continue.
func TestApplyFails(t *testing.T) {
	t.Parallel()
	infratest.Real(t)
	s, driver := siteSpec(t, "mariadb")
	before := shipped(t, "single", "mariadb")
	s.Topology = before
	site, _, err := apply(t, driver, s, infra.ApplyOptions{})
	if err != nil {
		t.Fatal(err)
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	port := taken.Addr().(*net.TCPAddr).Port
	never := filepath.Join(t.TempDir(), "never")
	infratest.Program(t, never, "#!/bin/sh\n[ \"$1\" = version ] && exec "+s.AppBinary+" \"$@\"\nexec sleep 100\n")
	withPort := func(role, key string) *topology.Topology {
		text := `{name: broken, hosts: [{name: s1, address: 127.0.0.1}], roles: {proxy: [{host: s1}], web: [{host: s1}], api: [{host: s1}], db: [{host: s1, engine: mariadb}]}}`
		text = strings.Replace(text, role+": [{host: s1", role+": [{host: s1, "+key, 1)
		top, err := topology.Parse("broken.yaml", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		return top
	}
	for name, tt := range map[string]struct {
		top       *topology.Topology
		app       string
		want, how string
	}{
		"the proxy's port is taken":    {withPort("proxy", fmt.Sprintf("port: %d", port)), s.AppBinary, "proxy-1 on s1", fmt.Sprintf("port %d is taken", port)},
		"the app's port is taken":      {withPort("web", fmt.Sprintf("port: %d", port)), s.AppBinary, "web-1 on s1", fmt.Sprintf("port %d is taken", port)},
		"the database's port is taken": {withPort("db", fmt.Sprintf("port: %d", port)), s.AppBinary, "db-1 on s1", fmt.Sprintf("port %d is taken", port)},
		"a role never gets healthy":    {before, never, "api-1 on s1 is not healthy", ""},
	} {
		t.Run(name, func(t *testing.T) {
			bad := s
			bad.Topology, bad.AppBinary = tt.top, tt.app
			if tt.app == never {
				bad.HealthLimit = 30 * time.Second // the wait for it fails, and the rollback has the same time
			}
			_, _, err := apply(t, driver, bad, infra.ApplyOptions{})
			if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "topology single was restored and is running") {
				t.Fatalf("got error %v, want one with %q that says what was put back", err, tt.want)
			}
			var hint *host.Fault
			if tt.how != "" && (!errors.As(err, &hint) || !strings.Contains(hint.Hint, tt.how)) {
				t.Errorf("got error %v, want a hint with %q", err, tt.how)
			}
			wantVerified(t, site)
		})
	}
}

// TestChangedByOthers: changes made outside isukit are reported, and overwritten with force only.
func TestChangedByOthers(t *testing.T) {
	t.Parallel()
	infratest.Real(t)
	s, driver := siteSpec(t, "mariadb")
	s.Topology = shipped(t, "single", "mariadb")
	site, _, err := apply(t, driver, s, infra.ApplyOptions{})
	if err != nil {
		t.Fatal(err)
	}
	conf := filepath.Join(s.StateDir, "hosts/local/s1/proxy-1/nginx.conf")
	text, err := os.ReadFile(conf)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(conf, []byte(strings.Replace(string(text), "gzip off;", "gzip on;", 1)), 0o644); err != nil {
		t.Fatal(err)
	}
	faults, err := site.Verify(t.Context())
	if err != nil || len(faults) == 0 || !strings.Contains(strings.Join(faults, "\n"), "gzip on; -> gzip off;") {
		t.Errorf("verify: got %q (%v), want the line that was changed", faults, err)
	}
	if s.Topology, err = s.Topology.WithKind(topology.Proxy, topology.Envoy); err != nil {
		t.Fatal(err)
	}
	if _, _, err := apply(t, driver, s, infra.ApplyOptions{}); err == nil || !strings.Contains(err.Error(), "changed outside isukit since: nginx.conf of proxy-1 on s1") {
		t.Errorf("apply over it: got error %v, want one that names nginx.conf", err)
	}
	site, _, err = apply(t, driver, s, infra.ApplyOptions{Force: true})
	if err != nil {
		t.Fatal(err)
	}
	wantVerified(t, site)
	release, err := driver.Lock(t.Context(), "somebody")
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	var locked *host.LockedError
	if _, _, err := apply(t, driver, s, infra.ApplyOptions{}); !errors.As(err, &locked) || locked.Holder.Name != "somebody" {
		t.Errorf("apply while somebody has the hosts: got error %v, want one with his name", err)
	}
}

// TestJoinOfStoppedDatabases merges the tables of two databases of which one does not run, as after an apply that was cut off.
func TestJoinOfStoppedDatabases(t *testing.T) {
	t.Parallel()
	infratest.Real(t)
	s, driver := siteSpec(t, "mariadb")
	s.Topology = shipped(t, "split", "mariadb")
	site, text, err := apply(t, driver, s, infra.ApplyOptions{})
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	r, err := site.Running(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	initialize(t, r.BaseURL)
	tables := []string{"teams", "results", "jobs", "contestants"}
	want := map[string]int{}
	for _, table := range tables {
		want[table] = rows(t, r, table)
	}
	for n, db := range s.Topology.Of(topology.DB) {
		h, err := driver.Host(db.Host)
		if err == nil {
			err = h.Stop(t.Context(), db.Name, time.Minute)
		}
		if err != nil {
			t.Fatal(err)
		}
		s.Topology = shipped(t, []string{"single", "fanout-2"}[n], "mariadb")
		if site, text, err = apply(t, driver, s, infra.ApplyOptions{}); err != nil {
			t.Fatalf("apply %s with %s stopped: %v\n%s", s.Topology.Name, db.Name, err, text)
		}
		wantVerified(t, site)
		if r, err = site.Running(t.Context()); err != nil {
			t.Fatal(err)
		}
		for _, table := range tables {
			if got := rows(t, r, table); got != want[table] {
				t.Errorf("%s with %s stopped: got %d rows in %s, want %d", s.Topology.Name, db.Name, got, table, want[table])
			}
		}
		s.Topology = shipped(t, "split", "mariadb")
		if _, text, err = apply(t, driver, s, infra.ApplyOptions{}); err != nil {
			t.Fatalf("apply split: %v\n%s", err, text)
		}
	}
}
