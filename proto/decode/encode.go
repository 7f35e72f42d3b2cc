package decode

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"isukit/input"
)

// jsonLimits bound what a message in JSON costs in memory, as DefaultLimits does for its bytes.
var jsonLimits = input.JSONLimits{Depth: DefaultLimits().Depth, Objects: DefaultLimits().Fields, Values: 3 * DefaultLimits().Fields}

// Encode makes a message of type md from text in text or JSON format ("{"). Errors have the parser's line and column.
func Encode(md protoreflect.MessageDescriptor, text []byte, schema *Schema) (protoreflect.Message, error) {
	m := messageType(md).New()
	var err error
	if bytes.HasPrefix(bytes.TrimSpace(text), []byte("{")) {
		if err = input.CheckJSON(text, jsonLimits); err == nil {
			err = fieldSetter{schema}.json(m, text)
		}
	} else {
		err = encodeText(m, string(text), schema)
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
	data, err := proto.MarshalOptions{Deterministic: true, AllowPartial: true}.Marshal(m.Interface())
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", m.Descriptor().FullName(), plainError(err))
	}
	return data, nil
}

// EncodeFields makes a message of type md from arguments of the form path=value: "name=Ana", "team.tags=go" (a repeated field takes one
// more element each time), "teams[0].name=Ana" for an element of a list of messages, "labels[key]=value" for maps, "detail[pkg.Type].name=x"
// for what is in an Any. A message as a whole is given in JSON, or as people write it: at=2026-11-30T12:00:00Z, wait=1.5s. Strings are
// taken as they are; bytes in base64. schema resolves the types in an Any.
func EncodeFields(md protoreflect.MessageDescriptor, args []string, schema *Schema) (protoreflect.Message, error) {
	m := messageType(md).New()
	e := fieldSetter{schema: schema}
	for _, arg := range args {
		path, value, ok := strings.Cut(arg, "=")
		if !ok {
			return nil, fmt.Errorf("%q has no \"=\": give field=value", arg)
		}
		if err := e.set(m, path, value); err != nil {
			return nil, fmt.Errorf("set %s of %s: %w", path, md.FullName(), err)
		}
	}
	return m, nil
}

type fieldSetter struct{ schema *Schema }

func (e fieldSetter) set(m protoreflect.Message, path, value string) error {
	name, key, rest, keyed := firstStep(path)
	fields := m.Descriptor().Fields()
	fd := fields.ByTextName(name)
	if fd == nil {
		fd = fields.ByJSONName(name)
	}
	switch {
	case fd == nil:
		return fmt.Errorf("%s has no field %q; it has %s", m.Descriptor().FullName(), name, fieldNames(fields))
	case keyed && isAny(fd) && !fd.IsMap() && !fd.IsList():
		return e.inAny(m.Mutable(fd).Message(), key, rest, value)
	case keyed && fd.IsList() && fd.Message() != nil:
		return e.inList(m.Mutable(fd).List(), fd, key, rest, value)
	case keyed != fd.IsMap():
		return fmt.Errorf("%s: a map takes %s[key]=value, a list of messages %s[0].field=value, other fields no key", name, name, name)
	case (rest != "" || strings.Contains(key, "][")) && fd.IsMap() && fd.MapValue().Message() != nil:
		return e.inMap(m, fd, key, rest, value)
	case rest != "" && (fd.Message() == nil || fd.IsMap() || fd.IsList()):
		return fmt.Errorf("%s is not a single message", name)
	case rest != "":
		return e.set(m.Mutable(fd).Message(), rest, value)
	case m.Descriptor().FullName().Parent() == "google.protobuf" && fd.Message() == nil:
		return setPlain(m, fd, value)
	}
	// A value goes through JSON, which knows ranges, enums' names, durations and the rest.
	literal, err := jsonLiteral(fd, value)
	if err != nil {
		return err
	}
	switch {
	case fd.IsMap():
		quoted, _ := json.Marshal(key)
		literal = fmt.Sprintf(`{%s:%s}`, quoted, literal)
	case fd.IsList():
		literal = "[" + literal + "]"
	}
	return e.merge(m, fd, fmt.Sprintf(`{%q:%s}`, fd.JSONName(), literal), value)
}

// setPlain sets a field of a message that JSON writes in a form of its own, such as at.seconds of a Timestamp.
func setPlain(m protoreflect.Message, fd protoreflect.FieldDescriptor, value string) error {
	literal := value
	if kind := fd.Kind(); kind == protoreflect.StringKind || kind == protoreflect.BytesKind {
		literal = Quote(value)
	}
	one := m.New()
	if err := (prototext.UnmarshalOptions{}).Unmarshal([]byte(string(fd.Name())+": "+literal), one.Interface()); err != nil {
		return fmt.Errorf("%q is not a %s: %w%s", value, fieldKind(fd), plainError(err), wanted(fd))
	}
	proto.Merge(m.Interface(), one.Interface())
	return nil
}

// merge reads a JSON object and merges it into m.
func (e fieldSetter) merge(m protoreflect.Message, fd protoreflect.FieldDescriptor, object, value string) error {
	one := m.New()
	if err := e.json(one, []byte(object)); err != nil {
		return fmt.Errorf("%q is not a %s: %w%s", value, fieldKind(fd), plainError(err), wanted(fd))
	}
	proto.Merge(m.Interface(), one.Interface())
	return nil
}

// json reads a message in JSON.
func (e fieldSetter) json(m protoreflect.Message, text []byte) error {
	return protojson.UnmarshalOptions{AllowPartial: true, Resolver: e.schema}.Unmarshal(text, m.Interface())
}

// into sets a message that is part of another: the field that rest names, or all of it, from JSON. With a type it is an Any.
func (e fieldSetter) into(m protoreflect.Message, typ, rest, value string) error {
	switch {
	case typ != "":
		return e.inAny(m, typ, rest, value)
	case rest != "":
		return e.set(m, rest, value)
	}
	if err := e.json(m, []byte(value)); err != nil {
		return fmt.Errorf("%q is not a %s in JSON: %w", value, m.Descriptor().FullName(), plainError(err))
	}
	return nil
}

// inAny sets a field of the message in an Any, which has the given type.
func (e fieldSetter) inAny(holder protoreflect.Message, typ, rest, value string) error {
	md, err := e.schema.Find(typ[strings.LastIndexByte(typ, '/')+1:])
	if err != nil {
		return err
	}
	inner := messageType(md).New()
	url, content := holder.Descriptor().Fields().ByName("type_url"), holder.Descriptor().Fields().ByName("value")
	if err := (proto.UnmarshalOptions{AllowPartial: true}).Unmarshal(holder.Get(content).Bytes(), inner.Interface()); err != nil {
		return plainError(err)
	}
	if err := e.into(inner, "", rest, value); err != nil {
		return err
	}
	data, err := Wire(inner)
	if err != nil {
		return err
	}
	holder.Set(url, protoreflect.ValueOfString("type.googleapis.com/"+string(md.FullName())))
	holder.Set(content, protoreflect.ValueOfBytes(data))
	return nil
}

// inList sets a field of an element, which may be the one behind the last.
func (e fieldSetter) inList(list protoreflect.List, fd protoreflect.FieldDescriptor, key, rest, value string) error {
	key, typ := splitAny(fd, key)
	index, err := strconv.Atoi(key)
	switch {
	case err != nil || index < 0 || index > list.Len():
		return fmt.Errorf("%s has %d elements so far: the index must be 0 to %d, not %q", fd.Name(), list.Len(), list.Len(), key)
	case index == list.Len():
		list.AppendMutable()
	}
	return e.into(list.Get(index).Message(), typ, rest, value)
}

// inMap sets a field of a message in a map.
func (e fieldSetter) inMap(m protoreflect.Message, fd protoreflect.FieldDescriptor, key, rest, value string) error {
	key, typ := splitAny(fd.MapValue(), key)
	literal := key
	if fd.MapKey().Kind() == protoreflect.StringKind {
		literal = Quote(key)
	}
	one := m.New()
	if err := prototext.Unmarshal(fmt.Appendf(nil, "%s { key: %s }", fd.Name(), literal), one.Interface()); err != nil {
		return fmt.Errorf("%q is not a %s: %w", key, fd.MapKey().Kind(), plainError(err))
	}
	var err error
	one.Get(fd).Map().Range(func(k protoreflect.MapKey, _ protoreflect.Value) bool {
		err = e.into(m.Mutable(fd).Map().Mutable(k).Message(), typ, rest, value)
		return false
	})
	return err
}

// splitAny takes the type in an Any from behind the index or key of its element: "0][pkg.Type".
func splitAny(fd protoreflect.FieldDescriptor, key string) (element, typ string) {
	if !isAny(fd) {
		return key, ""
	}
	element, typ, _ = strings.Cut(key, "][")
	return element, typ
}

func isAny(fd protoreflect.FieldDescriptor) bool {
	return fd.Message() != nil && fd.Message().FullName() == "google.protobuf.Any"
}

// wanted is what a refused value should have been, if the library's text does not include it.
func wanted(fd protoreflect.FieldDescriptor) string {
	if fd.IsMap() {
		fd = fd.MapValue()
	}
	switch {
	case fd.Enum() != nil:
		values := fd.Enum().Values()
		var names []string
		for i := range min(values.Len(), 20) {
			names = append(names, string(values.Get(i).Name()))
		}
		return "; its values are " + strings.Join(names, ", ")
	case fd.Kind() == protoreflect.BytesKind:
		return "; bytes are given in base64, for example aGVsbG8="
	case fd.Message() != nil:
		return wantedForms[fd.Message().FullName()]
	}
	return ""
}

var wantedForms = map[protoreflect.FullName]string{
	"google.protobuf.Timestamp": "; the form is 2026-11-30T12:00:00Z",
	"google.protobuf.Duration":  "; the form is 1.5s",
	"google.protobuf.FieldMask": "; the form is name,team.id",
	"google.protobuf.Any":       `; the form is {"@type":"type.googleapis.com/pkg.Type", ...}`,
}

// firstStep takes a path apart behind its first field: "team.tags" is name and rest, "labels[a.b]" name and key.
func firstStep(path string) (name, key, rest string, keyed bool) {
	at := strings.IndexAny(path, ".[")
	if at < 0 {
		return path, "", "", false
	}
	name, rest = path[:at], path[at+1:]
	if path[at] == '.' {
		return name, "", rest, false
	}
	end := strings.Index(rest, "].")
	if strings.HasSuffix(rest, "]") {
		end = len(rest) - 1 // a key may have such characters itself
	}
	if end < 0 {
		return name, rest, "", true
	}
	return name, rest[:end], strings.TrimPrefix(rest[end+1:], "."), true
}

// camelCase is what JSON writes as one large letter in the path of a field mask.
var camelCase = regexp.MustCompile(`_[a-z]`)

// jsonLiteral is value as a JSON value for a field of that kind.
func jsonLiteral(fd protoreflect.FieldDescriptor, value string) (string, error) {
	if fd.IsMap() {
		fd = fd.MapValue()
	}
	if md := fd.Message(); md != nil && md.FullName().Parent() == "google.protobuf" && md.Fields().Len() == 1 && md.Fields().ByName("value") != nil {
		fd = md.Fields().Get(0) // a wrapper is written as what it holds
	}
	switch fd.Kind() {
	case protoreflect.MessageKind, protoreflect.GroupKind:
		if fd.Message().FullName() == "google.protobuf.FieldMask" {
			value = camelCase.ReplaceAllStringFunc(value, func(s string) string { return strings.ToUpper(s[1:]) })
		} else if json.Valid([]byte(value)) {
			return value, nil
		}
	case protoreflect.FloatKind, protoreflect.DoubleKind:
		if f, err := strconv.ParseFloat(value, 64); err == nil && (math.IsInf(f, 0) || math.IsNaN(f)) {
			value = map[bool]string{true: "Infinity", false: "-Infinity"}[f > 0]
			if math.IsNaN(f) {
				value = "NaN"
			}
		}
	case protoreflect.BoolKind:
		if _, err := strconv.ParseBool(value); err != nil {
			return "", fmt.Errorf("%q is not a bool: give true or false", value)
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
