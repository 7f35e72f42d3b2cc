package tune_test

import (
	"context"
	"fmt"
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

	"isukit/infra/infratest"
	"isukit/infra/tune"
)

// sites is an nginx as a contest's image has it: what a site does is in a file behind a link, and passes to an app by its address.
type sites struct {
	*infratest.Nginx
	target      *tune.Target
	app         string
	connections atomic.Int64 // that the app has seen
	hosts       atomic.Value // the header of the last request
	files       []string
}

func newSites(t *testing.T, above, site string) *sites {
	t.Helper()
	s := &sites{}
	app := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.hosts.Store(r.Host)
		io.WriteString(w, "answered\n")
	}))
	app.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			s.connections.Add(1)
		}
	}
	app.Start()
	t.Cleanup(app.Close)
	s.app = strings.Replace(strings.TrimPrefix(app.URL, "http://"), "127.0.0.1", "localhost", 1)
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	available, enabled := filepath.Join(dir, "available"), filepath.Join(dir, "enabled")
	for _, d := range []string{available, enabled} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(available, "app.conf")
	if err := os.WriteFile(file, []byte(strings.NewReplacer("APP", s.app, "DIR", dir).Replace(site)), 0o640); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("../available/app.conf", filepath.Join(enabled, "app.conf")); err != nil {
		t.Fatal(err)
	}
	s.Nginx = infratest.StartNginx(t, strings.ReplaceAll(above, "DIR", dir), "include "+enabled+"/*.conf;")
	s.target = nginxTarget(t, local(t), s.Nginx, t.TempDir())
	s.files = []string{filepath.Join(s.Dir, "nginx.conf"), file}
	return s
}

// get asks for a path so many times, over one connection of the client's.
func (s *sites) get(t *testing.T, path string, times int) {
	t.Helper()
	for range times {
		resp, err := http.Get(s.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			t.Fatalf("%s: status %d\n%s", path, resp.StatusCode, s.Log())
		}
	}
}

// connectionsFor is how many connections the app sees for requests.
func (s *sites) connectionsFor(t *testing.T, path string, times int) int64 {
	before := s.connections.Load()
	s.get(t, path, times)
	return s.connections.Load() - before
}

func (s *sites) texts(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	for _, f := range s.files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		st, err := os.Stat(f)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "%s %v\n%s", f, st.Mode(), text)
	}
	return b.String()
}

// goesBack applies tunings, checks a request, verifies, applies them again, and reverts them.
func (s *sites) goesBack(t *testing.T, effect func(), names ...string) {
	t.Helper()
	before := s.texts(t)
	for range 2 {
		report := apply(t, s.target, names...)
		if report.Has(tune.Failed, tune.Left) {
			t.Errorf("apply:\n%s", show(report))
		}
		effect()
		if r := verify(t, s.target); len(r) > 0 {
			t.Errorf("verify:\n%s\n%s", show(r), s.texts(t))
		}
	}
	report := revert(t, s.target, names...)
	if after := s.texts(t); after != before || report.Has(tune.Left, tune.Failed) {
		t.Errorf("not as before:\n%s\nafter\n%s\nwas\n%s", show(report), after, before)
	}
}

const contestSite = `# the site
location / {
	proxy_set_header   Host $host;
	proxy_pass http://APP; # the app
}
location /plain { proxy_pass http://APP/plain; }
location /ws {
	proxy_set_header Upgrade $http_upgrade;
	proxy_set_header Connection "upgrade";
	proxy_set_header Host $host;
	proxy_pass http://APP;
}
`

// TestKeepaliveOfASite holds by what the app sees that connections are kept, though it has no upstream and locations have headers of
// their own.
func TestKeepaliveOfASite(t *testing.T) {
	t.Parallel()
	s := newSites(t, "", contestSite)
	for _, path := range []string{"/", "/plain"} {
		if n := s.connectionsFor(t, path, 4); n != 4 {
			t.Errorf("before: %s had %d connections for 4 requests", path, n)
		}
	}
	host := s.hosts.Load()
	s.goesBack(t, func() {
		for _, path := range []string{"/", "/plain"} {
			s.get(t, path, 1)
			if n := s.connectionsFor(t, path, 4); n != 0 {
				t.Errorf("%s had %d more connections for 4 requests:\n%s", path, n, s.texts(t))
			}
		}
		if got := s.hosts.Load(); got != host {
			t.Errorf("the app sees the host %v, before %v", got, host)
		}
		if text := s.texts(t); !strings.Contains(text, `proxy_set_header Connection "upgrade";`) {
			t.Errorf("the location of WebSockets was changed:\n%s", text)
		}
	}, "nginx/keepalive")
	if n := s.connectionsFor(t, "/", 4); n != 4 {
		t.Errorf("after: %d connections for 4 requests", n)
	}
}

// TestLogsOfASite holds that measure keeps where a log is, and that logs-off stops one that the site names.
func TestLogsOfASite(t *testing.T) {
	t.Parallel()
	s := newSites(t, `log_format ltsv "time:$time_local";`, "access_log DIR/site.log ltsv buffer=4k;\naccess_log DIR/other.log;\nlocation / { proxy_pass http://APP; }\nlocation /static { access_log off; return 200; }\n")
	log := filepath.Join(filepath.Dir(filepath.Dir(s.files[1])), "site.log")
	size := func() int64 {
		st, err := os.Stat(log)
		if err != nil {
			t.Fatal(err)
		}
		return st.Size()
	}
	s.goesBack(t, func() {
		before := size()
		s.get(t, "/measured", 1)
		var text []byte
		eventually(t, "a line of JSON in "+log, func() bool {
			text, _ = os.ReadFile(log)
			return int64(len(text)) > before && strings.Contains(string(text[before:]), `"uri":"/measured"`)
		})
		at := size()
		s.get(t, "/static", 1)
		s.get(t, "/measured", 1)
		eventually(t, "the next line", func() bool { return size() > at })
		if text, _ = os.ReadFile(log); strings.Contains(string(text), "/static") {
			t.Errorf("what was off is logged:\n%s", text)
		}
	}, "nginx/measure")
	s.goesBack(t, func() {
		before := size()
		s.get(t, "/silent", 3)
		apply(t, s.target, "nginx/workers") // a reload: what was buffered is written then
		if now := size(); now != before {
			t.Errorf("the log grew by %d bytes", now-before)
		}
		revert(t, s.target, "nginx/workers")
	}, "nginx/logs-off")
}

// TestSiteThatWins: verify reports a file that came later, with a directive that wins.
func TestSiteThatWins(t *testing.T) {
	t.Parallel()
	s := newSites(t, "", "location / { proxy_pass http://APP; }\n")
	apply(t, s.target, "nginx/logs-off")
	if err := os.WriteFile(s.files[1], []byte("access_log site.log;\n"+"location / { proxy_pass http://"+s.app+"; }\n"), 0o640); err != nil {
		t.Fatal(err)
	}
	r := verify(t, s.target)
	if len(r) != 1 || !strings.Contains(r[0].Reason, "no effect in http > server, which has its own access_log") {
		t.Errorf("verify:\n%s", show(r))
	}
	apply(t, s.target, "nginx/logs-off") // also there
	if r := verify(t, s.target); len(r) > 0 {
		t.Errorf("verify after another apply:\n%s", show(r))
	}
}

// eventually waits until something is so.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for !is() {
		select {
		case <-ctx.Done():
			t.Fatalf("waited a minute for %s", what)
		case <-time.After(5 * time.Millisecond):
		}
	}
}
