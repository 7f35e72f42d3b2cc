package subject

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"isukit/infra/engine/mysql"
	"isukit/infra/host"
	"isukit/infra/project"
)

// OfProject are the hosts of a project that can be reached, by the names of named, and the services that its file names: the units and
// configurations under services, and the databases. What is not known of a service is asked from its host; what could not be found out
// is in the error, the rest is complete.
func OfProject(ctx context.Context, p *project.Project, named map[string]host.Host, stateDir string, consent bool) (*Subject, error) {
	f := &finder{Subject: &Subject{}, project: p, running: map[host.Host][]Process{}}
	for _, h := range p.Hosts {
		if at, ok := named[h.Name]; ok {
			f.Hosts = append(f.Hosts, HostHere(h.Name, at, stateDir, false, consent))
			f.Hosts[len(f.Hosts)-1].App = slices.ContainsFunc(h.Roles, func(role string) bool { return slices.Contains([]string{"web", "api", "app"}, role) })
		}
	}
	for _, role := range p.Roles {
		f.Units = append(f.Units, role.Units...)
	}
	var errs []error
	for _, m := range f.Machines() {
		if !f.names(m) {
			continue
		}
		var err error
		if f.running[m.At], err = Processes(ctx, m.At); err != nil {
			errs = append(errs, err)
		}
	}
	for _, on := range slices.Concat(p.Services, p.Final.Services) {
		h, ok := f.Host(on.Host)
		if !ok {
			continue
		}
		for _, unit := range on.Units {
			errs = append(errs, f.unit(ctx, h, unitName(unit)))
		}
		if on.Conf != "" {
			errs = append(errs, f.conf(ctx, h, on.Conf, kindOfFile(on.Conf)))
		}
	}
	for _, d := range p.Databases {
		if h, ok := f.Host(d.Host); ok {
			errs = append(errs, f.database(ctx, h, d))
		}
	}
	for i := range f.Hosts {
		m := Machine{Names: []string{f.Hosts[i].Name}, At: f.Hosts[i].At}
		f.Hosts[i].Sizes.Shared = len(f.On(m)) > 1
	}
	return f.Subject, errors.Join(errs...)
}

type finder struct {
	*Subject
	project *project.Project
	running map[host.Host][]Process
}

// names tells whether the project names services on a machine.
func (f *finder) names(m Machine) bool {
	return slices.ContainsFunc(f.project.Databases, func(d project.Database) bool { return m.Is(d.Host) }) ||
		slices.ContainsFunc(slices.Concat(f.project.Services, f.project.Final.Services), func(s project.ServicesOn) bool { return m.Is(s.Host) })
}

func (f *finder) process(at host.Host, is func(Process) bool) (Process, bool) {
	n := slices.IndexFunc(f.running[at], is)
	if n < 0 {
		return Process{}, false
	}
	return f.running[at][n], true
}

// add gives a service a name of its own.
func (f *finder) add(v Service, name string) {
	v.Name = v.Host + "-" + name
	for n := 2; slices.ContainsFunc(f.Services, func(o Service) bool { return o.Name == v.Name }); n++ {
		v.Name = v.Host + "-" + name + "-" + strconv.Itoa(n)
	}
	f.Services = append(f.Services, v)
}

// unit adds a unit of systemd. A database's is added with its entry under databases, which has its client.
func (f *finder) unit(ctx context.Context, h Host, unit string) error {
	if slices.ContainsFunc(f.Services, func(o Service) bool { return o.Host == h.Name && o.Unit == unit }) {
		return nil
	}
	v := Service{Kind: App, Host: h.Name, Unit: unit, PIDs: unitPIDs(h.At, unit), Restart: restartUnit(h.At, unit)}
	name := strings.TrimSuffix(unit, ".service")
	p, runs := f.process(h.At, func(p Process) bool { return p.Unit == unit })
	switch {
	case runs:
		v.Kind, v.Argv = p.Kind, p.Argv
	case name == "nginx":
		program, err := programOf(ctx, h.At, name)
		if err != nil {
			return err
		}
		v.Kind, v.Argv, p = Nginx, []string{program}, Process{Kind: Nginx, Argv: []string{program}}
	}
	var err error
	if v.Kind == Nginx || v.Kind == Envoy {
		v.Conf, err = p.conf(ctx, h.At)
	}
	f.add(v, name)
	return err
}

func kindOfFile(file string) Kind {
	if slices.Contains([]string{".yaml", ".yml", ".json"}, path.Ext(file)) {
		return Envoy
	}
	return Nginx
}

// conf adds the proxy that has a configuration file, and that no unit is named for.
func (f *finder) conf(ctx context.Context, h Host, file string, kind Kind) error {
	uses := func(ctx context.Context, running []Process) (Process, bool) {
		for _, p := range running {
			if p.Kind != kind {
				continue
			}
			if conf, err := p.conf(ctx, h.At); err == nil && path.Clean(conf) == path.Clean(file) {
				return p, true
			}
		}
		return Process{}, false
	}
	v := Service{Kind: kind, Host: h.Name, Conf: file}
	if p, ok := uses(ctx, f.running[h.At]); ok {
		v.Argv = p.Argv
	} else {
		program, err := programOf(ctx, h.At, string(kind))
		if err != nil {
			return err
		}
		v.Argv = []string{program, "-c", file}
	}
	v.PIDs = func(ctx context.Context) ([]int, error) {
		running, err := Processes(ctx, h.At)
		if err != nil {
			return nil, err
		}
		if p, ok := uses(ctx, running); ok {
			return []int{p.PID}, nil
		}
		return nil, nil
	}
	f.add(v, string(v.Kind))
	return nil
}

// database adds a server of MySQL or MariaDB.
func (f *finder) database(ctx context.Context, h Host, d project.Database) error {
	client := ClientOf(d, h.At)
	v := Service{Kind: Database, Host: h.Name, Conf: d.Cnf, Unit: d.Unit, Schema: d.Schema, Open: func() (mysql.Querier, func() error, error) { return client, func() error { return nil }, nil }}
	p, err := f.serverOf(ctx, h.At, client)
	if err != nil {
		err = fmt.Errorf("the database of %s: %w", h.Name, err)
	}
	if p.PID != 0 {
		v.Argv = p.Argv
		if v.Unit == "" {
			v.Unit = p.Unit
		}
		if v.Conf == "" {
			var confErr error
			v.Conf, confErr = mysql.OptionFileFor(ctx, h.At, p.Argv)
			err = errors.Join(err, confErr)
		}
	}
	if v.Unit != "" {
		v.Unit = unitName(v.Unit)
		v.PIDs, v.Restart = unitPIDs(h.At, v.Unit), restartDatabase(h.At, v.Unit, client)
		f.Services = slices.DeleteFunc(f.Services, func(o Service) bool { return o.Host == h.Name && o.Unit == v.Unit })
	} else if p.PID != 0 {
		v.PIDs = func(ctx context.Context) ([]int, error) {
			p, err := f.serverOf(ctx, h.At, client)
			if err != nil || p.PID == 0 {
				return nil, err
			}
			return []int{p.PID}, nil
		}
	}
	f.add(v, "mysql")
	return err
}

// serverOf finds the process of a database that answers: the one of its pid file, or the only one there is.
func (f *finder) serverOf(ctx context.Context, at host.Host, client mysql.Client) (Process, error) {
	file, err := mysql.One(ctx, client, "SELECT @@GLOBAL.pid_file")
	if err != nil {
		return Process{}, err
	}
	if text, err := at.Get(ctx, file); err == nil {
		pid, _ := strconv.Atoi(strings.TrimSpace(string(text))) // 0 is not a process
		if p, ok := f.process(at, func(p Process) bool { return p.PID == pid }); ok {
			return p, nil
		}
	}
	only := slices.DeleteFunc(slices.Clone(f.running[at]), func(p Process) bool { return p.Kind != Database })
	if len(only) == 1 {
		return only[0], nil
	}
	return Process{}, nil
}

// ClientOf asks a database through the client that the project names.
func ClientOf(d project.Database, at host.Host) mysql.Client {
	return mysql.Client{Host: at, Argv: []string{"sh", "-c", d.Client + ` "$@"`, "sh"}}
}
