package wire

import (
	"cmp"
	"fmt"
	"net/http"

	portalv1 "isukit/proto/portal/v1"
)

// Fault is a request that is answered with an Error: the status, the message for the peer, and the cause, which the peer does not see.
type Fault struct {
	// Status is the HTTP status, 400 to 599.
	Status int
	// Code, Message and Hint are those of portal.v1.Error.
	Code, Message, Hint string
	// Cause is for the log; it never goes to the peer.
	Cause error
}

// Error gives the status, the code and the message; the cause is added where there is one.
func (f *Fault) Error() string {
	s := fmt.Sprintf("%d %s: %s", f.Status, f.Code, f.Message)
	if f.Cause != nil {
		s += ": " + f.Cause.Error()
	}
	return s
}

// Unwrap gives the cause.
func (f *Fault) Unwrap() error { return f.Cause }

// Proto gives the message that the peer is sent.
func (f *Fault) Proto() *portalv1.Error {
	return &portalv1.Error{Code: cmp.Or(f.Code, fmt.Sprintf("http_%d", f.Status)), Message: cmp.Or(f.Message, http.StatusText(f.Status)), Hint: f.Hint}
}
