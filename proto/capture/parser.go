package capture

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

type parserState int

const (
	stateHead       parserState = iota
	stateBody                   // left bytes of a body
	stateChunkSize              // a chunk's size line
	stateChunk                  // left bytes of a chunk
	stateChunkEnd               // the line end behind a chunk
	stateTrailer                // fields behind the last chunk
	stateUntilClose             // a body that the connection's end ends
	stateLost                   // bytes were lost: a message's start is looked for
	stateDead                   // nothing more is read
)

// maxLostSpans bounds what is remembered of losses; the latest decide.
const maxLostSpans = 64

// parser reads the messages of one direction from bytes as they come.
type parser struct {
	conn  *httpConn
	dir   int
	state parserState
	// buf is the beginning of an incomplete head or line; bufAt marks its first byte.
	buf   []byte
	bufAt mark
	loan  loan
	left  uint64
	msg   *Message
	req   *request
	// lost are the ranges in which messages may have begun unseen; lostFrom is where the current one begins.
	lost     spans
	lostFrom uint64
	// seen counts the messages whose heads were read.
	seen int
}

// feed takes the next bytes.
func (p *parser) feed(b []byte, at mark) {
	if p.state == stateLost && !p.resync(b, at) {
		return
	}
	for len(b) > 0 && p.state != stateDead && p.state != stateLost {
		n := p.step(b, at)
		b = b[n:]
		at.off += uint64(n)
	}
}

// step consumes at least one byte of b or changes the state.
func (p *parser) step(b []byte, at mark) int {
	switch p.state {
	case stateHead:
		return p.head(b, at)
	case stateBody, stateChunk:
		n := int(min(uint64(len(b)), p.left))
		p.msg.End = at.time
		p.body(b[:n])
		if p.left -= uint64(n); p.left == 0 {
			p.bodyRead(at)
		}
		return n
	case stateUntilClose:
		p.msg.End = at.time
		p.body(b)
		return len(b)
	}
	return p.line(b, at)
}

// head gathers a message's head.
func (p *parser) head(b []byte, at mark) int {
	before := len(p.buf)
	if before == 0 {
		if n := len(b) - len(bytes.TrimLeft(b, "\r\n")); n > 0 {
			return n
		}
		p.bufAt = at
		if end := headEnd(b); end > 0 {
			p.headRead(b[:end], at)
			return end
		}
	}
	p.buf = append(p.buf, b...)
	if !p.plausible() || len(p.buf) > maxHeadBytes || !p.loan.hold(p.conn.out, len(p.buf)) {
		p.garbage(at, fmt.Errorf("%q is not the start of a message", clip(p.buf)))
		return len(b)
	}
	// The empty line may lie across the old bytes and the new ones.
	from := max(0, before-3)
	end := headEnd(p.buf[from:])
	if end == 0 {
		return len(b)
	}
	head := p.buf[:from+end]
	p.dropBuf()
	p.headRead(head, at)
	return len(head) - before
}

// headEnd returns the offset behind the first empty line, 0 when there is none.
func headEnd(b []byte) int {
	end := 0
	if i := bytes.Index(b, []byte("\r\n\r\n")); i >= 0 {
		end = i + 4
		b = b[:i+2]
	}
	if i := bytes.Index(b, []byte("\n\n")); i >= 0 {
		end = i + 2
	}
	return end
}

// plausible reports whether buf can be the beginning of a head.
func (p *parser) plausible() bool {
	if p.dir == 1 {
		const status = "HTTP/1."
		n := min(len(p.buf), len(status))
		return string(p.buf[:n]) == status[:n]
	}
	method, _, _ := bytes.Cut(p.buf[:min(len(p.buf), 32)], []byte(" "))
	return isToken(string(method)) && len(method) < 32
}

// headRead takes a whole head; at marks its last bytes, bufAt its first.
func (p *parser) headRead(head []byte, at mark) {
	first := p.bufAt
	if p.dir == 0 && bytes.HasPrefix(head, []byte("PRI * HTTP/2.0")) {
		p.conn.tunnel(first, http2Note(p.conn.tls))
		return
	}
	m, err := parseHead(head, p.dir)
	if err != nil {
		p.garbage(first, err)
		return
	}
	if m.reserved = headCost(len(head)); !p.conn.out.reserve(m.reserved) {
		p.garbage(first, errTooMuch)
		return
	}
	m.Start = first.time
	p.seen++
	if p.dir == 1 && m.Status < 200 && m.Status != 101 {
		p.conn.out.release(m.reserved)
		return // 100 Continue and other news before the answer
	}
	p.msg = m
	p.msg.End = at.time
	if p.dir == 0 {
		p.req = p.conn.requested(m, first)
	} else {
		p.req = p.conn.match(first)
		p.req.Response = m
	}
	p.frame(at)
}

// http2Note says that a connection is HTTP/2, over TLS of that version if it is.
func http2Note(tls string) string {
	if tls != "" {
		return "this is an HTTP/2 connection over " + tls + ", as gRPC, browsers and proxies use where both ends may; isukit reads HTTP/1.x"
	}
	return "this is an HTTP/2 connection, as gRPC uses; isukit reads HTTP/1.x"
}

var errTooMuch = errors.New("the messages under way have more bytes than the limit for all of them")

// headCost is about what a head of n bytes takes in memory when it is parsed, or a trailer.
func headCost(n int) int { return 1024 + 4*n }

// frame finds out how long the body is.
func (p *parser) frame(at mark) {
	codings := p.msg.Header.list("Transfer-Encoding")
	lengths := slices.Compact(p.msg.Header.list("Content-Length"))
	switch {
	case p.dir == 1 && p.bodyless():
		p.messageRead(at)
	case len(codings) > 0 && codings[len(codings)-1] == "chunked":
		p.state = stateChunkSize
	case len(codings) > 0 && p.dir == 1:
		p.state = stateUntilClose
	case len(lengths) > 0:
		n, err := strconv.ParseUint(lengths[0], 10, 62)
		if err != nil || len(lengths) > 1 {
			p.fault(fmt.Sprintf("Content-Length %q is not a length", strings.Join(lengths, ", ")))
			p.giveUp(at)
			return
		}
		p.state, p.left = stateBody, n
		if n == 0 {
			p.messageRead(at)
		}
	case p.dir == 0:
		p.messageRead(at)
	default:
		p.state = stateUntilClose
	}
}

// bodyless reports whether a response has no body, regardless of its header.
func (p *parser) bodyless() bool {
	if s := p.msg.Status; s == 101 || s == 204 || s == 304 {
		return true
	}
	r := p.req.Request
	return r != nil && (r.Method == "HEAD" || r.Method == "CONNECT" && p.msg.Status < 300)
}

// body keeps bytes of the body, unless earlier ones are missing: what follows a hole would be misread.
func (p *parser) body(b []byte) {
	m := p.msg
	switch {
	case m.broken:
	case len(m.Body)+len(b) > p.conn.out.bodyLimit():
		m.broken = true
		p.fault(fmt.Sprintf("the body has more than the limit of %d bytes", p.conn.out.bodyLimit()))
	case !p.conn.out.reserve(len(b)):
		m.broken = true
		p.fault("the bodies under way have more bytes than the limit for all of them")
	default:
		if m.Body == nil {
			m.Body = make([]byte, 0, max(len(b), int(min(p.left, 16<<10))))
		}
		m.Body = append(m.Body, b...)
		m.reserved += len(b)
	}
}

func (p *parser) bodyRead(at mark) {
	if p.state == stateChunk {
		p.state = stateChunkEnd
		return
	}
	p.messageRead(at)
}

func (p *parser) dropBuf() {
	p.buf = nil
	p.loan.hold(p.conn.out, 0)
}

// messageRead ends the message, whole or not.
func (p *parser) messageRead(at mark) {
	m, r := p.msg, p.req
	p.state, p.msg, p.req = stateHead, nil, nil
	p.dropBuf()
	if p.dir == 0 {
		r.sent = true
		p.conn.settle(r)
		return
	}
	r.answered = true
	p.conn.settle(r)
	switch {
	case m.Status == 101:
		p.conn.tunnel(at, fmt.Sprintf("the connection was upgraded to %s; what follows is not HTTP/1.x", clip([]byte(m.Header.Get("Upgrade")))))
	case r.Request != nil && r.Request.Method == "CONNECT" && m.Status < 300:
		p.conn.tunnel(at, "the connection became a tunnel (CONNECT); what follows is not read")
	}
}

func (p *parser) fault(text string) {
	who := "request"
	if p.dir == 1 {
		who = "response"
	}
	p.msg.faults = append(p.msg.faults, who+": "+text)
}

// end takes the end of the direction.
func (p *parser) end(why ending, at mark) {
	if p.msg != nil {
		switch {
		case why == endReset:
			p.fault("the connection was reset inside it")
		case why == endCapture:
			p.fault("the capture ends inside it")
		case p.state != stateUntilClose:
			p.fault("the connection was closed inside it")
		}
		p.messageRead(at)
	}
	if p.state == stateLost {
		p.found(mark{at.time, at.off + 1, at.ack})
	}
	p.state = stateDead
	p.dropBuf()
}
