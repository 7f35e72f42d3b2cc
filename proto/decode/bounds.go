package decode

import (
	"bytes"
	"fmt"
	"io"
	"sync"

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

// Bounds for the .proto files of a schema. A part of a declaration costs the parser 400 bytes, one of an option five times as much.
const (
	maxProtoBytes = 64 << 20
	maxProtoParts = 400_000
	optionWeight  = 5
)

// ErrTooMuch says that .proto files have more than is read of one schema.
var ErrTooMuch = fmt.Errorf("the .proto files together have more than %d parts or %d bytes", maxProtoParts, maxProtoBytes)

// protoReader opens .proto files while all together are within bounds. It may be used from any goroutine.
type protoReader struct {
	mu           sync.Mutex
	bytes, parts int // so far
	imports      []string
}

func (r *protoReader) open(path string) (io.ReadCloser, error) {
	text, err := input.Read(path, maxProtoFileBytes)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.bytes += len(text)
	if err := r.scan(text); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return io.NopCloser(bytes.NewReader(text)), nil
}

// scan counts the parts of a file and notes what it imports. It finds no faults but those of size.
func (r *protoReader) scan(text []byte) error {
	depth, weight, importing, fresh := 0, 1, false, true // fresh: a statement begins
	for len(text) > 0 {
		n, kind := protoToken(text)
		token := string(text[:min(n, 7)])
		switch {
		case kind == ' ':
			text = text[n:]
			continue
		case kind == '/':
			token = "" // it changes nothing, but costs
		case kind == 'a' && fresh && token == "option", token == "[":
			weight = optionWeight
		case token == ";", token == "]":
			weight = 1
		case kind == '"' && importing:
			r.imports = append(r.imports, string(text[1:max(1, n-1)]))
		}
		switch token {
		case "{", "[", "(", "<":
			depth++
		case "}", "]", ")", ">":
			depth--
		}
		if kind != '/' {
			importing = kind == 'a' && (importing || fresh && token == "import") // import public "x"
			fresh = token == ";" || weight == 1 && (token == "{" || token == "}")
		}
		r.parts += weight
		switch text = text[n:]; {
		case depth > maxNesting:
			return fmt.Errorf("it is nested more than %d deep", maxNesting)
		case r.parts > maxProtoParts || r.bytes > maxProtoBytes:
			return ErrTooMuch
		}
	}
	return nil
}

// protoToken is the length and kind of a first token: ' ' for space, '/' comments, 'a' words and numbers, '"' strings, or the character.
func protoToken(text []byte) (n int, kind byte) {
	word := func(c byte) bool {
		return c == '_' || c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'z' || c >= 0x80
	}
	switch c := text[0]; {
	case bytes.HasPrefix(text, []byte("//")):
		return until(text, "\n"), '/'
	case bytes.HasPrefix(text, []byte("/*")):
		return min(len(text), 4+until(text[2:], "*/")), '/'
	case c == '"' || c == '\'':
		for n = 1; n < len(text) && text[n] != c && text[n] != '\n'; n++ {
			if text[n] == '\\' {
				n++
			}
		}
		return min(len(text), n+1), '"'
	case c <= ' ':
		return 1, ' '
	case word(c):
		for n = 1; n < len(text) && word(text[n]); n++ {
		}
		return n, 'a'
	default:
		return 1, c
	}
}

func until(text []byte, end string) int {
	if i := bytes.Index(text, []byte(end)); i >= 0 {
		return i
	}
	return len(text)
}
