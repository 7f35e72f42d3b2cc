package infra

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"isukit/infra/dbserver"
	"isukit/infra/engine/mysql"
	"isukit/infra/host"
	"isukit/infra/render"
	"isukit/infra/topology"
	"isukit/infra/tune"
)

// TuneTargets are what tunings can be applied to while the topology runs: the kernel of each host, each proxy, each database,
// and the processes of every instance. Their records are in the run directory: what they are about ends with the run.
func (r *Running) TuneTargets() ([]*tune.Target, error) {
	var targets []*tune.Target
	for _, h := range r.input.Topology.Hosts {
		p := r.tunePlace(h.Name, h.Name)
		kernel, link, boot := KernelTargets(p, false)
		targets = append(targets, kernel, link, boot)
	}
	var limits []*tune.Target // the last: a reload or restart makes other processes
	for _, i := range r.Instances {
		p := r.tunePlace(i.Name, i.Host)
		limits = append(limits, tune.NewLimits(p, tune.LimitsConfig{PIDs: func(ctx context.Context) ([]int, error) {
			return r.pidsOf(ctx, i)
		}, DropIn: host.DropIn(r.at(i.Host), i.Name)}))
		if i.Role == string(topology.Proxy) {
			t, err := r.proxyTarget(i, p)
			if err != nil {
				return nil, err
			}
			targets = append(targets, t)
		}
	}
	for _, db := range r.dbs {
		pool, err := db.Instance.OpenRoot()
		if err != nil {
			return nil, fmt.Errorf("tune %s: %w", db.name, err)
		}
		r.pools = append(r.pools, pool)
		p := r.tunePlace(db.name, r.hostOf(db.name))
		targets = append(targets, tune.NewDatabase(p, tune.DatabaseConfig{
			Query: mysql.SQL{DB: pool}, File: filepath.Join(db.Dir, render.MyCnf), Command: db.Command(),
			Restart: func(ctx context.Context) error { return r.restartDB(ctx, db.name, db.Instance) },
		}))
	}
	return append(targets, limits...), nil
}

// KernelTargets are those of what a host's kernel keeps. consent says that the user wants the kernel of the machine that
// isukit runs on changed; without it only that of other hosts is, and of the lab's hosts what each has for itself.
func KernelTargets(p tune.Place, consent bool) (kernel, link, boot *tune.Target) {
	about := p.Host.About()
	var k tune.KernelConfig
	forbid := ""
	switch {
	case about.Kernel == host.NamespaceKernel:
		k.Namespace, _ = os.Readlink("/proc/self/ns/net") // empty would forbid nothing, so:
		if k.Namespace == "" {
			k.Forbid = "isukit can't tell its own network namespace"
		}
	case about.Kernel == host.SharedKernel && !consent:
		forbid = "it belongs to the kernel of the machine that isukit runs on"
		k.Forbid = forbid
	case about.Kernel == host.OwnKernel:
		k.File, k.Tmpfiles = "/etc/sysctl.d/99-isukit.conf", "/etc/tmpfiles.d/isukit.conf"
	}
	b := tune.BootConfig{Forbid: forbid}
	if about.Kernel != host.OwnKernel {
		b.Forbid = "it belongs to the machine's own kernel, which isukit does not boot"
	}
	return tune.NewKernel(p, k), tune.NewLink(p, tune.LinkConfig{Forbid: forbid, Boots: about.Kernel != host.NamespaceKernel}), tune.NewBoot(p, b)
}

func (r *Running) tunePlace(name, hostName string) tune.Place {
	m := r.input.MachineOf(hostName)
	at := r.at(hostName)
	return tune.Place{
		Name: name, Host: at, StateDir: filepath.Join(at.About().Dir, "tune"),
		Sizes: tune.Sizes{MemoryBytes: m.MemoryBytes, CPUs: m.CPUs, Shared: len(r.input.Topology.On(hostName)) > 1},
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

func (r *Running) proxyTarget(i Instance, p tune.Place) (*tune.Target, error) {
	pid := func(ctx context.Context) (int, error) {
		st, err := r.at(i.Host).State(ctx, i.Name)
		return st.PID, err
	}
	path, err := r.proxyProgram(i)
	if err != nil {
		return nil, err
	}
	if r.kindOf(i.Name) == topology.Envoy {
		conf := filepath.Join(i.Dir, render.EnvoyConf)
		return tune.NewEnvoy(p, tune.EnvoyConfig{Conf: conf, Argv: []string{path, "-c", conf}, PID: pid,
			Restart: func(ctx context.Context) error { return r.restartProxy(ctx, i) }}), nil
	}
	conf := filepath.Join(i.Dir, render.NginxConf)
	return tune.NewNginx(p, tune.NginxConfig{
		Conf: conf, Argv: []string{path, "-p", i.Dir, "-c", conf, "-e", filepath.Join(i.Dir, errorLog)},
		PID: pid,
	}), nil
}

// restartProxy is for settings that a running Envoy does not take.
func (r *Running) restartProxy(ctx context.Context, i Instance) error {
	r.spec.progress("restarting %s", i.Name)
	at := r.at(i.Host)
	service, err := r.proxyService(i)
	if err != nil {
		return err
	}
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
	service, ok := r.services[name]
	if !ok {
		service = databaseService(name, inst.Dir, inst.Command(), r.sizesOf(name))
	}
	service.Argv, service.Stamp = inst.Command(), st.Stamp
	return r.startInstance(ctx, at, service, inst)
}

// closePools ends the connections of TuneTargets.
func (r *Running) closePools() {
	for _, pool := range r.pools {
		_ = pool.Close() // it complains of connections that a restart of the server has ended
	}
	r.pools = nil
}
