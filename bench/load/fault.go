package load

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Kind is how a hit ended.
type Kind uint8

// The kinds of hits. OK, Refused and Canceled are not errors; all others are.
const (
	OK       Kind = iota // answered, and the answer passed its check
	Refused              // rejected without penalty, for example with a 503 to a bot
	Connect              // no connection, or no TLS session, could be made
	Timeout              // no whole answer within the request's time limit
	Protocol             // the bytes that came are not one whole HTTP/1.1 answer
	Status               // a status that the check did not expect
	Decode               // the body is not the message that it should be
	Wrong                // a well-formed answer that says something false
	Stale                // an answer that was true once, longer ago than allowed
	Canceled             // under way when the load ended: neither an error nor a success
	kinds
)

var kindNames = [kinds]string{"ok", "refused", "connect", "timeout", "protocol", "status", "decode", "wrong", "stale", "canceled"}

// String returns the kind's name as it stands in records and reports.
func (k Kind) String() string {
	if k >= kinds {
		return fmt.Sprintf("kind(%d)", uint8(k))
	}
	return kindNames[k]
}

// IsError reports whether hits of this kind count as errors.
func (k Kind) IsError() bool { return k != OK && k != Refused && k != Canceled }

// answered reports whether a hit of this kind has a latency: how long an answer took, or how long it was waited for in vain.
func (k Kind) answered() bool {
	return k != Connect && k != Protocol && k != Canceled
}

// ErrRefused is what a check returns for an answer that turned the user away without being an error.
var ErrRefused = errors.New("refused")

// Fault is what was wrong with a hit. It is data: the engine counts it, and the user goes on.
type Fault struct {
	Kind Kind
	// Text is the same for all faults of its group: no ids, sizes or times.
	Text string
	// Detail is this fault's particulars; may be empty.
	Detail string
}

// Faultf makes a fault of a kind; text names its group, and the format tells this one's particulars (may be empty).
func Faultf(kind Kind, text, detailFormat string, args ...any) *Fault {
	f := &Fault{Kind: kind, Text: text, Detail: detailFormat}
	if len(args) > 0 {
		f.Detail = fmt.Sprintf(detailFormat, args...)
	}
	return f
}

// Error returns text and detail.
func (f *Fault) Error() string {
	if f.Detail == "" {
		return f.Text
	}
	return f.Text + ": " + f.Detail
}

// Is makes errors.Is(err, ErrRefused) and errors.Is(err, context.Canceled) true for faults of those kinds.
func (f *Fault) Is(target error) bool {
	return f.Kind == Refused && target == ErrRefused || f.Kind == Canceled && target == context.Canceled
}

// asFault turns what a check returned into a fault: its own, or a refusal, or a wrong answer.
func asFault(err error) *Fault {
	if f, ok := errors.AsType[*Fault](err); ok && f != nil {
		return f
	}
	if errors.Is(err, ErrRefused) {
		return &Fault{Kind: Refused, Text: "refused"}
	}
	return &Fault{Kind: Wrong, Text: "wrong answer", Detail: err.Error()}
}

// Endpoint is the handle of an endpoint's name in one recorder; Engine.Endpoint gives it out.
type Endpoint int32

// Hit is one request of a load and how it ended. Times count from the start of the load.
type Hit struct {
	User     int32
	Endpoint Endpoint
	// Intended is the hit's scheduled time, Sent when its first byte was sent, Done when its answer was complete or given up.
	Intended, Sent, Done time.Duration
	// Status is the answer's status, 0 if there was none.
	Status uint16
	Kind   Kind
	// ReceivedBytes is the size of the answer on the wire, without TLS.
	ReceivedBytes uint32
}

// Latency is how long the hit took from its scheduled time.
func (h *Hit) Latency() time.Duration { return h.Done - h.Intended }

// FromSent is how long the hit took once it was sent.
func (h *Hit) FromSent() time.Duration { return h.Done - h.Sent }
