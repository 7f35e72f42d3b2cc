package access_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	diff "github.com/google/go-cmp/cmp"

	"isukit/infra/digest/access"
	"isukit/infra/infratest"
	"isukit/infra/infratest/wait"
)

// upstreamTakes is how long the upstream of /slow takes at least; the sender knows no more of a request's time.
const upstreamTakes = 60 * time.Millisecond

// server is one kind of server with its logs: the same requests in several formats.
type server struct {
	name string
	argv func(dir string) []string
	conf func(dir string, port, upstream int) string
	// loose says that what is answered with 400 is not logged, and that a backslash is not escaped: a path with what looks like an
	// escape can't be told from one that was escaped.
	loose bool
	// logs are files in dir with the format that each is read by.
	logs map[string]string
}

const (
	nginxTimes = `$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent "$http_referer" "$http_user_agent" $request_time $upstream_response_time`
	nginxLTSV  = `when:$time_iso8601\tr:$request\tst:$status\tn:$body_bytes_sent\tua:$http_user_agent\tt:$request_time\tu:$upstream_response_time`
	nginxJSON  = `{"time":"$time_iso8601","request":"$request","status":$status,"body_bytes_sent":$body_bytes_sent,"ua":"$http_user_agent","request_time":$request_time,"upstream_response_time":"$upstream_response_time"}`
	apacheJSON = `{\"time\":\"%{sec}t\",\"request\":\"%r\",\"status\":%>s,\"bytes\":%O,\"referer\":\"%{Referer}i\",\"ua\":\"%{User-Agent}i\",\"request_time_us\":%D}`
)

var servers = []server{
	{"nginx", func(dir string) []string {
		return []string{"nginx", "-p", dir, "-c", dir + "/server.yaml", "-e", dir + "/error.log", "-g", "daemon off;"}
	}, func(dir string, port, upstream int) string {
		return fmt.Sprintf(`pid nginx.pid; worker_processes 1; events { worker_connections 64; }
http {
	client_body_temp_path tmp; proxy_temp_path tmp; fastcgi_temp_path tmp; uwsgi_temp_path tmp; scgi_temp_path tmp;
	log_format times '%s';
	log_format ltsv '%s';
	log_format raw '%s';
	log_format json escape=json '%[3]s';
	access_log times.log times; access_log ltsv.log ltsv; access_log raw.log raw; access_log json.log json;
	server { listen 127.0.0.1:%d; location / { return 200 ok; } location /slow { proxy_pass http://127.0.0.1:%d; } }
}`, nginxTimes, nginxLTSV, nginxJSON, port, upstream)
	}, false, map[string]string{"times.log": nginxTimes, "times.log by itself": "", "ltsv.log": nginxLTSV, "raw.log": "", "json.log": ""}},

	{"apache2", func(dir string) []string {
		return []string{"apache2", "-d", dir, "-f", dir + "/server.yaml", "-DFOREGROUND"}
	}, func(dir string, port, upstream int) string {
		var load strings.Builder
		for _, m := range []string{"mpm_event", "authz_core", "proxy", "proxy_http"} {
			fmt.Fprintf(&load, "LoadModule %s_module /usr/lib/apache2/modules/mod_%[1]s.so\n", m)
		}
		quoted := func(s string) string { return strings.ReplaceAll(s, `"`, `\"`) }
		return load.String() + fmt.Sprintf(`ServerName localhost
Listen 127.0.0.1:%d
PidFile apache.pid
ErrorLog error.log
DefaultRuntimeDir %s
DocumentRoot %[2]s/empty
ProxyPass /slow http://127.0.0.1:%d/slow
LogFormat "%s" times
LogFormat "%s" json
CustomLog times.log times
CustomLog json.log json
`, port, dir, upstream, quoted(apacheFormat), apacheJSON)
	}, false, map[string]string{"times.log": apacheFormat, "json.log": ""}},

	{"h2o", func(dir string) []string { return []string{"h2o", "-c", dir + "/server.yaml"} }, func(dir string, port, upstream int) string {
		return fmt.Sprintf(`user: root
num-threads: 1
listen: {host: 127.0.0.1, port: %d}
pid-file: %s/h2o.pid
error-log: %[2]s/error.log
access-log: {path: %[2]s/times.log, format: '%[3]s'}
hosts:
  "default":
    access-log: {path: %[2]s/json.log, format: '{"time":"%%{sec}t","request":"%%r","status":%%s,"bytes":%%b,"request_time":%%{duration}x}'}
    paths:
      /: {file.dir: %[2]s/empty}
      /slow: {proxy.reverse.url: "http://127.0.0.1:%[4]d/slow"}
`, port, dir, h2oFormat, upstream)
	}, true, map[string]string{"times.log": h2oFormat, "json.log": ""}},

	{"envoy", func(dir string) []string {
		return []string{"sh", "-c", `cd "$0" && exec "$@"`, dir, "envoy", "-c", "server.yaml", "--disable-hot-restart", "--concurrency", "1", "--log-level", "warn", "--file-flush-interval-msec", "100"}
	}, func(dir string, port, upstream int) string {
		logger := func(file, format string) string {
			return fmt.Sprintf(`{name: envoy.access_loggers.file, typed_config: {"@type": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog, path: %s%s}}`, file, format)
		}
		return fmt.Sprintf(`static_resources:
  listeners:
    - address: {socket_address: {address: 127.0.0.1, port_value: %d}}
      filter_chains:
        - filters:
            - name: envoy.filters.network.http_connection_manager
              typed_config:
                "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
                stat_prefix: test
                access_log:
                  - %s
                  - %s
                  - %s
                http_filters: [{name: envoy.filters.http.router, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}]
                route_config:
                  virtual_hosts:
                    - {name: test, domains: ["*"], routes: [{match: {prefix: /slow}, route: {cluster: web}}, {match: {prefix: /}, direct_response: {status: 200, body: {inline_string: ok}}}]}
  clusters:
    - {name: web, type: STATIC, load_assignment: {cluster_name: web, endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: %d}}}}]}]}}
`, port, logger("own.log", ""), logger("given.log", fmt.Sprintf(`, log_format: {text_format_source: {inline_string: %q}}`, envoyFormat+"\n")), logger("json.log", `, log_format: {json_format: {time: "%START_TIME%", method: "%REQ(:METHOD)%", path: "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%", status: "%RESPONSE_CODE%", bytes_sent: "%BYTES_SENT%", duration_ms: "%DURATION%", ua: "%REQ(USER-AGENT)%"}}`), upstream)
	}, false, map[string]string{"own.log": "", "given.log": envoyFormat, "json.log": ""}},
}

// hostilePaths and hostileAgents are what people and scanners send. A server may refuse any of them with a 4xx, which the sender sees.
var (
	hostilePaths = []string{
		"/", "/plain?x=1", `/quote"x`, `/"`, `/a"?b="c"`, `/back\slash`, `/\x22lit`, `/\`, `/\"`, "/%22enc%22", "/tab%09x", "/日本語", "/%E6%97%A5", "/brace{}|^", "/'single'", "/$request_time", "/%s%d%n", "/a;b,c:d",
		"/]x[", "/#frag", "/status:500", "/%00", "/%zz", "/../../etc/passwd", "//double", "/" + strings.Repeat("long/", 100), `/{"uri":"/x","status":500}`, "/x\x01y", "/x\x7fy", "/\xff\xfe",
	}
	hostileAgents = []string{
		"plain/1.0 (x; y)", `a "7.5 inch" b`, `"`, `\`, `\"`, `" 9.9 9.9 "`, `" rt=9.9 urt=9.9`, `x" 500 9 "-" "`, "tab\tstatus:500\tt:9.9", "日本語", `\x22 9.9`, "%s%d%n", `","request_time":9.9,"x":"`, `{"status":500}`, `] "GET /x HTTP/1.1" 500 9`, "\xff", "", " 9.9 ",
	}
)

// sent is what the sender of the requests knows.
type sent struct {
	routes, refused map[string]int64 // "GET /path": how many were answered, and with 400
	status          map[int]int64    // by class
	total           int64
	slow            int64
}

// TestServers sends the same hostile requests through nginx, Apache, H2O and Envoy, and reads their logs in each format that is
// understood: every digest is as the sender knows it, and all digests of one server have the same times.
func TestServers(t *testing.T) {
	infratest.Real(t)
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		time.Sleep(upstreamTakes)
		fmt.Fprint(w, "slow")
	}))
	defer upstream.Close()
	address, err := url.Parse(upstream.URL)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range servers {
		t.Run(s.name, func(t *testing.T) { s.test(t, address.Port()) })
	}
}

func (s *server) test(t *testing.T, upstream string) {
	dir, port := s.start(t, upstream)
	known := sendHostile(t, port)
	if s.loose {
		for _, n := range known.refused {
			known.total, known.status[4] = known.total-n, known.status[4]-n
		}
		clear(known.refused)
		for _, path := range []string{`/\x22lit`, `/\"`, `/back\slash`} {
			delete(known.routes, "GET "+path)
			delete(known.routes, "POST "+path)
		}
	}
	times := map[time.Duration]string{}
	for name, format := range s.logs {
		file, _, _ := strings.Cut(name, " ")
		d := readWhole(t, filepath.Join(dir, file), format, known.total)
		if d.Unreadable > 0 || d.All.Count != known.total {
			t.Errorf("%s: %d counted, %d unreadable %v; %d were sent", name, d.All.Count, d.Unreadable, d.Examples, known.total)
		}
		routes, status := map[string]int64{}, map[int]int64{}
		for _, r := range d.Routes {
			// What was answered with 400 may be logged as anything: the server did not understand it, either.
			if known.routes[r.Method+" "+r.Path] > 0 {
				routes[r.Method+" "+r.Path] += r.Count - known.refused[r.Method+" "+r.Path]
			}
			for class, n := range r.Status {
				if n > 0 {
					status[class] += n
				}
			}
		}
		if delta := diff.Diff(known.routes, routes); delta != "" {
			t.Errorf("%s: routes (- sent, + read):\n%s", name, delta)
		}
		if delta := diff.Diff(known.status, status); delta != "" {
			t.Errorf("%s: status (- sent, + read):\n%s", name, delta)
		}
		for _, r := range d.Routes {
			if r.Path == "/slow" && (r.Took.Count != known.slow || r.Took.Min < upstreamTakes) {
				t.Errorf("%s: /slow took %v in %d of %d requests, each at least %v", name, r.Took.Sum, r.Took.Count, known.slow, upstreamTakes)
			}
		}
		times[d.All.Took.Sum.Truncate(time.Millisecond)] += name + " "
	}
	t.Logf("%d requests, %v; times %v", known.total, known.status, times)
	if len(times) != 1 {
		t.Errorf("the logs of one server tell different times: %v", times)
	}
}

func (s *server) start(t *testing.T, upstream string) (dir string, port int) {
	t.Helper()
	dir, port = t.TempDir(), infratest.FreePort(t)
	for _, d := range []string{dir + "/empty", dir + "/tmp"} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for up := dir; up != "/" && up != os.TempDir(); up = filepath.Dir(up) {
		_ = os.Chmod(up, 0o755) // the servers' own users
	}
	var upstreamPort int
	fmt.Sscan(upstream, &upstreamPort)
	if err := os.WriteFile(dir+"/server.yaml", []byte(s.conf(dir, port, upstreamPort)), 0o644); err != nil {
		t.Fatal(err)
	}
	argv := s.argv(dir)
	for i, word := range argv {
		if word == "envoy" {
			argv[i] = infratest.FindEnvoy(t)
		}
	}
	if _, err := exec.LookPath(argv[0]); err != nil {
		t.Fatalf("%v (hint: make setup-test)", err)
	}
	infratest.StartProcess(t, argv, dir+"/output.log", syscall.SIGTERM, func() error {
		c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			err = c.Close()
		}
		return err
	})
	return dir, port
}

// readWhole digests a log once it has as many lines as requests were answered: servers answer first and log afterwards.
func readWhole(t *testing.T, file, format string, lines int64) *access.Digest {
	t.Helper()
	var out *access.Digest
	seen := int64(0)
	if !wait.Within(func() bool {
		d, err := access.New(access.Options{Format: format, Literal: true})
		if err != nil {
			t.Error(err)
			return true
		}
		f, err := os.Open(file)
		if errors.Is(err, os.ErrNotExist) {
			return false
		}
		if err == nil {
			err = errors.Join(d.Read(t.Context(), filepath.Base(file), f), f.Close())
		}
		if err != nil {
			t.Error(err)
			return true
		}
		out = d.Digest()
		seen = out.Lines
		return seen >= lines
	}) || out == nil {
		t.Fatalf("%s has %d lines, %d requests were answered", file, seen, lines)
	}
	return out
}

func sendHostile(t *testing.T, port int) sent {
	t.Helper()
	known := sent{routes: map[string]int64{}, refused: map[string]int64{}, status: map[int]int64{}}
	send := func(method, path, agent string) {
		code := sendOne(t, port, method, path, agent)
		known.total++
		known.status[code/100]++
		path, _, _ = strings.Cut(path, "?")
		path, _, _ = strings.Cut(path, "#")
		if path = method + " " + path; code == 400 {
			known.refused[path]++
		} else {
			known.routes[path]++
		}
	}
	for _, path := range hostilePaths {
		send("GET", path, "plain")
		send("POST", path, hostileAgents[len(path)%len(hostileAgents)])
	}
	for _, agent := range hostileAgents {
		send("GET", "/agents", agent)
	}
	for i := range 5 {
		send("GET", "/slow", hostileAgents[i])
		known.slow++
	}
	return known
}

// sendOne sends one request on a connection of its own, byte by byte as given, and returns the status.
func sendOne(t *testing.T, port int, method, path, agent string) int {
	t.Helper()
	c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprintf(c, "%s %s HTTP/1.1\r\nHost: a.example\r\nUser-Agent: %s\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", method, path, agent)
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatalf("%s %q: %v", method, path, err)
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		t.Fatalf("%s %q: %v", method, path, err)
	}
	return resp.StatusCode
}
