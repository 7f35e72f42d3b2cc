package load

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/klauspost/compress/gzip"
)

// Limits of a cookie jar; a browser has about the same.
const (
	maxCookies     = 50
	maxCookieBytes = 4096
)

// cookieJar keeps cookies by host, ignoring the port, as browsers do.
type cookieJar struct {
	cookies []cookie
}

type cookie struct {
	host, name, value, path string
	secure                  bool
	expires                 time.Time // zero: with the session
}

func (j *cookieJar) update(o *Origin, r *Response) {
	for i := range r.fields {
		f := &r.fields[i]
		if f.nameEnd-f.name == len("Set-Cookie") && equalFold(r.buf[f.name:f.nameEnd], "Set-Cookie") {
			j.set(o, string(r.buf[f.value:f.valueEnd]))
		}
	}
}

// set reads one Set-Cookie value. Cookies that a browser would not take are ignored.
func (j *cookieJar) set(o *Origin, line string) {
	hc, err := http.ParseSetCookie(line)
	if err != nil || len(line) > maxCookieBytes {
		return
	}
	if hc.Secure && !o.https && !o.loopback {
		return
	}
	if d := strings.TrimPrefix(strings.ToLower(hc.Domain), "."); d != "" && d != o.name && !strings.HasSuffix(o.name, "."+d) {
		return
	}
	c := cookie{host: o.name, name: hc.Name, value: hc.Value, path: hc.Path, secure: hc.Secure && !o.loopback, expires: hc.Expires}
	if c.path == "" || c.path[0] != '/' {
		c.path = "/"
	}
	if hc.MaxAge > 0 {
		c.expires = time.Now().Add(time.Duration(hc.MaxAge) * time.Second)
	}
	gone := hc.MaxAge < 0 || !c.expires.IsZero() && !c.expires.After(time.Now())
	j.replace(c, gone)
}

// replace puts a cookie in the place of the one that has its host, name and path, or only removes that one.
func (j *cookieJar) replace(c cookie, gone bool) {
	for i := range j.cookies {
		k := &j.cookies[i]
		if k.host == c.host && k.name == c.name && k.path == c.path {
			if gone {
				j.cookies = append(j.cookies[:i], j.cookies[i+1:]...)
			} else {
				*k = c
			}
			return
		}
	}
	if !gone && len(j.cookies) < maxCookies {
		j.cookies = append(j.cookies, c)
	}
}

func (j *cookieJar) put(o *Origin, name, value string) {
	j.replace(cookie{host: o.name, name: name, value: value, path: "/"}, value == "")
}

func (j *cookieJar) value(name string) string {
	for i := range j.cookies {
		if j.cookies[i].name == name {
			return j.cookies[i].value
		}
	}
	return ""
}

// append writes the Cookie field for a request, if there is anything to send.
func (j *cookieJar) append(b []byte, o *Origin, target string) []byte {
	sep := "Cookie: "
	for i := range j.cookies {
		c := &j.cookies[i]
		if c.host != o.name || c.secure && !o.https || !pathMatches(c.path, target) {
			continue
		}
		if !c.expires.IsZero() && c.expires.Before(time.Now()) {
			continue
		}
		b = append(b, sep...)
		b = append(b, c.name...)
		b = append(b, '=')
		b = append(b, c.value...)
		sep = "; "
	}
	if sep == "; " {
		b = append(b, "\r\n"...)
	}
	return b
}

// pathMatches is RFC 6265, 5.1.4.
func pathMatches(path, target string) bool {
	if path == "/" {
		return true
	}
	if !strings.HasPrefix(target, path) {
		return false
	}
	rest := target[len(path):]
	return rest == "" || path[len(path)-1] == '/' || rest[0] == '/' || rest[0] == '?'
}

// browserCache keeps answers with a validator, for conditional requests. It always asks the server: the scenario decides on freshness.
type browserCache struct {
	bytes   int
	entries []cached // oldest first
}

// cacheBytes limits the bodies that one client keeps.
const cacheBytes = 256 << 10

type cached struct {
	origin       *Origin
	target       string
	etag         string
	lastModified string
	contentType  string
	status       int
	body         []byte
}

func (k *browserCache) find(o *Origin, target string) int {
	for i := range k.entries {
		if k.entries[i].target == target && k.entries[i].origin.same(o) {
			return i
		}
	}
	return -1
}

func (k *browserCache) append(b []byte, o *Origin, target string) []byte {
	i := k.find(o, target)
	if i < 0 {
		return b
	}
	if e := &k.entries[i]; e.etag != "" {
		b = appendField(b, "If-None-Match", e.etag)
	}
	if e := &k.entries[i]; e.lastModified != "" {
		b = appendField(b, "If-Modified-Since", e.lastModified)
	}
	return b
}

// keep stores a 200 answer that has a validator and may be stored.
func (k *browserCache) keep(o *Origin, target string, r *Response) {
	k.remove(k.find(o, target))
	etag, modified := r.Header("ETag"), r.Header("Last-Modified")
	if etag == "" && modified == "" || strings.Contains(strings.ToLower(r.Header("Cache-Control")), "no-store") {
		return
	}
	if len(r.Body) > cacheBytes {
		return
	}
	for k.bytes+len(r.Body) > cacheBytes {
		k.remove(0)
	}
	k.bytes += len(r.Body)
	k.entries = append(k.entries, cached{
		origin: o, target: target, etag: etag, lastModified: modified, contentType: r.Header("Content-Type"),
		status: r.Status, body: bytes.Clone(r.Body),
	})
}

func (k *browserCache) remove(i int) {
	if i >= 0 && i < len(k.entries) {
		k.bytes -= len(k.entries[i].body)
		k.entries = append(k.entries[:i], k.entries[i+1:]...)
	}
}

// finish decompresses the body and lets the cache answer a 304, or keep a 200.
func (c *Client) finish(req *Request, r *Response) *Fault {
	if r.gzipped && len(r.Body) > 0 {
		body, f := c.unzip.inflate(r.Body, c.opts.MaxBodyBytes)
		if f != nil {
			return f
		}
		r.Body = body
	}
	if !req.Conditional {
		return nil
	}
	if r.Status == 200 {
		c.cache.keep(req.Origin, req.Target, r)
		return nil
	}
	if r.Status != 304 {
		return nil
	}
	i := c.cache.find(req.Origin, req.Target)
	if i < 0 {
		return Faultf(Protocol, "304 to a request without a condition", "")
	}
	e := &c.cache.entries[i]
	r.NotModified, r.Status, r.Body, r.kept = true, e.status, e.body, e.contentType
	return nil
}

// inflater decompresses one client's gzip bodies into a buffer of its own.
type inflater struct {
	out []byte
}

// readers are shared by all clients: each holds a window of 32 KiB.
var readers = sync.Pool{New: func() any { return new(gzip.Reader) }}

// inflate returns the decompressed body, valid until the next call.
func (z *inflater) inflate(body []byte, limit int) ([]byte, *Fault) {
	zr := readers.Get().(*gzip.Reader)
	defer readers.Put(zr)
	if err := zr.Reset(bytes.NewReader(body)); err != nil {
		return nil, Faultf(Protocol, "body is not gzip", "%v", err)
	}
	if cap(z.out) > keptBuffer {
		z.out = nil
	}
	buf := bytes.NewBuffer(z.out[:0])
	n, err := io.Copy(buf, io.LimitReader(zr, int64(limit)+1))
	z.out = buf.Bytes()
	switch {
	case err != nil:
		return nil, Faultf(Protocol, "body is not gzip", "after %d bytes: %v", n, err)
	case n > int64(limit):
		return nil, Faultf(Protocol, "body too large", "more than %d bytes once decompressed", limit)
	}
	return z.out, nil
}
