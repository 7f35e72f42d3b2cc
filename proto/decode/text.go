package decode

import (
	"fmt"
	"math"
	"sort"
	"strconv"
	"strings"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Text prints m in protobuf's text format, like `protoc --decode`, but with letters of every script. Control characters, and marks that
// change the direction of text on a terminal, are escaped. Unknown fields follow the known ones, by number. EncodeText reads the output.
func Text(m protoreflect.Message) string {
	return string(AppendText(nil, m, 0))
}

// AppendText appends Text to out, each line indented by depth times two spaces.
func AppendText(out []byte, m protoreflect.Message, depth int) []byte {
	p := &textPrinter{out: out}
	p.message(m, depth)
	return p.out
}

// textPrinter is deterministic, which prototext is not: its output is compared with goldens and with other tools. It appends without fmt,
// since most of the time of showing a capture is spent here.
type textPrinter struct{ out []byte }

func (p *textPrinter) indent(depth int) { p.out = appendIndent(p.out, depth) }

func appendIndent(out []byte, depth int) []byte {
	const some = "                "
	for ; depth > len(some)/2; depth -= len(some) / 2 {
		out = append(out, some...)
	}
	return append(out, some[:2*depth]...)
}

func (p *textPrinter) open(depth int, name string) {
	p.indent(depth)
	p.out = append(append(p.out, name...), " {\n"...)
}

func (p *textPrinter) close(depth int) {
	p.indent(depth)
	p.out = append(p.out, "}\n"...)
}

func (p *textPrinter) message(m protoreflect.Message, depth int) {
	rangeInOrder(m, func(fd protoreflect.FieldDescriptor, v protoreflect.Value) {
		switch {
		case fd.IsMap():
			p.entries(fd, v.Map(), depth)
		case fd.IsList():
			for i, list := 0, v.List(); i < list.Len(); i++ {
				p.field(fd, list.Get(i), depth)
			}
		default:
			p.field(fd, v, depth)
		}
	})
	if unknown := m.GetUnknown(); len(unknown) > 0 {
		p.unknown(unknown, depth)
	}
}

// rangeInOrder is m.Range by field number.
func rangeInOrder(m protoreflect.Message, f func(protoreflect.FieldDescriptor, protoreflect.Value)) {
	fields := m.Descriptor().Fields()
	present := make([]protoreflect.FieldDescriptor, 0, 16)
	sorted := true
	for i := range fields.Len() {
		fd := fields.Get(i)
		if m.Has(fd) {
			sorted = sorted && (len(present) == 0 || present[len(present)-1].Number() < fd.Number())
			present = append(present, fd)
		}
	}
	if m.Descriptor().ExtensionRanges().Len() > 0 {
		m.Range(func(fd protoreflect.FieldDescriptor, _ protoreflect.Value) bool {
			if fd.IsExtension() {
				present, sorted = append(present, fd), false
			}
			return true
		})
	}
	if !sorted {
		sort.Slice(present, func(i, j int) bool { return present[i].Number() < present[j].Number() })
	}
	for _, fd := range present {
		f(fd, m.Get(fd))
	}
}

// entries prints a map by its keys, so that equal maps print equally.
func (p *textPrinter) entries(fd protoreflect.FieldDescriptor, entries protoreflect.Map, depth int) {
	for _, key := range sortedKeys(entries) {
		p.open(depth, fieldName(fd))
		p.field(fd.MapKey(), key.Value(), depth+1)
		p.field(fd.MapValue(), entries.Get(key), depth+1)
		p.close(depth)
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
	if fd.Message() != nil {
		p.open(depth, fieldName(fd))
		p.message(v.Message(), depth+1)
		p.close(depth)
		return
	}
	p.indent(depth)
	p.out = append(append(p.out, fieldName(fd)...), ": "...)
	p.out = append(appendScalar(p.out, fd, fd.Kind(), v), '\n')
}

// fieldName is a field's name in text: "[full.name]" of an extension, the message's name of a group. A field that editions declare as
// DELIMITED keeps its own name, unless it could have been a group.
func fieldName(fd protoreflect.FieldDescriptor) string { return fd.TextName() }

// scalarText is one value in text format.
func scalarText(fd protoreflect.FieldDescriptor, v protoreflect.Value) string {
	return string(appendScalar(nil, fd, fd.Kind(), v))
}

// appendScalar appends a value of a field, whose kind is known already.
func appendScalar(out []byte, fd protoreflect.FieldDescriptor, kind protoreflect.Kind, v protoreflect.Value) []byte {
	switch kind {
	case protoreflect.StringKind:
		out, _, _ = appendQuoted(out, []byte(v.String()))
		return out
	case protoreflect.BytesKind:
		out, _, _ = appendQuoted(out, v.Bytes())
		return out
	case protoreflect.EnumKind:
		if value := fd.Enum().Values().ByNumber(v.Enum()); value != nil {
			return append(out, value.Name()...)
		}
		return strconv.AppendInt(out, int64(v.Enum()), 10)
	case protoreflect.FloatKind:
		return append(out, floatText(v.Float(), 32)...)
	case protoreflect.DoubleKind:
		return append(out, floatText(v.Float(), 64)...)
	case protoreflect.BoolKind:
		return strconv.AppendBool(out, v.Bool())
	case protoreflect.Uint32Kind, protoreflect.Uint64Kind, protoreflect.Fixed32Kind, protoreflect.Fixed64Kind:
		return strconv.AppendUint(out, v.Uint(), 10)
	}
	return strconv.AppendInt(out, v.Int(), 10)
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
	fields, _ := reader.fields(data, max(0, maxGuessDepth-depth))
	for _, f := range fields {
		p.raw(f, depth)
	}
}

// maxGuessDepth leaves guesses at nested messages in unknown fields enough depth, and ends them in hostile input.
const maxGuessDepth = 40

func (p *textPrinter) raw(f rawField, depth int) {
	name := strconv.Itoa(int(f.number))
	if f.nested != nil {
		p.open(depth, name)
		if f.wire == protowire.StartGroupType {
			p.out = append(p.out[:len(p.out)-1], " # "+groupComment+"\n"...)
		}
		for _, inner := range f.nested {
			p.raw(inner, depth+1)
		}
		p.close(depth)
		return
	}
	p.indent(depth)
	p.out = append(append(p.out, name...), ": "...)
	switch f.wire {
	case protowire.BytesType:
		p.out, _, _ = appendQuoted(p.out, f.content)
	case protowire.Fixed32Type:
		p.out = fmt.Appendf(p.out, "0x%08x", f.value)
	case protowire.Fixed64Type:
		p.out = fmt.Appendf(p.out, "0x%016x", f.value)
	default:
		p.out = strconv.AppendUint(p.out, f.value, 10)
	}
	p.out = append(p.out, '\n')
}

// Quote quotes s for the text format and a terminal: UTF-8 letters stay; quotes, backslashes, controls and other bytes are escaped.
func Quote(s string) string {
	quoted, _, _ := appendQuoted(nil, []byte(s))
	return string(quoted)
}

// appendQuoted appends Quote of s. It reports whether s is UTF-8, and whether it has control characters that people do not write.
func appendQuoted(b, s []byte) (quoted []byte, valid, controls bool) {
	b = append(b, '"')
	from := 0 // what is before it has been written
	valid = true
	for i := 0; i < len(s); {
		c := s[i]
		if c >= ' ' && c < 0x7f && c != '"' && c != '\\' {
			i++
			continue
		}
		r, size := utf8.DecodeRune(s[i:])
		if size == 1 || Hidden(r) {
			valid = valid && (size > 1 || c < utf8.RuneSelf)
			controls = controls || c < ' ' && c != '\n' && c != '\t' && c != '\r'
			b = append(append(b, s[from:i]...), escaped(r, c, size)...)
			from = i + size
		}
		i += size
	}
	return append(append(b, s[from:]...), '"'), valid, controls
}

// escaped is how a character is written that is not written as it is. first is its first byte, size how many it has.
func escaped(r rune, first byte, size int) string {
	switch {
	case r == '"':
		return `\"`
	case r == '\\':
		return `\\`
	case r == '\n':
		return `\n`
	case r == '\r':
		return `\r`
	case r == '\t':
		return `\t`
	case size == 1:
		return fmt.Sprintf(`\%03o`, first)
	case r > 0xffff:
		return fmt.Sprintf(`\U%08x`, r)
	}
	return fmt.Sprintf(`\u%04x`, r)
}

// Hidden reports whether r would be unseen on a terminal or change how other text is seen: control characters, line and
// paragraph separators, direction marks, zero-width space, byte order mark and tag characters. The joiners that emoji and
// some scripts need are not hidden.
func Hidden(r rune) bool {
	switch {
	case r < 0xa0:
		return r < ' ' || r >= 0x7f
	case r < 0x0600 || r >= 0x2070 && r < 0xfeff:
		return false
	case r == '\u061c' || r == '\u180e' || r >= '\u2028' && r <= '\u202e':
		return true
	case r == '\u200c' || r == '\u200d':
		return false
	case r >= '\u200b' && r <= '\u200f' || r >= '\u2060' && r <= '\u206f':
		return true
	case r == '\ufeff' || r >= 0xfff9 && r <= 0xfffb:
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
