package exchange

import (
	"google.golang.org/protobuf/reflect/protoreflect"

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
	// typ is the message's full name; empty where nothing names it.
	typ string
	// body is nil where there is no type, or the body is no protobuf.
	body *decode.Body
	// fits are the types that may be meant, where nothing names one.
	fits []decode.Fit
	// fault is set where the type is named but not known.
	fault string
	data  []byte
}

// Decoder decodes the bodies of exchanges.
type Decoder struct {
	Schema *decode.Schema
	Routes decode.Routes
	// found caches lookups, which are per exchange and name.
	found map[string]protoreflect.MessageDescriptor
}

func (d *Decoder) decode(e *capture.Exchange) *Decoded {
	out := &Decoded{Exchange: e}
	method, target := "", ""
	if e.Request != nil {
		method, target = e.Request.Method, e.Request.Target
		out.req = d.body(e.Request, d.Routes.Type(method, target, decode.Request, 0, e.Request.Header.Get("Content-Type")))
	}
	if e.Response != nil {
		out.resp = d.body(e.Response, d.Routes.Type(method, target, decode.Response, e.Response.Status, e.Response.Header.Get("Content-Type")))
	}
	return out
}

func (d *Decoder) body(m *capture.Message, typ string) DecodedBody {
	b := DecodedBody{typ: typ, data: m.Body}
	contentType := m.Header.Get("Content-Type")
	isProto := decode.IsProtobuf(contentType)
	if !isProto && contentType != "" && (decode.TypeOfContentType(contentType) == "" || len(m.Body) == 0) {
		b.typ = ""
		return b
	}
	if typ == "" {
		if isProto {
			b.fits = decode.Candidates(d.Schema, m.Body, decode.DefaultLimits())
		}
		return b
	}
	if contentType == "" && len(m.Body) == 0 && m.Status == 0 {
		b.typ = ""
		return b
	}
	md, err := d.find(typ)
	if err != nil {
		b.fault = err.Error()
		return b
	}
	b.body = decode.Decode(md, m.Body, decode.DefaultLimits())
	return b
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
			faults = append(faults, side.name+": suspicious: the bytes hardly fit "+side.b.body.Fit.String())
		}
	}
	return faults
}
