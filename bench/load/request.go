package load

import (
	"strconv"
	"strings"
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
