package subject

import (
	"context"
	"errors"
	"fmt"

	"isukit/infra/engine/mysql"
	"isukit/infra/host"
)

// Named are servers of one host that a user names one by one.
type Named struct {
	Nginx string // its main configuration file, an absolute path
	Envoy string // its configuration file, too
	// EnvoyUnit is the unit of systemd that runs Envoy; "" for none.
	EnvoyUnit string
	PIDs      []int // processes whose limits are meant
	Databases []NamedDatabase
}

// NamedDatabase is a database that a user names.
type NamedDatabase struct {
	Name  string
	Query mysql.Querier
	// Cnf is the option file that gets settings, Unit what systemd runs; both may be "".
	Cnf, Unit string
}

// OfHost is a host with servers that a user names.
func OfHost(ctx context.Context, h Host, n Named) (*Subject, error) {
	f := &finder{Subject: &Subject{Hosts: []Host{h}}, running: map[host.Host][]Process{}}
	if n.Nginx != "" || n.Envoy != "" {
		var err error
		if f.running[h.At], err = Processes(ctx, h.At); err != nil {
			return nil, err
		}
	}
	for _, proxy := range []struct {
		kind Kind
		file string
	}{{Nginx, n.Nginx}, {Envoy, n.Envoy}} {
		if proxy.file == "" {
			continue
		}
		if err := f.conf(ctx, h, proxy.file, proxy.kind); err != nil {
			return nil, err
		}
	}
	for i := range f.Services {
		v := &f.Services[i]
		v.Name = string(v.Kind)
		if v.Kind == Envoy && n.EnvoyUnit != "" {
			v.Unit = unitName(n.EnvoyUnit)
			v.Restart = restartUnit(h.At, v.Unit)
		}
	}
	for _, pid := range n.PIDs {
		f.Services = append(f.Services, Service{Name: fmt.Sprintf("pid-%d", pid), Kind: App, Host: h.Name, PIDs: func(context.Context) ([]int, error) { return []int{pid}, nil }})
	}
	for _, d := range n.Databases {
		v := Service{Name: d.Name, Kind: Database, Host: h.Name, Conf: d.Cnf, Open: func() (mysql.Querier, func() error, error) { return d.Query, func() error { return nil }, nil }}
		if d.Unit != "" {
			v.Restart = restartDatabase(h.At, unitName(d.Unit), d.Query)
		}
		f.Services = append(f.Services, v)
	}
	return f.Subject, nil
}

// errNotInstalled says that a server is not there.
var errNotInstalled = errors.New("it does not run, and its program is not installed")

// programOf finds a program on a host, also where root alone has it on PATH.
func programOf(ctx context.Context, at host.Host, name string) (string, error) {
	out, err := host.Output(ctx, at, "sh", "-c", `PATH=$PATH:/usr/sbin:/usr/local/sbin; command -v "$1" || true`, "sh", name)
	if err == nil && len(out) < 2 {
		err = fmt.Errorf("%s: %w", name, errNotInstalled)
	}
	return trimLine(out), err
}
