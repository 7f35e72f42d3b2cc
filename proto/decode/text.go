package decode

import (
	"fmt"
	"math"
	"sort"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Text prints m in protobuf's text format, as `protoc --decode` does, but with letters of every script as they are.
// Control characters, and marks that change the direction of text on a terminal, are escaped. Unknown fields follow the
// known ones, by number. The output reads back with EncodeText.
func Text(m protoreflect.Message) string {
	p := &textPrinter{}
	p.message(m, 0)
	return string(p.out)
}

// textPrinter is deterministic, which prototext is not: what people read is compared with goldens and with other tools.
type textPrinter struct{ out []byte }

func (p *textPrinter) line(depth int, format string, args ...any) {
	for range depth {
		p.out = append(p.out, "  "...)
	}
	p.out = fmt.Appendf(p.out, format, args...)
	p.out = append(p.out, '\n')
}

func (p *textPrinter) message(m protoreflect.Message, depth int) {
	rangeInOrder(m, func(fd protoreflect.FieldDescriptor, v protoreflect.Value) {
		switch {
		case fd.IsMap():
			p.entries(fd, v.Map(), depth)
		case fd.IsList():
			for i := range v.List().Len() {
				p.field(fd, v.List().Get(i), depth)
			}
		default:
			p.field(fd, v, depth)
		}
	})
	p.unknown(m.GetUnknown(), depth)
}

// rangeInOrder is m.Range by field number.
func rangeInOrder(m protoreflect.Message, f func(protoreflect.FieldDescriptor, protoreflect.Value)) {
	type field struct {
		fd protoreflect.FieldDescriptor
		v  protoreflect.Value
	}
	var fields []field
	m.Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		fields = append(fields, field{fd, v})
		return true
	})
	sort.Slice(fields, func(i, j int) bool { return fields[i].fd.Number() < fields[j].fd.Number() })
	for _, field := range fields {
		f(field.fd, field.v)
	}
}

// entries prints a map by its keys, so that equal maps print equally.
func (p *textPrinter) entries(fd protoreflect.FieldDescriptor, entries protoreflect.Map, depth int) {
	for _, key := range sortedKeys(entries) {
		p.line(depth, "%s {", fd.Name())
		p.field(fd.MapKey(), key.Value(), depth+1)
		p.field(fd.MapValue(), entries.Get(key), depth+1)
		p.line(depth, "}")
	}
}

func sortedKeys(entries protoreflect.Map) []protoreflect.MapKey {
	var keys []protoreflect.MapKey
	entries.Range(func(key protoreflect.MapKey, _ protoreflect.Value) bool {
		keys = append(keys, key)
		return true
	})
	sort.Slice(keys, func(i, j int) bool { return lessKey(keys[i], keys[j]) })
	return keys
}

func lessKey(a, b protoreflect.MapKey) bool {
	switch x := a.Interface().(type) {
	case int32:
		return x < b.Interface().(int32)
	case int64:
		return x < b.Interface().(int64)
	case uint32:
		return x < b.Interface().(uint32)
	case uint64:
		return x < b.Interface().(uint64)
	}
	return a.String() < b.String()
}

func (p *textPrinter) field(fd protoreflect.FieldDescriptor, v protoreflect.Value, depth int) {
	if fd.Message() == nil {
		p.line(depth, "%s: %s", fieldName(fd), scalarText(fd, v))
		return
	}
	p.line(depth, "%s {", fieldName(fd))
	p.message(v.Message(), depth+1)
	p.line(depth, "}")
}

func fieldName(fd protoreflect.FieldDescriptor) string {
	switch {
	case fd.IsExtension():
		return "[" + string(fd.FullName()) + "]"
	case fd.Kind() == protoreflect.GroupKind:
		return string(fd.Message().Name())
	}
	return string(fd.Name())
}

// scalarText is one value in text format.
func scalarText(fd protoreflect.FieldDescriptor, v protoreflect.Value) string {
	switch fd.Kind() {
	case protoreflect.StringKind:
		return Quote(v.String())
	case protoreflect.BytesKind:
		return Quote(string(v.Bytes()))
	case protoreflect.EnumKind:
		if value := fd.Enum().Values().ByNumber(v.Enum()); value != nil {
			return string(value.Name())
		}
		return strconv.Itoa(int(v.Enum()))
	case protoreflect.FloatKind:
		return floatText(v.Float(), 32)
	case protoreflect.DoubleKind:
		return floatText(v.Float(), 64)
	}
	return v.String()
}

func floatText(f float64, bits int) string {
	switch {
	case math.IsNaN(f):
		return "nan"
	case math.IsInf(f, 1):
		return "inf"
	case math.IsInf(f, -1):
		return "-inf"
	}
	return strconv.FormatFloat(f, 'g', -1, bits)
}

// unknown prints fields by number, as far as they can be read.
func (p *textPrinter) unknown(data []byte, depth int) {
	reader := rawReader{left: DefaultLimits().Fields}
	for _, f := range reader.fields(data, max(0, maxGuessDepth-depth)) {
		p.raw(f, depth)
	}
}

// maxGuessDepth leaves guesses at nested messages in unknown fields enough depth, and ends them in hostile input.
const maxGuessDepth = 40

func (p *textPrinter) raw(f rawField, depth int) {
	switch {
	case f.nested != nil:
		p.line(depth, "%d {", f.number)
		for _, inner := range f.nested {
			p.raw(inner, depth+1)
		}
		p.line(depth, "}")
	case f.wire == protowire.BytesType:
		p.line(depth, "%d: %s", f.number, Quote(string(f.content)))
	case f.wire == protowire.Fixed32Type:
		p.line(depth, "%d: 0x%08x", f.number, f.value)
	case f.wire == protowire.Fixed64Type:
		p.line(depth, "%d: 0x%016x", f.number, f.value)
	default:
		p.line(depth, "%d: %d", f.number, f.value)
	}
}

// Quote puts s in double quotes as the text format and a terminal can bear it: UTF-8 letters as they are; quotes,
// backslashes and control characters escaped; bytes that are no UTF-8 as octal escapes.
func Quote(s string) string {
	var b strings.Builder
	b.Grow(len(s) + 2)
	b.WriteByte('"')
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(&b, `\%03o`, s[i])
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\r':
			b.WriteString(`\r`)
		case r == '\t':
			b.WriteString(`\t`)
		case r < 0x80 && unicode.IsControl(r):
			fmt.Fprintf(&b, `\%03o`, r)
		case Hidden(r) && r > 0xffff:
			fmt.Fprintf(&b, `\U%08x`, r)
		case Hidden(r):
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			b.WriteString(s[i : i+size])
		}
		i += size
	}
	b.WriteByte('"')
	return b.String()
}

// Hidden reports whether r would be unseen on a terminal or change how other text is seen: control characters, line and
// paragraph separators, direction marks, zero-width space, byte order mark and tag characters. The joiners that emoji and
// some scripts need are not hidden.
func Hidden(r rune) bool {
	switch {
	case r == '\u200c' || r == '\u200d':
		return false
	case unicode.IsControl(r), unicode.Is(unicode.Bidi_Control, r), unicode.Is(unicode.Zl, r), unicode.Is(unicode.Zp, r):
		return true
	case r == '\u200b' || r == '\ufeff' || r == '\u2060' || r >= 0xfff9 && r <= 0xfffb:
		return true
	}
	return r >= 0xe0000 && r <= 0xe007f
}

// Terminal is s, one line of it, with everything escaped that a terminal must not get.
func Terminal(s string) string {
	for i, r := range s {
		if Hidden(r) || r == utf8.RuneError {
			q := Quote(s[i:])
			return s[:i] + strings.ReplaceAll(strings.ReplaceAll(q[1:len(q)-1], `\"`, `"`), `\\`, `\`)
		}
	}
	return s
}
