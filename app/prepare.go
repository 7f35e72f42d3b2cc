package app

import (
	"context"
	"database/sql"
	"fmt"
	"slices"

	"isukit/app/dataset"
)

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

// tablesOf gives the tables of these names.
func tablesOf(names []string) []dataset.Table {
	return slices.DeleteFunc(dataset.Tables(), func(t dataset.Table) bool { return !slices.Contains(names, t.Name) })
}

// Prepare makes, on one server, the seed tables of a dataset, and in the current database of db those of the portal's own
// tables that are to be there: JobTables, OtherTables or both. The others are dropped. The seed tables are always all of
// them, so that a table can come here later. It is quick when they hold that dataset already. Otherwise everything is made
// anew, and the portal's tables are empty until the next initialize. db needs the right to create databases.
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
