package render_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	"github.com/goccy/go-yaml"
	"google.golang.org/protobuf/encoding/protojson"

	// The types that the template's typed_config entries name.
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/file/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/lua/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/resource_monitors/downstream_connections/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"

	"isukit/infra/infratest"
	"isukit/infra/render"
	"isukit/infra/topology"
)

// TestEnvoyTypes holds the rendered file against Envoy's own API types: no unknown field, no value out of bounds.
func TestEnvoyTypes(t *testing.T) {
	files, err := render.Files(input(t, parse(t, two), "/run/isukit", "10.0.0.9", 8000), "s2")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if filepath.Base(f.Path) != render.EnvoyConf {
			continue
		}
		if err := checkEnvoy(f.Data); err != nil {
			t.Errorf("%s: %v", f.Path, err)
		}
		wrong := strings.Replace(string(f.Data), "tcp_backlog_size:", "tcp_backlog_sise:", 1)
		if err := checkEnvoy([]byte(wrong)); err == nil {
			t.Error("a misspelt field was not refused: this test can't fail")
		}
		return
	}
	t.Fatalf("no %s among %d files", render.EnvoyConf, len(files))
}

func checkEnvoy(text []byte) error {
	asJSON, err := yaml.YAMLToJSON(text)
	if err != nil {
		return err
	}
	var b bootstrapv3.Bootstrap
	if err := protojson.Unmarshal(asJSON, &b); err != nil {
		return err
	}
	return b.ValidateAll()
}

// proxies starts a proxy of each kind on rendered files in front of a substitute for web and api that answers with its name, and calls test
// with the proxy's URL and directory.
func proxies(t *testing.T, test func(t *testing.T, base, dir string, stop func())) {
	infratest.Real(t)
	for _, kind := range []topology.Kind{topology.Nginx, topology.Envoy} {
		t.Run(string(kind), func(t *testing.T) {
			base, dir, stop := startProxy(t, kind)
			test(t, base, dir, stop)
		})
	}
}

func standIn(t *testing.T, role string) render.Place {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Has("sleep") {
			time.Sleep(500 * time.Millisecond)
		}
		w.Header().Set("Connection-From", r.RemoteAddr)
		if r.URL.Path == "/api/leaderboard" {
			now := time.Now().UnixMilli()
			w.Header().Set("ETag", fmt.Sprintf(`"%d"`, now))
			fmt.Fprintf(w, "%s %d", r.URL.RawQuery, now)
			return
		}
		fmt.Fprintf(w, "%s %s %s", role, r.Proto, r.URL.Path)
	}))
	t.Cleanup(srv.Close)
	u, err := url.Parse(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.Atoi(u.Port())
	if err != nil {
		t.Fatal(err)
	}
	return render.Place{Address: u.Hostname(), Port: port}
}

func startProxy(t *testing.T, kind topology.Kind) (base, dir string, stop func()) {
	t.Helper()
	top := parse(t, `{name: t, hosts: [{name: s1, address: 127.0.0.1}], roles: {
		proxy: [{host: s1}], web: [{host: s1}], api: [{host: s1}], db: [{host: s1, engine: mysql}]}}`)
	top, err := top.WithKind(topology.Proxy, kind)
	if err != nil {
		t.Fatal(err)
	}
	run := t.TempDir()
	in := input(t, top, run, "127.0.0.1", 1)
	in.Root = os.Geteuid() == 0
	place := in.Places["proxy-1"]
	place.Port, place.DebugPort = infratest.FreePort(t), infratest.FreePort(t)
	in.Places["proxy-1"] = place
	in.Places["web-1"], in.Places["api-1"] = standIn(t, "web"), standIn(t, "api")
	files, err := render.Files(in, "s1")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if filepath.Dir(f.Path) == place.Dir {
			write(t, f.Path, f.Data)
		}
	}
	for name, f := range page {
		write(t, filepath.Join(in.StaticDir, name), f.Data)
	}
	write(t, filepath.Join(place.Dir, "tmp/keep"), nil)

	argv, check := proxyCommand(t, kind, place.Dir)
	if out, err := exec.Command(check[0], check[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(check, " "), err, out)
	}
	base = fmt.Sprintf("http://127.0.0.1:%d", place.Port)
	stop = infratest.StartProcess(t, argv, filepath.Join(place.Dir, "output.log"), map[topology.Kind]syscall.Signal{
		topology.Nginx: syscall.SIGQUIT, topology.Envoy: syscall.SIGTERM,
	}[kind], func() error {
		resp, err := http.Get(base + "/")
		if err == nil {
			resp.Body.Close()
		}
		return err
	})
	return base, place.Dir, stop
}

// proxyCommand is how a proxy is started on its rendered files, and how it is asked whether it would take them.
func proxyCommand(t *testing.T, kind topology.Kind, dir string) (run, check []string) {
	t.Helper()
	conf := filepath.Join(dir, render.NginxConf)
	if kind == topology.Nginx {
		run = []string{infratest.FindNginx(t), "-p", dir, "-c", conf, "-e", filepath.Join(dir, "error.log")}
		return run, append(append([]string{}, run...), "-t")
	}
	envoy := filepath.Join(infratest.Root(t), ".local/envoy/bin/envoy")
	if path, err := exec.LookPath("envoy"); err == nil {
		envoy = path
	}
	run = []string{envoy, "-c", filepath.Join(dir, render.EnvoyConf), "--disable-hot-restart", "--concurrency", "1", "--log-level", "warn"}
	return run, append(append([]string{}, run...), "--mode", "validate")
}

func write(t *testing.T, file string, data []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

func get(t *testing.T, url string, header ...string) (status int, body string, h http.Header) {
	t.Helper()
	req, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b), resp.Header
}

func TestProxyRoutes(t *testing.T) {
	proxies(t, func(t *testing.T, base, _ string, _ func()) {
		for _, tt := range []struct {
			path   string
			status int
			body   string
		}{
			{"/api/teams", 200, "web HTTP/1.1 /api/teams"},
			{"/initialize", 200, "web HTTP/1.1 /initialize"},
			{"/worker/jobs/receive", 200, "api HTTP/1.1 /worker/jobs/receive"},
			{"/", 200, "<!doctype html>hello"},
			{"/index.html", 200, "<!doctype html>hello"},
			{"/app.css", 200, "body{}"},
		} {
			status, body, _ := get(t, base+tt.path)
			if status != tt.status || body != tt.body {
				t.Errorf("GET %s: got %d %q, want %d %q", tt.path, status, body, tt.status, tt.body)
			}
		}
		if status, _, _ := get(t, base+"/nothing.js"); status != http.StatusNotFound {
			t.Errorf("GET /nothing.js: got status %d, want 404", status)
		}
		_, _, h := get(t, base+"/app.css")
		etag := h.Get("ETag")
		if status, body, _ := get(t, base+"/app.css", "If-None-Match", etag); status != http.StatusNotModified || body != "" {
			t.Errorf("GET /app.css with If-None-Match %s: got %d %q, want 304 without body", etag, status, body)
		}
		if got := h.Get("Content-Type"); !strings.HasPrefix(got, "text/css") {
			t.Errorf("Content-Type of /app.css: got %q, want text/css", got)
		}
	})
}

// TestProxyKeepsUpstreamConnections: many requests one after another come over one connection to the app.
func TestProxyKeepsUpstreamConnections(t *testing.T) {
	proxies(t, func(t *testing.T, base, _ string, _ func()) {
		from := map[string]bool{}
		const requests = 50
		for range requests {
			_, _, h := get(t, base+"/api/x")
			from[h.Get("Connection-From")] = true
		}
		// One worker or thread may take over from another, each with connections of its own.
		if len(from) > 8 {
			t.Errorf("%d requests came over %d upstream connections, want a few", requests, len(from))
		}
	})
}

// TestProxyAccessLog: after a clean stop the log has every request, as JSON, with its times.
func TestProxyAccessLog(t *testing.T) {
	proxies(t, func(t *testing.T, base, dir string, stop func()) {
		get(t, base+"/api/slow?sleep", "User-Agent", `a "quoted" agent`)
		stop()
		text, err := os.ReadFile(filepath.Join(dir, "access.log"))
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(strings.TrimSpace(string(text)), "\n")
		var got struct {
			URI              string  `json:"uri"`
			Status           int     `json:"status"`
			UserAgent        string  `json:"user_agent"`
			RequestTime      float64 `json:"request_time"`
			RequestTimeMilli float64 `json:"request_time_ms"`
		}
		last := lines[len(lines)-1]
		if err := yaml.Unmarshal([]byte(last), &got); err != nil {
			t.Fatalf("last line %q: %v", last, err)
		}
		if got.URI != "/api/slow?sleep" || got.Status != 200 || got.UserAgent != `a "quoted" agent` {
			t.Errorf("last line of access.log: got %s, want /api/slow?sleep answered 200 for the quoted agent", last)
		}
		if seconds := got.RequestTime + got.RequestTimeMilli/1000; seconds < 0.4 || seconds > 10 {
			t.Errorf("request time in %s: got %v s, want about 0.5 s", last, seconds)
		}
	})
}
