// Package nginx knows nginx: how its configuration is read and edited, which directive wins where, and how its processes and version
// are found.
package nginx

import (
	"fmt"
	"strings"
)

// Directive is one directive of a configuration; offsets are bytes of the text that it was read from.
type Directive struct {
	Name       string
	Args       []string // without their quotes
	Start, End int      // from its first byte to behind its ";" or "}"
	File       string   // as nginx -T names it; "" elsewhere
	Line       int      // in File
	Block      bool
	Body       int // where a block's inside begins
	Children   []Directive
	Comment    string // the comment line right above it
}

// dumped begins a file in what nginx -T prints.
const dumped = "configuration file "

const maxNesting = 16

// Parse reads a configuration, or what nginx -T prints.
func Parse(text string) ([]Directive, error) {
	r := &reader{text: text, line: 1, dump: true}
	return r.block(0)
}

type reader struct {
	text    string
	at      int
	file    string
	dump    bool // it is what nginx -T prints, with the names of files in comments
	line    int
	comment string // the last comment, while nothing followed it
}

// block reads directives up to the end of the text, or of the block when depth is above 0.
func (r *reader) block(depth int) ([]Directive, error) {
	if depth > maxNesting {
		return nil, fmt.Errorf("line %d: more than %d blocks inside each other", r.line, maxNesting)
	}
	var list []Directive
	for {
		d := Directive{}
		for {
			word, start, line, err := r.token()
			if err != nil {
				return nil, err
			}
			if word == "" && r.at >= len(r.text) && start == r.at {
				if d.Name != "" || depth > 0 {
					return nil, fmt.Errorf("line %d: the text ends inside a directive or block", r.line)
				}
				return list, nil
			}
			bare := r.text[start:r.at] == word
			if bare && word == "}" {
				if d.Name != "" || depth == 0 {
					return nil, fmt.Errorf("line %d: a } too many, or a ; too few", line)
				}
				return list, nil
			}
			if d.Name == "" {
				if bare && (word == ";" || word == "{") {
					return nil, fmt.Errorf("line %d: a %s without a directive", line, word)
				}
				d.Name, d.Start, d.File, d.Line, d.Comment = word, start, r.file, line, r.comment
				r.comment = ""
				continue
			}
			if bare && word == "{" {
				d.Block, d.Body = true, r.at
				if d.Children, err = r.block(depth + 1); err != nil {
					return nil, err
				}
			}
			if d.Block || bare && word == ";" {
				break
			}
			d.Args = append(d.Args, word)
		}
		d.End = r.at
		r.comment = ""
		list = append(list, d)
	}
}

// token returns the next word without its quotes, or one of ; { }, and where it starts. At the end it is "".
func (r *reader) token() (word string, start, line int, err error) {
	r.blanks()
	start, line = r.at, r.line
	if r.at >= len(r.text) {
		return "", start, line, nil
	}
	switch c := r.text[r.at]; c {
	case ';', '{', '}':
		r.at++
		return string(c), start, line, nil
	case '"', '\'':
		return r.quoted(c)
	}
	for r.at < len(r.text) {
		switch c := r.text[r.at]; {
		case c == '\\' && r.at+1 < len(r.text):
			r.at++
		case c == '$' && strings.HasPrefix(r.text[r.at:], "${"):
			end := strings.IndexByte(r.text[r.at:], '}')
			if end < 0 {
				return "", 0, 0, fmt.Errorf("line %d: ${ without }", r.line)
			}
			r.at += end
		case strings.IndexByte(" \t\r\n;{}", c) >= 0:
			return r.text[start:r.at], start, line, nil
		}
		r.at++
	}
	return r.text[start:r.at], start, line, nil
}

func (r *reader) quoted(quote byte) (string, int, int, error) {
	start, line := r.at, r.line
	var word strings.Builder
	for r.at++; r.at < len(r.text); r.at++ {
		c := r.text[r.at]
		switch {
		case c == '\\' && r.at+1 < len(r.text) && (r.text[r.at+1] == quote || r.text[r.at+1] == '\\'):
			r.at++
			c = r.text[r.at]
		case c == quote:
			r.at++
			return word.String(), start, line, nil
		case c == '\n':
			r.line++
		}
		word.WriteByte(c)
	}
	return "", 0, 0, fmt.Errorf("line %d: a %c without its end", line, quote)
}

// blanks skips blanks and comments, and keeps the last comment line that nothing but line ends follow.
func (r *reader) blanks() {
	for r.at < len(r.text) {
		switch c := r.text[r.at]; c {
		case '\n':
			r.line++
			r.at++
		case ' ', '\t', '\r':
			r.at++
		case '#':
			end := strings.IndexByte(r.text[r.at:], '\n')
			if end < 0 {
				end = len(r.text) - r.at
			}
			r.comment = strings.TrimSpace(r.text[r.at+1 : r.at+end])
			if file, ok := strings.CutPrefix(r.comment, dumped); ok && r.dump {
				r.file, r.line = strings.TrimSuffix(file, ":"), 0
			}
			r.at += end
		default:
			return
		}
	}
}

// BuiltWith is an option among those that nginx -V prints, such as --http-log-path; "" where it is not there.
func BuiltWith(printed, option string) string {
	for word := range strings.FieldsSeq(printed) {
		if value, ok := strings.CutPrefix(word, option+"="); ok {
			return value
		}
	}
	return ""
}
