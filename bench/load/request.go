package load

import (
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// encode writes a request into the client's buffer, ready to be sent with one write.
func (c *Client) encode(req *Request) *Fault {
	if req.Origin == nil {
		return Faultf(Connect, "request without an origin", "%s", req.Target)
	}
	if !strings.HasPrefix(req.Target, "/") || strings.ContainsAny(req.Target, " \r\n") {
		return Faultf(Connect, "request target is not a path", "%.80q", req.Target)
	}
	method := req.Method
	if method == "" {
		method = "GET"
	}
	b := append(c.out[:0], method...)
	b = append(b, ' ')
	b = append(b, req.Target...)
	b = append(b, " HTTP/1.1\r\n"...)
	b = appendField(b, "Host", req.Origin.host)
	b = appendField(b, "User-Agent", c.agent)
	b = c.jar.append(b, req.Origin, req.Target)
	if req.Conditional {
		b = c.cache.append(b, req.Origin, req.Target)
	}
	if req.Gzip {
		b = appendField(b, "Accept-Encoding", "gzip")
	}
	if req.ContentType != "" {
		b = appendField(b, "Content-Type", req.ContentType)
	}
	if len(req.Body) > 0 || method == "POST" || method == "PUT" || method == "PATCH" {
		b = append(b, "Content-Length: "...)
		b = strconv.AppendInt(b, int64(len(req.Body)), 10)
		b = append(b, "\r\n"...)
	}
	for i := range req.Header {
		h := &req.Header[i]
		if strings.ContainsAny(h.Name, "\r\n: ") || strings.ContainsAny(h.Value, "\r\n") {
			return Faultf(Connect, "request header is malformed", "%.80q", h.Name)
		}
		b = appendField(b, h.Name, h.Value)
	}
	b = append(b, "\r\n"...)
	c.out = append(b, req.Body...)
	return nil
}

func appendField(b []byte, name, value string) []byte {
	b = append(b, name...)
	b = append(b, ": "...)
	b = append(b, value...)
	return append(b, "\r\n"...)
}

// Origin is where a server listens: scheme, host and port. It is made by ParseOrigin and never changes.
type Origin struct {
	https bool
	// host is the Host header; name is its host part, in lower case, without brackets; addr is what is dialled.
	host, name, addr string
	loopback         bool
}

// ParseOrigin reads an origin such as "http://127.0.0.1:8080". A path other than "/", a query or user information is an error.
func ParseOrigin(s string) (*Origin, error) {
	u, err := url.Parse(s)
	if err != nil {
		return nil, fmt.Errorf("parse origin: %w", err)
	}
	switch {
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, fmt.Errorf("parse origin %q: scheme is %q, want http or https", s, u.Scheme)
	case u.Hostname() == "":
		return nil, fmt.Errorf("parse origin %q: no host", s)
	case u.Path != "" && u.Path != "/", u.RawQuery != "", u.Fragment != "", u.User != nil:
		return nil, fmt.Errorf("parse origin %q: more than scheme, host and port", s)
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	o := &Origin{https: u.Scheme == "https", host: u.Host, name: strings.ToLower(u.Hostname())}
	o.addr = net.JoinHostPort(o.name, port)
	ip := net.ParseIP(o.name)
	o.loopback = o.name == "localhost" || ip != nil && ip.IsLoopback()
	return o, nil
}

// String returns the origin as a URL without a path.
func (o *Origin) String() string {
	if o.https {
		return "https://" + o.host
	}
	return "http://" + o.host
}

func (o *Origin) same(p *Origin) bool {
	return o == p || o.https == p.https && o.addr == p.addr && o.host == p.host
}

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
	// Intended is the scheduled time of the request, Sent when it was sent, Done when the answer was complete.
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

type field struct{ name, nameEnd, value, valueEnd int }

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
