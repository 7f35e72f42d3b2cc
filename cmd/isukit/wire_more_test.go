package main

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	googleproto "google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"

	portalv1 "isukit/proto/portal/v1"

	"isukit/cmd/internal/ui"
)

// TestSendGzip has the body go packed, in chunks or with its length, and a packed answer unpacked, that of an error as well.
func TestSendGzip(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		packed, err := gzip.NewReader(r.Body)
		if err != nil || r.Header.Get("Content-Encoding") != "gzip" || (r.ContentLength < 0) != strings.HasSuffix(r.URL.RawQuery, "chunked") {
			t.Errorf("%s: %v, encoding %q, length %d", r.URL, err, r.Header.Get("Content-Encoding"), r.ContentLength)
			return
		}
		data, err := io.ReadAll(packed)
		in := new(portalv1.LoginRequest)
		if err != nil || googleproto.Unmarshal(data, in) != nil || in.Name != "寿司" {
			t.Errorf("the server reads %v, %v", in, err)
		}
		answer, _ := googleproto.Marshal(&portalv1.Error{Code: "locked", Message: in.Name})
		w.Header().Set("Content-Type", "application/protobuf; proto=portal.v1.Error")
		w.Header().Set("Content-Encoding", "gzip")
		w.WriteHeader(http.StatusForbidden)
		z := gzip.NewWriter(w)
		_, _ = z.Write(answer)
		_ = z.Close()
	}))
	defer server.Close()
	for _, args := range [][]string{{"POST /api/login"}, {"--chunked", "POST /api/login?chunked"}} {
		all := append([]string{"send", "--gzip", "--to", server.URL}, args...)
		out, errs, code := cli(t, "", append(all, "name=寿司", "password=secret12")...)
		if code != ui.ExitFailed || out != "code: \"locked\"\nmessage: \"寿司\"\n" || !strings.Contains(errs, "403 Forbidden") {
			t.Errorf("send %q: exit %d, %q, %q", args, code, out, errs)
		}
	}
}

// TestSchemaFiles takes types from a FileDescriptorSet and routes from a file: one path with two methods and two types, and
// templates of every form.
func TestSchemaFiles(t *testing.T) {
	dir := t.TempDir()
	set := &descriptorpb.FileDescriptorSet{}
	for _, file := range []protoreflect.FileDescriptor{portalv1.File_portal_v1_team_proto, portalv1.File_portal_v1_error_proto} {
		set.File = append(set.File, protodesc.ToFileDescriptorProto(file))
	}
	data, err := googleproto.Marshal(set)
	if err != nil {
		t.Fatal(err)
	}
	schema, routes := filepath.Join(dir, "set.pb"), filepath.Join(dir, "routes.tsv")
	const lines = "GET\t/x/:id\t-\tportal.v1.Error\nPUT\t/x/:id\t-\tportal.v1.Team\nGET\t/y/{id}/z\t-\tportal.v1.Team\nGET\t/w/*\t-\tportal.v1.Error\n"
	for name, content := range map[string][]byte{schema: data, routes: []byte(lines)} {
		if err := os.WriteFile(name, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	tests := []struct{ route, body, out string }{
		{"PUT /x/7", "\x08\x05", "id: 5\n"},
		{"GET /x/7", "\x0a\x01c", "code: \"c\"\n"},
		{"GET /y/7/z", "\x08\x05", "id: 5\n"},
		{"GET /w/a/b?c=d", "\x0a\x01c", "code: \"c\"\n"},
	}
	for _, tt := range tests {
		out, errs, code := cli(t, tt.body, "decode", "--descriptor-set", schema, "--routes", routes, "--route", tt.route)
		if code != 0 || out != tt.out {
			t.Errorf("%s: exit %d, %q, %q, want %q", tt.route, code, out, errs, tt.out)
		}
	}
	if out, errs, code := cli(t, "", "types", "--descriptor-set", schema); code != 0 || !strings.Contains(out, "portal.v1.Team\n") || strings.Contains(out, "Leaderboard") {
		t.Errorf("types: exit %d, %q, %q", code, out, errs)
	}
}

// TestCapturePacked reads a capture that is packed, from a file and from standard input.
func TestCapturePacked(t *testing.T) {
	plain, err := os.ReadFile(filepath.Join("..", "..", "proto", "capture", "testdata", "plain.pcap"))
	if err != nil {
		t.Fatal(err)
	}
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	_, _ = z.Write(plain)
	_ = z.Close()
	file := filepath.Join(t.TempDir(), "plain.pcap.gz")
	if err := os.WriteFile(file, packed.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	fromFile, errs, code := cli(t, "", "capture", file)
	if code != 0 || strings.Count(fromFile, "\n") != 16 {
		t.Errorf("exit %d, %q, %q, want 16 exchanges", code, fromFile, errs)
	}
	if fromInput, errs, code := cli(t, packed.String(), "capture", "-"); code != 0 || fromInput != fromFile {
		t.Errorf("from standard input: exit %d, %q, %q, want the same", code, fromInput, errs)
	}
}
