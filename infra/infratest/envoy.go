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

// StartEnvoy starts an Envoy on free ports of 127.0.0.1 and returns when it answers. conf has a verb for each port: of its admin page, its
// own and that of its upstream. It is stopped and its directory removed when tb ends. Any failure fails tb.
func StartEnvoy(tb testing.TB, conf string, upstreamPort int) *Envoy {
	tb.Helper()
	Real(tb)
	e := &Envoy{Dir: shortTempDir(tb), tb: tb}
	port, admin := FreePort(tb), FreePort(tb)
	e.URL, e.Admin = fmt.Sprintf("http://127.0.0.1:%d", port), fmt.Sprintf("http://127.0.0.1:%d", admin)
	if err := os.WriteFile(e.Conf(), fmt.Appendf(nil, conf, admin, port, upstreamPort), 0o644); err != nil {
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
