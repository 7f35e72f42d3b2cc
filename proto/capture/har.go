package capture

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// maxHAREntryBytes bounds one entry of a HAR file.
const maxHAREntryBytes = 256 << 20

// maxHARTime bounds how long an exchange may have taken: what is longer, or less than nothing, is no time.
const maxHARTime = 365 * 24 * time.Hour

// harReader reads the entries of an HTTP Archive (HAR 1.2) one after another.
type harReader struct {
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
	Started         time.Time   `json:"startedDateTime"`
	TimeMS          float64     `json:"time"`
	ServerIPAddress string      `json:"serverIPAddress"`
	Request         harRequest  `json:"request"`
	Response        harResponse `json:"response"`
}

type harRequest struct {
	Method      string     `json:"method"`
	URL         string     `json:"url"`
	HTTPVersion string     `json:"httpVersion"`
	Headers     []harField `json:"headers"`
	PostData    *struct {
		Text     string `json:"text"`
		Encoding string `json:"encoding"`
		// What browsers write for a body that is no text.
		ExtraEncoding string `json:"_encoding"`
	} `json:"postData"`
	BodySize int64 `json:"bodySize"`
}

type harResponse struct {
	Status      int        `json:"status"`
	StatusText  string     `json:"statusText"`
	HTTPVersion string     `json:"httpVersion"`
	Headers     []harField `json:"headers"`
	Content     struct {
		Text     string `json:"text"`
		Encoding string `json:"encoding"`
		Size     int64  `json:"size"`
	} `json:"content"`
	BodySize int64 `json:"bodySize"`
}

type harField struct {
	Name  string `json:"name"`
	Value string `json:"value"`
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
	var entry harEntry
	if err := h.dec.Decode(&entry); err != nil {
		return nil, fmt.Errorf("read the HAR file: %w", unexpected(err))
	}
	return entry.exchange(h.opts.BodyBytes), nil
}

// unexpected is err, since the file's end within its structure is no end.
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
	e := &Exchange{Server: h.server()}
	ended := h.Started.Add(time.Duration(min(max(h.TimeMS, 0), float64(maxHARTime/time.Millisecond)) * float64(time.Millisecond)))
	e.Request = &Message{
		Method: h.Request.Method, Target: target(h.Request.URL), Proto: h.Request.HTTPVersion, Header: header(h.Request.Headers),
		Start: h.Started, End: h.Started,
	}
	if p := h.Request.PostData; p != nil {
		encoding := p.Encoding
		if encoding == "" {
			encoding = p.ExtraEncoding
		}
		e.harBody(e.Request, p.Text, encoding, "request", limit)
	} else if h.Request.BodySize > 0 {
		e.Incomplete = append(e.Incomplete, "request: the HAR file does not hold its body")
	}
	if h.Response.Status == 0 {
		e.Incomplete = append(e.Incomplete, "no response was captured")
		return e
	}
	e.Response = &Message{
		Status: h.Response.Status, Reason: h.Response.StatusText, Proto: h.Response.HTTPVersion, Header: header(h.Response.Headers),
		Start: ended, End: ended,
	}
	e.harBody(e.Response, h.Response.Content.Text, h.Response.Content.Encoding, "response", limit)
	if h.Response.Content.Text == "" && h.Response.Content.Size > 0 {
		e.Incomplete = append(e.Incomplete, "response: the HAR file does not hold its body")
	}
	return e
}

// harBody sets a body. Text that should have been bytes is given back as bytes where each character stands for one.
func (e *Exchange) harBody(m *Message, text, encoding, who string, limit int) {
	switch {
	case encoding == "base64":
		body, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			e.Incomplete = append(e.Incomplete, who+": its body in the HAR file is damaged base64")
		}
		m.Body = body
	case !isBinary(m.Header.Get("Content-Type")):
		m.Body = []byte(text)
	default:
		for _, r := range text {
			if r > 0xff {
				e.Incomplete = append(e.Incomplete, who+": its body was read as text by the program that wrote the HAR file, and is damaged")
				m.Body = []byte(text)
				return
			}
			m.Body = append(m.Body, byte(r))
		}
	}
	if len(m.Body) > limit {
		m.Body = m.Body[:limit]
		e.Incomplete = append(e.Incomplete, fmt.Sprintf("%s: the body has more than the limit of %d bytes", who, limit))
	}
	m.WireBytes = int64(len(m.Body))
}

// textual are application types, and endings of such, whose bodies are text.
var textual = []string{"json", "xml", "javascript", "ecmascript", "x-javascript", "x-www-form-urlencoded", "graphql", "x-ndjson", "jsonlines", "yaml", "x-yaml"}

// isBinary reports whether a content type is that of bytes which a HAR writer may have put into a string one by one.
func isBinary(contentType string) bool {
	kind, _, _ := strings.Cut(strings.ToLower(contentType), ";")
	name, ok := strings.CutPrefix(strings.TrimSpace(kind), "application/")
	if plus := strings.LastIndexByte(name, '+'); plus >= 0 {
		name = name[plus+1:] // "atom+xml"
	}
	return ok && !slices.Contains(textual, name)
}

func (h harEntry) server() netip.AddrPort {
	u, err := url.Parse(h.Request.URL)
	if err != nil {
		return netip.AddrPort{}
	}
	host := strings.Trim(h.ServerIPAddress, "[]") // as browsers write IPv6
	if host == "" {
		host = u.Hostname()
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	addr, err := netip.ParseAddrPort(net.JoinHostPort(host, port))
	if err != nil {
		return netip.AddrPort{}
	}
	return addr
}

// target is a URL as a request line has it.
func target(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return strconv.Quote(raw)
	}
	return u.RequestURI()
}

func header(fields []harField) Header {
	h := make(Header, len(fields))
	for i, f := range fields {
		h[i] = Field(f)
	}
	return h
}
