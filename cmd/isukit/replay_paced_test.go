package main

import (
	"encoding/binary"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// arrivals is a server that notes when requests come, and takes its time for those that ask for it.
type arrivals struct {
	mu sync.Mutex
	at map[string]time.Time
}

func (a *arrivals) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	a.at[r.URL.Path] = time.Now()
	a.mu.Unlock()
	if strings.HasSuffix(r.URL.Path, "/slow") {
		time.Sleep(400 * time.Millisecond)
	}
}

// timedCapture writes a pcap file with a request for each path, at its time after the first, on a connection of the client's
// port that stands before the path: "1/a".
func timedCapture(t *testing.T, requests []timed) string {
	t.Helper()
	data := []byte("\xd4\xc3\xb2\xa1\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\x00\x00\x65\x00\x00\x00")
	start := time.Unix(1_790_000_000, 0)
	seq := map[uint16][2]uint32{}
	for _, r := range requests {
		var port uint16
		fmt.Sscanf(r.path, "/%d/", &port)
		port += 20_000
		if _, open := seq[port]; !open {
			data = append(data, tcpPacket(start.Add(r.at), port, 0, 2, 0, 0, "")...)
			data = append(data, tcpPacket(start.Add(r.at), port, 1, 0x12, 0, 1, "")...)
			seq[port] = [2]uint32{1, 1}
		}
		request, answer := "GET "+r.path+" HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
		n := seq[port]
		data = append(data, tcpPacket(start.Add(r.at), port, 0, 0x18, n[0], n[1], request)...)
		n[0] += uint32(len(request))
		data = append(data, tcpPacket(start.Add(r.at+time.Millisecond), port, 1, 0x18, n[1], n[0], answer)...)
		n[1] += uint32(len(answer))
		seq[port] = n
	}
	file := filepath.Join(t.TempDir(), "timed.pcap")
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

type timed struct {
	path string
	at   time.Duration
}

// tcpPacket is one record of a pcap file of raw IPv4 packets; dir 1 is from the server.
func tcpPacket(at time.Time, port uint16, dir int, flags byte, seq, ack uint32, payload string) []byte {
	packet := make([]byte, 40, 40+len(payload))
	packet[0], packet[8], packet[9] = 0x45, 64, 6
	binary.BigEndian.PutUint16(packet[2:], uint16(40+len(payload)))
	ends := [2][4]byte{{10, 0, 0, 1}, {10, 0, 0, 2}}
	ports := [2]uint16{port, 80}
	copy(packet[12:], ends[dir][:])
	copy(packet[16:], ends[1-dir][:])
	binary.BigEndian.PutUint16(packet[20:], ports[dir])
	binary.BigEndian.PutUint16(packet[22:], ports[1-dir])
	binary.BigEndian.PutUint32(packet[24:], seq)
	binary.BigEndian.PutUint32(packet[28:], ack)
	packet[32], packet[33] = 0x50, flags
	packet = append(packet, payload...)
	head := make([]byte, 16)
	binary.LittleEndian.PutUint32(head, uint32(at.Unix()))
	binary.LittleEndian.PutUint32(head[4:], uint32(at.Nanosecond()/1000))
	binary.LittleEndian.PutUint32(head[8:], uint32(len(packet)))
	binary.LittleEndian.PutUint32(head[12:], uint32(len(packet)))
	return append(head, packet...)
}

// onTime calls try until it finds nothing wrong, five times at most: a machine that is busy with other tests may send a
// request late now and then, but not always.
func onTime(t *testing.T, try func() (wrong string)) {
	t.Helper()
	for n := 1; ; n++ {
		wrong := try()
		if wrong == "" {
			return
		}
		if n == 5 {
			t.Errorf("%s, the fifth time as well", wrong)
			return
		}
		t.Log(wrong)
	}
}

// TestReplayPaced sends a capture at its own times, at twice their speed, and as fast as answers come, and looks at when the
// server was asked.
func TestReplayPaced(t *testing.T) {
	const ms = time.Millisecond
	file := timedCapture(t, []timed{{"/1/a", 0}, {"/1/b", 100 * ms}, {"/2/c", 250 * ms}, {"/1/d", 600 * ms}})
	tests := []struct {
		args []string
		due  map[string]time.Duration
	}{
		{[]string{"--paced"}, map[string]time.Duration{"/1/a": 0, "/1/b": 100 * ms, "/2/c": 250 * ms, "/1/d": 600 * ms}},
		{[]string{"--paced", "--speed", "2"}, map[string]time.Duration{"/1/a": 0, "/1/b": 50 * ms, "/2/c": 125 * ms, "/1/d": 300 * ms}},
		{nil, map[string]time.Duration{"/1/a": 0, "/1/b": 0, "/2/c": 0, "/1/d": 0}},
	}
	for _, tt := range tests {
		onTime(t, func() (wrong string) {
			at := replayed(t, file, tt.args)
			for path, due := range tt.due {
				got := at[path].Sub(at["/1/a"])
				// The first one, too, may come late.
				if got < due-50*ms || got > due+200*ms {
					wrong += fmt.Sprintf("replay %q: %s came %v after the first, want %v\n", tt.args, path, got, due)
				}
			}
			return wrong
		})
	}
}

// replayed sends the capture to a server of its own and returns when each path was asked for.
func replayed(t *testing.T, file string, args []string) map[string]time.Time {
	t.Helper()
	a := &arrivals{at: map[string]time.Time{}}
	server := httptest.NewServer(a)
	out, errs, code := cli(t, "", append([]string{"replay", file, "--to", server.URL}, args...)...)
	server.Close()
	if code != 0 || !strings.Contains(out, fmt.Sprintf("%d requests sent, %[1]d answers the same", len(a.at))) {
		t.Fatalf("replay %q: exit %d, %q, %q", args, code, out, errs)
	}
	return a.at
}

// TestReplayPacedConnections has a slow answer hold up its own connection, as it did a client's, and no other; and that is said.
func TestReplayPacedConnections(t *testing.T) {
	const ms = time.Millisecond
	file := timedCapture(t, []timed{{"/1/slow", 0}, {"/1/after", 50 * ms}, {"/2/beside", 100 * ms}})
	onTime(t, func() (wrong string) {
		a := &arrivals{at: map[string]time.Time{}}
		server := httptest.NewServer(a)
		defer server.Close()
		out, errs, code := cli(t, "", "replay", file, "--to", server.URL, "--paced")
		if code != 0 || !strings.Contains(errs, "after their time") {
			t.Errorf("exit %d, %q, %q, want it said that requests went late", code, out, errs)
		}
		first := a.at["/1/slow"]
		if after := a.at["/1/after"].Sub(first); after < 390*ms {
			t.Errorf("the request behind the slow answer came after %v, want 400 ms or more", after)
		}
		if beside := a.at["/2/beside"].Sub(first); beside < 50*ms || beside > 350*ms {
			wrong = fmt.Sprintf("the other connection's request came after %v, want 100 ms", beside)
		}
		return wrong
	})
}
