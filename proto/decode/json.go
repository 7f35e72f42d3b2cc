package decode

import (
	"bytes"
	"encoding/json"
	"fmt"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// JSON prints m in protobuf's JSON mapping (64-bit integers are strings), with the field names of the .proto file. Strings
// that are no UTF-8 come with U+FFFD in the place of the bad bytes. Unknown fields are not in that mapping and left out.
// indent is as for json.Indent; "" gives one line. schema resolves google.protobuf.Any and may be nil.
func JSON(m protoreflect.Message, indent string, schema *Schema) ([]byte, error) {
	options := protojson.MarshalOptions{AllowPartial: true, UseProtoNames: true}
	if schema != nil {
		options.Resolver = schema
	}
	data, err := options.Marshal(m.Interface())
	if err != nil {
		repaired := m.New()
		repairMessage(repaired, m)
		if data, err = options.Marshal(repaired.Interface()); err != nil {
			return nil, fmt.Errorf("print %s as JSON: %w", m.Descriptor().FullName(), err)
		}
	}
	// protojson varies its white space from build to build on purpose.
	var out bytes.Buffer
	if indent == "" {
		err = json.Compact(&out, data)
	} else {
		err = json.Indent(&out, data, "", indent)
	}
	if err != nil {
		return nil, fmt.Errorf("print %s as JSON: %w", m.Descriptor().FullName(), err)
	}
	return escapeHidden(out.Bytes()), nil
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

// repairMessage copies from into to with valid UTF-8 only.
func repairMessage(to, from protoreflect.Message) {
	from.Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case fd.IsMap():
			repairMap(to.Mutable(fd).Map(), fd, v.Map())
		case fd.IsList():
			list := to.Mutable(fd).List()
			for i := range v.List().Len() {
				if fd.Message() != nil {
					repairMessage(list.AppendMutable().Message(), v.List().Get(i).Message())
				} else {
					list.Append(repairScalar(fd, v.List().Get(i)))
				}
			}
		case fd.Message() != nil:
			repairMessage(to.Mutable(fd).Message(), v.Message())
		default:
			to.Set(fd, repairScalar(fd, v))
		}
		return true
	})
}

func repairMap(to protoreflect.Map, fd protoreflect.FieldDescriptor, from protoreflect.Map) {
	from.Range(func(key protoreflect.MapKey, v protoreflect.Value) bool {
		key = repairScalar(fd.MapKey(), key.Value()).MapKey()
		if fd.MapValue().Message() != nil {
			value := to.NewValue()
			repairMessage(value.Message(), v.Message())
			to.Set(key, value)
		} else {
			to.Set(key, repairScalar(fd.MapValue(), v))
		}
		return true
	})
}

func repairScalar(fd protoreflect.FieldDescriptor, v protoreflect.Value) protoreflect.Value {
	if fd.Kind() != protoreflect.StringKind || utf8.ValidString(v.String()) {
		return v
	}
	return protoreflect.ValueOfString(string(bytes.ToValidUTF8([]byte(v.String()), []byte("\ufffd"))))
}
