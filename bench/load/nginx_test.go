package load_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"isukit/bench/load"
	"isukit/infra/infratest"
)

// TestNginx has users load a real nginx that compresses, chunks, knows ETags, ends connections after a few requests, and is
// reloaded meanwhile: none of that is an error.
func TestNginx(t *testing.T) {
	t.Parallel()
	n := infratest.StartNginx(t, "types { text/plain txt; } gzip on; gzip_min_length 100; gzip_types text/plain;",
		"root .; keepalive_requests 7; location = /teapot { return 418 short; } location = /none { return 204; }")
	text := strings.Repeat("leaderboard ", 500)
	if err := os.WriteFile(filepath.Join(n.Dir, "page.txt"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	o := origin(t, n.URL)
	e := load.NewEngine(load.Options{})
	page := func(target string, gzip, conditional bool) (load.Request, func(*load.Response) error) {
		req := load.Request{Endpoint: e.Endpoint("GET " + target), Origin: o, Target: target, Gzip: gzip, Conditional: conditional}
		return req, func(r *load.Response) error {
			want, status := text, 200
			switch target {
			case "/teapot":
				want, status = "short", 418
			case "/none":
				want, status = "", 204
			}
			if r.Status != status || string(r.Body) != want {
				return load.Faultf(load.Wrong, "not the page", "status %d, %d bytes", r.Status, len(r.Body))
			}
			return nil
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	rep := load.Run(ctx, load.Users{N: 8}, func(user int) load.User {
		return func(ctx context.Context) {
			c := e.NewClient(user, "")
			defer c.Close()
			for i := user; ctx.Err() == nil; i++ {
				target := []string{"/page.txt", "/teapot", "/page.txt", "/none"}[i%4]
				req, check := page(target, i%3 == 0, i%4 == 2)
				c.Do(ctx, &req, check)
			}
		}
	}, e.Recorder(), func(load.Tick) {
		if err := syscall.Kill(n.PID(), syscall.SIGHUP); err != nil {
			t.Errorf("reload nginx: %v", err)
		}
	})
	s := e.Recorder().Summary(rep.End)
	if s.Total.OK < 100 || s.Total.Errors > 0 {
		t.Errorf("got %d right answers, errors %+v, want many and none; log:\n%s", s.Total.OK, s.Errors, n.Log())
	}
	log, err := os.ReadFile(filepath.Join(n.Dir, "access.log"))
	if err != nil {
		t.Fatal(err)
	}
	notModified := strings.Count(string(log), `" 304 `)
	if notModified == 0 || e.Sockets().Dialed < s.Total.OK/7 {
		t.Errorf("nginx answered %d times 304 and had %d connections for %d hits, want some, and one for each 7 hits", notModified,
			e.Sockets().Dialed, s.Total.OK)
	}
}
