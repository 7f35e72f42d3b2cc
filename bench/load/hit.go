package load

import "time"

// Endpoint is the handle of an endpoint's name in one recorder; Engine.Endpoint gives it out.
type Endpoint int32

// Hit is one request of a load and how it ended. Times count from the start of the load.
type Hit struct {
	User     int32
	Endpoint Endpoint
	// Intended is when the hit was meant to go, Sent when its first byte went, Done when its answer was whole or given up.
	Intended, Sent, Done time.Duration
	// Status is the answer's status, 0 if there was none.
	Status uint16
	Kind   Kind
	// ReceivedBytes is the size of the answer on the wire, without TLS.
	ReceivedBytes uint32
}

// Latency is how long the hit took for whoever meant to send it at Intended.
func (h *Hit) Latency() time.Duration { return h.Done - h.Intended }

// FromSent is how long the hit took once it was sent.
func (h *Hit) FromSent() time.Duration { return h.Done - h.Sent }
