package load

import (
	"context"
	"time"
)

// Client is a virtual user's browser: cookies, a cache, and a keep-alive connection per origin. It is for one goroutine.
type Client struct {
	engine *Engine
	opts   *Options
	rec    *Recorder
	user   int
	agent  string

	jar   cookieJar
	cache browserCache
	conns []*conn
	out   []byte // the request being sent, reused
	unzip inflater
	resp  Response
	stop  canceler
	seat  *seat   // of the user whose client it is; nil where users do not leave
	watch *flight // what is under way; made with the seat
}

const maxConns = 8

// Request is one request to send. The zero value of a field means what its comment says.
type Request struct {
	Endpoint Endpoint
	Origin   *Origin
	// Method is the HTTP method; "" means GET.
	Method string
	// Target is the path with its query, already escaped: "/api/teams?page=2".
	Target string
	// Header is sent in addition to Host, User-Agent, Cookie and what else the request implies.
	Header      []Header
	ContentType string
	Body        []byte
	// Intended is the request's scheduled time; zero means when Do is called.
	Intended time.Time
	// Timeout limits the time from sending to the last byte of the answer; 0 means the engine's.
	Timeout time.Duration
	// Conditional sends If-None-Match or If-Modified-Since from this browser's cache; a 304 is then answered from it.
	Conditional bool
	// Gzip lets the server compress the answer.
	Gzip bool
	// Quiet requests are not recorded: for initialize, validate and check.
	Quiet bool
}

// Header is one field of a request. Neither part may contain a line break.
type Header struct{ Name, Value string }

// Do sends a request, reads the answer, has it checked and records exactly one hit. It returns nil, or a *Fault.
//
// check gets the whole answer, with any status, and may return a *Fault, ErrRefused, or any other error, which counts as Wrong; without a
// check, any 2xx or 304 will do. A fault after ctx has ended is Canceled; a request that was not sent before is not a hit. The answer is
// valid until the next Do.
func (c *Client) Do(ctx context.Context, req *Request, check func(*Response) error) error {
	if err := ctx.Err(); err != nil {
		return &Fault{Kind: Canceled, Text: "canceled", Detail: "the request was not sent"}
	}
	r := &c.resp
	r.reset()
	r.Intended = req.Intended
	if r.Intended.IsZero() {
		r.Intended = time.Now()
	}
	c.stop.attach(ctx, c)
	if c.seat == nil && !req.Quiet {
		if c.seat = seatOf(ctx); c.seat != nil {
			c.watch = c.rec.flight()
		}
	}
	if c.seat != nil && !req.Quiet {
		c.watch.endpoint.Store(int32(req.Endpoint))
		c.watch.due.Store(r.Intended.UnixNano())
		defer c.watch.due.Store(0)
	}
	cn, f := c.exchange(ctx, req, r)
	if r.Done.IsZero() {
		r.Done = time.Now()
	}
	if f == nil {
		f = judge(r, check)
	}
	if f != nil && f.Kind != Refused && ended(ctx) {
		f = &Fault{Kind: Canceled, Text: "canceled", Detail: f.Error()}
		if r.Sent.IsZero() {
			return f
		}
	}
	c.record(req, r, cn, f)
	if f == nil {
		return nil
	}
	return f
}

// ended reports whether ctx has ended, or its deadline has passed, which a new connection may notice first.
func ended(ctx context.Context) bool {
	if ctx.Err() != nil {
		return true
	}
	deadline, ok := ctx.Deadline()
	return ok && !time.Now().Before(deadline)
}

func judge(r *Response, check func(*Response) error) *Fault {
	if check == nil {
		if r.Status/100 == 2 || r.Status == 304 {
			return nil
		}
		return Faultf(Status, "unexpected status", "%d", r.Status)
	}
	if err := check(r); err != nil {
		return asFault(err)
	}
	return nil
}

// record takes down the hit, and leaves it with its connection in case that more of the answer turns up later.
func (c *Client) record(req *Request, r *Response, cn *conn, f *Fault) {
	h := Hit{
		User: int32(c.user), Endpoint: req.Endpoint, Status: uint16(r.Status), ReceivedBytes: uint32(r.ReceivedBytes),
	}
	if f != nil {
		h.Kind = f.Kind
	}
	if c.seat != nil && !req.Quiet {
		c.seat.took(r.Done.Sub(r.Intended), fastFor(req.Method))
	}
	if !req.Quiet {
		sent := r.Sent
		if sent.IsZero() { // no connection: nothing was ever sent
			sent = r.Done
		}
		c.rec.record(h, r.Intended, sent, r.Done, f)
	}
	if cn != nil {
		cn.last, cn.lastQuiet = h, req.Quiet
	}
}

// exchange sends a request and reads the answer into r. The connection is nil if none could be made, or if it is not kept.
func (c *Client) exchange(ctx context.Context, req *Request, r *Response) (*conn, *Fault) {
	timeout := req.Timeout
	if timeout == 0 {
		timeout = c.opts.RequestTimeout
	}
	if f := c.encode(req); f != nil {
		return nil, f
	}
	for attempt := 0; ; attempt++ {
		cn, f := c.connection(ctx, req.Origin)
		if f != nil {
			return nil, f
		}
		reused := cn.used
		if r.Sent.IsZero() {
			r.Sent = r.Intended
			if !reused || !req.Intended.IsZero() {
				r.Sent = time.Now() // otherwise Do has only just looked at the clock
			}
		}
		cn.setDeadline(r.Sent.Add(timeout), timeout)
		c.stop.watch(cn)
		if c.stop.canceled() {
			c.drop(cn)
			return nil, &Fault{Kind: Canceled, Text: "canceled"}
		}
		f, again := c.over(cn, req, r, reused && attempt == 0)
		if again {
			c.drop(cn)
			continue
		}
		r.Done = time.Now()
		if f == nil && r.Done.Sub(r.Sent) > timeout {
			f = Faultf(Timeout, "no whole answer in time", "%v allowed, answered after %v", timeout, r.Done.Sub(r.Sent))
		}
		if f != nil || cn.close {
			c.drop(cn)
			return nil, f
		}
		cn.answered = r.Done
		return cn, nil
	}
}

// over makes one exchange over one connection. again is true when it should be repeated over a new one.
func (c *Client) over(cn *conn, req *Request, r *Response, mayRepeat bool) (f *Fault, again bool) {
	counts := &c.engine.sockets
	look := !mayRepeat || !idempotent(req.Method) || r.Sent.Sub(cn.answered) > atOnce
	switch err := cn.send(c.out, look); {
	case err == errUnasked:
		if f := c.late(cn, req); f != nil {
			return f, false
		}
		return nil, true
	case err == errIdleClosed && mayRepeat:
		counts.replaced.Add(1)
		return nil, true
	case err != nil && mayRepeat && !isTimeout(err):
		counts.repeated.Add(1)
		return nil, true
	case err != nil && isTimeout(err):
		return Faultf(Timeout, "request not sent in time", ""), false
	case err != nil && err != errIdleClosed:
		// The server may have answered before it hung up on a request that it did not want to read.
		cn.close, cn.writeErr, cn.stepErr = true, err, nil
	}
	cn.used = true
	f = cn.receive(c, req, r)
	if f == errNothing {
		if mayRepeat && idempotent(req.Method) {
			counts.repeated.Add(1)
			return nil, true
		}
		return cn.closedFault(), false
	}
	if f != nil {
		return f, false
	}
	c.jar.update(req.Origin, r)
	return c.finish(req, r), false
}

// late handles bytes after an answer: they are the fault of that hit, not of the next one, unless one of the two is not recorded.
func (c *Client) late(cn *conn, req *Request) *Fault {
	if cn.last.Endpoint < 0 {
		return Faultf(Protocol, "bytes came before the request", "%.40q", cn.buf[:cn.w])
	}
	f := Faultf(Protocol, textUnexpected, "%d or more, beginning %.40q", cn.w, cn.buf[:cn.w])
	if cn.lastQuiet || req.Quiet {
		return f
	}
	if !cn.last.Kind.IsError() && cn.last.Kind != Canceled {
		c.rec.demote(cn.last, cn.answered, f)
	}
	return nil
}

func (c *Client) connection(ctx context.Context, o *Origin) (*conn, *Fault) {
	for _, cn := range c.conns {
		if cn.origin.same(o) {
			return cn, nil
		}
	}
	if len(c.conns) >= maxConns {
		c.drop(c.conns[0])
	}
	cn, f := dial(ctx, o, c.opts, &c.engine.sockets)
	if f != nil {
		return nil, f
	}
	c.conns = append(c.conns, cn)
	return cn, nil
}

func (c *Client) drop(cn *conn) {
	c.stop.watch(nil)
	cn.nc.Close()
	for i := range c.conns {
		if c.conns[i] == cn {
			c.conns = append(c.conns[:i], c.conns[i+1:]...)
			return
		}
	}
}

// Close closes the client's connections. Bytes that came after an answer are counted against that answer's hit, or, if it
// was a quiet one, returned as a *Fault. The client may be used again; it keeps its cookies and its cache.
func (c *Client) Close() error {
	var first error
	c.stop.detach(c)
	for len(c.conns) > 0 {
		cn := c.conns[0]
		if cn.used && cn.unasked() == errUnasked {
			if f := c.late(cn, &Request{Quiet: cn.lastQuiet}); f != nil && first == nil {
				first = f
			}
		}
		c.drop(cn)
	}
	return first
}

// User returns the number that the client was made with.
func (c *Client) User() int { return c.user }

// Cookie returns the value of a cookie, from whichever origin it came, or "".
func (c *Client) Cookie(name string) string { return c.jar.value(name) }

// SetCookie puts a cookie into the jar as if the origin had set it for all its paths; an empty value removes it.
func (c *Client) SetCookie(o *Origin, name, value string) { c.jar.put(o, name, value) }

// ClearCookies empties the jar, as a user does who leaves without logging out.
func (c *Client) ClearCookies() { c.jar.cookies = nil }

func idempotent(method string) bool {
	switch method {
	case "", "GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE":
		return true
	}
	return false
}
