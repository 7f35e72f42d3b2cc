package capture

import (
	"net/netip"
	"strings"
	"time"
)

// Exchange is one HTTP request with the response to it.
type Exchange struct {
	// Client and Server are the connection's ends; the client is the one that sent the request.
	Client, Server netip.AddrPort
	// TLS is the version that the connection was decrypted from ("TLS 1.3"), empty for plain text.
	TLS string
	// Scheme is "http" or "https" where the source says it (HAR); empty otherwise.
	Scheme string
	// Request is nil when it was not captured: a response without its request.
	Request *Message
	// Response is nil when none was captured.
	Response *Message
	// Incomplete is what is missing, one clause each; empty for a complete exchange.
	Incomplete []string
	// Malformed says that its entry in a HAR file is not as the format has it; Incomplete says how.
	Malformed bool
}

// Message is a request or a response.
type Message struct {
	// Method and Target are a request's: "GET", "/api/teams?page=2".
	Method, Target string
	// Status is a response's.
	Status int
	// Header has the fields in the order in which they came.
	Header Header
	// Body is the body without chunks and content encodings. After a loss it holds what came before.
	Body []byte
	// Start and End are when its first and its last byte were captured.
	Start, End time.Time

	faults []string
	// broken says that the body is not kept any more: bytes before are missing, or it is too large.
	broken bool
	// reserved counts the bytes of head and body that were asked of the output.
	reserved int
}

// Time is when the exchange began: the request's first byte, or the response's without a request.
func (e *Exchange) Time() time.Time {
	switch {
	case e.Request != nil:
		return e.Request.Start
	case e.Response != nil:
		return e.Response.Start
	}
	return time.Time{}
}

// Latency is the time from the request's last byte to the response's last; 0 when one of them is missing.
func (e *Exchange) Latency() time.Duration {
	if e.Request == nil || e.Response == nil {
		return 0
	}
	return max(0, e.Response.End.Sub(e.Request.End)) // an answer may end before its request does
}

// Field is one line of a header.
type Field struct{ Name, Value string }

// Header is a message's header fields in their order.
type Header []Field

// Get returns the first value of a name in any case, or "".
func (h Header) Get(name string) string {
	for _, f := range h {
		if strings.EqualFold(f.Name, name) {
			return f.Value
		}
	}
	return ""
}

// list is every value of a name, split at commas, in lower case.
func (h Header) list(name string) []string {
	var out []string
	for _, f := range h {
		if !strings.EqualFold(f.Name, name) {
			continue
		}
		for _, part := range strings.Split(f.Value, ",") {
			if part = strings.ToLower(strings.TrimSpace(part)); part != "" {
				out = append(out, part)
			}
		}
	}
	return out
}

// Note is something about a connection or the capture that is not an exchange.
type Note struct {
	// Client and Server name the connection; they are not valid for a note on the capture as a whole.
	Client, Server netip.AddrPort
	// Text is one sentence.
	Text string
}
