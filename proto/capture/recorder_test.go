package capture_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"isukit/proto/capture"
)

// TestRecorderIsRead records a client's own traffic and reads it back: every exchange is there, whole and in order.
func TestRecorderIsRead(t *testing.T) {
	for _, network := range []string{"tcp4", "tcp6"} {
		t.Run(network, func(t *testing.T) {
			var file bytes.Buffer
			rec, err := capture.NewRecorder(&file)
			if err != nil {
				t.Fatal(err)
			}
			const exchanges = 20
			bodies := playRecorded(t, rec, network, exchanges)
			if err := rec.Flush(); err != nil {
				t.Fatal(err)
			}
			r, err := capture.NewReader(&file, capture.DefaultOptions())
			if err != nil {
				t.Fatal(err)
			}
			for n := range exchanges {
				e, err := r.Next(t.Context())
				if err != nil {
					t.Fatalf("exchange %d: %v", n, err)
				}
				if string(e.Request.Body) != bodies[n] || string(e.Response.Body) != bodies[n] || e.Response.Status != 200 {
					t.Fatalf("exchange %d: %d bytes asked, %d answered with %d, want %d of each and 200", n,
						len(e.Request.Body), len(e.Response.Body), e.Response.Status, len(bodies[n]))
				}
				if len(e.Incomplete) > 0 {
					t.Errorf("exchange %d is marked incomplete: %v", n, e.Incomplete)
				}
			}
			if e, err := r.Next(t.Context()); !errors.Is(err, io.EOF) {
				t.Errorf("after the last exchange: %v, %v, want the end", e, err)
			}
		})
	}
}

// playRecorded sends n requests over one recorded connection to a server that echoes, and returns their bodies.
func playRecorded(t *testing.T, rec *capture.Recorder, network string, n int) []string {
	t.Helper()
	address := map[string]string{"tcp4": "127.0.0.1:0", "tcp6": "[::1]:0"}[network]
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	s := &httptest.Server{Listener: l, Config: &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// The whole body first: the server takes no more of it once an answer has begun.
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		_, _ = w.Write(body)
	})}}
	s.Start()
	defer s.Close()
	transport := &http.Transport{DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := (&net.Dialer{}).DialContext(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return rec.Conn(c)
	}}
	defer transport.CloseIdleConnections()
	var bodies []string
	for i := range n {
		body := strings.Repeat(fmt.Sprint(i), 1+i*7000)
		resp, err := (&http.Client{Transport: transport}).Post(s.URL, "text/plain", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, resp.Body); err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		bodies = append(bodies, body)
	}
	return bodies
}
