package capture_test

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"
	"time"

	"isukit/proto/capture"
)

// endless is a pcap file of any length: connections one after another.
type endless struct {
	left  int
	index int
	buf   []byte
	// make fills in a connection.
	make func(s *script, index int)
}

func (e *endless) Read(b []byte) (int, error) {
	if len(e.buf) == 0 {
		if e.left <= 0 {
			return 0, io.EOF
		}
		e.next()
	}
	n := copy(b, e.buf)
	e.buf = e.buf[n:]
	return n, nil
}

func (e *endless) next() {
	s := newScript(fmt.Sprintf("10.%d.%d.1:%d", e.index/250%250, e.index%250, 10_000+e.index%50_000), serverAddr)
	s.clock = s.clock.Add(time.Duration(e.index) * 10 * time.Millisecond)
	e.make(s, e.index)
	file := pcapFile(s.packets, 65535)
	if e.index > 0 {
		file = file[24:]
	}
	e.index++
	e.left -= len(file)
	e.buf = file
}

// usual is a connection with some exchanges; every tenth loses a packet and is never closed.
func usual(s *script, index int) {
	s.open()
	for i := range 10 {
		s.send(0, post(fmt.Sprintf("/%d", i), "in")).send(1, ok(strings.Repeat("o", 4000)))
	}
	if index%10 == 0 {
		s.packets = append(s.packets[:7:7], s.packets[8:]...)
	} else {
		s.close()
	}
}

// unfinished connections each begin something large: a body, a head, a chunk's size, a TLS record, bytes behind a hole,
// many requests without an answer.
func unfinished(s *script, index int) {
	const large = 60_000
	s.mss = 16_000
	s.open()
	switch index % 6 {
	case 0:
		s.send(0, "POST / HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n"+strings.Repeat("x", large))
	case 1:
		s.send(0, "GET / HTTP/1.1\r\nX: "+strings.Repeat("x", large))
	case 2:
		s.send(0, get("/")).send(1, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"+strings.Repeat("1", large))
	case 3:
		s.send(0, "\x16\x03\x01\x40\x00\x01\x00\xff\xff"+strings.Repeat("x", 16_000))
	case 4:
		s.seq[0] += 100
		s.send(0, strings.Repeat("x", large))
	case 5:
		s.send(0, strings.Repeat(get("/"), large/30))
	}
}

func TestMemory(t *testing.T) {
	tests := []struct {
		name      string
		make      func(s *script, index int)
		sizeBytes int
		limit     uint64
	}{
		{"a long capture", usual, 100 << 20, 64 << 20},
		{"everything unfinished", unfinished, 600 << 20, 900 << 20},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			input := &endless{left: tt.sizeBytes, make: tt.make}
			r, err := capture.NewReader(input, capture.DefaultOptions())
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			most := watchHeap(ctx)
			count := 0
			for ; err == nil; count++ {
				_, err = r.Next(ctx)
			}
			if err != io.EOF {
				t.Fatal(err)
			}
			cancel()
			held := <-most
			t.Logf("%d exchanges of %d MiB: %d MiB of heap at most", count-1, tt.sizeBytes>>20, held>>20)
			if held > tt.limit {
				t.Errorf("%d MiB of heap, want at most %d", held>>20, tt.limit>>20)
			}
		})
	}
}

// watchHeap gives the most that lived on the heap, garbage included, once ctx has ended.
func watchHeap(ctx context.Context) <-chan uint64 {
	result := make(chan uint64)
	go func() {
		var most uint64
		for ctx.Err() == nil {
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			most = max(most, m.HeapAlloc)
			time.Sleep(20 * time.Millisecond)
		}
		result <- most
	}()
	return result
}
