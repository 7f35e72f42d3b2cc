package decode

import (
	"github.com/bufbuild/protocompile/protoutil"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
)

// wantsUTF8: a string field wants valid UTF-8: proto3 does, proto2 does not, in editions it is the feature utf8_validation.
func wantsUTF8(fd protoreflect.FieldDescriptor) bool {
	if own, ok := fd.(interface{ EnforceUTF8() bool }); ok {
		return own.EnforceUTF8()
	}
	switch fd.ParentFile().Syntax() {
	case protoreflect.Proto3:
		return true
	case protoreflect.Proto2:
		return false
	}
	feature := (&descriptorpb.FeatureSet{}).ProtoReflect().Descriptor().Fields().ByName("utf8_validation")
	v, err := protoutil.ResolveFeature(fd, feature)
	return err != nil || v.Enum() != protoreflect.EnumNumber(descriptorpb.FeatureSet_NONE)
}
