package load

import (
	"bytes"
)

// parseHead reads a status line and header fields from b[from:to], which ends with the empty line's CRLF, into r. What it
// accepts is RFC 9112 without its leniency: lines end with CRLF, and nothing is folded.
func (r *Response) parseHead(b []byte, from, to int) *Fault {
	r.buf, r.fields = b, r.fields[:0]
	r.length, r.chunked, r.gzipped, r.hangUp, r.keep = -1, false, false, false, false
	line := bytes.IndexByte(b[from:to], '\r') + from
	if f := r.parseStatus(b[from:line]); f != nil {
		return f
	}
	for pos := line; ; {
		if b[pos+1] != '\n' {
			return Faultf(Protocol, "line ends without CRLF", "%.40q", b[pos:to])
		}
		pos += 2
		if pos == to-2 {
			break
		}
		end := bytes.IndexByte(b[pos:to], '\r') + pos
		if f := r.parseField(b, pos, end); f != nil {
			return f
		}
		pos = end
	}
	// Once for all lines rather than in each: as many line feeds as lines, and no zero byte.
	if head := b[from:to]; bytes.Count(head, []byte{'\n'}) != len(r.fields)+2 || bytes.IndexByte(head, 0) >= 0 {
		return strayByte(head)
	}
	return r.framing()
}

// strayByte names the fault of a head that has a line feed or a zero byte inside a line.
func strayByte(head []byte) *Fault {
	for _, line := range bytes.Split(head[bytes.IndexByte(head, '\r')+2:], []byte("\r\n")) {
		if bytes.ContainsAny(line, "\n\x00") {
			return Faultf(Protocol, "malformed header field", "%.60q", line)
		}
	}
	return Faultf(Protocol, "malformed status line", "%.60q", head)
}

// parseStatus reads "HTTP/1.1 200 OK".
func (r *Response) parseStatus(line []byte) *Fault {
	bad := func() *Fault { return Faultf(Protocol, "malformed status line", "%.60q", line) }
	if len(line) < 12 || string(line[:7]) != "HTTP/1." || line[8] != ' ' || len(line) > 12 && line[12] != ' ' {
		return bad()
	}
	if line[7] != '0' && line[7] != '1' {
		return bad()
	}
	r.minor = int(line[7] - '0')
	r.Status = 0
	for _, c := range line[9:12] {
		if c < '0' || c > '9' {
			return bad()
		}
		r.Status = r.Status*10 + int(c-'0')
	}
	if r.Status < 100 || r.Status > 599 {
		return bad()
	}
	return nil
}

// parseField reads "Name: value" at b[pos:end].
func (r *Response) parseField(b []byte, pos, end int) *Fault {
	line := b[pos:end]
	colon := tokenLength(line)
	if colon == 0 || colon == len(line) || line[colon] != ':' {
		return Faultf(Protocol, "malformed header field", "%.60q", line)
	}
	if len(r.fields) == maxFields {
		return Faultf(Protocol, "too many header fields", "more than %d", maxFields)
	}
	f := field{pos, pos + colon, pos + colon + 1, end}
	for f.value < f.valueEnd && isSpace(b[f.value]) {
		f.value++
	}
	for f.valueEnd > f.value && isSpace(b[f.valueEnd-1]) {
		f.valueEnd--
	}
	r.fields = append(r.fields, f)
	return r.note(b[f.name:f.nameEnd], b[f.value:f.valueEnd])
}

// note takes from a field what decides where the answer ends and what it is encoded with.
func (r *Response) note(name, value []byte) *Fault {
	switch len(name) {
	case len("Connection"):
		if equalFold(name, "Connection") {
			r.hangUp = r.hangUp || hasToken(value, "close")
			r.keep = r.keep || hasToken(value, "keep-alive")
		}
	case len("Content-Length"):
		if equalFold(name, "Content-Length") {
			return r.noteLength(value)
		}
	case len("Content-Encoding"):
		if equalFold(name, "Content-Encoding") && !equalFold(value, "identity") {
			if r.gzipped || !equalFold(value, "gzip") {
				return Faultf(Protocol, "content encoding not asked for", "%.40q", value)
			}
			r.gzipped = true
		}
	case len("Transfer-Encoding"):
		if equalFold(name, "Transfer-Encoding") {
			if r.chunked || !equalFold(value, "chunked") {
				return Faultf(Protocol, "transfer encoding other than chunked", "%.40q", value)
			}
			r.chunked = true
		}
	}
	return nil
}

func (r *Response) noteLength(value []byte) *Fault {
	n := 0
	for _, c := range value {
		if c < '0' || c > '9' || n > 1<<50 {
			return Faultf(Protocol, "malformed Content-Length", "%.40q", value)
		}
		n = n*10 + int(c-'0')
	}
	if len(value) == 0 {
		return Faultf(Protocol, "malformed Content-Length", "empty")
	}
	if r.length >= 0 && r.length != n {
		return Faultf(Protocol, "two different Content-Lengths", "%d and %d", r.length, n)
	}
	r.length = n
	return nil
}

func (r *Response) framing() *Fault {
	if r.chunked && r.length >= 0 {
		return Faultf(Protocol, "both Content-Length and chunked", "")
	}
	if r.chunked && r.minor == 0 {
		return Faultf(Protocol, "chunked answer with HTTP/1.0", "")
	}
	return nil
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' }

// tokenChars are the characters of a token, as in RFC 9110, 5.6.2.
var tokenChars = func() (t [256]bool) {
	for c := byte('!'); c < 0x7f; c++ {
		t[c] = bytes.IndexByte([]byte(`"(),/:;<=>?@[\]{}`), c) < 0
	}
	return t
}()

func tokenLength(b []byte) int {
	for i, c := range b {
		if !tokenChars[c] {
			return i
		}
	}
	return len(b)
}

// hasToken reports whether a comma-separated list has a token.
func hasToken(list []byte, token string) bool {
	for len(list) > 0 {
		item := list
		if i := bytes.IndexByte(list, ','); i >= 0 {
			item, list = list[:i], list[i+1:]
		} else {
			list = nil
		}
		if equalFold(bytes.TrimSpace(item), token) {
			return true
		}
	}
	return false
}
