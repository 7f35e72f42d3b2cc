package infra

import (
	"context"
	"encoding/json"
	"path"
	"path/filepath"
	"slices"

	"isukit/infra/doctor"
	"isukit/infra/engine/mysql"
	"isukit/infra/host"
	"isukit/infra/plan"
	"isukit/infra/render"
	"isukit/infra/subject"
	"isukit/infra/topology"
	"isukit/infra/tune"
)

// Subject is what runs, as commands act on it. Records of tunings are in the run directory: what they are about ends with the run.
func (r *Running) Subject() *subject.Subject {
	s := &subject.Subject{OwnOnly: true}
	for _, h := range r.input.Topology.Hosts {
		if r.set.away[h.Name] != nil {
			continue
		}
		m, at := r.input.MachineOf(h.Name), r.hosts[h.Name]
		s.Hosts = append(s.Hosts, subject.Host{Name: h.Name, At: at, StateDir: filepath.Join(at.About().Dir, "tune"), Note: r.set.note(h.Name),
			Sizes: tune.Sizes{MemoryBytes: m.MemoryBytes, CPUs: m.CPUs, Shared: len(r.input.Topology.On(h.Name)) > 1}})
	}
	for _, i := range r.Instances {
		v := subject.Service{Name: i.Name, Kind: subject.App, Host: i.Host, Address: i.Addr, PIDs: func(ctx context.Context) ([]int, error) { return r.pidsOf(ctx, i) }}
		unitary, _ := r.hosts[i.Host].(host.Unitary)
		if unitary != nil {
			v.DropIn = unitary.DropIn(i.Name)
		}
		for _, to := range r.Instances {
			if uri, ok := r.uses(i.Role, to.Role); ok {
				v.Uses = append(v.Uses, subject.Use{Service: to.Name, URI: uri})
			}
		}
		switch topology.Role(i.Role) {
		case topology.Proxy:
			r.asProxy(&v, i, r.services[i.Name].Argv)
		case topology.DB:
			if r.asDatabase(&v); unitary != nil {
				op := unitary.RestartOp(i.Name)
				v.RestartOp = &op
			}
		}
		s.Services = append(s.Services, v)
	}
	return s
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

func (r *Running) asProxy(v *subject.Service, i Instance, argv []string) {
	if r.kindOf(i.Name) == topology.Envoy {
		v.Kind, v.Conf = subject.Envoy, filepath.Join(i.Dir, render.EnvoyConf)
		v.Argv = []string{argv[0], "-c", v.Conf}
		v.Restart = func(ctx context.Context) error { return r.restart(ctx, i.Name, argv) }
		return
	}
	v.Kind, v.Conf, v.Argv = subject.Nginx, filepath.Join(i.Dir, render.NginxConf), argv
}

func (r *Running) asDatabase(v *subject.Service) {
	db := r.database(v.Name)
	v.Kind, v.Conf, v.Argv = subject.Database, filepath.Join(db.Dir, render.MyCnf), db.Command()
	v.Restart = func(ctx context.Context) error { return r.restart(ctx, db.name, db.Command()) }
	v.Await = func(ctx context.Context) error {
		i, _ := r.input.Topology.Instance(db.name)
		return r.awaitDB(ctx, i, db.Instance)
	}
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
		if isApp && r.hosts[i.Host] != r.hosts[v.Host] && !slices.Contains(v.Clients, c) {
			v.Clients = append(v.Clients, c)
		}
	}
}

func (r *Running) kindOf(name string) topology.Kind {
	i, _ := r.input.Topology.Instance(name)
	return i.Kind
}

// restart is for settings that a running server does not take: it waits until the server is healthy again.
func (r *Running) restart(ctx context.Context, name string, argv []string) error {
	r.spec.progress("restarting %s", name)
	i, _ := r.input.Topology.Instance(name)
	at, service := r.hosts[i.Host], r.services[name]
	st, err := at.State(ctx, name)
	if err != nil {
		return err
	}
	if err := at.Stop(ctx, name, dbStopLimit); err != nil {
		return err
	}
	service.Argv, service.Stamp = argv, st.Stamp
	if err := at.Start(ctx, service); err != nil {
		return err
	}
	if i.Role != topology.DB {
		return r.site.awaitHTTP(ctx, r.layout, i)
	}
	return r.awaitDB(ctx, i, r.database(name).Instance)
}

// database is one of those that run.
func (r *Running) database(name string) database {
	return r.dbs[slices.IndexFunc(r.dbs, func(d database) bool { return d.name == name })]
}

// note records which files of isukit on a host tunings have written since: an apply must not take these for foreign changes.
func (f *hostSet) note(name string) func(map[string]tune.Written) []host.Op {
	inv, h := f.inventories[name], f.hosts[name]
	if inv == nil {
		return nil
	}
	return func(files map[string]tune.Written) []host.Op {
		changed := false
		for n := range inv.Items {
			i := &inv.Items[n]
			w, ok := files[i.Name]
			was, now := hashOf(w.Before), hashOf(w.After)
			if !ok || i.Kind != plan.File || was == now || was != i.Hash && (i.Tuned == "" || was != i.Tuned) {
				continue // not touched, or already changed outside isukit
			}
			if i.Tuned, changed = now, true; now == i.Hash {
				i.Tuned = ""
			}
		}
		text, err := json.MarshalIndent(inv, "", " ")
		if !changed || err != nil {
			return nil
		}
		return []host.Op{{Put: &host.File{Path: path.Join(h.About().Dir, inventoryFile), Data: text, Mode: 0o600}}}
	}
}

func hashOf(text []byte) string {
	if text == nil {
		return ""
	}
	return plan.Hash(text)
}
