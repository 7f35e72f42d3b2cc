package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"isukit/app"
)

type preparedInfo struct {
	Databases int     `json:"databases"`
	Scale     string  `json:"scale"`
	Seed      uint64  `json:"seed"`
	Seconds   float64 `json:"seconds"`
}

func newPrepareCmd(flags *configFlags, out io.Writer) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "prepare",
		Short: "Create the portal's tables and the seed tables for initialize in every database",
		Long: `Create the portal's tables, and the seed tables that initialize copies, in every database of the configuration. Missing databases are
created. Existing rows are replaced. It takes some seconds with scale standard.`,
		Example: "  isukit-app --config app.yaml prepare",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			conf, err := flags.load()
			if err != nil {
				return err
			}
			return runPrepare(cmd.Context(), conf, out, cmd.ErrOrStderr(), asJSON)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// runPrepare prepares all databases of conf in parallel and prints the duration.
func runPrepare(ctx context.Context, conf *config, out, errs io.Writer, asJSON bool) error {
	start := time.Now()
	fmt.Fprintf(errs, "isukit-app: preparing with scale %s\n", conf.Dataset.Scale)
	group, groupCtx := errgroup.WithContext(ctx)
	prepared := 0
	for _, d := range conf.Databases {
		if conf.copies(d.Name) {
			continue
		}
		prepared++
		group.Go(func() error {
			if err := prepareDatabase(groupCtx, d.dsn, conf.Dataset, conf.tablesOn(d.Name)); err != nil {
				return fmt.Errorf("prepare %s: %w", d.Name, err)
			}
			return nil
		})
	}
	if err := group.Wait(); ctx.Err() != nil {
		return ctx.Err() // what the driver says of it tells less
	} else if err != nil {
		return &hintedError{err, databaseHint}
	}
	if asJSON {
		return json.NewEncoder(out).Encode(preparedInfo{prepared, string(conf.Dataset.Scale), conf.Dataset.Seed, time.Since(start).Seconds()})
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
