package decode_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"

	routes "isukit/proto"
	"isukit/proto/decode"
)

func kinds(t testing.TB) *decode.Schema {
	t.Helper()
	schema, err := decode.Compile(context.Background(), filepath.Join("testdata", "proto"))
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

// kindsText is a message with every kind of field, as Text prints it.
const kindsText = `name: "椅子"
s32: -5
s64: -6
f32: 7
f64: 8
sf32: -9
sf64: -10
float: 1.5
double: -inf
raw: "\377\000a"
u32: 4294967295
u64: 18446744073709551615
packed: 1
packed: -2
unpacked: 3
counts {
  key: "a"
  value: 1
}
counts {
  key: "b"
  value: -2
}
others {
  key: 1
  value {
    text: "x"
    flags {
      key: false
      value: "no"
    }
    flags {
      key: true
      value: "yes"
    }
  }
}
Result {
  score: 1
}
Result {
}
at {
  seconds: 1732300000
  nanos: 5
}
word: "w"
color: GREEN
nested {
  name: "inner"
}
bools: true
bools: false
`

func TestEveryKind(t *testing.T) {
	schema := kinds(t)
	md := find(t, schema, "Kinds")
	m, err := decode.Encode(md, []byte(kindsText), schema)
	if err != nil {
		t.Fatal(err)
	}
	data, err := decode.Wire(m)
	if err != nil {
		t.Fatal(err)
	}
	body := new(decode.Schema).Decode(md, data, decode.DefaultLimits())
	if !body.Fit.Exact() {
		t.Errorf("got fit %s and faults %v, want exact", body.Fit, body.Faults)
	}
	if diff := cmp.Diff(kindsText, decode.Text(body.Message)); diff != "" {
		t.Errorf("text (-want +got):\n%s", diff)
	}
	json, faults := decode.JSON(body.Message, "  ", schema)
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	back, err := decode.Encode(md, json, schema)
	if err != nil || !proto.Equal(back.Interface(), m.Interface()) {
		t.Errorf("JSON reads back as %v, %v\n%s", back, err, json)
	}
}

// Whatever is done to the bytes, what the library reads is read alike, and what it does not read has a fault.
func TestEveryKindDamaged(t *testing.T) {
	schema := kinds(t)
	md := find(t, schema, "Kinds")
	m, err := decode.Encode(md, []byte(kindsText), schema)
	if err != nil {
		t.Fatal(err)
	}
	whole, err := decode.Wire(m)
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(1, 2))
	same := 0
	for range 10_000 {
		data := append([]byte(nil), whole...)
		for range 1 + r.IntN(3) {
			data[r.IntN(len(data))] = byte(r.IntN(256))
		}
		body := new(decode.Schema).Decode(md, data, decode.DefaultLimits())
		want := dynamicpb.NewMessage(md)
		err, crashed := libraryReads(data, want)
		switch {
		case crashed:
		case err != nil && len(body.Faults) == 0:
			t.Fatalf("%x: no fault, but the library says %v", data, err)
		case err == nil && len(body.Faults) > 0 && !strings.Contains(body.Faults[0].What, "UTF-8"):
			t.Fatalf("%x: fault %v, but the library reads it", data, body.Faults)
		case strings.Contains(decode.Text(body.Message), "\n23: "):
			// A number that the closed enum lacks stays unknown, as protoc has it; Go's library takes every enum for open.
		case err == nil && len(body.Faults) == 0:
			same++
			// As text: the library keeps unknown fields with the very bytes of their tags.
			if decode.Text(want) != decode.Text(body.Message) {
				t.Fatalf("%x: got\n%s\nthe library reads\n%s", data, decode.Text(body.Message), decode.Text(want))
			}
		}
	}
	if same < 1000 {
		t.Errorf("%d of the damaged bodies are readable: too few to compare", same)
	}
}

// libraryReads is proto.Unmarshal. With dynamic messages of protobuf-go 1.36 it panics on some damaged map entries.
func libraryReads(data []byte, into proto.Message) (err error, crashed bool) {
	defer func() { crashed = recover() != nil }()
	return proto.UnmarshalOptions{AllowPartial: true}.Unmarshal(data, into), false
}

func TestEncodeFields(t *testing.T) {
	md := find(t, kinds(t), "Kinds")
	m, err := decode.EncodeFields(md, []string{
		"name=a=b", "s32=-5", "packed=1", "packed=2", "counts[x y]=7", "counts[a.b]=8", "color=GREEN", "nested.name=inner", "bools=true",
		`other={"text":"寿司"}`, "raw=/wA=", "at=2026-01-01T00:00:00Z", "color=0",
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	const want = "name: \"a=b\"\ns32: -5\nraw: \"\\377\\000\"\npacked: 1\npacked: 2\ncounts {\n  key: \"a.b\"\n  value: 8\n}\ncounts {\n  key: \"x y\"\n  value: 7\n}\n" +
		"at {\n  seconds: 1767225600\n}\nother {\n  text: \"寿司\"\n}\ncolor: RED\nnested {\n  name: \"inner\"\n}\nbools: true\n"
	if diff := cmp.Diff(want, decode.Text(m)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, arg := range []string{"name", "nam=x", "s32=x", "s32=5000000000", "color=BLUE", "bools=maybe", "counts=1", "name[x]=1", "name.x=1", "repeated[9].x=1", "bools[0].x=1"} {
		if _, err := decode.EncodeFields(md, []string{arg}, new(decode.Schema)); err == nil {
			t.Errorf("%q: got no error, want one", arg)
		}
	}
}

func TestDiff(t *testing.T) {
	schema := kinds(t)
	md := find(t, schema, "Kinds")
	parse := func(text string) decode.Body {
		m, err := decode.Encode(md, []byte(text), schema)
		if err != nil {
			t.Fatal(err)
		}
		data, err := decode.Wire(m)
		if err != nil {
			t.Fatal(err)
		}
		return *new(decode.Schema).Decode(md, append(data, 0xf8, 0x3f, byte(len(text)%100)), decode.DefaultLimits())
	}
	a := parse(`name: "a" counts { key: "x" value: 1 } counts { key: "y" value: 2 } packed: 1 packed: 2 others { key: 1 value { text: "t" } }`)
	b := parse(`name: "b" counts { key: "y" value: 2 } counts { key: "z" value: 1 } packed: 1 others { key: 1 value { text: "u" } } s32: 0`)
	var got []string
	for _, d := range decode.Diff(a.Message, b.Message) {
		got = append(got, d.String())
	}
	want := []string{
		`~ name: "a" -> "b"`, "+ s32: 0", "- packed[1]: 2", `- counts["x"]: 1`, `+ counts["z"]: 1`, `~ others[1].text: "t" -> "u"`,
	}
	if diff := cmp.Diff(want, got[:len(got)-1]); diff != "" || !strings.HasPrefix(got[len(got)-1], "~ 1023: ") {
		t.Errorf("got %v, want these and one of the unknown field 1023 (-want +got):\n%s", got, diff)
	}
	if same := decode.Diff(a.Message, a.Message); len(same) > 0 {
		t.Errorf("a message and itself: got %v, want no difference", same)
	}
}

func TestCompile(t *testing.T) {
	ctx := context.Background()
	root := filepath.Join("testdata", "proto")
	for name, dir := range map[string]string{"right": root, "a level too deep": filepath.Join(root, "kinds"), "a level too high": "testdata"} {
		schema, err := decode.Compile(ctx, dir)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if _, err := schema.Find("kinds.Kinds"); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		noted := len(schema.Notes) > 0 && strings.Contains(schema.Notes[0], "is not where imports start")
		if noted != (name != "right") {
			t.Errorf("%s: got notes %q", name, schema.Notes)
		}
	}
	bad := t.TempDir()
	if err := os.WriteFile(filepath.Join(bad, "a.proto"), []byte("syntax = \"proto3\";\nmessage A {\n  strin x = 1;\n  int32 y = 1;\n}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := decode.Compile(ctx, bad); err == nil || !strings.Contains(err.Error(), "a.proto:4:13") {
		t.Errorf("got %v, want an error that names line and column", err)
	}
	if _, err := decode.Compile(ctx, t.TempDir()); err == nil {
		t.Error("an empty directory: got no error, want one")
	}
}

func TestDescriptorSet(t *testing.T) {
	schema := kinds(t)
	set := new(descriptorpb.FileDescriptorSet)
	for _, name := range []string{"Other", "Kinds"} { // imports first; google's own are left out
		set.File = append(set.File, protodesc.ToFileDescriptorProto(find(t, schema, name).ParentFile()))
	}
	data := marshal(t, set)
	fromSet, err := decode.ParseDescriptorSet(data)
	if err != nil {
		t.Fatal(err)
	}
	find(t, fromSet, "kinds.Kinds")
	if _, err := decode.ParseDescriptorSet([]byte("x")); err == nil {
		t.Error("no descriptor set: got no error, want one")
	}
	var unknown *decode.UnknownTypeError
	if _, err := fromSet.Find("Kind"); !errors.As(err, &unknown) || len(unknown.Near) == 0 || unknown.Near[0] != "kinds.Kinds" {
		t.Errorf("got %v, want an unknown type with one near it", err)
	}
}

func TestRoutes(t *testing.T) {
	parsed, err := routes.ParseRoutes(strings.NewReader("# method\tpath\treq\tresp\nGET\t/a/{id}\t-\tR1\nPUT\t/a/:id\tQ2\tR2\nGET\t/a/new\t-\tR3\n*\t/b/*\tQ4\tR4\n"))
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		method, path, contentType string
		direction                 decode.Direction
		status                    int
		want                      string
	}{
		{"GET", "/a/1?x=/y", "", decode.Response, 200, "R1"}, {"GET", "/a/new", "", decode.Response, 200, "R3"},
		{"PUT", "/a/1", "", decode.Request, 0, "Q2"}, {"PUT", "/a/1", "", decode.Response, 200, "R2"}, {"GET", "/a/", "", decode.Response, 200, ""},
		{"GET", "/a/1/2", "", decode.Response, 200, ""}, {"DELETE", "/b/1/2", "", decode.Request, 0, "Q4"}, {"GET", "/a/1", "", decode.Response, 404, ""},
		{"GET", "/a/1", "application/vnd.google.protobuf; proto=some.pkg.Error", decode.Response, 404, "some.pkg.Error"},
		{"GET", "/zzz", "application/protobuf", decode.Response, 200, ""},
	}
	for _, tt := range tests {
		if got := decode.TypeOf(parsed, tt.method, tt.path, tt.direction, tt.status, tt.contentType); got != tt.want {
			t.Errorf("%s %s %d %q: got %q, want %q", tt.method, tt.path, tt.status, tt.contentType, got, tt.want)
		}
	}
	_, err = routes.ParseRoutes(strings.NewReader("GET /a - R\nGET\ta\t-\tR\nGET\t/a\t\tR\n"))
	if err == nil || strings.Count(err.Error(), "line ") != 3 {
		t.Errorf("got %v, want a fault for each of 3 lines", err)
	}
}

func TestHints(t *testing.T) {
	tests := map[string]string{
		"\x1f\x8b\x08\x00": "gzip", "\x28\xb5\x2f\xfd\x00": "zstd", "HTTP/1.1 200 OK\r\n\r\nx": "http", "GET / HTTP/1.1\r\n\r\n": "http",
		"PRI * HTTP/2.0\r\n\r\nSM": "http2", "<!doctype html><title>x</title>": "html", `{"a":1}`: "json", "\x00\x00\x00\x00\x02\x08\x05": "grpc",
		"\x17\x03\x03\x00\x20abc": "tls", "0a 02 08 05": "hex", "CgIIBQoCCAU=": "base64", "upstream sent no valid answer": "text",
		"upstream request timeout": "text", "Unauthorized": "text", "CgIIBQoC\nCAU=\n": "base64",
		"\x0a\x04\xc3\xa6\xc2\xa4": "latin1", "\x0a\x04\xef\xbf\xbd\x08": "latin1", "": "", "\x08\x05": "",
	}
	for data, want := range tests {
		got := ""
		if hints := decode.Hints([]byte(data)); len(hints) > 0 {
			got = hints[0].Kind
		}
		if got != want {
			t.Errorf("%q: got %q, want %q", data, got, want)
		}
	}
}

func TestTerminal(t *testing.T) {
	tests := map[string]string{
		"plain": "plain", "椅子 👩\u200d💻": "椅子 👩\u200d💻", "a\x1b[2Jb": `a\033[2Jb`, "a\u202eb": `a\u202eb`, "a\xffb": `a\377b`, `a\"b`: `a\"b`,
		"\"\\\x00": "\"\\\\000", "\u0085": `\u0085`, "\U000e0041": `\U000e0041`,
	}
	for in, want := range tests {
		if got := decode.Terminal(in); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}
