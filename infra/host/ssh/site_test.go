package ssh_test

import (
	"database/sql"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	_ "github.com/go-sql-driver/mysql"

	"isukit/infra"
	"isukit/infra/host"
	"isukit/infra/host/ssh"
	"isukit/infra/infratest/hosttest"
	"isukit/infra/topology"
)

// siteTopology is one over hosts a, behind a jump host and with sudo, and b.
func siteTopology(t *testing.T, name, roles, data string) *topology.Topology {
	t.Helper()
	text := fmt.Sprintf("{name: %s, hosts: [{name: a, address: a}, {name: b, address: b}], roles: {%s}%s}", name, roles, data)
	top, err := topology.Parse(name+".yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return top
}

// site swaps topologies on hosts over ssh: the data moves with the databases, failures are rolled back, and nothing is left at the end.
func site(t *testing.T, dir string) {
	d := open(t, dir, "site")
	defer d.Close(t.Context())
	spec := infra.Spec{StateDir: filepath.Join(dir, "site"), AppBinary: filepath.Join(dir, "isukit-app"), Scale: "small", Seed: 1}
	spec.Progress = func(step string) { t.Log(step) }
	apply := func(top *topology.Topology) (*infra.Site, error) {
		spec.Topology = top
		s := infra.NewSite(d, spec)
		begin := time.Now()
		_, err := s.Apply(t.Context(), infra.ApplyOptions{Holder: "test"})
		t.Logf("apply of %s took %v", top.Name, time.Since(begin).Round(time.Millisecond))
		return s, err
	}
	placements := []*topology.Topology{
		siteTopology(t, "all-on-a", "proxy: [{host: a}], web: [{host: a}], api: [{host: a}], db: [{host: a}]", ""),
		siteTopology(t, "two", "proxy: [{host: a}], web: [{host: a}], api: [{host: b}], db: [{host: b}, {host: a}]", ", data: {write: ordered}"),
		siteTopology(t, "split", "proxy: [{host: b}], web: [{host: a}], api: [{host: b}], db: [{host: b}, {host: a}]",
			", data: {groups: [{name: jobs, tables: [jobs, results], databases: [db-1]}, {name: rest, tables: ['*'], databases: [db-2]}]}"),
		siteTopology(t, "all-on-b", "proxy: [{host: b}], web: [{host: b}], api: [{host: b}], db: [{host: b}]", ""),
	}
	if os.Getenv("ISUKIT_SSH_SITE") == "" { // the rest takes a minute and more
		placements = placements[:2]
	}
	want := map[string]int{}
	for n, top := range placements {
		s, err := apply(top)
		if err != nil {
			t.Fatalf("apply %s: %v", top.Name, err)
		}
		wantSame(t, s)
		r, err := s.Running(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			resp, err := http.Post(r.BaseURL+"/initialize", "application/protobuf", nil)
			if err != nil || resp.StatusCode != http.StatusOK {
				t.Fatalf("POST /initialize: %v, %v", resp, err)
			}
			resp.Body.Close()
		}
		for _, table := range []string{"teams", "results"} {
			got := rowsOf(t, r, table)
			if n == 0 {
				want[table] = got
			}
			if got == 0 || got != want[table] {
				t.Errorf("%s: %d rows in %s, want %d as before the swap", top.Name, got, table, want[table])
			}
		}
		saved, err := r.SaveLogs(t.Context(), t.TempDir())
		if err != nil || len(saved) == 0 {
			t.Errorf("SaveLogs: got %v, %v; want some", saved, err)
		}
	}
	failedApply(t, d, apply, placements[len(placements)-1])
	// Somebody with another state directory sees what is up, and takes it down.
	other := open(t, dir, "site-of-another")
	defer other.Close(t.Context())
	spec.StateDir, spec.Topology = filepath.Join(dir, "site-of-another"), placements[len(placements)-1]
	s := infra.NewSite(other, spec)
	if p, err := s.Apply(t.Context(), infra.ApplyOptions{Holder: "another"}); err != nil || !p.Empty() {
		t.Errorf("the same by another: got %v, %v; want nothing to do", p, err)
	}
	if _, err := s.Down(t.Context(), "another"); err != nil {
		t.Error(err)
	}
	for _, name := range []string{"a", "b"} {
		h, err := d.Host(name)
		if err != nil {
			t.Fatal(err)
		}
		res, err := h.Run(t.Context(), host.Command{Dir: "/", Argv: []string{"sh", "-c", "ls -d /var/lib/isukit /etc/systemd/system/isukit-* 2>/dev/null; pgrep -lf '^/var/lib/isukit|[d]atadir=/var/lib/isukit'; true"}})
		if err != nil || len(res.Stdout) > 0 {
			t.Errorf("left on %s after down: %q, %v", name, res.Stdout, err)
		}
	}
}

func wantSame(t *testing.T, s *infra.Site) {
	t.Helper()
	if faults, err := s.Verify(t.Context()); err != nil || len(faults) > 0 {
		t.Errorf("verify: got %q, %v; want no difference", faults, err)
	}
}

// failedApply: a taken port and a host that is gone are reported with a hint, and the running services continue.
func failedApply(t *testing.T, d *ssh.Driver, apply func(*topology.Topology) (*infra.Site, error), before *topology.Topology) {
	t.Helper()
	a, err := d.Host("a")
	if err != nil {
		t.Fatal(err)
	}
	taker := host.Service{Name: "taker", Argv: []string{testProgram, hosttest.ListenArg, "0.0.0.0:8081"}, LogFile: a.About().Dir + "/taker.log"}
	if err := a.Start(t.Context(), taker); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := errors.Join(a.Stop(t.Context(), "taker", 0), a.Forget(t.Context(), "taker")); err != nil {
			t.Error(err)
		}
	}()
	s, err := apply(siteTopology(t, "taken", "proxy: [{host: b}], web: [{host: a, port: 8081}], api: [{host: b}], db: [{host: b}]", ""))
	var hint *host.Fault
	if !errors.As(err, &hint) || !strings.Contains(hint.Hint, "port 8081 is taken") || !strings.Contains(err.Error(), "was restored and is running") {
		t.Errorf("apply where a port is taken: got %v, want a hint, and what ran put back", err)
	}
	wantSame(t, s)
	top, err := topology.Parse("gone.yaml", []byte("{name: gone, hosts: [{name: b, address: b}, {name: g, address: gone}], roles: {proxy: [{host: b}], web: [{host: g}], api: [{host: b}], db: [{host: b}]}}"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err = apply(top); !errors.Is(err, host.ErrUnreachable) {
		t.Errorf("apply with a host that is gone: got %v, want ErrUnreachable", err)
	}
	wantSame(t, s)
	if s, err = apply(before); err != nil {
		t.Error(err)
	}
	wantSame(t, s)
}

// rowsOf counts the rows of a table on the first database that has it.
func rowsOf(t *testing.T, r *infra.Running, table string) (n int) {
	t.Helper()
	for _, dsn := range r.DSNs() {
		db, err := sql.Open("mysql", dsn)
		if err != nil {
			t.Fatal(err)
		}
		err = db.QueryRowContext(t.Context(), "SELECT COUNT(*) FROM "+table).Scan(&n)
		db.Close()
		if err == nil {
			return n
		}
	}
	t.Errorf("no database has the table %s", table)
	return 0
}
