package load

import (
	"time"
)

// Response is a whole answer. It belongs to its client and is valid until the client's next Do.
type Response struct {
	// Status is the answer's status; a 304 that the browser's cache answered has the status of what was kept.
	Status int
	// Body is the body, decoded from chunks and from gzip.
	Body []byte
	// NotModified is true when the server answered 304 and Body comes from the browser's cache.
	NotModified bool
	// ReceivedBytes is the size of the answer on the wire, heads and chunk sizes included, without TLS.
	ReceivedBytes int
	// Intended is when the request was meant to go, Sent when it went, Done when the answer was whole.
	Intended, Sent, Done time.Time

	buf     []byte // what the fields' offsets refer to
	fields  []field
	kept    string // the content type of an answer from the cache
	minor   int    // of HTTP/1.minor
	length  int    // Content-Length, -1 if absent
	chunked bool
	gzipped bool
	hangUp  bool
	keep    bool
}

// field is one header field: offsets into Response.buf.
type field struct{ name, nameEnd, value, valueEnd int }

// maxFields limits the fields of one head.
const maxFields = 200

func (r *Response) reset() {
	*r = Response{fields: r.fields[:0]}
}

// Header returns the first field of a name, in any case of letters, or "".
func (r *Response) Header(name string) string { return string(r.HeaderBytes(name)) }

// HeaderBytes is Header without a copy: valid until the client's next Do.
func (r *Response) HeaderBytes(name string) []byte {
	for i := range r.fields {
		f := &r.fields[i]
		if equalFold(r.buf[f.name:f.nameEnd], name) {
			return r.buf[f.value:f.valueEnd]
		}
	}
	if r.NotModified && equalFold([]byte(name), "Content-Type") {
		return []byte(r.kept)
	}
	return nil
}

// equalFold compares ASCII without regard to case.
func equalFold(b []byte, s string) bool {
	if len(b) != len(s) {
		return false
	}
	if string(b) == s {
		return true
	}
	for i := range b {
		if lower(b[i]) != lower(s[i]) {
			return false
		}
	}
	return true
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		c += 'a' - 'A'
	}
	return c
}
