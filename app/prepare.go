package app

import (
	"context"
	"database/sql"
	"fmt"

	"isukit/app/dataset"
)

// Prepare makes, on one server, the seed tables of a dataset and the portal's own tables in the current database of db.
// It is quick when the seed tables hold that dataset already. Otherwise both are made anew, and the portal's tables are
// empty until the next initialize. db needs the right to create databases.
func Prepare(ctx context.Context, db *sql.DB, seed uint64, scale dataset.Scale) error {
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
		if _, err := db.ExecContext(ctx, "CREATE TABLE IF NOT EXISTS "+t.Name+" LIKE "+dataset.SeedDatabase+"."+t.Name); err != nil {
			return fmt.Errorf("create table %s: %w", t.Name, err)
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
