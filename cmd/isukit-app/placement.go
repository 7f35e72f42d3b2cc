package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/go-sql-driver/mysql"
	"github.com/jmoiron/sqlx"

	"forge.example/account/isukit/app/fanout"
	"isukit/app"
	"isukit/app/dataset"
)

// groupConf is a group of tables on a group of databases (the vertical split).
type groupConf struct {
	Name        string   `yaml:"name"`
	Tables      []string `yaml:"tables"`        // "*" in one group: all that no other group names
	Databases   []string `yaml:"databases"`     // names from the list of databases; the first decides the order of writes
	ReadDSNFile string   `yaml:"read_dsn_file"` // where reads of this group go instead

	readDSN *mysql.Config
}

// settlePlacement reads the DSNs for reads, and returns every fault of how the tables are placed, written and read.
func (c *config) settlePlacement(dir string) []error {
	var faults []error
	readsAt := func(key string, file *string, dsn **mysql.Config) {
		if *file == "" {
			return
		}
		*file = under(dir, *file)
		var err error
		if *dsn, err = readDSN(*file); err != nil {
			faults = append(faults, fmt.Errorf("%s: %w", key, err))
		}
	}
	readsAt("read_dsn_file", &c.ReadDSNFile, &c.readDSN)
	balanced := c.ReadDSNFile != ""
	if balanced && len(c.Groups) > 0 {
		faults = append(faults, errors.New("read_dsn_file cannot be combined with groups; give each group its own"))
	}
	for i := range c.Groups {
		g := &c.Groups[i]
		balanced = balanced || g.ReadDSNFile != ""
		readsAt(fmt.Sprintf("groups: read_dsn_file of group %q", g.Name), &g.ReadDSNFile, &g.readDSN)
	}
	if balanced && c.replicated() {
		faults = append(faults, errors.New("read_dsn_file: write_mode replicated waits for a replica to catch up, but a balanced address hides which replica responds"))
	}
	if len(c.Groups) > 0 {
		faults = append(faults, c.tableFaults()...)
	}
	if len(c.Databases) == 0 {
		return faults // said already
	}
	return append(faults, c.fanoutFaults()...)
}

// tableFaults finds unknown and missing tables, and groups that part what one transaction writes.
func (c *config) tableFaults() []error {
	var faults []error
	known := append(app.JobTables(), app.OtherTables()...)
	for _, g := range c.Groups {
		for _, t := range g.Tables {
			if t != anyTable && !slices.Contains(known, t) {
				faults = append(faults, fmt.Errorf("groups: group %q names table %q; there are %s", g.Name, t, strings.Join(known, ", ")))
			}
		}
	}
	for _, unit := range [][]string{app.JobTables(), app.OtherTables()} {
		first := c.groupOf(unit[0])
		for _, t := range unit {
			switch g := c.groupOf(t); {
			case g < 0:
				faults = append(faults, fmt.Errorf("groups: table %s is in no group", t))
			case g != first && first >= 0:
				faults = append(faults, fmt.Errorf("groups: %s is in group %q and %s in group %q; the same transactions write them: keep %s in one group",
					unit[0], c.Groups[first].Name, t, c.Groups[g].Name, strings.Join(unit, ", ")))
			}
		}
	}
	return faults
}

// anyTable in a group's tables means every table that no other group names.
const anyTable = "*"

func (c *config) groupOf(table string) int {
	rest := -1
	for i, g := range c.Groups {
		if slices.Contains(g.Tables, table) {
			return i
		}
		if slices.Contains(g.Tables, anyTable) {
			rest = i
		}
	}
	return rest
}

// copies reports whether a database gets its tables by replication from another one.
func (c *config) copies(database string) bool {
	if !c.replicated() {
		return false
	}
	for _, g := range c.Groups {
		if slices.Contains(g.Databases, database) {
			return g.Databases[0] != database
		}
	}
	return c.Databases[0].Name != database
}

// tablesOn are the portal's tables that a database is to have.
func (c *config) tablesOn(database string) []string {
	var tables []string
	for _, t := range dataset.Tables() {
		if i := c.groupOf(t.Name); i < 0 || slices.Contains(c.Groups[i].Databases, database) {
			tables = append(tables, t.Name)
		}
	}
	return tables
}

// fanout is how app/fanout is to open the databases.
func (c *config) fanout() fanout.Config {
	fan := fanout.Config{
		Mode: fanout.Mode(c.WriteMode), MaxOpenConns: c.MaxOpenConns, AppProcesses: c.AppProcesses, Reads: fanout.ReadPolicy(c.ReadPolicy),
	}
	for _, d := range c.Databases {
		fan.Replicas = append(fan.Replicas, fanout.Replica{Name: d.Name, MySQL: d.dsn, Weight: d.Weight})
	}
	for _, g := range c.Groups {
		fan.Groups = append(fan.Groups, fanout.Group{Name: g.Name, Replicas: g.Databases, Tables: g.Tables})
	}
	return fan
}

// fanoutFaults are what app/fanout finds wrong beyond what settle says of DSNs and limits.
func (c *config) fanoutFaults() []error {
	fan := c.fanout()
	fan.MaxOpenConns = max(fan.MaxOpenConns, 0)
	for i := range fan.Replicas {
		if fan.Replicas[i].MySQL == nil {
			fan.Replicas[i].MySQL = &mysql.Config{DBName: "unknown"}
		}
	}
	var joined interface{ Unwrap() []error }
	if !errors.As(fan.Validate(), &joined) {
		return nil
	}
	var faults []error
	for _, err := range joined.Unwrap() {
		faults = append(faults, fmt.Errorf("databases: %s", strings.TrimPrefix(err.Error(), "config: ")))
	}
	return faults
}

// store is one group of databases, as the portal wants it.
type store struct {
	pool *fanout.Pool
	// reads takes the reads instead of a replica that the pool picks; nil where the pool picks.
	reads *sqlx.DB
	// balanced says that reads is an address behind which something else picks.
	balanced bool
}

// replicated reports whether the servers copy the data themselves.
func (c *config) replicated() bool { return fanout.Mode(c.WriteMode) == fanout.ModeReplicated }

// newStore makes the store of a pool; readDSN is where reads go instead, or nil.
func (c *config) newStore(pool *fanout.Pool, readDSN *mysql.Config) (*store, error) {
	s := &store{pool: pool}
	if readDSN == nil {
		if fanout.ReadPolicy(c.ReadPolicy) == fanout.LeastBusy || c.replicated() {
			s.reads = pool.DB() // only there is it known how busy, or how far behind, a replica is
		}
		return s, nil
	}
	own := readDSN.Clone()
	own.InterpolateParams = true // one round trip instead of three
	connector, err := mysql.NewConnector(own)
	if err != nil {
		return nil, err
	}
	db := sql.OpenDB(connector)
	if c.MaxOpenConns > 0 {
		db.SetMaxOpenConns(c.MaxOpenConns)
	} else {
		db.SetMaxOpenConns(fanout.DefaultConfig().MaxOpenConns * max(1, len(c.Databases)))
	}
	db.SetMaxIdleConns(db.Stats().MaxOpenConnections)
	s.reads, s.balanced = sqlx.NewDb(db, "mysql"), true
	return s, nil
}

// DB implements app.Store.
func (s *store) DB() *sqlx.DB { return s.pool.DB() }

// InTx implements app.Store.
func (s *store) InTx(ctx context.Context, opts *sql.TxOptions, fn func(*sqlx.Tx) error) error {
	return s.pool.InTx(ctx, opts, fn)
}

// Reader implements app.Store. The balancer does not know of replicas out of service, which lack writes: then the pool picks.
func (s *store) Reader() *sqlx.DB {
	if s.reads == nil || s.balanced && !s.pool.Whole() {
		return s.pool.Reader()
	}
	return s.reads
}

func (s *store) close() error {
	if s.balanced {
		return s.reads.Close()
	}
	return nil
}

// stores are the databases of a portal: one store, or two where jobs are split off.
type stores struct {
	pool       *fanout.Pool
	rest, jobs *store // jobs is nil where rest has all tables
}

// newStores divides a pool as the groups say.
func (c *config) newStores(pool *fanout.Pool) (*stores, error) {
	all := &stores{pool: pool}
	jobs, rest := c.groupOf(app.JobTables()[0]), c.groupOf(app.OtherTables()[0])
	var err error
	if jobs == rest {
		readDSN := c.readDSN
		if rest >= 0 {
			readDSN = c.Groups[rest].readDSN
		}
		all.rest, err = c.newStore(pool, readDSN)
		return all, err
	}
	if all.rest, err = c.newStore(pool.Group(c.Groups[rest].Name), c.Groups[rest].readDSN); err != nil {
		return nil, err
	}
	all.jobs, err = c.newStore(pool.Group(c.Groups[jobs].Name), c.Groups[jobs].readDSN)
	return all, err
}

func (s *stores) close() error {
	errs := []error{s.rest.close()}
	if s.jobs != nil {
		errs = append(errs, s.jobs.close())
	}
	return errors.Join(append(errs, s.pool.Close())...)
}
