package capture

import (
	"bufio"
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"mime"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/text/encoding/htmlindex"

	"isukit/input"
)

const maxHAREntryBytes = 256 << 20

// maxHARTime limits the duration of an exchange: a longer or negative one is invalid.
const maxHARTime = 365 * 24 * time.Hour

// maxHAREmpty limits entries without request and response, above as many as have one: of a few bytes each, they would be many lines.
const maxHAREmpty = 1000

// harLimits bound what decoding one entry takes: headers, cookies and the like are far fewer.
var harLimits = input.JSONLimits{Depth: 100, Objects: 100_000, Values: 1_000_000}

// harReader reads the entries of an HTTP Archive (HAR 1.2) one after another.
type harReader struct {
	empty   int // entries without a request and response, less those that have one
	input   *countedReader
	dec     *json.Decoder
	opts    Options
	entered bool
}

// countedReader fails when too much is read between two calls of reset.
type countedReader struct {
	r    io.Reader
	left int
}

var errEntryTooLarge = fmt.Errorf("an entry of more than %d bytes", maxHAREntryBytes)

func (c *countedReader) Read(b []byte) (int, error) {
	if c.left <= 0 {
		return 0, errEntryTooLarge
	}
	n, err := c.r.Read(b[:min(len(b), c.left)])
	c.left -= n
	return n, err
}

func newHARReader(br *bufio.Reader, opts Options) *harReader {
	if bom, _ := br.Peek(3); string(bom) == "\xef\xbb\xbf" {
		_, _ = br.Discard(3)
	}
	input := &countedReader{r: br, left: maxHAREntryBytes}
	return &harReader{input: input, dec: json.NewDecoder(input), opts: opts}
}

type harEntry struct {
	Started         harTime     `json:"startedDateTime"`
	TimeMS          harNumber   `json:"time"`
	ServerIPAddress harText     `json:"serverIPAddress"`
	Request         harRequest  `json:"request"`
	Response        harResponse `json:"response"`
}

// harTime is a time as programs write it: RFC 3339, with +0900, a space for the T, or no zone (UTC, odd). Other texts are odd, too.
type harTime struct {
	time.Time
	odd string
}

var harTimeForms = []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999Z0700", "2006-01-02T15:04:05.999999999Z07"}

func (t *harTime) UnmarshalJSON(data []byte) error {
	var text harText
	_ = text.UnmarshalJSON(data) // takes any JSON value
	plain := strings.Replace(string(text), " ", "T", 1)
	for _, form := range harTimeForms {
		if at, err := time.Parse(form, plain); err == nil {
			t.Time = at
			return nil
		}
	}
	if at, err := time.Parse("2006-01-02T15:04:05.999999999", plain); err == nil {
		t.Time, t.odd = at, fmt.Sprintf("the time %q has no zone and is taken as UTC", string(text))
		return nil
	}
	t.odd = fmt.Sprintf("%q is not a time", string(text))
	return nil
}

// harText is text, or what else a program put in its place, as text: null is "".
type harText string

func (t *harText) UnmarshalJSON(data []byte) error {
	var s string
	if err := json.Unmarshal(data, &s); err == nil {
		*t = harText(s)
	} else if string(data) != "null" {
		*t = harText(data)
	}
	return nil
}

// harNumber is a number, in quotes or not; anything else is 0.
type harNumber float64

func (n *harNumber) UnmarshalJSON(data []byte) error {
	v, err := strconv.ParseFloat(strings.Trim(string(data), `" `), 64)
	if err == nil && !math.IsNaN(v) && !math.IsInf(v, 0) {
		*n = harNumber(v)
	}
	return nil
}

// int is the number cut to a whole one, within what fits.
func (n harNumber) int() int64 { return int64(min(max(float64(n), math.MinInt32), 1<<52)) }

// harStatus is a status, perhaps in quotes and with its reason behind it. odd says that it is neither a number nor missing.
type harStatus struct {
	code int
	odd  string
}

func (s *harStatus) UnmarshalJSON(data []byte) error {
	var text harText
	_ = text.UnmarshalJSON(data) // takes any JSON value
	first, _, _ := strings.Cut(strings.TrimSpace(string(text)), " ")
	code, err := strconv.ParseFloat(cmp.Or(first, "0"), 64)
	if s.code = int(code); err != nil || code < 0 || code > 999 {
		s.code, s.odd = 0, fmt.Sprintf("%q is not a status", string(text))
	}
	return nil
}

type harRequest struct {
	Method   harText      `json:"method"`
	URL      harText      `json:"url"`
	Headers  []harField   `json:"headers"`
	PostData *harPostData `json:"postData"`
	BodySize harNumber    `json:"bodySize"`
}

type harPostData struct {
	MimeType harText    `json:"mimeType"`
	Text     harText    `json:"text"`
	Encoding harText    `json:"encoding"`
	Params   []harField `json:"params"`
	// What browsers write for a body that is not text.
	ExtraEncoding harText `json:"_encoding"`
}

type harResponse struct {
	Status  harStatus  `json:"status"`
	Headers []harField `json:"headers"`
	Content struct {
		MimeType harText   `json:"mimeType"`
		Text     harText   `json:"text"`
		Encoding harText   `json:"encoding"`
		Size     harNumber `json:"size"`
	} `json:"content"`
	BodySize harNumber `json:"bodySize"`
}

type harField struct {
	Name  harText `json:"name"`
	Value harText `json:"value"`
}

// next returns the next entry, or io.EOF behind the last.
func (h *harReader) next(ctx context.Context) (*Exchange, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	h.input.left = maxHAREntryBytes
	if !h.entered {
		if err := h.enter(); err != nil {
			return nil, fmt.Errorf("read the HAR file: %w", err)
		}
		h.entered = true
	}
	if !h.dec.More() {
		if _, err := h.dec.Token(); err != nil {
			return nil, fmt.Errorf("read the HAR file: %w", unexpected(err))
		}
		return nil, io.EOF
	}
	var raw json.RawMessage
	if err := h.dec.Decode(&raw); err != nil {
		return nil, fmt.Errorf("read the HAR file: %w", unexpected(err))
	}
	var entry harEntry
	err := input.CheckJSON(raw, harLimits)
	if err == nil {
		err = json.Unmarshal(raw, &entry)
	}
	e := entry.exchange(h.opts.BodyBytes)
	if err != nil {
		// One odd entry does not end the rest: what could be read of it is shown, with its fault.
		what := err.Error()
		if wrong := (*json.UnmarshalTypeError)(nil); errors.As(err, &wrong) {
			what = fmt.Sprintf("%s must not be of type %s", cmp.Or(wrong.Field, "it"), wrong.Value)
		}
		e.Incomplete, e.Malformed = append(e.Incomplete, "the entry in the HAR file is not as HAR has it: "+what), true
	}
	if entry.Request.Method != "" || entry.Response.Status.code != 0 {
		h.empty--
	} else if h.empty++; h.empty > maxHAREmpty {
		return nil, fmt.Errorf("read the HAR file: more than %d entries have neither a request nor a response", maxHAREmpty)
	}
	return e, nil
}

// unexpected is err, since the file's end within its structure is not an end.
func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// enter goes to the first element of log.entries.
func (h *harReader) enter() error {
	for _, key := range []string{"log", "entries"} {
		if err := h.expect(json.Delim('{')); err != nil {
			return err
		}
		if err := h.find(key); err != nil {
			return err
		}
	}
	return h.expect(json.Delim('['))
}

func (h *harReader) expect(want json.Delim) error {
	token, err := h.dec.Token()
	if err != nil {
		return unexpected(err)
	}
	if token != want {
		return fmt.Errorf("%v where %v should be", token, want)
	}
	return nil
}

// find goes behind a key of the object that was entered.
func (h *harReader) find(key string) error {
	for h.dec.More() {
		token, err := h.dec.Token()
		if err != nil {
			return unexpected(err)
		}
		if token == key {
			return nil
		}
		var skipped json.RawMessage
		if err := h.dec.Decode(&skipped); err != nil {
			return unexpected(err)
		}
	}
	return fmt.Errorf("it has no %q: this is JSON, but no HAR", key)
}

func (h harEntry) exchange(limit int) *Exchange {
	u, err := url.Parse(string(h.Request.URL))
	target := strconv.Quote(string(h.Request.URL))
	if err == nil {
		target = u.RequestURI()
	} else {
		u = &url.URL{}
	}
	e := &Exchange{Server: h.server(u), Scheme: u.Scheme}
	if h.Started.IsZero() && h.Started.odd == "" {
		h.Started.odd = "the entry has no time"
	}
	for _, odd := range []string{h.Started.odd, h.Response.Status.odd} {
		if odd != "" {
			e.Incomplete, e.Malformed = append(e.Incomplete, odd), true
		}
	}
	ended := h.Started.Add(time.Duration(min(max(float64(h.TimeMS), 0), float64(maxHARTime/time.Millisecond)) * float64(time.Millisecond)))
	e.Request = &Message{
		Method: string(h.Request.Method), Target: target, Header: header(h.Request.Headers),
		Start: h.Started.Time, End: h.Started.Time,
	}
	if u.Host != "" && e.Request.Header.Get("Host") == "" { // as of HTTP/2
		e.Request.Header = append(Header{{Name: "Host", Value: u.Host}}, e.Request.Header...)
	}
	if p := h.Request.PostData; p != nil {
		withType(e.Request, p.MimeType)
		if kind := strings.ToLower(e.Request.Header.Get("Content-Type")); p.Text == "" && len(p.Params) > 0 && kind != "" && !strings.Contains(kind, "urlencoded") {
			e.Incomplete = append(e.Incomplete, "request: the HAR file holds its parameters, not its body")
			p.Params = nil
		}
		e.harBody(e.Request, p.text(), string(cmp.Or(p.Encoding, p.ExtraEncoding)), "request", h.Request.BodySize.int(), limit)
	} else if h.Request.BodySize > 0 {
		e.Incomplete = append(e.Incomplete, "request: the HAR file does not hold its body")
	}
	if h.Response.Status.code == 0 && h.Response.Status.odd == "" && h.Response.Content.Text == "" {
		e.Incomplete = append(e.Incomplete, "no response was captured")
		return e
	}
	e.Response = &Message{
		Status: h.Response.Status.code, Header: header(h.Response.Headers),
		Start: ended, End: ended,
	}
	c := h.Response.Content
	withType(e.Response, c.MimeType)
	e.harBody(e.Response, string(c.Text), string(c.Encoding), "response", c.Size.int(), limit)
	if c.Text == "" && c.Size > 0 {
		e.Incomplete = append(e.Incomplete, "response: the HAR file does not hold its body")
	}
	return e
}

// text is a posted body: what is given as text, else a form made of its parameters.
func (p *harPostData) text() string {
	if p.Text != "" || len(p.Params) == 0 {
		return string(p.Text)
	}
	form := make([]string, len(p.Params))
	for i, field := range p.Params {
		form[i] = url.QueryEscape(string(field.Name)) + "=" + url.QueryEscape(string(field.Value))
	}
	return strings.Join(form, "&")
}

// withType adds the content type of a body whose headers have none.
func withType(m *Message, mimeType harText) {
	if m.Header.Get("Content-Type") == "" && mimeType != "" && mimeType != "x-unknown" {
		m.Header = append(m.Header, Field{Name: "Content-Type", Value: string(mimeType)})
	}
}

// harBody sets a body. Text that should have been bytes becomes bytes again if each character is one byte, as the body's size shows: size
// is that of the bytes, 0 or less if unknown. A header's size counts first: some programs count characters.
func (e *Exchange) harBody(m *Message, text, encoding, who string, size int64, limit int) {
	kind := strings.ToLower(m.Header.Get("Content-Type"))
	if n, err := strconv.ParseInt(m.Header.Get("Content-Length"), 10, 64); err == nil && m.Header.Get("Content-Encoding") == "" {
		size = n
	}
	switch {
	case strings.EqualFold(encoding, "base64"):
		body, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(strings.NewReplacer("-", "+", "_", "/").Replace(text), "=\r\n"))
		if err != nil {
			e.Incomplete = append(e.Incomplete, who+": its body in the HAR file is damaged base64")
		}
		m.Body = body
	case size != int64(len(text)) && (isBinary(kind) || size == int64(utf8.RuneCountInString(text)) && !strings.Contains(kind, "charset=")):
		m.Body = e.characters(text, who)
	default:
		m.Body = e.encoded(m, text, who)
	}
	if len(m.Body) > limit {
		m.Body = m.Body[:limit]
		e.Incomplete = append(e.Incomplete, fmt.Sprintf("%s: the body has more than the limit of %d bytes", who, limit))
	}
}

// encoded is text in the charset that the content type names: the body was that before the writer of the file read it as text.
func (e *Exchange) encoded(m *Message, text, who string) []byte {
	_, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	name := strings.ToLower(params["charset"])
	if err != nil || name == "" || name == "utf-8" || name == "utf8" || name == "us-ascii" {
		return []byte(text)
	}
	charset, err := htmlindex.Get(name)
	if err != nil {
		return []byte(text)
	}
	body, err := charset.NewEncoder().Bytes([]byte(text))
	if err != nil {
		e.Incomplete = append(e.Incomplete, fmt.Sprintf("%s: its body has characters that %s does not have; it is shown in UTF-8", who, name))
		return []byte(text)
	}
	return body
}

// characters takes each character as one byte.
func (e *Exchange) characters(text, who string) []byte {
	body := make([]byte, 0, len(text))
	for _, r := range text {
		if r > 0xff { // letters of a real text, which bytes taken one by one never are
			if strings.ContainsRune(text, utf8.RuneError) {
				e.Incomplete = append(e.Incomplete, who+": its body was read as text by the program that wrote the HAR file, and is damaged")
			}
			return []byte(text)
		}
		body = append(body, byte(r))
	}
	return body
}

// textual are application types, and endings of such, whose bodies are text.
var textual = []string{"json", "xml", "javascript", "ecmascript", "x-javascript", "x-www-form-urlencoded", "graphql", "x-ndjson", "jsonlines", "yaml", "x-yaml"}

// isBinary reports whether a content type, in small letters, is that of bytes which a HAR writer may have put into a string one by one.
func isBinary(contentType string) bool {
	kind, _, _ := strings.Cut(contentType, ";")
	name, ok := strings.CutPrefix(strings.TrimSpace(kind), "application/")
	if plus := strings.LastIndexByte(name, '+'); plus >= 0 {
		name = name[plus+1:] // "atom+xml"
	}
	return ok && !slices.Contains(textual, name)
}

// server is the address that a request to u was sent to; invalid if u has a name.
func (h harEntry) server(u *url.URL) netip.AddrPort {
	host := cmp.Or(strings.Trim(string(h.ServerIPAddress), "[]"), u.Hostname()) // in brackets as browsers write IPv6
	port := cmp.Or(u.Port(), map[string]string{"http": "80", "https": "443"}[u.Scheme])
	addr, _ := netip.ParseAddrPort(net.JoinHostPort(host, port))
	return addr
}

func header(fields []harField) Header {
	h := make(Header, len(fields))
	for i, f := range fields {
		h[i] = Field{Name: string(f.Name), Value: string(f.Value)}
	}
	return h
}
