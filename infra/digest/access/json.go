package access

import (
	"bytes"
	"strconv"
	"unicode/utf8"
)

// parseJSON reads one line of JSON. It is looser than JSON where proxies are: nginx without escape=json writes "\x22", and
// a variable without quotes leaves nothing, a dash or a list of times. Names inside nested objects count as their own, so
// {"request":{"method":"GET"}} is understood.
func (r *lineReader) parseJSON(line []byte, e *entry) bool {
	p := jsonLine{reader: r, text: line, scratch: r.scratch[:0]}
	ok := p.object(e, 0)
	r.scratch = p.scratch
	return ok && len(bytes.TrimSpace(p.text[p.at:])) == 0
}

type jsonLine struct {
	reader *lineReader
	text   []byte
	at     int
	// scratch holds the strings of this line that had escapes.
	scratch []byte
}

const maxNested = 8

func (p *jsonLine) skip() byte {
	for p.at < len(p.text) {
		switch c := p.text[p.at]; c {
		case ' ', '\t', '\r':
			p.at++
		default:
			return c
		}
	}
	return 0
}

// object reads from its opening to its closing brace. A value that makes no sense fails the line.
func (p *jsonLine) object(e *entry, depth int) bool {
	if p.skip() != '{' || depth > maxNested {
		return false
	}
	p.at++
	for {
		switch p.skip() {
		case '}':
			p.at++
			return true
		case ',':
			p.at++
			continue
		case '"':
		default:
			return false
		}
		name, ok := p.str()
		if !ok || p.skip() != ':' {
			return false
		}
		p.at++
		if !p.value(e, p.reader.known(name), depth) {
			return false
		}
	}
}

func (p *jsonLine) value(e *entry, k known, depth int) bool {
	switch p.skip() {
	case '"':
		text, ok := p.str()
		return ok && e.set(k, text)
	case '{':
		return p.object(e, depth+1)
	case '[':
		return p.list()
	}
	return e.set(k, p.bare())
}

// bare reads what has no quotes: a number, true, nothing at all, or "0.003, 0.120". It ends before the comma that a name
// follows, or before the closing brace.
func (p *jsonLine) bare() []byte {
	begin := p.at
	for p.at < len(p.text) && p.text[p.at] != '}' {
		if p.text[p.at] == ',' {
			next := p.at + 1
			for next < len(p.text) && (p.text[next] == ' ' || p.text[next] == '\t') {
				next++
			}
			if next == len(p.text) || p.text[next] == '"' || p.text[next] == '}' {
				break
			}
		}
		p.at++
	}
	value := bytes.TrimRight(p.text[begin:p.at], " \t\r")
	if string(value) == "null" {
		return nil
	}
	return value
}

// list skips a list with any content.
func (p *jsonLine) list() bool {
	for depth := 0; p.at < len(p.text); {
		switch p.text[p.at] {
		case '"':
			if _, ok := p.str(); !ok {
				return false
			}
			continue
		case '[', '{':
			depth++
		case ']', '}':
			depth--
		}
		p.at++
		if depth == 0 {
			return true
		}
	}
	return false
}

// str reads a string; without escapes the slice is part of the line.
func (p *jsonLine) str() ([]byte, bool) {
	p.at++
	rest := p.text[p.at:]
	end := bytes.IndexByte(rest, '"')
	if end < 0 {
		return nil, false
	}
	if escape := bytes.IndexByte(rest[:end], '\\'); escape >= 0 {
		return p.escaped(escape)
	}
	p.at += end + 1
	return rest[:end], true
}

// escaped reads a string from here on whose first escape comes after this many bytes.
func (p *jsonLine) escaped(plain int) ([]byte, bool) {
	from := len(p.scratch)
	p.scratch = append(p.scratch, p.text[p.at:p.at+plain]...)
	p.at += plain
	for p.at < len(p.text) {
		c := p.text[p.at]
		p.at++
		switch c {
		case '"':
			return p.scratch[from:], true
		case '\\':
			p.escape()
		default:
			p.scratch = append(p.scratch, c)
		}
	}
	return nil, false
}

// escape reads what follows a backslash. One that means nothing is kept as it is.
func (p *jsonLine) escape() {
	if p.at == len(p.text) {
		return
	}
	c := p.text[p.at]
	p.at++
	digits := map[byte]int{'u': 4, 'x': 2}[c]
	if digits > 0 && p.at+digits <= len(p.text) {
		if n, err := strconv.ParseUint(string(p.text[p.at:p.at+digits]), 16, 32); err == nil {
			p.at += digits
			if c == 'x' {
				p.scratch = append(p.scratch, byte(n))
			} else {
				p.scratch = utf8.AppendRune(p.scratch, rune(n))
			}
			return
		}
	}
	if i := bytes.IndexByte([]byte("ntrbfv"), c); i >= 0 {
		c = "\n\t\r\b\f\v"[i]
	} else if c != '"' && c != '\\' && c != '/' {
		p.scratch = append(p.scratch, '\\')
	}
	p.scratch = append(p.scratch, c)
}
