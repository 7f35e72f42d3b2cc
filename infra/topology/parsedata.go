package topology

import (
	"regexp"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// dataNode, groupNode and word keep where they stand in the file, for checks when everything is read.
type dataNode struct {
	Data
	groups                                      []groupNode
	balanced                                    []word
	writeAt, replicationAt, groupsAt, balanceAt ast.Node
}

type groupNode struct {
	Group
	at                ast.Node
	tables, databases []word
}

type word struct {
	text string
	at   ast.Node
}

func textsOf(words []word) []string {
	var list []string
	for _, w := range words {
		list = append(list, w.text)
	}
	return list
}

func (p *reader) data(n ast.Node) *dataNode {
	d := &dataNode{}
	p.Mapping(n, "data", nil, []string{"write", "read", "replication", "groups", "balance"}, map[string]func(ast.Node){
		"write": func(n ast.Node) { d.Write, d.writeAt = oneOf(p, n, "write", Writes()), n },
		"read":  func(n ast.Node) { d.Read = oneOf(p, n, "read", Reads()) },
		"replication": func(n ast.Node) {
			d.Replication, d.replicationAt = oneOf(p, n, "replication", []Replication{Async, SemiSync}), n
		},
		"groups": func(n ast.Node) {
			d.groupsAt = n
			for _, item := range p.Sequence(n, "groups") {
				d.groups = append(d.groups, p.group(item))
			}
		},
		"balance": func(n ast.Node) { p.balance(n, d) },
	})
	for _, g := range d.groups {
		d.Groups = append(d.Groups, g.Group)
	}
	if d.Write == Replicated && d.Replication == "" {
		d.Replication = Async
	}
	return d
}

// complete fills in what follows from the instances.
func (d *dataNode) complete(instances []instanceNode) {
	if d.Balance == nil || d.balanced != nil {
		return
	}
	for _, i := range instances {
		if i.Role == DB {
			d.Balance.Databases = append(d.Balance.Databases, i.Name)
		}
	}
}

// oneOf reads one of the values that a key may have.
func oneOf[T ~string](p *reader, n ast.Node, what string, values []T) T {
	v := T(p.Text(n, what))
	if v == "" || slices.Contains(values, v) {
		return v
	}
	var names []string
	for _, known := range values {
		names = append(names, string(known))
	}
	p.Fault(n, "%s %q does not exist (have %s)", what, string(v), strings.Join(names, ", "))
	return ""
}

var tableRE = regexp.MustCompile(`^(\*|[A-Za-z0-9_$]{1,64})$`)

func (p *reader) group(item ast.Node) groupNode {
	g := groupNode{at: item}
	p.Mapping(item, "a group", []string{"name", "tables", "databases"}, nil, map[string]func(ast.Node){
		"name": func(n ast.Node) { g.Name, g.at = p.name(n, "name"), n },
		"tables": func(n ast.Node) {
			for _, w := range p.words(n, "tables") {
				if !tableRE.MatchString(w.text) {
					p.Fault(w.at, "table %q: want the name of a table, or \"*\" for those that no other group names", w.text)
					continue
				}
				g.tables = append(g.tables, w)
			}
		},
		"databases": func(n ast.Node) { g.databases = p.words(n, "databases") },
	})
	g.Tables, g.Databases = textsOf(g.tables), textsOf(g.databases)
	return g
}

func (p *reader) balance(n ast.Node, d *dataNode) {
	b := &Balance{Port: DefaultBalancePort}
	p.Mapping(n, "balance", []string{"kind"}, []string{"host", "port", "databases"}, map[string]func(ast.Node){
		"kind":      func(n ast.Node) { b.Kind = oneOf(p, n, "kind", []BalanceKind{BalanceNginx, BalanceNftables}) },
		"host":      func(n ast.Node) { b.Host = p.name(n, "host") },
		"port":      func(n ast.Node) { b.Port = p.number(n, "port", 1, 65535) },
		"databases": func(n ast.Node) { d.balanced = p.words(n, "databases") },
	})
	b.Databases = textsOf(d.balanced)
	d.Balance, d.balanceAt = b, n
}

// words reads a list of plain values.
func (p *reader) words(n ast.Node, what string) []word {
	var list []word
	for _, item := range p.Sequence(n, what) {
		if text := p.Text(item, "an entry of "+what); text != "" {
			list = append(list, word{text, item})
		}
	}
	return list
}

var tuningRE = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,31}(/[a-z0-9][a-z0-9-]{0,31})?$`)

// tunings reads names such as "mysql/memory"; whether there is such a tuning is for others to say.
func (p *reader) tunings(n ast.Node) []string {
	var names []string
	for _, w := range p.words(n, "tunings") {
		switch {
		case !tuningRE.MatchString(w.text):
			p.Fault(w.at, "tuning %q: want a name as mysql/memory, of a-z, 0-9 and -", w.text)
		case slices.Contains(names, w.text):
			p.Fault(w.at, "tuning %q is there twice", w.text)
		default:
			names = append(names, w.text)
		}
	}
	return names
}
