package doctor_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"isukit/infra/doctor"
	"isukit/infra/engine/mysql"
	"isukit/infra/host"
	"isukit/infra/infratest"
)

// ofDatabase is a host with one database.
func ofDatabase(d doctor.Database) *doctor.Observed {
	return &doctor.Observed{Hosts: []doctor.Host{{Name: "s1", MemoryBytes: 8 << 30, Databases: []doctor.Database{d}}}}
}

// TestHealthyDatabases starts both engines with nothing but their defaults.
func TestHealthyDatabases(t *testing.T) {
	t.Parallel()
	for _, engine := range infratest.Engines(t) {
		t.Run(engine, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "my.cnf")
			if err := os.WriteFile(file, []byte("[mysqld]\nmax_connections = 50\n"), 0o644); err != nil {
				t.Fatal(err)
			}
			wantSilence(t, engine, doctor.Diagnose(ofDatabase(lookAt(t, infratest.StartDBWith(t, engine, file))), doctor.Checks()))
		})
	}
}

func TestQueryCache(t *testing.T) {
	t.Parallel()
	for _, engine := range infratest.Engines(t) {
		t.Run(engine, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "my.cnf")
			text := "[mysqld]\nloose_query_cache_size = 16M\nloose-query-cache-type = 0\n"
			if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
			if engine == "mariadb" {
				// The server switches the cache on when the file gives it a size; setting it while it runs does nothing.
				db := infratest.StartDBWith(t, engine, file)
				wantSilence(t, "on", diagnose(t, "query-cache", ofDatabase(lookAt(t, db))))
				db.Exec(t, "SET GLOBAL query_cache_type = OFF", "SET GLOBAL query_cache_size = 16777216")
				found := diagnose(t, "query-cache", ofDatabase(lookAt(t, db)))
				wantFinding(t, "type OFF", found, doctor.Warn, "query_cache_type = ON", "16 MiB", "OFF")
				// The fix is a statement: it must be one, and help.
				statement, _, _ := strings.Cut(found[0].Fix, ";")
				db.Exec(t, statement)
				wantSilence(t, "after the fix", diagnose(t, "query-cache", ofDatabase(lookAt(t, db))))
				return
			}
			d := lookAt(t, infratest.StartDBWith(t, engine, file))
			d.Options = []mysql.OptionFile{{}}
			d.Options[0].Path, d.Options[0].Text = file, text
			found := diagnose(t, "query-cache", ofDatabase(d))
			wantFinding(t, "a server without", found, doctor.Warn, "sed -i", "has no query cache", file)
		})
	}
}

func TestDurability(t *testing.T) {
	t.Parallel()
	for _, engine := range infratest.Engines(t) {
		t.Run(engine, func(t *testing.T) {
			db := infratest.StartDB(t, engine, "--innodb-doublewrite=OFF", "--innodb-flush-log-at-trx-commit=0")
			found := diagnose(t, "durability", ofDatabase(lookAt(t, db)))
			wantFinding(t, "doublewrite", found, doctor.Warn, "restart", "innodb_doublewrite is OFF")
			wantFinding(t, "flush", found, doctor.Warn, "= 2", "innodb_flush_log_at_trx_commit is 0")
			db.Exec(t, "SET GLOBAL innodb_flush_log_at_trx_commit = 2")
			wantFinding(t, "relaxed", diagnose(t, "durability", ofDatabase(lookAt(t, db))), doctor.Note, "= 1", "a second of commits")
		})
	}
}

// TestMemoryLimit puts a database into the control group of a small host.
func TestMemoryLimit(t *testing.T) {
	t.Parallel()
	infratest.Real(t)
	s1 := hostOf(t, lab(t, host.Want{Name: "s1", MemoryBytes: 512 << 20}), "s1")
	if err := s1.Start(t.Context(), host.Service{Name: "sleep", Argv: []string{"sleep", "600"}, LogFile: filepath.Join(t.TempDir(), "log")}); err != nil {
		t.Fatal(err)
	}
	st, err := s1.State(t.Context(), "sleep")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		pool string
		want doctor.Severity
	}{{"64M", ""}, {"600M", doctor.Crit}} {
		db := infratest.StartDB(t, infratest.Engines(t)[0], "--innodb-buffer-pool-size="+c.pool)
		intoMemoryGroup(t, db.PID(), st.PID)
		h := look(t, here(t), doctor.LookOptions{Roles: map[int]string{db.PID(): "db-1"}})
		h.Databases = []doctor.Database{lookAt(t, db)}
		found := diagnose(t, "memory-limit", &doctor.Observed{Hosts: []doctor.Host{h}})
		if c.want == "" {
			wantSilence(t, c.pool, found)
			continue
		}
		wantFinding(t, c.pool, found, c.want, "innodb_buffer_pool_size = 268435456", "innodb_buffer_pool_size is 600 MiB", "control group may use 512 MiB", "/proc/meminfo")
		db.Kill()
	}
}

// intoMemoryGroup moves a process into the memory control group of another.
func intoMemoryGroup(t *testing.T, pid, other int) {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", other))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		f := strings.SplitN(strings.TrimSpace(line), ":", 3)
		dir := "/sys/fs/cgroup"
		if f[1] != "" {
			dir = "/sys/fs/cgroup/memory"
		}
		if strings.Contains(","+f[1]+",", ",memory,") || f[1] == "" {
			if err := os.WriteFile(filepath.Join(dir, f[2], "cgroup.procs"), []byte(fmt.Sprint(pid)), 0); err == nil {
				return
			}
		}
	}
	t.Fatalf("no memory control group in\n%s", text)
}
