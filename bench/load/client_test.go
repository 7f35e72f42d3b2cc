package load_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"isukit/bench/load"
)

// tlsServer is an https server that answers "ok", and 404 to what is not "/".
func tlsServer(t testing.TB) *httptest.Server {
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/" {
			http.NotFound(w, r)
			return
		}
		io.WriteString(w, "ok")
	}))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

func TestTLS(t *testing.T) {
	t.Parallel()
	s := tlsServer(t)
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	var dials atomic.Int32
	e := load.NewEngine(load.Options{TLS: &tls.Config{RootCAs: roots}, Dial: countDials(&dials)})
	c := e.NewClient(0, "")
	defer c.Close()
	for i := range 20 {
		err := c.Do(t.Context(), &load.Request{Endpoint: e.Endpoint("x"), Origin: origin(t, s.URL), Target: "/"}, nil)
		if err != nil {
			t.Fatalf("request %d: got %v, want no fault", i, err)
		}
	}
	if n := dials.Load(); n != 1 {
		t.Errorf("%d connections for 20 requests, want 1", n)
	}
}

func countDials(n *atomic.Int32) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		n.Add(1)
		return (&net.Dialer{}).DialContext(ctx, network, addr)
	}
}

// TestIdleClosed has a connection that the server closed between two requests replaced without a fault, for any method.
func TestIdleClosed(t *testing.T) {
	t.Parallel()
	for _, method := range []string{"GET", "POST"} {
		closed := make(chan bool, 5)
		o := serveRaw(t, func(c net.Conn, r *bufio.Reader) {
			answeringOnce(okAnswer)(c, r)
			c.Close()
			closed <- true
		})
		e := load.NewEngine(load.Options{})
		c := e.NewClient(0, "")
		defer c.Close()
		for i := range 5 {
			err := c.Do(t.Context(), &load.Request{Endpoint: e.Endpoint("x"), Origin: o, Method: method, Target: "/"}, nil)
			if err != nil {
				t.Errorf("%s %d: got %v, want no fault", method, i, err)
			}
			<-closed
			time.Sleep(time.Millisecond) // a GET that follows immediately does not look
		}
		if got := e.Sockets(); got.Dialed != 5 || got.Replaced != 4 || got.Repeated != 0 || len(got.Limits()) != 0 {
			t.Errorf("%s: got %+v, want 5 connections of which 4 in place of another", method, got)
		}
	}
}

// TestOutOfFiles has the generator's own lack of files said as such, both in the hit's fault and in the engine's verdict.
func TestOutOfFiles(t *testing.T) {
	e := load.NewEngine(load.Options{Dial: func(context.Context, string, string) (net.Conn, error) {
		return nil, &net.OpError{Op: "dial", Err: os.NewSyscallError("socket", syscall.EMFILE)}
	}})
	c := e.NewClient(0, "")
	err := c.Do(t.Context(), &load.Request{Endpoint: e.Endpoint("x"), Origin: origin(t, "http://127.0.0.1:1"), Target: "/"}, nil)
	if err == nil || !strings.Contains(err.Error(), "ulimit -n") || len(e.Sockets().Limits()) != 1 {
		t.Errorf("got %v and limits %q, want both to name the limit of open files", err, e.Sockets().Limits())
	}
	if err := load.RaiseFileLimit(1 << 40); err == nil || !strings.Contains(err.Error(), "ulimit -Hn") {
		t.Errorf("RaiseFileLimit: got %v, want it to say how", err)
	}
}

// TestClosedInsteadOfAnswer has a reused connection that ends after the request repeated once if that does no harm.
func TestClosedInsteadOfAnswer(t *testing.T) {
	tests := map[string]struct {
		closeAll bool
		faults   int
		sent     int32
	}{
		"GET":  {faults: 0, sent: 3},
		"POST": {faults: 1, sent: 2},
		"PUT":  {closeAll: true, faults: 1, sent: 3},
	}
	for method, tt := range tests {
		t.Run(method, func(t *testing.T) {
			var requests atomic.Int32
			o := serveRaw(t, func(c net.Conn, r *bufio.Reader) {
				for readRequest(r) {
					n := requests.Add(1)
					if n == 2 || tt.closeAll && n > 1 {
						return
					}
					io.WriteString(c, okAnswer)
				}
			})
			e := load.NewEngine(load.Options{})
			c := e.NewClient(0, "")
			defer c.Close()
			faults := 0
			for range 2 {
				req := &load.Request{Endpoint: e.Endpoint("x"), Origin: o, Method: method, Target: "/"}
				if err := c.Do(t.Context(), req, nil); err != nil {
					faults++
					if got, want := err.Error(), "connection closed before the answer"; got != want {
						t.Errorf("fault: got %q, want %q", got, want)
					}
				}
			}
			if faults != tt.faults || requests.Load() != tt.sent {
				t.Errorf("got %d faults and %d requests, want %d and %d", faults, requests.Load(), tt.faults, tt.sent)
			}
		})
	}
}

// TestLateBytes has an answer that is sent a second time, a little later, blamed on the hit that it answers.
func TestLateBytes(t *testing.T) {
	t.Parallel()
	read, sent := make(chan bool), make(chan bool) // the first answer was read, and sent again
	o := serveRaw(t, func(c net.Conn, r *bufio.Reader) {
		for n := 0; readRequest(r); n++ {
			io.WriteString(c, okAnswer)
			if n == 0 {
				<-read
				io.WriteString(c, okAnswer)
				sent <- true
			}
		}
	})
	sendAgain := func() {
		read <- true
		<-sent
		time.Sleep(time.Millisecond) // a GET that follows immediately does not look
	}
	for _, quiet := range []bool{false, true} {
		t.Run(fmt.Sprintf("quiet=%v", quiet), func(t *testing.T) {
			e := load.NewEngine(load.Options{})
			c := e.NewClient(0, "")
			defer c.Close()
			first := load.Request{Endpoint: e.Endpoint("first"), Origin: o, Target: "/", Quiet: quiet}
			second := load.Request{Endpoint: e.Endpoint("second"), Origin: o, Target: "/", Quiet: quiet}
			if err := c.Do(t.Context(), &first, nil); err != nil {
				t.Fatal(err)
			}
			sendAgain()
			err := c.Do(t.Context(), &second, nil)
			s := e.Recorder().Summary(time.Now())
			if quiet {
				if err == nil || s.Total.Hits != 0 {
					t.Errorf("got %v and %d hits, want a fault and none", err, s.Total.Hits)
				}
				return
			}
			sendAgain() // the second request went over a new connection
			if err != nil {
				t.Errorf("second request: got %v, want no fault", err)
			}
			if s.Total.Hits != 2 || len(s.Errors) != 1 || s.Errors[0].Endpoint != "first" {
				t.Errorf("got %d hits, errors %+v, want 2 hits, one error of the first", s.Total.Hits, s.Errors)
			}
		})
	}
	t.Run("close", func(t *testing.T) {
		e := load.NewEngine(load.Options{})
		c := e.NewClient(0, "")
		req := load.Request{Endpoint: e.Endpoint("x"), Origin: o, Target: "/", Quiet: true}
		if err := c.Do(t.Context(), &req, nil); err != nil {
			t.Fatal(err)
		}
		sendAgain()
		if err := c.Close(); err == nil {
			t.Error("Close found nothing, want the bytes that came late")
		}
	})
}

// TestLateBytesCountWhereTheirHitDid has bytes that come in the second after the hit that they belong to: the timeline shows one
// error in that hit's second, and none where it was noticed.
func TestLateBytesCountWhereTheirHitDid(t *testing.T) {
	t.Parallel()
	again, sent := make(chan bool), make(chan bool)
	o := serveRaw(t, func(c net.Conn, r *bufio.Reader) {
		for n := 0; readRequest(r); n++ {
			io.WriteString(c, okAnswer)
			if n == 0 {
				<-again
				io.WriteString(c, okAnswer)
				sent <- true
			}
		}
	})
	rec := load.NewRecorder(load.RecorderOptions{Start: time.Now().Add(-950 * time.Millisecond)})
	e := load.NewEngine(load.Options{Recorder: rec})
	c := e.NewClient(0, "")
	req := load.Request{Endpoint: e.Endpoint("x"), Origin: o, Target: "/"}
	var done time.Time
	if err := c.Do(t.Context(), &req, func(r *load.Response) error { done = r.Done; return nil }); err != nil {
		t.Fatal(err)
	}
	second := done.Sub(rec.StartedAt()) / time.Second
	time.Sleep(time.Until(rec.StartedAt().Add((second + 1) * time.Second)))
	again <- true
	<-sent
	c.Close()
	all := rec.Summary(time.Now()).Seconds
	if len(all) == 0 || int(second) >= len(all) {
		t.Fatalf("%d seconds, want that of the hit, %d", len(all), second)
	}
	for at, s := range all {
		want := load.Counts{}
		if at == int(second) {
			want.Errors = 1
		}
		if s.OK != 0 || s.Errors != want.Errors {
			t.Errorf("second %d has %d right answers and %d errors, want 0 and %d", at, s.OK, s.Errors, want.Errors)
		}
	}
}

// TestCanceled: a request that is in progress when the context ends returns immediately, counts as neither error nor success, and leaves
// the client usable under another context.
func TestCanceled(t *testing.T) {
	t.Parallel()
	o := serveRaw(t, func(c net.Conn, r *bufio.Reader) {
		for n := 0; readRequest(r); n++ {
			if n != 1 {
				io.WriteString(c, okAnswer)
			}
		}
	})
	e := load.NewEngine(load.Options{})
	c := e.NewClient(0, "")
	defer c.Close()
	req := load.Request{Endpoint: e.Endpoint("x"), Origin: o, Target: "/"}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	if err := c.Do(ctx, &req, nil); err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(50*time.Millisecond, cancel)
	if err := c.Do(ctx, &req, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("under way: got %v, want canceled", err)
	}
	if err := c.Do(ctx, &req, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("not sent: got %v, want canceled", err)
	}
	if err := c.Do(t.Context(), &req, nil); err != nil {
		t.Errorf("another context: got %v, want no fault", err)
	}
	s := e.Recorder().Summary(time.Now())
	if s.Total.OK != 2 || s.Total.Canceled != 1 || s.Total.Errors != 0 {
		t.Errorf("got %+v, want 2 ok, 1 canceled", s.Total.Counts)
	}
}

// TestCanceledConnecting has a connection that is still being made when the context's deadline passes be no hit at all.
func TestCanceledConnecting(t *testing.T) {
	t.Parallel()
	e := load.NewEngine(load.Options{Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		deadline, _ := ctx.Deadline()
		time.Sleep(time.Until(deadline))
		return nil, &net.OpError{Op: "dial", Err: os.ErrDeadlineExceeded} // what net.Dialer returns, as soon as that
	}})
	for range 20 {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
		c := e.NewClient(0, "")
		err := c.Do(ctx, &load.Request{Endpoint: e.Endpoint("x"), Origin: origin(t, "http://127.0.0.1:1"), Target: "/"}, nil)
		if !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want canceled", err)
		}
		cancel()
	}
	if s := e.Recorder().Summary(time.Now()); s.Total.Hits+s.Total.Canceled != 0 {
		t.Errorf("got %+v, want no hits", s.Total.Counts)
	}
}

// TestCancelIdle has a context that ends while a connection is idle leave that connection usable.
func TestCancelIdle(t *testing.T) {
	o := serveRaw(t, answering(okAnswer))
	var dials atomic.Int32
	e := load.NewEngine(load.Options{Dial: countDials(&dials)})
	c := e.NewClient(0, "")
	defer c.Close()
	for i := range 5 {
		ctx, cancel := context.WithCancel(t.Context())
		if err := c.Do(ctx, &load.Request{Endpoint: e.Endpoint("x"), Origin: o, Target: "/"}, nil); err != nil {
			t.Errorf("request %d: got %v, want no fault", i, err)
		}
		cancel()
		time.Sleep(5 * time.Millisecond)
	}
	if n := dials.Load(); n != 1 {
		t.Errorf("%d connections, want 1", n)
	}
}

func TestChecks(t *testing.T) {
	o := serveRaw(t, answering(okAnswer))
	stale := load.Faultf(load.Stale, "older than its write", "job %d", 12)
	tests := map[string]struct {
		check error
		want  load.Kind
	}{
		"ok":      {nil, load.OK},
		"fault":   {stale, load.Stale},
		"wrapped": {fmt.Errorf("leaderboard: %w", stale), load.Stale},
		"refused": {fmt.Errorf("bot: %w", load.ErrRefused), load.Refused},
		"other":   {errors.New("score is 3, want 4"), load.Wrong},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			e := load.NewEngine(load.Options{})
			c := e.NewClient(0, "")
			defer c.Close()
			err := c.Do(t.Context(), &load.Request{Endpoint: e.Endpoint("x"), Origin: o, Target: "/"}, func(*load.Response) error { return tt.check })
			if got := kindOf(err); got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
			if n := e.Recorder().Summary(time.Now()).Total.ByKind[tt.want]; n != 1 {
				t.Errorf("counted %d %v, want 1", n, tt.want)
			}
		})
	}
}

// TestBrowser goes through cookies and conditional requests against net/http.
func TestBrowser(t *testing.T) {
	t.Parallel()
	mux := http.NewServeMux()
	mux.HandleFunc("POST /login", func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		http.SetCookie(w, &http.Cookie{Name: "session", Value: string(body), Path: "/", HttpOnly: true, Secure: true})
		http.SetCookie(w, &http.Cookie{Name: "deep", Value: "1", Path: "/deep"})
	})
	mux.HandleFunc("POST /logout", func(w http.ResponseWriter, r *http.Request) {
		http.SetCookie(w, &http.Cookie{Name: "session", Path: "/", MaxAge: -1})
	})
	mux.HandleFunc("GET /me", func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, r.Header.Get("Cookie")+"|"+r.UserAgent())
	})
	mux.HandleFunc("GET /page", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"v1"`)
		w.Header().Set("Content-Type", "text/x-page")
		if r.Header.Get("If-None-Match") == `"v1"` {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		io.WriteString(w, "page")
	})
	srv := httptest.NewServer(mux)
	defer srv.Close()
	e := load.NewEngine(load.Options{})
	c := e.NewClient(1, "browser/1")
	defer c.Close()
	do := func(method, target, body string, conditional bool) (resp load.Response) {
		t.Helper()
		req := load.Request{Endpoint: e.Endpoint(method + " " + target), Origin: origin(t, srv.URL), Method: method, Target: target,
			Body: []byte(body), Conditional: conditional}
		err := c.Do(t.Context(), &req, func(r *load.Response) error { resp = *r; resp.Body = append([]byte(nil), r.Body...); return nil })
		if err != nil {
			t.Fatalf("%s %s: %v", method, target, err)
		}
		return resp
	}
	wantBody := func(got load.Response, want string) {
		t.Helper()
		if string(got.Body) != want {
			t.Errorf("got %q, want %q", got.Body, want)
		}
	}
	wantBody(do("GET", "/me", "", false), "|browser/1")
	do("POST", "/login", "alice", false)
	wantBody(do("GET", "/me", "", false), "session=alice|browser/1")
	do("POST", "/login", "bob", false)
	wantBody(do("GET", "/me", "", false), "session=bob|browser/1")
	if got := c.Cookie("session"); got != "bob" {
		t.Errorf("cookie: got %q, want bob", got)
	}
	do("POST", "/logout", "", false)
	wantBody(do("GET", "/me", "", false), "|browser/1")

	for i, want := range []bool{false, true, true} {
		r := do("GET", "/page", "", true)
		if string(r.Body) != "page" || r.Status != 200 || r.NotModified != want || r.Header("content-type") != "text/x-page" {
			t.Errorf("page %d: got %d %q not modified %v %q, want 200 page %v text/x-page", i, r.Status, r.Body, r.NotModified,
				r.Header("content-type"), want)
		}
	}
}
