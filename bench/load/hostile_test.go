package load_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"isukit/bench/load"
)

// serveRaw runs a server that does with every connection what handle says, and closes it.
func serveRaw(t testing.TB, handle func(c net.Conn, r *bufio.Reader)) *load.Origin {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				handle(c, bufio.NewReader(c))
			}()
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return origin(t, "http://"+l.Addr().String())
}

func origin(t testing.TB, s string) *load.Origin {
	t.Helper()
	o, err := load.ParseOrigin(s)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// answering returns a handler that gives every request the same bytes, and keeps the connection.
func answering(answer string) func(net.Conn, *bufio.Reader) {
	return func(c net.Conn, r *bufio.Reader) {
		for readRequest(r) {
			c.Write([]byte(answer))
		}
	}
}

// answeringOnce is answering that closes the connection after each answer.
func answeringOnce(answer string) func(net.Conn, *bufio.Reader) {
	return func(c net.Conn, r *bufio.Reader) {
		if readRequest(r) {
			c.Write([]byte(answer))
		}
	}
}

func readRequest(r *bufio.Reader) bool {
	req, err := http.ReadRequest(r)
	if err != nil {
		return false
	}
	_, err = bytes.NewBuffer(nil).ReadFrom(req.Body)
	return err == nil
}

const okAnswer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

// dribble writes slowly until the connection breaks.
func dribble(first, piece string) func(net.Conn, *bufio.Reader) {
	return func(c net.Conn, r *bufio.Reader) {
		if !readRequest(r) {
			return
		}
		_, err := c.Write([]byte(first))
		for err == nil {
			time.Sleep(20 * time.Millisecond)
			_, err = c.Write([]byte(piece))
		}
	}
}

// flood writes as fast as it can until the connection breaks.
func flood(first, piece string) func(net.Conn, *bufio.Reader) {
	piece = strings.Repeat(piece, 1+1000/len(piece))
	return func(c net.Conn, r *bufio.Reader) {
		if !readRequest(r) {
			return
		}
		_, err := c.Write([]byte(first))
		for err == nil {
			_, err = c.Write([]byte(piece))
		}
	}
}

func gzipped(s string) string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	w.Write([]byte(s))
	w.Close()
	return b.String()
}

// TestHostile has each way of answering wrongly cost the user one error with a text of its own, soon, and nothing after that:
// the same client then gets a right answer from a right server.
func TestHostile(t *testing.T) {
	tests := map[string]struct {
		handle func(net.Conn, *bufio.Reader)
		kind   load.Kind
		text   string
	}{
		"slow head":            {dribble("HTTP/1.1 200 OK\r\n", "a"), load.Timeout, "answer's head incomplete when the time ran out"},
		"slow body":            {dribble("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", "a"), load.Timeout, "answer's body incomplete when the time ran out"},
		"slow chunks":          {dribble("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "1\r\na\r\n"), load.Timeout, "answer's body incomplete when the time ran out"},
		"no answer":            {dribble("", ""), load.Timeout, "no answer in time"},
		"no length, no end":    {dribble("HTTP/1.1 200 OK\r\n\r\n", "a"), load.Timeout, "answer's body incomplete when the time ran out"},
		"endless header":       {flood("HTTP/1.1 200 OK\r\nA: ", "a"), load.Protocol, "head too large"},
		"endless headers":      {flood("HTTP/1.1 200 OK\r\n", "A: b\r\n"), load.Protocol, "head too large"},
		"many headers":         {answering("HTTP/1.1 200 OK\r\n" + strings.Repeat("A: b\r\n", 300) + "\r\n"), load.Protocol, "too many header fields"},
		"endless body":         {flood("HTTP/1.1 200 OK\r\n\r\n", "a"), load.Protocol, "body too large"},
		"endless chunks":       {flood("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "1\r\na\r\n"), load.Protocol, "body too large"},
		"endless chunk size":   {flood("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "0"), load.Protocol, "chunk size too long"},
		"endless trailers":     {flood("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", "A: b\r\n"), load.Protocol, "trailer too long"},
		"large body":           {answering("HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n"), load.Protocol, "body too large"},
		"large chunk":          {answering("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n7fffffff\r\n"), load.Protocol, "body too large"},
		"absurd chunk":         {answering("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n"), load.Protocol, "malformed chunk size"},
		"absurd length":        {answering("HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999999\r\n\r\n"), load.Protocol, "malformed Content-Length"},
		"negative length":      {answering("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n"), load.Protocol, "malformed Content-Length"},
		"empty length":         {answering("HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\n"), load.Protocol, "malformed Content-Length"},
		"two lengths":          {answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok"), load.Protocol, "two different Content-Lengths"},
		"length and chunks":    {answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), load.Protocol, "both Content-Length and chunked"},
		"length too short":     {answering("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nok"), load.Protocol, "unexpected bytes after the answer"},
		"length too long":      {answeringOnce("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok"), load.Protocol, "body ended early"},
		"chunk too long":       {answering("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nok\r\n0\r\n\r\n"), load.Protocol, "chunk longer than its size"},
		"chunk without size":   {answering("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\r\n"), load.Protocol, "malformed chunk size"},
		"chunks cut":           {answeringOnce("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\no"), load.Protocol, "body ended early"},
		"no last chunk":        {answeringOnce("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n"), load.Protocol, "body ended early"},
		"head cut":             {answeringOnce("HTTP/1.1 200 OK\r\nConte"), load.Protocol, "head ended early"},
		"closed at once":       {func(net.Conn, *bufio.Reader) {}, load.Protocol, "connection closed before the answer"},
		"closed after request": {answeringOnce(""), load.Protocol, "connection closed before the answer"},
		"answered twice":       {answering(okAnswer + okAnswer), load.Protocol, "unexpected bytes after the answer"},
		"garbage after body":   {answering(okAnswer + "garbage"), load.Protocol, "unexpected bytes after the answer"},
		"body after 204":       {answering("HTTP/1.1 204 No Content\r\n\r\nok"), load.Protocol, "unexpected bytes after the answer"},
		"body after 304":       {answering("HTTP/1.1 304 Not Modified\r\nContent-Length: 2\r\n\r\nok"), load.Protocol, "unexpected bytes after the answer"},
		"1xx flood":            {flood("", "HTTP/1.1 103 Early Hints\r\n\r\n"), load.Protocol, "too many interim answers"},
		"switching":            {answering("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n"), load.Protocol, "switched protocols without being asked"},
		"garbage":              {answering("\x00\x01\x02 nothing of the kind\r\n\r\n"), load.Protocol, "not an HTTP/1 answer"},
		"HTTP/2":               {answering("HTTP/2 200\r\n\r\n"), load.Protocol, "not an HTTP/1 answer"},
		"TLS alert":            {answering("\x15\x03\x01\x00\x02\x02\x50"), load.Protocol, "not an HTTP/1 answer"},
		"status of two digits": {answering("HTTP/1.1 20 OK\r\n\r\n"), load.Protocol, "malformed status line"},
		"status of letters":    {answering("HTTP/1.1 abc OK\r\n\r\n"), load.Protocol, "malformed status line"},
		"status 999":           {answering("HTTP/1.1 999 OK\r\n\r\n"), load.Protocol, "malformed status line"},
		"folded header":        {answering("HTTP/1.1 200 OK\r\nA: b\r\n c\r\nContent-Length: 0\r\n\r\n"), load.Protocol, "malformed header field"},
		"space before colon":   {answering("HTTP/1.1 200 OK\r\nContent-Length : 0\r\n\r\n"), load.Protocol, "malformed header field"},
		"header without colon": {answering("HTTP/1.1 200 OK\r\nContent-Length\r\n\r\n"), load.Protocol, "malformed header field"},
		"bare CR":              {answering("HTTP/1.1 200 OK\r\nA: b\rC: d\r\n\r\n"), load.Protocol, "line ends without CRLF"},
		"bare LF":              {answering("HTTP/1.1 200 OK\nContent-Length: 0\n\r\n\r\n"), load.Protocol, "malformed status line"},
		"LF in a field":        {answering("HTTP/1.1 200 OK\r\nA: b\nC: d\r\nContent-Length: 0\r\n\r\n"), load.Protocol, "malformed header field"},
		"zero byte":            {answering("HTTP/1.1 200 OK\r\nA: \x00\r\nContent-Length: 0\r\n\r\n"), load.Protocol, "malformed header field"},
		"zero byte in status":  {answering("HTTP/1.1 200 O\x00K\r\nContent-Length: 0\r\n\r\n"), load.Protocol, "malformed status line"},
		"unknown coding":       {answering("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"), load.Protocol, "transfer encoding other than chunked"},
		"chunks with HTTP/1.0": {answering("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), load.Protocol, "chunked answer with HTTP/1.0"},
		"gzip unasked":         {answering("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\nok"), load.Protocol, "content encoding not asked for"},
		"status":               {answering("HTTP/1.1 500 Internal Server Error\r\nContent-Length: 2\r\n\r\nno"), load.Status, "unexpected status"},
	}
	good := serveRaw(t, answering(okAnswer))
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bad := serveRaw(t, tt.handle)
			e := load.NewEngine(load.Options{MaxBodyBytes: 128 << 10, RequestTimeout: time.Minute})
			ep := e.Endpoint("GET /")
			c := e.NewClient(7, "")
			defer c.Close()
			req := load.Request{Endpoint: ep, Origin: bad, Target: "/"}
			if tt.kind == load.Timeout {
				req.Timeout = 250 * time.Millisecond
			}
			err := c.Do(t.Context(), &req, nil)
			f, ok := errors.AsType[*load.Fault](err)
			if !ok || f.Kind != tt.kind || f.Text != tt.text {
				t.Fatalf("got %v fault %v, want %v fault %q", kindOf(err), err, tt.kind, tt.text)
			}
			for _, o := range []*load.Origin{good, good} {
				if err := c.Do(t.Context(), &load.Request{Endpoint: ep, Origin: o, Target: "/"}, nil); err != nil {
					t.Errorf("right answer afterwards: got %v, want no fault", err)
				}
			}
			s := e.Recorder().Summary(time.Now())
			if s.Total.Hits != 3 || s.Total.Errors != 1 || len(s.Errors) != 1 || s.Errors[0].Text != tt.text {
				t.Errorf("recorded %+v %+v, want 3 hits, 1 error %q", s.Total.Counts, s.Errors, tt.text)
			}
		})
	}
}

func kindOf(err error) load.Kind {
	if f, ok := errors.AsType[*load.Fault](err); ok {
		return f.Kind
	}
	return load.OK
}

// TestAnswers has unusual but right answers accepted, with the body that they carry.
func TestAnswers(t *testing.T) {
	zipped := gzipped("hello, hello, hello")
	tests := map[string]struct {
		handle func(net.Conn, *bufio.Reader)
		req    load.Request
		status int
		body   string
	}{
		"content length":      {handle: answering(okAnswer), status: 200, body: "ok"},
		"no reason":           {handle: answering("HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok"), status: 200, body: "ok"},
		"empty":               {handle: answering("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"), status: 200},
		"same length twice":   {handle: answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok"), status: 200, body: "ok"},
		"chunks":              {handle: answering("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\no\r\n1;x=y\r\nk\r\n0\r\n\r\n"), status: 200, body: "ok"},
		"chunks and trailers": {handle: answering("HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\n\r\n00002\r\nok\r\n0\r\nA: b\r\nC: d\r\n\r\n"), status: 200, body: "ok"},
		"many chunks":         {handle: answering("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + strings.Repeat("1\r\na\r\n", 50_000) + "0\r\n\r\n"), status: 200, body: strings.Repeat("a", 50_000)},
		"big chunk":           {handle: answering("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n186a0\r\n" + strings.Repeat("b", 100_000) + "\r\n0\r\n\r\n"), status: 200, body: strings.Repeat("b", 100_000)},
		"until close":         {handle: answeringOnce("HTTP/1.1 200 OK\r\n\r\nok"), status: 200, body: "ok"},
		"HTTP/1.0":            {handle: answeringOnce("HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok"), status: 200, body: "ok"},
		"connection close":    {handle: answeringOnce("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"), status: 200, body: "ok"},
		"interim":             {handle: answering("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + okAnswer), status: 200, body: "ok"},
		"204":                 {handle: answering("HTTP/1.1 204 No Content\r\n\r\n"), status: 204},
		"304 with length":     {handle: answering("HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n"), status: 304},
		"HEAD":                {handle: answering("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"), req: load.Request{Method: "HEAD"}, status: 200},
		"gzip":                {handle: answering("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk(zipped) + "0\r\n\r\n"), req: load.Request{Gzip: true}, status: 200, body: "hello, hello, hello"},
		"large":               {handle: answering("HTTP/1.1 200 OK\r\nContent-Length: 900000\r\n\r\n" + strings.Repeat("x", 900_000)), status: 200, body: strings.Repeat("x", 900_000)},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			e := load.NewEngine(load.Options{MaxBodyBytes: 1 << 20})
			c := e.NewClient(0, "")
			defer c.Close()
			req := tt.req
			req.Endpoint, req.Origin, req.Target = e.Endpoint("x"), serveRaw(t, tt.handle), "/"
			for i := range 3 {
				err := c.Do(t.Context(), &req, func(r *load.Response) error {
					if r.Status != tt.status || string(r.Body) != tt.body {
						t.Errorf("answer %d: got %d %.40q (%d bytes), want %d %.40q (%d bytes)", i, r.Status, r.Body, len(r.Body),
							tt.status, tt.body, len(tt.body))
					}
					return nil
				})
				if err != nil {
					t.Errorf("answer %d: got %v, want no fault", i, err)
				}
			}
		})
	}
}

func chunk(s string) string {
	const hex = "0123456789abcdef"
	n := len(s)
	return string([]byte{hex[n>>8&15], hex[n>>4&15], hex[n&15]}) + "\r\n" + s + "\r\n"
}

// TestGzipFaults has a body that claims to be gzip refused when it is not, or when it grows beyond the limit.
func TestGzipFaults(t *testing.T) {
	bomb := gzipped(strings.Repeat("a", 3<<20))
	tests := map[string]struct{ body, text string }{
		"not gzip":  {"ok", "body is not gzip"},
		"cut":       {gzipped("hello")[:20], "body is not gzip"},
		"zip bomb":  {bomb, "body too large"},
		"bad check": {flipLast(gzipped("hello")), "body is not gzip"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			e := load.NewEngine(load.Options{MaxBodyBytes: 1 << 20})
			c := e.NewClient(0, "")
			defer c.Close()
			o := serveRaw(t, answeringOnce("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n"+tt.body))
			err := c.Do(t.Context(), &load.Request{Endpoint: e.Endpoint("x"), Origin: o, Target: "/", Gzip: true}, nil)
			f, _ := errors.AsType[*load.Fault](err)
			if f == nil || f.Text != tt.text {
				t.Errorf("got %v, want %q", err, tt.text)
			}
		})
	}
}

// TestServerSpeaksFirst has an answer that comes before its request refused: it can't be the answer.
func TestServerSpeaksFirst(t *testing.T) {
	spoken := make(chan bool)
	o := serveRaw(t, func(c net.Conn, r *bufio.Reader) {
		io.WriteString(c, okAnswer)
		spoken <- true
		answering(okAnswer)(c, r)
	})
	// The dialer waits, so that the bytes have come when the request is about to go.
	dial := func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := (&net.Dialer{}).DialContext(ctx, network, addr)
		<-spoken
		return c, err
	}
	e := load.NewEngine(load.Options{Dial: dial})
	c := e.NewClient(0, "")
	defer c.Close()
	err := c.Do(t.Context(), &load.Request{Endpoint: e.Endpoint("x"), Origin: o, Target: "/"}, nil)
	if f, _ := errors.AsType[*load.Fault](err); f == nil || f.Text != "bytes came before the request" {
		t.Errorf("got %v, want bytes came before the request", err)
	}
}

func flipLast(s string) string {
	b := []byte(s)
	b[len(b)-5] ^= 1
	return string(b)
}

// TestConnectFaults has connections that cannot be made named.
func TestConnectFaults(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := l.Addr().String()
	l.Close()
	silent := serveRaw(t, func(c net.Conn, r *bufio.Reader) { r.Peek(1 << 20) })
	plain := serveRaw(t, answering(okAnswer))
	https := func(o *load.Origin) *load.Origin { return origin(t, strings.Replace(o.String(), "http:", "https:", 1)) }
	tests := map[string]struct {
		origin *load.Origin
		text   string
	}{
		"refused":         {origin(t, "http://"+closed), "connection refused"},
		"not TLS":         {https(plain), "TLS handshake failed"},
		"TLS never comes": {https(silent), "TLS handshake not done in time"},
		"not trusted":     {origin(t, tlsServer(t).URL), "TLS certificate not trusted"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			limit := time.Minute
			if tt.origin.String() == https(silent).String() {
				limit = 200 * time.Millisecond // which passes, since nothing comes
			}
			e := load.NewEngine(load.Options{ConnectTimeout: limit})
			c := e.NewClient(0, "")
			defer c.Close()
			err := c.Do(context.Background(), &load.Request{Endpoint: e.Endpoint("x"), Origin: tt.origin, Target: "/"}, nil)
			f, _ := errors.AsType[*load.Fault](err)
			if f == nil || f.Kind != load.Connect || f.Text != tt.text {
				t.Errorf("got %v fault %v, want connect fault %q", kindOf(err), err, tt.text)
			}
		})
	}
}
