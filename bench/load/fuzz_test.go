package load_test

import (
	"bytes"
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"isukit/bench/load"
)

// scripted is a connection whose server has already said everything: data, in pieces, then the end.
type scripted struct {
	data  []byte
	piece int
}

func (s *scripted) Read(b []byte) (int, error) {
	if len(s.data) == 0 {
		return 0, net.ErrClosed
	}
	n := copy(b, s.data[:min(s.piece, len(s.data))])
	s.data = s.data[n:]
	return n, nil
}
func (s *scripted) Write(b []byte) (int, error)      { return len(b), nil }
func (s *scripted) Close() error                     { return nil }
func (s *scripted) LocalAddr() net.Addr              { return nil }
func (s *scripted) RemoteAddr() net.Addr             { return nil }
func (s *scripted) SetDeadline(time.Time) error      { return nil }
func (s *scripted) SetReadDeadline(time.Time) error  { return nil }
func (s *scripted) SetWriteDeadline(time.Time) error { return nil }

// FuzzAnswer holds the parser to three things, whatever a server sends: it returns, it keeps the limits, and what it makes of
// the bytes does not depend on how they were cut into packets.
func FuzzAnswer(f *testing.F) {
	for _, s := range []string{
		okAnswer, okAnswer + okAnswer, "HTTP/1.1 204 No Content\r\n\r\n", "HTTP/1.1 100 Continue\r\n\r\n" + okAnswer,
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;a=b\r\no\r\n1\r\nk\r\n0\r\nA: b\r\n\r\n",
		"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\nSet-Cookie: a=b; Path=/; Max-Age=9\r\n\r\nok",
		"HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\nuntil the end",
		"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 29\r\n\r\n" + gzipped("hello"),
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + strings.Repeat("1\r\na\r\n", 3000) + "0\r\n\r\n",
	} {
		f.Add([]byte(s), uint16(1), false)
		f.Add([]byte(s), uint16(7), true)
	}
	const maxBody = 4000
	o := origin(f, "http://127.0.0.1:1")
	f.Fuzz(func(t *testing.T, data []byte, piece uint16, gz bool) {
		once := func(piece int) (int, []byte, string) {
			conn := &scripted{data: bytes.Clone(data), piece: piece}
			e := load.NewEngine(load.Options{MaxBodyBytes: maxBody, MaxHeaderBytes: 1000, MaxInterim: 3,
				Dial: func(context.Context, string, string) (net.Conn, error) { return conn, nil }})
			c := e.NewClient(0, "")
			defer c.Close()
			var status int
			var body []byte
			req := load.Request{Endpoint: e.Endpoint("x"), Origin: o, Target: "/", Gzip: gz, Conditional: true}
			err := c.Do(context.Background(), &req, func(r *load.Response) error {
				status, body = r.Status, bytes.Clone(r.Body)
				return nil
			})
			if err != nil {
				return 0, nil, err.(*load.Fault).Text
			}
			return status, body, ""
		}
		status, body, fault := once(1 << 20)
		if len(body) > maxBody || fault == "" && (status < 100 || status > 599) {
			t.Fatalf("accepted status %d with %d bytes, limit %d", status, len(body), maxBody)
		}
		status2, body2, fault2 := once(int(piece)%64 + 1)
		// Bytes after an answer are seen if they have come already, so only answers are compared.
		if fault == "" && (fault2 != "" || status2 != status || !bytes.Equal(body, body2)) {
			t.Errorf("whole: %d %.40q; in pieces of %d: %d %.40q %s", status, body, int(piece)%64+1, status2, body2, fault2)
		}
	})
}
