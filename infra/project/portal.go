package project

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"

	"isukit/infra/topology"
	inyaml "isukit/input/yaml"
)

// portalKinds are what isukit makes for roles of the portal, with the role of a topology file that each is.
var portalKinds = map[string]topology.Role{
	"portal-web": topology.Web, "portal-api": topology.API, "nginx": topology.Proxy, "envoy": topology.Proxy,
	"auto": topology.DB, "mariadb": topology.DB, "mysql": topology.DB,
}

// portalFile is what a file that describes the portal says of hosts, roles and topologies.
type portalFile struct {
	Hosts      []map[string]any          `yaml:"hosts"`
	Roles      map[string]map[string]any `yaml:"roles"`
	Topologies map[string]map[string]any `yaml:"topologies"`
}

// readPortal reads the topologies of the portal, each as the topology file that says the same; is tells that a role is the portal's app.
func (p *Project) readPortal(text []byte) (is bool, err error) {
	var f portalFile
	if inyaml.Decode(text, &f) != nil {
		return false, nil // roles of another kind; what is wrong with them is found where they are read
	}
	for _, role := range f.Roles {
		is = is || strings.HasPrefix(fmt.Sprint(role["make"]), "portal-")
	}
	var errs []error
	for _, name := range sortedNames(f.Topologies) {
		if !is {
			break
		}
		file, err := f.topology(name)
		if err == nil {
			var t *topology.Topology
			t, err = topology.Parse(FileName+", topology "+name, file)
			p.Portal = append(p.Portal, t)
		}
		errs = append(errs, err)
	}
	return is, errors.Join(errs...)
}

func sortedNames[V any](m map[string]V) (names []string) {
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// topology is one of the topologies as a file.
func (f portalFile) topology(name string) ([]byte, error) {
	file, roles, used := map[string]any{"name": name}, map[topology.Role][]any{}, map[any]bool{}
	var hosts []any
	for _, key := range sortedNames(f.Topologies[name]) {
		placed := f.Topologies[name][key]
		if key == "data" || key == "tunings" {
			file[key] = placed
			continue
		}
		made, _ := f.Roles[key]["make"].(string)
		kind, ok := portalKinds[made]
		if !ok {
			return nil, fmt.Errorf("topology %s: role %q is not one that isukit makes for the portal: want make: portal-web, portal-api, nginx, envoy, auto, mariadb or mysql", name, key)
		}
		items, many := placed.([]any)
		if !many {
			items = []any{placed}
		}
		for _, item := range items {
			instance := map[string]any{"host": item, topology.KindKey(kind): made}
			for k, v := range f.Roles[key] {
				instance[k] = v
			}
			if own, ok := item.(map[string]any); ok {
				instance["host"] = nil
				for k, v := range own {
					instance[k] = v
				}
			}
			delete(instance, "make")
			delete(instance, "")
			used[instance["host"]] = true
			roles[kind] = append(roles[kind], instance)
		}
	}
	for _, h := range f.Hosts {
		if delete(h, "roles"); used[h["name"]] {
			hosts = append(hosts, h)
		}
	}
	file["roles"], file["hosts"] = roles, hosts
	return yaml.Marshal(file)
}
