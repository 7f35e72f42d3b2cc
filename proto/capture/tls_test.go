package capture_test

import (
	"bufio"
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"math/big"
	mrand "math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"isukit/proto/capture"
)

// tapped is one end of a pipe that writes what it sends into a script.
type tapped struct {
	net.Conn
	dir int
	s   *script
	mu  *sync.Mutex
}

func (c tapped) Write(b []byte) (int, error) {
	c.mu.Lock()
	c.s.send(c.dir, string(b))
	c.mu.Unlock()
	return c.Conn.Write(b)
}

// certificate makes a self-signed certificate with an RSA or an ECDSA key.
func certificate(t *testing.T, useRSA bool) tls.Certificate {
	t.Helper()
	var key any
	var public any
	if useRSA {
		k, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			t.Fatal(err)
		}
		key, public = k, &k.PublicKey
	} else {
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		key, public = k, &k.PublicKey
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"a"}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// tlsTraffic sends n requests over one real TLS connection and returns the packets and what must be read.
func tlsTraffic(t *testing.T, s *script, client, server *tls.Config, n int) (want []string) {
	t.Helper()
	s.open()
	var mu sync.Mutex
	a, b := net.Pipe()
	done := make(chan error, 1)
	go func() {
		conn := tls.Server(tapped{b, 1, s, &mu}, server)
		r := bufio.NewReader(conn)
		for i := range n {
			req, err := http.ReadRequest(r)
			if err != nil {
				done <- err
				return
			}
			_, _ = io.Copy(io.Discard, req.Body)
			answer := ok(strings.Repeat("x", i%5*4000) + req.URL.Path)
			if _, err := io.WriteString(conn, answer); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	conn := tls.Client(tapped{a, 0, s, &mu}, client)
	r := bufio.NewReader(conn)
	for i := range n {
		body := strings.Repeat("b", i%3*1000)
		if _, err := io.WriteString(conn, post(fmt.Sprintf("/%d", i), body)); err != nil {
			t.Fatal(err)
		}
		res, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		line := fmt.Sprintf("POST /%d", i)
		if body != "" {
			line += " (" + body + ")"
		}
		want = append(want, line+" 2xx "+string(answer))
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	// Closing TLS would wait for a reader of its last alert.
	a.Close()
	b.Close()
	s.close()
	return want
}

func TestTLS(t *testing.T) {
	withRSA, withECDSA := certificate(t, true), certificate(t, false)
	suites := []uint16{
		tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
		tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
		tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA, tls.TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA, tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256,
		tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256, tls.TLS_RSA_WITH_AES_128_GCM_SHA256, tls.TLS_RSA_WITH_AES_256_CBC_SHA,
		0, // TLS 1.3
	}
	for _, id := range suites {
		name := "TLS 1.3"
		if id != 0 {
			name = tls.CipherSuiteName(id)
		}
		t.Run(name, func(t *testing.T) {
			var keys bytes.Buffer
			client := &tls.Config{InsecureSkipVerify: true, KeyLogWriter: &keys, ServerName: "a", ClientSessionCache: tls.NewLRUClientSessionCache(4)}
			server := &tls.Config{Certificates: []tls.Certificate{withRSA}}
			if strings.Contains(name, "ECDSA") {
				server.Certificates[0] = withECDSA
			}
			if id != 0 {
				client.MaxVersion, client.CipherSuites, server.CipherSuites = tls.VersionTLS12, []uint16{id}, []uint16{id}
			}
			first, second := newScript(clientAddr, serverAddr), newScript("10.0.0.1:40001", serverAddr)
			want := tlsTraffic(t, first, client, server, 6)
			logged := keys.Len()
			// The second connection resumes the session; in TLS 1.2 Go logs no key for it.
			want = append(want, tlsTraffic(t, second, client, server, 6)...)
			if id != 0 && keys.Len() != logged {
				t.Errorf("the second connection logged a key: it was not resumed")
			}
			log, err := capture.ReadKeyLog(bytes.NewReader(keys.Bytes()))
			if err != nil {
				t.Fatal(err)
			}
			opts := capture.DefaultOptions()
			opts.Keys = log
			opts.OnNote = func(n capture.Note) { t.Errorf("note: %s", n.Text) }
			all := read(t, pcapFile(append(slices.Clone(first.packets), second.packets...), 65535), opts)
			if diff := cmp.Diff(want, summaries(all)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestTLSWithoutKey(t *testing.T) {
	config := &tls.Config{Certificates: []tls.Certificate{certificate(t, false)}}
	s := newScript(clientAddr, serverAddr)
	tlsTraffic(t, s, &tls.Config{InsecureSkipVerify: true}, config, 1)
	var notes []string
	opts := capture.DefaultOptions()
	opts.OnNote = func(n capture.Note) { notes = append(notes, n.Text) }
	if got := read(t, pcapFile(s.packets, 65535), opts); len(got) > 0 {
		t.Errorf("got %v without a key", summaries(got))
	}
	if len(notes) != 1 || !strings.Contains(notes[0], "private key cannot decrypt") || !strings.Contains(notes[0], "--keylog") {
		t.Errorf("got notes %q, want one that says why and what to do", notes)
	}
}

// After a loss inside TLS the records that follow are found again, and nothing that was not sent is read.
func TestTLSLosses(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		var keys bytes.Buffer
		client := &tls.Config{InsecureSkipVerify: true, KeyLogWriter: &keys, MaxVersion: version}
		s := newScript(clientAddr, serverAddr)
		want := tlsTraffic(t, s, client, &tls.Config{Certificates: []tls.Certificate{certificate(t, false)}}, 40)
		whole := 0
		for seed := range uint64(100) {
			r := mrand.New(mrand.NewPCG(seed, 3))
			packets := slices.Clone(s.packets)
			for range 2 {
				i := 20 + r.IntN(len(packets)-20)
				packets = slices.Delete(packets, i, i+1)
			}
			log, err := capture.ReadKeyLog(bytes.NewReader(keys.Bytes()))
			if err != nil {
				t.Fatal(err)
			}
			opts := capture.DefaultOptions()
			opts.Keys = log
			seen := map[string]bool{}
			for _, g := range summaries(read(t, pcapFile(packets, 65535), opts)) {
				if strings.Contains(g, " ! ") {
					continue
				}
				if !slices.Contains(want, g) || seen[g] {
					t.Fatalf("%s, seed %d: an exchange that was not sent so: %.200s", tls.VersionName(version), seed, g)
				}
				seen[g] = true
			}
			whole += len(seen)
		}
		if whole < 100*36 {
			t.Errorf("%s: %d of %d exchanges are whole, want nine tenths", tls.VersionName(version), whole, 100*40)
		}
	}
}
