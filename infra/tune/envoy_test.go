package tune_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"isukit/infra/host"
	"isukit/infra/infratest"
	"isukit/infra/tune"
)

func envoyTarget(h host.Host, e *infratest.Envoy, state string, restart func(context.Context) error) *tune.Target {
	return tune.NewEnvoy(tune.Place{Name: "proxy-1", Host: h, StateDir: state}, tune.EnvoyConfig{Conf: e.Conf(), Argv: e.Argv(),
		PID: func(context.Context) (int, error) { return e.PID(), nil }, Restart: restart})
}

func ask(t *testing.T, url string) int {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode
}

// upstream counts the connections that a proxy makes to it.
func upstream(t *testing.T) (port int, connections *atomic.Int64) {
	t.Helper()
	connections = &atomic.Int64{}
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "web") }))
	srv.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			connections.Add(1)
		}
	}
	srv.Start()
	t.Cleanup(srv.Close)
	return srv.Listener.Addr().(*net.TCPAddr).Port, connections
}

// TestEnvoy sees what each tuning does to a running Envoy, and everything as it was after a revert.
func TestEnvoy(t *testing.T) {
	infratest.Real(t)
	port, connections := upstream(t)
	e := infratest.StartEnvoy(t, envoyConf, port)
	target := envoyTarget(local(t), e, t.TempDir(), e.Restart)
	plant, _ := edit(t, e.Conf(), "path: access.log", "path: site.log") // where measure has to leave it
	plant(t)
	if err := e.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	before, log := read(t, e.Conf()), filepath.Join(e.Dir, "site.log")

	// logged, filtered and made are what one request to each path shows.
	look := func() (logged, filtered bool, made int64) {
		size := func() int64 {
			st, err := os.Stat(log)
			if err != nil {
				return 0
			}
			return st.Size()
		}
		connections.Store(0)
		filtered = ask(t, e.URL+"/lua") == http.StatusNoContent
		for range 4 {
			ask(t, e.URL+"/web")
		}
		made, was := connections.Load(), size()
		// Envoy writes its log from time to time, and all of it at its end.
		if err := e.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
		return size() > was, filtered, made
	}
	for _, step := range []struct {
		tuning           string
		logged, filtered bool
		made             int64
	}{{"", true, true, 1}, {"envoy/logs-off", false, true, 1}, {"envoy/no-keepalive", true, true, 4}, {"envoy/no-cache", true, false, 1}, {"envoy/measure", true, true, 1}} {
		t.Run(strings.TrimPrefix(step.tuning, "envoy/"), func(t *testing.T) {
			if step.tuning != "" {
				report := apply(t, target, step.tuning)
				if !report.Has(tune.Applied) || !report.Has(tune.Settled) || report.Has(tune.Failed, tune.Refused) {
					t.Fatalf("apply:\n%s", show(report))
				}
			}
			logged, filtered, made := look()
			if logged != step.logged || filtered != step.filtered || made != step.made {
				t.Errorf("got logged %t, filtered %t, %d connections for 4 requests; want %+v", logged, filtered, made, step)
			}
			if drift := verify(t, target); len(drift) > 0 {
				// look has restarted Envoy, which is not drift.
				t.Errorf("verify:\n%s", show(drift))
			}
			if back := revert(t, target); back.Has(tune.Left, tune.Failed) {
				t.Errorf("revert:\n%s", show(back))
			}
			if after := read(t, e.Conf()); after != before {
				t.Errorf("after revert:\n%s", firstDifference(before, after))
			}
		})
	}
}

// TestDriftsOfEnvoy plants what verify has to find, and what apply must not do.
func TestDriftsOfEnvoy(t *testing.T) {
	infratest.Real(t)
	e := infratest.StartEnvoy(t, envoyConf, 9)
	target := envoyTarget(local(t), e, t.TempDir(), e.Restart)
	found := read(t, e.Conf())
	apply(t, target, "envoy/logs-off", "envoy/no-keepalive")
	plant, mend := edit(t, e.Conf(), "access_log: []", "access_log: [{name: x}]")
	restart := func(t *testing.T) {
		if err := e.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	const key = "static_resources:listeners:portal:filter_chains:1:filters:envoy.filters.network.http_connection_manager:typed_config:access_log"
	play(t, target, []drift{
		{"the file was edited", plant, mend, key, "isukit set []"},
		{"it runs with an older file", func(t *testing.T) {
			tuned := read(t, e.Conf())
			write(t, e.Conf(), found)
			restart(t)
			write(t, e.Conf(), tuned)
		}, restart, key, "the running Envoy has"},
	})
	revert(t, target)

	t.Run("nothing can restart it", func(t *testing.T) {
		alone := envoyTarget(local(t), e, t.TempDir(), nil)
		if report := apply(t, alone, "envoy/logs-off"); !report.Has(tune.NeedsYou) {
			t.Errorf("apply:\n%s", show(report))
		}
		if drift := verify(t, alone); !drift.Has(tune.Drifted) {
			t.Error("verify does not tell that Envoy was not restarted")
		}
		revert(t, alone)
	})
	t.Run("a file that Envoy refuses is taken back", func(t *testing.T) {
		wrong, err := tune.Parse("wrong.yaml", []byte(strings.Replace(read(t, filepath.Join(infratest.Root(t), "nginx/envoy/logs-off.yaml")), "[]", "[{nonsense: 1}]", 1)))
		if err != nil {
			t.Fatal(err)
		}
		report, err := target.Apply(t.Context(), when, wrong)
		if err != nil || !report.Has(tune.Failed) || read(t, e.Conf()) != found {
			t.Errorf("apply: %v\n%s", err, show(report))
		}
		ask(t, e.URL)
	})
	t.Run("no admin page", func(t *testing.T) {
		write(t, e.Conf(), "static_resources:"+strings.SplitN(found, "static_resources:", 2)[1])
		restart(t)
		if report := apply(t, target, "envoy/no-keepalive"); !report.Has(tune.Applied) || !report.Has(tune.Settled) || report.Has(tune.Refused, tune.Failed) {
			t.Errorf("apply:\n%s", show(report))
		}
		if drift := verify(t, target); len(drift) > 0 {
			t.Errorf("verify:\n%s", show(drift))
		}
		time.Sleep(time.Second) // the file is written well after Envoy was started
		write(t, e.Conf(), read(t, e.Conf()))
		if drift := verify(t, target); !drift.Has(tune.Drifted) || !strings.Contains(show(drift), "was started before") {
			t.Errorf("verify of an Envoy that has not read its file:\n%s", show(drift))
		}
		revert(t, target)
	})
	for name, text := range map[string]string{
		"flow style": "admin: {address: {socket_address: {address: 127.0.0.1, port_value: 1}}}\nstatic_resources: {listeners: []}\n",
		"a tab":      found + "\tx: 1\n",
	} {
		t.Run("refused: "+name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "envoy.yaml")
			write(t, file, text)
			other := tune.NewEnvoy(tune.Place{Name: "x", Host: local(t), StateDir: t.TempDir()}, tune.EnvoyConfig{Conf: file, Argv: e.Argv()})
			report := apply(t, other, "envoy/logs-off")
			if !report.Has(tune.Refused) || report.Has(tune.Applied) || read(t, file) != text {
				t.Errorf("apply:\n%s", show(report))
			}
			t.Log(show(report))
		})
	}
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
