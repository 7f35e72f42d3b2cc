package exchange

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"isukit/proto/capture"
	"isukit/proto/decode"
)

// printer writes exchanges in one of three forms: a line, a line with bodies, a JSON object.
type printer struct {
	Out    *bytes.Buffer
	schema *decode.Schema
	bodies bool
	jsonl  bool
}

func (p *printer) print(d *Decoded) error {
	if p.jsonl {
		return p.object(d)
	}
	p.line(d)
	if p.bodies {
		p.body("request", d.Request, d.req)
		p.body("response", d.Response, d.resp)
	}
	for _, fault := range d.faults() {
		fmt.Fprintf(p.Out, "  ! %s\n", decode.Terminal(fault))
	}
	return nil
}

func (p *printer) line(d *Decoded) {
	method, target, status, latency := "?", "?", "---", "-"
	in, out := "-", "-"
	if r := d.Request; r != nil {
		method, target, in = r.Method, r.Target, fmt.Sprint(len(r.Body))
	}
	if r := d.Response; r != nil {
		status, out = fmt.Sprint(r.Status), fmt.Sprint(len(r.Body))
		if d.Request != nil {
			latency = fmt.Sprintf("%.2fms", d.Latency().Seconds()*1e3)
		}
	}
	fmt.Fprintf(p.Out, "%s %s %s %s %s %s>%s %s %s\n", d.Time().UTC().Format("15:04:05.000000"), address(d.Client),
		method, decode.Terminal(target), status, in, out, latency, typesText(d))
}

func address(a netip.AddrPort) string {
	if !a.IsValid() {
		return "-"
	}
	return a.String()
}

// typesText names both types without their package, as far as they are known.
func typesText(d *Decoded) string {
	return typeText(d.req) + " -> " + typeText(d.resp)
}

func typeText(b DecodedBody) string {
	switch {
	case b.typ != "":
		return b.typ[strings.LastIndexByte(b.typ, '.')+1:]
	case len(b.fits) > 0:
		return fmt.Sprintf("?(%d candidates)", len(b.fits))
	case len(b.data) > 0:
		return "?"
	}
	return "-"
}

func (p *printer) body(name string, m *capture.Message, b DecodedBody) {
	switch {
	case m == nil, len(b.data) == 0 && b.typ == "":
		return
	case len(b.data) == 0:
		fmt.Fprintf(p.Out, "  %s %s: empty (0 bytes)\n", name, b.typ)
		return
	case b.body == nil:
		fmt.Fprintf(p.Out, "  %s: %d bytes of %s\n", name, len(b.data), decode.Terminal(contentTypeOf(m)))
		p.candidates(b)
		return
	}
	fmt.Fprintf(p.Out, "  %s %s:\n", name, b.typ)
	p.Out.Write(decode.AppendText(p.Out.AvailableBuffer(), b.body.Message, 2))
	if len(b.body.Faults) > 0 || b.body.Fit.Suspicious() {
		for _, fit := range decode.Better(p.schema, b.data, b.body, decode.DefaultLimits()) {
			fmt.Fprintf(p.Out, "  better: %s\n", fit)
		}
		p.hints(b)
	}
}

func contentTypeOf(m *capture.Message) string {
	if t := m.Header.Get("Content-Type"); t != "" {
		return t
	}
	return "no content type"
}

func (p *printer) candidates(b DecodedBody) {
	for i, fit := range b.fits {
		if i == 5 {
			fmt.Fprintf(p.Out, "    candidate: and %d more\n", len(b.fits)-i)
			break
		}
		fmt.Fprintf(p.Out, "    candidate: %s\n", fit)
	}
	if len(b.fits) == 0 {
		p.hints(b)
	}
}

func (p *printer) hints(b DecodedBody) {
	for _, hint := range decode.Hints(b.data) {
		fmt.Fprintf(p.Out, "  hint: %s\n", hint.Text)
	}
}

// ExchangeJSON is one line of --jsonl; docs/capture.md describes it.
type ExchangeJSON struct {
	Time           time.Time       `json:"time"`
	Client         string          `json:"client"`
	Server         string          `json:"server"`
	TLS            string          `json:"tls,omitempty"`
	Method         string          `json:"method,omitempty"`
	URL            string          `json:"url,omitempty"`
	Status         int             `json:"status,omitempty"`
	LatencyUS      int64           `json:"latency_us,omitempty"`
	ReqType        string          `json:"req_type,omitempty"`
	RespType       string          `json:"resp_type,omitempty"`
	Req            json.RawMessage `json:"req,omitempty"`
	Resp           json.RawMessage `json:"resp,omitempty"`
	ReqBytes       *int            `json:"req_bytes,omitempty"`
	RespBytes      *int            `json:"resp_bytes,omitempty"`
	ReqSHA256      string          `json:"req_sha256,omitempty"`
	RespSHA256     string          `json:"resp_sha256,omitempty"`
	ReqCandidates  []string        `json:"req_candidates,omitempty"`
	RespCandidates []string        `json:"resp_candidates,omitempty"`
	Incomplete     []string        `json:"incomplete,omitempty"`
	Faults         []string        `json:"faults,omitempty"`
}

func (p *printer) object(d *Decoded) error {
	out := ExchangeJSON{
		Time: d.Time().UTC(), Client: address(d.Client), Server: address(d.Server), TLS: d.TLS,
		LatencyUS: d.Latency().Microseconds(), Incomplete: d.Incomplete, Faults: d.faults()[len(d.Incomplete):],
		ReqType: d.req.typ, RespType: d.resp.typ, ReqCandidates: fitNames(d.req.fits), RespCandidates: fitNames(d.resp.fits),
	}
	var err error
	if r := d.Request; r != nil {
		out.Method, out.URL = r.Method, urlOf(d.Exchange)
		if out.Req, out.ReqBytes, out.ReqSHA256, err = p.bodyJSON(d.req); err != nil {
			return err
		}
	}
	if r := d.Response; r != nil {
		out.Status = r.Status
		if out.Resp, out.RespBytes, out.RespSHA256, err = p.bodyJSON(d.resp); err != nil {
			return err
		}
	}
	encoder := json.NewEncoder(p.Out)
	encoder.SetEscapeHTML(false)
	return encoder.Encode(out)
}

func (p *printer) bodyJSON(b DecodedBody) (message json.RawMessage, size *int, sum string, err error) {
	n := len(b.data)
	digest := sha256.Sum256(b.data)
	if b.body != nil {
		message, err = decode.JSON(b.body.Message, "", p.schema)
	}
	return message, &n, hex.EncodeToString(digest[:]), err
}

func fitNames(fits []decode.Fit) []string {
	var names []string
	for _, fit := range fits {
		names = append(names, string(fit.Type))
	}
	return names
}

// urlOf is the request's URL, from its target and its Host.
func urlOf(e *capture.Exchange) string {
	target := e.Request.Target
	if !strings.HasPrefix(target, "/") {
		return target
	}
	host := e.Request.Header.Get("Host")
	if host == "" {
		host = address(e.Server)
	}
	if e.TLS != "" {
		return "https://" + host + target
	}
	return "http://" + host + target
}
