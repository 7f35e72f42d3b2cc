package load

import (
	"bytes"
	"strings"
)

// browserCache keeps answers that came with a validator, for conditional requests. It never answers without asking the
// server: how fresh an answer may be is for the scenario to say.
type browserCache struct {
	limitBytes int
	bytes      int
	entries    []cached // oldest first
}

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

// append writes the conditional fields of a request.
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
	if len(r.Body) > k.limitBytes {
		return
	}
	for k.bytes+len(r.Body) > k.limitBytes {
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
