package dbserver_test

import (
	"context"
	"database/sql"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"

	"isukit/infra/dbserver"
	"isukit/infra/host"
	"isukit/infra/infratest"
)

func TestFind(t *testing.T) {
	for _, engine := range infratest.Engines(t) {
		in, err := dbserver.Find(t.Context(), infratest.Here(t), dbserver.Engine(engine), filepath.Join(infratest.Root(t), ".local"))
		if err != nil {
			t.Errorf("Find(%s): %v", engine, err)
			continue
		}
		if string(in.Engine) != engine || strings.Contains(in.Version, "MariaDB") != (engine == "mariadb") {
			t.Errorf("Find(%s): got %s %s", engine, in.Engine, in.Version)
		}
	}
}

func TestFindNothing(t *testing.T) {
	_, err := dbserver.Find(t.Context(), infratest.Here(t), dbserver.MySQL, t.TempDir())
	// A machine may well have MySQL itself; then there is nothing to be seen here but that no error is made up.
	if err != nil && !errors.Is(err, dbserver.ErrNotFound) {
		t.Errorf("Find(mysql): got error %v, want ErrNotFound", err)
	}
	if _, err := dbserver.Find(t.Context(), infratest.Here(t), "postgresql", ""); err == nil || errors.Is(err, dbserver.ErrNotFound) {
		t.Errorf("Find(postgresql): got error %v, want one that is not ErrNotFound", err)
	}
}

// TestCached: many callers together build once; a failed or unfinished build is not kept.
func TestCached(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "cache", "entry")
	failure := errors.New("no")
	err := dbserver.Cached(t.Context(), dir, func(tmp string) error {
		return errors.Join(os.WriteFile(filepath.Join(tmp, "half"), nil, 0o600), failure)
	})
	if !errors.Is(err, failure) {
		t.Fatalf("Cached with a build that fails: got error %v, want %v", err, failure)
	}
	if err := os.MkdirAll(dir+".new/left", 0o700); err != nil { // by a process that was killed
		t.Fatal(err)
	}
	var builds atomic.Int32
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			err := dbserver.Cached(t.Context(), dir, func(tmp string) error {
				builds.Add(1)
				time.Sleep(20 * time.Millisecond)
				return os.WriteFile(filepath.Join(tmp, "whole"), nil, 0o600)
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if n := builds.Load(); n != 1 {
		t.Errorf("8 at once: got %d builds, want 1", n)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 || entries[0].Name() != "whole" {
		t.Errorf("entry: got %v, %v; want the file whole only", entries, err)
	}
}

// create lays an instance down in dir and starts it; it returns when it answers.
func create(t *testing.T, engine, dir string, args ...string) *dbserver.Instance {
	t.Helper()
	local := filepath.Join(infratest.Root(t), ".local")
	in, err := dbserver.Find(t.Context(), infratest.Here(t), dbserver.Engine(engine), local)
	if err != nil {
		t.Fatal(err)
	}
	template, err := dbserver.Template(t.Context(), infratest.Here(t), in, filepath.Join(local, "cache"))
	if err != nil {
		t.Fatal(err)
	}
	return createFrom(t, in, template, dir, args...)
}

func createFrom(t *testing.T, in dbserver.Install, template, dir string, args ...string) *dbserver.Instance {
	t.Helper()
	inst, err := dbserver.Create(t.Context(), infratest.Here(t), dbserver.Config{
		Install: in, Dir: dir, Template: template, Port: infratest.FreePort(t), Args: append(args, "--performance-schema=OFF"),
		InitSQL: []string{"CREATE DATABASE IF NOT EXISTS of_init_sql;"},
	})
	if err != nil {
		t.Fatal(err)
	}
	return inst
}

// withoutNames is a host on which no name can be looked up.
type withoutNames struct{ host.Host }

func (h withoutNames) Run(ctx context.Context, cmd host.Command) (host.Result, error) {
	script := `for f in hosts resolv.conf nsswitch.conf; do [ ! -e /etc/$f ] || mount --bind /dev/null /etc/$f; done; exec "$@"`
	cmd.Argv = append([]string{"unshare", "--mount", "/bin/sh", "-c", script, "sh"}, cmd.Argv...)
	return h.Host.Run(ctx, cmd)
}

// TestMachineWithoutNames initialises MariaDB where no name can be looked up, as in a fresh chroot without /etc/hosts.
func TestMachineWithoutNames(t *testing.T) {
	infratest.Real(t)
	if os.Geteuid() != 0 {
		t.Fatal("hiding /etc/hosts takes root, as labs do: run make test as root")
	}
	in, err := dbserver.Find(t.Context(), infratest.Here(t), dbserver.MariaDB, filepath.Join(infratest.Root(t), ".local"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := dbserver.Template(t.Context(), withoutNames{infratest.Here(t)}, in, t.TempDir()); err != nil {
		t.Fatal(err)
	}
}

// TestBootstrap initialises MariaDB without its installer, as it is done for one in a tree.
func TestBootstrap(t *testing.T) {
	infratest.Real(t)
	in, err := dbserver.Find(t.Context(), infratest.Here(t), dbserver.MariaDB, filepath.Join(infratest.Root(t), ".local"))
	if err != nil {
		t.Fatal(err)
	}
	tables, err := filepath.Glob(filepath.Join(filepath.Dir(filepath.Dir(in.Path())), "share/*/mysql_system_tables.sql"))
	if err != nil || len(tables) == 0 {
		t.Fatalf("the SQL of %s: got %q, %v", in.Path(), tables, err)
	}
	cache := t.TempDir()
	in = in.Bootstrapped(filepath.Dir(tables[0]))
	template, err := dbserver.Template(t.Context(), infratest.Here(t), in, cache)
	if err != nil {
		t.Fatal(err)
	}
	inst := createFrom(t, in, template, filepath.Join(t.TempDir(), "db"))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := inst.WaitReady(ctx, start(t, inst)); err != nil {
		t.Fatal(err)
	}
	conn, err := mysql.NewConnector(inst.RootDSN("sys"))
	if err != nil {
		t.Fatal(err)
	}
	db := sql.OpenDB(conn)
	defer db.Close()
	var strangers int
	err = db.QueryRow("SELECT COUNT(*) FROM mysql.user WHERE user = '' OR host NOT IN ('localhost', '127.0.0.1')").Scan(&strangers)
	if err != nil || strangers > 0 {
		t.Errorf("accounts that are not of this machine: got %d, %v; want none", strangers, err)
	}
	if left, err := filepath.Glob(filepath.Join(cache, "*.sql")); err != nil || len(left) > 0 {
		t.Errorf("left in the cache: %q, %v", left, err)
	}
}

// start runs an instance; ended is closed when it ends.
func start(t *testing.T, inst *dbserver.Instance) (ended chan struct{}) {
	t.Helper()
	argv := inst.Command()
	cmd := exec.Command(argv[0], argv[1:]...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended = make(chan struct{})
	go func() { defer close(ended); cmd.Wait() }()
	t.Cleanup(func() { cmd.Process.Kill(); <-ended })
	return ended
}

func TestInstance(t *testing.T) {
	for _, engine := range infratest.Engines(t) {
		// In a directory as deep as this, the path of a socket is longer than its address can hold.
		for name, dir := range map[string]string{"short": "db", "deep": strings.Repeat("deep/", 20) + "db"} {
			t.Run(engine+" "+name, func(t *testing.T) {
				inst := create(t, engine, filepath.Join(t.TempDir(), dir))
				if (inst.Socket == "") != (name == "deep") {
					t.Errorf("socket: got %q", inst.Socket)
				}
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				if err := inst.WaitReady(ctx, start(t, inst)); err != nil {
					t.Fatal(err)
				}
				addresses := []*mysql.Config{inst.RootDSN("of_init_sql")}
				if inst.Socket != "" {
					socket := inst.RootDSN("of_init_sql")
					socket.Net, socket.Addr = "unix", inst.Socket
					addresses = append(addresses, socket)
				}
				for _, cfg := range addresses {
					conn, err := mysql.NewConnector(cfg)
					if err != nil {
						t.Fatal(err)
					}
					db := sql.OpenDB(conn)
					var charset string
					if err := db.QueryRow("SELECT @@character_set_server").Scan(&charset); err != nil || charset != "utf8mb4" {
						t.Errorf("character set over %s: got %q, %v; want utf8mb4", cfg.Net, charset, err)
					}
					db.Close()
				}
				for _, file := range []string{inst.PasswordFile(), filepath.Join(inst.Dir, "init.sql")} {
					if st, err := os.Stat(file); err != nil || st.Mode().Perm() != 0o600 {
						t.Errorf("%s: got mode %v, %v; want 0600", file, st.Mode(), err)
					}
				}
				if st, err := os.Stat(inst.Dir); err != nil || st.Mode().Perm() != 0o700 {
					t.Errorf("%s: got mode %v, %v; want 0700", inst.Dir, st.Mode(), err)
				}
			})
		}
	}
}

// TestWaitReadySaysWhy: a server that dies is reported immediately, with the end of its log.
func TestWaitReadySaysWhy(t *testing.T) {
	for _, engine := range infratest.Engines(t) {
		t.Run(engine, func(t *testing.T) {
			inst := create(t, engine, filepath.Join(t.TempDir(), "db"), "--no-such-option=1")
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			err := inst.WaitReady(ctx, start(t, inst))
			if err == nil || !strings.Contains(err.Error(), "exited before it answered") || !strings.Contains(err.Error(), "no-such-option") {
				t.Errorf("WaitReady: got error %v, want one that tells of no-such-option", err)
			}
		})
	}
}

// TestPortTaken: the log of the server tells so, on both engines.
func TestPortTaken(t *testing.T) {
	for _, engine := range infratest.Engines(t) {
		t.Run(engine, func(t *testing.T) {
			db := infratest.StartDB(t, engine)
			inst := create(t, engine, filepath.Join(t.TempDir(), "db"), "--port="+strings.Split(db.Addr(), ":")[1])
			<-start(t, inst)
			if !inst.PortTaken() {
				t.Errorf("PortTaken: got false; log:\n%s", inst.LogTail(20))
			}
		})
	}
}
