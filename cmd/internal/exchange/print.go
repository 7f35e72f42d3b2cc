package exchange

import (
	"bytes"
	"cmp"
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
	Counts
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
		method, decode.Terminal(target), status, in, out, latency, typeText(d.req)+" -> "+typeText(d.resp))
}

func address(a netip.AddrPort) string {
	if !a.IsValid() {
		return "-"
	}
	return a.String()
}

// typeText names a type without its package, as far as it is known; "~" is before a guess.
func typeText(b DecodedBody) string {
	switch {
	case b.guess != nil:
		return "~" + b.typ[strings.LastIndexByte(b.typ, '.')+1:]
	case b.typ != "":
		return b.typ[strings.LastIndexByte(b.typ, '.')+1:]
	case len(b.data) > 0:
		return "?"
	}
	return "-"
}

const printDepth = 2

func (p *printer) body(name string, m *capture.Message, b DecodedBody) {
	switch {
	case m == nil, len(b.data) == 0 && b.typ == "":
		return
	case len(b.data) == 0:
		fmt.Fprintf(p.Out, "  %s %s%s: empty (0 bytes)\n", name, b.typ, guessText(b.guess))
		return
	case b.body == nil:
		p.raw(name, m, b)
		return
	}
	fmt.Fprintf(p.Out, "  %s %s%s:\n", name, b.typ, guessText(b.guess))
	if b.body.Message == nil {
		p.Out.Write(b.text)
	} else {
		p.Out.Write(decode.AppendText(p.Out.AvailableBuffer(), b.body.Message, printDepth))
	}
	if len(b.body.Missing) > 0 {
		fmt.Fprintf(p.Out, "  ! %s: %s\n", name, b.body.Notes()[0])
	}
	if len(b.body.Faults) > 0 || b.body.Fit.Suspicious() {
		for _, fit := range decode.Better(p.schema, b.data, b.body, decode.DefaultLimits()) {
			fmt.Fprintf(p.Out, "  better: %s\n", fit)
		}
		p.hints(b)
	}
}

// guessText says that a type is a guess, and what else it may be.
func guessText(g *decode.Guess) string {
	if g == nil {
		return ""
	}
	text := " (a guess: " + g.Evidence
	if !g.Sure && len(g.Others) > 0 {
		names := make([]string, len(g.Others))
		for i, name := range g.Others {
			names[i] = name[strings.LastIndexByte(name, '.')+1:]
		}
		text += "; it may also be " + strings.Join(names, ", ")
	}
	return text + ")"
}

const rawTextBytes = 2000

// raw shows a body without a type: a protobuf one by field numbers, text as it is, else what its bytes look like.
func (p *printer) raw(name string, m *capture.Message, b DecodedBody) {
	contentType := m.Header.Get("Content-Type")
	fmt.Fprintf(p.Out, "  %s: %d bytes of %s\n", name, len(b.data), decode.Terminal(cmp.Or(contentType, "no content type")))
	raw := decode.Raw(b.data, decode.DefaultLimits())
	switch {
	case decode.MayBeProtobuf(contentType, true) && len(raw.Faults) == 0:
		for line := range strings.Lines(raw.Text()) {
			p.Out.WriteString("    " + line)
		}
	case decode.IsText(b.data):
		text := string(b.data[:min(len(b.data), rawTextBytes)])
		for line := range strings.Lines(text) {
			fmt.Fprintf(p.Out, "    %s\n", decode.Terminal(strings.TrimRight(line, "\r\n")))
		}
		if len(b.data) > rawTextBytes {
			fmt.Fprintf(p.Out, "    (%d more bytes)\n", len(b.data)-rawTextBytes)
		}
	default:
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
	Time       time.Time       `json:"time"`
	Client     string          `json:"client"`
	Server     string          `json:"server"`
	TLS        string          `json:"tls,omitempty"`
	Method     string          `json:"method,omitempty"`
	URL        string          `json:"url,omitempty"`
	Status     int             `json:"status,omitempty"`
	LatencyUS  int64           `json:"latency_us,omitempty"`
	ReqType    string          `json:"req_type,omitempty"`
	RespType   string          `json:"resp_type,omitempty"`
	Req        json.RawMessage `json:"req,omitempty"`
	Resp       json.RawMessage `json:"resp,omitempty"`
	ReqBytes   *int            `json:"req_bytes,omitempty"`
	RespBytes  *int            `json:"resp_bytes,omitempty"`
	ReqSHA256  string          `json:"req_sha256,omitempty"`
	RespSHA256 string          `json:"resp_sha256,omitempty"`
	// ReqGuessed and RespGuessed: the type was guessed; candidates are other possible types.
	ReqGuessed     bool     `json:"req_guessed,omitempty"`
	RespGuessed    bool     `json:"resp_guessed,omitempty"`
	ReqCandidates  []string `json:"req_candidates,omitempty"`
	RespCandidates []string `json:"resp_candidates,omitempty"`
	Incomplete     []string `json:"incomplete,omitempty"`
	Faults         []string `json:"faults,omitempty"`
}

func (p *printer) object(d *Decoded) error {
	out := ExchangeJSON{
		Time: d.Time().UTC(), Client: address(d.Client), Server: address(d.Server), TLS: d.TLS,
		LatencyUS: d.Latency().Microseconds(), Incomplete: d.Incomplete, Faults: d.faults()[len(d.Incomplete):],
		ReqType: d.req.typ, RespType: d.resp.typ, ReqGuessed: d.req.guess != nil, RespGuessed: d.resp.guess != nil,
		ReqCandidates: others(d.req.guess), RespCandidates: others(d.resp.guess),
	}
	var faults []string
	if r := d.Request; r != nil {
		out.Method, out.URL = r.Method, urlOf(d.Exchange)
		out.Req, out.ReqBytes, out.ReqSHA256, faults = p.bodyJSON("request", d.req)
		out.Faults = append(out.Faults, faults...)
	}
	if r := d.Response; r != nil {
		out.Status = r.Status
		out.Resp, out.RespBytes, out.RespSHA256, faults = p.bodyJSON("response", d.resp)
		out.Faults = append(out.Faults, faults...)
	}
	encoder := json.NewEncoder(p.Out)
	encoder.SetEscapeHTML(false)
	return encoder.Encode(out)
}

// bodyJSON is a body in JSON. Parts without a form in it, or not shown there, are faults.
func (p *printer) bodyJSON(name string, b DecodedBody) (message json.RawMessage, size *int, sum string, faults []string) {
	n := len(b.data)
	digest := sha256.Sum256(b.data)
	if b.body != nil {
		message, faults = decode.JSON(b.body.Message, "", p.schema)
		if len(b.body.Faults) == 0 { // otherwise the body is damaged, and that is what its faults say
			p.Formless += min(1, len(faults))
		}
		faults = append(faults, b.body.Notes()...)
	}
	for i := range faults {
		faults[i] = name + ": " + faults[i]
	}
	return message, &n, hex.EncodeToString(digest[:]), faults
}

func others(g *decode.Guess) []string {
	if g == nil || g.Sure {
		return nil
	}
	return g.Others
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
	if e.TLS != "" || e.Scheme == "https" {
		return "https://" + host + target
	}
	return "http://" + host + target
}
