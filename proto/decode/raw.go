package decode

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
)

// RawBody is a body read without a type.
type RawBody struct {
	// Faults are where it is not protobuf.
	Faults    []Fault
	SizeBytes int

	fields []rawField
}

type rawField struct {
	number  protowire.Number
	wire    protowire.Type
	value   uint64
	content []byte
	// nested is not nil when content reads as a message, or the field is a group.
	nested []rawField
}

// Raw reads data as any message: field numbers and wire types, with a guess at what is a string and what a nested message.
func Raw(data []byte, limits Limits) *RawBody {
	b := &RawBody{SizeBytes: len(data)}
	if len(data) > limits.SizeBytes {
		b.Faults = []Fault{{What: "the body is larger than the limit", Final: true}}
		return b
	}
	reader := rawReader{left: limits.Fields}
	var rest []byte
	b.fields, rest = reader.fields(data, limits.Depth)
	fault := Fault{Offset: len(data) - len(rest), Final: true}
	switch number, wire, n := consumeTag(rest); {
	case reader.left == 0:
		fault.What = fmt.Sprintf("more fields than the limit of %d; the first are shown", limits.Fields)
	case len(rest) == 0:
		return b
	case n < 0:
		fault.What = tagFault(rest)
	default:
		fault.Path, fault.What = strconv.Itoa(int(number)), valueFault(wire, rest[n:])
	}
	b.Faults = []Fault{fault}
	return b
}

// Text prints the fields by number, like `protoc --decode_raw`.
func (b *RawBody) Text() string {
	p := &textPrinter{}
	for _, f := range b.fields {
		p.raw(f, 0)
	}
	return string(p.out)
}

// rawReader reads fields without a type; left is how many more it may make.
type rawReader struct{ left int }

// fields reads until the end of data or the first damage, which rest begins with. Guesses at nested messages stop at depth.
func (r *rawReader) fields(data []byte, depth int) (fields []rawField, rest []byte) {
	fields = []rawField{}
	for len(data) > 0 && r.left > 0 {
		r.left--
		number, wire, n := consumeTag(data)
		if n < 0 {
			break
		}
		size := protowire.ConsumeFieldValue(number, wire, data[n:])
		if size < 0 {
			break
		}
		fields = append(fields, r.field(number, wire, data[n:n+size], depth))
		data = data[n+size:]
	}
	return fields, data
}

func (r *rawReader) field(number protowire.Number, wire protowire.Type, data []byte, depth int) rawField {
	f := rawField{number: number, wire: wire}
	switch wire {
	case protowire.VarintType:
		f.value, _ = protowire.ConsumeVarint(data)
	case protowire.Fixed32Type:
		v, _ := protowire.ConsumeFixed32(data)
		f.value = uint64(v)
	case protowire.Fixed64Type:
		f.value, _ = protowire.ConsumeFixed64(data)
	case protowire.BytesType:
		f.content, _ = protowire.ConsumeBytes(data)
		if depth > 0 && len(f.content) > 0 && isMessage(f.content) && !likelyText(f.content) {
			f.nested, _ = r.fields(f.content, depth-1)
		}
	case protowire.StartGroupType:
		content, _ := protowire.ConsumeGroup(number, data)
		f.nested = []rawField{}
		if depth > 0 {
			f.nested, _ = r.fields(content, depth-1)
		}
	}
	return f
}

// isMessage reports whether data is a sequence of whole fields, with field numbers that people choose and numbers as encoders write
// them: what is shown as a message is then the same bytes when it is encoded.
func isMessage(data []byte) bool {
	for len(data) > 0 {
		number, wire, n := consumeTag(data)
		if n < 0 || wire == protowire.EndGroupType || number > 1<<20 || n != protowire.SizeTag(number) {
			return false
		}
		size := protowire.ConsumeFieldValue(number, wire, data[n:])
		if size < 0 || !shortest(wire, data[n:]) {
			return false
		}
		data = data[n+size:]
	}
	return true
}

// shortest reports whether the varint that a value begins with is written in as few bytes as it takes.
func shortest(wire protowire.Type, data []byte) bool {
	if wire != protowire.VarintType && wire != protowire.BytesType {
		return true
	}
	v, n := protowire.ConsumeVarint(data)
	return n == protowire.SizeVarint(v)
}

// likelyText reports whether data is text that a person could have written.
func likelyText(data []byte) bool {
	if !utf8.Valid(data) {
		return false
	}
	return !strings.ContainsFunc(string(data), func(r rune) bool {
		return unicode.IsControl(r) && r != '\n' && r != '\t' && r != '\r'
	})
}

// IsText reports whether data is text that a person could have written, and not empty.
func IsText(data []byte) bool { return len(data) > 0 && likelyText(data) }
