package decode

import (
	"fmt"
	"strconv"
	"strings"

	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// encodeText reads protobuf's text format, and in it fields by number, as Text prints unknown ones: the library reads none. Text without
// any goes to the library as a whole, so that its errors name line and column.
func encodeText(m protoreflect.Message, input string, schema *Schema) error {
	options := prototext.UnmarshalOptions{AllowPartial: true, Resolver: schema}
	left := maxTextFields
	entries, rest, err := scanMessage(input, 0, &left)
	if left < 0 {
		return errTooManyFields
	}
	if err != nil || rest != "" || !anyNumbered(entries) {
		return options.Unmarshal([]byte(input), m.Interface())
	}
	return mergeEntries(m, entries, options)
}

// textEntry is one field in text: its name as written and either a scalar's text or a message's entries.
type textEntry struct {
	name     string
	scalar   string
	entries  []textEntry
	nested   bool
	group    bool // a nested one whose brace a comment marks as a group's
	numbered bool
}

func anyNumbered(entries []textEntry) bool {
	for _, e := range entries {
		if e.numbered || anyNumbered(e.entries) {
			return true
		}
	}
	return false
}

// mergeEntries sets fields one by one: numbered ones as unknown bytes, messages recursively, others by the library.
func mergeEntries(m protoreflect.Message, entries []textEntry, options prototext.UnmarshalOptions) error {
	for _, e := range entries {
		switch fd := fieldOf(m, e.name, options); {
		case e.numbered:
			raw, err := appendNumbered(m.GetUnknown(), e)
			if err != nil {
				return err
			}
			m.SetUnknown(raw)
		case e.nested && fd != nil && fd.IsMap() && anyNumbered(e.entries):
			if err := mergeMapEntry(m, fd, e, options); err != nil {
				return err
			}
		case e.nested && fd != nil && anyNumbered(e.entries):
			if err := mergeEntries(nestedOf(m, fd), e.entries, options); err != nil {
				return err
			}
		default:
			one := m.New()
			if err := options.Unmarshal([]byte(e.text()), one.Interface()); err != nil {
				return err
			}
			proto.Merge(m.Interface(), one.Interface())
		}
	}
	return nil
}

// mergeMapEntry sets an entry whose value has numbered fields: the library reads the key.
func mergeMapEntry(m protoreflect.Message, fd protoreflect.FieldDescriptor, e textEntry, options prototext.UnmarshalOptions) error {
	one, key := m.New(), textEntry{name: e.name, nested: true}
	value := one.Mutable(fd).Map().NewValue()
	for _, part := range e.entries {
		switch {
		case part.name == "key":
			key.entries = append(key.entries, part)
		case part.name != "value" || fd.MapValue().Message() == nil:
			return fmt.Errorf("%s is not of a map's entry", part.name)
		default:
			if err := mergeEntries(value.Message(), part.entries, options); err != nil {
				return err
			}
		}
	}
	one = m.New()
	if err := options.Unmarshal([]byte(key.text()), one.Interface()); err != nil {
		return err
	}
	one.Get(fd).Map().Range(func(k protoreflect.MapKey, _ protoreflect.Value) bool {
		m.Mutable(fd).Map().Set(k, value)
		return false
	})
	return nil
}

// nestedOf is the message that a field's entry goes into: a further element of a list, or the field itself.
func nestedOf(m protoreflect.Message, fd protoreflect.FieldDescriptor) protoreflect.Message {
	if fd.IsList() {
		return m.Mutable(fd).List().AppendMutable().Message()
	}
	return m.Mutable(fd).Message()
}

// fieldOf finds a message field by its name in text; nil where there is none.
func fieldOf(m protoreflect.Message, name string, options prototext.UnmarshalOptions) protoreflect.FieldDescriptor {
	fd := m.Descriptor().Fields().ByTextName(name)
	if fd == nil && strings.HasPrefix(name, "[") {
		if xt, err := options.Resolver.FindExtensionByName(protoreflect.FullName(strings.Trim(name, "[]"))); err == nil {
			fd = xt.TypeDescriptor()
		}
	}
	if fd == nil || fd.Message() == nil {
		return nil
	}
	return fd
}

// text is an entry as the library reads it.
func (e textEntry) text() string {
	if !e.nested {
		return e.name + ": " + e.scalar
	}
	var b strings.Builder
	b.WriteString(e.name + " {\n")
	for _, inner := range e.entries {
		b.WriteString(inner.text() + "\n")
	}
	return b.String() + "}"
}

// appendNumbered appends a field that is given by number: 12: 5 is a varint, 0x and 8 digits four bytes, 0x and 16 digits eight.
func appendNumbered(out []byte, e textEntry) ([]byte, error) {
	n, err := strconv.ParseInt(e.name, 10, 32)
	number := protowire.Number(n)
	if err != nil || !number.IsValid() {
		return nil, fmt.Errorf("%s is not a field number", e.name)
	}
	var inner []byte
	for _, i := range e.entries {
		if inner, err = appendNumbered(inner, i); err != nil {
			return nil, err
		}
	}
	switch {
	case e.group:
		out = append(protowire.AppendTag(out, number, protowire.StartGroupType), inner...)
		return protowire.AppendTag(out, number, protowire.EndGroupType), nil
	case e.nested:
		return protowire.AppendBytes(protowire.AppendTag(out, number, protowire.BytesType), inner), nil
	case strings.HasPrefix(e.scalar, `"`) || strings.HasPrefix(e.scalar, "'"):
		content, err := unquoteText(e.scalar)
		if err != nil {
			return nil, fmt.Errorf("field %s: %w", e.name, err)
		}
		return protowire.AppendBytes(protowire.AppendTag(out, number, protowire.BytesType), content), nil
	}
	v, err := strconv.ParseUint(e.scalar, 0, 64)
	switch {
	case err != nil:
		return nil, fmt.Errorf("field %s: %q is not a number, a string or a message", e.name, e.scalar)
	case strings.HasPrefix(e.scalar, "0x") && len(e.scalar) == 10:
		return protowire.AppendFixed32(protowire.AppendTag(out, number, protowire.Fixed32Type), uint32(v)), nil
	case strings.HasPrefix(e.scalar, "0x") && len(e.scalar) == 18:
		return protowire.AppendFixed64(protowire.AppendTag(out, number, protowire.Fixed64Type), v), nil
	}
	return protowire.AppendVarint(protowire.AppendTag(out, number, protowire.VarintType), v), nil
}

// unquoteText reads string literals with the library, as the value of a bytes field.
func unquoteText(literal string) ([]byte, error) {
	holder := (&wrapperspb.BytesValue{}).ProtoReflect()
	if err := (prototext.UnmarshalOptions{}).Unmarshal([]byte("value: "+literal), holder.Interface()); err != nil {
		return nil, plainError(err)
	}
	return holder.Get(holder.Descriptor().Fields().ByName("value")).Bytes(), nil
}

// errTooManyFields says that a text would become far more than its size in memory.
var errTooManyFields = fmt.Errorf("it has more than %d fields and elements of lists", maxTextFields)

// maxTextFields is a quarter of a body's limit: the text is held twice in addition to the message.
var maxTextFields = DefaultLimits().Fields / 4

// scanMessage splits text into its entries, up to a closing brace or the end, before rest. left limits the entries.
func scanMessage(s string, depth int, left *int) (entries []textEntry, rest string, err error) {
	if depth > DefaultLimits().Depth {
		return nil, "", fmt.Errorf("messages are nested deeper than the limit of %d", DefaultLimits().Depth)
	}
	for {
		s, _ = skipSpace(s)
		switch {
		case s == "" && depth == 0:
			return entries, "", nil
		case s == "":
			return nil, "", fmt.Errorf("a brace is not closed")
		case s[0] == '}' || s[0] == '>':
			if depth == 0 {
				return nil, "", fmt.Errorf("a brace closes that none opened")
			}
			return entries, s[1:], nil
		case s[0] == ',' || s[0] == ';':
			s = s[1:]
			continue
		}
		var e textEntry
		if e, s, err = scanEntry(s, depth, left); err != nil {
			return nil, "", err
		}
		entries = append(entries, e)
	}
}

func scanEntry(s string, depth int, left *int) (e textEntry, rest string, err error) {
	n := strings.IndexAny(s, ":{<")
	if strings.HasPrefix(s, "[") {
		if n = strings.IndexByte(s, ']') + 1; n == 0 {
			return e, "", fmt.Errorf("a bracket is not closed")
		}
	}
	if n <= 0 {
		return e, "", fmt.Errorf("a field has no value")
	}
	if *left--; *left < 0 {
		return e, "", errTooManyFields
	}
	if e.name = strings.TrimSpace(s[:n]); e.name == "" {
		return e, "", fmt.Errorf("a field has no name")
	}
	e.numbered = e.name[0] >= '0' && e.name[0] <= '9'
	s, _ = skipSpace(s[n:])
	if strings.HasPrefix(s, ":") {
		s, _ = skipSpace(s[1:])
	}
	if strings.HasPrefix(s, "{") || strings.HasPrefix(s, "<") {
		var comment string
		s, comment = skipSpace(s[1:])
		e.nested, e.group = true, comment == groupComment
		e.entries, rest, err = scanMessage(s, depth+1, left)
		return e, rest, err
	}
	e.scalar, rest, err = scanScalar(s)
	if strings.HasPrefix(e.scalar, "[") {
		*left -= strings.Count(e.scalar, ",")
	}
	return e, rest, err
}

// scanScalar takes a value: string literals (several make one), a list as it is, or a word.
func scanScalar(s string) (value, rest string, err error) {
	start := s
	switch {
	case s == "":
		return "", "", fmt.Errorf("a field has no value")
	case s[0] == '[':
		n := listEnd(s)
		if n < 0 {
			return "", "", fmt.Errorf("a list is not closed")
		}
		return s[:n], s[n:], nil
	case s[0] != '"' && s[0] != '\'':
		n := strings.IndexAny(s, textSpace+",;}>#")
		if n < 0 {
			n = len(s)
		}
		if s[0] == '-' { // "- 5" is one value
			trimmed, _ := skipSpace(s[1:])
			n = len(s) - len(trimmed)
			if end := strings.IndexAny(trimmed, textSpace+",;}>#"); end >= 0 {
				n += end
			} else {
				n = len(s)
			}
		}
		return s[:n], s[n:], nil
	}
	for s != "" && (s[0] == '"' || s[0] == '\'') {
		n := stringEnd(s)
		if n < 0 {
			return "", "", fmt.Errorf("a string is not closed")
		}
		value, s = strings.TrimRight(start[:len(start)-len(s)+n], " "), s[n:]
		rest = s
		s, _ = skipSpace(s)
	}
	return value, rest, nil
}

// stringEnd is the position behind the string literal at the start of s, or -1.
func stringEnd(s string) int {
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case s[0]:
			return i + 1
		}
	}
	return -1
}

// listEnd is the position behind the list at the start of s, or -1.
func listEnd(s string) int {
	depth := 0
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '"', '\'':
			n := stringEnd(s[i:])
			if n < 0 {
				return -1
			}
			i += n - 1
		case '[':
			depth++
		case ']':
			if depth--; depth == 0 {
				return i + 1
			}
		}
	}
	return -1
}

// groupComment marks a numbered field's brace as a group's, which are not told from other messages in text.
const groupComment = "a group"

// textSpace is what the text format takes for white space (Text Format Language Specification, "Whitespace and Comments").
const textSpace = " \t\r\n\v\f"

// skipSpace skips white space and comments, and returns the first comment's text.
func skipSpace(s string) (rest, comment string) {
	for {
		s = strings.TrimLeft(s, textSpace)
		if !strings.HasPrefix(s, "#") {
			return s, comment
		}
		line, after, _ := strings.Cut(s[1:], "\n")
		if comment == "" {
			comment = strings.TrimSpace(line)
		}
		s = after
	}
}
