package doctor_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"isukit/infra/doctor"
	"isukit/infra/engine/mysql"
	"isukit/infra/host"
	"isukit/infra/infratest"
	"isukit/infra/infratest/wait"
)

// TestProxyCache asks a real nginx with real caches twice for everything: what it keeps must be what the check is silent about.
func TestProxyCache(t *testing.T) {
	t.Parallel()
	infratest.Real(t)
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch filepath.Base(r.URL.Path) {
		case "aged":
			w.Header().Set("Cache-Control", "public, max-age=60")
		case "expires":
			w.Header().Set("Expires", time.Now().Add(time.Minute).UTC().Format(http.TimeFormat))
		case "expired":
			w.Header().Set("Expires", "Thu, 01 Jan 1970 00:00:00 GMT")
		case "accel":
			w.Header().Set("X-Accel-Expires", "60")
		case "private":
			w.Header().Set("Cache-Control", "private")
		case "cookie":
			w.Header().Set("Set-Cookie", "a=b")
		}
		fmt.Fprintln(w, r.URL.Path)
	}))
	defer origin.Close()
	addr := origin.Listener.Addr().String()
	locations, kept := "", map[string]bool{}
	for _, scope := range []struct{ name, directives string }{
		{"bare", ""}, {"valid", "proxy_cache_valid 200 1m;"}, {"valid404", "proxy_cache_valid 404 1m;"},
		{"ignore", "proxy_cache_valid 200 1m; proxy_ignore_headers Set-Cookie Cache-Control Expires;"},
	} {
		for _, path := range []string{"plain", "aged", "expires", "expired", "accel", "private", "cookie"} {
			uri := "/" + scope.name + "/" + path
			locations += fmt.Sprintf("location %s { proxy_pass http://app; proxy_cache c; add_header X-Cache $upstream_cache_status; %s }\n", uri, scope.directives)
			kept[uri] = false
		}
	}
	n := infratest.StartNginx(t, "proxy_cache_path cache keys_zone=c:1m; upstream app { server "+addr+"; }", locations)
	at := here(t)
	seen, err := doctor.LookAtNginx(t.Context(), at, "proxy-1", infratest.FindNginx(t), "-p", n.Dir, "-c", filepath.Join(n.Dir, "nginx.conf"), "-e", filepath.Join(n.Dir, "error.log"))
	if err != nil {
		t.Fatal(err)
	}
	h := doctor.Host{Name: "s1", Proxies: []doctor.Nginx{seen}}
	if err := doctor.LookDeeper(t.Context(), at, &h, probe()); err != nil {
		t.Fatal(err)
	}
	flagged := map[string]string{}
	for _, f := range diagnose(t, "proxy-cache", observed(h)) {
		for uri := range kept {
			if len(f.Subject) > len(uri) && strings.Contains(f.Subject, "location "+uri+" ") {
				flagged[uri] = f.Seen
			}
		}
	}
	hits := 0
	for uri := range kept {
		status := ""
		for range 2 {
			res, err := http.Get(n.URL + uri)
			if err != nil {
				t.Fatal(err)
			}
			res.Body.Close()
			status = res.Header.Get("X-Cache")
		}
		if status == "HIT" {
			hits++
		}
		if (status == "HIT") == (flagged[uri] != "") {
			t.Errorf("%s: nginx says %s, the check says %q", uri, status, flagged[uri])
		}
	}
	if hits < 10 || hits > 20 {
		t.Errorf("%d of %d were kept: the test shows little", hits, len(kept))
	}
}

// TestProxyCacheInARecord uses the counts in a round's log.
func TestProxyCacheInARecord(t *testing.T) {
	record := func(counts map[string]int64) []doctor.Finding {
		return diagnose(t, "proxy-cache", &doctor.Observed{Routes: []doctor.CachedRoute{{Name: "GET /api", Counts: counts}}})
	}
	wantSilence(t, "hits", record(map[string]int64{"HIT": 1, "MISS": 300}))
	wantSilence(t, "few", record(map[string]int64{"MISS": 3}))
	wantSilence(t, "no cache", record(nil))
	wantFinding(t, "misses", record(map[string]int64{"MISS": 300}), doctor.Warn, "proxy-cache", "300 misses and not one hit")
}

// TestRunningNginx finds an nginx by its process, on a host that isukit does not know.
func TestRunningNginx(t *testing.T) {
	n := infratest.StartNginx(t, "proxy_cache_path cache keys_zone=c:1m;", "location /x { proxy_pass http://127.0.0.1:1; proxy_cache c; }")
	at := here(t)
	h := look(t, at, doctor.LookOptions{})
	for i, p := range h.Processes {
		if p.PID != n.PID() && p.Name != "" {
			h.Processes[i].Name = "" // others' are not ours to read
		}
	}
	if err := doctor.LookDeeper(t.Context(), at, &h, doctor.Probe{}); err != nil {
		t.Fatal(err)
	}
	wantFinding(t, "found by its process", diagnose(t, "proxy-cache", observed(h)), doctor.Warn, "proxy_cache_valid 200 1s;", "location /x", "nginx.conf:")
}

// TestJSONContains runs statements on both engines and reads them from the performance schema.
func TestJSONContains(t *testing.T) {
	t.Parallel()
	for _, engine := range infratest.Engines(t) {
		t.Run(engine, func(t *testing.T) {
			db := infratest.StartDB(t, engine, "--performance-schema=ON")
			db.Exec(t, "CREATE DATABASE d", "CREATE TABLE d.t (tags JSON)", `INSERT INTO d.t VALUES ('["go"]')`)
			q := mysql.SQL{DB: db.Open(t, "d")}
			for range 3 {
				if rows, err := q.Query(t.Context(), "SELECT COUNT(*) FROM t WHERE JSON_CONTAINS(tags, JSON_QUOTE('go'))"); err != nil || rows[0][0] != "1" {
					t.Fatalf("quoted: %v %v", rows, err)
				}
			}
			wantSilence(t, "quoted", diagnose(t, "json-contains", ofDatabase(lookAt(t, db))))
			_, err := q.Query(t.Context(), "SELECT COUNT(*) FROM t WHERE JSON_CONTAINS(tags, 'go')")
			if (err != nil) != (engine == "mysql") {
				t.Errorf("not quoted: %v", err)
			}
			wantFinding(t, "not quoted", diagnose(t, "json-contains", ofDatabase(lookAt(t, db))), doctor.Crit, "JSON_QUOTE(?)", "not quoted with JSON_QUOTE")
		})
	}
	for text, bad := range map[string]bool{
		"select 1 from t where json_contains(tags, '\"go\"')": false, "select 1 from t where JSON_CONTAINS(tags, '[\"a\",\"b\"]', '$.x')": false,
		"select 1 from t where JSON_CONTAINS ( tags , 'go' )": true, "select JSON_CONTAINS(JSON_EXTRACT(a, '$.x'), 'x y')": true, "select JSON_CONTAINS(a, JSON_QUOTE('x'))": false,
		"select JSON_CONTAINS(a, '5')": false,
	} {
		found := diagnose(t, "json-contains", &doctor.Observed{Statements: []doctor.Statement{{Text: text, Example: true, Count: 5, Errors: -1, Warnings: -1}}})
		if (len(found) > 0) != bad {
			t.Errorf("%s: %v", text, found)
		}
	}
}

// TestChecksum attaches a program to a host's outgoing packets that rewrites the IP header: correctly with bpf_l3_csum_replace, and wrongly
// with BPF_F_RECOMPUTE_CSUM.
func TestChecksum(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("tc"); err != nil {
		infratest.Real(t)
		t.Fatal(err)
	}
	n := withDatabase(t, infratest.Engines(t)[0], true)
	wantSilence(t, "before", networkChecks(t, n.observe(t)))
	run(t, n.s1, "tc", "qdisc", "add", "dev", "eth0", "clsact")
	// The file system with the program is not in the host's mount namespace.
	if err := n.s1.Start(t.Context(), host.Service{Name: "sleep", Argv: []string{"sleep", "600"}, LogFile: filepath.Join(t.TempDir(), "log")}); err != nil {
		t.Fatal(err)
	}
	st, err := n.s1.State(t.Context(), "sleep")
	if err != nil {
		t.Fatal(err)
	}
	net := strings.TrimSpace(run(t, n.s1, "readlink", "/proc/self/ns/net"))
	wait.For(t, "the service to be in its host", func() bool { // it is started by a shell that enters it
		in, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/net", st.PID))
		return err == nil && in == net
	})
	attach := func(replaces bool) {
		t.Helper()
		run := exec.Command("nsenter", "--target", fmt.Sprint(st.PID), "--net", "--", "tc", "filter", "add", "dev", "eth0", "egress", "bpf", "da", "pinned", rewritesHeader(t, replaces))
		if out, err := run.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	n.inSwitch(t, "table bridge rewritten { chain c { type filter hook forward priority 0; ip dscp 4 counter; }; }", "nft", "-f", "-")
	attach(true)
	wantSilence(t, "a header that is rewritten as it should be", networkChecks(t, n.observe(t)))
	if counted := n.inSwitch(t, "", "nft", "list", "table", "bridge", "rewritten"); strings.Contains(counted, "packets 0 ") {
		t.Errorf("no packet was rewritten: this test can't fail\n%s", counted)
	}
	run(t, n.s1, "tc", "filter", "del", "dev", "eth0", "egress")
	attach(false)
	// The switch looks at IP headers itself where br_netfilter is on; then only the host that sends can be suspected.
	wantFinding(t, "dropped on the way", networkChecks(t, n.observe(t)), doctor.Warn, "tc filter del", "ip-checksum", "no packet comes back", "filter")
	n.inSwitch(t, "", "sh", "-c", "[ ! -e /proc/sys/net/bridge ] || sysctl -qw net.bridge.bridge-nf-call-iptables=0")
	wantFinding(t, "a rewritten header", networkChecks(t, n.observe(t)), doctor.Crit, "bpf_l3_csum_replace", "ip-checksum", "s2", "bad IP header", "s1: eth0 filter")
}
