package load

import (
	"context"
	"crypto/tls"
	"net"
	"time"
)

// The limits of a connection's making and of a request, where Options do not say others.
const (
	ConnectTimeout = 5 * time.Second
	RequestTimeout = 10 * time.Second
)

// Options are the limits and collaborators of an Engine. The zero value of each field means the default that it names.
type Options struct {
	// Recorder takes the hits; default: a new one.
	Recorder *Recorder
	// UserAgent is sent by clients that were made without one of their own; default "isukit".
	UserAgent string
	// ConnectTimeout limits dialling and the TLS handshake, each; default ConnectTimeout.
	ConnectTimeout time.Duration
	// RequestTimeout limits a request from its sending to the last byte of its answer; default RequestTimeout.
	RequestTimeout time.Duration
	// MaxHeaderBytes limits an answer's head, and its trailers; default 32 KiB.
	MaxHeaderBytes int
	// MaxBodyBytes limits an answer's body, before and after decompression; default 8 MiB.
	MaxBodyBytes int
	// MaxInterim limits the 1xx answers before one answer; default 8.
	MaxInterim int
	// CacheBytes limits the bodies that one client keeps for conditional requests; default 256 KiB.
	CacheBytes int
	// TLS is used for https origins; default: the system's roots.
	TLS *tls.Config
	// Dial makes connections; default: a net.Dialer.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
}

func (o Options) withDefaults() Options {
	if o.Recorder == nil {
		o.Recorder = NewRecorder(RecorderOptions{})
	}
	if o.UserAgent == "" {
		o.UserAgent = "isukit"
	}
	setDefault(&o.ConnectTimeout, ConnectTimeout)
	setDefault(&o.RequestTimeout, RequestTimeout)
	setDefault(&o.MaxHeaderBytes, 32<<10)
	setDefault(&o.MaxBodyBytes, 8<<20)
	setDefault(&o.MaxInterim, 8)
	setDefault(&o.CacheBytes, 256<<10)
	if o.Dial == nil {
		// TCP keep-alive probes outlast no round; leaving them off saves three system calls a connection.
		o.Dial = (&net.Dialer{KeepAlive: -1}).DialContext
	}
	if o.TLS == nil {
		o.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	o.TLS = o.TLS.Clone()
	o.TLS.NextProtos = []string{"http/1.1"}
	if o.TLS.ClientSessionCache == nil {
		o.TLS.ClientSessionCache = tls.NewLRUClientSessionCache(1024)
	}
	return o
}

func setDefault[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}

// Engine makes the clients of one load and holds what they share. It is safe for concurrent use.
type Engine struct {
	opts    Options
	sockets socketCounts
}

// NewEngine returns an engine; it opens no connection and starts no goroutine.
func NewEngine(opts Options) *Engine {
	return &Engine{opts: opts.withDefaults()}
}

// Recorder returns where the engine's clients record their hits.
func (e *Engine) Recorder() *Recorder { return e.opts.Recorder }

// Endpoint returns the handle of an endpoint's name, such as "GET /api/jobs/{job_id}". The same name gives the same handle.
func (e *Engine) Endpoint(name string) Endpoint { return e.opts.Recorder.Endpoint(name) }

// NewClient returns one virtual user's browser with no cookies, an empty cache and no connection yet. user is the number
// that examples of errors and the hit log name; ua is the User-Agent, or "" for the engine's. A client is for one goroutine.
func (e *Engine) NewClient(user int, ua string) *Client {
	if ua == "" {
		ua = e.opts.UserAgent
	}
	return &Client{
		engine: e, opts: &e.opts, rec: e.opts.Recorder, user: user, agent: ua,
		cache: browserCache{limitBytes: e.opts.CacheBytes},
	}
}
