package capture

import (
	"bytes"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// maxHeadBytes bounds a message's head, a chunk's size line and a trailer.
const maxHeadBytes = 256 << 10

// httpConn reads the HTTP/1.x messages of one connection and joins responses to their requests.
type httpConn struct {
	client, server netip.AddrPort
	tls            string
	out            output
	parsers        [2]parser
	// waiting are the requests that have no response yet, in the order in which they were sent.
	waiting []*request
	over    bool
	// silence is why no more responses follow; empty while they may.
	silence string
}

// output takes what is found and lends memory.
type output interface {
	exchange(*Exchange)
	note(Note)
	// reserve asks for n bytes for a body; release gives them back.
	reserve(n int) bool
	release(n int)
	bodyLimit() int
}

type request struct {
	*Exchange
	at mark
	// sent: the whole request was read; answered: the whole response.
	sent, answered bool
}

// newHTTPConn reads a connection from its start, or with whole false from its middle.
func newHTTPConn(client, server netip.AddrPort, tls string, whole bool, out output) *httpConn {
	h := &httpConn{client: client, server: server, tls: tls, out: out}
	for dir := range h.parsers {
		h.parsers[dir] = parser{conn: h, dir: dir}
		if !whole {
			h.parsers[dir].state = stateLost
		}
	}
	return h
}

func (h *httpConn) data(dir int, b []byte, at mark) { h.parsers[dir].feed(b, at) }

func (h *httpConn) gap(dir int, n uint64, at mark) { h.parsers[dir].gap(n, at) }

// end ends one direction. After the server's end the requests without a response get none, nor do later ones.
func (h *httpConn) end(dir int, why ending, at mark) {
	h.parsers[dir].end(why, at)
	if dir == 0 {
		return
	}
	h.silence = "no response was captured"
	switch why {
	case endReset:
		h.silence = "the connection was reset before the response"
	case endFIN:
		h.silence = "the connection was closed without a response"
	}
	waiting := h.waiting
	h.waiting = nil
	for _, r := range waiting {
		h.unanswered(r, h.silence)
	}
}

func (h *httpConn) unanswered(r *request, why string) {
	r.Incomplete = append(r.Incomplete, why)
	r.answered = true
	h.settle(r)
}

func (h *httpConn) note(at mark, text string) {
	h.out.note(Note{Client: h.client, Server: h.server, Text: text})
}

// requested takes the head of a request.
func (h *httpConn) requested(m *Message, at mark) *request {
	r := &request{Exchange: &Exchange{Client: h.client, Server: h.server, TLS: h.tls, Request: m}, at: at}
	if h.silence != "" {
		h.unanswered(r, h.silence)
		return r
	}
	h.waiting = append(h.waiting, r)
	return r
}

// match finds the request that a response, whose first byte is at, answers.
//
// As long as nothing was lost, responses come in the order of the requests. After a loss the acknowledgements tell: a
// client that had received n bytes of the server when it sent a request gets the answer at n or later, and had received
// all of an earlier answer that lies before n.
func (h *httpConn) match(at mark) *request {
	lost, clientLost := h.parsers[1].lost, h.parsers[0].lost
	for len(lost) > 0 && len(h.waiting) > 1 && h.waiting[1].at.ack <= at.off && lost.within(h.waiting[0].at.ack, h.waiting[1].at.ack) {
		h.unanswered(h.next(), "the response was lost by the capture")
	}
	if len(h.waiting) == 0 {
		return h.orphan()
	}
	first := h.waiting[0]
	if (len(lost) > 0 || len(clientLost) > 0) && first.at.ack > at.off {
		return h.orphan()
	}
	maybeUnseen := h.parsers[0].state == stateLost || clientLost.after(first.at.off)
	if maybeUnseen && lost.within(first.at.ack, at.off) {
		h.unanswered(h.next(), "the response was lost by the capture")
		return h.orphan()
	}
	return h.next()
}

// next takes the first of the waiting requests.
func (h *httpConn) next() *request {
	r := h.waiting[0]
	h.waiting[0] = nil // the array behind the slice lives on
	if h.waiting = h.waiting[1:]; len(h.waiting) == 0 {
		h.waiting = nil
	}
	return r
}

// orphan is the exchange of a response whose request was not captured.
func (h *httpConn) orphan() *request {
	e := &Exchange{Client: h.client, Server: h.server, TLS: h.tls, Incomplete: []string{"the request was not captured"}}
	return &request{Exchange: e, sent: true}
}

// finish hands an exchange on.
func (h *httpConn) finish(r *request) {
	for _, m := range []*Message{r.Request, r.Response} {
		if m != nil {
			h.out.release(m.reserved)
			m.reserved = 0
		}
	}
	h.out.exchange(r.Exchange)
}

func (h *httpConn) settle(r *request) {
	if r.sent && r.answered {
		h.finish(r)
	}
}

// tunnel gives the connection up as HTTP/1.x.
func (h *httpConn) tunnel(at mark, why string) {
	if !h.over {
		h.over = true
		h.note(at, why)
	}
	for dir := range h.parsers {
		h.parsers[dir].state = stateDead
		h.parsers[dir].dropBuf()
	}
}

// spans are ranges of a direction's stream that were lost, in order.
type spans []span

type span struct{ from, to uint64 }

func (s spans) within(from, to uint64) bool {
	for _, x := range s {
		if x.from < to && from < x.to {
			return true
		}
	}
	return false
}

func (s spans) after(off uint64) bool { return len(s) > 0 && s[len(s)-1].to > off }

var methods = []string{"GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "CONNECT", "TRACE", "PURGE", "PROPFIND", "REPORT"}

// looksLikeRequest reports whether a request's line begins data, with known methods only, since data may be anything.
func looksLikeRequest(data []byte) bool {
	for _, method := range methods {
		if len(data) > len(method)+1 && string(data[:len(method)]) == method && data[len(method)] == ' ' {
			next := data[len(method)+1]
			return next == '/' || next == '*' || next == 'h' || method == "CONNECT"
		}
	}
	return false
}

// parseHead reads a start line and a header. head ends behind the empty line.
func parseHead(head []byte, dir int) (*Message, error) {
	line, rest := cutLine(head)
	m := new(Message)
	parts := strings.SplitN(string(line), " ", 3)
	if len(parts) < 2 {
		return nil, fmt.Errorf("%q is not a start line", clip(line))
	}
	if dir == 0 {
		if len(parts) != 3 || !isToken(parts[0]) || !strings.HasPrefix(parts[2], "HTTP/1.") {
			return nil, fmt.Errorf("%q is not a request line", clip(line))
		}
		m.Method, m.Target = parts[0], parts[1]
	} else {
		status, err := strconv.Atoi(parts[1])
		if !strings.HasPrefix(parts[0], "HTTP/1.") || err != nil || status < 100 || status > 999 {
			return nil, fmt.Errorf("%q is not a status line", clip(line))
		}
		m.Status = status
	}
	m.Header = parseFields(rest)
	return m, nil
}

func isToken(s string) bool {
	return s != "" && strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.!#$%&'*+^`|~") == ""
}

func clip(b []byte) []byte { return b[:min(len(b), 60)] }

// cutLine splits off a line that ends with CRLF or LF.
func cutLine(b []byte) (line, rest []byte) {
	line, rest, _ = bytes.Cut(b, []byte("\n"))
	return bytes.TrimSuffix(line, []byte("\r")), rest
}

// parseFields reads header fields up to the empty line. Lines without a colon are left out, as servers do.
func parseFields(b []byte) Header {
	text := string(b)
	fields := make(Header, 0, 12)
	for text != "" {
		var line string
		line, text, _ = strings.Cut(text, "\n")
		line = strings.TrimSuffix(line, "\r")
		if line == "" {
			break
		}
		if (line[0] == ' ' || line[0] == '\t') && len(fields) > 0 {
			fields[len(fields)-1].Value += " " + strings.TrimSpace(line)
			continue
		}
		if name, value, ok := strings.Cut(line, ":"); ok {
			fields = append(fields, Field{strings.TrimSpace(name), strings.TrimSpace(value)})
		}
	}
	return fields
}
