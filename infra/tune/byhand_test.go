package tune_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-sql-driver/mysql"

	"isukit/infra/infratest"
	"isukit/infra/tune"
)

// byHand runs a script with records below state/tune and returns what it said and its exit status.
func byHand(t *testing.T, state string, env []string, argv ...string) (said string, code int) {
	t.Helper()
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir = infratest.Root(t)
	cmd.Env = append(append(os.Environ(), "ISUKIT_STATE_DIR="+state), env...)
	out, err := cmd.CombinedOutput()
	if err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

// bothWays lets the script apply and isukit revert, and the other way round. script runs a command on the tuning.
func bothWays(t *testing.T, target *tune.Target, tuning string, script func(command string) (string, int), snapshot func() string, change, mend func()) {
	t.Helper()
	before := snapshot()
	wantBack := func(what string) {
		t.Helper()
		if after := snapshot(); after != before {
			t.Errorf("%s: %s", what, firstDifference(before, after))
		}
		if records, err := target.Records(t.Context()); err != nil || len(records) > 0 {
			t.Errorf("%s: %d records are left, %v", what, len(records), err)
		}
	}
	if said, code := script("apply"); code != 0 || !strings.Contains(said, "applied") || strings.Contains(said, "failed") {
		t.Fatalf("the script's apply: exit status %d\n%s", code, said)
	}
	if snapshot() == before {
		t.Fatal("the script changed nothing")
	}
	if said, code := script("verify"); code != 0 {
		t.Errorf("the script's verify of its own: exit status %d\n%s", code, said)
	}
	if drift := verify(t, target); len(drift) > 0 {
		t.Errorf("isukit's verify of what the script applied:\n%s", show(drift))
	}
	if back := revert(t, target); back.Has(tune.Left, tune.Failed) || !back.Has(tune.Reverted) {
		t.Errorf("isukit's revert of what the script applied:\n%s", show(back))
	}
	wantBack("applied by the script, reverted by isukit")

	apply(t, target, tuning)
	if said, code := script("verify"); code != 0 {
		t.Errorf("the script's verify of what isukit applied: exit status %d\n%s", code, said)
	}
	change()
	if said, code := script("verify"); code != 3 || !strings.Contains(said, "drifted") {
		t.Errorf("the script's verify of a changed value: exit status %d, want 3\n%s", code, said)
	}
	if said, code := script("revert"); code != 1 || !strings.Contains(said, "changed outside isukit") {
		t.Errorf("the script's revert of a changed value: exit status %d, want 1\n%s", code, said)
	}
	mend()
	if said, code := script("revert"); code != 0 || !strings.Contains(said, "reverted") {
		t.Errorf("the script's revert of what isukit applied: exit status %d\n%s", code, said)
	}
	wantBack("applied by isukit, reverted by the script")
}

func TestSysctlByHand(t *testing.T) {
	ns := namespace(t, local(t))
	state := t.TempDir()
	file := filepath.Join(state, "99-isukit.conf")
	target := tune.NewKernel(tune.Place{Name: "s1", Host: ns, StateDir: filepath.Join(state, "tune")},
		tune.KernelConfig{Namespace: ownNamespace(t), File: file})
	for _, name := range []string{"ports", "buffers", "idle-links"} {
		t.Run(name, func(t *testing.T) {
			key, other := map[string]string{"ports": "net.ipv4.tcp_tw_reuse", "buffers": "net.ipv4.tcp_rmem", "idle-links": "net.ipv4.tcp_keepalive_time"}[name], ""
			var was string
			bothWays(t, target, "sysctl/"+name, func(command string) (string, int) {
				return byHand(t, state, nil, "ip", "netns", "exec", ns.name, "sh", "scripts/sysctl.sh", command, "scripts/sysctl/"+name+".conf", "--target", "s1", "--file", file)
			}, func() string {
				text, err := os.ReadFile(file)
				return sysctls(t, ns.name) + fmt.Sprint(string(text), os.IsNotExist(err))
			}, func() {
				was = sysctl(t, ns.name, key)
				other = map[string]string{"ports": "0", "buffers": "4096 16384 65536", "idle-links": "999"}[name]
				ip(t, "netns", "exec", ns.name, "sysctl", "-qw", key+"="+other)
			}, func() { ip(t, "netns", "exec", ns.name, "sysctl", "-qw", key+"="+was) })
		})
	}
	said, code := byHand(t, state, nil, "ip", "netns", "exec", ns.name, "sh", "scripts/sysctl.sh", "apply", "scripts/sysctl/device-queue.conf", "--target", "s1")
	if code != 0 || !strings.Contains(said, "this kernel has no /proc/sys/net/core/netdev_max_backlog") {
		t.Errorf("a key that a namespace has not: exit status %d\n%s", code, said)
	}
}

func TestMySQLByHand(t *testing.T) {
	t.Parallel()
	h := local(t)
	for _, engine := range infratest.Engines(t) {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			state := t.TempDir()
			db, target := database(t, h, engine, filepath.Join(state, "tune"))
			restarts := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != "/"+filepath.Base(state)+"/"+engine+"-restart" { // from an earlier process on this port, which still gets requests
					http.NotFound(w, r)
					return
				}
				if err := db.TryRestart(context.Background()); err != nil {
					http.Error(w, err.Error(), http.StatusInternalServerError)
				}
			}))
			t.Cleanup(restarts.Close)
			env := []string{"MYSQL=mysql --defaults-extra-file=" + clientFile(t, db)}
			var file string
			for _, arg := range db.Command() {
				if name, ok := strings.CutPrefix(arg, "--defaults-file="); ok {
					file = name
				}
			}
			script := func(tuning string, more ...string) func(string) (string, int) {
				return func(command string) (string, int) {
					return byHand(t, state, env, append([]string{"sh", "scripts/mysql.sh", command, tuning + ".cnf", "--target", engine, "--cnf", file,
						"--memory", "536870912", "--shared", "--restart", "curl -fsS " + restarts.URL + "/" + filepath.Base(state) + "/" + engine + "-restart"}, more...)...)
				}
			}
			snapshot := func() string { return databaseSnapshot(t, db) }
			was := map[string]string{"mysql/memory": "300", "mysql/durability-relaxed": "2"}
			other := map[string]string{"mysql/memory": "33", "mysql/durability-relaxed": "0"}
			for tuning, key := range map[string]string{"mysql/memory": "max_connections", "mysql/durability-relaxed": "innodb_flush_log_at_trx_commit"} {
				bothWays(t, target, tuning, script(tuning), snapshot, func() { db.Exec(t, "SET GLOBAL "+key+" = "+other[tuning]) },
					func() { db.Exec(t, "SET GLOBAL "+key+" = "+was[tuning]) })
			}
			// One that needs a restart, in both directions.
			bothWays(t, target, "mysql/doublewrite", script("mysql/doublewrite", "--accept-risk"), snapshot,
				func() { replaceIn(t, file, "innodb_doublewrite = OFF", "innodb_doublewrite = ON") },
				func() { replaceIn(t, file, "innodb_doublewrite = ON", "innodb_doublewrite = OFF") })
			if said, code := script("mysql/doublewrite")("apply"); code != 1 || !strings.Contains(said, "off unless its risk is accepted") {
				t.Errorf("without --accept-risk: exit status %d\n%s", code, said)
			}
			said, code := script("mysql/query-cache")("apply")
			if refused := strings.Contains(said, "was removed in 8.0"); refused != (engine == "mysql") || code != 0 {
				t.Errorf("query cache: exit status %d\n%s", code, said)
			}
		})
	}
}

func replaceIn(t *testing.T, file, old, with string) {
	t.Helper()
	write(t, file, strings.Replace(read(t, file), old, with, 1))
}

// clientFile holds the account for the client, which must not be in arguments.
func clientFile(t *testing.T, db *infratest.DB) string {
	t.Helper()
	cfg, err := mysql.ParseDSN(db.RootDSN(""))
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "client.cnf")
	text := fmt.Sprintf("[client]\nuser=%s\npassword=%s\nsocket=%s\n", cfg.User, cfg.Passwd, db.Socket)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}
