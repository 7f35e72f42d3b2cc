package infra

import (
	"context"
	"errors"
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"isukit/infra/dbserver"
	"isukit/infra/host"
	"isukit/infra/plan"
	"isukit/infra/render"
	"isukit/infra/topology"
)

// makeData gives a database its data: what it has, a copy of one that holds the same, or the dataset.
func (e *execution) makeData(ctx context.Context, s *server) error {
	cfg := e.l.instanceConfig(s.declared)
	ready := filepath.Join(cfg.Dir, readyFile)
	step, ok := e.stepOf(s.declared.Host, s.declared.Name, plan.Data)
	if !ok {
		inst, err := dbserver.Attach(ctx, s.host, cfg)
		s.Instance = inst
		return err
	}
	s.data = true
	contents := e.l.contents(s.declared.Name)
	joins := s.join != nil && s.join.base.host == s.declared.Host && s.join.base.instance == s.declared.Name
	if joins || step.Op == plan.Change && sameData(contents, step.Was) && allTables(step.Was) && !isCopy(contents) {
		// It keeps what it has; what is too much is dropped when it runs.
		inst, err := dbserver.Attach(ctx, s.host, cfg)
		if s.Instance = inst; err == nil {
			return s.host.Put(ctx, ready, []byte(contents+"\n"), 0o600)
		}
		if joins {
			return err
		}
	}
	from, template, err := e.templateFor(ctx, s, original(contents))
	if err != nil {
		return err
	}
	if err := errors.Join(s.host.Remove(ctx, ready), s.host.Remove(ctx, filepath.Join(cfg.Dir, replicatingFile)), s.host.Remove(ctx, filepath.Join(cfg.Dir, "data"))); err != nil {
		return err
	}
	cfg.Template = template
	if from != nil {
		src := path.Join(e.f.hosts[from.host].About().Dir, from.instance, "data")
		cfg.Fill = func(ctx context.Context, dir string) error {
			return copyData(ctx, e.f.hosts[from.host], src, s.host, dir)
		}
	}
	if s.Instance, err = dbserver.Create(ctx, s.host, cfg); err != nil {
		// Half a copy would keep a full disk full, also for the rollback.
		return errors.Join(err, s.host.Remove(context.WithoutCancel(ctx), filepath.Join(cfg.Dir, "data")))
	}
	if s.prepare = from == nil && template == ""; s.prepare {
		return nil // its data is whole when the app has filled it
	}
	return s.host.Put(ctx, ready, []byte(contents+"\n"), 0o600)
}

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
			return nil, "", host.Hinted(fmt.Errorf("no database has a complete set of its tables (%s)", partial), "begin with the dataset: --fresh")
		}
		if e.data == "" && s.host.About().Here {
			return nil, "", errors.New("no data found to start from")
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
	return from, "", nil
}

// sources are the databases that hold data of a dataset.
func (e *execution) sources(ctx context.Context, contents string) (list []source, err error) {
	for _, name := range e.f.names() {
		for _, i := range e.f.inventories[name].Items {
			if i.Kind != plan.Data {
				continue
			}
			now, err := contentsOf(ctx, e.f.hosts[name], i.Name)
			if err != nil {
				return nil, err
			}
			if now != "" && sameData(contents, now) && !isCopy(now) {
				list = append(list, source{name, i.Name, now})
			}
		}
	}
	return list, nil
}

// sourceOf finds the best database to copy from; nil for the dataset. partial is one with some of the tables only.
func (e *execution) sourceOf(ctx context.Context, s *server, contents string) (best *source, partial string, err error) {
	if e.f.fresh {
		return nil, "", nil
	}
	sources, err := e.sources(ctx, contents)
	rank := 0
	for n, from := range sources {
		made := e.servers[from.instance]
		if from.host == s.declared.Host && from.instance == s.declared.Name || made != nil && made.declared.Host == from.host && made.data {
			continue // it is being made itself
		}
		r := 0
		switch same := from.instance == s.declared.Name; {
		case from.contents == contents && same:
			r = 4
		case from.contents == contents:
			r = 3
		case allTables(from.contents) && same:
			r = 2
		case allTables(from.contents):
			r = 1
		default:
			partial = from.instance + " on " + from.host
		}
		if r > rank {
			rank, best = r, &sources[n]
		}
	}
	return best, partial, err
}

// placementChanged tells whether the tables were written in another way, or to other databases, before.
func (e *execution) placementChanged() bool {
	for _, name := range e.f.names() {
		inv := e.f.inventories[name]
		if inv.Previous == nil {
			continue
		}
		old := inv.Previous.Topology
		return placementText(old) != placementText(e.l.Topology)
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
	t := e.l.Topology
	if strings.HasPrefix(table, "isukit_fanout_") {
		return false // the app writes its notes of replicas in service again
	}
	for _, g := range t.Data.Groups {
		if slices.Contains(g.Tables, table) {
			return slices.Contains(g.Databases, database)
		}
	}
	return len(t.Data.Groups) == 0 || slices.Contains(t.GroupOf(database).Tables, topology.AllTables)
}

// copyData copies a directory from one host to another, through here.
func copyData(ctx context.Context, from host.Host, src string, to host.Host, dst string) error {
	if a, b := from.About(), to.About(); a.Name == b.Name || a.Here && b.Here {
		return runOn(ctx, to, host.Command{Argv: []string{"cp", "-a", src, dst}})
	}
	if err := runOn(ctx, to, host.Command{Argv: []string{"mkdir", "-m", "700", dst}}); err != nil {
		return err
	}
	return host.Carry(ctx, from, host.Command{Argv: []string{"tar", "-C", src, "-cSf", "-", "."}}, to, host.Command{Argv: []string{"tar", "-C", dst, "-xSf", "-"}})
}

// fill has the app make the dataset's tables in a database that runs, from a configuration like the one that it will run with.
func (e *execution) fill(ctx context.Context, s *server) error {
	e.site.spec.progress("preparing the dataset %s, seed %d, on %s", e.l.Scale, e.l.Seed, s.declared.Host)
	ctx, cancel := context.WithTimeout(ctx, prepareLimit)
	defer cancel()
	dir := path.Join(s.Dir, "prepare")
	in := e.l.input
	in.Topology, in.Places = in.Topology.FirstOf(topology.DB), map[string]render.Place{} // all databases begin as copies of this one
	in.Topology.Data = topology.Data{}
	for name, place := range e.l.input.Places {
		place.Dir = dir
		in.Places[name] = place
	}
	rendered, err := render.Files(in, in.Topology.Of(topology.Web)[0].Host)
	if err != nil {
		return err
	}
	app, conf := path.Join(dir, "isukit-app"), path.Join(dir, render.AppConf)
	dsn := e.l.dsn(e.l.input.Places[s.declared.Name].HostPort()) + "\n"
	files := []host.File{{Path: path.Join(dir, render.DSNFile(in.Topology.Of(topology.DB)[0].Name)), Data: []byte(dsn), Mode: 0o600}, {Path: app, Data: e.l.binary, Mode: 0o755}}
	for _, f := range rendered {
		if f.Path == conf {
			files = append(files, host.File{Path: f.Path, Data: f.Data, Mode: f.Mode})
		}
	}
	if err := host.PutAll(ctx, s.host, files); err != nil {
		return err
	}
	if err := runOn(ctx, s.host, host.Command{Argv: []string{app, "--config", conf, "prepare"}}); err != nil {
		return err
	}
	return errors.Join(s.host.Remove(ctx, dir), s.host.Put(ctx, path.Join(s.Dir, readyFile), []byte(e.l.contents(s.declared.Name)+"\n"), 0o600))
}
