package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"isukit/bench/result"
	"isukit/cmd/internal/ui"
	"isukit/infra/infratest"
	"isukit/infra/infratest/wait"
	"isukit/infra/project"
)

// standIn is a project in a directory of its own: its app is an access log that its benchmark appends to.
func standIn(t *testing.T, more, command string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	text := fmt.Sprintf("name: stand-in\nlogs: {access: [{file: %s/access.log}]}\n%s\nbenchmark:\n  timeout: 20s\n  command: |\n    %s\n",
		dir, more, strings.ReplaceAll(command, "\n", "\n    "))
	write(t, filepath.Join(dir, "isukit.yaml"), text)
	write(t, filepath.Join(dir, "access.log"), logLine("1000.0", "/before")+logLine("1000.5", "/before"))
	for _, args := range [][]string{{"init", "-q"}, {"add", "-A"}, {"-c", "user.name=t", "-c", "user.email=t@example.com", "commit", "-qm", "first state"}} {
		cmd := exec.Command("git", args...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
	}
	return dir
}

func write(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func logLine(at, path string) string {
	return fmt.Sprintf(`{"time":%s,"method":"GET","uri":%q,"status":200,"request_time":0.010,"body_bytes_sent":5}`+"\n", at, path)
}

// hit is shell that logs one request now.
const hit = `hit() { echo "{\"time\":$(date +%s.%3N),\"method\":\"GET\",\"uri\":\"$1\",\"status\":200,\"request_time\":0.020}" >> access.log; }` + "\n"

// roundIn plays a round of the project in dir and returns its record and everything that was printed and kept.
func roundIn(t *testing.T, dir string, args ...string) (code int, r *result.Round, all string) {
	t.Helper()
	args = append(args, "--project", filepath.Join(dir, "isukit.yaml"), "--results", filepath.Join(dir, "results"))
	code, out, errText := isukitIn(t, "", args...)
	r, path, err := result.Find(filepath.Join(dir, "results"), "last")
	if err != nil {
		t.Fatalf("exit %d, no record: %v\n%s%s", code, err, out, errText)
	}
	all = out + errText
	for _, a := range append(r.Artifacts, result.Artifact{Path: result.RoundFile}) {
		text, err := os.ReadFile(filepath.Join(path, a.Path))
		if err != nil {
			t.Fatal(err)
		}
		all += string(text)
	}
	return code, r, all
}

func TestProjectRound(t *testing.T) {
	t.Parallel()
	dir := standIn(t, "facts: [{key: weather, run: echo fine}]", hit+`for i in 1 2 3 4 5 6; do hit /posts/$i; sleep 0.3; done
echo '{"pass":true,"score":1234,"messages":["a hint"]}'`)
	write(t, filepath.Join(dir, "isukit.yaml.note"), "x")
	code, r, all := roundIn(t, dir, "round")
	if code != ui.ExitOK || !r.Passed || r.Score.Total != 1234 || r.Benchmark.ScoreFrom != "command" || len(r.Benchmark.Messages) != 1 {
		t.Fatalf("exit %d: %+v, %s", code, r.Benchmark, r.Reason)
	}
	if len(r.Access.Routes) != 1 || r.Access.Routes[0].Path != "/posts/{id}" || r.Access.Total.Hits != 6 || r.All.Hits != 6 {
		t.Errorf("access %+v", r.Access)
	}
	if len(r.Timeline) < 2 || len(r.Series) != 1 || len(r.Series[0].Seconds) < 2 || r.Hosts[0].CPUs < 1 || len(r.Settings) < 2 {
		t.Errorf("timeline of %d, %d series, %d settings", len(r.Timeline), len(r.Series), len(r.Settings))
	}
	for _, want := range []string{"first state", "weather", "files, see dirty.diff", "/posts/{id}", "a hint"} {
		if !strings.Contains(all, want) {
			t.Errorf("what is kept lacks %q", want)
		}
	}
}

// TestProjectRoundThatFails: every failure is a recorded round with its reason.
func TestProjectRoundThatFails(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ more, command, reason, warning string }{
		"exit 0":         {"", hit + "hit /a\necho '{\"pass\":false,\"score\":500}'", "pass: false", ""},
		"exit status":    {"", hit + "hit /a\necho score; exit 7", "status 7", ""},
		"killed":         {"", hit + "hit /a\nkill -9 $$", "status 137", ""},
		"no log":         {"", "rm access.log\necho '{\"score\":1}'", "", "access.log"},
		"restart fails":  {"restart: [{run: echo broken >&2; exit 3}]", "echo '{\"score\":1}'", "restart: here: echo broken", ""},
		"unknown format": {"", "echo what is this >> access.log; echo '{\"score\":1}'", "", "1 of 1 lines of the access logs could not be read"},
		"silent log":     {"", "echo '{\"score\":1}'", "", "no requests of this round"},
		"no database":    {"databases: [{client: /no/such/client}]", hit + "hit /a\necho '{\"score\":1}'", "", "query the database of local"},
		"no pprof":       {"profiles: {pprof: [{url: \"http://127.0.0.1:1\", seconds: 1}]}", hit + "hit /a; sleep 2.5\necho '{\"score\":1}'", "", "cpu profile of http://127.0.0.1:1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			code, r, _ := roundIn(t, standIn(t, c.more, c.command), "round", "-q")
			if r.Passed != (c.reason == "") || (code == ui.ExitOK) != r.Passed || !strings.Contains(r.Reason, c.reason) {
				t.Errorf("exit %d, passed %v: %q, want %q", code, r.Passed, r.Reason, c.reason)
			}
			if !strings.Contains(strings.Join(r.Warnings, "\n"), c.warning) {
				t.Errorf("the warnings lack %q: %q", c.warning, r.Warnings)
			}
		})
	}
}

func TestHangingBenchmarkIsRecorded(t *testing.T) {
	t.Parallel()
	dir := standIn(t, "", hit+"hit /a\nsleep 600")
	text, _ := os.ReadFile(filepath.Join(dir, "isukit.yaml"))
	write(t, filepath.Join(dir, "isukit.yaml"), strings.Replace(string(text), "20s", "1500ms", 1))
	code, r, _ := roundIn(t, dir, "round", "-q")
	if code != ui.ExitRound || !strings.Contains(r.Reason, "did not end within 1.5s") || r.Access.Total.Hits != 1 {
		t.Errorf("exit %d: %q, %d hits", code, r.Reason, r.Access.Total.Hits)
	}
}

// TestNoSecretIsKept plays a round with secrets wherever they may be, and looks for them in everything that is left of it.
func TestNoSecretIsKept(t *testing.T) {
	t.Parallel()
	const secret = "hunter2Zq9xW"
	dir := standIn(t, "restart: [{run: 'true --password="+secret+"'}]\nfacts: [{key: dsn, run: 'echo isu:"+secret+"@tcp(db:3306)/isu'}]",
		"TOKEN="+secret+" true\n"+hit+`hit "/login?token=`+secret+`"
echo 'Authorization: Bearer `+secret+`' >> access.log
echo 'connecting mysql://isu:`+secret+`@db/isu'
echo '{"pass":false,"score":1,"messages":["cookie: session=`+secret+`"]}'`)
	write(t, filepath.Join(dir, "tracked"), "DB_PASSWORD="+secret+"\n")
	git := exec.Command("git", "add", "-A")
	git.Dir = dir
	if err := git.Run(); err != nil {
		t.Fatal(err)
	}
	_, _, all := roundIn(t, dir, "round")
	if i := strings.Index(all, secret); i >= 0 {
		t.Errorf("the secret is kept: %q", all[max(0, i-200):min(len(all), i+50)])
	}
	if !strings.Contains(all, "***") {
		t.Error("nothing was masked")
	}
}

// TestKnownSecretsAreNotKept plants values that look like nothing in particular, and that isukit was given: in its environment, and in the
// DSN of a replica. They are in no record, file or output of a round, an observation or a digest, wherever they were met.
func TestKnownSecretsAreNotKept(t *testing.T) {
	given := []string{"plainlookingword", "anotherplainword", "thirdplainword"}
	t.Setenv("ISU_APP_SECRET", given[0])
	t.Setenv("DATABASE_URL", "mysql://isu:"+given[1]+"@db/isu")
	dir := standIn(t, "facts: [{key: weather, run: 'echo "+strings.Join(given, " ")+"'}]\nreplicas: {databases: [{name: a, dsn_file: a.dsn}, {name: b, dsn_file: b.dsn}]}",
		hit+`for word in `+strings.Join(given, " ")+`; do hit "/photos/$word"; echo "not a line: $word" >> access.log; echo "says $word"; done; echo '{"pass":true,"score":1}'`)
	for _, name := range []string{"a", "b"} {
		write(t, filepath.Join(dir, name+".dsn"), "isu:"+given[2]+"@tcp(127.0.0.1:1)/isu")
	}
	_, r, all := roundIn(t, dir, "round")
	code, out, errText := isukitIn(t, "", "digest", "access", filepath.Join(dir, "access.log"), "--json")
	for _, secret := range given {
		if i := strings.Index(all, secret); i >= 0 {
			t.Errorf("the round keeps %s: %q", secret, all[max(0, i-200):min(len(all), i+50)])
		}
		if secret != given[2] && (code != ui.ExitOK || strings.Contains(out+errText, secret)) {
			t.Errorf("the digest has %s, or fails: exit %d\n%s", secret, code, errText)
		}
	}
	if r.Access.Total.Hits != 3 || !strings.Contains(all, "/photos/***") {
		t.Errorf("the digest is %+v", r.Access)
	}
}

// TestObserve starts the benchmark outside isukit, with requests before and after it.
func TestObserve(t *testing.T) {
	t.Parallel()
	dir := standIn(t, "", "true")
	text, _ := os.ReadFile(filepath.Join(dir, "isukit.yaml"))
	head, _, _ := strings.Cut(string(text), "benchmark:")
	write(t, filepath.Join(dir, "isukit.yaml"), head+"benchmark: {external: true, initialize: POST /initialize}\n")
	done := make(chan error, 1)
	go func() {
		time.Sleep(1500 * time.Millisecond)
		cmd := exec.Command("sh", "-c", hit+`hit /noise; sleep 1.2; `+strings.ReplaceAll(strings.ReplaceAll(hit, "hit()", "post()"), "GET", "POST")+`post /initialize
for i in 1 2 3 4 5 6; do sleep 0.4; hit /a/$i; done`)
		cmd.Dir = dir
		done <- cmd.Run()
	}()
	code, r, _ := roundIn(t, dir, "observe", "--score", "777", "--idle", "6s", "--wait", "60s", "-q")
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if code != ui.ExitOK || r.Score.Total != 777 || r.Benchmark.ScoreFrom != "given" {
		t.Fatalf("exit %d, score %d from %s: %s", code, r.Score.Total, r.Benchmark.ScoreFrom, r.Reason)
	}
	began, ended := loggedSince(t, filepath.Join(dir, "access.log"), "/initialize")
	if r.Benchmark.Began.Sub(began).Abs() > time.Second || r.Benchmark.Ended.Sub(ended).Abs() > time.Second {
		t.Errorf("the window is %v to %v, want %v to %v", r.Benchmark.Began, r.Benchmark.Ended, began, ended)
	}
	if r.Access.Total.Hits < 7 || r.Access.Total.Hits > 8 {
		text, _ := json.Marshal(r.Access.Routes)
		t.Errorf("%d requests: %s", r.Access.Total.Hits, text)
	}
	code, _, errText := isukitIn(t, "", "observe", "--project", filepath.Join(dir, "isukit.yaml"), "--results", dir+"/none", "--wait", "1s")
	if code != ui.ExitFailed || !strings.Contains(errText, "no benchmark started") {
		t.Errorf("nobody starts one: exit %d, %s", code, errText)
	}
}

// TestObserveByHook records a whole round that the app's own /initialize announces: it begins there, before the access log has a line of it,
// and what came before is not in it.
func TestObserveByHook(t *testing.T) {
	t.Parallel()
	dir := standIn(t, "", "true")
	file, log := filepath.Join(dir, "isukit.yaml"), filepath.Join(dir, "access.log")
	text, _ := os.ReadFile(file)
	head, _, _ := strings.Cut(string(text), "benchmark:")
	write(t, file, head+"benchmark: {external: true, initialize: POST /never}\n")
	hook := fmt.Sprintf("127.0.0.1:%d", infratest.FreePort(t))
	var told, logged atomic.Int64 // in nanoseconds since 1970
	app := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/initialize" {
			told.Store(time.Now().UnixNano())
			resp, err := http.Post("http://"+hook, "text/plain", nil)
			if err != nil {
				t.Error(err)
				return
			}
			resp.Body.Close()
			time.Sleep(300 * time.Millisecond)
		}
		now := time.Now()
		logged.Store(now.UnixNano())
		line := fmt.Sprintf(`{"time":%.6f,"method":%q,"uri":%q,"status":200,"request_time":0.010,"body_bytes_sent":5}`+"\n", float64(now.UnixMicro())/1e6, r.Method, r.URL.Path)
		f, err := os.OpenFile(log, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err == nil {
			_, err = f.WriteString(line)
			err = errors.Join(err, f.Close())
		}
		if err != nil {
			t.Error(err)
		}
	}))
	defer app.Close()
	send := func(paths ...string) {
		for _, path := range paths {
			resp, err := http.Post(app.URL+path, "text/plain", nil)
			if err != nil {
				t.Error(err)
				return
			}
			resp.Body.Close()
		}
	}
	var initialized int64
	done := make(chan struct{})
	go func() {
		defer close(done)
		send("/noise", "/noise")
		wait.For(t, "isukit to listen for the hook", func() bool {
			conn, err := net.Dial("tcp", hook)
			if err == nil {
				conn.Close()
			}
			return err == nil
		})
		send("/noise")
		time.Sleep(1100 * time.Millisecond) // a log's whole second of the beginning belongs to the load
		send("/initialize")
		initialized = logged.Load()
		send("/a/1", "/a/2", "/a/3")
	}()
	code, r, all := roundIn(t, dir, "observe", "--hook", hook, "--score", "9876", "--idle", "6s", "--wait", "120s", "-q")
	<-done
	if code != ui.ExitOK || r.Score.Total != 9876 {
		t.Fatalf("exit %d, score %d: %s", code, r.Score.Total, all)
	}
	if began := r.Benchmark.Began.UnixNano(); began < told.Load() || began >= initialized {
		t.Errorf("it began at %d, want between %d, when the app told, and %d, when its answer was logged", began, told.Load(), initialized)
	}
	paths := map[string]int64{}
	for _, route := range r.Access.Routes {
		paths[route.Path] += route.Hits
	}
	if len(paths) != 2 || paths["/initialize"] != 1 || paths["/a/{id}"] != 3 {
		t.Errorf("the round has %v, want /initialize and 3 more", paths)
	}
}

// loggedSince reads from an access log when the request for uri was, and when the last one.
func loggedSince(t *testing.T, file, uri string) (first, last time.Time) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		var request struct {
			Time float64
			URI  string
		}
		if err := json.Unmarshal([]byte(line), &request); err != nil {
			t.Fatalf("%v in %s", err, line)
		}
		last = time.UnixMicro(int64(request.Time * 1e6))
		if request.URI == uri {
			first = last
		}
	}
	return first, last
}

// TestShownProjectsAreSome parses the files that the pages show.
func TestShownProjectsAreSome(t *testing.T) {
	for _, page := range []string{"project.md", "final.md"} {
		text, err := os.ReadFile(filepath.Join("..", "..", "docs", page))
		if err != nil {
			t.Fatal(err)
		}
		_, rest, _ := strings.Cut(string(text), "```yaml\n")
		block, _, ok := strings.Cut(rest, "```")
		if !ok {
			t.Fatalf("%s shows no file", page)
		}
		if _, err := project.Parse([]byte(block)); err != nil {
			t.Errorf("%s: %v", page, err)
		}
	}
}
