package topology

import (
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// maxFileBytes bounds what Parse reads: a topology of a hundred hosts is a few kilobytes.
const maxFileBytes = 1 << 20

// Parse reads a topology file. name is what the faults call it. The error is *Faults, with every fault of the file.
func Parse(name string, text []byte) (*Topology, error) {
	p := &reader{faults: &Faults{File: name}, lines: splitLines(string(text))}
	t := p.read(text)
	if len(p.faults.Items) > 0 {
		p.faults.sort()
		return nil, p.faults
	}
	return t, nil
}

// splitLines splits at all line breaks of YAML: a carriage return is one even by itself.
func splitLines(text string) []string {
	return strings.Split(strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(text), "\n")
}

// reader walks the tree of a file, and notes what is wrong where.
type reader struct {
	faults *Faults
	lines  []string
}

func (p *reader) faultAt(line, column int, format string, args ...any) {
	f := Fault{Line: line, Column: column, Message: fmt.Sprintf(format, args...)}
	if line >= 1 && line <= len(p.lines) {
		f.Text = p.lines[line-1]
	}
	p.faults.Items = append(p.faults.Items, f)
}

func (p *reader) fault(n ast.Node, format string, args ...any) {
	if m, ok := n.(*ast.MappingNode); ok && len(m.Values) > 0 {
		n = m.Values[0].Key // a mapping's own token is its first colon
	}
	p.faultToken(n.GetToken(), format, args...)
}

func (p *reader) faultToken(t *token.Token, format string, args ...any) {
	if t == nil || t.Position == nil {
		p.faultAt(0, 0, format, args...)
		return
	}
	p.faultAt(t.Position.Line, t.Position.Column, format, args...)
}

func (p *reader) read(text []byte) *Topology {
	if len(text) > maxFileBytes {
		p.faultAt(0, 0, "the file has %d bytes; a topology has at most %d", len(text), maxFileBytes)
		return nil
	}
	file, err := parser.ParseBytes(text, 0)
	if err != nil {
		var ye yaml.Error
		if errors.As(err, &ye) {
			p.faultToken(ye.GetToken(), "%s", ye.GetMessage())
		} else {
			p.faultAt(0, 0, "%s", err)
		}
		return nil
	}
	if len(file.Docs) != 1 || file.Docs[0].Body == nil {
		p.faultAt(0, 0, "want one YAML document, got %d", countBodies(file))
		return nil
	}
	t := &Topology{}
	p.document(t, file.Docs[0].Body)
	return t
}

func countBodies(file *ast.File) int {
	n := 0
	for _, d := range file.Docs {
		if d.Body != nil {
			n++
		}
	}
	return n
}

// document reads the top level; what spans several parts (a role on a host that is not there) is checked at the end,
// and only for parts that could be read.
func (p *reader) document(t *Topology, body ast.Node) {
	var hosts []hostNode
	var instances []instanceNode
	p.mapping(body, "the file", []string{"name", "hosts", "roles"}, []string{"data"}, map[string]func(ast.Node){
		"name":  func(n ast.Node) { t.Name = p.name(n, "name") },
		"hosts": func(n ast.Node) { hosts = p.hosts(n) },
		"roles": func(n ast.Node) { instances = p.roles(n) },
		"data": func(n ast.Node) {
			p.mapping(n, "data", []string{"write"}, nil, map[string]func(ast.Node){
				"write": func(n ast.Node) { t.Write = p.write(n) },
			})
		},
	})
	p.check(hosts, instances)
	for _, h := range hosts {
		t.Hosts = append(t.Hosts, h.Host)
	}
	for _, i := range instances {
		t.Instances = append(t.Instances, i.Instance)
	}
}

func (p *reader) write(n ast.Node) Write {
	w := Write(p.text(n, "write"))
	if w != "" && !slices.Contains(Writes(), w) {
		p.fault(n, "write %q does not exist (have %s)", string(w), join(Writes()))
	}
	return w
}

func join(writes []Write) string {
	var names []string
	for _, w := range writes {
		names = append(names, string(w))
	}
	return strings.Join(names, ", ")
}

// hostNode and instanceNode keep where they stand in the file, for faults that show only when everything is read.
type hostNode struct {
	Host
	at ast.Node
}

type instanceNode struct {
	Instance
	at, hostAt ast.Node
}

func (p *reader) hosts(n ast.Node) []hostNode {
	var list []hostNode
	for _, item := range p.sequence(n, "hosts") {
		h := hostNode{at: item}
		p.mapping(item, "a host", []string{"name", "address"}, []string{"cpus", "memory"}, map[string]func(ast.Node){
			"name":    func(n ast.Node) { h.Name, h.at = p.name(n, "name"), n },
			"address": func(n ast.Node) { h.Address = p.address(n) },
			"cpus":    func(n ast.Node) { h.CPUs = p.cpus(n) },
			"memory":  func(n ast.Node) { h.MemoryBytes = p.bytes(n) },
		})
		list = append(list, h)
	}
	return list
}

func (p *reader) roles(n ast.Node) []instanceNode {
	byRole := map[Role][]instanceNode{}
	actions := map[string]func(ast.Node){}
	var names []string
	for _, role := range Roles() {
		names = append(names, string(role))
		actions[string(role)] = func(n ast.Node) { byRole[role] = p.instances(n, role) }
	}
	p.mapping(n, "roles", names, nil, actions)
	var list []instanceNode
	for _, role := range Roles() {
		list = append(list, byRole[role]...)
	}
	return list
}

// kindKey is what a role's file key for Instance.Kind is called; "" where a role has no kinds.
func kindKey(role Role) string {
	return map[Role]string{Proxy: "kind", DB: "engine"}[role]
}

func kinds(role Role) []Kind {
	return map[Role][]Kind{Proxy: {Nginx, Envoy}, DB: {Auto, MariaDB, MySQL}}[role]
}

func knownKind(role Role, kind Kind) bool { return slices.Contains(kinds(role), kind) }

func kindNames(role Role) string {
	var names []string
	for _, k := range kinds(role) {
		names = append(names, string(k))
	}
	return strings.Join(names, ", ")
}

func (p *reader) instances(n ast.Node, role Role) []instanceNode {
	var list []instanceNode
	for number, item := range p.sequence(n, string(role)) {
		i := instanceNode{at: item, Instance: Instance{Name: fmt.Sprintf("%s-%d", role, number+1), Role: role}}
		actions := map[string]func(ast.Node){
			"host": func(n ast.Node) { i.Host, i.hostAt = p.name(n, "host"), n },
		}
		var optional []string
		if key := kindKey(role); key != "" {
			i.Kind = kinds(role)[0]
			optional = append(optional, key)
			actions[key] = func(n ast.Node) {
				if i.Kind = Kind(p.text(n, key)); i.Kind != "" && !knownKind(role, i.Kind) {
					p.fault(n, "%s %q does not exist (have %s)", key, string(i.Kind), kindNames(role))
				}
			}
		}
		p.mapping(item, "an instance of "+string(role), []string{"host"}, optional, actions)
		list = append(list, i)
	}
	return list
}

var nameRE = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$`)

// name reads a name: it becomes a part of paths, of units and of network namespaces.
func (p *reader) name(n ast.Node, what string) string {
	s := p.text(n, what)
	if s != "" && !nameRE.MatchString(s) {
		p.fault(n, "%s %q: want 1 to 32 of a-z, 0-9 and -, not beginning or ending with -", what, s)
		return ""
	}
	return s
}

var hostnameRE = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?$`)

func (p *reader) address(n ast.Node) string {
	s := p.text(n, "address")
	if _, err := netip.ParseAddr(s); s != "" && err != nil && !hostnameRE.MatchString(s) {
		p.fault(n, "address %q: want an IP address or a host name, without port", s)
		return ""
	}
	return s
}

func (p *reader) cpus(n ast.Node) float64 {
	s := p.text(n, "cpus")
	if s == "" {
		return 0
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || !(f >= 0.01 && f <= 4096) {
		p.fault(n, "cpus %q: want a number of CPUs between 0.01 and 4096", s)
		return 0
	}
	return f
}

var units = []struct {
	name  string
	bytes int64
}{{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40}}

// bytes reads a size. Only the powers of two are taken: GB is written by some for 10^9 and by others for 2^30.
func (p *reader) bytes(n ast.Node) int64 {
	s := p.text(n, "memory")
	if s == "" {
		return 0
	}
	for _, u := range units {
		digits, ok := strings.CutSuffix(s, u.name)
		if !ok {
			continue
		}
		v, err := strconv.ParseInt(strings.TrimSpace(digits), 10, 64)
		if size := v * u.bytes; err == nil && v > 0 && v <= 1<<40/u.bytes*16 && size >= 64<<20 {
			return size
		}
	}
	p.fault(n, "memory %q: want a whole number with KiB, MiB, GiB or TiB, from 64MiB to 16TiB", s)
	return 0
}
