package decode

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"

	"isukit/input"
)

const (
	// maxDescriptors is how many messages a descriptor set may have in it, of all kinds; each costs some hundred bytes, however short it is.
	maxDescriptors = 300_000
	// maxNesting is how deep messages of a descriptor set, and braces of a .proto file, may be nested.
	maxNesting = 100
)

// countMessages returns how many messages are in one of that type, or an error when it is nested too deep. What is damaged is left to the parser.
func countMessages(md protoreflect.MessageDescriptor, data []byte, depth int) (n int, err error) {
	if depth > maxNesting {
		return 0, fmt.Errorf("messages are nested more than %d deep", maxNesting)
	}
	for n = 1; len(data) > 0 && n <= maxDescriptors; {
		number, kind, size := protowire.ConsumeTag(data)
		if size < 0 {
			return n, nil
		}
		data = data[size:]
		size = protowire.ConsumeFieldValue(number, kind, data)
		if size < 0 {
			return n, nil
		}
		n++ // a field that repeats costs as well
		if fd := md.Fields().ByNumber(number); kind == protowire.BytesType && fd != nil && fd.Message() != nil {
			inner, _ := protowire.ConsumeBytes(data)
			more, err := countMessages(fd.Message(), inner, depth+1)
			if err != nil {
				return 0, err
			}
			n += more
		}
		data = data[size:]
	}
	if n > maxDescriptors {
		return 0, fmt.Errorf("it has more than %d fields and messages", maxDescriptors)
	}
	return n, nil
}

// openProto opens a .proto file for the parser, which costs a thousand bytes for each part of it, and never ends on deep nesting.
func openProto(path string) (io.ReadCloser, error) {
	text, err := input.Read(path, maxProtoFileBytes)
	if err != nil {
		return nil, err
	}
	if err := checkProto(text); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return io.NopCloser(bytes.NewReader(text)), nil
}

// maxProtoParts is how many marks and words a .proto file may have.
const maxProtoParts = 200_000

func checkProto(text []byte) error {
	depth, parts := 0, 0
	for i := 0; i < len(text); i++ {
		rest := text[i:]
		switch c := text[i]; {
		case bytes.HasPrefix(rest, []byte("//")):
			i += until(rest, "\n")
		case bytes.HasPrefix(rest, []byte("/*")):
			i += 1 + until(rest[2:], "*/") + 2
		case c == '"' || c == '\'':
			parts++
			for i++; i < len(text) && text[i] != c && text[i] != '\n'; i++ {
				if text[i] == '\\' {
					i++
				}
			}
		case c == '{' || c == '[' || c == '(' || c == '<':
			depth++
			parts++
		case c == '}' || c == ']' || c == ')' || c == '>':
			depth--
			parts++
		case c == ' ' || c == '\n' || c == ';' || c == '=' || c == ',' || c == '.':
			parts++
		}
		switch {
		case depth > maxNesting:
			return fmt.Errorf("it is nested more than %d deep", maxNesting)
		case parts > 4*maxProtoParts:
			return errors.New("it has too many parts")
		}
	}
	return nil
}

// until is where end is in text, or its length.
func until(text []byte, end string) int {
	if i := bytes.Index(text, []byte(end)); i >= 0 {
		return i
	}
	return len(text)
}
