package decode_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/dynamicpb"

	"isukit/proto/decode"
	portalv1 "isukit/proto/portal/v1"
)

// bodies are those of proto/capture/testdata/plain.pcap, which is real traffic, by number and type: 02.portal.v1.JoinTeamResponse.
func bodies(t testing.TB) map[string][]byte {
	t.Helper()
	files, err := filepath.Glob("testdata/bodies/*")
	if err != nil || len(files) == 0 {
		t.Fatalf("no bodies in testdata: %v", err)
	}
	all := map[string][]byte{}
	for _, file := range files {
		if all[filepath.Base(file)], err = os.ReadFile(file); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// maxFuzzBytes keeps executions short: what longer inputs could show, more of the short ones show sooner.
const maxFuzzBytes = 2 << 10

// short is the beginning of a body, up to n bytes of whole fields.
func short(data []byte, n int) []byte {
	for at := 0; ; {
		_, _, size := protowire.ConsumeField(data[at:])
		if size <= 0 || at+size > n {
			return data[:at]
		}
		at += size
	}
}

// FuzzDecode checks, for any bytes as any type, that nothing crashes, that faults lie within the body, that what the
// protobuf library accepts decodes to the same message, and that the text reads back as that message.
func FuzzDecode(f *testing.F) {
	schema := portal(f)
	types := schema.Types()
	for i, md := range types {
		if md.Name() == "SearchTeamsResponse" {
			f.Add(short(marshal(f, searchTeams()), 1000), uint8(i))
		}
		if md.Name() == "Error" {
			f.Add(marshal(f, &portalv1.Error{Code: "no_session", Message: "ログイン", Hint: "\u202e"}), uint8(i))
		}
	}
	for name, data := range bodies(f) {
		for i, md := range types {
			if strings.HasSuffix(name, "."+string(md.FullName())) {
				f.Add(short(data, 1000), uint8(i))
			}
		}
	}
	f.Add([]byte("\x0b\x0c"), uint8(0))
	f.Add([]byte("\x1f\x8b\x08"), uint8(1))
	limits := decode.Limits{SizeBytes: 1 << 16, Depth: 20, Fields: 5000}
	f.Fuzz(func(t *testing.T, data []byte, n uint8) {
		if len(data) > maxFuzzBytes {
			return
		}
		md := types[int(n)%len(types)]
		body := new(decode.Schema).Decode(md, data, limits)
		for _, fault := range body.Faults {
			if fault.Offset < 0 || fault.Offset > len(data) {
				t.Fatalf("%x as %s: fault %v lies outside", data, md.Name(), fault)
			}
		}
		text := decode.Text(body.Message)
		if out, _ := decode.JSON(body.Message, "", schema); !json.Valid(out) {
			t.Fatalf("%x as %s: %s is not JSON", data, md.Name(), out)
		}
		if len(body.Faults) == 0 {
			printsTheSame(t, schema, md, data, schema.Decode(md, data, decode.DefaultLimits()))
		}
		raw := decode.Raw(data, limits)
		_ = raw.Text()
		decode.Hints(data)
		want := dynamicpb.NewMessage(md)
		if err := proto.Unmarshal(data, want); err != nil {
			if len(body.Faults) == 0 {
				t.Fatalf("%x as %s: no fault, but the library says %v", data, md.Name(), err)
			}
			return
		}
		if len(body.Faults) > 0 {
			// The library takes what our limits do not.
			if len(data) < 1000 && len(data) > 0 && body.Faults[0].What[:4] != "more" && body.Faults[0].What[:8] != "messages" {
				t.Fatalf("%x as %s: fault %v, but the library reads it", data, md.Name(), body.Faults)
			}
			return
		}
		if !proto.Equal(body.Message.Interface(), wantAs(t, body, data)) {
			t.Fatalf("%x as %s: got %v, the library reads %v", data, md.Name(), body.Message, want)
		}
		if len(body.Message.GetUnknown()) > 0 || body.Fit.Unknown+body.Fit.Conflicts > 0 {
			return // the text format has no unknown fields
		}
		back, err := decode.Encode(md, []byte(text), schema)
		if err != nil || !proto.Equal(back.Interface(), body.Message.Interface()) {
			t.Fatalf("%x as %s: its text reads back as %v, %v\n%s", data, md.Name(), back, err, text)
		}
	})
}

// wantAs reads data with the library into a message of the same Go type as body's.
func wantAs(t *testing.T, body *decode.Body, data []byte) proto.Message {
	want := body.Message.New().Interface()
	if err := proto.Unmarshal(data, want); err != nil {
		t.Fatal(err)
	}
	return want
}

// FuzzEncode checks that no input in text or JSON format crashes, and that what is accepted survives the way out and back.
func FuzzEncode(f *testing.F) {
	schema := portal(f)
	md := find(f, schema, "SearchTeamsResponse")
	for name, data := range bodies(f) {
		if _, typ, _ := strings.Cut(name, "."); typ == string(md.FullName()) {
			body := new(decode.Schema).Decode(md, short(data, 1000), decode.DefaultLimits())
			f.Add([]byte(decode.Text(body.Message)))
			if text, faults := decode.JSON(body.Message, "", schema); len(faults) == 0 {
				f.Add([]byte(text))
			}
		}
	}
	f.Add([]byte(`{"teams":[{"id":"5","name":"寿司"}],"total":1}`))
	f.Add([]byte("teams { id: 5 tags: \"a\\tb\" } total: 1"))
	f.Fuzz(func(t *testing.T, input []byte) {
		if len(input) > maxFuzzBytes {
			return
		}
		m, err := decode.Encode(md, input, schema)
		if err != nil {
			return
		}
		data, err := decode.Wire(m)
		if err != nil {
			t.Fatal(err)
		}
		body := new(decode.Schema).Decode(md, data, decode.DefaultLimits())
		if numbered.MatchString(decode.Text(m)) {
			return // a field that was given by its number may be one that has a name
		}
		if len(body.Faults) > 0 || !proto.Equal(body.Message.Interface(), m.Interface()) {
			t.Fatalf("%q: got %v %v, want %v", input, body.Message, body.Faults, m)
		}
	})
}

// numbered finds a field without a name in a message as text.
var numbered = regexp.MustCompile(`(?m)^ *[0-9]`)
