package infra

import (
	"context"
	"path/filepath"
	"slices"
	"time"

	"isukit/infra/dbserver"
	"isukit/infra/doctor"
	"isukit/infra/engine/mysql"
	"isukit/infra/host"
	"isukit/infra/render"
	"isukit/infra/subject"
	"isukit/infra/topology"
	"isukit/infra/tune"
)

// Subject is what runs, as commands act on it. Records of tunings are in the run directory: what they are about ends with the run.
func (r *Running) Subject() (*subject.Subject, error) {
	s := &subject.Subject{OwnOnly: true}
	for _, h := range r.input.Topology.Hosts {
		if r.found != nil && r.found.away[h.Name] != nil {
			continue
		}
		m, at := r.input.MachineOf(h.Name), r.at(h.Name)
		s.Hosts = append(s.Hosts, subject.Host{Name: h.Name, At: at, StateDir: filepath.Join(at.About().Dir, "tune"),
			Sizes: tune.Sizes{MemoryBytes: m.MemoryBytes, CPUs: m.CPUs, Shared: len(r.input.Topology.On(h.Name)) > 1}})
	}
	for _, i := range r.Instances {
		v := subject.Service{Name: i.Name, Kind: subject.App, Host: i.Host, Address: i.Addr, DropIn: host.DropIn(r.at(i.Host), i.Name), PIDs: func(ctx context.Context) ([]int, error) { return r.pidsOf(ctx, i) }}
		for _, to := range r.Instances {
			if uri, ok := r.uses(i.Role, to.Role); ok {
				v.Uses = append(v.Uses, subject.Use{Service: to.Name, URI: uri})
			}
		}
		switch topology.Role(i.Role) {
		case topology.Proxy:
			r.asProxy(&v, i, r.services[i.Name].Argv[0])
		case topology.DB:
			r.asDatabase(&v)
		}
		s.Services = append(s.Services, v)
	}
	return s, nil
}

// uses tells whether instances of a role connect to those of another, and the path that an HTTP server answers.
func (r *Running) uses(from, to string) (uri string, ok bool) {
	isApp := to == string(topology.Web) || to == string(topology.API)
	if from == string(topology.Proxy) && isApp {
		return "/healthz", true
	}
	replicates := from == to && r.input.Topology.Data.Write == topology.Replicated
	return "", to == string(topology.DB) && from != string(topology.Proxy) && (from != to || replicates)
}

func (r *Running) asProxy(v *subject.Service, i Instance, program string) {
	if r.kindOf(i.Name) == topology.Envoy {
		v.Kind, v.Conf = subject.Envoy, filepath.Join(i.Dir, render.EnvoyConf)
		v.Argv = []string{program, "-c", v.Conf}
		v.Restart = func(ctx context.Context) error { return r.restartProxy(ctx, i) }
		return
	}
	v.Kind, v.Conf = subject.Nginx, filepath.Join(i.Dir, render.NginxConf)
	v.Argv = []string{program, "-p", i.Dir, "-c", v.Conf, "-e", filepath.Join(i.Dir, errorLog)}
}

func (r *Running) asDatabase(v *subject.Service) {
	db := r.dbs[slices.IndexFunc(r.dbs, func(d database) bool { return d.name == v.Name })]
	v.Kind, v.Conf, v.Argv = subject.Database, filepath.Join(db.Dir, render.MyCnf), db.Command()
	v.Restart = func(ctx context.Context) error { return r.restartDB(ctx, db.name, db.Instance) }
	v.Open = func() (mysql.Querier, func() error, error) {
		pool, err := db.Instance.OpenRoot()
		if err != nil {
			return nil, nil, err
		}
		return mysql.SQL{DB: pool}, func() error {
			_ = pool.Close() // it complains of connections that a restart of the server has ended
			return nil
		}, nil
	}
	for _, i := range r.Instances {
		c := doctor.Client{Address: r.input.Places[i.Name].Address, User: appUser}
		isApp := i.Role == string(topology.Web) || i.Role == string(topology.API)
		if isApp && r.at(i.Host) != r.at(v.Host) && !slices.Contains(v.Clients, c) {
			v.Clients = append(v.Clients, c)
		}
	}
}

func (r *Running) kindOf(name string) topology.Kind {
	i, _ := r.input.Topology.Instance(name)
	return i.Kind
}

func (r *Running) hostOf(name string) string {
	for _, i := range r.Instances {
		if i.Name == name {
			return i.Host
		}
	}
	return ""
}

// restartProxy is for settings that a running Envoy does not take.
func (r *Running) restartProxy(ctx context.Context, i Instance) error {
	r.spec.progress("restarting %s", i.Name)
	at := r.at(i.Host)
	service := r.services[i.Name]
	st, err := at.State(ctx, i.Name)
	if err != nil {
		return err
	}
	if err := at.Stop(ctx, i.Name, stopLimit); err != nil {
		return err
	}
	service.Stamp = st.Stamp
	if err := at.Start(ctx, service); err != nil {
		return err
	}
	return r.waitHTTP(ctx, i, "/")
}

// restartDB is for settings that a running server does not take.
func (r *Running) restartDB(ctx context.Context, name string, inst *dbserver.Instance) error {
	r.spec.progress("restarting %s", name)
	at := r.at(r.hostOf(name))
	st, err := at.State(ctx, name)
	if err != nil {
		return err
	}
	if err := at.Stop(ctx, name, time.Minute); err != nil {
		return err
	}
	service := r.services[name]
	service.Argv, service.Stamp = inst.Command(), st.Stamp
	return r.startInstance(ctx, at, service, inst)
}
