package scenario

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"isukit/bench/load"
	"isukit/proto/wire"
)

var userAgents = [...]string{
	kindContestant: "Mozilla/5.0 (X11; Linux x86_64) isukit-contestant",
	kindAudience:   "Mozilla/5.0 (iPhone; CPU iPhone OS 19_0 like Mac OS X) isukit-audience",
	kindWorker:     "isukit-worker/1",
	kindAdmin:      "Mozilla/5.0 (X11; Linux x86_64) isukit-admin",
	kindBot:        "isubot-crawler/1.0 (+isubot)",
}

type browser struct {
	*load.Client
	p *Portal
	// load ends when the load does; requests sent later are not counted. A quiet browser's has ended from the beginning.
	load context.Context
	// token is shown to the api role; empty for everybody but workers.
	token string
	// due is the scheduled time of the next request; zero for now.
	due time.Time
}

func (p *Portal) browser(load context.Context, user int, agent string) *browser {
	return &browser{Client: p.opts.Engine.NewClient(user, agent), p: p, load: load}
}

// close ends the connections. Surplus bytes from the app are a fault, which the load has already counted.
func (b *browser) close() { _ = b.Client.Close() }

// takeDue returns the scheduled time of this request.
func (b *browser) takeDue() time.Time {
	due := b.due
	b.due = time.Time{}
	return due
}

func (b *browser) quiet() bool { return b.load.Err() != nil }

func (p *Portal) quietBrowser(user int, agent string) *browser {
	over, end := context.WithCancel(context.Background())
	end()
	return p.browser(over, user, agent)
}

type call struct {
	route string // "GET /api/jobs/{job_id}"
	id    int64  // replaces the template's variable
	query string // what follows "?"
	body  proto.Message
	into  proto.Message
	// want is the correct status; 0 means 200. For 400 and above the answer must be an Error.
	want    int
	timeout time.Duration
	// refusable answers may be 503 without harm.
	refusable bool
	// check looks at the decoded answer.
	check func(r *load.Response) error
	// raw replaces body and contentType the marshalled message's type; for requests that must be refused.
	raw         []byte
	contentType string
	cookie      string

	status int // of the answer; 0 when none came
}

// do sends the call and judges the answer; the error is a *load.Fault.
func (b *browser) do(ctx context.Context, c *call) error {
	endpoint, ok := b.p.endpoints[c.route]
	if !ok {
		endpoint = b.p.opts.Engine.Endpoint(c.route)
	}
	method, target, _ := strings.Cut(c.route, " ")
	req := load.Request{
		Endpoint: endpoint, Origin: b.p.opts.Web, Method: method, Target: fillTarget(target, c.id, c.query),
		Timeout: c.timeout, Quiet: b.quiet(), Intended: b.takeDue(),
	}
	if strings.HasPrefix(target, "/worker/") {
		req.Origin = b.p.api
	}
	if b.token != "" {
		req.Header = append(req.Header, load.Header{Name: "Authorization", Value: "Bearer " + b.token})
	}
	if c.cookie != "" {
		req.Header = append(req.Header, load.Header{Name: "Cookie", Value: c.cookie})
	}
	switch {
	case c.raw != nil:
		req.Body, req.ContentType = c.raw, c.contentType
	case c.body != nil:
		body, err := proto.Marshal(c.body)
		if err != nil {
			return load.Faultf(load.Wrong, "request can't be encoded", "%v", err)
		}
		req.Body, req.ContentType = body, wire.ContentType
	}
	return b.Do(ctx, &req, func(r *load.Response) error { return c.judge(r) })
}

func (c *call) judge(r *load.Response) error {
	c.status = r.Status
	want := c.want
	if want == 0 {
		want = 200
	}
	if r.Status == 503 && c.refusable {
		return load.ErrRefused
	}
	if r.Status != want {
		return unexpectedStatus(r, want)
	}
	if want >= 400 {
		return checkErrorBody(r)
	}
	if c.into != nil {
		if !wire.IsProtobuf(r.Header("Content-Type")) {
			return load.Faultf(load.Decode, "answer is not protobuf", "content type %q", r.Header("Content-Type"))
		}
		proto.Reset(c.into)
		if err := proto.Unmarshal(r.Body, c.into); err != nil {
			return load.Faultf(load.Decode, "answer can't be decoded", "as %s: %v", c.into.ProtoReflect().Descriptor().Name(), err)
		}
	}
	if c.check != nil {
		return c.check(r)
	}
	return nil
}

// unexpectedStatus adds the app's own error message, if there is one.
func unexpectedStatus(r *load.Response, want int) error {
	text := fmt.Sprintf("status %d instead of %d", r.Status, want)
	if e, ok := wire.FromResponse(r.Status, r.Header("Content-Type"), r.Body); ok {
		return load.Faultf(load.Status, text, "%s: %s", e.Code, e.Message)
	}
	return load.Faultf(load.Status, text, "content type %q, %d bytes", r.Header("Content-Type"), len(r.Body))
}

// checkErrorBody wants the Error message that every 4xx and 5xx answer carries.
func checkErrorBody(r *load.Response) error {
	e, ok := wire.FromResponse(r.Status, r.Header("Content-Type"), r.Body)
	if !ok {
		return load.Faultf(load.Decode, "error response is not a portal.v1.Error", "status %d, content type %q", r.Status, r.Header("Content-Type"))
	}
	if e.Message == "" {
		return load.Faultf(load.Wrong, "error answer does not name the error", "status %d, code %s", r.Status, e.Code)
	}
	return nil
}

// outcome is how a write ended.
type outcome uint8

const (
	applied outcome = iota
	notApplied
	unknown
)

// outcome reads the fate of a write after do has returned err: an answer from 400 to 499 refused it, others leave it open.
func (c *call) outcome(err error) outcome {
	var f *load.Fault
	switch {
	case err == nil:
		return applied
	case c.status >= 400 && c.status < 500:
		return notApplied
	case errors.As(err, &f) && f.Kind == load.Connect:
		return notApplied
	}
	return unknown
}

// fillTarget puts id in the place of the template's variable and adds the query.
func fillTarget(template string, id int64, query string) string {
	if open := strings.IndexByte(template, '{'); open >= 0 {
		end := strings.IndexByte(template, '}')
		template = template[:open] + strconv.FormatInt(id, 10) + template[end+1:]
	}
	if query == "" {
		return template
	}
	return template + "?" + query
}

// page is the part of a list, newest first, that was asked for: limit rows with ids below before, 0 for all.
type page struct {
	before int64
	limit  int
}

// query is what asks for the page.
func (p page) query() string {
	if p.before == 0 {
		return ""
	}
	return fmt.Sprintf("before=%d", p.before)
}

// holds reports whether a row belongs to the page of n rows whose last has the id oldest.
func (p page) holds(id, oldest int64, n int) bool {
	return (p.before == 0 || id < p.before) && (n < p.limit || id >= oldest)
}

// check wants at most limit rows of the page, the newest first, and returns the id of the last, or 0. of names the list.
func (p page) check(of string, rows int, id func(i int) int64) (oldest int64, err error) {
	if rows > p.limit {
		return 0, load.Faultf(load.Wrong, "list of "+of+" is too long", "%d, %d at most", rows, p.limit)
	}
	for i := range rows {
		switch {
		case i == 0 && p.before != 0 && id(0) >= p.before:
			// Paging back through such a list never ends.
			return 0, load.Faultf(load.Wrong, "list of "+of+" begins elsewhere than asked", "%d, asked for those before %d", id(0), p.before)
		case i > 0 && oldest <= id(i):
			return 0, load.Faultf(load.Wrong, "list of "+of+" is not in order", "%d stands before %d", oldest, id(i))
		}
		oldest = id(i)
	}
	return oldest, nil
}
