package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"isukit/app/dataset"
	"isukit/cmd/internal/release"
	"isukit/infra/infratest"
	"isukit/infra/infratest/wait"
	portalv1 "isukit/proto/portal/v1"
	"isukit/proto/wire"
)

// runArgs runs the program and gives its exit code and what it printed.
func runArgs(t *testing.T, args ...string) (code int, out, errs string) {
	t.Helper()
	var o, e bytes.Buffer
	code = run(t.Context(), args, &o, &e)
	return code, o.String(), e.String()
}

func TestVersion(t *testing.T) {
	code, out, errs := runArgs(t, "version", "--json")
	var info versionInfo
	if err := json.Unmarshal([]byte(out), &info); code != 0 || errs != "" || err != nil {
		t.Fatalf("exit code %d, stdout %q, stderr %q: %v", code, out, errs, err)
	}
	if info.Version == "" || !strings.HasPrefix(info.Go, "go1.") || info.DatasetVersion != dataset.Version {
		t.Errorf("version is %+v", info)
	}
	if code, out, _ := runArgs(t, "version"); code != 0 || !strings.HasPrefix(out, "isukit-app "+release.Version+" ") || strings.Count(out, "\n") != 1 {
		t.Errorf("exit code %d, stdout %q", code, out)
	}
}

func TestUsage(t *testing.T) {
	for _, args := range [][]string{{}, {"prepare"}, {"--nothing"}, {"--config", "/does/not/exist"}, {"--config"}, {"serve"}, {"version", "x"}, {"prepare", "x"}} {
		code, out, errs := runArgs(t, args...)
		if code != 2 || out != "" || !strings.HasPrefix(errs, "isukit-app: error: ") || strings.Count(errs, "\nisukit-app: hint: ") != 1 {
			t.Errorf("isukit-app %q: exit code %d, stdout %q, stderr %q; want 2, an error and a hint", args, code, out, errs)
		}
	}
}

// TestSocketOfOthers: a path that another process uses stays as it is; a killed process' socket is removed.
func TestSocketOfOthers(t *testing.T) {
	dir := t.TempDir()
	file := writeFile(t, dir, "db.dsn", "a secret", 0o600)
	if _, err := listen(t.Context(), unixPrefix+file); err == nil || !strings.Contains(err.Error(), "not a socket") {
		t.Errorf("in place of a file: %v", err)
	}
	if data, err := os.ReadFile(file); string(data) != "a secret" {
		t.Errorf("the file holds %q: %v", data, err)
	}
	path := filepath.Join(dir, "app.sock")
	first, err := listen(t.Context(), unixPrefix+path)
	if err != nil {
		t.Fatal(err)
	}
	var errs bytes.Buffer
	if _, err = listen(t.Context(), unixPrefix+path); report(&errs, err) != exitFailed || !strings.Contains(errs.String(), "hint: another process listens there") {
		t.Errorf("beside another: %q", errs.String())
	}
	first.(*net.UnixListener).SetUnlinkOnClose(false) // as if it had been killed
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := listen(t.Context(), unixPrefix+path)
	if err != nil {
		t.Fatal(err)
	}
	if err := again.Close(); err != nil {
		t.Error(err)
	}
}

// TestInterruptedWhileWaiting: Ctrl-C ends the wait for databases that do not respond, and the wait is reported.
func TestInterruptedWhileWaiting(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, dir, "db.dsn", "user:hunter2@tcp("+freeAddress(t)+")/portal", 0o600)
	writeFile(t, dir, "session.key", strings.Repeat("k", 32), 0o600)
	writeFile(t, dir, "worker.token", strings.Repeat("t", 16), 0o600)
	config := writeFile(t, dir, "app.yaml", "listen: "+freeAddress(t)+"\ndatabases: [{name: db-1, dsn_file: db.dsn}]\n"+
		"session_key_file: session.key\nworker_token_file: worker.token\n", 0o644)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	errs := &untilWriter{text: "the databases are not ready", found: cancel}
	if code := run(ctx, []string{"--config", config}, io.Discard, errs); code != exitFailed {
		t.Errorf("exit code %d, want %d", code, exitFailed)
	}
	if got := errs.String(); !strings.HasSuffix(got, "\nisukit-app: interrupted\n") || strings.Contains(got, "hunter2") {
		t.Errorf("stderr is %q", got)
	}
	code, out, text := runArgs(t, "--config", config, "prepare")
	if code != exitFailed || out != "" || !strings.Contains(text, "error: prepare db-1: ") || !strings.Contains(text, "hint: "+databaseHint) || strings.Contains(text, "hunter2") {
		t.Errorf("prepare: exit code %d, stdout %q, stderr %q", code, out, text)
	}
}

// untilWriter keeps what is written and calls found once it holds text.
type untilWriter struct {
	mu sync.Mutex
	bytes.Buffer
	text  string
	found func()
}

func (w *untilWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n, err := w.Buffer.Write(p)
	if strings.Contains(w.Buffer.String(), w.text) {
		w.found()
	}
	return n, err
}

// writeFile writes a file below dir with a mode and gives its path.
func writeFile(t *testing.T, dir, name, content string, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil { // the umask must not decide
		t.Fatal(err)
	}
	return path
}

func TestConfigReportsEveryFault(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, dir, "open.dsn", "user:hunter2@tcp(127.0.0.1:1)/portal\n", 0o644)
	writeFile(t, dir, "broken.dsn", "user:hunter2@tcp(127.0.0.1:1", 0o600)
	writeFile(t, dir, "b.dsn", "user:hunter2@tcp(127.0.0.1:1)/portal", 0o600)
	writeFile(t, dir, "nodb.dsn", "user:hunter2@tcp(127.0.0.1:1)/", 0o600)
	tests := []struct {
		name, yaml string
		want       []string
	}{
		{"unknown keys", "role: web\nlisten: :1\ncolour: red\ndatabases:\n  - name: a\n    dns_file: x\ndataset:\n  size: 1\n",
			[]string{`3:1: unknown key "colour"`, `6:5: unknown key "dns_file"`, `8:3: unknown key "size"`}},
		{"wrong values", "role: db\nlisten: here\ndebug_listen: there\ndatabases:\n  - {name: 1st, dsn_file: open.dsn}\n" +
			"  - {name: a, dsn_file: broken.dsn}\n  - {name: a, dsn_file: nodb.dsn}\n  - {name: b}\n  - {name: c, dsn_file: none.dsn}\n" +
			"api_url: 127.0.0.1:80/x\ndataset: {scale: huge}\napp_id: 1023\nmax_open_conns: -1\n",
			[]string{`role: "db"`, `listen: "here"`, `debug_listen: "there"`, `replica 1: name "1st"`, "open.dsn has mode 0644", "broken.dsn must contain a DSN",
				`replica 3: name "a" is taken`, "nodb.dsn names no database", "dsn_file of database 4", "none.dsn", "session_key_file: is missing",
				"worker_token_file: is missing", "api_url:", `dataset: scale "huge"`, "app_id: 1023", "max_open_conns: -1 is below 4"}},
		{"placement", "listen: :1\ndatabases:\n  - {name: a, dsn_file: nodb.dsn, weight: -1}\n  - {name: b, dsn_file: b.dsn}\n" +
			"  - {name: c, dsn_file: b.dsn}\n  - {name: d, dsn_file: b.dsn, wait: 1}\n",
			[]string{`6:32: unknown key "wait"`}},
		{"groups", "listen: :1\ndatabases:\n  - {name: a, dsn_file: nodb.dsn, weight: -1}\n  - {name: b, dsn_file: b.dsn}\n" +
			"  - {name: c, dsn_file: b.dsn}\ngroups:\n  - {name: x, tables: [jobs, goals], databases: [a, z]}\n" +
			"  - {name: y, tables: [results, teams, contest], databases: [a, b], read_dsn_file: open.dsn}\n" +
			"write_mode: keyed\napp_processes: 2\nread_policy: best\nread_dsn_file: none.dsn\nmax_open_conns: -2\n",
			[]string{`weight -1 is negative`, `names replica "z"`, `replica "a" is in group "x" and in group "y"`, `replica "c" is in no group`,
				`names table "goals"`, `jobs is in group "x" and results in group "y"`, `table clarifications is in no group`, `mode "keyed"`,
				`read policy "best"`, "cannot be combined with groups", `none.dsn`, `read_dsn_file of group "y": `, "max_open_conns: -2"}},
		{"replicated", "write_mode: replicated\nread_dsn_file: b.dsn\n", []string{"read_dsn_file: write_mode replicated waits"}},
		{"nothing", "", []string{"listen: is missing", "databases: name at least one"}},
		{"wrong types", "app_id: [1]\n", []string{"[1:9]", "type int"}},
		{"no YAML", "role: [\n", []string{"app.yaml"}},
		{"no mapping", "- a\n- b\n", []string{"app.yaml"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			code, _, errs := runArgs(t, "--config", writeFile(t, dir, "app.yaml", tt.yaml, 0o644))
			if code != 2 {
				t.Errorf("exit code %d, want 2", code)
			}
			for _, want := range tt.want {
				if !strings.Contains(errs, want) {
					t.Errorf("the error lacks %q:\n%s", want, errs)
				}
			}
			if strings.Contains(errs, "hunter2") {
				t.Errorf("the error tells the password:\n%s", errs)
			}
		})
	}
}

// site is a directory with everything that a portal needs, and a database that is empty.
type site struct {
	dir, dsn string
	db       *infratest.DB
}

func newSite(t *testing.T, engine string) *site {
	t.Helper()
	s := &site{dir: t.TempDir(), db: infratest.StartDB(t, engine)}
	s.dsn = s.db.RootDSN("portal")
	writeFile(t, s.dir, "db.dsn", s.dsn+"\n", 0o600)
	writeFile(t, s.dir, "session.key", strings.Repeat("k", 32)+"\n", 0o600)
	writeFile(t, s.dir, "worker.token", "the-token-of-workers\n", 0o600)
	return s
}

// config writes the configuration of a role on free ports and gives its path and the ports' addresses.
func (s *site) config(t *testing.T, role, apiURL string, appID int) (path, listen, debug string) {
	t.Helper()
	listen, debug = freeAddress(t), freeAddress(t)
	path = writeFile(t, s.dir, role+".yaml", fmt.Sprintf(`role: %s
listen: %s
debug_listen: %s
databases:
  - name: db-1
    dsn_file: db.dsn
session_key_file: session.key
worker_token_file: worker.token
api_url: "%s"
dataset:
  scale: small
  seed: 5
app_id: %d
`, role, listen, debug, apiURL, appID), 0o644)
	return path, listen, debug
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// process is the program at work in this process.
type process struct {
	stop context.CancelFunc
	done chan int
	logs *lockedBuffer
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// start serves a configuration and returns once it is healthy.
func start(t *testing.T, config, listen string) *process {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	p := &process{stop: stop, done: make(chan int, 1), logs: &lockedBuffer{}}
	go func() { p.done <- run(ctx, []string{"--config", config}, io.Discard, p.logs) }()
	t.Cleanup(func() { p.end(t) })
	wait.ForNil(t, "the program to be healthy", func() error {
		res, err := http.Get("http://" + listen + "/healthz")
		if err != nil {
			return fmt.Errorf("%w\n%s", err, p.logs)
		}
		res.Body.Close()
		if res.StatusCode != 200 {
			return fmt.Errorf("status %d\n%s", res.StatusCode, p.logs)
		}
		return nil
	})
	return p
}

// end stops the program as SIGTERM does, and wants it to end well.
func (p *process) end(t *testing.T) {
	t.Helper()
	p.stop()
	select {
	case code := <-p.done:
		if code != 0 {
			t.Errorf("exit code %d, want 0:\n%s", code, p.logs)
		}
		p.done <- code
	case <-time.After(wait.Limit):
		t.Errorf("still running %v after it was stopped:\n%s", wait.Limit, p.logs)
	}
}

func post(t *testing.T, url string, body []byte, token string) (int, []byte) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), "POST", url, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", wire.ContentType)
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	got, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, got
}

func TestPrepareAndServe(t *testing.T) {
	for _, engine := range infratest.Engines(t) {
		t.Run(engine, func(t *testing.T) {
			s := newSite(t, engine)
			apiConfig, apiListen, _ := s.config(t, "api", "", 2)
			webConfig, webListen, webDebug := s.config(t, "web", "http://"+apiListen, 1)
			s.prepareTwice(t, webConfig)
			web, api := start(t, webConfig, webListen), start(t, apiConfig, apiListen)

			status, body := post(t, "http://"+webListen+"/initialize", nil, "")
			var res portalv1.InitializeResponse
			if err := wire.Unmarshal(body, &res); status != 200 || err != nil || res.ApiUrl != "http://"+apiListen {
				t.Fatalf("initialize: %d %v %v", status, &res, err)
			}
			if status, _ := post(t, res.ApiUrl+"/worker/jobs/receive", []byte("\n\x01w"), "the-token-of-workers"); status != 200 {
				t.Errorf("a worker at the api role: %d, want 200", status)
			}
			if status, _ := post(t, "http://"+webListen+"/worker/jobs/receive", []byte("\n\x01w"), "the-token-of-workers"); status != 404 {
				t.Errorf("a worker at the web role: %d, want 404", status)
			}
			if got, err := http.Get("http://" + webDebug + "/debug/pprof/goroutine?debug=1"); err != nil || got.StatusCode != 200 {
				t.Errorf("pprof: %v, %v", got, err)
			} else {
				got.Body.Close()
			}
			web.end(t)
			api.end(t)
			checkLogs(t, web.logs.String()+api.logs.String(), s.dsn)
		})
	}
}

// prepareTwice wants the second one to write nothing, and both to change nothing but what is missing.
func (s *site) prepareTwice(t *testing.T, config string) {
	t.Helper()
	for i := range 2 {
		before := s.rowsWritten(t)
		code, out, errs := runArgs(t, "--config", config, "prepare")
		if code != 0 || errs != "isukit-app: preparing with scale small\n" || !strings.Contains(out, "prepared 1 database(s) with scale small, seed 5") {
			t.Fatalf("prepare: exit code %d, stdout %q, stderr %q", code, out, errs)
		}
		if n := s.rowsWritten(t) - before; (n < 1000) != (i == 1) {
			t.Errorf("prepare %d wrote %d rows, want thousands the first time and next to none the second", i+1, n)
		}
	}
}

// rowsWritten is how many rows the server has written, those of its own tables included.
func (s *site) rowsWritten(t *testing.T) (n int) {
	t.Helper()
	var name string
	if err := s.db.Open(t, "").QueryRow("SHOW GLOBAL STATUS LIKE 'Handler_write'").Scan(&name, &n); err != nil {
		t.Fatal(err)
	}
	return n
}

// checkLogs wants JSON, line by line, without secrets.
func checkLogs(t *testing.T, logs, dsn string) {
	t.Helper()
	for line := range strings.Lines(logs) {
		var entry map[string]any
		if err := json.Unmarshal([]byte(line), &entry); err != nil || entry["level"] == nil || entry["role"] == nil {
			t.Errorf("log line %q: %v, want JSON with a level and a role", line, err)
		}
	}
	password, _, _ := strings.Cut(strings.TrimPrefix(dsn, "root:"), "@")
	for _, secret := range []string{password, "the-token-of-workers", strings.Repeat("k", 32)} {
		if strings.Contains(logs, secret) {
			t.Errorf("the log tells a secret:\n%s", logs)
		}
	}
}

// TestStopLetsRequestsFinish stops the program while an initialize is under way.
func TestStopLetsRequestsFinish(t *testing.T) {
	for _, engine := range infratest.Engines(t) {
		t.Run(engine, func(t *testing.T) {
			s := newSite(t, engine)
			config, listen, _ := s.config(t, "all", "", 1)
			s.prepareTwice(t, config)
			p := start(t, config, listen)
			lock := s.db.Open(t, "portal")
			conn, err := lock.Conn(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			// While this lock is held, initialize waits.
			if _, err := conn.ExecContext(t.Context(), "DO GET_LOCK('portal.initialize', 5)"); err != nil {
				t.Fatal(err)
			}
			answered := make(chan int, 1)
			go func() {
				status, _ := post(t, "http://"+listen+"/initialize", nil, "")
				answered <- status
			}()
			wait.For(t, "the initialize to wait for the lock", func() bool {
				var n int
				err := lock.QueryRow("SELECT COUNT(*) FROM information_schema.processlist WHERE info LIKE '%GET_LOCK(%' AND id <> CONNECTION_ID()").Scan(&n)
				return err == nil && n > 0
			})
			p.stop()
			wait.For(t, "the program to take no more connections", func() bool {
				c, err := net.Dial("tcp", listen)
				if err == nil {
					c.Close()
				}
				return err != nil
			})
			if _, err := conn.ExecContext(t.Context(), "DO RELEASE_LOCK('portal.initialize')"); err != nil {
				t.Fatal(err)
			}
			if status := <-answered; status != 200 {
				t.Errorf("the request under way was answered %d, want 200", status)
			}
			p.end(t)
		})
	}
}

// TestParallelModeSaysWhatItIs serves from two replicas in the contest's own way, and wants a warning.
func TestParallelModeSaysWhatItIs(t *testing.T) {
	engine := infratest.Engines(t)[0]
	s := newSite(t, engine)
	second := infratest.StartDB(t, engine)
	writeFile(t, s.dir, "db-2.dsn", second.RootDSN("portal"), 0o600)
	config, listen, _ := s.config(t, "all", "", 1)
	text, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	more := strings.Replace(string(text), "session_key_file", "  - {name: db-2, dsn_file: db-2.dsn}\nwrite_mode: parallel\nsession_key_file", 1)
	writeFile(t, s.dir, "all.yaml", more, 0o644)
	if code, out, errs := runArgs(t, "--config", config, "prepare"); code != 0 || !strings.Contains(out, "prepared 2 database(s)") {
		t.Fatalf("prepare: exit code %d, stdout %q, stderr %q", code, out, errs)
	}
	p := start(t, config, listen)
	if !strings.Contains(p.logs.String(), "corrupts data") {
		t.Errorf("the log does not warn:\n%s", p.logs)
	}
	writeFile(t, s.dir, "all.yaml", strings.Replace(more, "parallel", "hopeful", 1), 0o644)
	if code, _, errs := runArgs(t, "--config", config); code != 2 || !strings.Contains(errs, "hopeful") {
		t.Errorf("write_mode hopeful: exit code %d, stderr %q", code, errs)
	}
}

func TestListenFails(t *testing.T) {
	engine := infratest.Engines(t)[0]
	s := newSite(t, engine)
	config, listen, _ := s.config(t, "all", "", 1)
	s.prepareTwice(t, config)
	l, err := net.Listen("tcp", listen)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if code, _, errs := runArgs(t, "--config", config); code != 1 || !strings.Contains(errs, "address already in use") {
		t.Errorf("exit code %d, stderr %q; want 1 and the reason", code, errs)
	}
}
