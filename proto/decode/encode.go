package decode

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Encode makes a message of type md from input in text or JSON format; JSON starts with "{". Errors name the line and
// column that the input's parser gives.
func Encode(md protoreflect.MessageDescriptor, input []byte, schema *Schema) (protoreflect.Message, error) {
	m := messageType(md).New()
	var err error
	if bytes.HasPrefix(bytes.TrimSpace(input), []byte("{")) {
		options := protojson.UnmarshalOptions{}
		if schema != nil {
			options.Resolver = schema
		}
		err = options.Unmarshal(input, m.Interface())
	} else {
		options := prototext.UnmarshalOptions{}
		if schema != nil {
			options.Resolver = schema
		}
		err = options.Unmarshal(input, m.Interface())
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", md.FullName(), plainError(err))
	}
	return m, nil
}

// plainError is a protobuf error without the "proto:" and the changing space that the library puts before its text.
func plainError(err error) error {
	text := strings.TrimLeft(strings.TrimPrefix(err.Error(), "proto:"), " \u00a0")
	return fmt.Errorf("%s", text)
}

// Wire is m's bytes, with map entries in the order of their keys, so that the same message gives the same bytes.
func Wire(m protoreflect.Message) ([]byte, error) {
	data, err := proto.MarshalOptions{Deterministic: true}.Marshal(m.Interface())
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", m.Descriptor().FullName(), plainError(err))
	}
	return data, nil
}

// EncodeFields makes a message of type md from arguments of the form path=value: "name=Ana", "team.tags=go" (a repeated
// field takes one more element each time), "labels[key]=value" for maps. A message as a whole is given in JSON:
// `team={"name":"x"}`. Strings are taken as they are; bytes in base64.
func EncodeFields(md protoreflect.MessageDescriptor, args []string) (protoreflect.Message, error) {
	m := messageType(md).New()
	for _, arg := range args {
		path, value, ok := strings.Cut(arg, "=")
		if !ok {
			return nil, fmt.Errorf("%q has no \"=\": give field=value", arg)
		}
		if err := setField(m, path, value); err != nil {
			return nil, fmt.Errorf("set %s of %s: %w", path, md.FullName(), err)
		}
	}
	return m, nil
}

func setField(m protoreflect.Message, path, value string) error {
	name, key, rest, keyed, nested := firstStep(path)
	fields := m.Descriptor().Fields()
	fd := fields.ByName(protoreflect.Name(name))
	if fd == nil {
		fd = fields.ByJSONName(name)
	}
	switch {
	case fd == nil:
		return fmt.Errorf("%s has no field %q; it has %s", m.Descriptor().FullName(), name, fieldNames(fields))
	case nested && (fd.Message() == nil || fd.IsMap() || fd.IsList()):
		return fmt.Errorf("%s is no single message", name)
	case nested:
		return setField(m.Mutable(fd).Message(), rest, value)
	case keyed != fd.IsMap():
		return fmt.Errorf("%s: a map takes %s[key]=value, other fields no key", name, name)
	}
	// A value goes through JSON, which knows ranges, enums' names, durations and the rest.
	literal, err := jsonLiteral(fd, value)
	if err != nil {
		return err
	}
	object := fmt.Sprintf(`{%q:%s}`, name, literal)
	switch {
	case fd.IsMap():
		quoted, _ := json.Marshal(key)
		object = fmt.Sprintf(`{%q:{%s:%s}}`, name, quoted, literal)
	case fd.IsList():
		object = fmt.Sprintf(`{%q:[%s]}`, name, literal)
	}
	one := m.New()
	partial := protojson.UnmarshalOptions{AllowPartial: true}
	if err := partial.Unmarshal([]byte(object), one.Interface()); err != nil {
		return fmt.Errorf("%q is no %s: %w", value, fieldKind(fd), plainError(err))
	}
	proto.Merge(m.Interface(), one.Interface())
	return nil
}

// firstStep takes a path apart behind its first field: "team.tags" is name and rest, "labels[a.b]" name and key.
func firstStep(path string) (name, key, rest string, keyed, nested bool) {
	at := strings.IndexAny(path, ".[")
	if at < 0 {
		return path, "", "", false, false
	}
	name, rest = path[:at], path[at+1:]
	if path[at] == '.' {
		return name, "", rest, false, true
	}
	end := strings.LastIndexByte(rest, ']')
	if end < 0 {
		return name, rest, "", true, false
	}
	key, rest = rest[:end], rest[end+1:]
	return name, key, rest, true, rest != ""
}

// jsonLiteral is value as a JSON value for a field of that kind.
func jsonLiteral(fd protoreflect.FieldDescriptor, value string) (string, error) {
	if fd.IsMap() {
		fd = fd.MapValue()
	}
	switch fd.Kind() {
	case protoreflect.MessageKind, protoreflect.GroupKind:
		if json.Valid([]byte(value)) {
			return value, nil
		}
	case protoreflect.BoolKind:
		if _, err := strconv.ParseBool(value); err != nil {
			return "", fmt.Errorf("%q is no bool: give true or false", value)
		}
		on, _ := strconv.ParseBool(value)
		return strconv.FormatBool(on), nil
	case protoreflect.EnumKind:
		if _, err := strconv.Atoi(value); err == nil {
			return value, nil
		}
	}
	// Not only strings: protojson takes numbers in quotes too.
	quoted, err := json.Marshal(value)
	return string(quoted), err
}

func fieldKind(fd protoreflect.FieldDescriptor) string {
	if fd.IsMap() {
		fd = fd.MapValue()
	}
	switch {
	case fd.Enum() != nil:
		return string(fd.Enum().FullName())
	case fd.Message() != nil:
		return string(fd.Message().FullName())
	}
	return fd.Kind().String()
}

func fieldNames(fields protoreflect.FieldDescriptors) string {
	if fields.Len() == 0 {
		return "none"
	}
	var names []string
	for i := range fields.Len() {
		names = append(names, string(fields.Get(i).Name()))
	}
	return strings.Join(names, ", ")
}
