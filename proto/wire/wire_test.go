package wire_test

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/google/go-cmp/cmp"

	portalv1 "isukit/proto/portal/v1"
	"isukit/proto/wire"
)

const limit = 1024

func encode(t testing.TB, m proto.Message) []byte {
	t.Helper()
	b, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func request(contentType string, body io.Reader) *http.Request {
	r := httptest.NewRequest("POST", "/api/signup", body)
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	return r
}

func TestReadAcceptsEveryProtobufType(t *testing.T) {
	want := &portalv1.SignupRequest{Name: "naoko", Password: "correct horse"}
	for _, contentType := range []string{
		"application/protobuf", "application/x-protobuf", "application/vnd.google.protobuf",
		"Application/Protobuf", "application/protobuf; proto=portal.v1.SignupRequest", "application/x-protobuf;charset=utf-8",
	} {
		got := &portalv1.SignupRequest{}
		if err := wire.Read(request(contentType, bytes.NewReader(encode(t, want))), got, limit); err != nil {
			t.Errorf("Read with Content-Type %q: %v", contentType, err)
			continue
		}
		if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
			t.Errorf("Read with Content-Type %q (-want +got):\n%s", contentType, diff)
		}
	}
}

func TestReadRefuses(t *testing.T) {
	good := encode(t, &portalv1.SignupRequest{Name: "naoko", Password: "correct horse"})
	tests := []struct {
		name        string
		contentType string
		body        []byte
		status      int
		code        string
	}{
		{"no type", "", good, 415, "bad_content_type"},
		{"json", "application/json", good, 415, "bad_content_type"},
		{"grpc", "application/grpc", good, 415, "bad_content_type"},
		{"grpc and proto", "application/grpc+proto", good, 415, "bad_content_type"},
		{"a type that cannot be parsed", "application/protobuf; proto", good, 415, "bad_content_type"},
		{"cut in a field", wire.ContentType, good[:len(good)-3], 400, "malformed_body"},
		{"a grpc frame", wire.ContentType, append([]byte{0, 0, 0, 0, byte(len(good))}, good...), 400, "malformed_body"},
		{"json text", wire.ContentType, []byte(`{"name":"naoko"}`), 400, "malformed_body"},
		{"bad utf-8", wire.ContentType, []byte{0x0a, 2, 0xff, 0xfe}, 400, "bad_utf8"},
		{"too long", wire.ContentType, make([]byte, limit+1), 413, "body_too_large"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := wire.Read(request(tt.contentType, bytes.NewReader(tt.body)), &portalv1.SignupRequest{}, limit)
			checkFault(t, err, tt.status, tt.code)
		})
	}
}

func checkFault(t *testing.T, err error, status int, code string) {
	t.Helper()
	var f *wire.Fault
	if !errors.As(err, &f) {
		t.Fatalf("error %v is no *wire.Fault, want %d %s", err, status, code)
	}
	if f.Status != status || f.Code != code {
		t.Errorf("fault %v, want %d %s", f, status, code)
	}
	if f.Message == "" {
		t.Errorf("fault %v has no message", f)
	}
}

func TestReadTakesExactlyTheLimit(t *testing.T) {
	m := &portalv1.SignupRequest{Password: strings.Repeat("x", limit-3)}
	body := encode(t, m)
	if len(body) != limit {
		t.Fatalf("the body has %d bytes, want %d", len(body), limit)
	}
	if err := wire.Read(request(wire.ContentType, bytes.NewReader(body)), &portalv1.SignupRequest{}, limit); err != nil {
		t.Errorf("Read of exactly the limit: %v", err)
	}
}

func TestReadOfUnknownLength(t *testing.T) {
	// A reader that hides its length makes a chunked request, whose length is known only at its end.
	r := request(wire.ContentType, io.MultiReader(bytes.NewReader(make([]byte, 4*limit))))
	r.ContentLength = -1
	checkFault(t, wire.Read(r, &portalv1.SignupRequest{}, limit), 413, "body_too_large")
}

func TestReadOfEncodedBody(t *testing.T) {
	r := request(wire.ContentType, strings.NewReader("x"))
	r.Header.Set("Content-Encoding", "gzip")
	checkFault(t, wire.Read(r, &portalv1.SignupRequest{}, limit), 415, "bad_content_encoding")
}

func TestReadOfBrokenConnection(t *testing.T) {
	broken := io.MultiReader(strings.NewReader("\n\x05na"), errReader{})
	checkFault(t, wire.Read(request(wire.ContentType, broken), &portalv1.SignupRequest{}, limit), 400, "truncated_body")
}

type errReader struct{}

func (errReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func TestDiscard(t *testing.T) {
	if err := wire.Discard(request("", strings.NewReader("whatever")), limit); err != nil {
		t.Errorf("Discard of a short body: %v", err)
	}
	if err := wire.Discard(httptest.NewRequest("GET", "/", nil), limit); err != nil {
		t.Errorf("Discard of no body: %v", err)
	}
	checkFault(t, wire.Discard(request("", strings.NewReader(strings.Repeat("x", limit+1))), limit), 413, "body_too_large")
}

func TestWrite(t *testing.T) {
	w := httptest.NewRecorder()
	want := &portalv1.SearchTeamsResponse{Total: 7}
	if err := wire.Write(w, 200, want); err != nil {
		t.Fatal(err)
	}
	if got := w.Header().Get("Content-Type"); got != "application/protobuf" {
		t.Errorf("Content-Type %q, want application/protobuf", got)
	}
	if got := w.Header().Get("Content-Length"); got != "2" {
		t.Errorf("Content-Length %q, want 2", got)
	}
	got := &portalv1.SearchTeamsResponse{}
	if err := wire.Unmarshal(w.Body.Bytes(), got); err != nil || got.GetTotal() != 7 {
		t.Errorf("the body reads as %v, %v; want %v", got, err, want)
	}
}

func TestWriteError(t *testing.T) {
	w := httptest.NewRecorder()
	secret := errors.New("password in the cause")
	err := wire.WriteError(w, &wire.Fault{Status: 403, Code: "not_admin", Message: "admins only", Hint: "ask one", Cause: secret})
	if err != nil {
		t.Fatal(err)
	}
	if w.Code != 403 || w.Header().Get("Content-Type") != "application/protobuf; proto=portal.v1.Error" {
		t.Errorf("status %d, Content-Type %q", w.Code, w.Header().Get("Content-Type"))
	}
	if strings.Contains(w.Body.String(), "password") {
		t.Error("the cause went to the peer")
	}
	got, ok := wire.FromResponse(w.Code, w.Header().Get("Content-Type"), w.Body.Bytes())
	want := &portalv1.Error{Code: "not_admin", Message: "admins only", Hint: "ask one"}
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" || !ok {
		t.Errorf("FromResponse gave ok %v (-want +got):\n%s", ok, diff)
	}
}

func TestFromResponseWithoutError(t *testing.T) {
	for _, tt := range []struct{ contentType, body string }{
		{"text/html", "<h1>Bad Gateway</h1>"},
		{wire.ErrorContentType, "\xff"},
		{wire.ErrorContentType, ""},
		{wire.ContentType, "\n\x01x"},
	} {
		got, ok := wire.FromResponse(502, tt.contentType, []byte(tt.body))
		if ok || got.GetCode() != "http_502" {
			t.Errorf("FromResponse(%q, %q) = %v, %v; want http_502, false", tt.contentType, tt.body, got, ok)
		}
	}
}

func TestIsError(t *testing.T) {
	for contentType, want := range map[string]bool{
		"application/protobuf; proto=portal.v1.Error":   true,
		"application/x-protobuf;proto=portal.v1.Error":  true,
		"application/protobuf":                          false,
		"application/protobuf; proto=portal.v1.Contest": false,
		"text/plain; proto=portal.v1.Error":             false,
		"":                                              false,
	} {
		if got := wire.IsError(contentType); got != want {
			t.Errorf("IsError(%q) = %v, want %v", contentType, got, want)
		}
	}
}

// FuzzRead holds that no body makes Read panic, that every refusal is a Fault of the 4xx kind, and that what was read
// can be written and read again.
func FuzzRead(f *testing.F) {
	f.Add(wire.ContentType, encode(f, &portalv1.EnqueueJobRequest{Target: "10.0.0.1", Memo: "索引を足した"}))
	f.Add("application/x-protobuf; a=b", []byte{0x0a, 2, 0xff, 0xfe})
	f.Add("text/plain", []byte("x"))
	f.Add(wire.ContentType, make([]byte, limit+1))
	f.Fuzz(func(t *testing.T, contentType string, body []byte) {
		m := &portalv1.EnqueueJobRequest{}
		r := &http.Request{Header: http.Header{"Content-Type": {contentType}}, Body: io.NopCloser(bytes.NewReader(body)), ContentLength: int64(len(body))}
		if err := wire.Read(r, m, limit); err != nil {
			var fault *wire.Fault
			if !errors.As(err, &fault) || fault.Status < 400 || fault.Status > 499 {
				t.Fatalf("Read(%q, %x): %v, want a Fault of 4xx", contentType, body, err)
			}
			return
		}
		again := &portalv1.EnqueueJobRequest{}
		if err := wire.Unmarshal(encode(t, m), again); err != nil || !proto.Equal(m, again) {
			t.Fatalf("%v read again is %v, %v", m, again, err)
		}
	})
}
