package yaml

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

// Reader walks the syntax tree of a file, and notes what is wrong where.
type Reader struct {
	faults *Faults
	lines  []string
}

// NewReader returns the reader of a text; name is what the faults call its file.
func NewReader(name, text string) *Reader {
	return &Reader{faults: &Faults{File: name}, lines: splitLines(text)}
}

// Err is a *Faults with all that was noted, by line; nil where nothing was.
func (p *Reader) Err() error {
	if len(p.faults.Items) == 0 {
		return nil
	}
	p.faults.sort()
	return p.faults
}

// splitLines splits at all line breaks of YAML: a carriage return alone is one.
func splitLines(text string) []string {
	return strings.Split(strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(text), "\n")
}

// FaultAt notes a fault at a line and a column; line 0 is without a place.
func (p *Reader) FaultAt(line, column int, format string, args ...any) {
	f := Fault{Line: line, Column: column, Message: fmt.Sprintf(format, args...)}
	if line >= 1 && line <= len(p.lines) {
		f.Text = p.lines[line-1]
	}
	p.faults.Items = append(p.faults.Items, f)
}

// Fault notes a fault at a node.
func (p *Reader) Fault(n ast.Node, format string, args ...any) {
	if m, ok := n.(*ast.MappingNode); ok && len(m.Values) > 0 {
		n = m.Values[0].Key // a mapping's own token is its first colon
	}
	p.FaultToken(n.GetToken(), format, args...)
}

// FaultToken notes a fault at a token; nil is without a place.
func (p *Reader) FaultToken(t *token.Token, format string, args ...any) {
	if t == nil || t.Position == nil {
		p.FaultAt(0, 0, format, args...)
		return
	}
	p.FaultAt(t.Position.Line, t.Position.Column, format, args...)
}

// Mapping calls the action of each key of a mapping, and notes unknown, repeated and missing keys.
func (p *Reader) Mapping(n ast.Node, what string, required, optional []string, actions map[string]func(ast.Node)) {
	known := append(slices.Clone(required), optional...)
	seen := map[string]bool{}
	pairs, ok := p.Pairs(n, what)
	if !ok {
		return
	}
	for _, kv := range pairs {
		key := kv.Key.String()
		if k, ok := kv.Key.(*ast.StringNode); ok {
			key = k.Value
		}
		switch {
		case !slices.Contains(known, key):
			p.Fault(kv.Key, "unknown key %q in %s (have %s)", key, what, strings.Join(known, ", "))
		case seen[key]:
			p.Fault(kv.Key, "key %q is in %s twice", key, what)
		default:
			actions[key](kv.Value)
		}
		seen[key] = true
	}
	for _, key := range required {
		if !seen[key] {
			p.Fault(n, "%s has no key %q", what, key)
		}
	}
}

// Pairs are the keys and values of a mapping; it notes where there is none.
func (p *Reader) Pairs(n ast.Node, what string) ([]*ast.MappingValueNode, bool) {
	switch m := n.(type) {
	case *ast.MappingNode:
		return m.Values, true
	case *ast.MappingValueNode:
		return []*ast.MappingValueNode{m}, true
	}
	p.Fault(n, "%s must be a mapping (key: value), not %s", what, n.Type().YAMLName())
	return nil, false
}

// Sequence returns the entries of a list, and notes a missing or empty one as a fault.
func (p *Reader) Sequence(n ast.Node, what string) []ast.Node {
	s, ok := n.(*ast.SequenceNode)
	if !ok {
		p.Fault(n, "%s must be a list (- ...), not %s", what, n.Type().YAMLName())
		return nil
	}
	if len(s.Values) == 0 {
		p.Fault(n, "%s is empty", what)
	}
	return s.Values
}

// Text returns a scalar as it is written, and notes where there is none, or an empty one: then it returns "".
func (p *Reader) Text(n ast.Node, what string) string {
	var s string
	switch v := n.(type) {
	case *ast.StringNode:
		s = v.Value
	case *ast.IntegerNode, *ast.FloatNode:
		s = v.GetToken().Value
	default:
		p.Fault(n, "%s must be a plain value, not %s", what, n.Type().YAMLName())
		return ""
	}
	if s == "" {
		p.Fault(n, "%s is empty", what)
	}
	return s
}

// Fault is one thing that is wrong with a file.
type Fault struct {
	Line    int    // from 1; 0 when it is not about a place
	Column  int    // from 1, in characters
	Text    string // the line itself
	Message string
}

// Faults is the error of a Reader: everything that is wrong with the file, by line.
type Faults struct {
	File  string
	Items []Fault
}

func (f *Faults) Error() string {
	var b strings.Builder
	for i, item := range f.Items {
		if i > 0 {
			b.WriteByte('\n')
		}
		if item.Line == 0 {
			fmt.Fprintf(&b, "%s: %s", f.File, item.Message)
			continue
		}
		fmt.Fprintf(&b, "%s:%d:%d: %s\n    %s\n    %s^", f.File, item.Line, item.Column, item.Message,
			item.Text, indentTo(item.Text, item.Column))
	}
	return b.String()
}

// indentTo is the white space that puts a mark under the column of text: tabs stay tabs.
func indentTo(text string, column int) string {
	var b strings.Builder
	n := 1
	for _, r := range text {
		if n++; n > column {
			break
		}
		if r == '\t' {
			b.WriteByte('\t')
		} else {
			b.WriteByte(' ')
		}
	}
	return b.String()
}

func (f *Faults) sort() {
	slices.SortStableFunc(f.Items, func(a, b Fault) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
}
