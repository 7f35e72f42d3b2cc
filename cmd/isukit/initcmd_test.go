package main

import (
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/pprof"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"isukit/cmd/internal/ui"
	"isukit/infra/infratest"
)

// TestInitSeesWhatRuns looks at an nginx that was started with a configuration of its own, and at an app with profiles.
func TestInitSeesWhatRuns(t *testing.T) {
	infratest.Real(t)
	dir := t.TempDir()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
	l.Close()
	conf := filepath.Join(dir, "own.conf")
	write(t, conf, "pid "+dir+"/pid;\nerror_log "+dir+"/error.log;\nevents {}\nhttp {\nlog_format timed '$request $request_time';\naccess_log "+dir+
		"/own.log timed;\nclient_body_temp_path "+dir+"/a; proxy_temp_path "+dir+"/b; fastcgi_temp_path "+dir+"/c; uwsgi_temp_path "+dir+"/d; scgi_temp_path "+dir+
		"/e;\nserver { listen 127.0.0.1:"+port+"; }\n}\n")
	path, err := exec.LookPath("nginx")
	if err != nil {
		t.Fatal(err)
	}
	nginx := exec.Command(path, "-c", conf, "-p", dir, "-g", "daemon off;")
	if err := nginx.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = nginx.Process.Signal(os.Interrupt); _ = nginx.Wait() }()
	waitForPort(t, port)
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	app := httptest.NewServer(mux)
	defer app.Close()

	code, out, errText := isukitIn(t, "", "init", "--print")
	if code != ui.ExitOK {
		t.Fatalf("exit %d: %s", code, errText)
	}
	for _, want := range []string{dir + "/own.log", "-c " + conf + " -p " + dir + " -s reopen", "log_format timed", app.URL} {
		if !strings.Contains(out, want) {
			t.Errorf("the draft lacks %q:\n%s", want, out)
		}
	}
}

// TestInitPortal plays a round of the reference app by the description that init writes for it.
func TestInitPortal(t *testing.T) {
	t.Parallel()
	infratest.Real(t)
	program, env, stateDir := topologyEnv(t)
	dir := t.TempDir()
	run := func(args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), program, args...)
		cmd.Dir, cmd.Env = dir, append(env, "PATH="+filepath.Dir(program)+":"+os.Getenv("PATH"), "ISUKIT_YES=1", "ISUKIT_DURATION=2s")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("isukit %s: %v\n%s", strings.Join(args, " "), err, out)
		}
		return string(out)
	}
	run("init", "--portal")
	if out := run("round", "--json"); !strings.Contains(out, `"passed": true`) {
		t.Errorf("the round:\n%s", out)
	}
	run("final", "--rounds", "1")
	// Its roles and topologies are as those of any description.
	if out := run("topology", "ls"); !strings.Contains(out, "final-2") || strings.Count(out, "of isukit.yaml") != strings.Count(out, "\n")-1 {
		t.Errorf("the topologies of the file:\n%s", out)
	}
	if out := run("topology", "show", "https"); !strings.Contains(out, "proxy:local") {
		t.Errorf("show:\n%s", out)
	}
	if out := run("topology", "diff", "single", "https"); !strings.Contains(out, "proxy-1: local, nginx -> local, nginx, tls") {
		t.Errorf("diff:\n%s", out)
	}
	run("topology", "apply", "https")
	if out := run("topology", "status"); !strings.Contains(out, "topology https") || !strings.Contains(out, "https://") {
		t.Errorf("status:\n%s", out)
	}
	run("topology", "verify")
	if out := run("tune", "diff", "nginx/keepalive"); !strings.Contains(out, "proxy-1") {
		t.Errorf("tune diff:\n%s", out)
	}
	if out := run("round", "-t", "https", "--driver", "local", "--json", "-q"); !strings.Contains(out, `"passed": true`) || !strings.Contains(out, `"topology": "https"`) {
		t.Errorf("a round of another topology:\n%s", out)
	}
	run("topology", "down", "--driver", "local")
	wantNothingLeft(t, stateDir, nil)
}
