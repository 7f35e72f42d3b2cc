package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/go-sql-driver/mysql"

	"isukit/cmd/internal/ui"
	"isukit/infra/doctor"
	"isukit/infra/host/proc"
	"isukit/infra/infratest"
	"isukit/infra/infratest/wait"
)

func TestDoctorCommand(t *testing.T) {
	t.Parallel()
	infratest.Real(t)
	db := infratest.StartDB(t, infratest.Engines(t)[0], "--innodb-doublewrite=OFF")
	dir := t.TempDir()
	dsn := filepath.Join(dir, "db.dsn")
	if err := os.WriteFile(dsn, []byte(db.RootDSN("")), 0o600); err != nil {
		t.Fatal(err)
	}
	doctorOf := func(wantCode int, args ...string) string {
		t.Helper()
		cmd := isukitCommand(t, dir, filepath.Join(dir, "state"), append([]string{"doctor"}, args...)...)
		var errs strings.Builder
		cmd.Stderr = &errs
		out, _ := cmd.Output() // the exit code is looked at
		if code := cmd.ProcessState.ExitCode(); code != wantCode {
			t.Errorf("doctor %s: exit code %d, want %d\n%s%s", strings.Join(args, " "), code, wantCode, out, errs.String())
		}
		return string(out)
	}
	if out := doctorOf(ui.ExitOK, "--ls"); !strings.Contains(out, "file-limits") || !strings.Contains(out, "before rounds") {
		t.Errorf("--ls:\n%s", out)
	}
	if out := doctorOf(ui.ExitOK, "--db", dsn, "--only", "query-cache"); !strings.Contains(out, "nothing found (1 checks)") {
		t.Errorf("healthy:\n%s", out)
	}
	doctorOf(ui.ExitUsage, "--only", "query-cash")
	doctorOf(ui.ExitUsage, "--driver", "cloud")
	if out := doctorOf(ui.ExitRound, "--db", dsn, "--only", "durability"); !strings.Contains(out, "innodb_doublewrite is OFF") || !strings.Contains(out, "fix: ") {
		t.Errorf("the text:\n%s", out)
	}
	out := doctorOf(ui.ExitRound, "--db", dsn, "--only", "durability", "--json")
	found, err := parseLines[doctor.Finding](out)
	if err != nil || len(found) == 0 || found[0].Check != "durability" || found[0].Severity != doctor.Warn {
		t.Errorf("--json: %v\n%s", err, out)
	}
}

// TestDoctorStops pauses a process of the test's, which tune revert lets go on.
func TestDoctorStops(t *testing.T) {
	infratest.Real(t)
	dir := t.TempDir()
	sleeper := exec.Command("sleep", "600")
	if err := sleeper.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { sleeper.Process.Kill(); sleeper.Wait() })
	state := func() byte {
		t.Helper()
		st, err := proc.Read(sleeper.Process.Pid)
		if err != nil {
			t.Fatal(err)
		}
		return st.State
	}
	for _, back := range [][]string{{"tune", "revert", "--all"}, {"doctor", "start"}} {
		for _, args := range [][]string{{"doctor", "stop", strconv.Itoa(sleeper.Process.Pid)}, back} {
			out, err := isukitCommand(t, dir, filepath.Join(dir, "state"), args...).CombinedOutput()
			if err != nil {
				t.Fatalf("%v: %v\n%s", args, err, out)
			}
			// A process that gets a signal to stop does so when it is scheduled next.
			if !wait.Within(func() bool { return (state() == 'T') == (args[1] == "stop") }) {
				t.Errorf("after %v it is %c\n%s", args, state(), out)
			}
			if args[0] == "tune" && !strings.Contains(string(out), "started") {
				t.Errorf("%v does not say what it started:\n%s", args, out)
			}
		}
	}
}

// TestDoctorInTheLab looks at a topology that is up on hosts of their own: healthy, then with the MTU of one host changed and
// the limit of a server lowered.
func TestDoctorInTheLab(t *testing.T) {
	t.Parallel()
	program, env, _ := topologyEnv(t)
	if out, err := runTool(t, program, env, "topology", "apply", "final-1", "--driver", "lab", "-q"); err != nil {
		t.Fatalf("apply: %v\n%s", err, out)
	}
	defer runTool(t, program, env, "topology", "down", "--driver", "lab")
	if out, err := runTool(t, program, env, "doctor", "-t", "final-1", "--driver", "lab", "--skip", "disk-full"); err != nil || strings.Contains(out, "warning") {
		t.Errorf("healthy: %v\n%s", err, out)
	}
	if out, err := runTool(t, program, env, "doctor", "-t", "single", "--driver", "lab"); err == nil || !strings.Contains(out, "does not run with driver lab (final-1 is)") {
		t.Errorf("another topology: %v\n%s", err, out)
	}
	if out, err := runTool(t, program, env, "tune", "apply", "mysql/flush-never", "--accept-risk", "mysql/flush-never", "--driver", "lab"); err != nil {
		t.Errorf("apply: %v\n%s", err, out)
	}
	if out, err := runTool(t, program, env, "doctor", "--driver", "lab", "--only", "durability"); err == nil || !strings.Contains(out, "innodb_flush_log_at_trx_commit is 0") {
		t.Errorf("a database that loses rows: %v\n%s", err, out)
	}
	if out, err := runTool(t, program, env, "tune", "revert", "--all", "--driver", "lab"); err != nil {
		t.Errorf("revert: %v\n%s", err, out)
	}
	if out, err := runTool(t, program, env, "lab", "run", "s1", "--", "ip", "link", "set", "eth0", "mtu", "1400"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	out, err := runTool(t, program, env, "doctor", "--driver", "lab", "--only", "mtu-differs,mtu-black-hole")
	if err == nil || !strings.Contains(out, "warn  mtu-differs") || strings.Contains(out, "mtu-black-hole") {
		t.Errorf("one MTU changed: %v\n%s", err, out)
	}
}

// TestDoctorOfAProject looks at the hosts of a project, of which two are this machine and one cannot be reached.
func TestDoctorOfAProject(t *testing.T) {
	t.Parallel()
	infratest.Real(t)
	db := infratest.StartDB(t, infratest.Engines(t)[0], "--innodb-flush-log-at-trx-commit=0")
	dir := t.TempDir()
	client := filepath.Join(dir, "client.cnf")
	cfg, err := mysql.ParseDSN(db.RootDSN(""))
	if err != nil {
		t.Fatal(err)
	}
	write(t, client, "[client]\nuser="+cfg.User+"\npassword="+cfg.Passwd+"\nprotocol=tcp\nhost="+db.Host+"\nport="+strconv.Itoa(db.Port)+"\n")
	write(t, filepath.Join(dir, "isukit.yaml"), "name: app\nhosts: [{name: web}, {name: s1}, {name: s2, address: nobody@127.0.0.1}]\ndatabases: [{host: s1, client: mariadb --defaults-file="+client+"}]\nbenchmark: {external: true}\n")
	cmd := isukitCommand(t, dir, filepath.Join(dir, "state"), "doctor", "--only", "durability,clock,swap,query-cache")
	out, _ := cmd.CombinedOutput() // the exit code is looked at
	if code := cmd.ProcessState.ExitCode(); code != ui.ExitRound || !strings.Contains(string(out), "innodb_flush_log_at_trx_commit is 0") || !strings.Contains(string(out), "host s2 is unreachable") {
		t.Errorf("exit code %d\n%s", code, out)
	}
}

func TestDoctorLintCommand(t *testing.T) {
	infratest.Real(t)
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "sql"), 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "sql/init.sql"), "GRANT ALL ON d.* TO 'isu'@'%' IDENTIFIED BY 'x';\n")
	write(t, filepath.Join(dir, "sql/README.md"), "GRANT ALL ON d.* TO 'isu'@'%' IDENTIFIED BY 'x';\n")
	lint := func(wantCode int, args ...string) string {
		cmd := isukitCommand(t, dir, filepath.Join(dir, "state"), append([]string{"doctor", "lint"}, args...)...)
		out, _ := cmd.CombinedOutput() // the exit code is looked at
		if code := cmd.ProcessState.ExitCode(); code != wantCode {
			t.Errorf("lint %q: exit code %d, want %d\n%s", args, code, wantCode, out)
		}
		return string(out)
	}
	if out := lint(ui.ExitRound, "sql"); !strings.Contains(out, "sql/init.sql:1") || strings.Contains(out, "README") {
		t.Errorf("lint sql:\n%s", out)
	}
	lint(ui.ExitOK, "sql", "--skip", "grant-identified-by")
	lint(ui.ExitUsage, "nowhere")
	// This repository's own sources have none, except for the tests that show it.
	lint(ui.ExitOK, filepath.Join(infratest.Root(t), "app", "search.go"), filepath.Join(infratest.Root(t), "mysql"), filepath.Join(infratest.Root(t), "nginx"))
}
