package decode

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"
)

// Limits bound what one body may cost. A limit of zero lets nothing pass: use DefaultLimits.
type Limits struct {
	// SizeBytes is the largest body that is looked at.
	SizeBytes int
	// Depth is how many messages may be nested.
	Depth int
	// Fields is how many fields, and elements of packed fields, one body may have.
	Fields int
}

// DefaultLimits returns 64 MiB, 100 levels and a million fields: some hundred MiB of memory at worst.
func DefaultLimits() Limits { return Limits{SizeBytes: 64 << 20, Depth: 100, Fields: 1_000_000} }

// Fault is one place where a body is damaged.
type Fault struct {
	// Offset counts bytes from the start of the body.
	Offset int `json:"offset"`
	// Path names the field: "teams[3].name". Empty for the body itself.
	Path string `json:"path"`
	// What was wrong there, one clause.
	What string `json:"what"`
	// Final says that nothing after this place could be read.
	Final bool `json:"final"`
}

func (f Fault) String() string {
	path := f.Path
	if path == "" {
		path = "the body"
	}
	return fmt.Sprintf("byte %d, in %s: %s", f.Offset, path, f.What)
}

// Body is one decoded body.
type Body struct {
	// Message holds what was read before and between the faults. Its descriptor is the type that was asked for.
	Message protoreflect.Message
	// Faults are in the order of their offsets; no fault, no damage.
	Faults []Fault
	// Missing are the required fields (proto2) that are not there: "team.name".
	Missing []string
	// Fit is how well the type fits the bytes.
	Fit Fit
	// SizeBytes is the length of the encoded body.
	SizeBytes int
}

const maxFaults = 20

// Decode reads data as a message of type md. It always returns a body: what is wrong with the bytes is in its Faults.
func (s *Schema) Decode(md protoreflect.MessageDescriptor, data []byte, limits Limits) *Body {
	b := &Body{Message: messageType(md).New(), SizeBytes: len(data), Fit: Fit{Type: md.FullName()}}
	if len(data) > limits.SizeBytes {
		b.Faults = []Fault{{What: fmt.Sprintf("%d bytes are more than the limit of %d", len(data), limits.SizeBytes), Final: true}}
		return b
	}
	d := decoder{body: b, limits: limits, schema: s}
	d.message(b.Message, data, 0, 0)
	if md.ParentFile().Syntax() != protoreflect.Proto3 {
		b.Missing = missingFields(b.Message, "")
		b.Fit.Missing = len(b.Missing)
	}
	return b
}

// Notes are oddities of a complete body: missing required fields, and fields that the type lacks, which JSON omits.
func (b *Body) Notes() []string {
	var notes []string
	if n := len(b.Missing); n > 0 {
		notes = append(notes, "required fields are missing: "+strings.Join(b.Missing[:min(n, maxFaults)], ", "))
	}
	if n := b.Fit.Unknown + b.Fit.Conflicts; n > 0 {
		notes = append(notes, fmt.Sprintf("%s does not have %s", b.Fit.Type, plural(n, "field of the body", "fields of the body")))
	}
	return notes
}

// decoder walks one body. Subtle: it decodes into protoreflect messages by hand rather than with proto.Unmarshal, because
// that stops at the first fault and says neither where nor in which field.
type decoder struct {
	body   *Body
	schema *Schema // of the extensions
	limits Limits
	fields int
	path   []pathStep
}

type pathStep struct {
	name  string
	field protoreflect.FieldDescriptor // names the step where name is empty
	index int                          // -1: not an element
}

// fault reports damage: bytes that cannot be read as what they must be.
func (d *decoder) fault(offset int, final bool, format string, args ...any) {
	d.body.Fit.Damaged = true
	d.report(offset, final, format, args...)
}

func (d *decoder) report(offset int, final bool, format string, args ...any) {
	if len(d.body.Faults) < maxFaults {
		d.body.Faults = append(d.body.Faults, Fault{Offset: offset, Path: pathString(d.path), What: fmt.Sprintf(format, args...), Final: final})
	}
}

func pathString(steps []pathStep) string {
	s := ""
	for i, step := range steps {
		if i > 0 {
			s += "."
		}
		if s += step.name; step.name == "" {
			s += fieldName(step.field)
		}
		if step.index >= 0 {
			s += fmt.Sprintf("[%d]", step.index)
		}
	}
	return s
}

// message reads data, which starts at offset at of the body, into m. It reports false when the rest of the body is lost.
func (d *decoder) message(m protoreflect.Message, data []byte, at, depth int) bool {
	if depth >= d.limits.Depth {
		d.fault(at, true, "messages are nested deeper than the limit of %d", d.limits.Depth)
		return false
	}
	fields := m.Descriptor().Fields()
	for len(data) > 0 {
		number, wire, n := consumeTag(data)
		if n < 0 {
			d.fault(at, true, "%s", tagFault(data))
			return false
		}
		if d.fields++; d.fields > d.limits.Fields {
			d.fault(at, true, "more fields than the limit of %d", d.limits.Fields)
			return false
		}
		var used int
		var ok bool
		fd := fields.ByNumber(number)
		if fd == nil {
			fd = d.schema.extension(m.Descriptor(), number)
		}
		switch {
		case fd != nil && accepts(fd, wire):
			d.body.Fit.Known++
			used, ok = d.field(m, fd, wire, data[n:], at+n, depth)
		case fd != nil:
			d.body.Fit.Conflicts++
			used, ok = d.unknown(m, number, wire, data, n, at)
		default:
			d.body.Fit.Unknown++
			used, ok = d.unknown(m, number, wire, data, n, at)
		}
		if !ok {
			return false
		}
		data, at = data[n+used:], at+n+used
	}
	return true
}

// unknown keeps a field that the type does not have, or has with another wire type. data starts with its tag of n bytes.
func (d *decoder) unknown(m protoreflect.Message, number protowire.Number, wire protowire.Type, data []byte, n, at int) (int, bool) {
	if wire == protowire.EndGroupType {
		d.fault(at, true, "a group ends that never began (field number %d)", number)
		return 0, false
	}
	used := protowire.ConsumeFieldValue(number, wire, data[n:])
	if used < 0 {
		d.path = append(d.path, pathStep{name: fmt.Sprint(number), index: -1})
		d.fault(at, true, "%s", valueFault(wire, data[n:]))
		d.path = d.path[:len(d.path)-1]
		return 0, false
	}
	m.SetUnknown(append(protowire.AppendTag(m.GetUnknown(), number, wire), data[n:n+used]...))
	return used, true
}

// field reads one value of a known field. data starts behind the tag, at offset at.
func (d *decoder) field(m protoreflect.Message, fd protoreflect.FieldDescriptor, wire protowire.Type, data []byte, at, depth int) (int, bool) {
	index := -1
	if fd.IsList() {
		index = m.Get(fd).List().Len()
	}
	d.path = append(d.path, pathStep{field: fd, index: index})
	defer func() { d.path = d.path[:len(d.path)-1] }()
	switch wire {
	case protowire.BytesType:
		return d.lengthDelimited(m, fd, data, at, depth)
	case protowire.StartGroupType:
		return d.group(m, fd, data, at, depth)
	}
	v, n := consumeScalar(fd, wire, data)
	if n < 0 {
		d.fault(at, true, "%s", valueFault(wire, data))
		return 0, false
	}
	d.set(m, fd, v, wire, data[:n])
	return n, true
}

// set stores a number, bool or enum. A value that a closed enum does not have stays unknown.
func (d *decoder) set(m protoreflect.Message, fd protoreflect.FieldDescriptor, v protoreflect.Value, wire protowire.Type, raw []byte) {
	if ed := fd.Enum(); ed != nil && ed.Values().ByNumber(v.Enum()) == nil {
		d.body.Fit.Odd++
		if ed.IsClosed() {
			m.SetUnknown(append(protowire.AppendTag(m.GetUnknown(), fd.Number(), wire), raw...))
			return
		}
	}
	d.store(m, fd, v)
}

// store appends to a list, and sets a single field. Of that the last value counts, but no encoder writes two: then the type is hardly the
// right one.
func (d *decoder) store(m protoreflect.Message, fd protoreflect.FieldDescriptor, v protoreflect.Value) {
	if fd.IsList() {
		m.Mutable(fd).List().Append(v)
		return
	}
	if m.Has(fd) {
		d.body.Fit.Odd++
	}
	m.Set(fd, v)
}

// lengthDelimited reads a string, bytes, message, map entry or packed list.
func (d *decoder) lengthDelimited(m protoreflect.Message, fd protoreflect.FieldDescriptor, data []byte, at, depth int) (int, bool) {
	content, n, whole := d.span(data, at)
	if n < 0 {
		return 0, false
	}
	ok := d.content(m, fd, content, at+n, depth)
	return n + len(content), whole && ok
}

// span is what the length at the start of data announces, or the part of it that exists, and the size of that length. whole is false if a
// part is missing; n is negative without a length. Both are reported as faults.
func (d *decoder) span(data []byte, at int) (content []byte, n int, whole bool) {
	length, n := protowire.ConsumeVarint(data)
	if n < 0 {
		d.fault(at, true, "%s", valueFault(protowire.BytesType, data))
		return nil, n, false
	}
	if length > uint64(len(data)-n) {
		d.fault(at, true, "%s", valueFault(protowire.BytesType, data))
		return data[n:], n, false
	}
	return data[n : n+int(length)], n, true
}

// content reads what a length announced. Damage inside a nested message leaves what follows it readable, since its end is known.
func (d *decoder) content(m protoreflect.Message, fd protoreflect.FieldDescriptor, content []byte, at, depth int) bool {
	switch {
	case fd.IsMap():
		return d.mapEntry(m, fd, content, at, depth)
	case fd.Message() != nil:
		return d.nested(nestedOf(m, fd), content, at, depth)
	case fd.IsList() && packable(fd.Kind()):
		return d.packed(m, fd, content, at)
	}
	var v protoreflect.Value
	if fd.Kind() == protoreflect.StringKind {
		v = protoreflect.ValueOfString(d.text(fd, content, at))
	} else {
		v = protoreflect.ValueOfBytes(append([]byte{}, content...))
	}
	d.store(m, fd, v)
	return true
}

// nested decodes a message whose end is known.
func (d *decoder) nested(m protoreflect.Message, content []byte, at, depth int) bool {
	before := len(d.body.Faults)
	return d.message(m, content, at, depth+1) || d.contained(before, depth)
}

// contained has the faults since the first so many end with their message. Only limits end the whole body: then it is false.
func (d *decoder) contained(before, depth int) bool {
	if depth+1 >= d.limits.Depth || d.fields > d.limits.Fields {
		return false
	}
	for i := before; i < len(d.body.Faults); i++ {
		d.body.Faults[i].Final = false
	}
	return true
}

// text is content as a string. Bytes that are not UTF-8 stay, for printing to escape; they are a fault if the field wants UTF-8.
func (d *decoder) text(fd protoreflect.FieldDescriptor, content []byte, at int) string {
	valid := utf8.Valid(content)
	if !valid || slices.ContainsFunc(content, func(c byte) bool { return c < ' ' && c != '\n' && c != '\t' && c != '\r' }) {
		d.body.Fit.Odd++
	}
	if !valid && wantsUTF8(fd) {
		bad := 0
		for r, size := utf8.DecodeRune(content); r != utf8.RuneError || size > 1; r, size = utf8.DecodeRune(content[bad:]) {
			bad += size
		}
		d.report(at+bad, false, "byte 0x%02x is not UTF-8", content[bad])
	}
	return string(content)
}

func (d *decoder) packed(m protoreflect.Message, fd protoreflect.FieldDescriptor, content []byte, at int) bool {
	wire := wireType(fd.Kind())
	list := m.Mutable(fd).List()
	for len(content) > 0 {
		if d.fields++; d.fields > d.limits.Fields {
			d.fault(at, true, "more fields than the limit of %d", d.limits.Fields)
			return false
		}
		d.path[len(d.path)-1].index = list.Len()
		v, n := consumeScalar(fd, wire, content)
		if n < 0 {
			d.fault(at, false, "%s", valueFault(wire, content))
			return true
		}
		d.set(m, fd, v, wire, content[:n])
		content, at = content[n:], at+n
	}
	return true
}

// mapEntry reads an entry, on the wire a message of key and value. A message value is decoded straight into the map's own
// type, since an entry read as a whole would be a dynamic message, which a generated map does not take.
func (d *decoder) mapEntry(m protoreflect.Message, fd protoreflect.FieldDescriptor, content []byte, at, depth int) bool {
	entries := m.Mutable(fd).Map()
	entry := dynamicpb.NewMessage(fd.Message())
	if fd.MapValue().Message() == nil {
		ok := d.nested(entry, content, at, depth)
		if unknownValue(fd.MapValue(), entry) {
			tag := protowire.AppendTag(m.GetUnknown(), fd.Number(), protowire.BytesType)
			m.SetUnknown(protowire.AppendBytes(tag, content))
			return ok
		}
		entries.Set(entry.Get(fd.MapKey()).MapKey(), entry.Get(fd.MapValue()))
		return ok
	}
	before, value, ok := len(d.body.Faults), entries.NewValue(), true
	for len(content) > 0 && ok {
		number, wire, n := protowire.ConsumeTag(content)
		size := len(content)
		if _, _, field := protowire.ConsumeField(content); field > 0 {
			size = field
		}
		if number == 2 && wire == protowire.BytesType && n > 0 {
			size, ok = d.entryValue(value.Message(), content[n:], at+n, depth)
			size += n
		} else {
			ok = d.nested(entry, content[:size], at, depth)
		}
		content, at = content[size:], at+size
	}
	entries.Set(entry.Get(fd.MapKey()).MapKey(), value)
	return ok || d.contained(before, depth)
}

// unknownValue: an entry's value is a number that its closed enum lacks: then the whole entry is unknown, by the specification.
func unknownValue(fd protoreflect.FieldDescriptor, entry protoreflect.Message) bool {
	return fd.Enum() != nil && fd.Enum().IsClosed() && !entry.Has(entry.Descriptor().Fields().ByNumber(2)) && hasNumber(entry.GetUnknown(), 2)
}

func hasNumber(raw []byte, want protowire.Number) bool {
	for len(raw) > 0 {
		number, _, n := protowire.ConsumeField(raw)
		if n < 0 {
			return false
		}
		if number == want {
			return true
		}
		raw = raw[n:]
	}
	return false
}

// entryValue reads an entry's value, whose length begins data, and returns how many bytes it took.
func (d *decoder) entryValue(value protoreflect.Message, data []byte, at, depth int) (int, bool) {
	d.path = append(d.path, pathStep{name: "value", index: -1})
	defer func() { d.path = d.path[:len(d.path)-1] }()
	content, n, whole := d.span(data, at)
	if n < 0 {
		return len(data), false
	}
	return n + len(content), d.nested(value, content, at+n, depth) && whole
}

// group reads until the end tag of the same number. It finds the group's bytes first, so that damage is reported within it.
func (d *decoder) group(m protoreflect.Message, fd protoreflect.FieldDescriptor, data []byte, at, depth int) (int, bool) {
	content, n := protowire.ConsumeGroup(fd.Number(), data)
	if n < 0 {
		d.fault(at, true, "%s", valueFault(protowire.StartGroupType, data))
		return 0, false
	}
	return n, d.nested(nestedOf(m, fd), content, at, depth)
}
