package capture_test

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/andybalholm/brotli"
	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"

	"isukit/proto/capture"
)

const (
	clientAddr = "10.0.0.1:40000"
	serverAddr = "10.0.0.2:80"
)

func get(path string) string { return "GET " + path + " HTTP/1.1\r\nHost: a\r\n\r\n" }

func post(path, body string) string {
	return fmt.Sprintf("POST %s HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s", path, len(body), body)
}

func ok(body string) string {
	return fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
}

func chunked(chunks ...string) string {
	s := "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
	for _, c := range chunks {
		s += fmt.Sprintf("%x;x=y\r\n%s\r\n", len(c), c)
	}
	return s + "0\r\nX-Sum: 1\r\n\r\n"
}

func TestHTTP(t *testing.T) {
	tests := []struct {
		name string
		make func(s *script)
		want []string
	}{
		{"keep-alive", func(s *script) {
			s.open().send(0, get("/a")).send(1, ok("1")).send(0, post("/b", "in")).send(1, ok("2")).close()
		},
			[]string{"GET /a 2xx 1", "POST /b (in) 2xx 2"}},
		{"pipelining", func(s *script) {
			s.open().send(0, get("/a")+get("/b")+get("/c")).send(1, ok("1")+ok("2")).send(1, ok("3")).close()
		},
			[]string{"GET /a 2xx 1", "GET /b 2xx 2", "GET /c 2xx 3"}},
		{"chunked with trailer, then more", func(s *script) {
			s.open().send(0, get("/a")).send(1, chunked("one", "two")).send(0, get("/b")).send(1, ok("2"))
		},
			[]string{"GET /a 2xx onetwo", "GET /b 2xx 2"}},
		{"100 Continue", func(s *script) {
			s.open().send(0, "POST /a HTTP/1.1\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n").
				send(1, "HTTP/1.1 100 Continue\r\n\r\n").send(0, "in").send(1, ok("1"))
		}, []string{"POST /a (in) 2xx 1"}},
		{"no body", func(s *script) {
			s.open().send(0, "HEAD /a HTTP/1.1\r\n\r\n").send(1, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n").
				send(0, get("/b")).send(1, "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n").
				send(0, get("/c")).send(1, "HTTP/1.1 204 No Content\r\n\r\n").send(0, get("/d")).send(1, ok("4"))
		}, []string{"HEAD /a 2xx ", "GET /b 3xx ", "GET /c 2xx ", "GET /d 2xx 4"}},
		{"closed at the body's end", func(s *script) { s.open().send(0, get("/a")).send(1, "HTTP/1.0 200 OK\r\n\r\nto the end").close() },
			[]string{"GET /a 2xx to the end"}},
		{"reset in the body", func(s *script) {
			s.open().send(0, get("/a")).send(1, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhal").reset()
		},
			[]string{"GET /a 2xx hal ! response: the connection was reset inside it"}},
		{"closed without a response", func(s *script) { s.open().send(0, get("/a")).close() },
			[]string{"GET /a ? ? ! the connection was closed without a response"}},
		{"early answer", func(s *script) {
			s.open().send(0, "POST /a HTTP/1.1\r\nContent-Length: 4\r\n\r\nin").send(1, ok("1")).send(0, "no").send(0, get("/b")).send(1, ok("2"))
		}, []string{"POST /a (inno) 2xx 1", "GET /b 2xx 2"}},
		{"upgrade", func(s *script) {
			s.open().send(0, "GET /ws HTTP/1.1\r\nUpgrade: websocket\r\n\r\n").
				send(1, "HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\n\r\n").send(1, "\x81\x05HTTP/").send(0, "\x81\x85GET /x")
		}, []string{"GET /ws 1xx "}},
		{"the capture begins in the middle", func(s *script) { s.send(1, "tail of an answer").send(0, get("/b")).send(1, ok("2")) },
			[]string{"GET /b 2xx 2"}},
		{"the capture begins with an answer", func(s *script) { s.send(1, ok("1")).send(0, get("/b")).send(1, ok("2")) },
			[]string{"? 2xx 1 ! the request was not captured", "GET /b 2xx 2"}},
		{"bad chunk", func(s *script) {
			s.open().send(0, get("/a")).send(1, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nxy\r\nzz\r\n").send(0, get("/b")).send(1, ok("2"))
		}, []string{`GET /a 2xx xy ! response: "zz" is not a chunk size`, "GET /b 2xx 2"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			// However the bytes are cut into segments, what was sent is read.
			for _, mss := range []int{1460, 7, 1} {
				s := newScript(clientAddr, serverAddr)
				s.mss = mss
				tt.make(s)
				if mss < 7 && tt.name == "bad chunk" || mss < 1460 && strings.HasPrefix(tt.name, "the capture begins") {
					continue // a message's start is looked for where a segment starts
				}
				got := summaries(read(t, pcapFile(s.packets, 65535), capture.DefaultOptions()))
				if diff := cmp.Diff(tt.want, got); diff != "" {
					t.Errorf("segments of %d bytes (-want +got):\n%s", mss, diff)
				}
			}
		})
	}
}

// conversation is n requests with their answers on one connection, of various sizes, and what must be read of it.
func conversation(n int, s *script) (want []string) {
	s.open()
	for i := range n {
		in, out := strings.Repeat("i", i%5*700), fmt.Sprintf("%d:", i)+strings.Repeat("o", i%7*900)
		path := fmt.Sprintf("/%d", i)
		s.send(0, post(path, in))
		if i%3 == 0 {
			s.send(1, chunked(out[:len(out)/2+1], out[len(out)/2+1:]+"."))
			out += "."
		} else {
			s.send(1, ok(out))
		}
		if len(in) > 0 {
			in = " (" + in + ")"
		}
		want = append(want, fmt.Sprintf("POST %s%s 2xx %s", path, in, out))
	}
	s.close()
	return want
}

func TestReorderedAndRepeated(t *testing.T) {
	for seed := range uint64(60) {
		s := newScript(clientAddr, serverAddr)
		if seed%2 == 1 {
			s = newScript("[fd00::1]:40000", "[fd00::2]:80")
		}
		want := conversation(40, s)
		r := rand.New(rand.NewPCG(seed, 1))
		packets := slices.Clone(s.packets)
		for range 30 {
			i := 3 + r.IntN(len(packets)-3)
			packets = slices.Insert(packets, i, packets[r.IntN(i)])
		}
		// The handshake stays first: a capture that begins with a later packet is another case.
		packets = append(packets[:3:3], reorder(packets[3:], r, 1+int(seed%12))...)
		got := summaries(read(t, pcapFile(packets, 65535), capture.DefaultOptions()))
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("seed %d (-want +got):\n%s", seed, diff)
		}
	}
}

// After any loss, a complete exchange is one that was sent, and none is read twice. Exchanges without a lost packet are complete.
func TestLosses(t *testing.T) {
	whole, sent := 0, 0
	for seed := range uint64(200) {
		s := newScript(clientAddr, serverAddr)
		want := conversation(40, s)
		r := rand.New(rand.NewPCG(seed, 2))
		lose := 1 + r.IntN(6)
		packets := slices.Clone(s.packets)
		for range lose {
			i := 3 + r.IntN(len(packets)-3)
			packets = slices.Delete(packets, i, i+1)
		}
		got := summaries(read(t, pcapFile(packets, 65535), capture.DefaultOptions()))
		seen := map[string]bool{}
		for _, g := range got {
			if strings.Contains(g, " ! ") {
				continue
			}
			if !slices.Contains(want, g) || seen[g] {
				t.Fatalf("seed %d: an exchange that was not sent so, or was sent once: %.200s", seed, g)
			}
			seen[g] = true
		}
		if missing := len(want) - len(seen); missing > lose {
			t.Errorf("seed %d: %d packets lost, but %d exchanges are not whole", seed, lose, missing)
		}
		whole, sent = whole+len(seen), sent+len(want)
	}
	if whole < sent*9/10 {
		t.Errorf("%d of %d exchanges are whole, want nine tenths", whole, sent)
	}
}

// TestTrailersTakeNoMemory: they are skipped, so that they may be longer together than what is under way.
func TestTrailersTakeNoMemory(t *testing.T) {
	s := newScript(clientAddr, serverAddr)
	s.open().send(0, get("/a")).send(1, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n")
	for range 20 {
		s.send(1, "X-Long: "+strings.Repeat("x", 8<<10)+"\r\n")
	}
	s.send(1, "\r\n").close()
	opts := capture.DefaultOptions()
	opts.TotalBodyBytes = 100 << 10
	all := read(t, pcapFile(s.packets, 1<<20), opts)
	if len(all) != 1 || len(all[0].Incomplete) > 0 {
		t.Errorf("got %v, want one whole exchange", summaries(all))
	}
}

func TestSnapLength(t *testing.T) {
	s := newScript(clientAddr, serverAddr)
	s.open().send(0, get("/a")).send(1, ok(strings.Repeat("x", 3000))).send(0, get("/b")).send(1, ok("2")).close()
	got := summaries(read(t, pcapFile(s.packets, 200), capture.DefaultOptions()))
	if len(got) != 2 || !strings.Contains(got[0], "! response: ") || got[1] != "GET /b 2xx 2" {
		t.Errorf("got %.300q, want /a marked and /b whole", got)
	}
}

func TestContentEncodings(t *testing.T) {
	plain := strings.Repeat("portal", 1000)
	pack := func(w io.WriteCloser, b *bytes.Buffer) string {
		_, _ = io.WriteString(w, plain)
		_ = w.Close()
		return b.String()
	}
	var b [5]bytes.Buffer
	bare, _ := flate.NewWriter(&b[2], 6)
	zw, _ := zstd.NewWriter(&b[4])
	packed := map[string]string{
		"gzip": pack(gzip.NewWriter(&b[0]), &b[0]), "deflate": pack(zlib.NewWriter(&b[1]), &b[1]), "Deflate": pack(bare, &b[2]),
		"br": pack(brotli.NewWriter(&b[3]), &b[3]), "zstd": pack(zw, &b[4]),
	}
	for coding, body := range packed {
		answer := fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Encoding: %s\r\nContent-Length: %d\r\n\r\n%s", coding, len(body), body)
		s := newScript(clientAddr, serverAddr)
		s.open().send(0, get("/a")).send(1, answer).close()
		got := summaries(read(t, pcapFile(s.packets, 65535), capture.DefaultOptions()))
		if want := []string{"GET /a 2xx " + plain}; !slices.Equal(got, want) {
			t.Errorf("%s: got %.200q, want the plain body", coding, got)
		}
		opts := capture.DefaultOptions()
		opts.BodyBytes = 5000
		got = summaries(read(t, pcapFile(s.packets, 65535), opts))
		if len(got) != 1 || !strings.Contains(got[0], "unpacks to more than the limit of 5000 bytes") {
			t.Errorf("%s with a limit of 5000 bytes: got %.100q... want that it is over the limit", coding, got)
		}
	}
}

func TestNotHTTP1(t *testing.T) {
	s := newScript(clientAddr, serverAddr)
	s.open().send(0, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00").send(1, "\x00\x00\x00\x04\x00").close()
	other := newScript("10.0.0.1:41000", "10.0.0.2:3306")
	other.open().send(1, "J\x00\x00\x00\x0a5.5.5").send(0, "\x20\x00\x00").close()
	var notes []string
	opts := capture.DefaultOptions()
	opts.OnNote = func(n capture.Note) { notes = append(notes, n.Text) }
	if got := read(t, pcapFile(append(s.packets, other.packets...), 65535), opts); len(got) > 0 {
		t.Errorf("got exchanges %v, want none", summaries(got))
	}
	want := []string{"this is an HTTP/2 connection, as gRPC uses; isukit reads HTTP/1.x", "this is no HTTP/1.x"}
	if diff := cmp.Diff(want, notes); diff != "" {
		t.Errorf("notes (-want +got):\n%s", diff)
	}
}

// TestTransferCodings: a transfer coding in addition to "chunked" is removed as well (RFC 9112, section 6.1), in its order, with a content
// coding beneath it.
func TestTransferCodings(t *testing.T) {
	gz := func(s string) string {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		_, _ = io.WriteString(z, s)
		_ = z.Close()
		return b.String()
	}
	chunked := func(s string) string {
		return fmt.Sprintf("%x\r\n%s\r\n%x\r\n%s\r\n0\r\n\r\n", 5, s[:5], len(s)-5, s[5:])
	}
	for _, c := range []struct{ head, body string }{
		{"Transfer-Encoding: gzip, chunked", chunked(gz("the body"))},
		{"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked", chunked(gz("the body"))},
		{"Content-Encoding: gzip\r\nTransfer-Encoding: x-gzip, chunked", chunked(gz(gz("the body")))},
		{"Transfer-Encoding: GZIP, Chunked", chunked(gz("the body"))},
	} {
		s := newScript("10.0.0.1:1000", "10.0.0.2:80").open().send(0, get("/"))
		s.send(1, "HTTP/1.1 200 OK\r\n"+c.head+"\r\n\r\n"+c.body).send(0, get("/next")).send(1, ok("next")).close()
		all := read(t, pcapFile(s.packets, 65535), capture.DefaultOptions())
		if len(all) != 2 || string(all[0].Response.Body) != "the body" || len(all[0].Incomplete) > 0 || string(all[1].Response.Body) != "next" {
			t.Errorf("%s: %v", c.head, summaries(all))
		}
	}
}

// TestAnswerBeforeItsRequestEnds: an answer may end while its request is still being sent; what it took is not less than nothing.
func TestAnswerBeforeItsRequestEnds(t *testing.T) {
	s := newScript("10.0.0.1:1000", "10.0.0.2:80").open()
	s.send(0, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n01234").send(1, "HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno").send(0, "56789").close()
	all := read(t, pcapFile(s.packets, 65535), capture.DefaultOptions())
	if len(all) != 1 || string(all[0].Request.Body) != "0123456789" || string(all[0].Response.Body) != "no" || !all[0].Response.End.Before(all[0].Request.End) || all[0].Latency() != 0 {
		t.Fatalf("%v", summaries(all))
	}
}
