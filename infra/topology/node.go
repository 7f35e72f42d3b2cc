package topology

import (
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// mapping calls the action of each key of a mapping, and notes unknown, repeated and missing keys.
func (p *reader) mapping(n ast.Node, what string, required, optional []string, actions map[string]func(ast.Node)) {
	known := append(slices.Clone(required), optional...)
	seen := map[string]bool{}
	pairs, ok := p.pairs(n, what)
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
			p.fault(kv.Key, "unknown key %q in %s (have %s)", key, what, strings.Join(known, ", "))
		case seen[key]:
			p.fault(kv.Key, "key %q is in %s twice", key, what)
		default:
			actions[key](kv.Value)
		}
		seen[key] = true
	}
	for _, key := range required {
		if !seen[key] {
			p.fault(n, "%s has no key %q", what, key)
		}
	}
}

func (p *reader) pairs(n ast.Node, what string) ([]*ast.MappingValueNode, bool) {
	switch m := n.(type) {
	case *ast.MappingNode:
		return m.Values, true
	case *ast.MappingValueNode:
		return []*ast.MappingValueNode{m}, true
	}
	p.fault(n, "%s must be a mapping (key: value), not %s", what, n.Type().YAMLName())
	return nil, false
}

// sequence returns the entries of a list, and notes where there is no list, or an empty one.
func (p *reader) sequence(n ast.Node, what string) []ast.Node {
	s, ok := n.(*ast.SequenceNode)
	if !ok {
		p.fault(n, "%s must be a list (- ...), not %s", what, n.Type().YAMLName())
		return nil
	}
	if len(s.Values) == 0 {
		p.fault(n, "%s is empty", what)
	}
	return s.Values
}

// text returns a scalar as it is written, and notes where there is none, or an empty one: then it returns "".
func (p *reader) text(n ast.Node, what string) string {
	var s string
	switch v := n.(type) {
	case *ast.StringNode:
		s = v.Value
	case *ast.IntegerNode, *ast.FloatNode:
		s = v.GetToken().Value
	default:
		p.fault(n, "%s must be a plain value, not %s", what, n.Type().YAMLName())
		return ""
	}
	if s == "" {
		p.fault(n, "%s is empty", what)
	}
	return s
}
