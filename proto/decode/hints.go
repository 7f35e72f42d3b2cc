package decode

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
)

// Hint is what bytes look like that were taken for a protobuf body, and what to do.
type Hint struct {
	// Kind is a stable word: gzip, zlib, zstd, chunked, delimited, hexdump, hex, base64, grpc, http, http2, html, json, text, latin1, tls.
	Kind string `json:"kind"`
	// Text is one sentence for a person.
	Text string `json:"text"`
	// Inner is what is found when the covering is taken off, such as the unpacked bytes; nil where there is none.
	Inner []byte `json:"-"`
}

const maxInnerBytes = 64 << 20

// Hints looks for coverings and other formats, in bodies that did not decode, or that fit badly: short messages can look like anything.
func Hints(data []byte) []Hint {
	for _, look := range []func([]byte) *Hint{
		compressedHint, httpHint, chunkedHint, markupHint, grpcHint, delimitedHint, tlsHint, hexdumpHint, hexHint, base64Hint, latin1Hint, textHint,
	} {
		if hint := look(data); hint != nil {
			return []Hint{*hint}
		}
	}
	return nil
}

func compressedHint(data []byte) *Hint {
	switch {
	case bytes.HasPrefix(data, []byte{0x1f, 0x8b, 8}):
		hint := &Hint{Kind: "gzip", Text: "these bytes are gzip: the body was compressed (Content-Encoding: gzip)"}
		if r, err := gzip.NewReader(bytes.NewReader(data)); err == nil {
			inner, err := io.ReadAll(io.LimitReader(r, maxInnerBytes))
			if err == nil {
				hint.Inner = inner
			}
		}
		return hint
	case bytes.HasPrefix(data, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		return &Hint{Kind: "zstd", Text: "these bytes are zstd: the body was compressed (Content-Encoding: zstd)"}
	case len(data) > 6 && data[0]&0x0f == 8 && data[0]>>4 <= 7 && binary.BigEndian.Uint16(data)%31 == 0: // RFC 1950, 2.2
		if r, err := zlib.NewReader(bytes.NewReader(data)); err == nil {
			if inner, err := io.ReadAll(io.LimitReader(r, maxInnerBytes)); err == nil {
				return &Hint{Kind: "zlib", Inner: inner, Text: "these bytes are zlib: the body was compressed (Content-Encoding: deflate)"}
			}
		}
	}
	return nil
}

func httpHint(data []byte) *Hint {
	if bytes.HasPrefix(data, []byte("PRI * HTTP/2.0")) {
		return &Hint{Kind: "http2", Text: "these bytes are an HTTP/2 connection, which isukit does not read"}
	}
	line, _, _ := bytes.Cut(data, []byte("\n"))
	line = bytes.TrimSuffix(line, []byte("\r"))
	if !bytes.HasPrefix(line, []byte("HTTP/1.")) && !bytes.HasSuffix(line, []byte(" HTTP/1.1")) && !bytes.HasSuffix(line, []byte(" HTTP/1.0")) {
		return nil
	}
	hint := &Hint{Kind: "http", Text: "these bytes start with an HTTP head: the body comes after the first empty line"}
	for _, gap := range []string{"\r\n\r\n", "\n\n"} {
		if _, body, ok := bytes.Cut(data, []byte(gap)); ok {
			hint.Inner = body
			break
		}
	}
	return hint
}

func markupHint(data []byte) *Hint {
	start := strings.ToLower(string(bytes.TrimSpace(data[:min(len(data), 256)])))
	switch {
	case strings.HasPrefix(start, "<!doctype html") || strings.HasPrefix(start, "<html"):
		title := ""
		if _, rest, ok := strings.Cut(string(data[:min(len(data), 4096)]), "<title>"); ok {
			if text, _, ok := strings.Cut(rest, "</title>"); ok {
				title = " with the title " + Quote(strings.TrimSpace(text))
			}
		}
		return &Hint{Kind: "html", Text: "this is an HTML page" + title + ", perhaps an error page of a proxy"}
	case strings.HasPrefix(start, "<?xml"):
		return &Hint{Kind: "html", Text: "this is XML, no protobuf"}
	case (strings.HasPrefix(start, "{\"") || strings.HasPrefix(start, "[{") || start == "{}") && utf8.Valid(data):
		return &Hint{Kind: "json", Text: "this is JSON, no protobuf"}
	}
	return nil
}

func grpcHint(data []byte) *Hint {
	if len(data) < 5 || data[0] > 1 {
		return nil
	}
	length := binary.BigEndian.Uint32(data[1:5])
	if uint64(length) > uint64(len(data)-5) || length == 0 && len(data) > 5 {
		return nil
	}
	inner := data[5 : 5+length]
	hint := &Hint{Kind: "grpc", Inner: inner, Text: fmt.Sprintf("these bytes are a gRPC frame: 5 bytes, then a message of %d bytes", length)}
	if data[0] == 1 {
		hint.Text += ", compressed"
		if gz := compressedHint(inner); gz != nil {
			hint.Inner = gz.Inner
		}
	}
	return hint
}

func tlsHint(data []byte) *Hint {
	if len(data) < 5 || data[0] < 20 || data[0] > 23 || data[1] != 3 || data[2] > 4 {
		return nil
	}
	if length := int(binary.BigEndian.Uint16(data[3:5])); length == 0 || length > 1<<14+256 {
		return nil
	}
	return &Hint{Kind: "tls", Text: "these bytes look like TLS records: read the capture with --keylog FILE"}
}

// chunkedHint looks for HTTP/1.1's chunks that were left in the body (RFC 9112, 7.1), perhaps with trailers, or cut off.
func chunkedHint(data []byte) *Hint {
	const text = "the framing of chunks was left in the body (Transfer-Encoding: chunked)"
	var inner []byte
	for rest := data; ; {
		line, after, ok := bytes.Cut(rest, []byte("\r\n"))
		size, _, _ := bytes.Cut(line, []byte(";"))
		n, err := strconv.ParseUint(string(size), 16, 32)
		switch {
		case !ok && len(inner) > 0 && len(rest) <= 10:
			return &Hint{Kind: "chunked", Inner: inner, Text: text + ", and it is cut off"}
		case !ok || err != nil || len(size) > 8:
			return nil
		case n == 0 && bytes.HasSuffix(rest, []byte("\r\n\r\n")):
			return &Hint{Kind: "chunked", Inner: inner, Text: text}
		case n+2 > uint64(len(after)) && len(after) > 0:
			return &Hint{Kind: "chunked", Inner: append(inner, after[:min(n, uint64(len(after)))]...), Text: text + ", and it is cut off"}
		case n+2 > uint64(len(after)) || !bytes.HasPrefix(after[n:], []byte("\r\n")):
			return nil
		}
		inner, rest = append(inner, after[:n]...), after[n+2:]
	}
}

// delimitedHint looks for messages with their lengths before them, as writeDelimitedTo and its like write them.
func delimitedHint(data []byte) *Hint {
	var first []byte
	count := 0
	for rest := data; len(rest) > 0; count++ {
		content, n := protowire.ConsumeBytes(rest)
		if n < 0 || len(content) > 0 && !isMessage(content) {
			return nil
		}
		if len(first) == 0 {
			first = content
		}
		rest = rest[n:]
	}
	if len(first) == 0 || isMessage(data) {
		return nil
	}
	return &Hint{Kind: "delimited", Inner: first, Text: "these bytes are " + plural(count, "message with its length", "messages, each with its length") + " before it"}
}

// hexdumpLine is a line as xxd, hexdump and od -t x1 print it: an offset, bytes in hexadecimal, and perhaps their text.
var hexdumpLine = regexp.MustCompile(`^[0-9a-fA-F]{6,8}(:?) +((?:[0-9a-fA-F]{2,4} {1,2})*[0-9a-fA-F]{2,4})(?:  .*| *\|.*)?$`)

func hexdumpHint(data []byte) *Hint {
	inner, ok := FromHexdump(data)
	if !ok {
		return nil
	}
	return &Hint{Kind: "hexdump", Inner: inner, Text: "this is the output of xxd or hexdump: decode it with --in hex"}
}

// xxdForms read one group as xxd prints it: by default, with -e, which has the last byte first, and with -b, in bits.
var xxdForms = []func(group string) []byte{
	hexBytes,
	func(group string) []byte {
		b := hexBytes(group)
		slices.Reverse(b)
		return b
	},
	func(group string) []byte {
		b, err := strconv.ParseUint(group, 2, 8)
		if err != nil || len(group) != 8 {
			return nil
		}
		return []byte{byte(b)}
	},
}

// hexBytes is nil for what is not hexadecimal.
func hexBytes(text string) []byte {
	b, err := hex.DecodeString(text)
	if err != nil {
		return nil
	}
	return b
}

// fromXxd reads the output of xxd. The text behind the bytes decides in which form it is.
func fromXxd(text string) (inner []byte, ok bool) {
	for _, form := range xxdForms {
		inner, ok = nil, true
		for line := range strings.Lines(text) {
			part := xxdLine(strings.TrimRight(line, " \r\n"), form)
			inner, ok = append(inner, part...), ok && part != nil
		}
		if ok {
			break
		}
	}
	return inner, ok && len(inner) > 0
}

// xxdLine returns nil for a line that does not end with its bytes as text.
func xxdLine(line string, form func(string) []byte) (bytes []byte) {
	_, rest, _ := strings.Cut(line, ": ")
	shown := ""
	for rest != "" {
		var group string
		group, rest, _ = strings.Cut(strings.TrimLeft(rest, " "), " ")
		part := form(group)
		if len(part) == 0 {
			return nil
		}
		for _, b := range part {
			if b < ' ' || b > '~' {
				b = '.'
			}
			shown += string(rune(b))
		}
		bytes = append(bytes, part...)
		if strings.TrimSpace(rest) == strings.TrimSpace(shown) && strings.HasSuffix(rest, strings.TrimRight(shown, " ")) {
			return bytes
		}
	}
	return nil
}

// FromHexdump reads output of xxd, hexdump -C, od -t x1, and words of hexdump and od -x, low byte first. ok is false for others.
func FromHexdump(data []byte) (inner []byte, ok bool) {
	if len(data) < 10 || len(data) > maxInnerBytes || !utf8.Valid(data[:min(len(data), 8)]) {
		return nil, false
	}
	if inner, ok := fromXxd(string(data)); ok {
		return inner, true
	}
	words := false
	for line := range strings.Lines(string(data)) {
		line = strings.TrimRight(line, " \r\n")
		m := hexdumpLine.FindStringSubmatch(line)
		if m == nil {
			if strings.Trim(line, "0123456789abcdefABCDEF*") != "" {
				return nil, false
			}
			// The last line is only an offset, odd if the last word is half filled; "*" replaces repeated lines, whose bytes are unknown.
			if words && len(inner) > 0 && strings.ContainsRune("13579bdf", rune(line[len(line)-1])) {
				inner = inner[:len(inner)-1]
			}
			continue
		}
		part, err := hex.DecodeString(strings.ReplaceAll(m[2], " ", ""))
		if err != nil || strings.Contains(string(data), "\n*\n") {
			return nil, false
		}
		if words = m[1] == "" && len(part) > 1 && strings.IndexByte(m[2]+" ", ' ') == 4; words {
			for i := 0; i+1 < len(part); i += 2 {
				part[i], part[i+1] = part[i+1], part[i]
			}
		}
		inner = append(inner, part...)
	}
	return inner, len(inner) > 0
}

func stripSpace(data []byte) string {
	return strings.Join(strings.Fields(string(data)), "")
}

func hexHint(data []byte) *Hint {
	if inner, ok := FromHex(data); ok {
		return &Hint{Kind: "hex", Text: "this is hexadecimal text: decode it with --in hex", Inner: inner}
	}
	return nil
}

// FromHex reads hexadecimal text, also of xxd and hexdump; it ignores white space, colons, commas, 0x and \x. ok: it found bytes.
func FromHex(data []byte) (inner []byte, ok bool) {
	if inner, ok := FromHexdump(data); ok {
		return inner, true
	}
	if len(data) < 2 || len(data) > maxInnerBytes || !utf8.Valid(data[:min(len(data), 64)]) {
		return nil, false
	}
	text := strings.NewReplacer(":", "", ",", "", "0x", "", `\x`, "").Replace(stripSpace(data))
	inner, err := hex.DecodeString(text)
	return inner, err == nil && len(inner) > 0
}

func base64Hint(data []byte) *Hint {
	if inner, ok := FromBase64(data); ok && len(data) >= 8 && !likelyWords(data) {
		return &Hint{Kind: "base64", Text: "this is base64 text: decode it with --in base64", Inner: inner}
	}
	return nil
}

// likelyWords: data in base64's alphabet is words, with spaces or in small letters. One in 500 of random 8 letters is.
func likelyWords(data []byte) bool {
	text := strings.TrimSpace(string(data))
	if strings.Contains(text, " ") {
		return true
	}
	return strings.Trim(text[1:], "abcdefghijklmnopqrstuvwxyz") == ""
}

// FromBase64 reads base64 in the standard or the URL alphabet, padded or not; it ignores white space.
func FromBase64(data []byte) (inner []byte, ok bool) {
	if len(data) < 2 || len(data) > maxInnerBytes || !utf8.Valid(data[:min(len(data), 64)]) {
		return nil, false
	}
	text := strings.TrimRight(stripSpace(data), "=")
	encoding := base64.RawStdEncoding
	if strings.ContainsAny(text, "-_") {
		encoding = base64.RawURLEncoding
	}
	inner, err := encoding.DecodeString(text)
	return inner, err == nil && len(inner) > 0
}

// latin1Hint finds bytes after a charset conversion: 0x80 and above became pairs with 0xC2 or 0xC3, or U+FFFD.
func latin1Hint(data []byte) *Hint {
	if !utf8.Valid(data) || len(data) < 4 {
		return nil
	}
	if n := bytes.Count(data, []byte("\ufffd")); n > 0 {
		return &Hint{Kind: "latin1", Text: fmt.Sprintf("bytes were lost: %s stand where others were. The body was read as text, "+
			"not as bytes", plural(n, "U+FFFD character", "U+FFFD characters"))}
	}
	high, pairs := 0, 0
	for _, r := range string(data) {
		if r >= 0x80 {
			high++
			if r <= 0xff {
				pairs++
			}
		}
	}
	if high == 0 || pairs < high || !bytes.ContainsFunc(data, func(r rune) bool { return r < 0x20 || r > 0x7f && r < 0xa0 }) {
		return nil
	}
	inner := make([]byte, 0, len(data))
	for _, r := range string(data) {
		inner = append(inner, byte(r))
	}
	return &Hint{Kind: "latin1", Inner: inner, Text: "every byte from 0x80 up is written as two: the body was read as Latin-1 and written as UTF-8"}
}

func textHint(data []byte) *Hint {
	if len(data) < 8 || !likelyText(data) {
		return nil
	}
	line, _, _ := strings.Cut(string(data[:min(len(data), 60)]), "\n")
	return &Hint{Kind: "text", Text: "this is text, no protobuf: " + Quote(line)}
}
