package exchange

import (
	"bytes"
	"fmt"
	"net/http"
	"path"
	"slices"
	"strings"

	"isukit/cmd/internal/ui"
	"isukit/proto/capture"
	"isukit/proto/decode"
)

// newCookies puts what the server set now in the place of captured values, and leaves those out that go over https only.
func (r *Replayer) newCookies(header string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var parts []string
	for part := range strings.SplitSeq(header, ";") {
		part = strings.TrimSpace(part)
		now, ok := r.Cookies[part]
		switch {
		case ok && now == "":
			r.Withheld++
		case ok:
			parts = append(parts, now)
		default:
			parts = append(parts, part)
		}
	}
	return strings.Join(parts, "; ")
}

// learnCookies joins cookies of the captured answer to those of the same name now; without TLS none that either answer calls Secure.
func (r *Replayer) learnCookies(before, now *capture.Message) {
	if before == nil {
		return
	}
	fresh := map[string]string{}
	for _, c := range setCookies(now) {
		fresh[c.Name] = r.pair(c)
	}
	for _, c := range setCookies(before) {
		pairNow, ok := fresh[c.Name]
		if r.pair(c) == "" {
			pairNow, ok = "", true
		}
		if ok {
			r.Cookies[c.Name+"="+c.Value] = pairNow
		}
	}
}

// pair is a cookie as it is sent; "" where it is not.
func (r *Replayer) pair(c *http.Cookie) string {
	if c.Secure && r.Base.Scheme != "https" {
		return ""
	}
	return c.Name + "=" + c.Value
}

// setCookies lists the cookies that an answer sets.
func setCookies(m *capture.Message) []*http.Cookie {
	var list []*http.Cookie
	for _, f := range m.Header {
		if strings.EqualFold(f.Name, "Set-Cookie") {
			pair, attributes, _ := strings.Cut(f.Value, ";")
			name, value, _ := strings.Cut(strings.TrimSpace(pair), "=")
			secure := slices.ContainsFunc(strings.Split(attributes, ";"), func(a string) bool { return strings.EqualFold(strings.TrimSpace(a), "Secure") })
			list = append(list, &http.Cookie{Name: name, Value: value, Secure: secure})
		}
	}
	return list
}

// compare lists how the new answer differs from the captured one.
func (r *Replayer) compare(d *Decoded, now *capture.Message) []string {
	var out []string
	if d.Response.Status != now.Status {
		out = append(out, fmt.Sprintf("~ status: %d -> %d", d.Response.Status, now.Status))
	}
	fresh := r.Decoder.decode(&capture.Exchange{Request: d.Request, Response: now})
	a, b := d.resp, fresh.resp
	switch {
	case a.typ != b.typ:
		out = append(out, fmt.Sprintf("~ type: %s -> %s", ui.OrDash(a.typ), ui.OrDash(b.typ)))
	case a.body == nil || b.body == nil:
		if !bytes.Equal(a.data, b.data) {
			out = append(out, fmt.Sprintf("~ body: %d bytes -> %d different bytes of unknown type", len(a.data), len(b.data)))
		}
	default:
		for _, difference := range decode.Diff(a.body.Message, b.body.Message) {
			if !r.Options.ignored(difference.Path) {
				out = append(out, difference.String())
			}
		}
	}
	return out
}

// ignored reports whether a pattern of --ignore fits the last name in a field's path.
func (o *ReplayOptions) ignored(field string) bool {
	name, _, _ := strings.Cut(field[strings.LastIndexByte(field, '.')+1:], "[")
	return slices.ContainsFunc(o.Ignore, func(pattern string) bool {
		ok, err := path.Match(pattern, name)
		return ok && err == nil
	})
}
