package topology

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"

	"isukit/infra/host"
)

// Role is a kind of process.
type Role string

// The roles, in the order in which a request passes them.
const (
	Proxy Role = "proxy" // nginx or Envoy
	Web   Role = "web"   // contestants' API
	API   Role = "api"   // workers' API
	DB    Role = "db"
)

// Roles are all roles, in the order in which a request passes them.
func Roles() []Role { return []Role{Proxy, Web, API, DB} }

// Kind is the program of an instance: of a proxy "nginx" or "envoy", of a db "auto", "mariadb" or "mysql"; else "".
type Kind string

// The kinds. Auto is the first of MariaDB and MySQL that the host has.
const (
	Nginx   Kind = "nginx"
	Envoy   Kind = "envoy"
	Auto    Kind = "auto"
	MariaDB Kind = "mariadb"
	MySQL   Kind = "mysql"
)

// Topology is one placement of all roles on hosts.
type Topology struct {
	Name      string     `json:"name"`
	Hosts     []Host     `json:"hosts"`
	Instances []Instance `json:"instances"` // proxies first, then web, api, db; each in the order of the file
	Data      Data       `json:"data,omitzero"`
	// Tunings are names of sets of settings, such as "mysql/memory", in the order of the file, for those who apply them.
	Tunings []string `json:"tunings,omitempty"`
}

// Host is a machine, real or emulated.
type Host struct {
	Name        string  `json:"name"`
	CPUs        float64 `json:"cpus"`         // may be a fraction; 0: all that the machine has
	MemoryBytes int64   `json:"memory_bytes"` // 0: all that the machine has
	Address     string  `json:"address"`      // IP address or name, without port
	// LinkBitsPerSec is the speed of its network link; 0: what it is.
	LinkBitsPerSec int64 `json:"link_bits_per_sec,omitempty"`
	// Flaws are what its link does to frames besides; only the lab has them.
	Flaws host.Flaws `json:"link_flaws,omitzero"`
}

// Instance is one role on one host.
type Instance struct {
	Name string `json:"name"` // role and number, e.g. "web-1"; unique
	Role Role   `json:"role"`
	Host string `json:"host"`
	Kind Kind   `json:"kind,omitempty"`
	// TLS says that a proxy speaks https.
	TLS   bool  `json:"tls,omitempty"`
	Sizes Sizes `json:"sizes,omitzero"`
}

// Sizes are an instance's sizes in the file; 0 follows from the host and its other instances.
type Sizes struct {
	Port            int   `json:"port,omitempty"`
	Workers         int   `json:"workers,omitempty"`           // of a proxy: processes of nginx, threads of Envoy
	Connections     int   `json:"connections,omitempty"`       // that a proxy or a database takes
	Files           int   `json:"files,omitempty"`             // limit of open files
	GOMAXPROCS      int   `json:"gomaxprocs,omitempty"`        // of web and api
	DBConnections   int   `json:"db_connections,omitempty"`    // of web and api, to each database
	BufferPoolBytes int64 `json:"buffer_pool_bytes,omitempty"` // of a database
	MemoryBytes     int64 `json:"memory_bytes,omitempty"`      // that the instance may need of its host
}

// Host returns the host of that name.
func (t *Topology) Host(name string) (Host, bool) {
	for _, h := range t.Hosts {
		if h.Name == name {
			return h, true
		}
	}
	return Host{}, false
}

// Instance returns the instance of that name.
func (t *Topology) Instance(name string) (Instance, bool) {
	for _, i := range t.Instances {
		if i.Name == name {
			return i, true
		}
	}
	return Instance{}, false
}

// Of returns the instances of a role.
func (t *Topology) Of(role Role) []Instance {
	var list []Instance
	for _, i := range t.Instances {
		if i.Role == role {
			list = append(list, i)
		}
	}
	return list
}

// On returns the instances on a host.
func (t *Topology) On(host string) []Instance {
	var list []Instance
	for _, i := range t.Instances {
		if i.Host == host {
			list = append(list, i)
		}
	}
	return list
}

// WithKind is the topology with the kind of all instances of a role replaced, as an option on the command line does.
func (t *Topology) WithKind(role Role, kind Kind) (*Topology, error) {
	if !knownKind(role, kind) {
		return nil, fmt.Errorf("%s cannot be %q (have %s)", role, kind, kindNames(role))
	}
	other := *t
	other.Instances = append([]Instance{}, t.Instances...)
	for i := range other.Instances {
		if other.Instances[i].Role == role {
			other.Instances[i].Kind = kind
		}
	}
	return &other, nil
}

// FirstOf is the topology with only the first instance of a role.
func (t *Topology) FirstOf(role Role) *Topology {
	other := *t
	other.Instances = nil
	seen := false
	for _, i := range t.Instances {
		if i.Role != role || !seen {
			other.Instances = append(other.Instances, i)
		}
		seen = seen || i.Role == role
	}
	return &other
}

// Hash is the same for files that say the same, whatever their layout, order of keys and comments: 12 hex digits.
func (t *Topology) Hash() string {
	b, err := json.Marshal(t)
	if err != nil {
		panic("topology: a struct of strings and numbers is not JSON: " + err.Error())
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:6])
}
