package capture_test

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"testing"

	"isukit/proto/capture"
)

// smallLimits make limits reachable by small inputs.
func smallLimits() capture.Options {
	return capture.Options{BodyBytes: 1 << 16, TotalBodyBytes: 1 << 18}
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

// maxFuzzBytes keeps executions short: what longer inputs could show, more of the short ones show sooner.
const maxFuzzBytes = 16 << 10

// fuzzFile returns a reader of a file with keys. The buffer and the parsed keys serve all executions: making them each time would take most
// of the time.
func fuzzFile(t testing.TB, keys []byte) func(t *testing.T, file []byte) {
	buffer := bufio.NewReaderSize(nil, 256<<10)
	log := capture.NewKeyLog()
	if len(keys) > 0 {
		log = mustKeys(t, keys)
	}
	return func(t *testing.T, file []byte) {
		opts := smallLimits()
		opts.Keys = log.Fresh()
		buffer.Reset(bytes.NewReader(file))
		r, err := capture.NewReader(buffer, opts)
		if err != nil {
			return
		}
		drain(t, r, opts)
	}
}

func FuzzReader(f *testing.F) {
	all := seeds(f)
	var keys []byte
	for name, ports := range shortConns {
		file := part(all[name+".pcap"], ports...)
		f.Add(file)
		keys = append(keys, keysOf(all[name+".keys"], file)...)
	}
	f.Add(blocks(all["tls13-keys.pcapng"], maxFuzzBytes))
	run := fuzzFile(f, keys)
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) <= maxFuzzBytes {
			run(t, data)
		}
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
	run := fuzzFile(f, nil)
	f.Fuzz(func(t *testing.T, client, server []byte, mss uint8) {
		fuzzStreams(t, run, client, server, mss)
	})
}

// fuzzStreams reads a connection that carries the streams whole, and again cut into segments.
func fuzzStreams(t *testing.T, run func(*testing.T, []byte), client, server []byte, mss uint8) {
	total := len(client) + len(server)
	if total > maxFuzzBytes {
		return
	}
	for _, size := range []int{maxFuzzBytes, 1 + max(int(mss), total/100)} {
		s := newScript(clientAddr, serverAddr)
		s.mss = size
		s.open().send(0, string(client)).send(1, string(server)).close()
		run(t, pcapFile(s.packets, 65535))
	}
}

// FuzzTLS changes the records of captured TLS connections whose keys are known; one connection may resume the other.
func FuzzTLS(f *testing.F) {
	all := seeds(f)
	var keys []byte
	for _, name := range []string{"tls12", "tls13"} {
		for _, port := range shortConns[name] {
			file := part(all[name+".pcap"], port)
			keys = append(keys, keysOf(all[name+".keys"], file)...)
			for _, both := range streams(f, file) {
				f.Add(both[0], both[1], uint8(255))
			}
		}
	}
	run := fuzzFile(f, keys)
	f.Fuzz(func(t *testing.T, client, server []byte, mss uint8) {
		fuzzStreams(t, run, client, server, mss)
	})
}

func FuzzHAR(f *testing.F) {
	f.Add([]byte(`{"log":{"version":"1.2","entries":[{"startedDateTime":"2026-01-01T00:00:00Z","time":5,"request":{"method":"POST",` +
		`"url":"http://a/b","headers":[],"postData":{"text":"CgNhbmE=","encoding":"base64"}},"response":{"status":200,"headers":[],` +
		`"content":{"text":"x"}}}]}}`))
	f.Add([]byte(`{"log":{"entries":[`))
	f.Add(realHAR(f, part(seeds(f)["plain.pcap"], shortConns["plain"]...)))
	run := fuzzFile(f, nil)
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) <= maxFuzzBytes {
			run(t, data)
		}
	})
}
