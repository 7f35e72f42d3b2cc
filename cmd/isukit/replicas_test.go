package main

import (
	"bytes"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	_ "github.com/go-sql-driver/mysql"

	"isukit/app/dataset"
	"isukit/bench/scenario"
	"isukit/cmd/internal/ui"
	"isukit/infra"
	"isukit/infra/infratest"
	"isukit/infra/topology"
)

// upFanout starts a topology with two databases; it is gone at the end of the test.
func upFanout(t *testing.T, engine string) (*infra.Running, *topology.Topology, *dataset.Data) {
	t.Helper()
	spec := smallSpec(t, engine)
	top, err := infra.Shipped("fanout-2")
	if err != nil {
		t.Fatal(err)
	}
	if spec.Topology, err = top.WithKind(topology.DB, topology.Kind(engine)); err != nil {
		t.Fatal(err)
	}
	running, data := up(t, spec)
	return running, spec.Topology, data
}

// spoil changes one database behind the app's back.
func spoil(t *testing.T, running *infra.Running, db, statement string) {
	t.Helper()
	conn, err := sql.Open("mysql", running.DSNs()[db])
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Exec(statement); err != nil {
		t.Fatal(err)
	}
}

// TestReplicasAreCompared plays rounds on two databases: a right one passes, and one whose second database lost a row that
// no user happened to look at fails, and names the row.
func TestReplicasAreCompared(t *testing.T) {
	t.Parallel()
	for _, engine := range infratest.Engines(t) {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			running, top, data := upFanout(t, engine)
			play := func(before func(*scenario.Portal)) ([]string, bool) {
				out := playOn(t, running, top, data, running.BaseURL, patient, 3, before)
				var faults []string
				for _, f := range out.Faults {
					faults = append(faults, f.Text)
				}
				return faults, out.Passed()
			}
			if faults, passed := play(func(*scenario.Portal) {}); !passed {
				t.Errorf("a right app on two databases failed: %q", faults)
			}
			id := data.Jobs[len(data.Jobs)/2].ID
			faults, passed := play(func(*scenario.Portal) {
				spoil(t, running, "db-2", fmt.Sprintf("UPDATE jobs SET memo = 'spoilt' WHERE id = %d", id))
			})
			if all := strings.Join(faults, "\n"); passed || !strings.Contains(all, "table jobs") || !strings.Contains(all, fmt.Sprint(id)) {
				t.Errorf("passed %t, faults %q; want one that names row %d of jobs", passed, faults, id)
			}
			replicasByHand(t, running, fmt.Sprint(id))
		})
	}
}

// replicasByHand runs the replicas commands on databases that differ in one row.
func replicasByHand(t *testing.T, running *infra.Running, id string) {
	dir := t.TempDir()
	for name, dsn := range running.DSNs() {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(dsn+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	tests := []struct {
		args string
		code int
		says string
	}{
		{"status", ui.ExitOK, "in service"},
		{"check", ui.ExitRound, id},
		{"check --json", ui.ExitRound, id},
		{"repair", ui.ExitFailed, "--from"},
		{"repair --from db-1", ui.ExitOK, "jobs"},
		{"check", ui.ExitOK, ""},
		{"eject db-2 --reason broken", ui.ExitOK, "broken"},
		{"status --json", ui.ExitOK, `"state":"ejected"`},
		{"admit db-2", ui.ExitOK, ""},
		{"status", ui.ExitOK, "in service"},
		{"eject nobody", ui.ExitFailed, "nobody"},
	}
	for _, tt := range tests {
		args := append([]string{"replicas"}, strings.Fields(tt.args)...)
		args = append(args, "--replica", "db-1="+filepath.Join(dir, "db-1"), "--replica", "db-2="+filepath.Join(dir, "db-2"), "--state-dir", dir)
		var out, errs bytes.Buffer
		code := run(t.Context(), args, streams{strings.NewReader(""), &out, &errs})
		if text := out.String() + errs.String(); code != tt.code || !strings.Contains(text, tt.says) {
			t.Errorf("replicas %s: exit code %d, want %d and %q:\n%s", tt.args, code, tt.code, tt.says, text)
		}
	}
}

// TestReplicasThatReplicate compares a source with its native replica; the commands repair nothing there.
func TestReplicasThatReplicate(t *testing.T) {
	t.Parallel()
	for _, engine := range infratest.Engines(t) {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			servers := infratest.StartReplicated(t, engine, 2, false)
			servers.DBs[0].Exec(t, "CREATE DATABASE shop", "CREATE TABLE shop.item (id INT PRIMARY KEY)", "INSERT INTO shop.item VALUES (1), (2)")
			dir := t.TempDir()
			args := []string{"--mode", "replicated", "--state-dir", dir}
			for i, db := range servers.DBs {
				file := filepath.Join(dir, fmt.Sprint(i))
				if err := os.WriteFile(file, []byte(db.RootDSN("shop")), 0o600); err != nil {
					t.Fatal(err)
				}
				args = append(args, "--replica", fmt.Sprintf("db-%d=%s", i+1, file))
			}
			replicas := func(command string, code int, says string) {
				t.Helper()
				var out, errs bytes.Buffer
				got := run(t.Context(), append(append([]string{"replicas"}, strings.Fields(command)...), args...), streams{strings.NewReader(""), &out, &errs})
				if text := out.String() + errs.String(); got != code || !strings.Contains(text, says) {
					t.Errorf("replicas %s: exit code %d, want %d and %q:\n%s", command, got, code, says, text)
				}
			}
			replicas("status", ui.ExitOK, "in service")
			replicas("check", ui.ExitOK, "equal")
			replicas("repair --from db-1", ui.ExitFailed, "replication")
			servers.StopCopying(t, 1)
			replicas("status", ui.ExitOK, "replication has stopped")
			servers.ResumeCopying(t, 1)
			servers.DBs[1].Exec(t, "DELETE FROM shop.item WHERE id = 2")
			replicas("check", ui.ExitRound, "id=2")
		})
	}
}

func TestReplicasUsage(t *testing.T) {
	dir := t.TempDir()
	bad := filepath.Join(dir, "bad.dsn")
	if err := os.WriteFile(bad, []byte("secret-password"), 0o644); err != nil {
		t.Fatal(err)
	}
	var out, errs bytes.Buffer
	args := []string{"replicas", "check", "--replica", "a", "--replica", "b=" + bad, "--replica", "c=" + filepath.Join(dir, "none"), "--state-dir", dir}
	code := run(t.Context(), args, streams{strings.NewReader(""), &out, &errs})
	text := errs.String()
	if code != ui.ExitUsage || strings.Contains(text, "secret-password") {
		t.Errorf("exit code %d, want %d, and no secret:\n%s", code, ui.ExitUsage, text)
	}
	for _, says := range []string{`--replica "a" is not NAME=FILE`, "must contain a DSN", "no such file", "chmod 600"} {
		if !strings.Contains(text, says) {
			t.Errorf("the error does not say %q:\n%s", says, text)
		}
	}
}

// TestReplicasOfWhatIsUp looks at the databases of the topology that is up, without naming them, and in the lab, which nothing else
// of the machine reaches.
func TestReplicasOfWhatIsUp(t *testing.T) {
	t.Parallel()
	program, env, _ := topologyEnv(t)
	for _, driver := range []string{"local", "lab"} {
		t.Run(driver, func(t *testing.T) {
			tool := func(says string, args ...string) {
				t.Helper()
				out, err := runTool(t, program, env, append(args, "--driver", driver)...)
				if !strings.Contains(out, says) {
					t.Errorf("%s: %v, and no %q in\n%s", strings.Join(args, " "), err, says, out)
				}
			}
			defer runTool(t, program, env, "topology", "down", "--driver", driver)
			tool("is up at", "topology", "apply", "single", "--scale", "small")
			tool("no replicated databases", "replicas", "status")
			tool("is up at", "topology", "apply", "fanout-2", "--scale", "small")
			tool("in service", "replicas", "status")
			tool("equal", "replicas", "check")
		})
	}
	if out, err := runTool(t, program, env, "replicas", "status"); err == nil || !strings.Contains(out, errNoReplicas.Error()) {
		t.Errorf("where nothing is up: %v\n%s", err, out)
	}
}
