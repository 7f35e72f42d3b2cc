package access

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"isukit/input"
)

// Options are how to read logs. The zero value detects format and routes and takes every line.
type Options struct {
	// Format is "json" or "ltsv", each perhaps with labels, for example "json took=request_time"; "combined", "envoy"; or a log_format with
	// nginx's variables, Envoy's operators or Apache's and H2O's directives. "" is the one of the first four that reads the first line of
	// each file.
	Format string
	// Zone is that of times that name none; nil is UTC.
	Zone *time.Location
	// Patterns are tried in their order before a path is looked at.
	Patterns []Pattern
	// Literal keeps paths that no pattern takes as they are. Memory then grows with their number, up to a limit.
	Literal bool
	// From and To bound the window, To itself outside; zero is unbounded. A line's time is that of its end.
	From, To time.Time
	// Seconds fills Digest.Seconds; it wants From and To, at most a day apart.
	Seconds bool
}

// Bounds of the input.
const (
	maxLine     = 1 << 20 // a longer line is unreadable
	maxExamples = 10
	exampleSize = 200
	maxSeconds  = 24 * 60 * 60
	// ctxLines is after how many lines a cancelled context is noticed.
	ctxLines = 10_000
)

// Window sets the window for a host whose clock differs; it is as long as that of the options, in whole seconds.
func (d *Digester) Window(from, to time.Time) { d.opts.From, d.opts.To = from, to }

// Zone sets the zone of times without one in the logs that are read from now on.
func (d *Digester) Zone(zone *time.Location) { d.opts.Zone = zone }

// Digester takes logs one after another.
type Digester struct {
	opts   Options
	tree   *tree
	others Route
	noReq  Route
	named  map[namedRoute]*Route
	// methods has every method once, so that a line's need not be copied.
	methods map[string]string
	told    uint16 // of entry.told, by all counted lines
	out     Digest
}

type namedRoute struct {
	method  string
	pattern int
}

// New returns a Digester; the error is about the options.
func New(opts Options) (*Digester, error) {
	d := &Digester{opts: opts, tree: newTree(opts.Literal), named: map[namedRoute]*Route{}, methods: map[string]string{}}
	d.others.Path, d.noReq.Path = OtherRoute, NoRequest
	if _, err := formatOf(opts.Format, opts.Zone); err != nil {
		return nil, err
	}
	if opts.Seconds {
		n := opts.To.Sub(opts.From) / time.Second
		if opts.From.IsZero() || n < 0 || n > maxSeconds {
			return nil, errors.New("one-second steps need a window of at most a day")
		}
		d.out.Seconds = make([]Second, n+1)
	}
	return d, nil
}

// Read digests one log to its end, and unpacks gzip. It may be called for any number of logs, in any order. name is shown with lines of it.
// After a read error the digest contains what was read before.
func (d *Digester) Read(ctx context.Context, name string, from io.Reader) error {
	return d.ReadFormat(ctx, name, d.opts.Format, from)
}

// ReadFormat is Read for a log of a format of its own, as Options.Format has it.
func (d *Digester) ReadFormat(ctx context.Context, name, format string, from io.Reader) error {
	buffered, err := input.Unpack(from)
	if err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	reader, err := formatOf(format, d.opts.Zone)
	if err != nil {
		return err
	}
	for n := int64(1); ; n++ {
		line, tooLong, err := readLine(buffered)
		if len(line) > 0 {
			d.line(name, n, line, tooLong, &reader)
		}
		if err == io.EOF {
			return nil
		}
		if err == nil && n%ctxLines == 0 {
			err = ctx.Err()
		}
		if err != nil {
			return fmt.Errorf("read %s: %w", name, err)
		}
	}
}

// readLine returns the next line without its end, or the beginning of one that is too long. It is valid until the next call.
func readLine(r *bufio.Reader) (line []byte, tooLong bool, err error) {
	line, err = r.ReadSlice('\n')
	if err == bufio.ErrBufferFull {
		line = slices.Clone(line)
		for err == bufio.ErrBufferFull {
			var more []byte
			more, err = r.ReadSlice('\n')
			if len(line) <= maxLine {
				line = append(line, more...)
			}
		}
	}
	return bytes.TrimRight(line, "\r\n"), len(line) > maxLine, err
}

func (d *Digester) line(name string, n int64, line []byte, tooLong bool, reader *lineReader) {
	d.out.Lines++
	var e entry
	if tooLong || !reader.read(line, &e) {
		d.out.Unreadable++
		if len(d.out.Examples) < maxExamples {
			d.out.Examples = append(d.out.Examples, Unreadable{name, n, string(line[:min(len(line), exampleSize)])})
		}
		return
	}
	if !reader.reported {
		reader.reported = true
		if !slices.Contains(d.out.Formats, reader.format) {
			d.out.Formats = append(d.out.Formats, reader.format)
		}
	}
	d.count(&e)
}

func (d *Digester) count(e *entry) {
	timed := !e.at.IsZero()
	windowed := !d.opts.From.IsZero() || !d.opts.To.IsZero()
	if windowed && (!timed || e.at.Before(d.opts.From) || !d.opts.To.IsZero() && !e.at.Before(d.opts.To)) {
		d.out.Outside++
		return
	}
	d.told |= e.told
	switch {
	case !timed:
		d.out.Untimed++
	default:
		if e.zoneless {
			d.out.Zoneless++
		}
		if d.out.First.IsZero() || e.at.Before(d.out.First) {
			d.out.First = e.at
		}
		if e.at.After(d.out.Last) {
			d.out.Last = e.at
		}
	}
	d.routeOf(e).add(e)
	if at := int(e.at.Sub(d.opts.From) / time.Second); at < len(d.out.Seconds) {
		d.out.Seconds[at].add(e)
	}
}

func (s *Second) add(e *entry) {
	s.Hits++
	if e.status >= 499 {
		s.Errors++
	}
	if e.hasTook {
		s.Took.Add(e.took)
	}
}

func (d *Digester) routeOf(e *entry) *Route {
	if e.path == nil {
		return &d.noReq
	}
	method, ok := d.methods[string(e.method)]
	if !ok && len(d.methods) < 64 {
		method = string(e.method)
		d.methods[method] = method
	}
	path := plainPath(e.path)
	for i, p := range d.opts.Patterns {
		if p.expr.Match(path) {
			return d.namedRoute(namedRoute{method, i})
		}
	}
	if r := d.tree.route(method, path); r != nil {
		return r
	}
	return &d.others
}

func (d *Digester) namedRoute(key namedRoute) *Route {
	r := d.named[key]
	if r == nil {
		r = &Route{Method: key.method, Path: d.opts.Patterns[key.pattern].text}
		d.named[key] = r
	}
	return r
}

// plainPath is a request's target without its query, and without scheme and host where these were sent.
func plainPath(target []byte) []byte {
	if end := bytes.IndexAny(target, "?#"); end >= 0 {
		target = target[:end]
	}
	if len(target) > 0 && target[0] == '/' {
		return target
	}
	if _, rest, ok := bytes.Cut(target, []byte("://")); ok {
		if slash := bytes.IndexByte(rest, '/'); slash >= 0 {
			return rest[slash:]
		}
		return []byte("/")
	}
	return append([]byte("/"), target...)
}

// Digest returns what was read so far; the Digester takes no more afterwards.
func (d *Digester) Digest() *Digest {
	routes := d.tree.finish()
	for _, r := range d.named {
		routes = append(routes, r)
	}
	for _, r := range []*Route{&d.others, &d.noReq} {
		if r.Count > 0 {
			routes = append(routes, r)
		}
	}
	d.out.sum(routes)
	if d.out.All.Count > 0 {
		d.out.Untold = untold(d.told)
	}
	return &d.out
}
