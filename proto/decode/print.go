package decode

import (
	"cmp"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Print is Decode for those who want the message as text alone. A body that is as encoders write it is printed as it is read, which takes a
// fraction of the time: its text is appended to out, indented by depth times two spaces, and the Message is nil. Of any other body there is
// a Message, and out is as it was.
func (s *Schema) Print(out []byte, md protoreflect.MessageDescriptor, data []byte, limits Limits, depth int) ([]byte, *Body) {
	p := wirePrinter{schema: s, out: out, limits: limits, fit: Fit{Type: md.FullName()}}
	if len(data) <= limits.SizeBytes && p.message(s.layout(md), data, depth, 0) {
		return p.out, &Body{SizeBytes: len(data), Fit: p.fit}
	}
	return out, s.Decode(md, data, limits)
}

// fieldLayout is what wirePrinter needs of a field.
type fieldLayout struct {
	protoreflect.FieldDescriptor
	number protowire.Number
	kind   protoreflect.Kind
	wire   protowire.Type
	list   bool
	// presence says that a zero is printed if it is there.
	presence bool
	// oneof is a bit for the oneof that the field belongs to; 0 for none.
	oneof uint64
	// text is the name and what follows it.
	text string
}

// layout returns the fields of a type by number, without those that wirePrinter leaves to Decode: maps and groups. Of a type with required
// fields it returns none.
func (s *Schema) layout(md protoreflect.MessageDescriptor) []fieldLayout {
	if known, ok := s.layouts.Load(md); ok {
		return known.([]fieldLayout)
	}
	var l []fieldLayout
	for i := range md.Fields().Len() {
		fd := md.Fields().Get(i)
		if fd.IsMap() || fd.Kind() == protoreflect.GroupKind || md.RequiredNumbers().Len() > 0 {
			continue
		}
		f := fieldLayout{FieldDescriptor: fd, number: fd.Number(), kind: fd.Kind(), wire: wireType(fd.Kind()), list: fd.IsList(),
			presence: fd.IsList() || fd.HasPresence(), text: fieldName(fd) + ": "}
		if of := fd.ContainingOneof(); of != nil {
			f.oneof = 1 << min(of.Index(), 63) // the last bit may be several oneofs': then Decode has the body
		}
		if fd.Message() != nil {
			f.text = fieldName(fd) + " {\n"
		}
		l = append(l, f)
	}
	slices.SortFunc(l, func(a, b fieldLayout) int { return cmp.Compare(a.number, b.number) })
	s.layouts.Store(md, l)
	return l
}

// wirePrinter prints bodies without making messages of them. It gives up, and leaves the body to Decode, at whatever an encoder does not
// write, whether that is a fault or only unusual: fields out of order or unknown, text that is not UTF-8.
type wirePrinter struct {
	schema *Schema
	out    []byte
	limits Limits
	fit    Fit
	// fields counts those that are packed in others too.
	fields int
}

// message prints a message with these fields that is nested so many levels deep, indented by depth. It reports false when it gives up.
func (p *wirePrinter) message(fields []fieldLayout, data []byte, depth, level int) bool {
	if level >= p.limits.Depth {
		return false
	}
	last, oneofs := protowire.Number(0), uint64(0)
	for len(data) > 0 {
		number, wire, n := consumeTag(data)
		for len(fields) > 0 && fields[0].number < number {
			fields = fields[1:]
		}
		if n < 0 || len(fields) == 0 || fields[0].number != number {
			return false
		}
		f := &fields[0]
		data = data[n:]
		if p.fields++; p.fields > p.limits.Fields || number == last && !f.list || oneofs&f.oneof != 0 {
			return false
		}
		last, oneofs = number, oneofs|f.oneof
		p.fit.Known++
		switch {
		case wire == protowire.BytesType && (f.wire == wire || f.list):
			content, n := protowire.ConsumeBytes(data)
			if n < 0 || !p.content(f, content, depth, level) {
				return false
			}
			data = data[n:]
		case wire == f.wire:
			x, n := consumeNumber(f.kind, wire, data)
			if n < 0 || !p.number(f, x, depth) {
				return false
			}
			data = data[n:]
		default:
			return false
		}
	}
	return true
}

// content prints what a length announced.
func (p *wirePrinter) content(f *fieldLayout, content []byte, depth, level int) bool {
	switch {
	case f.kind == protoreflect.MessageKind:
		p.begin(f, depth)
		if !p.message(p.schema.layout(f.Message()), content, depth+1, level+1) {
			return false
		}
		p.out = append(appendIndent(p.out, depth), "}\n"...)
		return true
	case f.wire != protowire.BytesType:
		for len(content) > 0 {
			if p.fields++; p.fields > p.limits.Fields {
				return false
			}
			x, n := consumeNumber(f.kind, f.wire, content)
			if n < 0 || !p.number(f, x, depth) {
				return false
			}
			content = content[n:]
		}
		return true
	case len(content) == 0 && !f.presence:
		return true
	}
	p.begin(f, depth)
	var valid, controls bool
	p.out, valid, controls = appendQuoted(p.out, content)
	p.out = append(p.out, '\n')
	if f.kind == protoreflect.BytesKind {
		return true
	}
	if controls {
		p.fit.Odd++
	}
	return valid
}

func (p *wirePrinter) begin(f *fieldLayout, depth int) {
	p.out = append(appendIndent(p.out, depth), f.text...)
}

// number prints a number, bool or enum.
func (p *wirePrinter) number(f *fieldLayout, x uint64, depth int) bool {
	if f.kind == protoreflect.EnumKind && f.Enum().Values().ByNumber(protoreflect.EnumNumber(x)) == nil {
		if f.Enum().IsClosed() {
			return false
		}
		p.fit.Odd++
	}
	if x != 0 || f.presence {
		p.begin(f, depth)
		p.out = append(appendScalar(p.out, f, f.kind, numberValue(f.kind, x)), '\n')
	}
	return true
}
