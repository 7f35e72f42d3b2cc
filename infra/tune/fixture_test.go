package tune_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"isukit"
	"isukit/infra/engine/mysql"
	"isukit/infra/host"
	"isukit/infra/host/machine"
	"isukit/infra/infratest"
	"isukit/infra/tune"
)

var when = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)

// catalog loads the shipped tunings.
func catalog(t testing.TB) *tune.Catalog {
	t.Helper()
	c, err := tune.Load(isukit.Assets)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func local(t testing.TB) *machine.Here {
	t.Helper()
	h, err := machine.OpenHere(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close(context.Background()) })
	return h
}

// inNamespace is a host whose commands run in a network namespace.
type inNamespace struct {
	host.Host
	name string
}

func (n inNamespace) Run(ctx context.Context, cmd host.Command) (host.Result, error) {
	cmd.Argv = append([]string{"ip", "netns", "exec", n.name}, cmd.Argv...)
	return n.Host.Run(ctx, cmd)
}

// namespace makes a network namespace of the test's own, with one link to nowhere, and a host in it.
func namespace(t testing.TB, h host.Host) inNamespace {
	t.Helper()
	infratest.Real(t)
	name := fmt.Sprintf("isktest-%d-tune%d", os.Getpid(), time.Now().UnixNano()%1e6)
	ip(t, "netns", "add", name)
	t.Cleanup(func() { exec.Command("ip", "netns", "del", name).Run() })
	ip(t, "-n", name, "link", "add", "eth0", "type", "veth", "peer", "name", "peer0")
	ip(t, "-n", name, "link", "set", "eth0", "up")
	return inNamespace{h, name}
}

func ip(t testing.TB, args ...string) {
	t.Helper()
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		t.Fatalf("ip %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// ownNamespace is the network namespace of the test itself.
func ownNamespace(t testing.TB) string {
	t.Helper()
	ns, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	return ns
}

func kernelTarget(t testing.TB, ns inNamespace, state string) *tune.Target {
	t.Helper()
	return tune.NewKernel(tune.Place{Name: "s1", Host: ns, StateDir: state, Sizes: tune.Sizes{MemoryBytes: 1 << 30, CPUs: 2}},
		tune.KernelConfig{Namespace: ownNamespace(t), File: filepath.Join(state, "99-isukit.conf")})
}

// database is a server with a defaults file of its own.
func database(t testing.TB, h host.Host, engine, state string) (*infratest.DB, *tune.Target) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "my.cnf")
	if err := os.WriteFile(file, []byte("# as it was found\n[mysqld]\nmax_connections = 120\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	db := infratest.StartDBWith(t, engine, file)
	return db, databaseTarget(t, h, db, file, state, db.TryRestart)
}

func databaseTarget(t testing.TB, h host.Host, db *infratest.DB, file, state string, restart func(context.Context) error) *tune.Target {
	return tune.NewDatabase(
		tune.Place{Name: db.Engine, Host: h, StateDir: state, Sizes: tune.Sizes{MemoryBytes: 512 << 20, CPUs: 2, Shared: true}},
		tune.DatabaseConfig{Query: mysql.SQL{DB: db.Open(t, "")}, File: file, Command: db.Command(), Restart: restart})
}

func nginxTarget(t testing.TB, h host.Host, n *infratest.Nginx, state string) *tune.Target {
	conf := filepath.Join(n.Dir, "nginx.conf")
	return tune.NewNginx(tune.Place{Name: "proxy-1", Host: h, StateDir: state, Sizes: tune.Sizes{MemoryBytes: 1 << 30, CPUs: 2}},
		tune.NginxConfig{Conf: conf, Argv: []string{infratest.FindNginx(t), "-p", n.Dir, "-c", conf, "-e", filepath.Join(n.Dir, "error.log")},
			PID: func(context.Context) (int, error) { return n.PID(), nil }})
}

// apply applies tunings by name and fails the test on an error.
func apply(t testing.TB, target *tune.Target, names ...string) tune.Report {
	t.Helper()
	list, err := catalog(t).Resolve(names)
	if err != nil {
		t.Fatal(err)
	}
	report, err := target.Apply(t.Context(), when, list...)
	if err != nil {
		t.Fatalf("apply %v: %v\n%s", names, err, show(report))
	}
	return report
}

func revert(t testing.TB, target *tune.Target, names ...string) tune.Report {
	t.Helper()
	report, err := target.Revert(t.Context(), tune.RevertOptions{Tunings: names})
	if err != nil {
		t.Fatalf("revert %v: %v\n%s", names, err, show(report))
	}
	return report
}

func verify(t testing.TB, target *tune.Target) tune.Report {
	t.Helper()
	report, err := target.Verify(t.Context())
	if err != nil {
		t.Fatalf("verify: %v", err)
	}
	return report
}

func show(r tune.Report) string {
	var b strings.Builder
	for _, o := range r {
		fmt.Fprintf(&b, "%s %s %s %s %s: %s -> %s: %s\n", o.Target, o.Tuning, o.Layer, o.Key, o.Did, o.From, o.To, o.Reason)
	}
	return b.String()
}
