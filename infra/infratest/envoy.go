package infratest

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

// Envoy is a private Envoy that belongs to a test.
type Envoy struct {
	URL   string // http://127.0.0.1:PORT
	Admin string // http://127.0.0.1:PORT of its admin page
	Dir   string // its directory, in which it runs: envoy.yaml, access.log, output.log

	tb   testing.TB
	proc *process
}

// envoyConf has what tunings change: an access log, a filter, and connections to an upstream.
const envoyConf = `# as it was found
admin:
  address: {socket_address: {address: 127.0.0.1, port_value: %d}}
static_resources:
  listeners:
    - name: portal
      address: {socket_address: {address: 127.0.0.1, port_value: %d}}
      filter_chains:
        - filters:
            - name: envoy.filters.network.http_connection_manager
              typed_config:
                "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
                stat_prefix: portal
                access_log: # one line per request
                  - name: envoy.access_loggers.file
                    typed_config:
                      "@type": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog
                      path: access.log
                http_filters:
                - name: envoy.filters.http.lua
                  typed_config:
                    "@type": type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua
                    default_source_code:
                      inline_string: |
                        function envoy_on_request(handle)
                          --[[
                          # no comment of YAML's
                          ]]
                          if handle:headers():get(":path") == "/lua" then handle:respond({[":status"] = "204"}, "") end
                        end

                # the last one
                - name: envoy.filters.http.router
                  typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}
                route_config:
                  virtual_hosts:
                    - name: portal
                      domains: ["*"]
                      routes:
                        - match: {prefix: /web}
                          route: {cluster: web}
                        - match: {prefix: /}
                          direct_response: {status: 200, body: {inline_string: "hello\n"}}
  clusters:
    - name: web
      type: STATIC
      typed_extension_protocol_options:
        envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
          "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
          explicit_http_config: {http_protocol_options: {}}
          common_http_protocol_options:   {idle_timeout: 60s} # as the app's
      load_assignment: {cluster_name: web, endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: %d}}}}]}]}
`

// StartEnvoy starts an Envoy on free ports of 127.0.0.1 that answers every path, /web from the given port, and returns when it does. It is
// stopped and its directory removed when tb ends. Any failure fails tb.
func StartEnvoy(tb testing.TB, upstreamPort int) *Envoy {
	tb.Helper()
	Real(tb)
	e := &Envoy{Dir: shortTempDir(tb), tb: tb}
	port, admin := FreePort(tb), FreePort(tb)
	e.URL, e.Admin = fmt.Sprintf("http://127.0.0.1:%d", port), fmt.Sprintf("http://127.0.0.1:%d", admin)
	if err := os.WriteFile(e.Conf(), fmt.Appendf(nil, envoyConf, admin, port, upstreamPort), 0o644); err != nil {
		tb.Fatal(err)
	}
	if err := e.start(tb.Context()); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := e.proc.end(syscall.SIGTERM, stopLimit); err != nil {
			tb.Errorf("stop envoy: %v", err)
		}
	})
	return e
}

// FindEnvoy is the path of envoy. A missing one fails tb.
func FindEnvoy(tb testing.TB) string {
	tb.Helper()
	if path, err := exec.LookPath("envoy"); err == nil {
		return path
	}
	path := filepath.Join(localDir(tb), "envoy/bin/envoy")
	if _, err := os.Stat(path); err != nil {
		tb.Fatal("envoy is not installed (hint: make envoy)")
	}
	return path
}

// Conf is its configuration file.
func (e *Envoy) Conf() string { return filepath.Join(e.Dir, "envoy.yaml") }

// PID is its process.
func (e *Envoy) PID() int { return e.proc.pid() }

// Argv is its program and the options that it was started with.
func (e *Envoy) Argv() []string { return []string{FindEnvoy(e.tb), "-c", e.Conf()} }

// Restart ends it and starts it again with its file as it is now.
func (e *Envoy) Restart(ctx context.Context) error {
	if err := e.proc.end(syscall.SIGTERM, stopLimit); err != nil {
		return err
	}
	return e.start(ctx)
}

func (e *Envoy) start(ctx context.Context) (err error) {
	log := filepath.Join(e.Dir, "output.log")
	argv := append([]string{"sh", "-c", `cd "$0" && exec "$@"`, e.Dir}, e.Argv()...)
	e.proc, err = startProcess(append(argv, "--disable-hot-restart", "--concurrency", "1", "--log-level", "warn"), log, syscall.SIGTERM)
	if err != nil {
		return err
	}
	err = e.proc.ready(ctx, func() error {
		resp, err := http.Get(e.URL)
		if err == nil {
			resp.Body.Close()
		}
		return err
	})
	if err != nil {
		text, _ := os.ReadFile(log)
		return fmt.Errorf("start envoy: %w:\n%s", err, text)
	}
	return nil
}
