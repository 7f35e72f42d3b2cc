// Package mysql reads MySQL and MariaDB: queries, options and variables, and the files that a server reads them from.
package mysql

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"isukit/infra/engine"
	"isukit/infra/host"
)

// Querier runs one statement and returns its rows as text; NULL is "".
type Querier interface {
	Query(ctx context.Context, statement string) ([][]string, error)
	// Table runs a statement in a database, "" for none, and returns names and rows as the client draws a table.
	Table(ctx context.Context, database, statement string) (string, error)
}

// SQL is a Querier over a pool of connections.
type SQL struct{ DB *sql.DB }

// Query implements Querier.
func (q SQL) Query(ctx context.Context, statement string) ([][]string, error) {
	rows, err := q.DB.QueryContext(ctx, statement)
	if err != nil {
		return nil, err
	}
	_, all, err := texts(rows)
	return all, err
}

// Table implements Querier.
func (q SQL) Table(ctx context.Context, database, statement string) (text string, err error) {
	conn, err := q.DB.Conn(ctx)
	if err != nil {
		return "", err
	}
	if database != "" {
		if _, err := conn.ExecContext(ctx, "USE `"+strings.ReplaceAll(database, "`", "``")+"`"); err != nil {
			return "", errors.Join(err, conn.Close())
		}
		// The connection is in another database now than those that the pool gives out.
		defer func() { _ = conn.Raw(func(any) error { return driver.ErrBadConn }) }()
	} else {
		defer func() { err = errors.Join(err, conn.Close()) }()
	}
	rows, err := conn.QueryContext(ctx, statement)
	if err != nil {
		return "", err
	}
	names, all, err := texts(rows)
	for _, row := range append([][]string{names}, all...) {
		for i, cell := range row {
			if row[i] = strings.Join(strings.Fields(cell), " "); cell == "" {
				row[i] = "NULL"
			}
		}
		text += "| " + strings.Join(row, " | ") + " |\n"
	}
	return text, err
}

func texts(rows *sql.Rows) (columns []string, all [][]string, err error) {
	defer rows.Close()
	if columns, err = rows.Columns(); err != nil {
		return nil, nil, err
	}
	for rows.Next() {
		cells, to := make([]sql.NullString, len(columns)), make([]any, len(columns))
		for i := range cells {
			to[i] = &cells[i]
		}
		if err := rows.Scan(to...); err != nil {
			return nil, nil, err
		}
		row := make([]string, len(cells))
		for i, c := range cells {
			row[i] = c.String
		}
		all = append(all, row)
	}
	return columns, all, rows.Err()
}

// Client is a Querier that runs the mysql or mariadb client on the host: Argv is the client with its options, such as
// "mysql --defaults-extra-file=FILE".
type Client struct {
	Host host.Host
	Argv []string
}

// Query implements Querier.
func (c Client) Query(ctx context.Context, statement string) ([][]string, error) {
	argv := append(append([]string{}, c.Argv...), "--batch", "--skip-column-names", "--execute", statement)
	out, err := host.Output(ctx, c.Host, argv...)
	if err != nil {
		return nil, err
	}
	var rows [][]string
	for line := range strings.Lines(out) {
		row := strings.Split(strings.TrimRight(line, "\n"), "\t")
		for i := range row {
			if row[i] == "NULL" {
				row[i] = ""
			}
		}
		rows = append(rows, row)
	}
	return rows, nil
}

// Table implements Querier.
func (c Client) Table(ctx context.Context, database, statement string) (string, error) {
	argv := append(append([]string{}, c.Argv...), "--table", "--execute", statement)
	if database != "" {
		argv = append(argv, "--database="+database)
	}
	return host.Output(ctx, c.Host, argv...)
}

// ProductOf asks a server what it is.
func ProductOf(ctx context.Context, q Querier) (engine.Product, error) {
	text, err := One(ctx, q, "SELECT VERSION()")
	if err != nil {
		return engine.Product{}, fmt.Errorf("query the server's version: %w", err)
	}
	p := engine.Product{Name: "mysql"}
	if strings.Contains(text, "MariaDB") {
		p.Name = "mariadb"
	}
	p.Version, err = engine.ParseVersion(text)
	return p, err
}

// One runs a statement that returns one cell.
func One(ctx context.Context, q Querier, statement string) (string, error) {
	rows, err := q.Query(ctx, statement)
	if err != nil {
		return "", err
	}
	if len(rows) != 1 || len(rows[0]) == 0 {
		return "", fmt.Errorf("%s: got %d rows, want 1", statement, len(rows))
	}
	return rows[0][0], nil
}

// Variable is the server's name for an option.
func Variable(key string) string { return strings.ReplaceAll(strings.ToLower(key), "-", "_") }

// OptionName makes spellings of an option equal: max-connections, loose_max_connections.
func OptionName(key string) string { return strings.TrimPrefix(Variable(key), "loose_") }

// Literal is a value in SQL: numbers and sizes as numbers, all else as a string.
func Literal(text string) string {
	if n, ok := engine.Number(text); ok {
		return strconv.FormatFloat(n, 'f', -1, 64)
	}
	return Quote(text)
}

// Quote is a string in SQL.
func Quote(text string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `''`).Replace(text) + "'"
}
