package access

import (
	"cmp"
	"strings"

	"isukit/input/paths"
)

// Bounds of the tree of paths. A scanner may ask for any number of them.
const (
	maxSiblings = 2000   // literal children of one node; more become one variable
	maxNodes    = 40_000 // of the whole tree; what comes later is counted as OtherRoute
	maxDepth    = 12     // segments; the rest of a path becomes "*"
	// literalLimit is from how many literal siblings on the seldom ones are taken for names of things.
	literalLimit = 32
	// oftenShare of its siblings' hits makes a segment a route of its own.
	oftenShare = 0.02
)

// node is one segment of the paths below its parent.
type node struct {
	name     string
	children map[string]*node
	// literals counts the children that are neither a placeholder nor put together.
	literals int
	// routes are those that end here, by method; nil when there are none.
	routes map[string]*Route
}

// tree finds routes in paths. Its zero value is not ready: see newTree.
type tree struct {
	root  *node
	nodes int
	// literal keeps every path as it is.
	literal bool
}

func newTree(literal bool) *tree { return &tree{root: &node{}, literal: literal} }

// route returns the route of a method and a path without its query; nil when the tree is full.
func (t *tree) route(method string, path []byte) *Route {
	n := t.root
	for depth := 0; len(path) > 0; depth++ {
		segment, rest := path, []byte(nil)
		for i := 1; i < len(path); i++ {
			if path[i] == '/' {
				segment, rest = path[:i], path[i:]
				break
			}
		}
		if depth == maxDepth && !t.literal {
			segment, rest = []byte("/*"), nil
		}
		if n = t.child(n, segment); n == nil {
			return nil
		}
		path = rest
	}
	r := n.routes[method]
	if r == nil {
		if n.routes == nil {
			n.routes = map[string]*Route{}
		}
		r = &Route{Method: method}
		n.routes[method] = r
	}
	return r
}

// child finds or makes the child for a segment, which begins with its slash.
func (t *tree) child(n *node, segment []byte) *node {
	if c := n.children[string(segment)]; c != nil {
		return c
	}
	name, placeholder := "", false
	if !t.literal {
		if kind, ok := paths.Collapse(segment[1:]); ok {
			name, placeholder = "/"+kind, true
		}
	}
	if !placeholder {
		name = string(segment)
		if n.literals >= maxSiblings {
			name, placeholder = "/"+slugOf(name[1:]), true
		}
	}
	c := n.children[name]
	if c != nil {
		return c
	}
	if t.nodes >= maxNodes {
		return nil
	}
	t.nodes++
	if n.children == nil {
		n.children = map[string]*node{}
	}
	if !placeholder {
		n.literals++
	}
	c = &node{name: name}
	n.children[name] = c
	return c
}

// finish puts the seldom siblings together where there are many of them, and returns all routes with their paths.
func (t *tree) finish() []*Route {
	if !t.literal {
		gather(t.root)
	}
	var all []*Route
	var walk func(n *node, path string)
	walk = func(n *node, path string) {
		path += n.name
		for _, r := range n.routes {
			r.Path = cmp.Or(path, "/")
			all = append(all, r)
		}
		for _, c := range n.children {
			walk(c, path)
		}
	}
	walk(t.root, "")
	return all
}

// gather works from the top down: what becomes one node may have many children only then.
func gather(n *node) {
	if n.literals > literalLimit {
		gatherChildren(n)
	}
	for _, c := range n.children {
		gather(c)
	}
}

// gatherChildren groups children by the variable that they would become: "@{slug}" has nothing to do with "{slug}.css".
func gatherChildren(n *node) {
	groups := map[string][]*node{}
	for _, c := range n.children {
		if !strings.Contains(c.name, "{") && len(c.name) > 1 {
			name := "/" + slugOf(c.name[1:])
			groups[name] = append(groups[name], c)
		}
	}
	for name, group := range groups {
		if len(group) > literalLimit {
			n.gatherGroup(name, group)
		}
	}
}

func (n *node) gatherGroup(name string, group []*node) {
	var total int64
	hits := map[*node]int64{}
	for _, c := range group {
		hits[c] = c.hits()
		total += hits[c]
	}
	for _, c := range group {
		if float64(hits[c]) >= oftenShare*float64(total) {
			continue
		}
		delete(n.children, c.name)
		n.literals--
		if into := n.children[name]; into != nil {
			into.merge(c)
		} else {
			c.name = name
			n.children[name] = c
		}
	}
}

func (n *node) hits() int64 {
	var sum int64
	for _, r := range n.routes {
		sum += r.Count
	}
	for _, c := range n.children {
		sum += c.hits()
	}
	return sum
}

// merge adds all of other, which is not used afterwards.
func (n *node) merge(other *node) {
	for method, r := range other.routes {
		if mine := n.routes[method]; mine != nil {
			mine.merge(r)
			continue
		}
		if n.routes == nil {
			n.routes = map[string]*Route{}
		}
		n.routes[method] = r
	}
	for name, c := range other.children {
		if mine := n.children[name]; mine != nil {
			mine.merge(c)
			continue
		}
		if n.children == nil {
			n.children = map[string]*node{}
		}
		n.children[name] = c
		if !strings.Contains(name, "{") {
			n.literals++
		}
	}
}

// slugOf is the name that replaces many siblings: "{slug}", with the extension and a leading "@" that they share.
func slugOf(segment string) string {
	prefix, extension := "", ""
	if len(segment) > 0 && (segment[0] == '@' || segment[0] == '~') {
		prefix = segment[:1]
	}
	for i := len(segment) - 1; i > 0 && len(segment)-i <= 6; i-- {
		if segment[i] == '.' {
			extension = segment[i:]
			break
		}
	}
	return prefix + "{slug}" + extension
}
