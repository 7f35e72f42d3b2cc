package exchange

import (
	"slices"

	"google.golang.org/protobuf/reflect/protoreflect"

	"isukit/input/paths"
	"isukit/proto/capture"
	"isukit/proto/decode"
)

// Decoded is an exchange with its bodies decoded.
type Decoded struct {
	*capture.Exchange
	req, resp DecodedBody
}

// DecodedBody is what is known of one body.
type DecodedBody struct {
	// typ is the message's full name; empty where nothing names it and nothing fits.
	typ string
	// guess is set where nothing named the type: it was learned from what was captured, or fits this body best.
	guess *decode.Guess
	// body is nil without a type, or if the body is not protobuf.
	body *decode.Body
	// text is the message as text, where a decoder that prints left out the body's Message.
	text []byte
	// fault is set where the type is named but not known.
	fault string
	data  []byte
}

// Decoder decodes the bodies of exchanges.
type Decoder struct {
	Schema *decode.Schema
	Routes decode.Routes
	// Learner guesses the types that Routes do not name; nil guesses by each body alone.
	Learner *decode.Learner
	// Builtin says that Schema is the portal's because none was given: it counts only where it fits.
	Builtin bool
	// prints says that messages are wanted as text alone, indented by printDepth.
	prints bool
	// text is what the messages of the exchange before are written in, which is not looked at any more.
	text []byte
	// found are the types that were looked for by name.
	found map[string]protoreflect.MessageDescriptor
	// tried are the candidates for the bodies of a route that have the same shape, for some such bodies each.
	tried map[shapeKey][][]decode.Fit
}

type shapeKey struct {
	method, path string
	direction    decode.Direction
	shape        uint64
}

// Bounds of what is kept: shapes, bodies of one shape, and candidates for one body.
const (
	maxShapes     = 20_000
	bodiesOfShape = 3
	maxCandidates = 6
)

// candidates are the types that fit a body, the best first; none has an empty name. They are found once for each route and shape.
func (d *Decoder) candidates(data []byte, method, target string, direction decode.Direction) []decode.Fit {
	if d.tried == nil {
		d.tried = map[shapeKey][][]decode.Fit{}
	}
	key := shapeKey{method, paths.Template(target), direction, decode.Shape(data)}
	known := d.tried[key]
	for _, fits := range known {
		if md, err := d.find(string(fits[0].Type)); err == nil && d.Schema.Decode(md, data, decode.DefaultLimits()).Fit.Exact() {
			return fits
		}
	}
	if len(known) >= bodiesOfShape {
		return known[0]
	}
	all := decode.Candidates(d.Schema, data, decode.DefaultLimits())
	fits := slices.DeleteFunc(slices.Clone(all), func(f decode.Fit) bool { return !decode.IsFor(string(f.Type), direction) })
	switch {
	case len(all) == 0:
		fits = []decode.Fit{{}}
	case len(fits) == 0:
		fits = all
	}
	fits = slices.Clone(fits[:min(len(fits), maxCandidates)])
	if len(d.tried) < maxShapes {
		d.tried[key] = append(known, fits)
	}
	return fits
}

func (d *Decoder) decode(e *capture.Exchange) *Decoded {
	out := &Decoded{Exchange: e}
	d.text = d.text[:0]
	method, target := "", ""
	if e.Request != nil {
		method, target = e.Request.Method, e.Request.Target
		out.req = d.body(e.Request, method, target, decode.Request)
	}
	if e.Response != nil {
		out.resp = d.body(e.Response, method, target, decode.Response)
	}
	return out
}

// Learn lets the learner see an exchange's bodies.
func (d *Decoder) Learn(e *capture.Exchange) {
	if d.Learner == nil || e.Request == nil || len(e.Incomplete) > 0 {
		return
	}
	d.Learner.Add(e.Request.Method, e.Request.Target, decode.Request, 0, e.Request.Header.Get("Content-Type"), e.Request.Body)
	if r := e.Response; r != nil {
		d.Learner.Add(e.Request.Method, e.Request.Target, decode.Response, r.Status, r.Header.Get("Content-Type"), r.Body)
	}
}

// body decodes one body, as its named type or otherwise the likeliest one.
func (d *Decoder) body(m *capture.Message, method, target string, direction decode.Direction) DecodedBody {
	b := DecodedBody{data: m.Body}
	contentType := m.Header.Get("Content-Type")
	typ := decode.TypeOf(d.Routes, method, target, direction, m.Status, contentType)
	if !decode.MayBeProtobuf(contentType, typ != "") || contentType == "" && len(m.Body) == 0 && m.Status == 0 {
		return b
	}
	if typ != "" {
		d.named(&b, typ)
		if !d.Builtin || b.body == nil || b.body.Fit.Whole() || b.body.Fit.Damaged && !b.body.Fit.Suspicious() {
			return b
		}
		b = DecodedBody{data: m.Body} // other traffic, which the portal's messages do not fit
	}
	if decode.IsProtobuf(contentType) && !d.Builtin {
		d.guess(&b, method, target, direction, m.Status)
	}
	return b
}

func (d *Decoder) named(b *DecodedBody, typ string) {
	b.typ = typ
	md, err := d.find(typ)
	if err != nil {
		b.fault = err.Error()
		return
	}
	if d.prints {
		from := len(d.text)
		d.text, b.body = d.Schema.Print(d.text, md, b.data, decode.DefaultLimits(), printDepth)
		b.text = d.text[from:]
	} else {
		b.body = d.Schema.Decode(md, b.data, decode.DefaultLimits())
	}
}

// guess takes the learned type if it fits this body, or otherwise the one that fits best.
func (d *Decoder) guess(b *DecodedBody, method, target string, direction decode.Direction, status int) {
	if d.Learner != nil {
		if g := d.Learner.Guess(method, target, direction, status); g.Type != "" {
			d.named(b, g.Type)
			b.guess = &g
			if b.body != nil && (b.body.Fit.Whole() || len(b.data) == 0) {
				return
			}
		}
	}
	if len(b.data) == 0 {
		*b = DecodedBody{data: b.data}
		return
	}
	fits := d.candidates(b.data, method, target, direction)
	if fits[0].Type == "" {
		if b.body == nil || b.body.Fit.Suspicious() {
			*b = DecodedBody{data: b.data}
		}
		return
	}
	g := decode.Guess{Type: string(fits[0].Type), Sure: len(fits) == 1 && fits[0].Exact(), Evidence: "it fits this body best"}
	for _, other := range fits[1:] {
		g.Others = append(g.Others, string(other.Type))
	}
	d.named(b, g.Type)
	b.guess = &g
}

func (d *Decoder) find(name string) (protoreflect.MessageDescriptor, error) {
	if md, ok := d.found[name]; ok {
		return md, nil
	}
	md, err := d.Schema.Find(name)
	if err != nil {
		return nil, err
	}
	if d.found == nil {
		d.found = map[string]protoreflect.MessageDescriptor{}
	}
	d.found[name] = md
	return md, nil
}

// foreign reports whether a protobuf body of the exchange is of no type that is known.
func (d *Decoded) foreign() bool {
	is := func(m *capture.Message, b DecodedBody) bool {
		return m != nil && len(b.data) > 0 && b.typ == "" && decode.IsProtobuf(m.Header.Get("Content-Type"))
	}
	return is(d.Request, d.req) || is(d.Response, d.resp)
}

// faults lists what is wrong with the exchange and its bodies, one clause each.
func (d *Decoded) faults() []string {
	faults := append([]string{}, d.Incomplete...)
	for _, side := range []struct {
		name string
		b    DecodedBody
	}{{"request", d.req}, {"response", d.resp}} {
		if side.b.fault != "" {
			faults = append(faults, side.name+": "+side.b.fault)
		}
		if side.b.body == nil {
			continue
		}
		for _, f := range side.b.body.Faults {
			faults = append(faults, side.name+": "+f.String())
		}
		if side.b.body.Fit.Suspicious() {
			faults = append(faults, side.name+": suspicious: the bytes do not fit well to "+side.b.body.Fit.String())
		}
	}
	return faults
}
