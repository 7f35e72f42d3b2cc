package round

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"slices"

	"isukit/infra/doctor"
	"isukit/infra/engine/mysql"
	"isukit/infra/host"
	"isukit/infra/metrics"
	"isukit/infra/project"
)

// LookAtMachine looks at a machine and at the databases of all its names; it goes by the first one.
func LookAtMachine(ctx context.Context, p *project.Project, m Machine, o doctor.LookOptions) (doctor.Host, error) {
	h, err := doctor.Look(ctx, m.At, o)
	h.Name = m.names[0]
	errs := []error{err}
	for _, d := range p.Databases {
		if !slices.Contains(m.names, d.Host) {
			continue
		}
		db, err := doctor.LookAtDatabase(ctx, "database", clientOf(d, m.At))
		if err != nil {
			errs = append(errs, err)
			continue
		}
		db.PID = DatabasePID(h, db)
		h.Databases = append(h.Databases, db)
	}
	return h, errors.Join(errs...)
}

// quickDoctor runs the quick checks on the project's hosts and databases; what they find beyond notes becomes warnings.
func (r *ProjectRound) quickDoctor(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, quickLook)
	defer cancel()
	seen := &doctor.Observed{}
	for _, m := range r.Machines() {
		h, err := LookAtMachine(ctx, r.Project, m, doctor.LookOptions{})
		if err != nil {
			r.warn("host %s: doctor: %v", h.Name, err)
		}
		seen.Hosts = append(seen.Hosts, h)
	}
	for _, text := range warningsOf(doctor.Diagnose(seen, doctor.Quick())) {
		r.warn("%s", text)
	}
}

// warnOfFiles says so once when processes of a name come near to their limit of open files.
func (r *ProjectRound) warnOfFiles(hostName string, s metrics.Sample) {
	for name, p := range s.Processes {
		if !doctor.NearLimit(p.OpenFiles, p.FileLimit) {
			continue
		}
		r.mu.Lock()
		key := hostName + " " + name
		said := r.nearLimit[key]
		r.nearLimit[key] = true
		r.mu.Unlock()
		if !said {
			r.warn("%sfile-limits: %s %s: %d files open of at most %d", doctorMark, hostName, name, p.OpenFiles, p.FileLimit)
		}
	}
}

// clientOf asks a database through the client that the project names.
func clientOf(d project.Database, at host.Host) mysql.Client {
	return mysql.Client{Host: at, Argv: []string{"sh", "-c", d.Client + ` "$@"`, "sh"}}
}

// DatabasePID is the process of a database: the one that works in its data directory, or the only one there is.
func DatabasePID(h doctor.Host, d doctor.Database) int {
	only, n := 0, 0
	for _, p := range h.Processes {
		if p.Name != "mysqld" && p.Name != "mariadbd" {
			continue
		}
		if dir := d.Variables["datadir"]; dir != "" && filepath.Clean(dir) == filepath.Clean(p.Dir) {
			return p.PID
		}
		only, n = p.PID, n+1
	}
	if n == 1 {
		return only
	}
	return 0
}

// NameClients tells each database the hosts whose roles say that an app runs there.
func NameClients(p *project.Project, hosts []doctor.Host) {
	for i := range hosts {
		for _, h := range hosts {
			n := slices.IndexFunc(p.Hosts, func(o project.Host) bool { return o.Name == h.Name })
			isApp := n >= 0 && slices.ContainsFunc(p.Hosts[n].Roles, func(role string) bool { return slices.Contains([]string{"web", "api", "app"}, role) })
			if !isApp || h.Name == hosts[i].Name || h.Reachable() == "" {
				continue
			}
			for j := range hosts[i].Databases {
				hosts[i].Databases[j].Clients = append(hosts[i].Databases[j].Clients, doctor.Client{Address: h.Reachable()})
			}
		}
	}
}

// WaysBetween measures the way from each host to each other one, and tries the databases that listen for other hosts.
func WaysBetween(hosts []doctor.Host) doctor.Ways {
	ways := doctor.Ways{}
	for _, from := range hosts {
		for _, to := range hosts {
			address := to.Reachable()
			if from.Name == to.Name || address == "" {
				continue
			}
			ways[from.Name] = append(ways[from.Name], doctor.Way{To: to.Name, Target: doctor.Target{Kind: "icmp", Network: "icmp", Address: address}})
			for _, d := range to.Databases {
				if d.Listens() {
					ways[from.Name] = append(ways[from.Name], doctor.Way{To: to.Name, Target: doctor.Target{Kind: "mysql", Network: "tcp", Address: net.JoinHostPort(address, d.Variables["port"])}})
				}
			}
		}
	}
	return ways
}
