package main

import (
	"context"
	"database/sql"
	"errors"

	"github.com/go-sql-driver/mysql"

	"isukit/cmd/internal/ui"
	"isukit/infra/doctor"
	enginemysql "isukit/infra/engine/mysql"
)

// lookAtDSN looks at the database whose DSN is in a file.
func lookAtDSN(ctx context.Context, file string, s streams) (d doctor.Database, err error) {
	dsn, err := readDSN(file, s)
	if err != nil {
		return d, ui.UsageError(err, "a DSN file holds one line: user:password@tcp(127.0.0.1:3306)/")
	}
	connector, err := mysql.NewConnector(dsn)
	if err != nil {
		return d, err
	}
	q := enginemysql.SQL{DB: sql.OpenDB(connector)}
	d, err = doctor.LookAtDatabase(ctx, dsn.Addr, q)
	return d, errors.Join(err, q.DB.Close())
}
