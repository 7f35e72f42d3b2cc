package infra

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"isukit/infra/dbserver"
	"isukit/infra/host"
	"isukit/infra/plan"
	"isukit/infra/topology"
)

// server is a database of the deployment while it is being made.
type server struct {
	declared topology.Instance
	*dbserver.Instance
	host    host.Host
	service bool // it is to be started
	join    *joining
	data    bool // its data is made or moved
	prepare bool // the app is to fill it with the dataset, on a host that is not this machine
}

// databases makes all databases what they are to be. Where one is stopped or started, the app was stopped before.
func (e *execution) databases(ctx context.Context) error {
	touched := false
	for _, name := range e.f.names() {
		touched = touched || slices.ContainsFunc(e.steps(name), func(s plan.Step) bool {
			return s.Kind == plan.Service && roleOf(s.Owner) == topology.DB
		})
	}
	if touched {
		if err := errors.Join(e.stopChanged(ctx, topology.Web), e.stopChanged(ctx, topology.API)); err != nil {
			return err
		}
	}
	var servers []*server
	for _, i := range e.l.Topology.Of(topology.DB) {
		s := &server{declared: i, host: e.f.hosts[i.Host]}
		_, s.service = e.stepOf(i.Host, i.Name, plan.Service)
		e.servers[i.Name] = s
		servers = append(servers, s)
	}
	if err := e.join(ctx, servers); err != nil {
		return err
	}
	if err := e.stopChanged(ctx, topology.DB); err != nil {
		return err
	}
	for _, s := range servers {
		if err := e.makeData(ctx, s); err != nil {
			return fmt.Errorf("%s on %s: %w", s.declared.Name, s.declared.Host, err)
		}
	}
	for _, s := range servers {
		if err := e.startServer(ctx, s); err != nil {
			return err
		}
	}
	return e.replicate(ctx, servers)
}

func (e *execution) startServer(ctx context.Context, s *server) error {
	i := s.declared
	if err := e.putFiles(ctx, i.Host, i.Name); err != nil {
		return err
	}
	if s.service {
		e.site.spec.progress("starting %s on %s (%s %s)", i.Name, i.Host, s.Engine, s.Version)
		service := e.l.services[i.Name]
		service.Argv = s.Command()
		if err := s.host.Start(ctx, service); err != nil {
			return err
		}
	}
	if err := e.l.awaitDB(ctx, i, s.Instance); err != nil {
		return err
	}
	accounts := slices.ContainsFunc(e.steps(i.Host), func(s plan.Step) bool { return s.Kind == plan.Account && s.Owner == i.Name })
	if s.data || accounts {
		if err := e.setAccounts(ctx, s); err != nil {
			return err
		}
	}
	if s.prepare {
		if err := e.fill(ctx, s); err != nil {
			return fmt.Errorf("prepare the dataset of %s on %s: %w", i.Name, i.Host, err)
		}
	}
	if s.data || e.placementChanged() {
		if err := e.dropTables(ctx, s); err != nil {
			return err
		}
	}
	if s.join != nil {
		return s.join.load(ctx, s)
	}
	return nil
}

// setAccounts makes the accounts that are declared and drops those of the same users from anywhere else.
func (e *execution) setAccounts(ctx context.Context, s *server) error {
	statements := []string{"CREATE DATABASE IF NOT EXISTS " + appDatabase}
	wanted := map[string]bool{}
	for _, a := range e.l.accounts(s.declared) {
		wanted[a.user+"@"+a.host] = true
		statements = append(statements, a.statements()...)
	}
	have, err := s.Column(ctx, fmt.Sprintf("SELECT CONCAT(user, '@', host) FROM mysql.user WHERE user IN ('%s', '%s')", appUser, replicationUser))
	if err != nil {
		return err
	}
	for _, name := range have {
		user, from, _ := strings.Cut(name, "@")
		if !wanted[name] {
			statements = append(statements, fmt.Sprintf("DROP USER '%s'@'%s'", user, strings.ReplaceAll(from, "'", "''")))
		}
	}
	return s.Exec(ctx, statements...)
}

// replicatingFile is in the directory of a replica whose replication was set up; it says from where.
const replicatingFile = "replicating"

// replicate sets native replication up where it is declared and not set up, and ends it where it no longer is.
func (e *execution) replicate(ctx context.Context, servers []*server) error {
	for _, s := range servers {
		t := e.l.Topology
		mark := filepath.Join(s.Dir, replicatingFile)
		was, err := s.host.Get(ctx, mark)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		source := t.Source(s.declared.Name)
		if source == "" {
			if was != nil {
				if err := errors.Join(s.Exec(ctx, e.l.replication().ForgetSQL()...), s.host.Remove(ctx, mark)); err != nil {
					return err
				}
			}
			continue
		}
		from := e.servers[source]
		now := fmt.Sprintf("%s %s:%d %s", source, from.Host, from.Port, t.Data.Replication)
		again := string(was) != now || s.data
		for _, name := range t.GroupOf(s.declared.Name).Databases {
			again = again || e.servers[name].data
		}
		if !again {
			continue
		}
		statements := append(e.l.replication().ForgetSQL(), e.l.replication().RestartLogSQL()...)
		if source != s.declared.Name {
			statements = append(statements, e.l.replication().StartSQL(from.Host, from.Port)...)
		}
		if err := s.Exec(ctx, statements...); err != nil {
			return err
		}
		if err := s.host.Put(ctx, mark, []byte(now), 0o600); err != nil {
			return err
		}
	}
	return nil
}
