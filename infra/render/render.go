package render

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"net"
	"path"
	"strconv"
	"text/template"

	"isukit/infra/topology"
)

// Input is everything that the files depend on.
type Input struct {
	Topology  *topology.Topology // with no kind "auto" left
	Places    map[string]Place   // by name of instance, for all instances of the topology
	Machine   Machine            // stands in for what a host of the topology leaves open
	Machines  map[string]Machine // what hosts really have, by name; it goes before what the topology says
	MaxFiles  int                // limit of a process's open files; 0: unlimited
	Templates fs.FS              // with nginx/ and mysql/
	Static    []StaticFile       // the front page
	StaticDir string             // where the files of Static are on a proxy's host
	Root      bool               // whether the processes run as root
	// StreamModule is the path of nginx's module stream on the host of a balance; "" where nginx has it built in.
	StreamModule string
	// BalancePort is where reads are taken; 0 is what the topology says.
	BalancePort int
	Scale       string // of the dataset
	Seed        uint64 // of the dataset
}

// Place is where one instance is.
type Place struct {
	Dir       string // its directory on its host, absolute
	Address   string // IP address that it listens on, and that others reach it by
	Port      int
	DebugPort int    // pprof of the app, admin of Envoy
	Socket    string // path of a Unix socket for web and api, where their host allows one; "" for none
}

// HostPort is address:port.
func (p Place) HostPort() string { return net.JoinHostPort(p.Address, strconv.Itoa(p.Port)) }

// Machine is what a host has unless the topology declares it.
type Machine struct {
	CPUs        float64
	MemoryBytes int64
}

// StaticFile is one file of the front page.
type StaticFile struct {
	URLPath     string // e.g. "/" or "/app.css"
	File        string // absolute path on the proxy's host
	ContentType string
	ETag        string // with its quotes
	SizeBytes   int64
}

// File is one rendered file.
type File struct {
	Path string // absolute, on the host
	Data []byte
	Mode fs.FileMode
}

// The paths of rendered files, relative to the directory of their instance.
const (
	NginxConf = "nginx.conf"
	EnvoyConf = "envoy.yaml"
	MyCnf     = "my.cnf"
	AppConf   = "app.yaml"
	CacheLua  = "leaderboard.lua" // for Envoy
)

// The files with secrets that AppConf and the proxies name, relative to the directory of the instance.
const (
	TLSCertFile     = "tls.crt"
	TLSKeyFile      = "tls.key"
	SessionKeyFile  = "session.key"
	WorkerTokenFile = "worker.token"
)

// ReadsDSNFile is the file with the DSN of a balance of reads.
const ReadsDSNFile = "reads.dsn"

// DSNFile is the file with the DSN of the database instance of that name.
func DSNFile(db string) string { return db + ".dsn" }

// Files renders the files of all instances on a host.
func Files(in Input, host string) ([]File, error) {
	if _, ok := in.Topology.Host(host); !ok {
		return nil, fmt.Errorf("render files: host %q is not in topology %s", host, in.Topology.Name)
	}
	for _, i := range in.Topology.Instances {
		if _, ok := in.Places[i.Name]; !ok {
			return nil, fmt.Errorf("render files for %s: no place for %s", host, i.Name)
		}
	}
	var files []File
	for _, i := range in.Topology.On(host) {
		some, err := in.instance(i)
		if err != nil {
			return nil, fmt.Errorf("render files of %s for %s: %w", i.Name, host, err)
		}
		files = append(files, some...)
	}
	return files, nil
}

func (in Input) instance(i topology.Instance) ([]File, error) {
	switch {
	case i.Kind == topology.Nginx:
		return in.nginx(i)
	case i.Kind == topology.Envoy:
		return in.envoy(i)
	case i.Role == topology.DB:
		return in.database(i)
	}
	return in.app(i)
}

func (in Input) database(i topology.Instance) ([]File, error) {
	if i.Kind != topology.MariaDB && i.Kind != topology.MySQL {
		return nil, fmt.Errorf("engine %q must be settled before its files are rendered", i.Kind)
	}
	conf, err := in.template(fmt.Sprintf("mysql/%s.cnf.tmpl", i.Kind), in.SizesOf(i))
	if err != nil {
		return nil, err
	}
	return []File{{Path: path.Join(in.Places[i.Name].Dir, MyCnf), Mode: 0o644, Data: conf}}, nil
}

// apiURL: workers come through the proxy, as everyone does.
func (in Input) apiURL() string {
	for _, i := range in.Topology.Of(topology.Proxy) {
		return in.URLOf(i)
	}
	return ""
}

// URLOf is where a proxy is reached, without a path.
func (in Input) URLOf(proxy topology.Instance) string {
	scheme := "http://"
	if proxy.TLS {
		scheme = "https://"
	}
	return scheme + in.Places[proxy.Name].HostPort()
}

// appID numbers the instances that make ids, from 1.
func (in Input) appID(want topology.Instance) int {
	for n, i := range append(in.Topology.Of(topology.Web), in.Topology.Of(topology.API)...) {
		if i.Name == want.Name {
			return n + 1
		}
	}
	return 0
}

// MachineOf is what a host of the topology has to give.
func (in Input) MachineOf(host string) Machine {
	if m, ok := in.Machines[host]; ok {
		return m
	}
	h, _ := in.Topology.Host(host)
	m := in.Machine
	if h.CPUs > 0 {
		m.CPUs = h.CPUs
	}
	if h.MemoryBytes > 0 {
		m.MemoryBytes = h.MemoryBytes
	}
	return m
}

// alone tells whether an instance has its host for itself.
func (in Input) alone(i topology.Instance) bool { return len(in.Topology.On(i.Host)) == 1 }

func (in Input) template(name string, data any) ([]byte, error) {
	text, err := fs.ReadFile(in.Templates, name)
	if err != nil {
		return nil, err
	}
	t, err := template.New(path.Base(name)).Option("missingkey=error").
		Funcs(template.FuncMap{"json": jsonString}).Parse(string(text))
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	if err := t.Execute(&b, data); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// jsonString quotes a string for YAML, of which JSON is a part.
func jsonString(s string) (string, error) {
	b, err := json.Marshal(s)
	return string(b), err
}
