package topology

import (
	"fmt"

	"github.com/goccy/go-yaml/ast"
)

// instances reads the instances of a role, with the keys that this role has.
func (p *reader) instances(n ast.Node, role Role) []instanceNode {
	var list []instanceNode
	for number, item := range p.Sequence(n, string(role)) {
		i := &instanceNode{at: item, Instance: Instance{Name: fmt.Sprintf("%s-%d", role, number+1), Role: role}}
		keys := p.instanceKeys(i)
		optional, actions := []string{}, map[string]func(ast.Node){}
		for _, k := range keys {
			optional, actions[k.name] = append(optional, k.name), k.read
		}
		actions["host"] = func(n ast.Node) { i.Host, i.hostAt = p.name(n, "host"), n }
		if KindKey(role) != "" {
			i.Kind = kinds(role)[0]
		}
		p.Mapping(item, "an instance of "+string(role), []string{"host"}, optional, actions)
		list = append(list, *i)
	}
	return list
}

type key struct {
	name string
	read func(ast.Node)
}

// instanceKeys are the keys of an instance of i's role, which set the fields of i.
func (p *reader) instanceKeys(i *instanceNode) []key {
	var keys []key
	if name := KindKey(i.Role); name != "" {
		keys = append(keys, key{name, func(n ast.Node) { i.Kind = p.kind(n, i.Role) }})
	}
	count := func(name string, to *int, low, high int) {
		keys = append(keys, key{name, func(n ast.Node) { *to = p.number(n, name, low, high) }})
	}
	size := func(name string, to *int64) {
		keys = append(keys, key{name, func(n ast.Node) { *to = p.bytes(n, name, 16) }})
	}
	count("port", &i.Sizes.Port, 1, 55535)
	switch i.Role {
	case Proxy:
		keys = append(keys, key{"tls", func(n ast.Node) { i.TLS = p.boolean(n, "tls") }})
		count("workers", &i.Sizes.Workers, 1, 1024)
		count("connections", &i.Sizes.Connections, 64, 1<<20)
	case DB:
		size("buffer_pool", &i.Sizes.BufferPoolBytes)
		count("connections", &i.Sizes.Connections, 10, 100000)
	default:
		count("gomaxprocs", &i.Sizes.GOMAXPROCS, 1, 1024)
		count("db_connections", &i.Sizes.DBConnections, 4, 10000)
	}
	count("files", &i.Sizes.Files, 256, 1<<24)
	size("memory", &i.Sizes.MemoryBytes)
	return keys
}

func (p *reader) kind(n ast.Node, role Role) Kind {
	kind := Kind(p.Text(n, KindKey(role)))
	if kind != "" && !knownKind(role, kind) {
		p.Fault(n, "%s %q does not exist (have %s)", KindKey(role), string(kind), kindNames(role))
	}
	return kind
}

// The first port of each role on a host; the second instance of a role there has the next one, and so on.
const (
	httpPort  = 80
	httpsPort = 443
	webPort   = 8080
	apiPort   = 9292
	dbPort    = 3306
	// DebugPorts is what lies between the port of an instance of web or api, or of Envoy, and that of its pprof or admin page.
	DebugPorts = 10000
)

// Ports are the ports of all instances, by name, where every host has an address of its own.
func (t *Topology) Ports() map[string]int {
	ports := map[string]int{}
	type slot struct {
		host string
		role Role
	}
	count := map[slot]int{}
	for _, i := range t.Instances {
		ports[i.Name] = i.port(count[slot{i.Host, i.Role}])
		count[slot{i.Host, i.Role}]++
	}
	return ports
}

// port is that of the n-th instance of its role on its host, from 0. Proxies are where browsers look for them.
func (i Instance) port(n int) int {
	switch {
	case i.Sizes.Port > 0:
		return i.Sizes.Port
	case i.Role == Proxy && i.TLS:
		return httpsPort
	case i.Role == Proxy:
		return httpPort
	case i.Role == Web:
		return webPort + n
	case i.Role == API:
		return apiPort + n
	}
	return dbPort + n
}
