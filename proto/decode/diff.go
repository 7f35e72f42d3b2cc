package decode

import (
	"bytes"
	"fmt"
	"math"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Difference is one field that two messages do not have alike.
type Difference struct {
	// Path names the field: "teams[3].name".
	Path string `json:"path"`
	// A and B are its values in text format; empty where that side does not have the field.
	A string `json:"a"`
	B string `json:"b"`
}

func (d Difference) String() string {
	switch {
	case d.A == "":
		return fmt.Sprintf("+ %s: %s", d.Path, d.B)
	case d.B == "":
		return fmt.Sprintf("- %s: %s", d.Path, d.A)
	}
	return fmt.Sprintf("~ %s: %s -> %s", d.Path, d.A, d.B)
}

// maxDifferences bounds a comparison: who has that many wants to know of the first.
const maxDifferences = 10_000

// Diff compares two messages of one type by meaning: maps by key, lists by position, unknown fields by number in the order of their
// appearance. Encodings (packed or not, order of fields) do not count.
func Diff(a, b protoreflect.Message) []Difference {
	d := &differ{}
	d.message("", a, b)
	return d.out
}

type differ struct{ out []Difference }

func (d *differ) add(path, a, b string) {
	if len(d.out) < maxDifferences {
		d.out = append(d.out, Difference{path, a, b})
	}
}

func (d *differ) message(path string, a, b protoreflect.Message) {
	if len(d.out) >= maxDifferences {
		return
	}
	fields := a.Descriptor().Fields()
	for i := range fields.Len() {
		fd := fields.Get(i)
		if a.Has(fd) || b.Has(fd) {
			d.field(join(path, fieldName(fd)), fd, a, b)
		}
	}
	d.unknown(path, a.GetUnknown(), b.GetUnknown())
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

func (d *differ) field(path string, fd protoreflect.FieldDescriptor, a, b protoreflect.Message) {
	switch {
	case fd.IsMap():
		d.entries(path, fd, a.Get(fd).Map(), b.Get(fd).Map())
	case fd.IsList():
		d.list(path, fd, a.Get(fd).List(), b.Get(fd).List())
	case !a.Has(fd):
		d.add(path, "", valueText(fd, b.Get(fd)))
	case !b.Has(fd):
		d.add(path, valueText(fd, a.Get(fd)), "")
	default:
		d.value(path, fd, a.Get(fd), b.Get(fd))
	}
}

func (d *differ) value(path string, fd protoreflect.FieldDescriptor, a, b protoreflect.Value) {
	switch {
	case fd.Message() != nil:
		d.message(path, a.Message(), b.Message())
	case !equalScalar(fd, a, b):
		d.add(path, scalarText(fd, a), scalarText(fd, b))
	}
}

func equalScalar(fd protoreflect.FieldDescriptor, a, b protoreflect.Value) bool {
	switch fd.Kind() {
	case protoreflect.BytesKind:
		return bytes.Equal(a.Bytes(), b.Bytes())
	case protoreflect.FloatKind, protoreflect.DoubleKind:
		return math.Float64bits(a.Float()) == math.Float64bits(b.Float()) || math.IsNaN(a.Float()) && math.IsNaN(b.Float())
	}
	return a.Interface() == b.Interface()
}

func (d *differ) list(path string, fd protoreflect.FieldDescriptor, a, b protoreflect.List) {
	for i := range max(a.Len(), b.Len()) {
		at := fmt.Sprintf("%s[%d]", path, i)
		switch {
		case i >= a.Len():
			d.add(at, "", valueText(fd, b.Get(i)))
		case i >= b.Len():
			d.add(at, valueText(fd, a.Get(i)), "")
		default:
			d.value(at, fd, a.Get(i), b.Get(i))
		}
	}
}

func (d *differ) entries(path string, fd protoreflect.FieldDescriptor, a, b protoreflect.Map) {
	for _, key := range sortedKeys(a) {
		at := fmt.Sprintf("%s[%s]", path, scalarText(fd.MapKey(), key.Value()))
		if !b.Has(key) {
			d.add(at, valueText(fd.MapValue(), a.Get(key)), "")
			continue
		}
		d.value(at, fd.MapValue(), a.Get(key), b.Get(key))
	}
	for _, key := range sortedKeys(b) {
		if !a.Has(key) {
			d.add(fmt.Sprintf("%s[%s]", path, scalarText(fd.MapKey(), key.Value())), "", valueText(fd.MapValue(), b.Get(key)))
		}
	}
}

func valueText(fd protoreflect.FieldDescriptor, v protoreflect.Value) string {
	if fd.Message() == nil {
		return scalarText(fd, v)
	}
	return "{" + oneLine(Text(v.Message())) + "}"
}

// oneLine joins the lines of a text format, in which strings contain no line breaks.
func oneLine(text string) string {
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	for i := range lines {
		lines[i] = strings.TrimLeft(lines[i], " ")
	}
	return strings.Join(lines, " ")
}

func (d *differ) unknown(path string, a, b protoreflect.RawFields) {
	if bytes.Equal(a, b) {
		return
	}
	var order []protowire.Number
	texts := map[protowire.Number]*[2][]string{}
	for side, data := range [][]byte{a, b} {
		reader := rawReader{left: DefaultLimits().Fields}
		fields, _ := reader.fields(data, maxGuessDepth)
		for _, f := range fields {
			if texts[f.number] == nil {
				texts[f.number] = new([2][]string)
				order = append(order, f.number)
			}
			p := &textPrinter{}
			p.raw(f, 0)
			_, text, _ := strings.Cut(oneLine(string(p.out)), " ")
			texts[f.number][side] = append(texts[f.number][side], text)
		}
	}
	for _, number := range order {
		one, two := strings.Join(texts[number][0], ", "), strings.Join(texts[number][1], ", ")
		if one != two {
			d.add(join(path, fmt.Sprintf("%d", number)), one, two)
		}
	}
}
