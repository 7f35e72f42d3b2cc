package decode

import (
	"fmt"
	"math"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// consumeTag is protowire's without what that lets pass: the wire types 6 and 7, and field numbers above the largest.
func consumeTag(data []byte) (protowire.Number, protowire.Type, int) {
	number, wire, n := protowire.ConsumeTag(data)
	if wire > protowire.Fixed32Type || number > protowire.MaxValidNumber {
		return 0, 0, -1
	}
	return number, wire, n
}

// tagFault says why no field starts with data.
func tagFault(data []byte) string {
	tag, n := protowire.ConsumeVarint(data)
	switch {
	case n < 0 && len(data) < 10:
		return "the body ends inside a field's tag"
	case n < 0:
		return "no field's tag: the varint is longer than 10 bytes"
	case tag>>3 == 0:
		return "no field's tag: field number 0 does not exist"
	case tag>>3 > uint64(protowire.MaxValidNumber):
		return fmt.Sprintf("no field's tag: field number %d is too large", tag>>3)
	}
	return fmt.Sprintf("no field's tag: wire type %d does not exist", tag&7)
}

// accepts reports whether a field may come in that wire type. Repeated scalars may come packed or not, regardless of the declaration.
func accepts(fd protoreflect.FieldDescriptor, wire protowire.Type) bool {
	want := wireType(fd.Kind())
	return wire == want || wire == protowire.BytesType && fd.IsList() && packable(fd.Kind())
}

func packable(kind protoreflect.Kind) bool {
	wire := wireType(kind)
	return wire != protowire.BytesType && wire != protowire.StartGroupType
}

func wireType(kind protoreflect.Kind) protowire.Type {
	switch kind {
	case protoreflect.Fixed32Kind, protoreflect.Sfixed32Kind, protoreflect.FloatKind:
		return protowire.Fixed32Type
	case protoreflect.Fixed64Kind, protoreflect.Sfixed64Kind, protoreflect.DoubleKind:
		return protowire.Fixed64Type
	case protoreflect.StringKind, protoreflect.BytesKind, protoreflect.MessageKind:
		return protowire.BytesType
	case protoreflect.GroupKind:
		return protowire.StartGroupType
	}
	return protowire.VarintType
}

// valueFault says why no value of that wire type starts with data.
func valueFault(wire protowire.Type, data []byte) string {
	switch wire {
	case protowire.VarintType:
		if len(data) < 10 {
			return "the body ends inside a varint"
		}
		return "the varint is longer than 10 bytes"
	case protowire.Fixed32Type:
		return fmt.Sprintf("4 bytes are needed, %d are left", len(data))
	case protowire.Fixed64Type:
		return fmt.Sprintf("8 bytes are needed, %d are left", len(data))
	case protowire.BytesType:
		length, n := protowire.ConsumeVarint(data)
		if n < 0 {
			return "the length is cut off or no varint"
		}
		return fmt.Sprintf("length %d runs past the end: %d bytes are left", length, len(data)-n)
	case protowire.StartGroupType:
		return "the group is damaged or does not end"
	}
	return fmt.Sprintf("wire type %d does not exist", wire)
}

// consumeScalar reads a number, bool or enum; n is negative when data does not start with one.
func consumeScalar(fd protoreflect.FieldDescriptor, wire protowire.Type, data []byte) (v protoreflect.Value, n int) {
	x, n := consumeNumber(fd.Kind(), wire, data)
	return numberValue(fd.Kind(), x), n
}

// consumeNumber reads a number, bool or enum, without bits that its kind lacks: 0 is zero and false. n is negative without one.
func consumeNumber(kind protoreflect.Kind, wire protowire.Type, data []byte) (x uint64, n int) {
	switch wire {
	case protowire.Fixed32Type:
		x, n := protowire.ConsumeFixed32(data)
		return uint64(x), n
	case protowire.Fixed64Type:
		return protowire.ConsumeFixed64(data)
	}
	x, n = protowire.ConsumeVarint(data)
	switch kind {
	case protoreflect.EnumKind, protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Uint32Kind:
		x &= math.MaxUint32
	}
	return x, n
}

func numberValue(kind protoreflect.Kind, x uint64) protoreflect.Value {
	switch kind {
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(x != 0)
	case protoreflect.EnumKind:
		return protoreflect.ValueOfEnum(protoreflect.EnumNumber(x))
	case protoreflect.Int32Kind, protoreflect.Sfixed32Kind:
		return protoreflect.ValueOfInt32(int32(x))
	case protoreflect.Sint32Kind:
		return protoreflect.ValueOfInt32(int32(protowire.DecodeZigZag(x)))
	case protoreflect.Sint64Kind:
		return protoreflect.ValueOfInt64(protowire.DecodeZigZag(x))
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		return protoreflect.ValueOfUint32(uint32(x))
	case protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		return protoreflect.ValueOfUint64(x)
	case protoreflect.FloatKind:
		return protoreflect.ValueOfFloat32(math.Float32frombits(uint32(x)))
	case protoreflect.DoubleKind:
		return protoreflect.ValueOfFloat64(math.Float64frombits(x))
	}
	return protoreflect.ValueOfInt64(int64(x))
}
