package app

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jmoiron/sqlx"
	"golang.org/x/sync/errgroup"

	"isukit/app/dataset"
	portalv1 "isukit/proto/portal/v1"
)

// copiers is how many tables are copied in parallel: a small server has few cores.
const copiers = 2

type shard struct {
	store  Store
	tables []dataset.Table
}

// shards are all tables by where they are, those of jobs first.
func (p *portal) shards() []shard {
	if !p.split() {
		return []shard{{p.Store, dataset.Tables()}}
	}
	return []shard{{p.Jobs, tablesOf(JobTables())}, {p.Store, tablesOf(OtherTables())}}
}

// initialize resets all data. It copies every table from the seed tables to a new table, then swaps all by one RENAME: a request meanwhile
// sees either the old data or the new, and a failure leaves the old. It continues when its client gives up, since the state of a half-done
// one would be unknown.
//
// Split tables need two RENAMEs, after all copies, that of jobs first (see notifyOnce). A request in between sees new jobs with old teams;
// the next initialize repairs a failure in between.
func (p *portal) initialize(ctx context.Context, _ *call, _ *portalv1.InitializeRequest) (*portalv1.InitializeResponse, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), p.InitializeLimit)
	defer cancel()
	err := p.alone(ctx, func() error {
		group, groupCtx := errgroup.WithContext(ctx)
		for _, s := range p.shards() {
			group.Go(func() error { return p.copyTables(groupCtx, s) })
		}
		if err := group.Wait(); err != nil {
			return err
		}
		for _, s := range p.shards() {
			if err := s.swapTables(ctx); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &portalv1.InitializeResponse{Language: "go", ApiUrl: p.APIURL}, nil
}

// alone runs fn while no other initialize runs, in any process. The mutex comes first, so that waiting requests need no connection.
func (p *portal) alone(ctx context.Context, fn func() error) error {
	p.initializing.Lock()
	defer p.initializing.Unlock()
	conn, err := p.Store.DB().Connx(ctx)
	if err != nil {
		return err
	}
	defer conn.Close() // the lock is released before
	var got sql.NullInt64
	const lock = "CONCAT(DATABASE(), '.initialize')"
	if err := conn.GetContext(ctx, &got, "SELECT GET_LOCK("+lock+", ?)", int(p.InitializeLimit.Seconds())); err != nil {
		return fmt.Errorf("wait for another initialize: %w", err)
	}
	if got.Int64 != 1 {
		return fmt.Errorf("wait for another initialize: %w", context.DeadlineExceeded)
	}
	err = fn()
	// Where the release fails, so does the connection, and the server gives back the lock with it.
	releaseErr := conn.GetContext(context.WithoutCancel(ctx), &got, "SELECT RELEASE_LOCK("+lock+")")
	if err != nil {
		return err
	}
	return releaseErr
}

// copyTables makes and fills <table>_new for every table of s. They are made like the tables in use, so that an index that
// was added to one of those stays. What changes the schema comes first and last, since it waits for every write.
func (p *portal) copyTables(ctx context.Context, s shard) error {
	news := s.names("_new")
	statements := []string{"DROP TABLE IF EXISTS " + news}
	for _, t := range s.tables {
		statements = append(statements, "CREATE TABLE "+t.Name+"_new LIKE "+t.Name)
	}
	if err := execAll(ctx, s.store.DB(), statements...); err != nil {
		return fmt.Errorf("make new tables: %w", err)
	}
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(copiers)
	for _, t := range s.tables {
		group.Go(func() error {
			if err := p.fillTable(groupCtx, s.store, t); err != nil {
				return fmt.Errorf("fill new table %s: %w", t.Name, err)
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	// Without it MySQL takes the new tables for empty for a long time, and joins in the wrong order.
	if err := execAll(ctx, s.store.DB(), "ANALYZE TABLE "+news); err != nil {
		return fmt.Errorf("analyze new tables: %w", err)
	}
	return nil
}

func (s shard) names(suffix string) string {
	var names []string
	for _, t := range s.tables {
		names = append(names, t.Name+suffix)
	}
	return strings.Join(names, ", ")
}

func execAll(ctx context.Context, db sqlx.ExecerContext, statements ...string) error {
	for _, statement := range statements {
		if _, err := db.ExecContext(ctx, statement); err != nil {
			return err
		}
	}
	return nil
}

// fillTable copies a table from the seed tables; the contest's clock is set around now.
func (p *portal) fillTable(ctx context.Context, s Store, t dataset.Table) error {
	columns := strings.Join(t.Columns, ", ")
	return s.InTx(ctx, nil, func(tx *sqlx.Tx) error {
		if t.Name == "contest" {
			now := p.Now()
			_, err := tx.ExecContext(ctx, "INSERT INTO contest_new (id, starts_at_us, freezes_at_us, ends_at_us) VALUES (1, ?, ?, ?)",
				now.Add(-time.Hour).UnixMicro(), now.Add(7*time.Hour).UnixMicro(), now.Add(8*time.Hour).UnixMicro())
			return err
		}
		_, err := tx.ExecContext(ctx, "INSERT INTO "+t.Name+"_new ("+columns+") SELECT "+columns+" FROM "+dataset.SeedDatabase+"."+t.Name)
		return err
	})
}

// swapTables puts every <table>_new of the shard in its place.
func (s shard) swapTables(ctx context.Context) error {
	var renames []string
	for _, t := range s.tables {
		renames = append(renames, t.Name+" TO "+t.Name+"_old", t.Name+"_new TO "+t.Name)
	}
	if err := execAll(ctx, s.store.DB(), "DROP TABLE IF EXISTS "+s.names("_old")); err != nil {
		return fmt.Errorf("drop left-over tables: %w", err)
	}
	conn, err := s.store.DB().Connx(ctx)
	if err != nil {
		return err
	}
	defer conn.Close() // its setting is reset before
	if err := renamePatiently(ctx, conn, "RENAME TABLE "+strings.Join(renames, ", ")); err != nil {
		return fmt.Errorf("swap tables: %w", err)
	}
	if err := execAll(ctx, conn, "DROP TABLE "+s.names("_old")); err != nil {
		return fmt.Errorf("drop the old tables: %w", err)
	}
	return nil
}

// renamePatiently gives up waiting for the tables' locks after a second and tries again, until ctx ends. A transaction
// under way may hold a row lock and wait for a table that the RENAME holds, while the RENAME waits for a table of a
// second transaction, which waits for that row: a deadlock that no server sees, since rows and tables are locked in
// different places. (MySQL 9.7 stood still for 50 s.)
func renamePatiently(ctx context.Context, conn *sqlx.Conn, rename string) error {
	if _, err := conn.ExecContext(ctx, "SET SESSION lock_wait_timeout = 1"); err != nil {
		return err
	}
	for {
		_, err := conn.ExecContext(ctx, rename)
		if !isSQL(err, errLockWait, errDeadlock) {
			_, resetErr := conn.ExecContext(ctx, "SET SESSION lock_wait_timeout = DEFAULT")
			return cmp.Or(err, resetErr)
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(50 * time.Millisecond): // what waited for the RENAME goes first
		}
	}
}

// JobTables are the tables that can be split off: those of Options.Jobs.
func JobTables() []string { return []string{"jobs", "results"} }

// OtherTables are all tables but those of JobTables.
func OtherTables() []string {
	var others []string
	for _, t := range dataset.Tables() {
		if !slices.Contains(JobTables(), t.Name) {
			others = append(others, t.Name)
		}
	}
	return others
}

func tablesOf(names []string) []dataset.Table {
	return slices.DeleteFunc(dataset.Tables(), func(t dataset.Table) bool { return !slices.Contains(names, t.Name) })
}

// Prepare makes, on one server, the seed tables of a dataset, and in the current database of db the portal's own tables of the list:
// JobTables, OtherTables or both. It drops the others. The seed tables are always complete, so that a table can move here later. If they
// contain that dataset already, Prepare is quick; otherwise it recreates everything, and the portal's tables are empty until the next
// initialize. db needs the right to create databases.
func Prepare(ctx context.Context, db *sql.DB, seed uint64, scale dataset.Scale, tables []string) error {
	if err := scale.Validate(); err != nil {
		return err
	}
	stamp, ok, err := dataset.Prepared(ctx, db)
	if err != nil {
		return err
	}
	if !ok || stamp != dataset.StampOf(seed, scale) {
		if err := makeSeed(ctx, db, seed, scale); err != nil {
			return err
		}
	}
	for _, t := range dataset.Tables() {
		statement := "CREATE TABLE IF NOT EXISTS " + t.Name + " LIKE " + dataset.SeedDatabase + "." + t.Name
		if !slices.Contains(tables, t.Name) {
			statement = "DROP TABLE IF EXISTS " + t.Name
		}
		if _, err := db.ExecContext(ctx, statement); err != nil {
			return fmt.Errorf("settle table %s: %w", t.Name, err)
		}
	}
	return nil
}

// makeSeed drops the portal's tables too, since they may be those of another version.
func makeSeed(ctx context.Context, db *sql.DB, seed uint64, scale dataset.Scale) error {
	data, err := dataset.Generate(seed, scale)
	if err != nil {
		return err
	}
	for _, t := range dataset.Tables() {
		if _, err := db.ExecContext(ctx, "DROP TABLE IF EXISTS "+t.Name); err != nil {
			return fmt.Errorf("drop table %s: %w", t.Name, err)
		}
	}
	return dataset.Load(ctx, db, data, func(c *dataset.Contestant) (string, error) {
		return HashPassword(c.Password, c.Salt[:], DatasetPasswordIterations)
	})
}
