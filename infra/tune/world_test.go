package tune_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	_ "github.com/go-sql-driver/mysql"

	enginemysql "isukit/infra/engine/mysql"
	"isukit/infra/host"
	"isukit/infra/host/machine"
	"isukit/infra/infratest"
	"isukit/infra/tune"
)

// world is one target of each kind, described so that another process can open the same.
type world struct {
	State, Namespace, Own string // directory of the records; network namespace of the kernel, and that of the test
	BootRoot, DropIn      string
	PID                   int // whose limits are tuned
	NginxDir              string
	NginxArgv             []string
	NginxPID              int
	EnvoyConf             string
	EnvoyArgv             []string
	envoy                 *infratest.Envoy
	Databases             []worldDB
	RestartURL            string      // restarts a server, as systemd would: the calling process may be killed meanwhile
	restarting            *sync.Mutex // held during a restart
	// What another process is to do.
	Revert bool
	Names  []string
}

type worldDB struct {
	Engine, DSN, File string
	Command           []string
}

// newWorld starts everything. Values that were set while a server runs differ from its file, as on a host that others use, too.
func newWorld(t *testing.T, engines ...string) (*world, []*infratest.DB) {
	t.Helper()
	ns := namespace(t, local(t))
	w := &world{State: t.TempDir(), Namespace: ns.name, Own: ownNamespace(t), BootRoot: t.TempDir(), restarting: &sync.Mutex{}}
	w.DropIn = filepath.Join(w.State, "web.service.d/isukit.conf")
	w.commands(t)
	sleeper := exec.Command("prlimit", "--nofile=64:16384", "sleep", "3600")
	if err := sleeper.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { sleeper.Process.Kill(); sleeper.Wait() })
	w.PID = sleeper.Process.Pid
	for w.limit(t) != "64 16384" {
	}
	n := infratest.StartNginx(t, "upstream web { server 127.0.0.1:9; }", "location / { return 204; } location = /api/leaderboard { proxy_pass http://web; proxy_cache off; }")
	w.NginxDir, w.NginxPID = n.Dir, n.PID()
	w.NginxArgv = []string{infratest.FindNginx(t), "-p", n.Dir, "-c", filepath.Join(n.Dir, "nginx.conf"), "-e", filepath.Join(n.Dir, "error.log")}
	w.envoy = infratest.StartEnvoy(t, envoyConf, 9)
	w.EnvoyConf, w.EnvoyArgv = w.envoy.Conf(), w.envoy.Argv()
	var dbs []*infratest.DB
	for _, engine := range engines {
		file := filepath.Join(t.TempDir(), "my.cnf")
		if err := os.WriteFile(file, []byte("# as it was found\n[mysqld]\nmax_connections = 120\nperformance_schema = OFF\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		db := infratest.StartDBWith(t, engine, file)
		db.Exec(t, "SET GLOBAL max_connections = 77", "SET GLOBAL long_query_time = 3", "SET GLOBAL net_read_timeout = 41")
		if engine == "mysql" {
			db.Exec(t, "SET PERSIST innodb_io_capacity = 300")
		}
		dbs = append(dbs, db)
		w.Databases = append(w.Databases, worldDB{engine, db.RootDSN(""), file, db.Command()})
	}
	w.serveRestarts(t, dbs)
	return w, dbs
}

// commands are those that this machine has not: they are not what is tested.
func (w *world) commands(t *testing.T) {
	t.Helper()
	bin := t.TempDir()
	for _, name := range []string{"update-grub", "systemctl"} {
		infratest.Program(t, filepath.Join(bin, name), "#!/bin/sh\nexit 0\n")
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	if err := os.MkdirAll(filepath.Join(w.BootRoot, "proc"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(w.BootRoot, "proc/cmdline"), []byte("quiet mitigations=off\n"), 0o644); err != nil {
		t.Fatal(err)
	}
}

func (w *world) serveRestarts(t *testing.T, dbs []*infratest.DB) {
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.restarting.Lock()
		defer w.restarting.Unlock()
		switch r.FormValue("engine") {
		case "envoy":
			if err := w.envoy.Restart(context.Background()); err != nil {
				http.Error(rw, err.Error(), http.StatusInternalServerError)
			}
			return
		case "envoy's pid":
			fmt.Fprint(rw, w.envoy.PID())
			return
		}
		i := slices.IndexFunc(dbs, func(db *infratest.DB) bool { return db.Engine == r.FormValue("engine") })
		if i < 0 { // who asked was killed before all of it was said
			return
		}
		if err := dbs[i].TryRestart(context.Background()); err != nil {
			http.Error(rw, err.Error(), http.StatusInternalServerError)
		}
	}))
	t.Cleanup(server.Close)
	w.RestartURL = server.URL
}

// settled waits until no restart is under way that somebody asked for who was killed since.
func (w *world) settled() {
	time.Sleep(100 * time.Millisecond) // until a request that was sent has arrived
	w.restarting.Lock()
	defer w.restarting.Unlock()
}

func (w *world) restart(engine string) (said string, err error) {
	resp, err := http.PostForm(w.RestartURL, url.Values{"engine": {engine}})
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if resp.StatusCode != http.StatusOK {
		return "", errors.New(string(text))
	}
	return string(text), err
}

// targets opens everything.
func (w *world) targets(h host.Host) (list []*tune.Target, closeAll func(), err error) {
	place := func(name string, at host.Host) tune.Place {
		return tune.Place{Name: name, Host: at, StateDir: w.State, Sizes: tune.Sizes{MemoryBytes: 512 << 20, CPUs: 2, Shared: true}}
	}
	ns := inNamespace{h, w.Namespace}
	list = []*tune.Target{
		tune.NewKernel(place("s1", ns), tune.KernelConfig{Namespace: w.Own, File: filepath.Join(w.State, "sysctl.d/99-isukit.conf")}),
		tune.NewLink(place("s1", ns), tune.LinkConfig{}),
		tune.NewBoot(place("s1", h), tune.BootConfig{Root: w.BootRoot}),
		tune.NewLimits(place("web-1", h), tune.LimitsConfig{DropIn: w.DropIn, PIDs: func(context.Context) ([]int, error) { return []int{w.PID}, nil }}),
		tune.NewNginx(place("proxy-1", h), tune.NginxConfig{Conf: w.conf(), Argv: w.NginxArgv, PID: func(context.Context) (int, error) { return w.NginxPID, nil }}),
		tune.NewEnvoy(place("proxy-2", h), tune.EnvoyConfig{Conf: w.EnvoyConf, Argv: w.EnvoyArgv,
			PID: func(context.Context) (int, error) {
				said, err := w.restart("envoy's pid")
				if err != nil {
					return 0, err
				}
				return strconv.Atoi(said)
			},
			Restart: func(context.Context) error { _, err := w.restart("envoy"); return err }}),
	}
	var pools []*sql.DB
	for _, db := range w.Databases {
		pool, err := sql.Open("mysql", db.DSN)
		if err != nil {
			return nil, nil, err
		}
		pools = append(pools, pool)
		list = append(list, tune.NewDatabase(place(db.Engine, h), tune.DatabaseConfig{Query: enginemysql.SQL{DB: pool}, File: db.File, Command: db.Command,
			Restart: func(context.Context) error { _, err := w.restart(db.Engine); return err }}))
	}
	return list, func() {
		for _, p := range pools {
			p.Close()
		}
	}, nil
}

func (w *world) conf() string { return filepath.Join(w.NginxDir, "nginx.conf") }

func (w *world) limit(t testing.TB) string {
	out, err := exec.Command("prlimit", "--pid", itoa(w.PID), "--nofile", "--noheadings", "--raw", "--output", "SOFT,HARD").Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

// snapshot is all settings on every layer of everything, as text.
func (w *world) snapshot(t *testing.T, dbs []*infratest.DB) string {
	t.Helper()
	var b strings.Builder
	b.WriteString(sysctls(t, w.Namespace))
	out, err := exec.Command("ip", "-n", w.Namespace, "-o", "link").Output()
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(&b, "\n%slimit %s\nnginx logs to %v\n", out, w.limit(t), w.openLogs(t))
	for _, file := range []string{w.conf(), w.EnvoyConf, w.DropIn, filepath.Join(w.State, "sysctl.d/99-isukit.conf"), filepath.Join(w.BootRoot, "etc/default/grub.d/99-isukit.cfg")} {
		text, err := os.ReadFile(file)
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "%s: %v\n%s", file, err, text)
	}
	b.WriteString("envoy runs with " + w.envoyRuns(t) + "\n")
	for _, db := range dbs {
		b.WriteString(databaseSnapshot(t, db))
	}
	return b.String()
}

// envoyRuns is what Envoy was started with, as it says itself.
func (w *world) envoyRuns(t *testing.T) string {
	t.Helper()
	resp, err := http.Get(w.envoy.Admin + "/config_dump")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var dump struct {
		Configs []struct {
			Bootstrap struct {
				Static json.RawMessage `json:"static_resources"`
			} `json:"bootstrap"`
		} `json:"configs"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&dump); err != nil || len(dump.Configs) == 0 {
		t.Fatalf("envoy's config_dump: %d configs, %v", len(dump.Configs), err)
	}
	return string(dump.Configs[0].Bootstrap.Static)
}

// openLogs are the logs that nginx's worker writes: those in effect, not those in its file.
func (w *world) openLogs(t *testing.T) (logs []string) {
	t.Helper()
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", w.NginxPID))
	if err != nil {
		t.Fatal(err)
	}
	for _, worker := range strings.Fields(string(children)) {
		if cmdline, _ := os.ReadFile("/proc/" + worker + "/cmdline"); strings.Contains(string(cmdline), "shutting down") {
			continue
		}
		files, _ := filepath.Glob("/proc/" + worker + "/fd/*")
		for _, fd := range files {
			if target, _ := os.Readlink(fd); strings.HasSuffix(target, ".log") && !slices.Contains(logs, target) {
				logs = append(logs, target)
			}
		}
	}
	slices.Sort(logs)
	return logs
}

// helperEnv holds a world for another process.
const helperEnv = "ISUKIT_TUNE_WORLD"

func TestMain(m *testing.M) {
	if text := os.Getenv(helperEnv); text != "" {
		if err := workIn(text); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// workIn applies or reverts in a process that the test may kill.
func workIn(text string) error {
	w := &world{}
	if err := json.Unmarshal([]byte(text), w); err != nil {
		return err
	}
	h, err := machine.OpenHere(filepath.Join(w.State, fmt.Sprint("helper-", os.Getpid())))
	if err != nil {
		return err
	}
	list, _, err := w.targets(h)
	if err != nil {
		return err
	}
	if w.Revert {
		_, err = tune.RevertAll(context.Background(), list, tune.RevertOptions{})
		return err
	}
	c, err := tune.Load(os.DirFS(os.Getenv("ISUKIT_TUNE_ROOT")))
	if err != nil {
		return err
	}
	tunings, err := c.Resolve(w.Names)
	if err != nil {
		return err
	}
	_, err = tune.ApplyAll(context.Background(), when, list, tunings)
	return err
}

// start lets another process apply these tunings, or revert them all.
func (w world) start(t *testing.T, revert bool, names []string) *exec.Cmd {
	t.Helper()
	w.Revert, w.Names = revert, names
	text, err := json.Marshal(w)
	if err != nil {
		t.Fatal(err)
	}
	me, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(me)
	cmd.Env = append(os.Environ(), helperEnv+"="+string(text), "ISUKIT_TUNE_ROOT="+infratest.Root(t))
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd
}

// names of all shipped tunings, in a random order.
func drawn(t *testing.T, rng *rand.Rand) []string {
	var names []string
	for _, tuning := range catalog(t).Tunings {
		names = append(names, tuning.Name)
	}
	rng.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	return names
}
