package decode

import (
	"bytes"
	"encoding/json"
	"fmt"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// JSON prints m in protobuf's JSON mapping (64-bit integers are strings), with the field names of the .proto file. Unknown fields are
// not in that mapping and left out. What has no JSON form (a Timestamp of the year 10000, an Any of an unknown type, a string that is not
// UTF-8) is shown as its plain fields, in base64 or with U+FFFD, and faults say where and why. indent is as for json.Indent; "" gives one
// line. schema resolves google.protobuf.Any.
func JSON(m protoreflect.Message, indent string, schema *Schema) (data []byte, faults []string) {
	options := protojson.MarshalOptions{AllowPartial: true, UseProtoNames: true, Resolver: schema}
	var err error
	if !schema.groups { // the library gives a group the name that it has in text
		data, err = options.Marshal(m.Interface())
	}
	if data == nil || err != nil {
		p := jsonPrinter{options: options}
		p.message(m)
		data, faults = p.out.Bytes(), p.faults
	}
	// protojson varies its white space from build to build on purpose.
	var out bytes.Buffer
	if indent == "" {
		err = json.Compact(&out, data)
	} else {
		err = json.Indent(&out, data, "", indent)
	}
	if err != nil {
		return []byte("{}"), append(faults, fmt.Sprintf("%s has no form in JSON: %v", m.Descriptor().FullName(), err))
	}
	return escapeHidden(out.Bytes()), faults
}

// escapeHidden escapes what a terminal must not get. In JSON such characters stand in strings only, so that \u is right.
func escapeHidden(data []byte) []byte {
	if !bytes.ContainsFunc(data, func(r rune) bool { return r >= 0x7f && Hidden(r) }) {
		return data
	}
	out := make([]byte, 0, len(data)+16)
	for _, r := range string(data) {
		switch {
		case r < 0x7f || !Hidden(r):
			out = utf8.AppendRune(out, r)
		case r > 0xffff:
			r -= 0x10000
			out = fmt.Appendf(out, `\u%04x\u%04x`, 0xd800+r>>10, 0xdc00+r&0x3ff)
		default:
			out = fmt.Appendf(out, `\u%04x`, r)
		}
	}
	return out
}
