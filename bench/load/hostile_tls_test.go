package load_test

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"isukit/bench/load"
)

// serveTLS is serveRaw behind TLS; raw is the connection below. The pool trusts the server.
func serveTLS(t *testing.T, handle func(c *tls.Conn, raw net.Conn, r *bufio.Reader)) (*load.Origin, *x509.CertPool) {
	t.Helper()
	s := tlsServer(t) // for its certificate
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	cfg := &tls.Config{Certificates: s.TLS.Certificates}
	o := serveRaw(t, func(raw net.Conn, _ *bufio.Reader) {
		c := tls.Server(raw, cfg)
		handle(c, raw, bufio.NewReader(c))
	})
	return origin(t, strings.Replace(o.String(), "http:", "https:", 1)), roots
}

// TestHostileTLS has what goes wrong inside an established TLS session cost one hit, too.
func TestHostileTLS(t *testing.T) {
	t.Parallel()
	answer := func(s string, then func(c *tls.Conn, raw net.Conn)) func(*tls.Conn, net.Conn, *bufio.Reader) {
		return func(c *tls.Conn, raw net.Conn, r *bufio.Reader) {
			for readRequest(r) {
				io.WriteString(c, s)
				if then != nil {
					then(c, raw)
				}
			}
		}
	}
	const half = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello"
	tests := map[string]struct {
		handle func(*tls.Conn, net.Conn, *bufio.Reader)
		kind   load.Kind
		text   string
	}{
		"right":             {answer(okAnswer, nil), load.OK, ""},
		"answered twice":    {answer(okAnswer+okAnswer, nil), load.Protocol, "unexpected bytes after the answer"},
		"closed in body":    {answer(half, func(c *tls.Conn, _ net.Conn) { c.Close() }), load.Protocol, "body ended early"},
		"torn off in body":  {answer(half, func(_ *tls.Conn, raw net.Conn) { raw.Close() }), load.Protocol, "body ended early"},
		"garbage in body":   {answer(half, func(_ *tls.Conn, raw net.Conn) { raw.Write(make([]byte, 100)) }), load.Protocol, "connection broke in the body"},
		"stuck in body":     {answer(half, nil), load.Timeout, "answer's body incomplete when the time ran out"},
		"closed at request": {answer("", func(c *tls.Conn, _ net.Conn) { c.Close() }), load.Protocol, "connection closed before the answer"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			o, roots := serveTLS(t, tt.handle)
			e := load.NewEngine(load.Options{TLS: &tls.Config{RootCAs: roots}})
			c := e.NewClient(0, "")
			defer c.Close()
			req := load.Request{Endpoint: e.Endpoint("x"), Origin: o, Target: "/"}
			if tt.kind == load.Timeout {
				req.Timeout = 250 * time.Millisecond
			}
			err := c.Do(t.Context(), &req, nil)
			f, _ := errors.AsType[*load.Fault](err)
			if kindOf(err) != tt.kind || f != nil && f.Text != tt.text {
				t.Errorf("got %v fault %v, want %v fault %q", kindOf(err), err, tt.kind, tt.text)
			}
		})
	}
}

// TestLateBytesTLS has a second answer found that comes later over TLS, and session tickets not be mistaken for one.
func TestLateBytesTLS(t *testing.T) {
	t.Parallel()
	read, sent := make(chan bool), make(chan bool) // the third answer was read, and sent again
	o, roots := serveTLS(t, func(c *tls.Conn, _ net.Conn, r *bufio.Reader) {
		for n := 0; readRequest(r); n++ {
			io.WriteString(c, okAnswer)
			if n == 2 {
				<-read
				io.WriteString(c, okAnswer)
				sent <- true
			}
		}
	})
	e := load.NewEngine(load.Options{TLS: &tls.Config{RootCAs: roots}})
	c := e.NewClient(0, "")
	defer c.Close()
	for i := range 4 {
		err := c.Do(t.Context(), &load.Request{Endpoint: e.Endpoint("x"), Origin: o, Target: "/", Quiet: true}, nil)
		if want := i == 3; (err != nil) != want {
			t.Errorf("request %d: got %v, want a fault: %v", i, err, want)
		}
		if i == 2 {
			read <- true
			<-sent
		}
	}
}

// TestIdleClosedTLS is TestIdleClosed over TLS, whether or not the server says good-bye.
func TestIdleClosedTLS(t *testing.T) {
	t.Parallel()
	for name, hangUp := range map[string]func(c *tls.Conn, raw net.Conn){
		"with close_notify": func(c *tls.Conn, _ net.Conn) { c.Close() },
		"without":           func(_ *tls.Conn, raw net.Conn) { raw.Close() },
	} {
		closed := make(chan bool, 3)
		o, roots := serveTLS(t, func(c *tls.Conn, raw net.Conn, r *bufio.Reader) {
			if readRequest(r) {
				io.WriteString(c, okAnswer)
			}
			hangUp(c, raw)
			closed <- true
		})
		e := load.NewEngine(load.Options{TLS: &tls.Config{RootCAs: roots}})
		c := e.NewClient(0, "")
		defer c.Close()
		for i := range 3 {
			req := load.Request{Endpoint: e.Endpoint("x"), Origin: o, Method: "POST", Target: "/"}
			if err := c.Do(t.Context(), &req, nil); err != nil {
				t.Errorf("%s: POST %d: got %v, want no fault", name, i, err)
				break
			}
			<-closed
		}
		if got := e.Sockets(); got.Dialed != 3 || got.Replaced != 2 || got.Repeated != 0 {
			t.Errorf("%s: got %+v, want 3 connections of which 2 in place of another", name, got)
		}
	}
}

// TestLargeRequest has a server that does not read a large request time out, and one that refuses it early be heard.
func TestLargeRequest(t *testing.T) {
	t.Parallel()
	body := make([]byte, 16<<20)
	deaf := serveRaw(t, func(c net.Conn, r *bufio.Reader) { time.Sleep(time.Second) })
	early := serveRaw(t, func(c net.Conn, r *bufio.Reader) {
		r.ReadString('\n')
		io.WriteString(c, "HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
		io.Copy(io.Discard, io.LimitReader(r, int64(len(body))))
	})
	e := load.NewEngine(load.Options{})
	c := e.NewClient(0, "")
	defer c.Close()
	req := load.Request{Endpoint: e.Endpoint("x"), Origin: deaf, Method: "POST", Target: "/", Body: body, Timeout: 250 * time.Millisecond}
	if err := c.Do(t.Context(), &req, nil); kindOf(err) != load.Timeout || err.Error() != "request not sent in time" {
		t.Errorf("deaf server: got %v, want a timeout", err)
	}
	req.Origin, req.Timeout = early, 0
	status := 0
	err := c.Do(t.Context(), &req, func(r *load.Response) error { status = r.Status; return nil })
	if err != nil || status != 413 {
		t.Errorf("early answer: got status %d, %v, want 413", status, err)
	}
}
