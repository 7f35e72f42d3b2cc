package decode_test

import (
	"bytes"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"isukit/proto/decode"
	portalv1 "isukit/proto/portal/v1"
)

// portal is the portal's schema, from generated code.
func portal(t testing.TB) *decode.Schema {
	t.Helper()
	schema, err := decode.NewSchema(portalFiles()...)
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

func portalFiles() []protoreflect.FileDescriptor {
	return []protoreflect.FileDescriptor{
		portalv1.File_portal_v1_account_proto, portalv1.File_portal_v1_clarification_proto, portalv1.File_portal_v1_contest_proto,
		portalv1.File_portal_v1_error_proto, portalv1.File_portal_v1_job_proto, portalv1.File_portal_v1_leaderboard_proto,
		portalv1.File_portal_v1_notification_proto, portalv1.File_portal_v1_team_proto, portalv1.File_portal_v1_worker_proto,
	}
}

func find(t testing.TB, s *decode.Schema, name string) protoreflect.MessageDescriptor {
	t.Helper()
	md, err := s.Find(name)
	if err != nil {
		t.Fatal(err)
	}
	return md
}

func marshal(t testing.TB, m proto.Message) []byte {
	t.Helper()
	data, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func searchTeams() *portalv1.SearchTeamsResponse {
	return &portalv1.SearchTeamsResponse{
		Teams: []*portalv1.Team{
			{Id: 1 << 60, Name: "椅子コン", Tags: []string{"go", "tab\there", "evil\u202etxt"}, MemberIds: []int64{3, 4}, CreatedAtUs: 1},
			{Id: 2, Name: "b", Tags: []string{"a"}, MemberIds: []int64{300}},
		},
		Total: 2,
	}
}

func TestDecodeText(t *testing.T) {
	schema := portal(t)
	md := find(t, schema, "portal.v1.SearchTeamsResponse")
	body := new(decode.Schema).Decode(md, marshal(t, searchTeams()), decode.DefaultLimits())
	if len(body.Faults) > 0 || !body.Fit.Exact() {
		t.Errorf("got faults %v and fit %s, want none and exact", body.Faults, body.Fit)
	}
	want := `teams {
  id: 1152921504606846976
  name: "椅子コン"
  tags: "go"
  tags: "tab\there"
  tags: "evil\u202etxt"
  member_ids: 3
  member_ids: 4
  created_at_us: 1
}
teams {
  id: 2
  name: "b"
  tags: "a"
  member_ids: 300
}
total: 2
`
	if got := decode.Text(body.Message); got != want {
		t.Errorf("got text\n%swant\n%s", got, want)
	}
	if !proto.Equal(body.Message.Interface(), searchTeams()) {
		t.Error("the decoded message is not equal to the one that was encoded")
	}
}

func TestDecodeJSON(t *testing.T) {
	md := find(t, portal(t), "SearchTeamsResponse")
	body := new(decode.Schema).Decode(md, marshal(t, searchTeams()), decode.DefaultLimits())
	got, faults := decode.JSON(body.Message, "", new(decode.Schema))
	want := `{"teams":[{"id":"1152921504606846976","name":"椅子コン","tags":["go","tab\there","evil\u202etxt"],` +
		`"member_ids":["3","4"],"created_at_us":"1"},{"id":"2","name":"b","tags":["a"],"member_ids":["300"]}],"total":2}`
	if len(faults) > 0 || string(got) != want {
		t.Errorf("got %s, %v\nwant %s", got, faults, want)
	}
}

// Every prefix of a body gives what decoded before the cut, and a fault that names the place.
func TestDecodeCutOff(t *testing.T) {
	md := find(t, portal(t), "SearchTeamsResponse")
	data := marshal(t, searchTeams())
	bounds := map[int]bool{0: true}
	for rest := data; len(rest) > 0; {
		n := fieldLen(t, rest)
		rest = rest[n:]
		bounds[len(data)-len(rest)] = true
	}
	for cut := range len(data) {
		body := new(decode.Schema).Decode(md, data[:cut], decode.DefaultLimits())
		if bounds[cut] != (len(body.Faults) == 0) {
			t.Errorf("cut at %d of %d: got faults %v, want some: %v", cut, len(data), body.Faults, !bounds[cut])
		}
		for _, f := range body.Faults {
			if f.Offset > cut {
				t.Errorf("cut at %d: got a fault at offset %d, behind the end", cut, f.Offset)
			}
		}
	}
}

func TestDecodeDamage(t *testing.T) {
	schema := portal(t)
	tests := []struct {
		name, typ string
		data      []byte
		want      string // the first fault
		text      string // what must be in the text anyway
	}{
		{"length past the end", "Team", []byte("\x08\x07\x12\x0ename"), `byte 3, in name: length 14 runs past the end: 4 bytes are left`, "id: 7"},
		{"nested damage, later fields whole", "SearchTeamsResponse", []byte("\x0a\x04\x08\x01\x12\x09\x10\x05"),
			`byte 5, in teams[0].name: length 9 runs past the end: 0 bytes are left`, "total: 5"},
		{"second element", "SearchTeamsResponse", []byte("\x0a\x02\x08\x01\x0a\x01\x08"), `byte 7, in teams[1].id: the body ends inside a varint`, "id: 1"},
		{"field number 0", "Team", []byte("\x08\x07\x00\x01"), `byte 2, in the body: no field's tag: field number 0 does not exist`, "id: 7"},
		{"wire type 7", "Team", []byte("\x08\x07\x0f"), `byte 2, in the body: no field's tag: wire type 7 does not exist`, "id: 7"},
		{"endless varint", "Team", append([]byte{8}, bytes.Repeat([]byte{0xff}, 11)...), `byte 1, in id: the varint is longer than 10 bytes`, ""},
		{"bad UTF-8 hides nothing", "Team", []byte("\x12\x03a\xffb\x28\x09"), `byte 3, in name: byte 0xff is not UTF-8`, "name: \"a\\377b\"\ncreated_at_us: 9"},
		{"stray group end", "Team", []byte("\x08\x07\x0c"), `byte 2, in the body: a group ends that never began (field number 1)`, "id: 7"},
		{"packed list", "Team", []byte("\x22\x03\x01\x02\xff\x28\x09"), `byte 4, in member_ids[2]: the body ends inside a varint`, "member_ids: 2\ncreated_at_us: 9"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			body := new(decode.Schema).Decode(find(t, schema, tt.typ), tt.data, decode.DefaultLimits())
			if len(body.Faults) == 0 || body.Faults[0].String() != tt.want {
				t.Errorf("%x as %s: got faults %v, want first %q", tt.data, tt.typ, body.Faults, tt.want)
			}
			if got := decode.Text(body.Message); !strings.Contains(got, tt.text) {
				t.Errorf("%x as %s: got text %q, want %q in it", tt.data, tt.typ, got, tt.text)
			}
		})
	}
}

// TestDamageStaysInItsMapEntry has a map's entry, whose end is known, keep its damage from what follows it.
func TestDamageStaysInItsMapEntry(t *testing.T) {
	data := []byte("\x82\x01\x05\x08\x03\x12\x09\x0a" + "\x10\x02") // others[3], whose value is cut off, then s32
	body := new(decode.Schema).Decode(find(t, kinds(t), "Kinds"), data, decode.DefaultLimits())
	if len(body.Faults) == 0 || !strings.Contains(body.Faults[0].String(), "others.value: length 9 runs past the end") {
		t.Errorf("got faults %v, want one in the entry's value first", body.Faults)
	}
	for _, f := range body.Faults {
		if f.Final {
			t.Errorf("%v is said to end the body", f)
		}
	}
	if got := decode.Text(body.Message); !strings.Contains(got, "s32: 1") {
		t.Errorf("got %q, want s32: 1 in it", got)
	}
}

func TestDecodeLimits(t *testing.T) {
	md := find(t, portal(t), "SearchTeamsResponse")
	data := bytes.Repeat([]byte{0x0a, 0}, 50)
	limits := decode.Limits{SizeBytes: 100, Depth: 3, Fields: 10}
	body := new(decode.Schema).Decode(md, data, limits)
	if len(body.Faults) != 1 || !body.Faults[0].Final || !strings.Contains(body.Faults[0].What, "more fields than the limit of 10") {
		t.Errorf("got %v, want one fault about the fields", body.Faults)
	}
	body = new(decode.Schema).Decode(md, append(data, data...), limits)
	if len(body.Faults) != 1 || !strings.Contains(body.Faults[0].What, "more than the limit of 100") {
		t.Errorf("got %v, want one fault about the size", body.Faults)
	}
}

func TestSuspicious(t *testing.T) {
	schema := portal(t)
	data := marshal(t, &portalv1.Error{Code: "no_session", Message: "log in", Hint: "POST /api/login"})
	body := new(decode.Schema).Decode(find(t, schema, "Job"), data, decode.DefaultLimits())
	if !body.Fit.Suspicious() {
		t.Errorf("an Error read as Job: got fit %s, want suspicious", body.Fit)
	}
	better := decode.Better(schema, data, body, decode.DefaultLimits())
	if len(better) != 1 || better[0].Type != "portal.v1.Error" {
		t.Errorf("got candidates %v, want portal.v1.Error alone", better)
	}
	right := new(decode.Schema).Decode(find(t, schema, "Error"), data, decode.DefaultLimits())
	if right.Fit.Suspicious() || len(decode.Better(schema, data, right, decode.DefaultLimits())) > 0 {
		t.Errorf("an Error read as Error: got fit %s, want it unsuspicious", right.Fit)
	}
}

func TestRaw(t *testing.T) {
	data := marshal(t, &portalv1.GetTeamResponse{Team: &portalv1.Team{Id: 5, Name: "椅子", MemberIds: []int64{1}}})
	raw := decode.Raw(data, decode.DefaultLimits())
	want := "1 {\n  1: 5\n  2: \"椅子\"\n  4: \"\\001\"\n}\n"
	if got := raw.Text(); got != want || len(raw.Faults) > 0 {
		t.Errorf("got %q and faults %v, want %q and none", got, raw.Faults, want)
	}
	raw = decode.Raw(data[:len(data)-1], decode.DefaultLimits())
	if len(raw.Faults) != 1 {
		t.Errorf("cut off: got faults %v, want one", raw.Faults)
	}
}

func fieldLen(t *testing.T, data []byte) int {
	t.Helper()
	_, _, n := protowire.ConsumeField(data)
	if n < 0 {
		t.Fatal(protowire.ParseError(n))
	}
	return n
}
