package access

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"
)

// Combined is nginx's and Apache's log_format of that name. What follows it on a line is searched for times.
const Combined = `$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent`

// envoyText is the format that Envoy writes when it is told none.
const envoyText = `[$time] "$request" $status $response_flags $bytes_received $bytes $duration $x_envoy_upstream_service_time `

// shape is a log_format taken apart: variables with the literal text that follows each.
type shape struct {
	prefix string
	parts  []shapePart
	// rest is set when a line may go on after the last part.
	rest bool
}

type shapePart struct {
	known known
	until string // "" is the end of the line
}

var variable = regexp.MustCompile(`\$(\{[a-z0-9_]+\}|[a-z0-9_]+)`)

// parseShape takes a log_format as nginx has it, such as '$remote_addr [$time_local] "$request" $status $request_time'.
func parseShape(format string) (shape, error) {
	found := variable.FindAllStringIndex(format, -1)
	if len(found) == 0 {
		return shape{}, fmt.Errorf("the log format %q names no variable such as $status", format)
	}
	s := shape{prefix: format[:found[0][0]]}
	told := map[field]bool{}
	for i, at := range found {
		name := strings.Trim(format[at[0]+1:at[1]], "{}")
		end := len(format)
		if i+1 < len(found) {
			end = found[i+1][0]
		}
		part := shapePart{known: names[name], until: format[at[1]:end]}
		if i+1 < len(found) && part.until == "" {
			return shape{}, fmt.Errorf("the log format has nothing between $%s and the next variable", name)
		}
		told[part.known.field] = true
		s.parts = append(s.parts, part)
	}
	if !told[fieldRequest] && !told[fieldURI] {
		return shape{}, fmt.Errorf("the log format %q has neither $request nor $request_uri", format)
	}
	return s, nil
}

// match reads a line by its shape.
func (s *shape) match(line []byte, e *entry) bool {
	if !bytes.HasPrefix(line, []byte(s.prefix)) {
		return false
	}
	line = line[len(s.prefix):]
	for i, part := range s.parts {
		last := i == len(s.parts)-1
		end := len(line)
		if !last || part.until != "" {
			end = bytes.Index(line, []byte(part.until))
		}
		if last && s.rest {
			if end = bytes.IndexByte(line, ' '); end < 0 {
				end = len(line) // nothing follows
			}
		}
		if end < 0 {
			return false
		}
		value := line[:end]
		line = line[min(len(line), end+len(part.until)):]
		if part.known.field != other && !e.set(part.known, value) {
			return false
		}
	}
	if s.rest {
		e.setRest(line)
	}
	return true
}

// setRest looks for times in what follows the combined format: the referer and the user agent in quotes, then what people
// append. "rt=0.003 urt="0.001, 0.002"" goes by its names; bare numbers are the request's time, then the upstreams'.
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
		end := bytes.IndexByte(b[1:], '"')
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
