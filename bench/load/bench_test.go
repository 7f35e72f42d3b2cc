package load_test

import (
	"bufio"
	"context"
	"net"
	"testing"

	"isukit/bench/load"
)

// BenchmarkDo is the cost of a hit without the kernel.
func BenchmarkDo(b *testing.B) {
	answer := []byte("HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\nDate: Sun, 22 Nov 2026 21:45:27 GMT\r\nContent-Type: application/protobuf\r\n" +
		"Content-Length: 1024\r\nLast-Modified: Sun, 22 Nov 2026 21:00:00 GMT\r\nConnection: keep-alive\r\nAccept-Ranges: bytes\r\n\r\n" +
		string(make([]byte, 1024)))
	e := load.NewEngine(load.Options{Dial: func(context.Context, string, string) (net.Conn, error) {
		return &endless{answer: answer}, nil
	}})
	c := e.NewClient(0, "")
	defer c.Close()
	req := load.Request{Endpoint: e.Endpoint("x"), Origin: origin(b, "http://127.0.0.1:1"), Target: "/api/leaderboard"}
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	b.ReportAllocs()
	for b.Loop() {
		if err := c.Do(ctx, &req, nil); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkDoOverTCP is a hit over a loopback socket, the server's part included. Run it with -cpu 1. A POST looks for surplus bytes first,
// a GET that follows immediately does not.
func BenchmarkDoOverTCP(b *testing.B) {
	answer := []byte(okAnswer)
	for _, method := range []string{"GET", "POST"} {
		b.Run(method, func(b *testing.B) {
			o := serveRaw(b, func(c net.Conn, r *bufio.Reader) {
				for {
					if _, err := r.ReadByte(); err != nil {
						return
					}
					r.Discard(r.Buffered()) // requests come one at a time, each in one piece
					c.Write(answer)
				}
			})
			e := load.NewEngine(load.Options{})
			c := e.NewClient(0, "")
			defer c.Close()
			req := load.Request{Endpoint: e.Endpoint("x"), Origin: o, Method: method, Target: "/"}
			b.ReportAllocs()
			for b.Loop() {
				if err := c.Do(b.Context(), &req, nil); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
