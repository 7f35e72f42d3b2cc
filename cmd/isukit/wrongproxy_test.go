package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// wrong is a way in which an app can be wrong.
type wrong string

const (
	wrongDrop            wrong = "drop"             // hangs up without an answer
	wrongDelay           wrong = "delay"            // answers after the users' patience
	wrongTruncate        wrong = "truncate"         // hangs up in the middle of an answer
	wrongDuplicate       wrong = "duplicate"        // applies a request twice
	wrongDuplicateAnswer wrong = "duplicate answer" // answers twice
	wrongStale           wrong = "stale"            // answers what was true three seconds ago
	wrongSwap            wrong = "swap"             // gives one user's answer to another
)

// wrongProxy stands in front of a right app and makes every n-th suitable answer wrong, once it is armed.
type wrongProxy struct {
	kind  wrong
	every int64
	armed atomic.Bool
	count atomic.Int64
	hurt  atomic.Int64
	next  *httputil.ReverseProxy
	to    *url.URL
	delay time.Duration

	mu   sync.Mutex
	kept map[string]kept // by path and, except for swaps, by cookie
}

// kept is an answer that was given before.
type kept struct {
	cookie string
	at     time.Time
	header http.Header
	body   []byte
}

// startWrongProxy starts the proxy and returns its URL.
func startWrongProxy(t *testing.T, kind wrong, every int64, to string) (*wrongProxy, string) {
	t.Helper()
	target, err := url.Parse(to)
	if err != nil {
		t.Fatal(err)
	}
	p := &wrongProxy{kind: kind, every: every, to: target, delay: 3 * time.Second, kept: map[string]kept{}}
	p.next = httputil.NewSingleHostReverseProxy(target)
	p.next.ErrorHandler = func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) }
	s := httptest.NewServer(p)
	t.Cleanup(s.Close)
	return p, s.URL
}

// suits reports whether the fault can show at this request.
func (p *wrongProxy) suits(r *http.Request) bool {
	own := strings.HasPrefix(r.URL.Path, "/api/dashboard") || r.URL.Path == "/api/notifications" || r.URL.Path == "/api/jobs"
	switch p.kind {
	case wrongDuplicate:
		return r.Method == http.MethodPost && r.URL.Path == "/api/clarifications"
	case wrongStale:
		return r.Method == http.MethodGet && r.URL.Path == "/api/dashboard"
	case wrongSwap:
		return r.Method == http.MethodGet && own
	}
	return strings.HasPrefix(r.URL.Path, "/api/")
}

func (p *wrongProxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !p.armed.Load() || !p.suits(r) || p.count.Add(1)%p.every != 0 {
		p.keep(w, r)
		return
	}
	p.hurt.Add(1)
	switch p.kind {
	case wrongDrop:
		hangUp(w, nil)
	case wrongDelay:
		select {
		case <-time.After(p.delay):
		case <-r.Context().Done():
		}
		p.next.ServeHTTP(w, r)
	case wrongTruncate:
		a := p.answer(r)
		hangUp(w, a[:len(a)-max(1, bodyLen(a)/2)])
	case wrongDuplicate:
		body, _ := io.ReadAll(r.Body)
		first := r.Clone(r.Context())
		first.Body = io.NopCloser(bytes.NewReader(body))
		p.answer(first)
		r.Body = io.NopCloser(bytes.NewReader(body))
		p.next.ServeHTTP(w, r)
	case wrongDuplicateAnswer:
		a := p.answer(r)
		hangUp(w, append(bytes.Clone(a), a...))
	case wrongStale, wrongSwap:
		p.replay(w, r)
	}
}

// answer has the app answer and returns the bytes as they would go over the wire.
func (p *wrongProxy) answer(r *http.Request) []byte {
	rec := httptest.NewRecorder()
	p.next.ServeHTTP(rec, r)
	resp := rec.Result()
	resp.ContentLength = int64(rec.Body.Len())
	var b bytes.Buffer
	if err := resp.Write(&b); err != nil {
		panic(fmt.Sprintf("write an answer into memory: %v", err))
	}
	return b.Bytes()
}

func bodyLen(answer []byte) int {
	return len(answer) - bytes.Index(answer, []byte("\r\n\r\n")) - 4
}

// hangUp sends raw bytes and closes the connection.
func hangUp(w http.ResponseWriter, raw []byte) {
	conn, buf, err := w.(http.Hijacker).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	defer conn.Close()
	if _, err := buf.Write(raw); err == nil {
		_ = buf.Flush() // a user who has gone needs no answer
	}
}

// keep answers rightly, and remembers answers that a replay can use.
func (p *wrongProxy) keep(w http.ResponseWriter, r *http.Request) {
	if p.kind != wrongStale && p.kind != wrongSwap || !p.suits(r) {
		p.next.ServeHTTP(w, r)
		return
	}
	rec := httptest.NewRecorder()
	p.next.ServeHTTP(rec, r)
	if rec.Code == http.StatusOK {
		p.mu.Lock()
		if old, ok := p.kept[p.key(r)]; !ok || p.kind == wrongSwap || time.Since(old.at) > p.delay { // clock: it is how the stand-in is wrong
			p.kept[p.key(r)] = kept{cookie: r.Header.Get("Cookie"), at: time.Now(), header: rec.Header().Clone(), body: bytes.Clone(rec.Body.Bytes())}
		}
		p.mu.Unlock()
	}
	for k, v := range rec.Header() {
		w.Header()[k] = v
	}
	w.WriteHeader(rec.Code)
	_, _ = w.Write(rec.Body.Bytes())
}

func (p *wrongProxy) key(r *http.Request) string {
	if p.kind == wrongSwap {
		return r.URL.Path
	}
	return r.URL.Path + " " + r.Header.Get("Cookie")
}

// replay answers with what was kept, if that is wrong for this request.
func (p *wrongProxy) replay(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	k, ok := p.kept[p.key(r)]
	p.mu.Unlock()
	if !ok || p.kind == wrongSwap && k.cookie == r.Header.Get("Cookie") {
		p.keep(w, r)
		return
	}
	for name, v := range k.header {
		w.Header()[name] = v
	}
	_, _ = w.Write(k.body)
}
