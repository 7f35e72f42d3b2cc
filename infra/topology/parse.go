package topology

import (
	"errors"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"

	inyaml "isukit/input/yaml"
)

// maxFileBytes bounds what Parse reads: a topology of a hundred hosts is a few kilobytes.
const maxFileBytes = 1 << 20

// Parse reads a topology file. name is what the faults call it. The error is *Faults, with every fault of the file.
func Parse(name string, text []byte) (*Topology, error) {
	p := &reader{inyaml.NewReader(name, string(text))}
	t := p.read(text)
	if err := p.Err(); err != nil {
		return nil, err
	}
	return t, nil
}

// Fault is one thing that is wrong with a file.
type Fault = inyaml.Fault

// Faults is the error of Parse: everything that is wrong with the file, by line.
type Faults = inyaml.Faults

type reader struct{ *inyaml.Reader }

func (p *reader) read(text []byte) *Topology {
	if len(text) > maxFileBytes {
		p.FaultAt(0, 0, "the file has %d bytes; a topology has at most %d", len(text), maxFileBytes)
		return nil
	}
	file, err := inyaml.Parse(text)
	if err != nil {
		var ye yaml.Error
		if errors.As(err, &ye) {
			p.FaultToken(ye.GetToken(), "%s", ye.GetMessage())
		} else {
			p.FaultAt(0, 0, "%s", err)
		}
		return nil
	}
	if len(file.Docs) != 1 || file.Docs[0].Body == nil {
		p.FaultAt(0, 0, "want one YAML document, got %d", countBodies(file))
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

// document reads the top level; checks across parts come last, and only for parts that could be read.
func (p *reader) document(t *Topology, body ast.Node) {
	var hosts []hostNode
	var instances []instanceNode
	var data *dataNode
	p.Mapping(body, "the file", []string{"name", "hosts", "roles"}, []string{"data", "tunings"}, map[string]func(ast.Node){
		"name":    func(n ast.Node) { t.Name = p.name(n, "name") },
		"hosts":   func(n ast.Node) { hosts = p.hosts(n) },
		"roles":   func(n ast.Node) { instances = p.roles(n) },
		"data":    func(n ast.Node) { data = p.data(n) },
		"tunings": func(n ast.Node) { t.Tunings = p.tunings(n) },
	})
	if data != nil {
		data.complete(instances)
	}
	p.check(hosts, instances, data)
	for _, h := range hosts {
		t.Hosts = append(t.Hosts, h.Host)
	}
	for _, i := range instances {
		t.Instances = append(t.Instances, i.Instance)
	}
	if data != nil {
		t.Data = data.Data
	}
}

// hostNode and instanceNode keep where they stand in the file, for faults that show only when everything is read.
type hostNode struct {
	Host
	at, addressAt ast.Node
}

type instanceNode struct {
	Instance
	at, hostAt ast.Node
}

func (p *reader) hosts(n ast.Node) []hostNode {
	var list []hostNode
	for _, item := range p.Sequence(n, "hosts") {
		h := hostNode{at: item}
		p.Mapping(item, "a host", []string{"name", "address"}, []string{"cpus", "memory", "link"}, map[string]func(ast.Node){
			"name":    func(n ast.Node) { h.Name, h.at = p.name(n, "name"), n },
			"address": func(n ast.Node) { h.Address, h.addressAt = p.address(n), n },
			"cpus":    func(n ast.Node) { h.CPUs = p.cpus(n) },
			"memory":  func(n ast.Node) { h.MemoryBytes = p.bytes(n, "memory", 64) },
			"link":    func(n ast.Node) { p.link(n, &h.Host) },
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
	p.Mapping(n, "roles", names, nil, actions)
	var list []instanceNode
	for _, role := range Roles() {
		list = append(list, byRole[role]...)
	}
	return list
}

// KindKey is what a role's file key for Instance.Kind is called; "" where a role has no kinds.
func KindKey(role Role) string {
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
