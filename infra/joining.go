package infra

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"isukit/infra/dbserver"
	"isukit/infra/host"
	"isukit/infra/plan"
)

// joining is how a database gets tables that several have now: it begins as a copy of one, and gets the others' tables as SQL.
type joining struct {
	base *source
	dump *os.File // without a name; nothing is left of it
}

// errAsleep: a database whose tables are to be joined does not run: it has ended, or an interrupted apply had stopped it.
var errAsleep = errors.New("it does not run, and its tables are to be joined with those of others")

// tablesOf asks a database for its tables.
func (e *execution) tablesOf(ctx context.Context, h host.Host, name string) ([]string, error) {
	st, err := h.State(ctx, name)
	if err == nil && !st.Running {
		err = fmt.Errorf("%s on %s: %w", name, h.About().Name, errAsleep)
	}
	var inst *dbserver.Instance
	if err == nil {
		inst, err = e.attach(ctx, h, name)
	}
	if err != nil {
		return nil, err
	}
	return inst.Column(ctx, tablesQuery)
}

const tablesQuery = "SELECT table_name FROM information_schema.tables WHERE table_schema = '" + appDatabase + "' AND table_type = 'BASE TABLE'"

// attach is a database as an earlier apply has laid it down.
func (e *execution) attach(ctx context.Context, h host.Host, name string) (*dbserver.Instance, error) {
	about := h.About()
	cfg := dbserver.Config{Install: e.l.installOn(about.Name), Dir: filepath.Join(about.Dir, name)}
	if !about.Here { // it is reached through the network, where it was placed
		inv := e.f.inventories[about.Name]
		cfg.Bind, cfg.Port = about.Address, cmp.Or(inv.Previous, inv.Goal).Topology.Ports()[name]
	}
	return dbserver.Attach(ctx, h, cfg)
}

// join dumps, while all databases still run, the tables of those whose data no single one holds.
func (e *execution) join(ctx context.Context, servers []*server) error {
	for _, s := range servers {
		contents := original(e.l.contents(s.declared.Name))
		step, ok := e.stepOf(s.declared.Host, s.declared.Name, plan.Data)
		if !ok || e.f.fresh || step.Op == plan.Change && sameData(contents, step.Was) && allTables(step.Was) {
			continue
		}
		best, partial, err := e.sourceOf(ctx, s, contents)
		if err != nil {
			return err
		}
		if best != nil || partial == "" {
			continue
		}
		if s.join, err = e.dumpFor(ctx, s, contents); err != nil {
			return fmt.Errorf("join the data of %s: %w", s.declared.Name, err)
		}
	}
	return nil
}

func (e *execution) dumpFor(ctx context.Context, s *server, contents string) (*joining, error) {
	sources, err := e.sources(ctx, contents)
	if err != nil {
		return nil, err
	}
	j, tables := &joining{}, map[source][]string{}
	for n, from := range sources {
		if tables[from], err = e.tablesOf(ctx, e.f.hosts[from.host], from.instance); err != nil {
			return nil, err
		}
		if strings.HasSuffix(from.contents, "|*") && len(tables[from]) > 0 && j.base == nil { // the one with the rest of the tables has the most
			j.base = &sources[n]
		}
	}
	if j.base == nil {
		return nil, nil
	}
	e.site.spec.progress("joining the tables of several databases for %s", s.declared.Name)
	if j.dump, err = os.CreateTemp("", "isukit-join-*"); err != nil {
		return nil, err
	}
	if err := os.Remove(j.dump.Name()); err != nil {
		return nil, err
	}
	have := tables[*j.base]
	for _, from := range sources {
		var missing []string
		for _, t := range tables[from] {
			if e.holds(s.declared.Name, t) && !slices.Contains(have, t) {
				missing = append(missing, t)
			}
		}
		if len(missing) == 0 {
			continue
		}
		inst, err := e.attach(ctx, e.f.hosts[from.host], from.instance)
		if err == nil {
			err = inst.Dump(ctx, j.dump, appDatabase, missing)
		}
		if err != nil {
			return nil, errors.Join(err, j.dump.Close())
		}
		have = append(have, missing...)
	}
	return j, nil
}

// load gives a database the tables that its base lacked.
func (j *joining) load(ctx context.Context, s *server) error {
	if _, err := j.dump.Seek(0, 0); err != nil {
		return err
	}
	return errors.Join(s.Load(ctx, j.dump, appDatabase), j.dump.Close())
}
