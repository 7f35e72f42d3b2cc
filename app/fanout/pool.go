package fanout

import (
	"cmp"
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"slices"

	"github.com/jmoiron/sqlx"
)

// Pool is an app's way to its databases. It is safe for use by many goroutines.
type Pool struct {
	cfg    Config
	groups []*group // one, or those of Config.Groups in their order
	db     *sqlx.DB
	part   bool // made by Group
}

// Open checks cfg, connects to the replicas and returns the Pool, which the caller closes. With several replicas it makes the pool's own tables
// where they are missing, compares the replicas' schemas and settings, and, when an app process ended without Close, waits for what that one left
// running, compares the data, and ejects what differs.
func Open(ctx context.Context, cfg Config) (*Pool, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	p := &Pool{cfg: cfg.withDefaults()}
	for _, part := range p.cfg.split() {
		g, err := openGroup(ctx, part)
		if err != nil {
			_ = p.Close()
			return nil, err
		}
		p.groups = append(p.groups, g)
	}
	if len(p.groups) == 1 {
		p.db = p.groups[0].db
		return p, nil
	}
	p.db = p.cfg.open(p.Connector())
	return p, nil
}

// open is a database with as many connections as c says.
func (c Config) open(k driver.Connector) *sqlx.DB {
	db := sql.OpenDB(k)
	db.SetMaxOpenConns(c.MaxOpenConns)
	db.SetMaxIdleConns(c.MaxOpenConns)
	return sqlx.NewDb(db, "mysql")
}

// DB returns the app's database: writes go to every replica, each read to one of them. Only Close closes it.
func (p *Pool) DB() *sqlx.DB { return p.db }

// Connector is what DB is made of, for an app that wraps its connections (tracing) or wants a pool of its own settings:
// sqlx.NewDb(sql.OpenDB(p.Connector()), "mysql"). Such a database is closed before the Pool.
func (p *Pool) Connector() driver.Connector {
	if len(p.groups) == 1 {
		return connector{p.groups[0]}
	}
	return &router{names: p.cfg.Groups, groups: p.groups}
}

// Group returns the part of the pool that one group of Config.Groups is, or nil when no group has that name: what its DB,
// Reader and InTx run goes there without a look at the statement's tables, and the rest is about that group only. Its Close
// does nothing.
func (p *Pool) Group(name string) *Pool {
	parts := p.cfg.split()
	for i, g := range p.cfg.Groups {
		if g.Name == name {
			return &Pool{cfg: parts[i], groups: p.groups[i : i+1], db: p.groups[i].db, part: true}
		}
	}
	return nil
}

// Whole reports whether every replica is in service, as far as this process knows. It asks nobody.
func (p *Pool) Whole() bool {
	return !slices.ContainsFunc(p.groups, func(g *group) bool { return len(g.view.Load().readers) < len(g.members) })
}

// Replica returns the plain database of one replica, around the fan-out, or nil when no replica has that name. It is for
// looking at one replica; what is written through it makes the replicas differ.
func (p *Pool) Replica(name string) *sqlx.DB {
	if _, m := p.find(name); m != nil {
		return m.plain
	}
	return nil
}

// find is the replica of that name and its group, or nil.
func (p *Pool) find(name string) (*group, *member) {
	for _, g := range p.groups {
		if m := g.member(name); m != nil {
			return g, m
		}
	}
	return nil, nil
}

// Reader returns the plain database of one replica in service, chosen at random at each call: for reads outside of
// transactions that need no second try on another replica. It must not be written to. When no replica is in service it
// is the first replica's. With Config.Groups it is one of the first group's, which has no other group's tables.
func (p *Pool) Reader() *sqlx.DB { return p.groups[0].reader().plain }

// Status asks every replica. A replica that does not answer is not an error: its entry contains the reason.
func (p *Pool) Status(ctx context.Context) (Status, error) {
	all := Status{Mode: p.cfg.Mode}
	for _, g := range p.groups {
		s, err := g.status(ctx)
		if err != nil {
			return all, err
		}
		all.Epoch += s.Epoch
		all.Apps = max(all.Apps, s.Apps)
		if s.Apps < 0 {
			all.Apps = -1
		}
		all.Replicas = append(all.Replicas, s.Replicas...)
	}
	return all, nil
}

// Eject takes a replica out of service by hand. It fails for the last one in service.
func (p *Pool) Eject(ctx context.Context, name, reason string) error {
	g, m := p.find(name)
	if m == nil {
		return fmt.Errorf("replica %q not found", name)
	}
	g.followStates(ctx) // another process may have admitted one a moment ago
	if err := g.ejectMember(ctx, m, reason); err != nil {
		return fmt.Errorf("eject %s: %w", name, err)
	}
	return nil
}

// Admit brings an ejected replica back: it makes its tables what the first replica's are, has every app process write to it again, copies the
// rows that differ while writes go on, in ranges of about a thousand, until a whole pass finds nothing to copy and no write failed there
// meanwhile, and then has it read again. When it fails, the replica is ejected again.
func (p *Pool) Admit(ctx context.Context, name string) (*RepairReport, error) {
	g, m := p.find(name)
	if m == nil {
		return nil, fmt.Errorf("replica %q not found", name)
	}
	return g.admitMember(ctx, m)
}

// Check compares the replicas' tables in ranges of their keys by checksum, and names the rows that differ. Writes may go on:
// a range whose checksums differ is read again under row locks, so a write under way is not taken for a difference. That
// holds for every mode but ModeParallel, which can be checked when nothing is written.
func (p *Pool) Check(ctx context.Context, opts CheckOptions) (*CheckReport, error) {
	all := &CheckReport{}
	err := p.eachGroup(ctx, opts.Tables, opts.Replicas, func(g *group, tables, replicas []string) error {
		r, err := g.check(ctx, CheckOptions{Tables: tables, Replicas: replicas})
		if err != nil {
			return err
		}
		all.Replicas = append(all.Replicas, r.Replicas...)
		all.Tables = append(all.Tables, r.Tables...)
		return nil
	})
	return all, err
}

// Repair makes the rows that differ equal, under row locks and while writes continue, and reports what it did. It does not repair a table
// without a key, or with triggers, which would fire: that is an error, after the other tables have been repaired.
func (p *Pool) Repair(ctx context.Context, opts RepairOptions) (*RepairReport, error) {
	if opts.From != "" && len(opts.Tables) == 0 && len(opts.Replicas) == 0 {
		if g, _ := p.find(opts.From); g != nil {
			return g.repair(ctx, opts)
		}
	}
	all := &RepairReport{}
	err := p.eachGroup(ctx, opts.Tables, opts.Replicas, func(g *group, tables, replicas []string) error {
		r, err := g.repair(ctx, RepairOptions{Tables: tables, Replicas: replicas, From: opts.From})
		if r != nil {
			all.Mended = append(all.Mended, r.Mended...)
			all.Left, all.Why = append(all.Left, r.Left...), cmp.Or(r.Why, all.Why)
		}
		return err
	})
	return all, err
}

// eachGroup calls f for every group with some of the given tables and replicas, and with those; none given means all.
func (p *Pool) eachGroup(ctx context.Context, tables, replicas []string, f func(g *group, tables, replicas []string) error) error {
	if len(p.groups) == 1 {
		return f(p.groups[0], tables, replicas)
	}
	for i, g := range p.groups {
		own := slices.DeleteFunc(slices.Clone(tables), func(t string) bool { return groupOf(p.cfg.Groups, t) != i })
		names := slices.DeleteFunc(slices.Clone(replicas), func(r string) bool { return g.member(r) == nil })
		if len(tables) > 0 && len(own) == 0 || len(replicas) > 0 && len(names) == 0 {
			continue
		}
		var err error
		if len(own) == 0 {
			own, err = p.tablesOf(ctx, g)
		}
		if err == nil && len(own) > 0 {
			err = f(g, own, names)
		}
		if err != nil {
			return fmt.Errorf("group %s: %w", p.cfg.Groups[i].Name, err)
		}
	}
	return nil
}

// tablesOf lists the tables of a group that it has. A database may have others, which no group reads there.
func (p *Pool) tablesOf(ctx context.Context, g *group) ([]string, error) {
	tables, err := readTables(ctx, g.reader(), nil)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, t := range tables {
		if i := groupOf(p.cfg.Groups, t.name); i >= 0 && p.groups[i] == g {
			names = append(names, t.name)
		}
	}
	return names, nil
}

// Metrics returns the counts so far, of all groups.
func (p *Pool) Metrics() (all Metrics) {
	for _, g := range p.groups {
		all.Ejections += g.metrics.ejections.Load()
		all.Differences += g.metrics.differences.Load()
		all.Conflicts += g.metrics.conflicts.Load()
		all.InDoubt += g.branches.inDoubt()
	}
	return all
}

// Close ends what runs in the background and closes every connection. A connection that was lost before is not an error.
func (p *Pool) Close() error {
	if p.part {
		return nil
	}
	var errs []error
	if p.db != nil && len(p.groups) > 1 {
		errs = append(errs, p.db.Close())
	}
	for _, g := range p.groups {
		errs = append(errs, g.close())
	}
	return errors.Join(errs...)
}
