package infra_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"isukit/infra"
	"isukit/infra/host"
	"isukit/infra/host/cgroup"
	"isukit/infra/host/machine"
	"isukit/infra/host/proc"
	"isukit/infra/infratest"
	"isukit/infra/infratest/wait"
	"isukit/infra/topology"
)

// app is the app's binary, built by the first test that needs it; TestMain removes it.
var app struct {
	once sync.Once
	dir  string
	err  error
}

func buildApp(t *testing.T) string {
	t.Helper()
	app.once.Do(func() {
		if app.dir, app.err = os.MkdirTemp("", "isukit-app-"); app.err != nil {
			return
		}
		out, err := exec.Command("go", "build", "-o", app.dir, "isukit/cmd/isukit-app").CombinedOutput()
		if err != nil {
			app.err = fmt.Errorf("build the app: %w\n%s", err, out)
		}
	})
	if app.err != nil {
		t.Fatal(app.err)
	}
	return filepath.Join(app.dir, "isukit-app")
}

func spec(t *testing.T, engine, proxy string) infra.Spec {
	t.Helper()
	top, err := infra.Shipped("single")
	if err != nil {
		t.Fatal(err)
	}
	if top, err = top.WithKind(topology.DB, topology.Kind(engine)); err != nil {
		t.Fatal(err)
	}
	if top, err = top.WithKind(topology.Proxy, topology.Kind(proxy)); err != nil {
		t.Fatal(err)
	}
	stateDir, err := os.MkdirTemp("", "isu")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(stateDir) })
	return infra.Spec{
		Topology: top, StateDir: stateDir, LocalDir: filepath.Join(infratest.Root(t), ".local"), AppBinary: buildApp(t),
		HealthLimit: 5 * wait.Limit, Scale: "small", Seed: 1, Progress: func(step string) { t.Log(step) },
	}
}

// upped is a topology on hosts that end with it.
type upped struct {
	*infra.Running
	Down func(context.Context) error
}

// up makes a topology run, as a round does.
func up(ctx context.Context, spec infra.Spec) (*upped, error) {
	driver, err := machine.OpenLocal(machine.Options{StateDir: spec.StateDir})
	if err != nil {
		return nil, err
	}
	site := infra.NewSite(driver, spec)
	if _, err = site.Apply(ctx, infra.ApplyOptions{}); err == nil {
		var r *infra.Running
		if r, err = site.Running(ctx); err == nil {
			return &upped{r, driver.Close}, nil
		}
	}
	return nil, errors.Join(err, driver.Close(context.WithoutCancel(ctx)))
}

func TestUp(t *testing.T) {
	t.Parallel()
	for _, engine := range infratest.Engines(t) {
		spec := spec(t, engine, "nginx") // one state directory: the second finds the data prepared
		for _, proxy := range []topology.Kind{topology.Nginx, topology.Envoy} {
			t.Run(fmt.Sprintf("%s behind %s", engine, proxy), func(t *testing.T) {
				spec := spec
				var err error
				if spec.Topology, err = spec.Topology.WithKind(topology.Proxy, proxy); err != nil {
					t.Fatal(err)
				}
				port, err := host.FreePort()
				if err != nil {
					t.Fatal(err)
				}
				for n, i := range spec.Topology.Instances {
					spec.Topology.Instances[n].Sizes = topology.Sizes{Files: 3000, GOMAXPROCS: 3, Workers: 3}
					if i.Role == topology.Proxy {
						spec.Topology.Instances[n].Sizes.Port = port
					}
				}
				spec.Progress = func(step string) { t.Log(step) }
				testUp(t, spec, fmt.Sprintf("http://127.0.0.1:%d", port))
			})
		}
	}
}

func testUp(t *testing.T, spec infra.Spec, url string) {
	ctx := t.Context()
	before := envoyMemory(t)
	r, err := up(ctx, spec)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Down(context.WithoutCancel(ctx))
	if r.BaseURL != url {
		t.Errorf("the portal is at %s, the topology says %s", r.BaseURL, url)
	}
	for _, tt := range []struct{ method, path string }{
		{http.MethodPost, "/initialize"}, {http.MethodGet, "/api/contest"}, {http.MethodGet, "/"},
	} {
		req, err := http.NewRequestWithContext(ctx, tt.method, r.BaseURL+tt.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/protobuf")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Errorf("%s %s: got status %d, body %q, error %v; want 200", tt.method, tt.path, resp.StatusCode, body, err)
		}
	}

	pids, err := r.PIDs(ctx)
	if err != nil {
		t.Fatal(err)
	}
	wantSizes(t, pids)
	for _, f := range r.Facts {
		if f.Value == "" {
			t.Errorf("fact %s is empty", f.Key)
		}
	}
	t.Log(r.Facts)

	dir := t.TempDir()
	saved, err := r.SaveLogs(ctx, dir)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(saved, func(a infra.Artifact) bool { return a.Path == "proxy-1/access.log" && a.SizeBytes > 0 }) {
		t.Errorf("SaveLogs: got %v, want proxy-1/access.log among them", saved)
	}
	if err := r.Down(ctx); err != nil {
		t.Fatal(err)
	}
	wantClean(t, spec.StateDir, pids)
	if after := envoyMemory(t); len(after) > len(before) {
		t.Errorf("shared memory of Envoy is left: %q, before there was %q", after, before)
	}
	secretsIn(t, dir, r.WorkerToken)
}

// wantSizes holds that processes have the sizes that TestUp's topology gives them.
func wantSizes(t *testing.T, pids map[string][]int) {
	t.Helper()
	read := func(instance, file string) string {
		var all string
		for _, pid := range pids[instance] {
			text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, file))
			if err != nil {
				t.Error(err)
			}
			all += strings.ReplaceAll(string(text), "\x00", " ")
		}
		return all
	}
	for name := range pids {
		if limits := strings.Join(strings.Fields(read(name, "limits")), " "); !strings.Contains(limits, "Max open files 3000 3000 ") {
			t.Errorf("%s: limits %q, want 3000 open files", name, limits)
		}
	}
	for _, name := range []string{"web-1", "api-1"} {
		if env := read(name, "environ"); !strings.Contains(env, "GOMAXPROCS=3 ") {
			t.Errorf("%s: got environment %q, want GOMAXPROCS=3", name, env)
		}
	}
	proxy := read("proxy-1", "cmdline")
	if nginx, envoy := strings.Count(proxy, "worker process"), strings.Contains(proxy, "--concurrency 3"); nginx != 3 && !envoy {
		t.Errorf("proxy-1 runs as %q, want 3 workers", proxy)
	}
}

// envoyMemory is what Envoy keeps for a restart that takes over its connections, and does not remove when it ends.
func envoyMemory(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("/dev/shm/envoy_shared_memory_*")
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// wantClean: no process of the run is left, and no run directory.
func wantClean(t *testing.T, stateDir string, pids map[string][]int) {
	t.Helper()
	for name, list := range pids {
		for _, pid := range list {
			// A process that has ended may wait for its heir.
			if st, err := proc.Read(pid); err == nil && st.State != 'Z' && st.State != 'X' {
				t.Errorf("process %d of %s: got state %c, want it gone", pid, name, st.State)
			}
		}
	}
	runs, err := os.ReadDir(filepath.Join(stateDir, "runs"))
	if err != nil || len(runs) > 0 {
		t.Errorf("run directories: got %v (%v), want none", runs, err)
	}
}

func secretsIn(t *testing.T, dir, secret string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		if strings.Contains(string(text), secret) {
			t.Errorf("%s has a secret in it", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestUpInAControlGroup: servers get sizes by what the group that isukit runs in may use, as in a container, not by the machine's.
func TestUpInAControlGroup(t *testing.T) {
	t.Parallel()
	infratest.Real(t)
	tree, err := cgroup.Find()
	if err != nil {
		t.Fatal(err)
	}
	enabled, err := tree.Enable()
	if err != nil {
		t.Fatal(err)
	}
	defer tree.Disable(enabled)
	group := tree.Host(fmt.Sprintf("isukit-test-%d", os.Getpid()))
	defer group.Remove()
	if err := errors.Join(group.Make(), group.Limit(cgroup.Limits{CPUs: 0.5, MemoryBytes: 1 << 30})); err != nil {
		t.Fatal(err)
	}
	top, err := infra.Shipped("single")
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(infra.Spec{Topology: top, StateDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sh", "-c", `read -r _ && exec "$0"`, os.Args[0])
	cmd.Env = append(os.Environ(), helperEnv+"="+string(text), machineEnv+"=1")
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	goOn, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	err = group.Add(cmd.Process.Pid)
	_, writeErr := io.WriteString(goOn, "go\n")
	if err := errors.Join(err, writeErr, cmd.Wait()); err != nil {
		t.Fatalf("%v: %s", err, out.String())
	}
	if want := "{0.5 1073741824} <nil>\n"; out.String() != want {
		t.Errorf("in a group with half a CPU and 1 GiB Up goes by %q, want %q", out.String(), want)
	}
}
