package exchange

import (
	"bytes"
	"fmt"
	"path"
	"slices"
	"strings"

	"isukit/cmd/internal/ui"
	"isukit/proto/capture"
	"isukit/proto/decode"
)

// newCookies puts what the server set now in the place of captured values.
func (r *Replayer) newCookies(header string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	parts := strings.Split(header, ";")
	for i, part := range parts {
		if now, ok := r.Cookies[strings.TrimSpace(part)]; ok {
			parts[i] = now
		}
	}
	return strings.Join(parts, ";")
}

// learnCookies joins the cookies of the captured answer to those of the same name in the answer now.
func (r *Replayer) learnCookies(before, now *capture.Message) {
	if before == nil {
		return
	}
	fresh := map[string]string{}
	for _, pair := range setCookies(now) {
		name, _, _ := strings.Cut(pair, "=")
		fresh[name] = pair
	}
	for _, pair := range setCookies(before) {
		name, _, _ := strings.Cut(pair, "=")
		if pairNow, ok := fresh[name]; ok {
			r.Cookies[pair] = pairNow
		}
	}
}

// setCookies lists the name=value pairs that an answer sets.
func setCookies(m *capture.Message) []string {
	var pairs []string
	for _, f := range m.Header {
		if strings.EqualFold(f.Name, "Set-Cookie") {
			pair, _, _ := strings.Cut(f.Value, ";")
			pairs = append(pairs, strings.TrimSpace(pair))
		}
	}
	return pairs
}

// compare says how the answer now differs from the captured one.
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
			out = append(out, fmt.Sprintf("~ body: %d bytes -> %d other bytes of no known type", len(a.data), len(b.data)))
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
