package decode_test

import (
	"bytes"
	"compress/zlib"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/types/descriptorpb"

	"isukit/proto/decode"
)

// compile makes a schema of one .proto file.
func compile(t *testing.T, text string) *decode.Schema {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "t.proto"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	schema, err := decode.Compile(context.Background(), dir)
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

func varint(out []byte, number protowire.Number, v uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(out, number, protowire.VarintType), v)
}

func lengthy(out []byte, number protowire.Number, content string) []byte {
	return protowire.AppendString(protowire.AppendTag(out, number, protowire.BytesType), content)
}

func group(out []byte, number protowire.Number, content []byte) []byte {
	out = append(protowire.AppendTag(out, number, protowire.StartGroupType), content...)
	return protowire.AppendTag(out, number, protowire.EndGroupType)
}

// TestTextToTheLetter holds what the text format says of editions, extensions and closed enums
// (https://protobuf.dev/reference/protobuf/textformat-spec/, https://protobuf.dev/editions/features/). The text reads back.
func TestTextToTheLetter(t *testing.T) {
	const edition = `edition = "2023"; package t;
		enum Closed { option features.enum_type = CLOSED; A = 0; B = 1; }
		message M {
			Inner delimited = 1 [features.message_encoding = DELIMITED];
			Inner inner = 2 [features.message_encoding = DELIMITED];
			map<string, Closed> closed = 3;
			string free = 4 [features.utf8_validation = NONE];
			string strict = 5;
			Closed one = 6;
			message Inner { int32 n = 1; }
			extensions 100 to 200;
		}
		extend M { M.Inner more = 100; int32 count = 101; }`
	tests := []struct {
		name string
		data []byte
		want string
	}{
		{"a delimited field has its own name", group(nil, 1, varint(nil, 1, 5)), "delimited {\n  n: 5\n}\n"},
		{"one that could have been a group has the message's", group(nil, 2, varint(nil, 1, 5)), "Inner {\n  n: 5\n}\n"},
		{"extensions", varint(lengthy(nil, 100, string(varint(nil, 1, 7))), 101, 3), "[t.more] {\n  n: 7\n}\n[t.count]: 3\n"},
		{"an entry with an unknown number of a closed enum is unknown", lengthy(nil, 3, string(varint(lengthy(nil, 1, "k"), 2, 9))), "3 {\n  1: \"k\"\n  2: 9\n}\n"},
		{"a known one is not", lengthy(nil, 3, string(varint(lengthy(nil, 1, "k"), 2, 1))), "closed {\n  key: \"k\"\n  value: B\n}\n"},
		{"the last of two entries counts", append(lengthy(nil, 3, string(varint(lengthy(nil, 1, "k"), 2, 1))), lengthy(nil, 3, string(lengthy(nil, 1, "k")))...),
			"closed {\n  key: \"k\"\n  value: A\n}\n"},
		{"an entry without key and value", lengthy(nil, 3, ""), "closed {\n  key: \"\"\n  value: A\n}\n"},
		{"bytes in a string that wants no UTF-8", lengthy(nil, 4, "\xff"), "free: \"\\377\"\n"},
		{"an unknown number of a closed enum", varint(nil, 6, 9), "6: 9\n"},
		{"an unknown group", group(nil, 90, varint(nil, 1, 5)), "90 { # a group\n  1: 5\n}\n"},
	}
	schema := compile(t, edition)
	md := find(t, schema, "M")
	for _, tt := range tests {
		body := schema.Decode(md, tt.data, decode.DefaultLimits())
		if len(body.Faults) > 0 {
			t.Errorf("%s: faults %v", tt.name, body.Faults)
		}
		text := decode.Text(body.Message)
		if text != tt.want {
			t.Errorf("%s:\n%s\nwant\n%s", tt.name, text, tt.want)
		}
		back, err := decode.Encode(md, []byte(text), schema)
		if err != nil {
			t.Fatalf("%s: encode does not read\n%s\n%v", tt.name, text, err)
		}
		if _, same := sameMessages(back, body.Message); !same {
			t.Errorf("%s: encode reads\n%s\nas %v", tt.name, text, back)
		}
	}
	if body := schema.Decode(md, lengthy(nil, 5, "\xff"), decode.DefaultLimits()); len(body.Faults) != 1 {
		t.Errorf("bytes in a string that wants UTF-8: faults %v, want 1", body.Faults)
	}
}

// TestProto2ToTheLetter: strings of proto2 may hold any bytes, and missing required fields are named.
func TestProto2ToTheLetter(t *testing.T) {
	schema := compile(t, `syntax = "proto2"; package t; message M { optional string s = 1; required int32 id = 2; repeated In in = 3; }
		message In { required string name = 1; }`)
	body := schema.Decode(find(t, schema, "M"), lengthy(lengthy(nil, 1, "\xff\xfe"), 3, ""), decode.DefaultLimits())
	if len(body.Faults) > 0 {
		t.Errorf("faults %v, want none", body.Faults)
	}
	if got := strings.Join(body.Missing, " "); got != "id in.name" {
		t.Errorf("missing = %q, want id and in.name", got)
	}
}

// TestMessageSetDoesNotSpoilASet: the other types of a descriptor set are usable next to a MessageSet.
func TestMessageSetDoesNotSpoilASet(t *testing.T) {
	set := &descriptorpb.FileDescriptorSet{File: []*descriptorpb.FileDescriptorProto{{Name: proto.String("m.proto"), Package: proto.String("t"), Syntax: proto.String("proto2"),
		MessageType: []*descriptorpb.DescriptorProto{
			{Name: proto.String("Set"), Options: &descriptorpb.MessageOptions{MessageSetWireFormat: proto.Bool(true)},
				ExtensionRange: []*descriptorpb.DescriptorProto_ExtensionRange{{Start: proto.Int32(4), End: proto.Int32(2147483647)}}},
			protodesc.ToDescriptorProto((&descriptorpb.MethodOptions{}).ProtoReflect().Descriptor().ParentFile().Messages().ByName("UninterpretedOption").Messages().ByName("NamePart")),
		}}}}
	data, err := proto.Marshal(set)
	if err != nil {
		t.Fatal(err)
	}
	schema, err := decode.ParseDescriptorSet(data)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := schema.Find("t.NamePart"); err != nil || len(schema.Notes) == 0 {
		t.Errorf("Find = %v, notes %q: want the other type, and a note on the set", err, schema.Notes)
	}
	body := schema.Decode(find(t, schema, "Set"), group(nil, 1, lengthy(varint(nil, 2, 77), 3, "x")), decode.DefaultLimits())
	if got, want := decode.Text(body.Message), "1 { # a group\n  2: 77\n  3: \"x\"\n}\n"; got != want {
		t.Errorf("a MessageSet is shown as\n%s\nwant\n%s", got, want)
	}
}

// TestJSONShowsTheRest: what has no form in JSON does not hide what has one.
func TestJSONShowsTheRest(t *testing.T) {
	schema := compile(t, `syntax = "proto3"; package t;
		import "google/protobuf/timestamp.proto"; import "google/protobuf/duration.proto"; import "google/protobuf/struct.proto";
		import "google/protobuf/any.proto"; import "google/protobuf/field_mask.proto";
		message M { string name = 1; google.protobuf.Timestamp at = 2; google.protobuf.Duration wait = 3; google.protobuf.Value value = 4;
			google.protobuf.Any any = 5; google.protobuf.FieldMask mask = 6; repeated M more = 7; map<string, google.protobuf.Timestamp> times = 8; }`)
	md := find(t, schema, "M")
	bad := []struct{ name, text, want string }{
		{"the year 10000", `at { seconds: 253402300800 }`, `{"name":"x","at":{"seconds":"253402300800"}}`},
		{"a long duration", `wait { seconds: 400000000000 }`, `{"name":"x","wait":{"seconds":"400000000000"}}`},
		{"nanoseconds of the other sign", `wait { seconds: 1 nanos: -1 }`, `{"name":"x","wait":{"seconds":"1","nanos":-1}}`},
		{"an empty value", `value {}`, `{"name":"x","value":{}}`},
		{"NaN as a value", `value { number_value: nan }`, `{"name":"x","value":{"number_value":"NaN"}}`},
		{"an Any of an unknown type", `any { type_url: "x/no.Such" value: "\001" }`, `{"name":"x","any":{"type_url":"x/no.Such","value":"AQ=="}}`},
		{"an odd field mask", `mask { paths: "a-B" }`, `{"name":"x","mask":{"paths":["a-B"]}}`},
		{"deep within", `more { name: "y" more { at { seconds: 253402300800 } } }`, `{"name":"x","more":[{"name":"y","more":[{"at":{"seconds":"253402300800"}}]}]}`},
		{"in a map", `times { key: "k" value { nanos: -1 } } times { key: "l" value { seconds: 1 } }`, `{"name":"x","times":{"k":{"nanos":-1},"l":"1970-01-01T00:00:01Z"}}`},
	}
	for _, tt := range bad {
		m, err := decode.Encode(md, []byte(`name: "x" `+tt.text), schema)
		if err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		got, faults := decode.JSON(m, "", schema)
		if string(got) != tt.want || len(faults) != 1 {
			t.Errorf("%s: %s, faults %q\nwant %s and 1 fault", tt.name, got, faults, tt.want)
		}
	}
}

// TestEncodeWhatPeopleType: forms of the well-known types, elements by index, what is in an Any.
func TestEncodeWhatPeopleType(t *testing.T) {
	schema := compile(t, `syntax = "proto3"; package t;
		import "google/protobuf/timestamp.proto"; import "google/protobuf/wrappers.proto"; import "google/protobuf/any.proto";
		enum Color { RED = 0; GREEN = 1; }
		message Team { string name = 1; repeated string tags = 2; }
		message M { google.protobuf.Timestamp at = 1; google.protobuf.StringValue note = 2; google.protobuf.Int64Value big = 3; google.protobuf.Any detail = 4;
			repeated Team teams = 5; map<string, Team> by = 6; Color color = 7; bytes raw = 8; }`)
	md := find(t, schema, "M")
	m, err := decode.EncodeFields(md, []string{"at=2026-11-30T12:00:00Z", "at.nanos=5", "note=5", "big=7", "detail[t.Team].name=in", "detail[t.Team].tags=a",
		"teams[0].name=first", "teams[1].name=second", "teams[0].tags=x", "by[k.1].name=v"}, schema)
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"at":"2026-11-30T12:00:00.000000005Z","note":"5","big":"7","detail":{"@type":"type.googleapis.com/t.Team","name":"in","tags":["a"]},` +
		`"teams":[{"name":"first","tags":["x"]},{"name":"second"}],"by":{"k.1":{"name":"v"}}}`
	if got, faults := decode.JSON(m, "", schema); string(got) != want || len(faults) > 0 {
		t.Errorf("got %s, %v\nwant %s", got, faults, want)
	}
	for arg, say := range map[string]string{"color=BLUE": "RED, GREEN", "raw=%%%": "base64", "at=tomorrow": "2026-11-30T12:00:00Z", "teams[3].name=x": "0 to 0", "detail[t.No].x=1": "not in the schema"} {
		if _, err := decode.EncodeFields(md, []string{arg}, schema); err == nil || !strings.Contains(err.Error(), say) {
			t.Errorf("%s: %v, want it to name %q", arg, err, say)
		}
	}
}

// TestHintsOfCoverings: what covers a message is named, and taken off.
func TestHintsOfCoverings(t *testing.T) {
	message := lengthy(varint(nil, 1, 150), 2, "testing of coverings")
	var packed bytes.Buffer
	w := zlib.NewWriter(&packed)
	_, _ = w.Write(message)
	_ = w.Close()
	two := protowire.AppendBytes(protowire.AppendBytes(nil, message), message)
	xxd := fmt.Sprintf("00000000: %x%x %x%x %x%x %x%x %x%x %x%x %x%x %x%x  ........\n00000010: %x\n", message[0:1], message[1:2], message[2:3], message[3:4], message[4:5], message[5:6],
		message[6:7], message[7:8], message[8:9], message[9:10], message[10:11], message[11:12], message[12:13], message[13:14], message[14:15], message[15:16], message[16:17])
	tests := []struct {
		kind string
		data []byte
		want []byte
	}{
		{"zlib", packed.Bytes(), message},
		{"delimited", two, message},
		{"chunked", []byte(fmt.Sprintf("%x\r\n%s\r\n%x;ext=1\r\n%s\r\n0\r\n\r\n", 5, message[:5], len(message)-5, message[5:])), message},
		{"hexdump", []byte(xxd), message[:17]},
		{"hexdump", []byte("00000000  08 96 01 12 14 74 65 73  74 69 6e 67 20 6f 66 20  |.....testing of |\n00000010  63 6f                                             |co|\n00000012\n"), message[:18]},
	}
	for _, tt := range tests {
		hints := decode.Hints(tt.data)
		if len(hints) != 1 || hints[0].Kind != tt.kind || !bytes.Equal(hints[0].Inner, tt.want) {
			t.Errorf("%s: hints %+v, want it and %x", tt.kind, hints, tt.want)
		}
	}
}
