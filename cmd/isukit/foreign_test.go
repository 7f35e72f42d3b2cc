package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protojson"
	googleproto "google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/dynamicpb"

	"isukit/cmd/internal/exchange"
	"isukit/cmd/internal/ui"
	"isukit/proto/capture"
	"isukit/proto/decode"
)

// chairProto is a schema that isukit does not know.
const chairProto = `syntax = "proto3";
package chairs.v1;
import "google/protobuf/timestamp.proto";
message Chair { int64 id = 1; string name = 2; int32 price = 3; repeated string features = 4; Color color = 5; }
enum Color { COLOR_UNSPECIFIED = 0; COLOR_WHITE = 1; COLOR_BLACK = 2; }
message SearchChairsResponse { repeated Chair chairs = 1; int64 count = 2; }
message GetChairResponse { Chair chair = 1; }
message CreateChairRequest { string name = 1; int32 price = 2; repeated string features = 3; }
message CreateChairResponse { Chair chair = 1; }
message BuyChairRequest { string email = 1; }
message BuyChairResponse { int64 order_id = 1; google.protobuf.Timestamp at = 2; }
message LoginRequest { string name = 1; string password = 2; }
message LoginResponse { int64 user_id = 1; }
message ListOrdersResponse { repeated Order orders = 1; }
message Order { int64 id = 1; int64 chair_id = 2; google.protobuf.Timestamp at = 3; }
message Error { int32 code = 1; string message = 2; }
`

// chairCalls are the calls of one user, with what they carry in JSON; %d is a number of each user's own, above 0.
var chairCalls = []struct{ method, path, request, req, response, resp string }{
	{"POST", "/login", "LoginRequest", `{"name":"isu%d","password":"secret%[1]d"}`, "LoginResponse", `{"user_id":"%d"}`},
	{"GET", "/api/chairs/search?page=%d", "", "", "SearchChairsResponse", `{"chairs":[{"id":"%d","name":"椅子","price":1500},{"id":"7","features":["arms"],"color":"COLOR_BLACK"}],"count":"90%[1]d"}`},
	{"GET", "/api/chairs/%d", "", "", "GetChairResponse", `{"chair":{"id":"%d","name":"chair %[1]d","price":80,"features":["a","b"],"color":"COLOR_WHITE"}}`},
	{"POST", "/api/chairs", "CreateChairRequest", `{"name":"new %d","price":%[1]d,"features":["oak"]}`, "CreateChairResponse", `{"chair":{"id":"4%d","name":"new"}}`},
	{"POST", "/api/chairs/%d/buy", "BuyChairRequest", `{"email":"%d@example.com"}`, "BuyChairResponse", `{"order_id":"%d","at":"2026-11-30T12:00:00Z"}`},
	{"GET", "/users/isu-%d/orders", "", "", "ListOrdersResponse", `{"orders":[{"id":"%d","chair_id":"3","at":"2026-11-30T12:00:00.500Z"}]}`},
}

// foreignTraffic writes a folder of .proto files to dir, and has 50 users make 300 calls of a server, whose address connect gets.
func foreignTraffic(t *testing.T, dir string, connect func(address net.Addr) *http.Transport) {
	t.Helper()
	if err := os.MkdirAll(filepath.Join(dir, "proto", "chairs", "v1"), 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "proto", "chairs", "v1", "chairs.proto"), chairProto)
	schema, err := decode.Compile(t.Context(), filepath.Join(dir, "proto"))
	if err != nil {
		t.Fatal(err)
	}
	wire := func(name, text string) []byte {
		md, err := schema.Find("chairs.v1." + name)
		if err != nil {
			t.Fatal(err)
		}
		m := dynamicpb.NewMessage(md)
		if err := protojson.Unmarshal([]byte(text), m); err != nil {
			t.Fatal(err)
		}
		data, err := googleproto.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		var call, user int
		_, _ = fmt.Sscan(r.Header.Get("X-Call"), &call, &user)
		w.Header().Set("Content-Type", "application/x-protobuf")
		_, _ = w.Write(wire(chairCalls[call].response, numbered(chairCalls[call].resp, user)))
	}))
	defer server.Close()
	transport := connect(server.Listener.Addr())
	defer transport.CloseIdleConnections()
	for user := 1; user <= 50; user++ {
		for i, c := range chairCalls {
			var body []byte
			if c.request != "" {
				body = wire(c.request, numbered(c.req, user))
			}
			req, err := http.NewRequest(c.method, server.URL+numbered(c.path, user), bytes.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("X-Call", fmt.Sprint(i, " ", user))
			if body != nil {
				req.Header.Set("Content-Type", "application/x-protobuf")
			}
			resp, err := transport.RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			_, _ = io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
		}
	}
}

// recorded is a client whose traffic is written to a capture file, which is whole when done returns.
func recorded(t *testing.T, file string) (transport *http.Transport, done func()) {
	t.Helper()
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	rec, err := capture.NewRecorder(f)
	if err != nil {
		t.Fatal(err)
	}
	transport = &http.Transport{DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := (&net.Dialer{}).DialContext(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return rec.Conn(c)
	}}
	return transport, func() {
		transport.CloseIdleConnections()
		if err := errors.Join(rec.Flush(), f.Close()); err != nil {
			t.Fatal(err)
		}
	}
}

func numbered(text string, n int) string {
	if !strings.Contains(text, "%") {
		return text
	}
	return fmt.Sprintf(text, n)
}

// TestForeignSchemaInOneCommand: of a capture of 300 exchanges and the folder of their .proto files, one command prints every message as it
// was sent, under its type, marked as a guess. With ISUKIT_FOREIGN both are left there, for a picture.
func TestForeignSchemaInOneCommand(t *testing.T) {
	dir := os.Getenv("ISUKIT_FOREIGN")
	if dir == "" {
		dir = t.TempDir()
	}
	file, protos := filepath.Join(dir, "contest.pcap"), filepath.Join(dir, "proto")
	transport, done := recorded(t, file)
	foreignTraffic(t, dir, func(net.Addr) *http.Transport { return transport })
	done()
	code, out, errs := isukitIn(t, "", "capture", file, "--proto", protos, "--json")
	if code != ui.ExitOK || !strings.Contains(errs, "isukit routes learn") {
		t.Fatalf("exit %d: %s", code, errs)
	}
	checkForeign(t, out)
	code, out, _ = isukitIn(t, "", "capture", file, "--proto", protos, "--bodies")
	if requests, responses := strings.Count(out, "\n  request chairs.v1."), strings.Count(out, "\n  response chairs.v1."); code != ui.ExitOK || requests != 150 || responses != 300 {
		t.Errorf("exit %d: %d requests and %d responses are printed, want 150 and 300", code, requests, responses)
	}
	// What is learned is a file that names the same types, with the names of users as one route.
	code, out, errs = isukitIn(t, "", "routes", "learn", file, "--proto", protos)
	if code != ui.ExitOK || !strings.Contains(out, "GET\t/users/{slug}/orders\t-\tchairs.v1.ListOrdersResponse\n") {
		t.Errorf("exit %d: %s\n%s", code, errs, out)
	}
	routes := filepath.Join(t.TempDir(), "routes.tsv")
	write(t, routes, strings.ReplaceAll(out, "#? ", ""))
	code, out, errs = isukitIn(t, "", "capture", file, "--proto", protos, "--routes", routes)
	if code != ui.ExitOK || strings.Count(out, "-> BuyChairResponse\n") != 50 || strings.Contains(out, "~") {
		t.Errorf("with these routes: exit %d: %s\n%.500s", code, errs, out)
	}
}

// checkForeign holds that every message of the foreign traffic is in what capture --json printed, under its type, marked as a guess.
func checkForeign(t *testing.T, out string) {
	t.Helper()
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if len(lines) != 300 {
		t.Fatalf("%d exchanges, want 300", len(lines))
	}
	for n, line := range lines {
		c, user := chairCalls[n%len(chairCalls)], 1+n/len(chairCalls)
		var got exchange.ExchangeJSON
		if err := json.Unmarshal([]byte(line), &got); err != nil {
			t.Fatal(err)
		}
		if c.request != "" && (got.ReqType != "chairs.v1."+c.request || !got.ReqGuessed || !sameJSON(t, got.Req, numbered(c.req, user))) {
			t.Errorf("%s %s: request %s, guessed %v: %s", c.method, got.URL, got.ReqType, got.ReqGuessed, got.Req)
		}
		if got.RespType != "chairs.v1."+c.response || !got.RespGuessed || !sameJSON(t, got.Resp, numbered(c.resp, user)) {
			t.Errorf("%s %s: response %s, guessed %v: %s", c.method, got.URL, got.RespType, got.RespGuessed, got.Resp)
		}
	}
}

func sameJSON(t *testing.T, got []byte, want string) bool {
	t.Helper()
	var a, b any
	if err := json.Unmarshal([]byte(want), &b); err != nil {
		t.Fatal(err)
	}
	return json.Unmarshal(got, &a) == nil && gocmp.Equal(a, b)
}

// TestOctetStreamOnTypedRoutes: a body of application/octet-stream is decoded where a route names its type, and else is not. The bytes are
// those of `protoc --encode=chairs.v1.LoginRequest` for name: "a", and of LoginResponse for user_id: 300.
func TestOctetStreamOnTypedRoutes(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "x.proto"), chairProto)
	write(t, filepath.Join(dir, "routes.tsv"), "POST\t/login\tchairs.v1.LoginRequest\tchairs.v1.LoginResponse\n")
	write(t, filepath.Join(dir, "x.har"), `{"log":{"entries":[{"startedDateTime":"2026-11-30T00:00:00Z","time":1,"request":{"method":"POST","url":"http://h/login","headers":[{"name":"Content-Type","value":"application/octet-stream"}],
		"postData":{"text":"CgFh","encoding":"base64"}},"response":{"status":200,"headers":[{"name":"content-type","value":"Application/Octet-Stream; x=y"}],"content":{"text":"CKwC","encoding":"base64"}}}]}}`)
	args := []string{"capture", filepath.Join(dir, "x.har"), "--bodies", "--proto", dir}
	if code, out, errs := isukitIn(t, "", append(args, "--routes", filepath.Join(dir, "routes.tsv"))...); code != ui.ExitOK || !strings.Contains(out, "    name: \"a\"\n") || !strings.Contains(out, "    user_id: 300\n") {
		t.Errorf("exit %d, %s\n%s", code, errs, out)
	}
	if code, out, errs := isukitIn(t, "", args...); code != ui.ExitOK || strings.Contains(out, "LoginRequest") {
		t.Errorf("without routes: exit %d, %s\n%s", code, errs, out)
	}
}

// TestSecureCookiesStayOffHTTP: what the captured answer or today's calls Secure is sent over https alone, as RFC 6265 has it, unless
// captured cookies are asked for.
func TestSecureCookiesStayOffHTTP(t *testing.T) {
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/login" {
			http.SetCookie(w, &http.Cookie{Name: "now", Value: "new", Secure: true})
			http.SetCookie(w, &http.Cookie{Name: "before", Value: "new"})
			http.SetCookie(w, &http.Cookie{Name: "plain", Value: "new"})
			return
		}
		_, _ = io.WriteString(w, r.Header.Get("Cookie"))
	})
	plain, secure := httptest.NewServer(handler), httptest.NewTLSServer(handler)
	defer plain.Close()
	defer secure.Close()
	har := filepath.Join(t.TempDir(), "x.har")
	write(t, har, `{"log":{"entries":[{"startedDateTime":"2026-11-30T00:00:00Z","time":1,"request":{"method":"GET","url":"https://h/login"},"response":{"status":200,"headers":[
		{"name":"Set-Cookie","value":"now=old; Path=/"},{"name":"Set-Cookie","value":"before=old; Path=/; SECURE; HttpOnly"},{"name":"Set-Cookie","value":"plain=old"}]}},
		{"startedDateTime":"2026-11-30T00:00:01Z","time":1,"request":{"method":"GET","url":"https://h/","headers":[{"name":"Cookie","value":"now=old; before=old; plain=old; other=1"}]},"response":{"status":200,"content":{"text":"nothing"}}}]}}`)
	sent := func(to string, more ...string) string {
		var seen string
		proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/" {
				seen = r.Header.Get("Cookie")
			}
			handler(w, r)
		}))
		defer proxy.Close()
		if to == "" {
			to = proxy.URL
		}
		_, _, errs := isukitIn(t, "", append([]string{"replay", har, "--to", to}, more...)...)
		return seen + "|" + fmt.Sprint(strings.Contains(errs, "2 Secure cookies were not sent over http"))
	}
	if got := sent(""); got != "plain=new; other=1|true" {
		t.Errorf("over http it sends %q", got)
	}
	if got := sent("", "--new-cookies=false"); got != "now=old; before=old; plain=old; other=1|false" {
		t.Errorf("as captured it sends %q", got)
	}
	// send keeps a jar: over https its Secure cookie goes along, over http to the same host it does not.
	jar := filepath.Join(t.TempDir(), "jar")
	for _, c := range []struct{ to, path, want string }{{secure.URL, "/login", ""}, {secure.URL, "/", "now=new; before=new; plain=new"}} {
		if code, out, errs := isukitIn(t, "", "send", "--to", c.to, "--insecure", "--jar", jar, c.path); code != ui.ExitOK || !strings.Contains(out, c.want) {
			t.Errorf("%s%s: exit %d, %q, %s", c.to, c.path, code, out, errs)
		}
	}
	text, err := os.ReadFile(jar)
	if err != nil {
		t.Fatal(err)
	}
	write(t, jar, strings.ReplaceAll(string(text), strings.TrimPrefix(secure.URL, "https://"), strings.TrimPrefix(plain.URL, "http://")))
	if code, out, errs := isukitIn(t, "", "send", "--to", plain.URL, "--jar", jar, "/"); code != ui.ExitOK || strings.Contains(out, "now=") || !strings.Contains(out, "plain=new") {
		t.Errorf("over http: exit %d, %q, %s", code, out, errs)
	}
}
