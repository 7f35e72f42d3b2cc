package decode

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// JSON prints m in protobuf's JSON mapping (64-bit integers are strings), with the field names of the .proto file. Unknown fields,
// which are not in that mapping, are omitted. Values without a JSON form (a Timestamp of the year 10000, an Any of an unknown type, a string
// that is not UTF-8) are their plain fields, base64 or U+FFFD, and faults give place and reason. indent is as for json.Indent; "" gives one
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

// escapeHidden escapes what a terminal must not get. In JSON such characters are in strings only, so that \u is valid.
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

// jsonPrinter prints what the protobuf library refuses to print: each message that has no form of its own in JSON as its plain fields.
type jsonPrinter struct {
	options protojson.MarshalOptions
	out     bytes.Buffer
	path    []string
	faults  []string
}

func (p *jsonPrinter) fault(format string, args ...any) {
	if len(p.faults) < maxFaults {
		where := strings.Join(p.path, "")
		if where == "" {
			where = "the body"
		}
		p.faults = append(p.faults, strings.TrimPrefix(where, ".")+": "+fmt.Sprintf(format, args...))
	}
}

// message prints m: as the library does where that works, which it does for most parts of a message that has one bad one.
func (p *jsonPrinter) message(m protoreflect.Message) {
	own := m.Descriptor().FullName().Parent() == "google.protobuf"
	if own || !hasBadPart(m) {
		data, err := p.options.Marshal(m.Interface())
		if err == nil {
			p.out.Write(data)
			return
		}
		if own {
			p.fault("a %s has no form in JSON (%v): its plain fields are shown", m.Descriptor().FullName(), plainError(err))
		}
	}
	p.out.WriteByte('{')
	first := true
	rangeInOrder(m, func(fd protoreflect.FieldDescriptor, v protoreflect.Value) {
		if !first {
			p.out.WriteByte(',')
		}
		first = false
		name := string(fd.Name())
		if fd.IsExtension() {
			name = fieldName(fd)
		}
		p.string(name)
		p.out.WriteByte(':')
		p.step("."+name, func() { p.field(fd, v) })
	})
	p.out.WriteByte('}')
}

// hasBadPart reports whether a message holds anything that can be without a form in JSON, so that it need not be tried as a whole.
func hasBadPart(m protoreflect.Message) bool {
	bad := false
	m.Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		bad = fd.Message() != nil || fd.Kind() == protoreflect.StringKind
		return !bad
	})
	return bad
}

func (p *jsonPrinter) step(name string, do func()) {
	p.path = append(p.path, name)
	do()
	p.path = p.path[:len(p.path)-1]
}

func (p *jsonPrinter) field(fd protoreflect.FieldDescriptor, v protoreflect.Value) {
	switch {
	case fd.IsMap():
		p.entries(fd, v.Map())
	case fd.IsList():
		p.out.WriteByte('[')
		for i := range v.List().Len() {
			if i > 0 {
				p.out.WriteByte(',')
			}
			p.step(fmt.Sprintf("[%d]", i), func() { p.value(fd, v.List().Get(i)) })
		}
		p.out.WriteByte(']')
	default:
		p.value(fd, v)
	}
}

func (p *jsonPrinter) entries(fd protoreflect.FieldDescriptor, entries protoreflect.Map) {
	p.out.WriteByte('{')
	for i, key := range sortedKeys(entries) {
		if i > 0 {
			p.out.WriteByte(',')
		}
		p.string(key.String())
		p.out.WriteByte(':')
		p.step("["+key.String()+"]", func() { p.value(fd.MapValue(), entries.Get(key)) })
	}
	p.out.WriteByte('}')
}

// value prints one value as the mapping has it (https://protobuf.dev/programming-guides/json/).
func (p *jsonPrinter) value(fd protoreflect.FieldDescriptor, v protoreflect.Value) {
	switch fd.Kind() {
	case protoreflect.MessageKind, protoreflect.GroupKind:
		p.message(v.Message())
	case protoreflect.StringKind:
		p.string(v.String())
	case protoreflect.BytesKind:
		p.string(base64.StdEncoding.EncodeToString(v.Bytes()))
	case protoreflect.EnumKind:
		if value := fd.Enum().Values().ByNumber(v.Enum()); value != nil {
			p.string(string(value.Name()))
		} else {
			fmt.Fprint(&p.out, v.Interface())
		}
	case protoreflect.FloatKind:
		p.number(v.Float(), 32)
	case protoreflect.DoubleKind:
		p.number(v.Float(), 64)
	case protoreflect.Int64Kind, protoreflect.Sint64Kind, protoreflect.Sfixed64Kind, protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		p.string(fmt.Sprint(v.Interface()))
	default:
		fmt.Fprint(&p.out, v.Interface())
	}
}

func (p *jsonPrinter) number(f float64, bits int) {
	text := floatText(f, bits)
	if name := map[string]string{"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}[text]; name != "" {
		p.string(name)
	} else {
		p.out.WriteString(text)
	}
}

// string prints text; bytes that are not UTF-8 become U+FFFD, and are a fault.
func (p *jsonPrinter) string(s string) {
	if !utf8.ValidString(s) {
		p.fault("it is not UTF-8: U+FFFD is shown in the place of bad bytes")
		s = strings.ToValidUTF8(s, "\ufffd")
	}
	encoder := json.NewEncoder(&p.out)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(s) // a string into memory
	p.out.Truncate(p.out.Len() - 1)
}
