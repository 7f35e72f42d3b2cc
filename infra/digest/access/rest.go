package access

import "bytes"

// setRest looks for times in what follows the combined format: the referer and the user agent in quotes, then what people append. "rt=0.003
// urt="0.001, 0.002"" is read by name; bare numbers are the request's time, then the upstreams'.
func (e *entry) setRest(rest []byte) {
	quoted := 0
	for {
		rest = bytes.TrimLeft(rest, " ")
		if len(rest) == 0 {
			return
		}
		var word, name []byte
		if eq := bytes.IndexAny(rest, `= "`); eq > 0 && rest[eq] == '=' {
			name, rest = rest[:eq], rest[eq+1:]
		}
		isQuoted := len(rest) > 0 && rest[0] == '"'
		word, rest = cutWord(rest)
		switch {
		case name != nil:
			if k := names[string(name)]; k.field == fieldTook || k.field == fieldUpstream || k.field == fieldCache {
				e.set(k, word)
			}
		case isQuoted && quoted < 2:
			quoted++ // the referer and the user agent
		default:
			e.setBare(word)
		}
	}
}

// setBare takes a word without a name: times have a decimal point in nginx.
func (e *entry) setBare(word []byte) {
	if d, n, ok := parseSeconds(word, 0); ok && n > 0 && bytes.IndexByte(word, '.') >= 0 {
		switch {
		case !e.hasTook:
			e.took, e.hasTook = d, true
		case !e.hasUpstream:
			e.upstream, e.tries, e.hasUpstream = d, n, true
		}
		return
	}
	switch string(word) {
	case "HIT", "MISS", "BYPASS", "EXPIRED", "STALE", "UPDATING", "REVALIDATED":
		e.cache = word
	}
}

// cutWord cuts off what stands in quotes, or ends before a space; a list, "0.003, 0.120", is one word.
func cutWord(b []byte) (word, rest []byte) {
	if b = bytes.TrimLeft(b, " "); len(b) > 0 && b[0] == '"' {
		end := quoteEnd(b[1:], `"`)
		if end < 0 {
			return b[1:], nil
		}
		return b[1 : end+1], b[end+2:]
	}
	for i, c := range b {
		if c != ' ' {
			continue
		}
		isList := i > 0 && (b[i-1] == ',' || b[i-1] == ':') || bytes.HasPrefix(b[i:], []byte(" : "))
		if !isList {
			return b[:i], b[i:]
		}
	}
	return b, nil
}
