package main

import (
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"isukit/cmd/internal/exchange"
	"isukit/proto/capture"
)

// arrivals is a server in this process that notes when requests come, and takes its time for those that ask for it.
type arrivals struct {
	mu sync.Mutex
	at map[string]time.Time
}

func (a *arrivals) RoundTrip(r *http.Request) (*http.Response, error) {
	a.mu.Lock()
	a.at[r.URL.Path] = time.Now()
	a.mu.Unlock()
	if strings.HasSuffix(r.URL.Path, "/slow") {
		time.Sleep(400 * time.Millisecond)
	}
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: http.NoBody, Request: r}, nil
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

// TestReplayPaced sends a capture at its own times, at twice their speed, and as fast as answers come, and looks at when the
// server was asked. A slow answer holds up its own connection, as it did a client's, and no other; and that is known.
func TestReplayPaced(t *testing.T) {
	const ms = time.Millisecond
	even := timedCapture(t, []timed{{"/1/a", 0}, {"/1/b", 100 * ms}, {"/2/c", 250 * ms}, {"/1/d", 600 * ms}})
	slow := timedCapture(t, []timed{{"/1/slow", 0}, {"/1/after", 50 * ms}, {"/2/beside", 100 * ms}})
	tests := []struct {
		file  string
		paced bool
		speed float64
		due   map[string]time.Duration
		late  time.Duration
	}{
		{even, true, 1, map[string]time.Duration{"/1/a": 0, "/1/b": 100 * ms, "/2/c": 250 * ms, "/1/d": 600 * ms}, 0},
		{even, true, 2, map[string]time.Duration{"/1/a": 0, "/1/b": 50 * ms, "/2/c": 125 * ms, "/1/d": 300 * ms}, 0},
		{even, false, 1, map[string]time.Duration{"/1/a": 0, "/1/b": 0, "/2/c": 0, "/1/d": 0}, 0},
		{slow, true, 1, map[string]time.Duration{"/1/slow": 0, "/1/after": 400 * ms, "/2/beside": 100 * ms}, 350 * ms},
	}
	for _, tt := range tests {
		o, decoder := exchange.ReplayOptions{Paced: tt.paced, Speed: tt.speed}, &exchange.Decoder{}
		exchanges, _, err := exchange.LoadRequests(t.Context(), tt.file, "", nil, capture.DefaultOptions(), &exchange.Filter{}, decoder)
		if err != nil {
			t.Fatal(err)
		}
		synctest.Test(t, func(t *testing.T) { // its clock goes on when everybody waits
			began, a := time.Now(), &arrivals{at: map[string]time.Time{}}
			r := &exchange.Replayer{Options: o, Base: &url.URL{Scheme: "http", Host: "a"}, Decoder: decoder, Client: &http.Client{Transport: a},
				Out: io.Discard, Cookies: map[string]string{}}
			if err := r.All(t.Context(), exchanges); err != nil || r.Sent != len(tt.due) || r.Differ+r.Failed > 0 || r.Late != tt.late {
				t.Errorf("%+v: %v; %d requests sent, %d answers differ, %v late, want %d, 0 and %v", o, err, r.Sent, r.Differ, r.Late, len(tt.due), tt.late)
			}
			for path, due := range tt.due {
				if got := a.at[path].Sub(began); got != due {
					t.Errorf("speed %g, paced %t: %s came after %v, want %v", tt.speed, tt.paced, path, got, due)
				}
			}
		})
	}
}

// TestReplaySaysItIsLate: the command reports that answers came later than captured, and delayed requests.
func TestReplaySaysItIsLate(t *testing.T) {
	t.Parallel()
	file := timedCapture(t, []timed{{"/1/slow", 0}, {"/1/after", 50 * time.Millisecond}})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { time.Sleep(400 * time.Millisecond) }))
	defer server.Close()
	code, out, errs := isukitIn(t, "", "replay", file, "--to", server.URL, "--paced")
	if code != 0 || !strings.Contains(out, "2 requests sent, 2 responses the same") || !strings.Contains(errs, " late, because earlier responses") {
		t.Errorf("exit %d, %q, %q, want it said that requests went late", code, out, errs)
	}
}

// TestReplayOfACutOffCapture: the requests before the cut are sent, and the exit code reports it.
func TestReplayOfACutOffCapture(t *testing.T) {
	file := timedCapture(t, []timed{{"/1/a", 0}, {"/1/b", 50 * time.Millisecond}, {"/1/c", 100 * time.Millisecond}})
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var sent []string
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { sent = append(sent, r.URL.Path) }))
	defer server.Close()
	for _, tt := range []struct {
		bytes int
		want  string
		code  int
	}{
		{len(whole), "/1/a /1/b /1/c", 0}, {len(whole) - 10, "/1/a /1/b /1/c", 1}, {len(whole) - 150, "/1/a /1/b", 1}, {30, "", 1},
	} {
		sent = nil
		write(t, file, string(whole[:tt.bytes]))
		code, out, errs := isukitIn(t, "", "replay", file, "--to", server.URL)
		if got := strings.Join(sent, " "); got != tt.want || code != tt.code || strings.Contains(errs, "ends inside a packet") != (tt.code != 0) {
			t.Errorf("%d of %d bytes: sent %q, exit %d, %q %q; want %q, exit %d", tt.bytes, len(whole), got, code, out, errs, tt.want, tt.code)
		}
	}
}
