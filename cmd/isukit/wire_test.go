package main

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"isukit/cmd/internal/ui"
	"isukit/proto/wire"

	portalv1 "isukit/proto/portal/v1"
)

// cli runs the CLI with args and returns what it printed, and its exit code.
func cli(t *testing.T, stdin string, args ...string) (out, errs string, code int) {
	t.Helper()
	t.Setenv("ISUKIT_STATE_DIR", t.TempDir())
	var o, e bytes.Buffer
	// Without arguments cobra would take those of the test binary.
	code = run(context.Background(), append([]string{}, args...), streams{strings.NewReader(stdin), &o, &e})
	return o.String(), e.String(), code
}

func TestDecodeCommand(t *testing.T) {
	dir := t.TempDir()
	proto, wrong := filepath.Join("..", "..", "proto"), filepath.Join("..", "..", "proto", "portal")
	body := filepath.Join(dir, "team.bin")
	out, errs, code := cli(t, "", "encode", "--type", "Team", "id=5", "name=寿司", "tags=a", "tags=b")
	if code != 0 {
		t.Fatalf("encode: exit %d, %s", code, errs)
	}
	if err := os.WriteFile(body, []byte(out), 0o600); err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(dir, "other.bin")
	changed, _, _ := cli(t, `{"id": "5", "name": "寿司2", "tags": ["a"]}`, "encode", "--type", "Team", "--file", "-")
	if err := os.WriteFile(other, []byte(changed), 0o600); err != nil {
		t.Fatal(err)
	}
	const text = "id: 5\nname: \"寿司\"\ntags: \"a\"\ntags: \"b\"\n"
	tests := []struct {
		name, stdin string
		args        []string
		out, errs   string // errs: a part of it
		code        int
	}{
		{"text", "", []string{"--type", "Team", body}, text, "", 0},
		{"JSON", "", []string{"--type", "Team", "--json", body}, "{\n  \"id\": \"5\",\n  \"name\": \"寿司\",\n  \"tags\": [\n    \"a\",\n    \"b\"\n  ]\n}\n", "", 0},
		{"two files, two types", "", []string{"--type", "Team", "--type", "portal.v1.Team", body, body}, text + text, "", 0},
		{"hex", "0805 1206 e5afbfe58fb8", []string{"--in", "hex", "--type", "Team"}, "id: 5\nname: \"寿司\"\n", "", 0},
		{"raw", "\x08\x05", []string{"--raw"}, "1: 5\n", "", 0},
		{"route", "\x0a\x02\x08\x05", []string{"--route", "GET /api/teams/12"}, "team {\n  id: 5\n}\n", "", 0},
		{"empty", "", []string{"--type", "Team"}, "", "empty (0 bytes)", 0},
		{"damaged", "\x08\x05\x12\x09x", []string{"--type", "Team"}, "id: 5\nname: \"x\"\n", "fault: byte 3, in name: length 9 runs past the end: 1 bytes are left", 1},
		{"schema from .proto", "", []string{"--proto", proto, "--type", "Team", body}, text, "", 0},
		{"import root too deep", "", []string{"--proto", wrong, "--type", "Team", body}, text, "is not where imports start", 0},
		{"unknown type", "", []string{"--type", "Tem", body}, "", "type Tem is not in the schema", 2},
		{"diff", "", []string{"--diff", "--type", "Team", body, other}, "~ name: \"寿司\" -> \"寿司2\"\n- tags[1]: \"b\"\n", "differ in 2 places", ui.ExitRound},
		{"HTML", "<!DOCTYPE html><title>502 Bad Gateway</title>", []string{"--type", "Team"}, "", `HTML page with the title "502 Bad Gateway"`, 1},
		{"gRPC frame", "\x00\x00\x00\x00\x02\x08\x05", []string{"--type", "Team"}, "", "gRPC frame: 5 bytes, then a message of 2 bytes", 1},
		{"many candidates", "\x0a\x01x", nil, "", "candidate: portal.v1.SignupRequest", 2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			out, errs, code := cli(t, tt.stdin, append([]string{"decode"}, tt.args...)...)
			if out != tt.out || !strings.Contains(errs, tt.errs) || code != tt.code {
				t.Errorf("decode %q: got exit %d, %q, stderr %q\nwant exit %d, %q, stderr with %q", tt.args, code, out, errs, tt.code, tt.out, tt.errs)
			}
		})
	}
}

// loginServer answers a login with a cookie, the session with who has that cookie, and anything else with an error.
func loginServer(t *testing.T, greeting string) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.Method + " " + r.URL.Path {
		case "POST /api/login":
			in := new(portalv1.LoginRequest)
			if err := wire.Read(r, in, 1<<20); err != nil {
				t.Error(err)
			}
			http.SetCookie(w, &http.Cookie{Name: "session", Value: greeting + in.Name, Path: "/"})
			_ = wire.Write(w, http.StatusOK, &portalv1.LoginResponse{Contestant: &portalv1.Contestant{Id: 7, Name: in.Name}})
		case "GET /api/session":
			c, err := r.Cookie("session")
			name := ""
			if err == nil {
				name = strings.TrimPrefix(c.Value, greeting)
			}
			_ = wire.Write(w, http.StatusOK, &portalv1.GetSessionResponse{Contestant: &portalv1.Contestant{Name: name}})
		default:
			_, _ = io.Copy(io.Discard, r.Body)
			_ = wire.WriteError(w, &wire.Fault{Status: http.StatusConflict, Code: "not_running", Message: "the contest is over"})
		}
	}))
	t.Cleanup(server.Close)
	return server
}

func TestSendCommand(t *testing.T) {
	server := loginServer(t, "")
	jar := filepath.Join(t.TempDir(), "jar")
	tests := []struct {
		name, stdin string
		args        []string
		out, errs   string
		code        int
	}{
		{"fields", "", []string{"POST /api/login", "name=ana", "password=secret12"}, "contestant {\n  id: 7\n  name: \"ana\"\n}\n", "200 OK", 0},
		{"the cookie is kept", "", []string{"/api/session"}, "contestant {\n  name: \"ana\"\n}\n", "", 0},
		{"JSON in, JSON out, chunked", `{"name":"bo"}`, []string{"/api/login", "--file", "-", "--json", "--chunked"},
			"{\n  \"contestant\": {\n    \"id\": \"7\",\n    \"name\": \"bo\"\n  }\n}\n", "", 0},
		{"text in, heads shown", `name: "cy"`, []string{"/api/login", "--file", "-", "-v"}, "contestant {\n  id: 7\n  name: \"cy\"\n}\n",
			"> Content-Type: application/protobuf\n", 0},
		{"an error is decoded", "", []string{"POST /api/jobs", "target=x"}, "code: \"not_running\"\nmessage: \"the contest is over\"\n", "409 Conflict", 1},
		{"unknown field", "", []string{"/api/login", "nam=x"}, "", `no field "nam"; it has name, password`, 2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			args := append([]string{"send", "--to", server.URL, "--jar", jar}, tt.args...)
			out, errs, code := cli(t, tt.stdin, args...)
			if out != tt.out || !strings.Contains(errs, tt.errs) || code != tt.code {
				t.Errorf("send %q: got exit %d, %q, stderr %q\nwant exit %d, %q, stderr with %q", tt.args, code, out, errs, tt.code, tt.out, tt.errs)
			}
		})
	}
}

// TestReplayCommand replays a HAR file: against the same server nothing differs, with new sessions instead of the captured ones; against
// one that answers otherwise the difference is named.
func TestReplayCommand(t *testing.T) {
	har := filepath.Join(t.TempDir(), "a.har")
	const entries = `{"log":{"version":"1.2","entries":[
		{"startedDateTime":"2026-01-01T00:00:00Z","time":5,
		 "request":{"method":"POST","url":"http://old/api/login","headers":[{"name":"Content-Type","value":"application/protobuf"}],
		  "postData":{"text":"CgNhbmE=","encoding":"base64"}},
		 "response":{"status":200,"headers":[{"name":"Content-Type","value":"application/protobuf"},{"name":"Set-Cookie","value":"session=oldana; Path=/"}],
		  "content":{"text":"CgcIBxIDYW5h","encoding":"base64"}}},
		{"startedDateTime":"2026-01-01T00:00:01Z","time":5,
		 "request":{"method":"GET","url":"http://old/api/session","headers":[{"name":"Cookie","value":"session=oldana"}]},
		 "response":{"status":200,"headers":[{"name":"Content-Type","value":"application/protobuf"}],
		  "content":{"text":"CgUSA2FuYQ==","encoding":"base64"}}}]}}`
	if err := os.WriteFile(har, []byte(entries), 0o600); err != nil {
		t.Fatal(err)
	}
	out, errs, code := cli(t, "", "replay", har, "--to", loginServer(t, "new").URL)
	if code != 0 || !strings.Contains(out, "2 requests sent, 2 responses the same, 0 differ") {
		t.Errorf("got exit %d, %q, %q, want 2 answers the same", code, out, errs)
	}
	out, errs, code = cli(t, "", "replay", har, "--new-cookies=false", "--to", loginServer(t, "new").URL)
	if code != ui.ExitRound || !strings.Contains(out, "GET /api/session:\n  ~ contestant.name: \"ana\" -> \"oldana\"\n") {
		t.Errorf("without new cookies: got exit %d, %q, %q, want the session to differ", code, out, errs)
	}
	out, errs, code = cli(t, "", "replay", har, "--new-cookies=false", "--ignore", "na?e", "--to", loginServer(t, "new").URL)
	if code != 0 || !strings.Contains(out, "2 responses the same") {
		t.Errorf("with the name ignored: got exit %d, %q, %q, want the same", code, out, errs)
	}
}
