package tune

import (
	"fmt"
	"strings"
)

// directive is one directive of an nginx configuration; offsets are bytes of the text it was read from.
type directive struct {
	name       string
	args       []string
	start, end int // from its first byte to behind its ";" or "}"
	line       int
	block      bool
	body       int // where a block's inside begins
	children   []directive
	comment    string // the comment line right above it
}

// maxNesting bounds the blocks inside blocks.
const maxNesting = 16

// parseNginx reads a configuration's text.
func parseNginx(text string) ([]directive, error) {
	p := &nginxReader{text: text, line: 1}
	return p.block(0)
}

type nginxReader struct {
	text    string
	at      int
	line    int
	comment string // the last comment, while nothing followed it
}

// block reads directives up to the end of the text, or of the block when depth is above 0.
func (p *nginxReader) block(depth int) ([]directive, error) {
	if depth > maxNesting {
		return nil, fmt.Errorf("line %d: more than %d blocks inside each other", p.line, maxNesting)
	}
	var list []directive
	for {
		d := directive{}
		for {
			word, start, line, err := p.token()
			if err != nil {
				return nil, err
			}
			if word == "" && p.at >= len(p.text) && start == p.at {
				if d.name != "" || depth > 0 {
					return nil, fmt.Errorf("line %d: the text ends inside a directive or block", p.line)
				}
				return list, nil
			}
			bare := p.text[start:p.at] == word
			if bare && word == "}" {
				if d.name != "" || depth == 0 {
					return nil, fmt.Errorf("line %d: a } too many, or a ; too few", line)
				}
				return list, nil
			}
			if d.name == "" {
				if bare && (word == ";" || word == "{") {
					return nil, fmt.Errorf("line %d: a %s without a directive", line, word)
				}
				d.name, d.start, d.line, d.comment = word, start, line, p.comment
				p.comment = ""
				continue
			}
			if bare && word == "{" {
				d.block, d.body = true, p.at
				if d.children, err = p.block(depth + 1); err != nil {
					return nil, err
				}
			}
			if d.block || bare && word == ";" {
				break
			}
			d.args = append(d.args, word)
		}
		d.end = p.at
		p.comment = ""
		list = append(list, d)
	}
}

// token returns the next word without its quotes, or one of ; { }, and where it starts. At the end it is "".
func (p *nginxReader) token() (word string, start, line int, err error) {
	p.blanks()
	start, line = p.at, p.line
	if p.at >= len(p.text) {
		return "", start, line, nil
	}
	switch c := p.text[p.at]; c {
	case ';', '{', '}':
		p.at++
		return string(c), start, line, nil
	case '"', '\'':
		return p.quoted(c)
	}
	for p.at < len(p.text) {
		switch c := p.text[p.at]; {
		case c == '\\' && p.at+1 < len(p.text):
			p.at++
		case c == '$' && strings.HasPrefix(p.text[p.at:], "${"):
			end := strings.IndexByte(p.text[p.at:], '}')
			if end < 0 {
				return "", 0, 0, fmt.Errorf("line %d: ${ without }", p.line)
			}
			p.at += end
		case strings.IndexByte(" \t\r\n;{}", c) >= 0:
			return p.text[start:p.at], start, line, nil
		}
		p.at++
	}
	return p.text[start:p.at], start, line, nil
}

func (p *nginxReader) quoted(quote byte) (string, int, int, error) {
	start, line := p.at, p.line
	var word strings.Builder
	for p.at++; p.at < len(p.text); p.at++ {
		c := p.text[p.at]
		switch {
		case c == '\\' && p.at+1 < len(p.text) && (p.text[p.at+1] == quote || p.text[p.at+1] == '\\'):
			p.at++
			c = p.text[p.at]
		case c == quote:
			p.at++
			return word.String(), start, line, nil
		case c == '\n':
			p.line++
		}
		word.WriteByte(c)
	}
	return "", 0, 0, fmt.Errorf("line %d: a %c without its end", line, quote)
}

// blanks skips blanks and comments, and keeps the last comment line that nothing but line ends follow.
func (p *nginxReader) blanks() {
	for p.at < len(p.text) {
		switch c := p.text[p.at]; c {
		case '\n':
			p.line++
			p.at++
		case ' ', '\t', '\r':
			p.at++
		case '#':
			end := strings.IndexByte(p.text[p.at:], '\n')
			if end < 0 {
				end = len(p.text) - p.at
			}
			p.comment = strings.TrimSpace(p.text[p.at+1 : p.at+end])
			p.at += end
		default:
			return
		}
	}
}

// keyed are directives that may stand several times in a block, told apart by their first argument.
var keyed = map[string]bool{
	"proxy_set_header": true, "add_header": true, "log_format": true, "proxy_cache_path": true, "proxy_cache_valid": true,
	"error_page": true, "upstream": true, "proxy_hide_header": true, "proxy_ignore_headers": true,
}

// ident names a directive among its neighbours. Of a location or map all arguments count: "location = /x" is not "location /x".
func (d directive) ident() string {
	switch {
	case d.name == "location", d.name == "map":
		return d.name + " " + strings.Join(d.args, " ")
	case keyed[d.name] && len(d.args) > 0:
		return d.name + " " + d.args[0]
	}
	return d.name
}

// nginx reads a tuning's fragment: directives and blocks with a comment line are settings, other blocks only say where.
func (p *parser) nginx(text string) {
	list, err := parseNginx(text)
	if err != nil {
		p.faults = append(p.faults, fmt.Errorf("%s: %w", p.file, err))
		return
	}
	p.fragment(text, "", list)
}

func (p *parser) fragment(text, path string, list []directive) {
	seen := map[string]bool{}
	for _, d := range list {
		key := path + d.ident()
		if d.block && !strings.Contains(d.comment, "risk:") {
			p.fragment(text, key+" > ", d.children)
			continue
		}
		if seen[key] {
			p.fault(d.line, "%s is set twice", key)
		}
		seen[key] = true
		value := text[d.start:d.end]
		if !d.block {
			value = strings.TrimRight(strings.TrimSpace(strings.TrimPrefix(value[:len(value)-1], d.name)), " ")
			value = expressionOf(d, value)
		}
		p.add(d.line, key, value, d.comment, false)
	}
}

// expressionOf: nginx needs quotes around "2 x cpus", the expression has none.
func expressionOf(d directive, value string) string {
	if len(d.args) == 1 && cpusRE.MatchString(d.args[0]) {
		return d.args[0]
	}
	return value
}

// NginxValue is the first argument of a directive outside all blocks of a configuration; "" where it is not there.
func NginxValue(text, name string) (string, error) {
	list, err := parseNginx(text)
	for _, d := range list {
		if d.name == name && len(d.args) > 0 {
			return d.args[0], nil
		}
	}
	return "", err
}
