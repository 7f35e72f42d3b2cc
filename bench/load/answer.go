package load

import (
	"bytes"
	"io"
)

// textUnexpected names the fault of a server that sends more than one answer, or more than the answer's length.
const textUnexpected = "unexpected bytes after the answer"

// errNothing: the connection closed without the first byte of an answer.
var errNothing = &Fault{Kind: Protocol, Text: "connection closed before the answer"}

// maxChunkLine limits a chunk's size line with its extensions.
const maxChunkLine = 256

// receive reads one answer into r, with the 1xx answers before it. It returns whether the connection may be used again.
func (cn *conn) receive(c *Client, req *Request, r *Response) *Fault {
	f := cn.answer(c.opts, req, r)
	r.ReceivedBytes += cn.w
	if f != nil {
		cn.close = true
		return f
	}
	if cn.w > cn.r {
		return Faultf(Protocol, textUnexpected, "%d or more, beginning %.40q", cn.w-cn.r, cn.buf[cn.r:cn.w])
	}
	if r.hangUp || r.minor == 0 && !r.keep {
		cn.close = true
	}
	return nil
}

func (cn *conn) answer(o *Options, req *Request, r *Response) *Fault {
	for interim := 0; ; interim++ {
		if f := cn.head(o, r); f != nil {
			return f
		}
		if r.Status/100 != 1 {
			break
		}
		if r.Status == 101 {
			return Faultf(Protocol, "switched protocols without being asked", "")
		}
		if interim == o.MaxInterim {
			return Faultf(Protocol, "too many interim answers", "more than %d, the last with status %d", o.MaxInterim, r.Status)
		}
	}
	if r.gzipped && !req.Gzip {
		return Faultf(Protocol, "content encoding not asked for", "gzip")
	}
	start := cn.r
	var f *Fault
	switch {
	case req.Method == "HEAD" || r.Status == 204 || r.Status == 304:
	case r.chunked:
		f = cn.chunks(o)
	case r.length >= 0:
		f = cn.sized(o, r.length)
	default:
		f = cn.untilClose(o)
		r.hangUp = true
	}
	if f != nil {
		return f
	}
	end := cn.r
	if cn.hole > 0 {
		end = cn.hole
	}
	r.buf = cn.buf // it may have moved while it grew
	r.Body = cn.buf[start:end]
	return nil
}

// head reads up to the empty line and parses what came.
func (cn *conn) head(o *Options, r *Response) *Fault {
	start := cn.r
	for seen := start; ; {
		if !plausible(cn.buf[start:cn.w]) {
			return Faultf(Protocol, "not an HTTP/1 answer", "%.40q", cn.buf[start:cn.w])
		}
		if i := bytes.Index(cn.buf[seen:cn.w], []byte("\r\n\r\n")); i >= 0 {
			cn.r = seen + i + 4
			if cn.r-start > o.MaxHeaderBytes {
				return headTooLarge(o)
			}
			return r.parseHead(cn.buf, start, cn.r)
		}
		if cn.w-start > o.MaxHeaderBytes {
			return headTooLarge(o)
		}
		seen = max(start, cn.w-3)
		if err := cn.fill(cn.limit(o)); err != nil {
			if cn.w == 0 && !isTimeout(err) {
				return errNothing
			}
			return cut(err, "head", cn.w > start, "after %d bytes", cn.w-start)
		}
	}
}

func headTooLarge(o *Options) *Fault {
	return Faultf(Protocol, "head too large", "more than %d bytes", o.MaxHeaderBytes)
}

// plausible reports whether b may begin an answer, so that another protocol is noticed before the time limit.
func plausible(b []byte) bool {
	const want = "HTTP/1."
	n := min(len(b), len(want))
	return string(b[:n]) == want[:n]
}

// limit is the most that the buffer may hold for one answer: interim heads, its head, its body, and what surrounds a chunk.
func (cn *conn) limit(o *Options) int {
	return (o.MaxInterim+2)*o.MaxHeaderBytes + 2*o.MaxBodyBytes + initialBuffer
}

// cut names the fault of an answer that ended, or stopped, in its middle.
func cut(err error, part string, begun bool, detail string, args ...any) *Fault {
	switch {
	case err == errBufferLimit:
		return Faultf(Protocol, "answer too large", detail, args...)
	case isTimeout(err) && begun:
		return Faultf(Timeout, "answer's "+part+" incomplete when the time ran out", detail, args...)
	case isTimeout(err):
		return Faultf(Timeout, "no answer in time", "")
	case err == io.EOF:
		return Faultf(Protocol, part+" ended early", detail, args...)
	default:
		return Faultf(Protocol, "connection broke in the "+part, detail+": %v", append(args, err)...)
	}
}

func bodyTooLarge(o *Options) *Fault {
	return Faultf(Protocol, "body too large", "more than %d bytes", o.MaxBodyBytes)
}

func (cn *conn) sized(o *Options, n int) *Fault {
	if n > o.MaxBodyBytes {
		return Faultf(Protocol, "body too large", "%d bytes, %d allowed", n, o.MaxBodyBytes)
	}
	start := cn.r
	for cn.w-start < n {
		if err := cn.fill(cn.limit(o)); err != nil {
			return cut(err, "body", true, "after %d of %d bytes", cn.w-start, n)
		}
	}
	cn.r = start + n
	return nil
}

func (cn *conn) untilClose(o *Options) *Fault {
	start := cn.r
	for {
		if cn.w-start > o.MaxBodyBytes {
			return bodyTooLarge(o)
		}
		if err := cn.fill(cn.limit(o)); err == io.EOF {
			cn.r = cn.w
			return nil
		} else if err != nil {
			return cut(err, "body", true, "after %d bytes of a body without a length", cn.w-start)
		}
	}
}

// chunks reads a chunked body and moves its chunks together, so that the body is buf[start:hole].
func (cn *conn) chunks(o *Options) *Fault {
	start := cn.r
	cn.hole = cn.r
	for {
		size, f := cn.chunkSize(o)
		if f != nil {
			return f
		}
		if size == 0 {
			return cn.trailers(o)
		}
		if size > o.MaxBodyBytes-(cn.hole-start) {
			return bodyTooLarge(o)
		}
		for cn.w-cn.r < size+2 {
			if err := cn.fill(cn.limit(o)); err != nil {
				return cut(err, "body", true, "%d bytes into a chunk of %d", min(cn.w-cn.r, size), size)
			}
		}
		copy(cn.buf[cn.hole:], cn.buf[cn.r:cn.r+size])
		cn.hole += size
		cn.r += size
		if string(cn.buf[cn.r:cn.r+2]) != "\r\n" {
			return Faultf(Protocol, "chunk longer than its size", "%d bytes and %.10q", size, cn.buf[cn.r:cn.r+2])
		}
		cn.r += 2
	}
}

func (cn *conn) chunkSize(o *Options) (int, *Fault) {
	line, f := cn.line(o, maxChunkLine, "chunk size")
	if f != nil {
		return 0, f
	}
	if i := bytes.IndexByte(line, ';'); i >= 0 {
		line = bytes.TrimRight(line[:i], " \t")
	}
	size := 0
	for _, c := range line {
		d := hexDigit(c)
		if d < 0 || size > 1<<40 {
			return 0, Faultf(Protocol, "malformed chunk size", "%.40q", line)
		}
		size = size<<4 | d
	}
	if len(line) == 0 {
		return 0, Faultf(Protocol, "malformed chunk size", "empty")
	}
	return size, nil
}

func hexDigit(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= lower(c) && lower(c) <= 'f':
		return int(lower(c)-'a') + 10
	}
	return -1
}

// trailers reads the fields after the last chunk, which nothing here asks for, up to their empty line.
func (cn *conn) trailers(o *Options) *Fault {
	for left := o.MaxHeaderBytes; ; {
		line, f := cn.line(o, left, "trailer")
		if f != nil {
			return f
		}
		if len(line) == 0 {
			return nil
		}
		if i := tokenLength(line); i == 0 || i == len(line) || line[i] != ':' {
			return Faultf(Protocol, "malformed trailer", "%.60q", line)
		}
		left -= len(line) + 2
	}
}

// line reads up to CRLF and returns what came before it: valid until the next fill.
func (cn *conn) line(o *Options, limit int, what string) ([]byte, *Fault) {
	for seen := 0; ; {
		if i := bytes.IndexByte(cn.buf[cn.r+seen:cn.w], '\n'); i >= 0 {
			line := cn.buf[cn.r : cn.r+seen+i]
			cn.r += seen + i + 1
			if len(line) == 0 || line[len(line)-1] != '\r' {
				return nil, Faultf(Protocol, "line ends without CRLF", "%.40q", line)
			}
			return line[:len(line)-1], nil
		}
		seen = cn.w - cn.r
		if seen > limit {
			return nil, Faultf(Protocol, what+" too long", "more than %d bytes", limit)
		}
		if err := cn.fill(cn.limit(o)); err != nil {
			return nil, cut(err, "body", true, "in a %s", what)
		}
	}
}
