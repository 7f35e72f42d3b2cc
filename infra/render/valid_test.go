package render_test

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"isukit/infra"
	"isukit/infra/infratest"
	"isukit/infra/pki"
	"isukit/infra/render"
	"isukit/infra/topology"
)

// TestShippedAreValid: what is rendered for the proxies of every shipped topology passes nginx -t and envoy --mode validate.
func TestShippedAreValid(t *testing.T) {
	infratest.Real(t)
	checked := map[topology.Kind]int{}
	for n, name := range infra.ShippedNames() {
		top, err := infra.Shipped(name)
		if err != nil {
			t.Fatal(err)
		}
		if top, err = top.WithKind(topology.DB, topology.MariaDB); err != nil {
			t.Fatal(err)
		}
		dir := t.TempDir()
		in := input(t, top, dir, "127.0.0.1", 21000+50*n)
		in.Root, in.BalancePort = os.Geteuid() == 0, 21049+50*n
		if modules, _ := filepath.Glob("/usr/lib*/nginx/modules/ngx_stream_module.so"); len(modules) > 0 { // otherwise it is built in
			in.StreamModule = modules[0]
		}
		for name, p := range in.Places {
			p.Socket = filepath.Join(p.Dir, "app.sock")
			in.Places[name] = p
		}
		writeProxies(t, in)
		for _, i := range top.Of(topology.Proxy) {
			_, check := proxyCommand(t, i.Kind, in.Places[i.Name].Dir)
			if out, err := exec.Command(check[0], check[1:]...).CombinedOutput(); err != nil {
				t.Errorf("%s: %s: %v\n%s", name, strings.Join(check, " "), err, out)
			}
			checked[i.Kind]++
		}
	}
	if checked[topology.Nginx] < 8 || checked[topology.Envoy] < 4 {
		t.Errorf("checked %v, want at least 8 of nginx and 4 of Envoy", checked)
	}
}

// writeProxies writes the files of all proxies, with the certificates that they name.
func writeProxies(t *testing.T, in render.Input) {
	t.Helper()
	authority, err := pki.NewAuthority(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	pair, err := authority.Issue(time.Now(), "127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	for name, f := range page {
		write(t, filepath.Join(in.StaticDir, name), f.Data)
	}
	for _, i := range in.Topology.Of(topology.Proxy) {
		files, err := render.Files(in, i.Host)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			write(t, f.Path, f.Data)
		}
		dir := in.Places[i.Name].Dir
		write(t, filepath.Join(dir, "tmp/keep"), nil)
		write(t, filepath.Join(dir, render.TLSCertFile), pair.Certificate)
		write(t, filepath.Join(dir, render.TLSKeyFile), pair.Key)
	}
}

// TestProxyBansBots: what calls itself a bot gets 503, a name that only has the letters in it does not.
func TestProxyBansBots(t *testing.T) {
	proxies(t, func(t *testing.T, base, _ string, _ func()) {
		for agent, want := range map[string]int{
			"Googlebot/2.1": 503, "my-crawler (+http://x.example)": 503, "SPIDER": 503, "image-spider": 503,
			"isukit": 200, "Mozilla/5.0 Botany/1.0": 200, "": 200,
		} {
			for _, path := range []string{"/", "/api/teams"} {
				if status, _, _ := get(t, base+path, "User-Agent", agent); status != want {
					t.Errorf("GET %s as %q: got status %d, want %d", path, agent, status, want)
				}
			}
		}
	})
}

// TestProxyKeepsTheLeaderboard: many requests cost the app a few, and none is answered with what is a second old.
func TestProxyKeepsTheLeaderboard(t *testing.T) {
	proxies(t, func(t *testing.T, base, _ string, _ func()) {
		answers := map[string]bool{}
		const requests = 200
		begin, slowest, seen := time.Now(), time.Duration(0), map[string]time.Time{}
		for range requests {
			sent := time.Now()
			status, body, h := get(t, base+"/api/leaderboard?limit=3")
			if status != http.StatusOK || h.Get("ETag") == "" {
				t.Fatalf("leaderboard: got status %d, headers %v, want 200 with an ETag", status, h)
			}
			slowest = max(slowest, time.Since(sent))
			if !answers[body] {
				answers[body], seen[body] = true, time.Now()
			}
			// An answer is kept while the next one is fetched, which takes as long as the machine lets it.
			if age := sent.Sub(seen[body]); age > 900*time.Millisecond+slowest { // clock: the slower the machine, the more is allowed
				t.Errorf("leaderboard: asked %v after an answer was kept, got it again, want another one within a second", age)
			}
			if status, _, _ := get(t, base+"/api/leaderboard?limit=3", "If-None-Match", h.Get("ETag")); status != 304 && status != 200 {
				t.Errorf("leaderboard with If-None-Match: got status %d, want 304, or 200 for a new one", status)
			}
			time.Sleep(10 * time.Millisecond)
		}
		took := time.Since(begin)
		// One answer a half second, twice where two workers have a cache each.
		if most := 2 * (int(took/(500*time.Millisecond)) + 2); len(answers) > most { // clock: the slower the machine, the more is allowed
			t.Errorf("%d requests in %v: got %d different answers, want at most %d", requests, took, len(answers), most)
		}
		if len(answers) < 2 {
			t.Errorf("%d requests in %v: got one answer only: it would never change", requests, took)
		}
		_, other, _ := get(t, base+"/api/leaderboard?limit=4")
		if answers[other] || !strings.Contains(other, "limit=4") {
			t.Errorf("another limit: got %q, want an answer of its own", other)
		}
	})
}
