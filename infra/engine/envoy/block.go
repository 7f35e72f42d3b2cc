// Package envoy reads and edits Envoy's configuration in YAML, reads the admin page of a running server, and finds its process and version.
package envoy

import (
	"fmt"
	"strconv"
	"strings"
)

// Entry is a key of a mapping, or an item of a sequence, of a YAML text in block style. Offsets are bytes of the text.
type Entry struct {
	Name     string // of a key; of an item what its key "name" says, or its number from 1
	Item     bool
	Line     int
	Comment  string // the comment line right above it
	Children []Entry
	indent   int // columns before a key or its item's "-"
	colon    int // behind a key's ":"
	from, to int // the value; from is colon where the value stands on lines of its own
}

// Parse reads a text in block style, as people write configurations. Values in flow style ({a: b}, [a, b]) and block scalars
// are taken whole; other features of YAML make it an error, so that nothing is edited that was not understood.
func Parse(text string) ([]Entry, error) {
	r := &reader{text: text}
	if err := r.split(); err != nil {
		return nil, err
	}
	r.skip()
	if r.at == len(r.lines) {
		return nil, nil
	}
	list, err := r.block(r.lines[r.at].indent, false, 0)
	if err == nil && r.at < len(r.lines) {
		err = r.fault("it is less indented than what is before it")
	}
	return list, err
}

const maxDepth = 64

type textLine struct {
	number, indent int
	start          int    // of what it says
	stop           int    // behind what it says; 0 of an empty line and a comment
	says           string // without indentation and blanks at its end; "" of an empty line
}

type reader struct {
	text  string
	lines []textLine
	at    int
}

func (r *reader) fault(what string) error {
	return fmt.Errorf("line %d: %s", r.lines[min(r.at, len(r.lines)-1)].number, what)
}

func (r *reader) split() error {
	start, n, begun := 0, 0, false
	for line := range strings.Lines(r.text) {
		n++
		says := strings.TrimLeft(line, " ")
		l := textLine{number: n, indent: len(line) - len(says), start: start + len(line) - len(says)}
		if i := strings.IndexByte(says, '\r'); i >= 0 && says[i:] != "\r\n" {
			return fmt.Errorf("line %d: a carriage return within it", n)
		}
		l.says = strings.TrimRight(says, " \t\r\n")
		start += len(line)
		if l.indent == 0 && (strings.HasPrefix(l.says, "---") || strings.HasPrefix(l.says, "...")) {
			if begun || uncommented(l.says) != "---" {
				return fmt.Errorf("line %d: more than one document, or text on the line that begins one", n)
			}
			continue
		}
		if l.says != "" && l.says[0] != '#' {
			l.stop, begun = l.start+len(l.says), true
		}
		r.lines = append(r.lines, l)
	}
	return nil
}

// skip goes on to the next line that is not empty and no comment.
func (r *reader) skip() {
	for r.at < len(r.lines) && (r.lines[r.at].says == "" || r.lines[r.at].says[0] == '#') {
		r.at++
	}
}

// end is behind the last line that was read and says something.
func (r *reader) end() int {
	for i := r.at - 1; ; i-- {
		if r.lines[i].stop > 0 {
			return r.lines[i].stop
		}
	}
}

// block reads the keys, or items, with that indentation; itemsOnly is for items that are not indented more than their key.
func (r *reader) block(indent int, itemsOnly bool, depth int) ([]Entry, error) {
	if depth > maxDepth {
		return nil, r.fault("too many levels")
	}
	var list []Entry
	for r.at < len(r.lines) && r.lines[r.at].indent == indent {
		l := &r.lines[r.at]
		if strings.HasPrefix(strings.TrimPrefix(l.says, "-"), "\t") {
			return nil, r.fault("a tab before its text")
		}
		item := isItem(l.says)
		if itemsOnly && !item {
			break
		}
		if len(list) > 0 && list[0].Item != item {
			return nil, r.fault("keys and items are mixed")
		}
		e := Entry{Item: item, Line: l.number, indent: indent, Comment: r.above()}
		var err error
		if item {
			err = r.item(&e, len(list)+1, depth)
		} else {
			err = r.key(&e, depth)
		}
		if err != nil {
			return nil, err
		}
		list = append(list, e)
		r.skip()
	}
	if r.at < len(r.lines) && r.lines[r.at].indent > indent {
		return nil, r.fault("it is indented more than what is before it")
	}
	return list, nil
}

func isItem(says string) bool { return says == "-" || strings.HasPrefix(says, "- ") }

// above is the comment on the line before.
func (r *reader) above() string {
	if r.at == 0 || !strings.HasPrefix(r.lines[r.at-1].says, "#") {
		return ""
	}
	return strings.TrimSpace(strings.TrimPrefix(r.lines[r.at-1].says, "#"))
}

// item reads what is behind a "-": the line is read again without it.
func (r *reader) item(e *Entry, number, depth int) (err error) {
	e.Name = strconv.Itoa(number)
	l := &r.lines[r.at]
	rest := strings.TrimLeft(l.says[1:], " ")
	moved := len(l.says) - len(rest)
	l.start, l.indent, l.says = l.start+moved, l.indent+moved, rest
	if rest == "" || rest[0] == '#' {
		if r.skip(); r.at < len(r.lines) && r.lines[r.at].indent > e.indent {
			e.Children, err = r.block(r.lines[r.at].indent, false, depth+1)
		}
	} else if _, _, ok := keyOf(rest); ok || isItem(rest) {
		e.Children, err = r.block(l.indent, false, depth+1)
	} else {
		r.opaque(e.indent, rest)
	}
	for _, c := range e.Children {
		if c.Name == "name" && !c.Item && !strings.Contains(r.text[c.from:c.to], "\n") {
			e.Name = strings.Trim(r.text[c.from:c.to], `"'`)
		}
	}
	return err
}

func (r *reader) key(e *Entry, depth int) (err error) {
	l := r.lines[r.at]
	name, behind, ok := keyOf(l.says)
	if !ok {
		return r.fault("it is not a key in block style")
	}
	e.Name, e.colon = name, l.start+behind
	rest := uncommented(l.says[behind:])
	value := strings.TrimLeft(rest, " ")
	if value != "" {
		r.opaque(e.indent, value)
		e.from, e.to = e.colon+len(rest)-len(value), e.colon+len(rest)
		if end := r.end(); end > l.stop { // it goes on below
			e.from, e.to = e.colon, end
		}
		return nil
	}
	e.from, e.to = e.colon, e.colon
	r.at++
	r.skip()
	if r.at == len(r.lines) {
		return nil
	}
	switch next := r.lines[r.at]; {
	case next.indent > e.indent:
		e.Children, err = r.block(next.indent, false, depth+1)
	case next.indent == e.indent && isItem(next.says):
		e.Children, err = r.block(next.indent, true, depth+1)
	default:
		return nil
	}
	e.to = r.end()
	return err
}

// opaque skips a line and those below it that are indented more, or empty. In a block scalar, nothing is a comment.
func (r *reader) opaque(indent int, value string) {
	literal := value[0] == '|' || value[0] == '>'
	for r.at++; r.at < len(r.lines) && (r.lines[r.at].says == "" || r.lines[r.at].indent > indent); r.at++ {
		if l := &r.lines[r.at]; literal && l.says != "" {
			l.stop = l.start + len(l.says)
		}
	}
}

// keyOf finds the key that a line begins with, and what is behind its colon.
func keyOf(says string) (name string, behind int, ok bool) {
	if says == "" || strings.IndexByte("{[}],&*!|>%@`?", says[0]) >= 0 {
		return "", 0, false
	}
	if quote := says[0]; quote == '"' || quote == '\'' {
		end := strings.IndexByte(says[1:], quote) + 2
		if end < 2 || !strings.HasPrefix(says[end:], ":") || strings.Contains(says[:end], `\`) {
			return "", 0, false
		}
		return says[1 : end-1], end + 1, strings.HasPrefix(says[end+1:]+" ", " ")
	}
	i := strings.Index(says+" ", ": ")
	if i < 1 || strings.Contains(says[:i], " #") {
		return "", 0, false
	}
	return strings.TrimRight(says[:i], " "), i + 1, true
}

// uncommented is a line without the comment at its end. A quote counts where a scalar can begin.
func uncommented(text string) string {
	var quote byte
	for i := 0; i < len(text); i++ {
		c, begins := text[i], i == 0 || strings.IndexByte(" \t[{,:", text[i-1]) >= 0
		switch {
		case quote == '"' && c == '\\':
			i++
		case quote != 0 && c == quote:
			quote = 0
		case quote != 0:
		case begins && (c == '"' || c == '\''):
			quote = c
		case c == '#' && (i == 0 || text[i-1] == ' ' || text[i-1] == '\t'):
			return strings.TrimRight(text[:i], " \t")
		}
	}
	return strings.TrimRight(text, " \t")
}

// Value is what a key has: on its line, or, beginning with that line's end, below it.
func (e Entry) Value(text string) string { return text[e.from:e.to] }
