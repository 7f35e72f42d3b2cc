package capture

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// Filter selects segments.
type Filter struct {
	// any holds alternatives, each of terms that must all hold; no alternative means everything.
	any [][]filterTerm
}

type filterTerm struct {
	not    bool
	port   uint16
	prefix netip.Prefix
}

// ParseFilter reads a part of tcpdump's language: "port 80", "host 10.0.0.1", "net 10.0.0.0/8", each with "not" before it, joined by "and"
// and "or" ("and" binds stronger, without parentheses). "tcp" may be anywhere, since nothing else is read. An empty text accepts
// everything.
func ParseFilter(text string) (Filter, error) {
	var f Filter
	if strings.TrimSpace(text) == "" {
		return f, nil
	}
	for _, alternative := range splitWords(strings.Fields(text), "or") {
		var terms []filterTerm
		for _, words := range splitWords(alternative, "and") {
			term, any, err := parseTerm(words)
			if err != nil {
				return Filter{}, fmt.Errorf("filter %q: %w", text, err)
			}
			if !any {
				terms = append(terms, term)
			}
		}
		f.any = append(f.any, terms)
	}
	return f, nil
}

func splitWords(words []string, at string) [][]string {
	parts := [][]string{nil}
	for _, w := range words {
		if w == at {
			parts = append(parts, nil)
			continue
		}
		parts[len(parts)-1] = append(parts[len(parts)-1], w)
	}
	return parts
}

// parseTerm reads one term; any says that it lets everything pass.
func parseTerm(words []string) (t filterTerm, any bool, err error) {
	for len(words) > 0 && (words[0] == "tcp" || words[0] == "not") {
		t.not = t.not != (words[0] == "not")
		if words = words[1:]; len(words) == 0 {
			return t, true, nil
		}
	}
	if len(words) != 2 {
		return t, false, fmt.Errorf("%q is not \"port N\", \"host ADDRESS\" or \"net PREFIX\"", strings.Join(words, " "))
	}
	switch words[0] {
	case "port":
		n, err := strconv.ParseUint(words[1], 10, 16)
		if err != nil || n == 0 {
			return t, false, fmt.Errorf("%q is not a port", words[1])
		}
		t.port = uint16(n)
	case "host":
		addr, err := netip.ParseAddr(words[1])
		if err != nil {
			return t, false, fmt.Errorf("%q is no IP address", words[1])
		}
		t.prefix = netip.PrefixFrom(addr, addr.BitLen())
	case "net":
		if t.prefix, err = netip.ParsePrefix(words[1]); err != nil {
			return t, false, fmt.Errorf("%q is not a network prefix", words[1])
		}
	default:
		return t, false, fmt.Errorf("%q is unknown; port, host and net are known", words[0])
	}
	return t, false, nil
}

// Match reports whether a segment between a and b, in either direction, is looked at.
func (f Filter) Match(a, b netip.AddrPort) bool {
	if len(f.any) == 0 {
		return true
	}
	for _, terms := range f.any {
		all := true
		for _, t := range terms {
			if t.match(a, b) == t.not {
				all = false
				break
			}
		}
		if all {
			return true
		}
	}
	return false
}

func (t filterTerm) match(a, b netip.AddrPort) bool {
	if t.port != 0 {
		return a.Port() == t.port || b.Port() == t.port
	}
	return t.prefix.Contains(a.Addr()) || t.prefix.Contains(b.Addr())
}
