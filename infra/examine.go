package infra

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"isukit/infra/doctor"
	"isukit/infra/engine/mysql"
	"isukit/infra/host"
	"isukit/infra/render"
	"isukit/infra/topology"
)

// ExamineOptions say how closely to look at a topology that runs.
type ExamineOptions struct {
	// Over is for how long to look at hosts; see doctor.LookOptions.
	Over time.Duration
	// Probe tries the ways between hosts, and files are read; without one neither is done.
	Probe doctor.Probe
}

// Examine looks at the hosts, processes and databases of the topology, for doctor's checks. What could not be looked at is in
// the error; the rest is there all the same.
func (r *Running) Examine(ctx context.Context, o ExamineOptions) (*doctor.Observed, error) {
	pids, err := r.PIDs(ctx)
	if err != nil {
		return nil, err
	}
	seen := &doctor.Observed{}
	var errs []error
	names := map[host.Host][]string{} // several hosts may be one machine
	var machines []host.Host
	for _, h := range r.input.Topology.Hosts {
		at := r.at(h.Name)
		if names[at] == nil {
			machines = append(machines, at)
		}
		names[at] = append(names[at], h.Name)
	}
	for _, at := range machines {
		h, err := r.examineHost(ctx, at, names[at], pids, o)
		errs = append(errs, err)
		seen.Hosts = append(seen.Hosts, h)
	}
	if len(o.Probe.Argv) > 0 {
		errs = append(errs, r.examinePaths(ctx, seen, o))
	}
	return seen, errors.Join(errs...)
}

// examinePaths tries the ways on which the roles talk to one another, and looks meanwhile whether packets arrive broken.
func (r *Running) examinePaths(ctx context.Context, seen *doctor.Observed, o ExamineOptions) error {
	hosts, ways := map[string]host.Host{}, doctor.Ways{}
	for _, h := range r.input.Topology.Hosts {
		hosts[h.Name] = r.at(h.Name)
	}
	for _, from := range r.Instances {
		for _, to := range r.Instances {
			if t, ok := r.targetOf(from, to); ok && !slices.ContainsFunc(ways[from.Host], func(w doctor.Way) bool { return w.Target == t }) {
				ways[from.Host] = append(ways[from.Host], doctor.Way{To: to.Host, Target: t})
			}
		}
	}
	if len(ways) == 0 {
		return nil
	}
	var g errgroup.Group
	g.Go(func() (err error) {
		seen.Paths, err = doctor.TryWays(ctx, hosts, ways, o.Probe)
		return err
	})
	bad := make([]doctor.Host, len(seen.Hosts))
	for i, h := range seen.Hosts {
		g.Go(func() (err error) {
			bad[i], err = doctor.Look(ctx, hosts[strings.Split(h.Name, ",")[0]], doctor.LookOptions{Over: pathsLook})
			return err
		})
	}
	err := g.Wait()
	for i := range bad {
		seen.Hosts[i].HeaderErrors += bad[i].HeaderErrors
		seen.Hosts[i].ChecksumErrors += bad[i].ChecksumErrors
	}
	return err
}

// pathsLook is as long as probes take that fail.
const pathsLook = 3 * time.Second

// targetOf is how one instance reaches another on another host; false where it does not.
func (r *Running) targetOf(from, to Instance) (doctor.Target, bool) {
	t := doctor.Target{Network: "tcp", Address: to.Addr}
	switch {
	case from.Host == to.Host || r.at(from.Host) == r.at(to.Host):
		return t, false
	case to.Role == string(topology.DB) && from.Role != string(topology.Proxy):
		t.Kind = "mysql"
	case from.Role == string(topology.Proxy) && (to.Role == string(topology.Web) || to.Role == string(topology.API)):
		t.Kind, t.URI = "http", "/healthz"
	default:
		return t, false
	}
	return t, true
}

// examineHost looks at one machine, which is these hosts of the topology.
func (r *Running) examineHost(ctx context.Context, at host.Host, names []string, pids map[string][]int, o ExamineOptions) (doctor.Host, error) {
	roles := map[int]string{}
	is := map[string]bool{}
	for _, name := range names {
		is[name] = true
	}
	for _, i := range r.Instances {
		if is[i.Host] {
			for _, pid := range pids[i.Name] {
				roles[pid] = i.Name
			}
		}
	}
	h, err := doctor.Look(ctx, at, doctor.LookOptions{Over: o.Over, Roles: roles})
	h.Name = strings.Join(names, ",")
	errs := []error{err}
	for _, db := range r.dbs {
		if !is[r.hostOf(db.name)] {
			continue
		}
		d, err := r.examineDatabase(ctx, db)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		d.Clients = r.clientsOf(db)
		for _, p := range h.Processes {
			if p.Role == db.name && (p.Name == "mysqld" || p.Name == "mariadbd") {
				d.PID = p.PID
			}
		}
		h.Databases = append(h.Databases, d)
	}
	if len(o.Probe.Argv) > 0 {
		errs = append(errs, r.examineFiles(ctx, at, &h, is, o))
	}
	return h, errors.Join(errs...)
}

// examineFiles reads the configurations of a machine's servers.
func (r *Running) examineFiles(ctx context.Context, at host.Host, h *doctor.Host, is map[string]bool, o ExamineOptions) error {
	var errs []error
	for _, i := range r.Instances {
		if !is[i.Host] || i.Role != string(topology.Proxy) || r.kindOf(i.Name) != topology.Nginx {
			continue
		}
		path, err := "nginx", error(nil)
		if at.About().Here {
			path, err = findProgram("nginx", "make setup")
		}
		if err == nil {
			var n doctor.Nginx
			n, err = doctor.LookAtNginx(ctx, at, i.Name, path, "-p", i.Dir, "-c", filepath.Join(i.Dir, render.NginxConf), "-e", filepath.Join(i.Dir, errorLog))
			h.Proxies = append(h.Proxies, n)
		}
		errs = append(errs, err)
	}
	// Of a machine that others share, only the topology's own servers are meant.
	mine := *h
	mine.Processes = slices.DeleteFunc(slices.Clone(h.Processes), func(p doctor.Process) bool { return p.Role == "" })
	errs = append(errs, doctor.LookDeeper(ctx, at, &mine, o.Probe))
	h.Databases, h.Proxies = mine.Databases, mine.Proxies
	for _, p := range mine.Processes {
		i := slices.IndexFunc(h.Processes, func(o doctor.Process) bool { return o.PID == p.PID })
		h.Processes[i] = p
	}
	return errors.Join(errs...)
}

func (r *Running) examineDatabase(ctx context.Context, db database) (doctor.Database, error) {
	pool, err := db.Instance.OpenRoot()
	if err != nil {
		return doctor.Database{}, fmt.Errorf("look at %s: %w", db.name, err)
	}
	d, err := doctor.LookAtDatabase(ctx, db.name, mysql.SQL{DB: pool})
	return d, errors.Join(err, pool.Close())
}

// clientsOf are the apps on other machines that log in to a database.
func (r *Running) clientsOf(db database) []doctor.Client {
	var clients []doctor.Client
	for _, i := range r.Instances {
		c := doctor.Client{Address: r.input.Places[i.Name].Address, User: appUser}
		isApp := i.Role == string(topology.Web) || i.Role == string(topology.API)
		if isApp && r.at(i.Host) != r.at(r.hostOf(db.name)) && !slices.Contains(clients, c) {
			clients = append(clients, c)
		}
	}
	return clients
}
