package subject

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"isukit/infra/doctor"
	"isukit/infra/host"
)

// ExamineOptions are how closely to inspect.
type ExamineOptions struct {
	// Over is for how long to look at hosts; see doctor.LookOptions.
	Over time.Duration
	// Probe tries the ways between hosts, and files are read; without one neither is done.
	Probe doctor.Probe
}

// Examine inspects hosts, services and the network paths between them, for doctor's checks. The error names what could not be inspected.
func (s *Subject) Examine(ctx context.Context, o ExamineOptions) (*doctor.Observed, error) {
	machines := s.Machines()
	seen, errs := &doctor.Observed{Hosts: make([]doctor.Host, len(machines))}, make([]error, len(machines))
	var all sync.WaitGroup
	for n, m := range machines {
		all.Go(func() { seen.Hosts[n], errs[n] = s.examineMachine(ctx, m, o) })
	}
	all.Wait()
	s.nameClients(machines, seen.Hosts)
	if len(o.Probe.Argv) > 0 {
		errs = append(errs, s.examinePaths(ctx, machines, seen, o))
	}
	return seen, errors.Join(errs...)
}

func (s *Subject) examineMachine(ctx context.Context, m Machine, o ExamineOptions) (doctor.Host, error) {
	services := s.On(m)
	roles := map[int]string{}
	for _, v := range services {
		if v.Unit != "" || v.PIDs == nil {
			continue // what is looked at has the names of units
		}
		pids, err := v.PIDs(ctx)
		if err != nil {
			return doctor.Host{Name: strings.Join(m.Names, ",")}, err
		}
		for _, pid := range pids {
			roles[pid] = v.Name
		}
	}
	h, err := doctor.Look(ctx, m.At, doctor.LookOptions{Over: o.Over, Roles: roles})
	h.Name = strings.Join(m.Names, ",")
	errs := []error{err}
	for i := range h.Processes {
		p := &h.Processes[i]
		p.Role = cmp.Or(p.Role, s.roleOf(p.Unit, services))
	}
	for _, v := range services {
		if v.Open == nil {
			continue
		}
		d, err := v.examineDatabase(ctx, h)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		h.Databases = append(h.Databases, d)
	}
	if len(o.Probe.Argv) > 0 {
		errs = append(errs, s.examineFiles(ctx, m, &h, o))
	}
	return h, errors.Join(errs...)
}

// roleOf names the service that a unit is, of those of its machine; a unit of the app's that no topology places there has a role, too.
func (s *Subject) roleOf(unit string, services []Service) string {
	n := slices.IndexFunc(services, func(v Service) bool { return v.Unit != "" && v.Unit == unit })
	switch {
	case n >= 0:
		return services[n].Name
	case slices.Contains(s.Units, unit):
		return strings.TrimSuffix(unit, ".service")
	}
	return ""
}

func (v Service) examineDatabase(ctx context.Context, h doctor.Host) (doctor.Database, error) {
	q, closeAll, err := v.Open()
	if err != nil {
		return doctor.Database{}, fmt.Errorf("inspect %s: %w", v.Name, err)
	}
	d, err := doctor.LookAtDatabase(ctx, v.Name, q)
	d.PID, d.Clients = pidOf(h, d), v.Clients
	return d, errors.Join(err, closeAll())
}

// pidOf is the process of a database: the one of its name, or that works in its data directory, or the only one there is.
func pidOf(h doctor.Host, d doctor.Database) int {
	only, n := 0, 0
	for _, p := range h.Processes {
		if p.Name != "mysqld" && p.Name != "mariadbd" {
			continue
		}
		if dir := d.Variables["datadir"]; p.Role == d.Name || dir != "" && filepath.Clean(dir) == filepath.Clean(p.Dir) {
			return p.PID
		}
		only, n = p.PID, n+1
	}
	if n == 1 {
		return only
	}
	return 0
}

// examineFiles reads the configurations of a machine's servers.
func (s *Subject) examineFiles(ctx context.Context, m Machine, h *doctor.Host, o ExamineOptions) error {
	var errs []error
	for _, v := range s.On(m) {
		if v.Kind != Nginx || v.Conf == "" {
			continue
		}
		n, err := doctor.LookAtNginx(ctx, m.At, v.Name, v.Argv...)
		errs = append(errs, err)
		h.Proxies = append(h.Proxies, n)
	}
	if !s.OwnOnly {
		return errors.Join(append(errs, doctor.LookDeeper(ctx, m.At, h, o.Probe))...)
	}
	mine := *h
	mine.Processes = slices.DeleteFunc(slices.Clone(h.Processes), func(p doctor.Process) bool { return p.Role == "" })
	errs = append(errs, doctor.LookDeeper(ctx, m.At, &mine, o.Probe))
	h.Databases, h.Proxies = mine.Databases, mine.Proxies
	for _, p := range mine.Processes {
		i := slices.IndexFunc(h.Processes, func(o doctor.Process) bool { return o.PID == p.PID })
		h.Processes[i] = p
	}
	return errors.Join(errs...)
}

// nameClients tells each database the other machines on which an app runs.
func (s *Subject) nameClients(machines []Machine, hosts []doctor.Host) {
	for i := range hosts {
		for j, m := range machines {
			isApp := slices.ContainsFunc(s.Hosts, func(h Host) bool { return h.App && m.Is(h.Name) })
			if !isApp || i == j || hosts[j].Reachable() == "" {
				continue
			}
			for k := range hosts[i].Databases {
				hosts[i].Databases[k].Clients = append(hosts[i].Databases[k].Clients, doctor.Client{Address: hosts[j].Reachable()})
			}
		}
	}
}

// pathsLook is as long as probes take that fail.
const pathsLook = 3 * time.Second

// examinePaths tries the ways on which services talk to one another, and looks meanwhile whether packets arrive broken.
func (s *Subject) examinePaths(ctx context.Context, machines []Machine, seen *doctor.Observed, o ExamineOptions) error {
	hosts := map[string]host.Host{}
	for _, m := range machines {
		hosts[m.Names[0]] = m.At
	}
	ways := s.ways(machines, seen.Hosts)
	if len(ways) == 0 {
		return nil
	}
	var g errgroup.Group
	g.Go(func() (err error) {
		seen.Paths, err = doctor.TryWays(ctx, hosts, ways, o.Probe)
		return err
	})
	bad := make([]doctor.Host, len(machines))
	for i, m := range machines {
		g.Go(func() (err error) {
			bad[i], err = doctor.Look(ctx, m.At, doctor.LookOptions{Over: pathsLook})
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

// ways are those that services are known to use; where nothing is known of that, those from each machine to each other one, and to
// the databases that listen for other hosts.
func (s *Subject) ways(machines []Machine, hosts []doctor.Host) doctor.Ways {
	ways := doctor.Ways{}
	add := func(from, to Machine, t doctor.Target) {
		w := doctor.Way{To: to.Names[0], Target: t}
		if at := from.Names[0]; !slices.Contains(ways[at], w) {
			ways[at] = append(ways[at], w)
		}
	}
	of := func(name string) (Service, Machine) {
		v := s.Services[slices.IndexFunc(s.Services, func(v Service) bool { return v.Name == name })]
		return v, machines[slices.IndexFunc(machines, func(m Machine) bool { return m.Is(v.Host) })]
	}
	for _, v := range s.Services {
		for _, use := range v.Uses {
			_, from := of(v.Name)
			to, on := of(use.Service)
			if from.At == on.At {
				continue
			}
			t := doctor.Target{Kind: "http", Network: "tcp", Address: to.Address, URI: use.URI}
			if to.Kind == Database {
				t.Kind = "mysql"
			}
			add(from, on, t)
		}
	}
	if s.OwnOnly {
		return ways
	}
	for i, from := range machines {
		for j, to := range machines {
			address := hosts[j].Reachable()
			if i == j || address == "" {
				continue
			}
			add(from, to, doctor.Target{Kind: "icmp", Network: "icmp", Address: address})
			for _, d := range hosts[j].Databases {
				if d.Listens() {
					add(from, to, doctor.Target{Kind: "mysql", Network: "tcp", Address: net.JoinHostPort(address, d.Variables["port"])})
				}
			}
		}
	}
	return ways
}
