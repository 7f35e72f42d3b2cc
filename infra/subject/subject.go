// Package subject has the hosts and services that commands act on, made from a topology that is up or from an isukit.yaml: who
// observes, tunes or examines them does not know where they came from. Making hosts reachable is left to others.
package subject

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"

	"isukit/infra/doctor"
	"isukit/infra/engine/mysql"
	"isukit/infra/host"
	"isukit/infra/tune"
)

// Subject is a set of hosts with services.
type Subject struct {
	Hosts    []Host
	Services []Service
	// Units are the app's own, on any host, also if no service of a topology runs there.
	Units []string
	// OwnOnly says that other servers on the machines are not the subject's, and that all connections between services are known.
	OwnOnly bool
}

// Host is a machine under the name that its subject has for it; several may be one machine.
type Host struct {
	Name  string
	At    host.Host
	Sizes tune.Sizes // of what it may use
	// StateDir is where the tunings of the host are recorded, on it.
	StateDir string
	// Note is tune.Place's.
	Note func(map[string]tune.Written) []host.Op
	// App says that an app runs there, which logs in to databases.
	App bool
	// Consent says that settings of the kernel may be changed although it is that of the machine that isukit runs on.
	Consent bool
}

// Kind is what a service is.
type Kind string

// The kinds of services.
const (
	Nginx    Kind = "nginx"
	Envoy    Kind = "envoy"
	Database Kind = "mysql" // or MariaDB
	App      Kind = "app"   // anything else
)

// Service is a program that runs on a host: a unit of systemd, or a process.
type Service struct {
	Name string // unique in its subject
	Kind Kind
	Host string
	// Unit is the unit of systemd that runs it; "" where none does.
	Unit string
	// DropIn is the file of systemd's that limits of its next start are written to; "" for the usual one of Unit.
	DropIn string
	// Address is where it listens, as host:port; "" where that is not known.
	Address string
	// Conf is a proxy's configuration file, or the option file that gets a database's settings.
	Conf string
	// Argv is a proxy's program with the options that name its files, or the command that started a database.
	Argv []string
	// PIDs are its processes, the first one its main one; none where it does not run.
	PIDs func(context.Context) ([]int, error)
	// Restart starts it again and returns when it answers; nil where that cannot be done from here.
	Restart func(context.Context) error
	// RestartOp and Await are a database's Restart in two parts, the first for a batch; nil if there are none.
	RestartOp *host.Op
	Await     func(context.Context) error
	// Open makes a database answer; close ends that.
	Open func() (q mysql.Querier, close func() error, err error)
	// Schema is the database in which examples of a database's queries are explained; "" takes what its log tells.
	Schema string
	// Uses are the services that it connects to, with the path that an HTTP server answers.
	Uses []Use
	// Clients are apps on other hosts that log in to a database.
	Clients []doctor.Client
}

// Use is a connection from one service to another.
type Use struct{ Service, URI string }

// Machine is what hosts of a subject are on.
type Machine struct {
	Names []string // of its hosts
	At    host.Host
}

// Is tells whether a host's name is one of the machine's.
func (m Machine) Is(name string) bool { return slices.Contains(m.Names, name) }

// Machines are those of the hosts, each once, in their order.
func (s *Subject) Machines() []Machine {
	var list []Machine
	for _, h := range s.Hosts {
		n := slices.IndexFunc(list, func(m Machine) bool { return m.At == h.At })
		if n < 0 {
			n, list = len(list), append(list, Machine{At: h.At})
		}
		list[n].Names = append(list[n].Names, h.Name)
	}
	return list
}

// Host finds a host by its name.
func (s *Subject) Host(name string) (Host, bool) {
	n := slices.IndexFunc(s.Hosts, func(h Host) bool { return h.Name == name })
	if n < 0 {
		return Host{}, false
	}
	return s.Hosts[n], true
}

// On are the services of a machine.
func (s *Subject) On(m Machine) []Service {
	return slices.DeleteFunc(slices.Clone(s.Services), func(v Service) bool { return !m.Is(v.Host) })
}

// sizesOf is what a host may use; shared says that several roles do.
func sizesOf(at host.Host, shared bool) tune.Sizes {
	about := at.About()
	return tune.Sizes{MemoryBytes: about.MemoryBytes, CPUs: about.CPUs, Shared: shared}
}

// HostHere is this machine, or a host of it, whose records are in a state directory; of any other host they are in a directory of
// their own on it, which outlives topologies.
func HostHere(name string, at host.Host, stateDir string, shared, consent bool) Host {
	dir := "/var/lib/isukit-tune"
	if at.About().Here {
		dir = path.Join(stateDir, "tune")
	}
	return Host{Name: name, At: at, Sizes: sizesOf(at, shared), StateDir: dir, Consent: consent}
}

var errNotInstalled = errors.New("it does not run, and its program is not installed")

// programOf finds a program on a host, also where root alone has it on PATH.
func programOf(ctx context.Context, at host.Host, name string) (string, error) {
	out, err := host.Output(ctx, at, "sh", "-c", `PATH=$PATH:/usr/sbin:/usr/local/sbin; command -v "$1" || true`, "sh", name)
	if err == nil && len(out) < 2 {
		err = fmt.Errorf("%s: %w", name, errNotInstalled)
	}
	return trimLine(out), err
}
