package doctor

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"

	"isukit/infra/engine/mysql"
	"isukit/infra/engine/nginx"
	"isukit/infra/host"
)

// LookDeeper reads the files of the databases and nginx that run on a host, and asks what stands behind nginx's caches. Servers
// that are not among the host's Databases and Proxies are added as far as their files tell.
func LookDeeper(ctx context.Context, at host.Host, h *Host, probe Probe) error {
	var errs []error
	for i := range h.Processes {
		p := &h.Processes[i]
		switch {
		case p.Name == "mysqld" || p.Name == "mariadbd":
			errs = append(errs, h.optionsOf(ctx, at, p))
		case p.Name == "nginx" && len(nginx.Master(strings.Join(p.Argv, " "))) > 0 && len(h.Proxies) == 0:
			n, err := LookAtNginx(ctx, at, p.String(), nginx.Master(strings.Join(p.Argv, " "))...)
			errs = append(errs, err)
			if err == nil {
				h.Proxies = append(h.Proxies, n)
			}
		}
	}
	for i := range h.Proxies {
		errs = append(errs, h.Proxies[i].ask(ctx, at, probe))
	}
	return errors.Join(errs...)
}

// optionsOf reads the option files of a database server.
func (h *Host) optionsOf(ctx context.Context, at host.Host, p *Process) error {
	files, err := mysql.ReadOptions(ctx, at, p.Argv)
	if err != nil {
		return err
	}
	if p.Rules, err = LookAtProfile(ctx, at, "", *p); err != nil {
		return err
	}
	i := slices.IndexFunc(h.Databases, func(d Database) bool { return d.PID == p.PID })
	if i < 0 {
		h.Databases, i = append(h.Databases, Database{Name: p.String(), PID: p.PID}), len(h.Databases)
	}
	h.Databases[i].Options = files
	return nil
}

// ask asks the upstreams of caches what they answer.
func (n *Nginx) ask(ctx context.Context, at host.Host, probe Probe) error {
	targets := n.Targets()
	keys := slices.Sorted(maps.Keys(targets))
	var list []Target
	for _, k := range keys {
		list = append(list, targets[k])
	}
	if len(list) == 0 || len(probe.Argv) == 0 {
		return nil
	}
	tried, err := probe.From(ctx, at, list)
	if err != nil {
		return err
	}
	n.Answers = map[string]Tried{}
	for i, k := range keys {
		n.Answers[k] = tried[i]
	}
	return nil
}

// Ways are targets on other hosts, by the host from which they are to be tried.
type Ways map[string][]Way

// Way is a target on a host.
type Way struct {
	To string
	Target
}

// TryWays tries all ways, those of one host at once. The paths come in the order of the hosts' names.
func TryWays(ctx context.Context, hosts map[string]host.Host, ways Ways, probe Probe) ([]Path, error) {
	var paths []Path
	var errs []error
	for _, from := range slices.Sorted(maps.Keys(ways)) {
		var targets []Target
		for _, w := range ways[from] {
			targets = append(targets, w.Target)
		}
		tried, err := probe.From(ctx, hosts[from], targets)
		errs = append(errs, err)
		for i, t := range tried {
			paths = append(paths, Path{From: from, To: ways[from][i].To, Target: targets[i], Tried: t})
		}
	}
	return paths, errors.Join(errs...)
}
