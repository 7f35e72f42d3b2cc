package tune_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"isukit/infra/engine"
	"isukit/infra/host"
	"isukit/infra/infratest"
	"isukit/infra/tune"
)

// drift is something that happens to a tuning behind isukit's back.
type drift struct {
	name  string
	plant func(t *testing.T)
	mend  func(t *testing.T)
	key   string // that verify names
	want  string // part of what it says
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// edit is a drift in a file: old becomes new, and back.
func edit(t *testing.T, file, old, with string) (plant, mend func(*testing.T)) {
	var before string
	return func(t *testing.T) {
			t.Helper()
			if before = read(t, file); !strings.Contains(before, old) {
				t.Fatalf("%s has no %q:\n%s", file, old, before)
			}
			write(t, file, strings.Replace(before, old, with, 1))
		}, func(t *testing.T) {
			t.Helper()
			write(t, file, before)
		}
}

// play plants each drift alone: verify is silent before it, names it, and is silent again after the repair.
func play(t *testing.T, target *tune.Target, drifts []drift) {
	t.Helper()
	for _, d := range drifts {
		t.Run(d.name, func(t *testing.T) {
			if found := verify(t, target); len(found) > 0 {
				t.Fatalf("verify before it:\n%s", show(found))
			}
			d.plant(t)
			found := verify(t, target)
			if !slices.ContainsFunc(found, func(o tune.Outcome) bool {
				return strings.HasPrefix(o.Key, d.key) && strings.Contains(o.Reason, d.want) && o.Did == tune.Drifted
			}) {
				t.Errorf("verify: got\n%s\nwant %s: %s", show(found), d.key, d.want)
			}
			if len(found) > 2 {
				t.Errorf("verify names more than what was changed:\n%s", show(found))
			}
			if d.mend != nil {
				d.mend(t)
			}
		})
	}
}

func TestDriftsOfKernel(t *testing.T) {
	ns := namespace(t, local(t))
	state := t.TempDir()
	file := filepath.Join(state, "sysctl.d/99-isukit.conf")
	target := tune.NewKernel(tune.Place{Name: "s1", Host: ns, StateDir: state}, tune.KernelConfig{Namespace: ownNamespace(t), File: file})
	apply(t, target, "sysctl/ports", "sysctl/backlog")
	set := func(assignment string) func(*testing.T) {
		return func(t *testing.T) { ip(t, "netns", "exec", ns.name, "sysctl", "-qw", assignment) }
	}
	fileEdited, fileMended := edit(t, file, "net.ipv4.tcp_tw_reuse = 1", "net.ipv4.tcp_tw_reuse = 2")
	lineGone, lineBack := edit(t, file, "net.core.somaxconn = 8192\n", "")
	later := filepath.Join(state, "sysctl.d/99-zz-provider.conf")
	last := filepath.Join(state, "sysctl.conf")
	play(t, target, []drift{
		{"a sysctl changed by another tool", set("net.ipv4.tcp_tw_reuse=0"), set("net.ipv4.tcp_tw_reuse=1"), "net.ipv4.tcp_tw_reuse", "it is 0, isukit set 1"},
		{"one of a sysctl's fields changed", set("net.ipv4.ip_local_port_range=10240 60999"), set("net.ipv4.ip_local_port_range=10240 65535"), "net.ipv4.ip_local_port_range", "it is 10240 60999"},
		{"the file of the next boot edited", fileEdited, fileMended, "net.ipv4.tcp_tw_reuse", "it is 2, isukit set 1"},
		{"a line gone from the file of the next boot", lineGone, lineBack, "net.core.somaxconn", "it is (none)"},
		{"a later file in sysctl.d", func(t *testing.T) { write(t, later, "-net/core/somaxconn = 128\n") }, func(t *testing.T) { os.Remove(later) },
			"net.core.somaxconn", "99-zz-provider.conf is read later and sets it to 128"},
		{"sysctl.conf, which is read last", func(t *testing.T) { write(t, last, "net.core.somaxconn=128\n") }, func(t *testing.T) { os.Remove(last) },
			"net.core.somaxconn", "sysctl.conf is read later"},
	})
	link := tune.NewLink(tune.Place{Name: "s1", Host: ns, StateDir: state}, tune.LinkConfig{})
	apply(t, link, "link/mtu")
	play(t, link, []drift{{"an interface's MTU set back", func(t *testing.T) { ip(t, "-n", ns.name, "link", "set", "eth0", "mtu", "1500") }, nil, "mtu of eth0", "it is 1500, isukit set 9000"}})
}

func TestDriftsOfLimitsAndBoot(t *testing.T) {
	infratest.Real(t)
	w := &world{State: t.TempDir(), BootRoot: t.TempDir()}
	w.commands(t)
	h := local(t) // with these
	dropIn := filepath.Join(w.State, "isukit.conf")
	cmd := exec.Command("sleep", "3600")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stop := func() { cmd.Process.Kill(); cmd.Wait() }
	defer func() { stop() }()
	if err := exec.Command("prlimit", "--pid", itoa(cmd.Process.Pid), "--nofile=1024:16384").Run(); err != nil {
		t.Fatal(err)
	}
	limits := tune.NewLimits(tune.Place{Name: "web-1", Host: h, StateDir: w.State},
		tune.LimitsConfig{DropIn: dropIn, PIDs: func(context.Context) ([]int, error) { return []int{cmd.Process.Pid}, nil }})
	apply(t, limits, "limits/nofile")
	lowered, raised := edit(t, dropIn, "65536:65536", "1024:1024")
	play(t, limits, []drift{
		{"a drop-in of systemd edited", lowered, raised, "LimitNOFILE", "it is 1024 1024"},
		{"a process's limit lowered", func(t *testing.T) {
			if out, err := exec.Command("prlimit", "--pid", itoa(cmd.Process.Pid), "--nofile=512:").CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
		}, func(t *testing.T) {
			exec.Command("sh", "-c", `h=$(prlimit --pid $1 --nofile --noheadings --raw --output HARD) && prlimit --pid $1 --nofile=$h:`, "sh", itoa(cmd.Process.Pid)).Run()
		}, "LimitNOFILE of", "it is 512"},
		{"a unit started anew without its limit", func(t *testing.T) {
			stop()
			cmd = exec.Command("sh", "-c", "ulimit -S -n 256; exec sleep 3600")
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
		}, nil, "LimitNOFILE", "has 256: it was started without the drop-in"},
	})
	boot := tune.NewBoot(tune.Place{Name: "s1", Host: h, StateDir: w.State}, tune.BootConfig{Root: w.BootRoot})
	apply(t, boot, "boot/mitigations")
	cmdline := filepath.Join(w.BootRoot, "proc/cmdline")
	booted, back := edit(t, cmdline, "mitigations=off", "")
	removed, put := edit(t, filepath.Join(w.BootRoot, "etc/default/grub.d/99-isukit.cfg"), "mitigations=off", "")
	play(t, boot, []drift{
		{"a host not booted again", booted, back, "mitigations", "it needs a reboot"},
		{"an argument of the kernel taken out", removed, put, "mitigations", "it is (none), isukit set off"},
	})
}

func TestDriftsOfNginx(t *testing.T) {
	infratest.Real(t)
	n := infratest.StartNginx(t, "upstream web { server 127.0.0.1:9; }", "location / { return 204; }")
	target := nginxTarget(t, local(t), n, t.TempDir())
	apply(t, target, "nginx/keepalive", "nginx/workers", "nginx/logs-off")
	conf := filepath.Join(n.Dir, "nginx.conf")
	edited, mended := edit(t, conf, "worker_connections 8192", "worker_connections 512")
	gone, back := edit(t, conf, "keepalive 64;", "")
	renamed, named := edit(t, conf, "upstream web", "upstream app")
	play(t, target, []drift{
		{"a directive edited", edited, mended, "events > worker_connections", "it is 512"},
		{"a directive gone", gone, back, "http > upstream web > keepalive", "it is (none)"},
		{"a block renamed", renamed, named, "http > upstream web > keepalive", "it is gone"},
	})
}

func TestDriftsOfDatabases(t *testing.T) {
	t.Parallel()
	h := local(t)
	for _, engine := range infratest.Engines(t) {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			databaseDrifts(t, h, engine)
		})
	}
}

func databaseDrifts(t *testing.T, h host.Host, engine string) {
	dir := t.TempDir()
	file, later := filepath.Join(dir, "my.cnf"), filepath.Join(dir, "conf.d/zz-provider.cnf")
	write(t, later, "[mysqld]\n")
	write(t, file, "[mysqld]\nmax_connections = 120\n!includedir "+filepath.Dir(later)+"\n")
	db := infratest.StartDBWith(t, engine, file)
	target := databaseTarget(t, h, db, file, t.TempDir(), nil)
	apply(t, target, "mysql/durability-relaxed", "mysql/memory", "mysql/io-capacity")
	set := func(statement string) func(*testing.T) { return func(t *testing.T) { db.Exec(t, statement) } }
	edited, mended := edit(t, file, "sync_binlog = 0", "sync_binlog = 1")
	gone, back := edit(t, file, "sync_binlog = 0\n", "")
	overridden, alone := edit(t, later, "[mysqld]\n", "[mysqld]\nmax-connections=10\n")
	second, first := edit(t, file, "!includedir", "[server]\nloose_innodb_flush_log_at_trx_commit = 1\n!includedir")
	drifts := []drift{
		{"SET GLOBAL", set("SET GLOBAL innodb_flush_log_at_trx_commit = 1"), set("SET GLOBAL innodb_flush_log_at_trx_commit = 2"), "innodb_flush_log_at_trx_commit", "it is 1, isukit set 2"},
		{"the option file edited", edited, mended, "sync_binlog", "it is 1, isukit set 0"},
		{"a line gone from the option file", gone, back, "sync_binlog", "it is (none)"},
		{"a later file that overrides", overridden, alone, "max_connections", `would read "10": a later file overrides`},
		{"another section of the same file that overrides", second, first, "innodb_flush_log_at_trx_commit", `would read "1"`},
		{"SET GLOBAL DEFAULT", set("SET GLOBAL max_connections = DEFAULT"), set("SET GLOBAL max_connections = 300"), "max_connections", "it is 151, isukit set 300"},
	}
	if engine == "mysql" {
		drifts = append(drifts, drift{"SET PERSIST, which wins over files", set("SET PERSIST max_connections = 300"), set("RESET PERSIST max_connections"), "max_connections", "it is 300, isukit set (none)"})
	}
	play(t, target, drifts)

	// This one needs a restart, which nobody has done.
	list, err := catalog(t).Resolve([]string{"mysql/doublewrite"})
	if err != nil {
		t.Fatal(err)
	}
	report, err := target.Apply(t.Context(), when, list...)
	if err != nil || !report.Has(tune.NeedsYou) {
		t.Fatalf("apply: %v\n%s", err, show(report))
	}
	found := verify(t, target)
	if len(found) != 1 || !strings.Contains(found[0].Reason, "it was not restarted") {
		t.Errorf("a server that was not restarted: verify says\n%s", show(found))
	}
	db.Restart()
	if found = verify(t, target); len(found) != 1 || found[0].Key != "max_connections" && found[0].Layer != tune.RuntimeLayer {
		t.Logf("after the restart:\n%s", show(found))
	}
	// A file that anybody may write is ignored by the server as a whole.
	if err := os.Chmod(file, 0o666); err != nil {
		t.Fatal(err)
	}
	if found = verify(t, target); len(found) < 4 || !strings.Contains(show(found), "the server does not read it") {
		t.Errorf("a file that the server ignores: verify says\n%s", show(found))
	}
}

// TestWrittenWithoutEffect applies tunings whose files a boot, or the server's next start, does not read: that is a failure, for verify too.
func TestWrittenWithoutEffect(t *testing.T) {
	infratest.Real(t)
	h := local(t)
	want := func(target *tune.Target, tuning, key, why string) {
		t.Helper()
		report := apply(t, target, tuning)
		at := slices.IndexFunc(report, func(o tune.Outcome) bool { return o.Key == key && o.Layer == tune.FileLayer })
		if at < 0 || report[at].Did != tune.Failed || !strings.HasPrefix(report[at].Reason, "written, but without effect: ") || !strings.Contains(report[at].Reason, why) {
			t.Errorf("apply of %s: want %s to be without effect: %s; got\n%s", tuning, key, why, show(report))
		}
		if found := verify(t, target); !strings.Contains(show(found), why) {
			t.Errorf("verify after the apply of %s: want %q; got\n%s", tuning, why, show(found))
		}
		if report, err := target.Revert(t.Context(), tune.RevertOptions{}); err != nil || report.Has(tune.Failed, tune.Left) {
			t.Errorf("revert: %v\n%s", err, show(report))
		}
	}
	root := t.TempDir()
	ns := namespace(t, h)
	write(t, filepath.Join(root, "usr/lib/sysctl.d/99-zz-provider.conf"), "net.core.somaxconn = 128\n")
	kernel := tune.NewKernel(tune.Place{Name: "s1", Host: ns, StateDir: filepath.Join(root, "tune")},
		tune.KernelConfig{Namespace: ownNamespace(t), File: filepath.Join(root, "etc/sysctl.d/99-isukit.conf")})
	want(kernel, "sysctl/backlog", "net.core.somaxconn", "usr/lib/sysctl.d/99-zz-provider.conf is read later and sets it to 128")
	write(t, filepath.Join(root, "etc/sysctl.d/99-zz-provider.conf"), "# of the same name: it is read in place of the other\nnet.core.somaxconn = 8192\n")
	if report := apply(t, kernel, "sysctl/backlog"); report.Has(tune.Failed) {
		t.Errorf("a later file with the same value: got\n%s", show(report))
	}
	if left, err := os.ReadDir(filepath.Join(root, "tune")); err != nil || len(left) != 1 {
		t.Errorf("records: %v, %v; want the kernel's", left, err)
	}
	if report, err := kernel.Revert(t.Context(), tune.RevertOptions{}); err != nil || report.Has(tune.Failed, tune.Left) {
		t.Errorf("revert: %v\n%s", err, show(report))
	}
	if _, err := os.Stat(filepath.Join(root, "tune")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the directory of records after all was reverted: %v, want none", err)
	}

	pages := &tune.Record{Key: "/sys/kernel/mm/transparent_hugepage/enabled", Layer: tune.FileLayer, File: filepath.Join(root, "etc/tmpfiles.d/isukit.conf"),
		Writes: []tune.Write{{Tuning: "sysctl/hugepages", Value: engine.Value{Text: "madvise"}}}}
	for _, tt := range [][3]string{{"z-later.conf", "never", ""}, {"a-same.conf", "madvise", ""}, {"a-same.conf", "never", "etc/tmpfiles.d/a-same.conf is read before it and sets it to never"}} {
		write(t, filepath.Join(root, "etc/tmpfiles.d", tt[0]), "w "+pages.Key+" - - - - "+tt[1]+"\n")
		if got, err := tune.CheckKernel(t.Context(), h, tune.KernelConfig{Tmpfiles: pages.File}, pages); err != nil || tt[2] == "" && got != "" || !strings.HasSuffix(got, tt[2]) {
			t.Errorf("%s with %s beside the file with madvise: got %q, %v; want %q", tt[0], tt[1], got, err, tt[2])
		}
	}

	file := filepath.Join(t.TempDir(), "my.cnf")
	write(t, file, "[mysqld]\nmax_connections = 120\n")
	db := infratest.StartDBWith(t, infratest.Engines(t)[0], file)
	unread := filepath.Join(filepath.Dir(file), "unread.cnf") // no line includes it
	want(databaseTarget(t, h, db, unread, filepath.Join(root, "db"), nil), "mysql/durability-relaxed", "innodb_flush_log_at_trx_commit", "the server does not read it")
}

// TestFilesAreNotedBeforeTheyAreWritten: isukit may be killed after it has written a file, and before it notes that.
func TestFilesAreNotedBeforeTheyAreWritten(t *testing.T) {
	infratest.Real(t)
	n := infratest.StartNginx(t, "upstream web { server 127.0.0.1:9; }", "location / { return 204; }")
	conf := filepath.Join(n.Dir, "nginx.conf")
	var first []byte // what the first note says, while the file is as it was
	before := read(t, conf)
	place := tune.Place{Name: "proxy-1", Host: local(t), StateDir: t.TempDir(), Sizes: tune.Sizes{MemoryBytes: 1 << 30, CPUs: 2},
		Note: func(files map[string]tune.Written) []host.Op {
			if w, ok := files[conf]; ok && first == nil {
				if first = w.After; read(t, conf) != before || string(w.Before) != before {
					t.Error("the first note comes when the file was written")
				}
			}
			return nil
		}}
	target := tune.NewNginx(place, tune.NginxConfig{Conf: conf, Argv: []string{infratest.FindNginx(t), "-p", n.Dir, "-c", conf, "-e", filepath.Join(n.Dir, "error.log")},
		PID: func(context.Context) (int, error) { return n.PID(), nil }})
	apply(t, target, "nginx/workers")
	if now := read(t, conf); now == before || string(first) != now {
		t.Errorf("the file after the apply:\n%s\nthe first note says that it is\n%s", now, first)
	}
}
