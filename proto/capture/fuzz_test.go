package capture_test

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"isukit/proto/capture"
)

// seeds are captures of real traffic: the portal's messages over net/http, recorded by dumpcap.
func seeds(t testing.TB) map[string][]byte {
	t.Helper()
	files, err := filepath.Glob("testdata/*")
	if err != nil || len(files) == 0 {
		t.Fatalf("no seeds in testdata: %v", err)
	}
	all := map[string][]byte{}
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		all[filepath.Base(name)] = data
	}
	return all
}

// smallLimits make limits reachable by small inputs.
func smallLimits(t testing.TB, keys []byte) capture.Options {
	opts := capture.Options{BodyBytes: 1 << 16, TotalBodyBytes: 1 << 18}
	if len(keys) > 0 {
		opts.Keys = mustKeys(t, keys)
	}
	return opts
}

func mustKeys(t testing.TB, data []byte) *capture.KeyLog {
	keys, err := capture.ReadKeyLog(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

// drain reads everything and checks what must hold of any input.
func drain(t *testing.T, r *capture.Reader, opts capture.Options) (count int) {
	for {
		e, err := r.Next(context.Background())
		if err != nil {
			if err == io.EOF {
				return count
			}
			return count // a damaged capture
		}
		count++
		if e.Request == nil && e.Response == nil {
			t.Fatal("an exchange without request and response")
		}
		if (e.Request == nil || e.Response == nil) && len(e.Incomplete) == 0 {
			t.Fatal("half an exchange that is not marked incomplete")
		}
		for _, m := range []*capture.Message{e.Request, e.Response} {
			if m != nil && len(m.Body) > opts.BodyBytes {
				t.Fatalf("a body of %d bytes is over the limit of %d", len(m.Body), opts.BodyBytes)
			}
		}
	}
}

func FuzzReader(f *testing.F) {
	all := seeds(f)
	for name, data := range all {
		if !strings.HasSuffix(name, ".keys") {
			f.Add(data)
		}
	}
	keys := append(slices.Clone(all["tls12.keys"]), all["tls13.keys"]...)
	f.Fuzz(func(t *testing.T, data []byte) {
		opts := smallLimits(t, keys)
		r, err := capture.NewReader(bytes.NewReader(data), opts)
		if err != nil {
			return
		}
		drain(t, r, opts)
	})
}

// FuzzHTTP gives a connection any bytes in both directions, cut into segments anywhere.
func FuzzHTTP(f *testing.F) {
	f.Add([]byte(get("/a")+post("/b", "x")), []byte(ok("1")+chunked("a", "b")), uint8(7))
	f.Add([]byte("HEAD / HTTP/1.1\r\n\r\n"+get("/b")), []byte("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nHTTP/1.0 200 OK\r\n\r\nrest"), uint8(1))
	f.Add([]byte("CONNECT a:1 HTTP/1.1\r\n\r\n\x16\x03"), []byte("HTTP/1.1 200 OK\r\n\r\n\x16\x03"), uint8(30))
	for _, both := range streams(f, seeds(f)["plain.pcap"]) {
		f.Add(both[0], both[1], uint8(200))
	}
	f.Add([]byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), []byte("\x00\x00\x00\x04"), uint8(3))
	f.Fuzz(func(t *testing.T, client, server []byte, mss uint8) {
		if len(client)+len(server) > 1<<15 {
			return
		}
		for _, size := range []int{1 << 15, 1 + int(mss)} {
			s := newScript(clientAddr, serverAddr)
			s.mss = size
			s.open().send(0, string(client)).send(1, string(server)).close()
			opts := smallLimits(t, nil)
			r, err := capture.NewReader(bytes.NewReader(pcapFile(s.packets, 65535)), opts)
			if err != nil {
				t.Fatal(err)
			}
			drain(t, r, opts)
		}
	})
}

// FuzzTLS changes and removes bytes of captured TLS connections.
func FuzzTLS(f *testing.F) {
	all := seeds(f)
	for _, name := range []string{"tls12", "tls13"} {
		f.Add(name == "tls13", 300, byte(1), 0)
		f.Add(name == "tls13", 5000, byte(0x80), 700)
	}
	f.Fuzz(func(t *testing.T, v13 bool, at int, flip byte, cut int) {
		name := "tls12"
		if v13 {
			name = "tls13"
		}
		data := slices.Clone(all[name+".pcap"])
		if at < 0 || at >= len(data) || cut < 0 || cut > 1<<14 {
			return
		}
		data[at] ^= flip
		data = slices.Delete(data, at, min(len(data), at+cut))
		opts := smallLimits(t, all[name+".keys"])
		r, err := capture.NewReader(bytes.NewReader(data), opts)
		if err != nil {
			return
		}
		drain(t, r, opts)
	})
}

func FuzzHAR(f *testing.F) {
	f.Add([]byte(`{"log":{"version":"1.2","entries":[{"startedDateTime":"2026-01-01T00:00:00Z","time":5,"request":{"method":"POST",` +
		`"url":"http://a/b","headers":[],"postData":{"text":"CgNhbmE=","encoding":"base64"}},"response":{"status":200,"headers":[],` +
		`"content":{"text":"x"}}}]}}`))
	f.Add([]byte(`{"log":{"entries":[`))
	f.Add(realHAR(f))
	f.Fuzz(func(t *testing.T, data []byte) {
		opts := smallLimits(t, nil)
		r, err := capture.NewReader(bytes.NewReader(data), opts)
		if err != nil {
			return
		}
		drain(t, r, opts)
	})
}
