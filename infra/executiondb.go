package infra

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"isukit/infra/dbserver"
	"isukit/infra/host"
	"isukit/infra/plan"
	"isukit/infra/topology"
)

// server is a database of the goal while it is being made.
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
	for _, i := range e.l.goal.Topology.Of(topology.DB) {
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
	if err := e.replicate(ctx, servers); err != nil {
		return err
	}
	return nil
}

// makeData gives a database its data: what it has, a copy of one that holds the same, or the dataset.
func (e *execution) makeData(ctx context.Context, s *server) error {
	cfg := e.l.instanceConfig(s.declared)
	ready := filepath.Join(cfg.Dir, readyFile)
	step, ok := e.stepOf(s.declared.Host, s.declared.Name, plan.Data)
	if !ok {
		inst, err := dbserver.AttachOn(ctx, s.host, cfg)
		s.Instance = inst
		return err
	}
	s.data = true
	contents := e.l.contents(s.declared.Name)
	if step.Op == plan.Change && sameData(contents, step.Was) && allTables(step.Was) && !isCopy(contents) {
		// It has more than it is to have; what is too much is dropped when it runs.
		if inst, err := dbserver.AttachOn(ctx, s.host, cfg); err == nil {
			s.Instance = inst
			return s.host.Put(ctx, ready, []byte(contents+"\n"), 0o600)
		}
	}
	if s.join != nil && s.join.base.host == s.declared.Host && s.join.base.instance == s.declared.Name {
		inst, err := dbserver.AttachOn(ctx, s.host, cfg)
		if err != nil {
			return err
		}
		s.Instance = inst
		return s.host.Put(ctx, ready, []byte(contents+"\n"), 0o600)
	}
	from, template, err := e.templateFor(ctx, s, original(contents))
	if err != nil {
		return err
	}
	if err := errors.Join(s.host.Remove(ctx, ready), s.host.Remove(ctx, filepath.Join(cfg.Dir, replicatingFile)), s.host.Remove(ctx, filepath.Join(cfg.Dir, "data"))); err != nil {
		return err
	}
	if s.host.About().Here {
		err = e.createHere(ctx, s, cfg, template, contents)
	} else {
		err = e.createFar(ctx, s, cfg, from, contents)
	}
	if err != nil {
		// Half a copy would keep a full disk full, also for what is put back.
		err = errors.Join(err, s.host.Remove(context.WithoutCancel(ctx), filepath.Join(cfg.Dir, "data")))
	}
	return err
}

// createHere lays a database down on this machine.
func (e *execution) createHere(ctx context.Context, s *server, cfg dbserver.Config, template, contents string) (err error) {
	cfg.Template = template
	if s.Instance, err = dbserver.Create(cfg); err != nil {
		return err
	}
	return s.host.Put(ctx, filepath.Join(cfg.Dir, readyFile), []byte(contents+"\n"), 0o600)
}

// source is a database that holds data now.
type source struct {
	host, instance, contents string
}

// templateFor chooses what a database begins with, and stops the server that it is copied from; from is nil for the dataset.
func (e *execution) templateFor(ctx context.Context, s *server, contents string) (from *source, dir string, err error) {
	from, partial, err := e.sourceOf(ctx, s, contents)
	if err != nil {
		return nil, "", err
	}
	if s.join != nil {
		from = s.join.base
	}
	if from == nil {
		if partial != "" {
			return nil, "", &HintError{fmt.Errorf("no database holds all of its tables now (%s)", partial), "begin with the dataset: --fresh"}
		}
		if e.data == "" && s.host.About().Here {
			return nil, "", errors.New("there is no data to begin with")
		}
		e.site.spec.progress("copying the dataset for %s", s.declared.Name)
		return nil, e.data, nil
	}
	e.site.spec.progress("copying the data of %s on %s to %s on %s", from.instance, from.host, s.declared.Name, s.declared.Host)
	h := e.f.hosts[from.host]
	if err := h.Stop(ctx, from.instance, dbStopLimit); err != nil {
		return nil, "", err
	}
	if other := e.servers[from.instance]; other != nil && other.declared.Host == from.host {
		other.service = true // it is started again with the others
	}
	return from, filepath.Join(h.About().Dir, from.instance, "data"), nil
}

// sourceOf finds the best database to copy from; nil for the dataset. partial names what holds some of the tables only.
func (e *execution) sourceOf(ctx context.Context, s *server, contents string) (best *source, partial string, err error) {
	if e.f.fresh {
		return nil, "", nil
	}
	rank := 0
	for _, name := range e.f.names() {
		for _, i := range e.f.inventories[name].Items {
			if i.Kind != plan.Data || name == s.declared.Host && i.Name == s.declared.Name {
				continue
			}
			now, err := lookAt(ctx, e.f.hosts[name], i)
			if err != nil {
				return nil, "", err
			}
			if !now.Exists || !sameData(contents, now.Hash) || isCopy(now.Hash) {
				continue
			}
			if made := e.servers[i.Name]; made != nil && made.declared.Host == name && made.data {
				continue // it is being made itself
			}
			r := 0
			switch same := i.Name == s.declared.Name; {
			case now.Hash == contents && same:
				r = 4
			case now.Hash == contents:
				r = 3
			case allTables(now.Hash) && same:
				r = 2
			case allTables(now.Hash):
				r = 1
			default:
				partial = i.Name + " on " + name
			}
			if r > rank {
				rank, best = r, &source{name, i.Name, now.Hash}
			}
		}
	}
	return best, partial, nil
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
	if err := e.waitServer(ctx, s); err != nil {
		return err
	}
	_, accounts := e.stepOf(i.Host, i.Name, plan.Account)
	if s.data || accounts || e.dropsAccounts(i) {
		if err := e.setAccounts(ctx, s); err != nil {
			return err
		}
	}
	if s.prepare {
		if err := e.prepareFar(ctx, s); err != nil {
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

func (e *execution) waitServer(ctx context.Context, s *server) error {
	ctx, cancel := context.WithTimeoutCause(ctx, e.site.healthLimit(), fmt.Errorf("not healthy within %v", e.site.healthLimit()))
	defer cancel()
	exited, stop := watch(ctx, s.host, s.declared.Name)
	defer stop()
	if err := s.WaitReady(ctx, exited); err != nil {
		err = fmt.Errorf("%s on %s: %w", s.declared.Name, s.declared.Host, err)
		if out, outErr := s.host.Get(context.WithoutCancel(ctx), filepath.Join(s.Dir, outputLog)); outErr == nil && len(out) > 0 {
			err = fmt.Errorf("%w\nit printed:\n%s", err, tailOf(out))
		}
		if st, stErr := s.host.State(ctx, s.declared.Name); stErr == nil && st.OutOfMemory {
			return &HintError{fmt.Errorf("%w; it was killed: the host's memory did not suffice", err), "make its buffer_pool smaller, or give the host more memory"}
		}
		if s.PortTaken() {
			return &HintError{err, fmt.Sprintf("port %d is taken by another program: stop that, or give %s another port", s.Port, s.declared.Name)}
		}
		return err
	}
	return nil
}

func (e *execution) dropsAccounts(i topology.Instance) bool {
	return slices.ContainsFunc(e.steps(i.Host), func(s plan.Step) bool {
		return s.Op == plan.Remove && s.Kind == plan.Account && s.Owner == i.Name
	})
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

// placementChanged tells whether the tables were written in another way, or to other databases, before.
func (e *execution) placementChanged() bool {
	for _, name := range e.f.names() {
		inv := e.f.inventories[name]
		if inv.Previous == nil {
			continue
		}
		old := inv.Previous.Topology
		return placementText(old) != placementText(e.l.goal.Topology)
	}
	return true
}

func placementText(t *topology.Topology) string {
	text := fmt.Sprint(t.Data.Write, t.Data.Replication, t.Data.Groups)
	for _, i := range t.Of(topology.DB) {
		text += " " + i.Name
	}
	return text
}

// dropTables drops what another placement has left: tables of other groups, and what the fan-out knew of its replicas.
func (e *execution) dropTables(ctx context.Context, s *server) error {
	tables, err := s.Column(ctx, tablesQuery)
	if err != nil {
		return err
	}
	var statements []string
	for _, t := range tables {
		if !e.holds(s.declared.Name, t) {
			statements = append(statements, fmt.Sprintf("DROP TABLE `%s`.`%s`", appDatabase, strings.ReplaceAll(t, "`", "``")))
		}
	}
	return s.Exec(ctx, statements...)
}

// holds tells whether a database is to have a table.
func (e *execution) holds(database, table string) bool {
	t := e.l.goal.Topology
	if strings.HasPrefix(table, "isukit_fanout_") {
		return false // the app makes its notes of who is in service anew
	}
	for _, g := range t.Data.Groups {
		if slices.Contains(g.Tables, table) {
			return slices.Contains(g.Databases, database)
		}
	}
	return len(t.Data.Groups) == 0 || slices.Contains(t.GroupOf(database).Tables, topology.AllTables)
}

// replicatingFile is in the directory of a replica whose replication was set up; it says from where.
const replicatingFile = "replicating"

// replicate sets native replication up where it is declared and not set up, and ends it where it no longer is.
func (e *execution) replicate(ctx context.Context, servers []*server) error {
	for _, s := range servers {
		t := e.l.goal.Topology
		mark := filepath.Join(s.Dir, replicatingFile)
		was, err := s.host.Get(ctx, mark)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		source := t.Source(s.declared.Name)
		if source == "" {
			if was != nil {
				if err := errors.Join(s.Exec(ctx, e.forget()...), s.host.Remove(ctx, mark)); err != nil {
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
		statements := append(e.forget(), e.restartLog()...)
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

// forget ends a replica's copying and what it knows of its source.
func (e *execution) forget() []string {
	if e.l.install.Engine == dbserver.MySQL {
		return []string{"STOP REPLICA", "RESET REPLICA ALL"}
	}
	return []string{"STOP SLAVE", "RESET SLAVE ALL"}
}

// restartLog empties the binary log: all databases of the group hold the same now, and copying begins here.
func (e *execution) restartLog() []string {
	if e.l.install.Engine == dbserver.MySQL {
		return []string{"RESET BINARY LOGS AND GTIDS"}
	}
	return []string{"RESET MASTER", "SET GLOBAL gtid_slave_pos = ''"}
}

// watch returns a channel that is closed when the service ends. stop ends the watching and waits for it.
func watch(ctx context.Context, h host.Host, name string) (exited <-chan struct{}, stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	ch, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			if st, err := h.State(ctx, name); err == nil && !st.Running {
				close(ch)
				return
			}
			select {
			case <-ctx.Done():
				return
			case <-time.After(pause(h, 20*time.Millisecond)):
			}
		}
	}()
	return ch, func() { cancel(); <-done }
}
