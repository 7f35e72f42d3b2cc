package main

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"crypto/tls"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"
	"google.golang.org/protobuf/encoding/protowire"
	googleproto "google.golang.org/protobuf/proto"

	portalv1 "isukit/proto/portal/v1"

	"isukit/cmd/internal/ui"
)

// packers are the content codings that servers send, by the name that HTTP has for them (RFC 9110, 8.4.1; RFC 7932; RFC 8878). "bare" is
// deflate without zlib around it, as some servers send it.
var packers = map[string]func(io.Writer) io.WriteCloser{
	"br":      func(w io.Writer) io.WriteCloser { return brotli.NewWriter(w) },
	"deflate": func(w io.Writer) io.WriteCloser { return zlib.NewWriter(w) },
	"bare":    func(w io.Writer) io.WriteCloser { z, _ := flate.NewWriter(w, flate.BestSpeed); return z },
	"zstd":    func(w io.Writer) io.WriteCloser { z, _ := zstd.NewWriter(w); return z },
}

// TestSendShowsWhatCame: every response is shown, and where isukit stops it prints the rest.
func TestSendShowsWhatCame(t *testing.T) {
	team, err := googleproto.Marshal(&portalv1.Error{Code: "c", Message: "寿司"})
	if err != nil {
		t.Fatal(err)
	}
	const page = "<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>\n"
	handler := http.NewServeMux()
	handler.HandleFunc("/packed/{coding}", func(w http.ResponseWriter, r *http.Request) {
		coding := r.PathValue("coding")
		w.Header().Set("Content-Type", "application/protobuf; proto=portal.v1.Error")
		w.Header().Set("Content-Encoding", strings.Replace(coding, "bare", "deflate", 1))
		z := packers[coding](w)
		_, _ = z.Write(team)
		_ = z.Close()
	})
	handler.HandleFunc("/moved", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "https://elsewhere.example/new", http.StatusTemporaryRedirect)
	})
	handler.HandleFunc("/page", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		w.WriteHeader(http.StatusBadGateway)
		_, _ = io.WriteString(w, page)
	})
	answer := func(path, contentType, coding, body string, missing int) {
		handler.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) {
			w.Header()["Content-Type"] = slices.DeleteFunc([]string{contentType}, func(s string) bool { return s == "" })
			if coding != "" {
				w.Header().Set("Content-Encoding", coding)
			}
			w.Header().Set("Content-Length", strconv.Itoa(len(body)+missing))
			_, _ = io.WriteString(w, body)
		})
	}
	answer("/no-type", "", "", "ok", 0)
	answer("/no-type/text", "", "", "not a message, but words\n", 0)
	answer("/no-type/message", "", "", string(protowire.AppendVarint(protowire.AppendTag(nil, 4000, protowire.VarintType), 7)), 0)
	answer("/other-type", "application/x-protobuf; proto=no.Such", "", "\x0a\x01c", 0)
	answer("/cut", "text/plain", "", "hello", 45)
	answer("/not-gzip", "text/plain", "gzip", "hello", 0)
	answer("/coding", "text/plain", "compress", "hello", 0)
	// Transfer codings, which net/http refuses, behind an interim response.
	coded := func(path, head string, framed bool) {
		handler.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			var packed bytes.Buffer
			z := gzip.NewWriter(&packed)
			_, _ = z.Write(team)
			_ = z.Close()
			body := packed.String()
			if framed {
				body = fmt.Sprintf("5\r\n%s\r\n%x\r\n%s\r\n0\r\n\r\n", body[:5], len(body)-5, body[5:])
			}
			_, _ = io.WriteString(conn, "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Type: application/protobuf; proto=portal.v1.Error\r\n"+head+"\r\n"+body)
		})
	}
	coded("/coded/chunked", "transfer-encoding: GZIP, chunked\r\n", true)
	coded("/coded/until-close", "Transfer-Encoding: gzip\r\n", false)
	server := httptest.NewServer(handler)
	defer server.Close()
	secure := httptest.NewTLSServer(handler)
	defer secure.Close()
	const message = "code: \"c\"\nmessage: \"寿司\"\n"
	tests := []struct {
		args      []string
		out, errs string
		code      int
	}{
		{[]string{"/packed/br"}, message, "200 OK", 0},
		{[]string{"/coded/chunked"}, message, "200 OK", 0},
		{[]string{"/coded/chunked", "-v"}, message, "< Transfer-Encoding: gzip\n< Transfer-Encoding: chunked\n", 0},
		{[]string{"/coded/until-close"}, message, "200 OK", 0},
		{[]string{"/coded/chunked", "--to", secure.URL, "--insecure"}, message, "200 OK", 0},
		{[]string{"/packed/zstd"}, message, "200 OK", 0},
		{[]string{"/packed/deflate"}, message, "200 OK", 0},
		{[]string{"/packed/bare"}, message, "200 OK", 0},
		{[]string{"/packed/br", "--resp-type", "portal.v1.Team"}, message, "200 OK", 0}, // the answer's own proto= wins
		{[]string{"/moved"}, "<a href=\"https://elsewhere.example/new\">Temporary Redirect</a>.\n\n", "redirects to https://elsewhere.example/new", 0},
		{[]string{"/page"}, page, `HTML page with the title "502 Bad Gateway"`, ui.ExitFailed},
		{[]string{"/no-type"}, "ok", "200 OK, 2 bytes of no type", 0},
		{[]string{"/no-type/text"}, "not a message, but words\n", "this is text", 0},
		{[]string{"/no-type/message"}, "4000: 7\n", "no known type fits", 0},
		{[]string{"/other-type"}, "1: \"c\"\n", "type no.Such is not in the schema", 0},
		{[]string{"/cut"}, "hello", "read the response: unexpected EOF", ui.ExitFailed}, // what came is shown
		{[]string{"/not-gzip"}, "hello", "content encoding gzip", ui.ExitFailed},
		{[]string{"/coding"}, "hello", "content encoding compress: unknown", ui.ExitFailed},
	}
	for _, tt := range tests {
		code, out, errs := isukitIn(t, "", append([]string{"send", "--to", server.URL}, tt.args...)...)
		if out != tt.out || !strings.Contains(errs, tt.errs) || code != tt.code {
			t.Errorf("send %q: exit %d, %q, %q\nwant exit %d, %q, %q", tt.args, code, out, errs, tt.code, tt.out, tt.errs)
		}
	}
}

// TestSendReaches: servers behind TLS and unix sockets are reached; where they are not, what would help is named.
func TestSendReaches(t *testing.T) {
	hello := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") })
	secure := httptest.NewTLSServer(hello)
	defer secure.Close()
	authority := filepath.Join(t.TempDir(), "ca.pem")
	write(t, authority, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: secure.Certificate().Raw})))

	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	local := &httptest.Server{Listener: l, Config: &http.Server{Handler: hello}}
	local.Start()
	defer local.Close()

	only2 := httptest.NewUnstartedServer(hello)
	only2.TLS = &tls.Config{NextProtos: []string{"h2"}}
	only2.Config.Protocols = new(http.Protocols)
	only2.Config.Protocols.SetHTTP2(true)
	only2.StartTLS()
	defer only2.Close()
	bare2 := httptest.NewUnstartedServer(hello)
	bare2.Config.Protocols = new(http.Protocols)
	bare2.Config.Protocols.SetUnencryptedHTTP2(true)
	bare2.Start()
	defer bare2.Close()

	const certificate, http2 = "--cacert FILE names the authority to trust; --insecure accepts any certificate", "the server speaks HTTP/2 only"
	tests := []struct {
		args      []string
		out, errs string
		code      int
	}{
		{[]string{"--to", secure.URL}, "", certificate, ui.ExitFailed},
		{[]string{"--to", secure.URL, "--insecure"}, "hello", "200 OK", 0},
		{[]string{"--to", secure.URL, "--cacert", authority}, "hello", "200 OK", 0},
		{[]string{"--to", strings.Replace(secure.URL, "127.0.0.1", "localhost", 1), "--cacert", authority}, "", certificate, ui.ExitFailed}, // another name
		{[]string{"--to", "unix:" + socket}, "hello", "200 OK", 0},
		{[]string{"--to", "unix:" + socket + ".gone"}, "", "no such file", ui.ExitFailed},
		{[]string{"--to", only2.URL, "--insecure"}, "", http2, ui.ExitFailed},
		{[]string{"--to", bare2.URL}, "", http2, ui.ExitFailed},
		{[]string{"--to", "http://127.0.0.1:1"}, "", "isukit topology status", ui.ExitFailed}, // nobody
	}
	for _, tt := range tests {
		code, out, errs := isukitIn(t, "", append([]string{"send", "/"}, tt.args...)...)
		if strings.TrimSpace(out) != tt.out || !strings.Contains(errs, tt.errs) || code != tt.code {
			t.Errorf("send %q: exit %d, %q, %q\nwant exit %d, %q, %q", tt.args, code, out, errs, tt.code, tt.out, tt.errs)
		}
	}
}

// TestHARRequestsGoAgain: forms (postData.params), requests of HTTP/2 with its pseudo headers, and targets in absolute form, as proxies get
// them, go to the server as what they were.
func TestHARRequestsGoAgain(t *testing.T) {
	var got []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got = append(got, strings.TrimSpace(r.Method+" "+r.RequestURI+" "+string(body)+" "+r.Header.Get("X-Kept")))
	}))
	defer server.Close()
	har := filepath.Join(t.TempDir(), "x.har")
	write(t, har, `{"log":{"entries":[
		{"startedDateTime":"2026-11-30T00:00:00Z","time":1,"request":{"method":"POST","url":"https://h.example/form","headers":[{"name":":method","value":"POST"},{"name":":path","value":"/form"},
			{"name":":scheme","value":"https"},{"name":":authority","value":"h.example"},{"name":"x-kept","value":"yes"},{"name":"content-type","value":"application/x-www-form-urlencoded"}],
			"postData":{"mimeType":"application/x-www-form-urlencoded","params":[{"name":"q","value":"a b&c"},{"name":"椅子","value":"1"}]}},"response":{"status":200,"content":{"text":""}}},
		{"startedDateTime":"2026-11-30T00:00:01Z","time":1,"request":{"method":"GET","url":"http://h.example:8080/a?b=c","headers":[]},"response":{"status":200,"content":{"text":""}}}]}}`)
	code, out, errs := isukitIn(t, "", "replay", har, "--to", server.URL)
	if want := "POST /form q=a+b%26c&%E6%A4%85%E5%AD%90=1 yes|GET /a?b=c"; code != ui.ExitOK || strings.Join(got, "|") != want || !strings.Contains(out, "2 responses the same") {
		t.Errorf("exit %d, the server saw %q\nwant %q\n%s%s", code, got, want, out, errs)
	}
	if code, out, errs = isukitIn(t, "", "capture", har, "--json"); code != ui.ExitOK || !strings.Contains(out, `"url":"https://h.example/form"`) || !strings.Contains(out, `"url":"http://h.example:8080/a?b=c"`) {
		t.Errorf("exit %d, %s\n%s", code, out, errs)
	}
	// Over a proxy the request line itself has the whole URL (RFC 9112, 3.2.2).
	pcap := filepath.Join(t.TempDir(), "proxy.pcap")
	proxied, done := recorded(t, pcap)
	proxied.Proxy = func(*http.Request) (*url.URL, error) { return url.Parse(server.URL) }
	resp, err := (&http.Client{Transport: proxied}).Get("http://shop.example/items?page=2")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	done()
	got = nil
	code, out, errs = isukitIn(t, "", "replay", pcap, "--to", server.URL)
	if code != ui.ExitOK || strings.Join(got, "|") != "GET /items?page=2" {
		t.Errorf("exit %d, the server saw %q\n%s%s", code, got, out, errs)
	}
	if code, out, errs = isukitIn(t, "", "capture", pcap, "--json"); code != ui.ExitOK || !strings.Contains(out, `"url":"http://shop.example/items?page=2"`) {
		t.Errorf("exit %d, %s\n%s", code, out, errs)
	}
}

// TestCaptureWritesBodies: the files hold the bytes of each body, without chunks and content codings, under the number of their exchange.
func TestCaptureWritesBodies(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "bodies")
	har := filepath.Join(t.TempDir(), "x.har")
	write(t, har, `{"log":{"entries":[
		{"startedDateTime":"2026-11-30T00:00:00Z","request":{"method":"GET","url":"http://h/empty"},"response":{"status":204}},
		{"startedDateTime":"2026-11-30T00:00:01Z","request":{"method":"POST","url":"http://h/x","headers":[{"name":"Content-Type","value":"application/protobuf"}],"postData":{"text":"CgFh","encoding":"base64"}},
			"response":{"status":200,"headers":[{"name":"Content-Type","value":"image/png"}],"content":{"text":"iVBORw0K/w==","encoding":"base64"}}}]}}`)
	if code, _, errs := isukitIn(t, "", "capture", har, "--write-bodies", dir); code != ui.ExitOK {
		t.Fatalf("exit %d, %s", code, errs)
	}
	want := map[string][]byte{"000002-request.bin": []byte("\x0a\x01a"), "000002-response.bin": []byte("\x89PNG\r\n\xff")}
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(files) != len(want) {
		t.Fatalf("%v, %v", files, err)
	}
	for _, file := range files {
		if got, err := os.ReadFile(file); err != nil || !bytes.Equal(got, want[filepath.Base(file)]) {
			t.Errorf("%s holds %q, want %q", file, got, want[filepath.Base(file)])
		}
	}
	if code, _, errs := isukitIn(t, "", "capture", har, "--write-bodies", har); code != ui.ExitUsage || !strings.Contains(errs, "--write-bodies needs a directory") {
		t.Errorf("into a file: exit %d, %s", code, errs)
	}
}

// TestCaptureNamesHTTP2: HTTP/2 over TLS is called that, with and without a key, as far as the handshake tells.
func TestCaptureNamesHTTP2(t *testing.T) {
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()
	for _, c := range []struct {
		version uint16
		keys    bool
		want    string
	}{
		{tls.VersionTLS12, false, "this is an HTTP/2 connection over TLS 1.2"},
		{tls.VersionTLS12, true, "this is an HTTP/2 connection over TLS 1.2"},
		{tls.VersionTLS13, false, "give it with --keylog; the client offers HTTP/2, which isukit does not read"},
		{tls.VersionTLS13, true, "this is an HTTP/2 connection over TLS 1.3"},
	} {
		var keys bytes.Buffer
		pcap, log := filepath.Join(t.TempDir(), "x.pcap"), filepath.Join(t.TempDir(), "keys.log")
		transport, done := recorded(t, pcap)
		transport.ForceAttemptHTTP2 = true
		transport.TLSClientConfig = &tls.Config{InsecureSkipVerify: true, MaxVersion: c.version, KeyLogWriter: &keys}
		resp, err := (&http.Client{Transport: transport}).Get(server.URL)
		if err != nil || resp.ProtoMajor != 2 {
			t.Fatalf("%v, %v", resp, err)
		}
		resp.Body.Close()
		done()
		args := []string{"capture", pcap}
		if c.keys {
			write(t, log, keys.String())
			args = append(args, "--keylog", log)
		}
		if code, out, errs := isukitIn(t, "", args...); out != "" || !strings.Contains(errs, c.want) {
			t.Errorf("%x, keys %v: exit %d, %q, %s", c.version, c.keys, code, out, errs)
		}
	}
}
