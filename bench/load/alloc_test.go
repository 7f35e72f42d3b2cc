package load_test

import (
	"context"
	"net"
	"testing"

	"isukit/bench/load"
)

// endless is a connection whose server has the same answer ready whenever it is read.
type endless struct {
	scripted
	answer []byte
}

func (e *endless) Read(b []byte) (int, error) { return copy(b, e.answer), nil }

// TestNoAllocations has a user's requests, once its buffers have grown, allocate nothing.
func TestNoAllocations(t *testing.T) {
	answer := []byte("HTTP/1.1 200 OK\r\nServer: nginx\r\nContent-Type: application/protobuf\r\nTransfer-Encoding: chunked\r\n\r\n" +
		"2\r\nok\r\n0\r\n\r\n")
	e := load.NewEngine(load.Options{Dial: func(context.Context, string, string) (net.Conn, error) {
		return &endless{answer: answer}, nil
	}})
	c := e.NewClient(0, "")
	defer c.Close()
	o := origin(t, "http://127.0.0.1:1")
	c.SetCookie(o, "session", "0123456789")
	req := load.Request{Endpoint: e.Endpoint("x"), Origin: o, Method: "POST", Target: "/api/x", Body: []byte("body"),
		ContentType: "application/protobuf"}
	check := func(r *load.Response) error {
		if string(r.HeaderBytes("content-type")) != "application/protobuf" || string(r.Body) != "ok" {
			return load.ErrRefused
		}
		return nil
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	if n := testing.AllocsPerRun(2000, func() {
		if err := c.Do(ctx, &req, check); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations a request, want 0", n)
	}
}
