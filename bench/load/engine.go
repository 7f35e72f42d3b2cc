// Package load sends hits and counts the answers. Users (closed loop) or arrival times (open loop) send hits over raw HTTP/1.1 connections,
// one keep-alive connection per virtual user and origin; the results are histograms, error groups and a verdict about the generator itself.
//
// It knows connections, cookies and conditional requests, not the app behind them: the check of each request decides what an answer must
// contain, and the caller decides the points of a hit.
package load

import (
	"context"
	"crypto/tls"
	"net"
	"sync"
	"sync/atomic"
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
	}
}

// User is what one virtual user does, from its first request until ctx ends.
type User func(ctx context.Context)

// Tick is what Run tells once a second.
type Tick struct {
	Live
	// Held is the rule that keeps the shape from adding users, or "".
	Held string
}

// Report is how a closed-loop load went.
type Report struct {
	Start, End time.Time
	// Started is how many users were started, PeakUsers how many ran at the same time.
	Started, PeakUsers int
	// Held is the rule that last kept the shape from adding users, or "". Knee is the number of users then, a mean of the last seconds.
	Held string
	Knee int
}

// Run runs users as shape says until ctx ends, and returns when the last of them has. It starts rec at now. newUser is called
// in the order of n, from 0, one at a time; it should only build the user. onTick, if set, is called once a second, one
// at a time, and should be quick.
func Run(ctx context.Context, shape Shape, newUser func(n int) User, rec *Recorder, onTick func(Tick)) Report {
	r := &runner{ctx: ctx, shape: shape, newUser: newUser, rec: rec}
	start := time.Now()
	rec.Start(start)
	r.report.Start = start
	r.ask(start)
	second := time.NewTimer(time.Until(start.Add(time.Second)))
	defer second.Stop()
	for at := 1; ; at++ {
		select {
		case <-ctx.Done():
			r.wg.Wait()
			r.report.End = time.Now()
			for _, n := range r.felt {
				r.report.Knee += n
			}
			r.report.Knee /= max(1, len(r.felt))
			return r.report
		case <-second.C:
		}
		now := time.Now()
		rec.SetUsers(r.present())
		if r.report.Held != "" {
			if r.felt = append(r.felt, r.present()); len(r.felt) > kneeSeconds {
				r.felt = r.felt[1:]
			}
		}
		if !now.Before(r.next) {
			r.ask(now)
		}
		if onTick != nil {
			onTick(Tick{Live: rec.Second(now), Held: r.held})
		}
		second.Reset(time.Until(start.Add(time.Duration(at+1) * time.Second)))
	}
}

type runner struct {
	ctx     context.Context
	shape   Shape
	newUser func(n int) User
	rec     *Recorder
	wg      sync.WaitGroup
	running atomic.Int64
	report  Report
	// asked is the second at which the shape was asked last, next the time at which it wants to be asked again.
	asked int
	next  time.Time
	// users is what the shape answered last, held which rule held it back.
	users int
	held  string
	seats seats
	felt  []int // users that were there in the last seconds, since a rule held
}

// kneeSeconds is over how many seconds the knee is averaged: growth goes beyond it and back.
const kneeSeconds = 10

// ask reads the shape, and starts the users that it wants.
func (r *runner) ask(now time.Time) {
	elapsed := now.Sub(r.report.Start)
	at := int(elapsed / time.Second)
	s := State{Elapsed: elapsed, Users: r.users, Away: int(r.seats.away.Load()), Recent: r.rec.Window(r.asked, at)}
	leaves := false
	if _, leaves = r.shape.(leaving); leaves {
		s.Kinds = r.rec.Kinds(at-2, at, now)
	}
	users, again, held := r.shape.Next(s)
	// A little early, so that timers that fire early by a hair do not cost a whole second.
	r.next = now.Add(again - 50*time.Millisecond)
	if r.asked, r.held = at, held; held != "" {
		r.report.Held = held
	}
	r.users = users
	r.seats.allowed.Store(int64(users))
	r.start(users-r.report.Started, leaves)
}

// present is how many users are active, without those who were removed or are away for a while.
func (r *runner) present() int {
	return max(0, min(int(r.running.Load()), int(r.seats.allowed.Load()))-int(r.seats.away.Load()))
}

// start starts n users, spread over the next second so that they do not march in step.
func (r *runner) start(n int, leaves bool) {
	for i := range max(n, 0) {
		user := r.newUser(r.report.Started)
		delay := time.Duration(i) * time.Second / time.Duration(n)
		ctx := r.ctx
		if leaves {
			ctx = context.WithValue(ctx, seatKey{}, &seat{n: r.report.Started, all: &r.seats})
		}
		r.report.Started++
		r.running.Add(1)
		r.wg.Go(func() {
			defer r.running.Add(-1)
			if Sleep(ctx, delay) == nil {
				user(ctx)
			}
		})
	}
	r.report.PeakUsers = max(r.report.PeakUsers, r.present())
	r.rec.SetUsers(r.present())
}

// Sleep waits for d, or until ctx ends, whose error it then returns; also where both have happened.
func Sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return ctx.Err()
	}
}
