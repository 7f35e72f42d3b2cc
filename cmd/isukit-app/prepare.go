package main

import (
	"context"
	"database/sql"
	"fmt"
	"io"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"isukit/app"
)

func newPrepareCmd(flags *configFlags, out io.Writer) *cobra.Command {
	return &cobra.Command{
		Use:   "prepare",
		Short: "Make the portal's tables and the seed tables that initialize copies, on every database",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			conf, err := flags.load()
			if err != nil {
				return err
			}
			return runPrepare(cmd.Context(), conf, out)
		},
	}
}

// runPrepare prepares every database of conf, all at once, and says how long it took.
func runPrepare(ctx context.Context, conf *config, out io.Writer) error {
	start := time.Now()
	group, ctx := errgroup.WithContext(ctx)
	prepared := 0
	for _, d := range conf.Databases {
		if conf.copies(d.Name) {
			continue
		}
		prepared++
		group.Go(func() error {
			if err := prepareDatabase(ctx, d.dsn, conf.Dataset, conf.tablesOn(d.Name)); err != nil {
				return fmt.Errorf("prepare %s: %w", d.Name, err)
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(out, "prepared %d database(s) with scale %s, seed %d in %.1f s\n",
		prepared, conf.Dataset.Scale, conf.Dataset.Seed, time.Since(start).Seconds())
	return err
}

// prepareDatabase makes the database that the DSN names where it is missing, then its tables.
func prepareDatabase(ctx context.Context, dsn *mysql.Config, d datasetConf, tables []string) error {
	server := dsn.Clone()
	server.DBName = ""
	if err := withDB(server, func(db *sql.DB) error {
		_, err := db.ExecContext(ctx, "CREATE DATABASE IF NOT EXISTS `"+dsn.DBName+"` CHARACTER SET utf8mb4 COLLATE utf8mb4_bin")
		return err
	}); err != nil {
		return err
	}
	own := dsn.Clone()
	own.InterpolateParams = true // one round trip, and none of the limits of a prepared statement
	return withDB(own, func(db *sql.DB) error { return app.Prepare(ctx, db, d.Seed, d.Scale, tables) })
}

func withDB(dsn *mysql.Config, fn func(*sql.DB) error) error {
	connector, err := mysql.NewConnector(dsn)
	if err != nil {
		return err
	}
	db := sql.OpenDB(connector)
	defer db.Close() // what was written has been acknowledged
	return fn(db)
}
