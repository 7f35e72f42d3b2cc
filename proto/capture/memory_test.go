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

// endless is a pcap file of any length: connections one after another, each with some exchanges; every tenth loses a packet
// and is never closed.
type endless struct {
	left  int
	index int
	buf   []byte
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
	s.open()
	for i := range 10 {
		s.send(0, post(fmt.Sprintf("/%d", i), "in")).send(1, ok(strings.Repeat("o", 4000)))
	}
	if e.index%10 == 0 {
		s.packets = append(s.packets[:7:7], s.packets[8:]...)
	} else {
		s.close()
	}
	file := pcapFile(s.packets, 65535)
	if e.index > 0 {
		file = file[24:]
	}
	e.index++
	e.left -= len(file)
	e.buf = file
}

// TestMemory reads a long capture: what is held does not grow with its length.
func TestMemory(t *testing.T) {
	const size, limit = 200 << 20, 64 << 20
	r, err := capture.NewReader(&endless{left: size}, capture.DefaultOptions())
	if err != nil {
		t.Fatal(err)
	}
	var most uint64
	count := 0
	for {
		if _, err := r.Next(context.Background()); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		if count++; count%5000 == 0 {
			runtime.GC()
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			most = max(most, m.HeapAlloc)
		}
	}
	t.Logf("%d exchanges of %d MiB: %d MiB held at most", count, size>>20, most>>20)
	if most > limit {
		t.Errorf("%d MiB are held, want at most %d", most>>20, limit>>20)
	}
}
