package dataset

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/go-sql-driver/mysql"
	"golang.org/x/sync/errgroup"
)

const (
	// rowsPerInsert keeps a statement below half a MiB and below the 65,535 parameters that a server takes.
	rowsPerInsert = 2_000
	// loaders is how many connections insert in parallel: a small server has few cores.
	loaders = 2
)

// Stamp identifies the content of the prepared tables: two stamps are equal if and only if the tables would be.
type Stamp struct {
	Version int
	Seed    uint64
	Scale   Scale
	// Schema is a digest of schema.sql.
	Schema string
}

// StampOf is the stamp of tables that Load fills with data of this seed and scale.
func StampOf(seed uint64, scale Scale) Stamp {
	sum := sha256.Sum256([]byte(schemaSQL))
	return Stamp{Version: Version, Seed: seed, Scale: scale, Schema: hex.EncodeToString(sum[:8])}
}

// Prepared reads the stamp of the seed database; ok is false where Load has not run to its end.
func Prepared(ctx context.Context, db *sql.DB) (s Stamp, ok bool, err error) {
	row := db.QueryRowContext(ctx, "SELECT version, seed, scale, schema_digest FROM "+SeedDatabase+".prepared WHERE id = 1")
	var seed string
	err = row.Scan(&s.Version, &seed, &s.Scale, &s.Schema)
	var sqlError *mysql.MySQLError
	switch {
	// 1049: no such database; 1146: no such table.
	case errors.Is(err, sql.ErrNoRows), errors.As(err, &sqlError) && (sqlError.Number == 1049 || sqlError.Number == 1146):
		return Stamp{}, false, nil
	case err != nil:
		return Stamp{}, false, fmt.Errorf("read the stamp of %s: %w", SeedDatabase, err)
	}
	if _, err := fmt.Sscan(seed, &s.Seed); err != nil {
		return Stamp{}, false, fmt.Errorf("read the stamp of %s: seed %q: %w", SeedDatabase, seed, err)
	}
	return s, true, nil
}

// Load drops and recreates the seed database of one server and fills it with d. hash turns a contestant's password and salt into what the
// app stores. db needs the right to create databases. After an error the stamp is missing, and Prepared is false.
func Load(ctx context.Context, db *sql.DB, d *Data, hash func(*Contestant) (string, error)) error {
	for _, statement := range createSeed() {
		if _, err := db.ExecContext(ctx, statement); err != nil {
			return fmt.Errorf("create %s: %w", SeedDatabase, err)
		}
	}
	if err := d.insertAll(ctx, db, hash); err != nil {
		return err
	}
	stamp := StampOf(d.Seed, d.Scale)
	_, err := db.ExecContext(ctx, "INSERT INTO "+SeedDatabase+".prepared (id, version, seed, scale, schema_digest) VALUES (1, ?, ?, ?, ?)",
		stamp.Version, fmt.Sprint(stamp.Seed), string(stamp.Scale), stamp.Schema)
	if err != nil {
		return fmt.Errorf("stamp %s: %w", SeedDatabase, err)
	}
	return nil
}

func createSeed() []string {
	statements := []string{
		"DROP DATABASE IF EXISTS " + SeedDatabase,
		"CREATE DATABASE " + SeedDatabase + " CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
		"CREATE TABLE " + SeedDatabase + ".prepared (id TINYINT NOT NULL PRIMARY KEY, version INT NOT NULL," +
			" seed VARCHAR(20) NOT NULL, scale VARCHAR(20) NOT NULL, schema_digest VARCHAR(64) NOT NULL) ENGINE=InnoDB",
	}
	for _, t := range Tables() {
		statements = append(statements, t.CreateIn(SeedDatabase))
	}
	return statements
}

func (d *Data) insertAll(ctx context.Context, db *sql.DB, hash func(*Contestant) (string, error)) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(loaders)
	for _, t := range Tables() {
		n, row := d.rows(t.Name, hash)
		for first := 0; first < n; first += rowsPerInsert {
			group.Go(func() error {
				if err := insert(ctx, db, t, first, min(first+rowsPerInsert, n), row); err != nil {
					return fmt.Errorf("fill %s.%s from row %d: %w", SeedDatabase, t.Name, first, err)
				}
				return nil
			})
		}
	}
	return group.Wait()
}

// insert writes the rows [first, end) of one table in one statement.
func insert(ctx context.Context, db *sql.DB, t Table, first, end int, row func(int) ([]any, error)) error {
	holders := "(?" + strings.Repeat(",?", len(t.Columns)-1) + ")"
	args := make([]any, 0, (end-first)*len(t.Columns))
	for i := first; i < end; i++ {
		values, err := row(i)
		if err != nil {
			return err
		}
		if len(values) != len(t.Columns) {
			return fmt.Errorf("row %d has %d values for %d columns", i, len(values), len(t.Columns))
		}
		args = append(args, values...)
	}
	_, err := db.ExecContext(ctx, "INSERT INTO "+SeedDatabase+"."+t.Name+" ("+strings.Join(t.Columns, ",")+") VALUES "+
		holders+strings.Repeat(","+holders, end-first-1), args...)
	return err
}

// rows gives how many rows a table has and the values of each, in the order of the table's columns.
func (d *Data) rows(table string, hash func(*Contestant) (string, error)) (int, func(int) ([]any, error)) {
	switch table {
	case "contestants":
		return len(d.Contestants) + 1, func(i int) ([]any, error) {
			c := &d.Admin
			if i > 0 {
				c = &d.Contestants[i-1]
			}
			h, err := hash(c)
			return []any{c.ID, c.Name, h, c.TeamID, c.Admin, c.CreatedAtUS}, err
		}
	case "teams":
		return len(d.Teams), func(i int) ([]any, error) {
			t := &d.Teams[i]
			return []any{t.ID, t.Name, EncodeTags(t.Tags), t.InviteToken, 0, t.CreatedAtUS}, nil
		}
	case "jobs":
		return len(d.Jobs), func(i int) ([]any, error) { return d.Jobs[i].jobRow(), nil }
	case "results":
		return len(d.Jobs), func(i int) ([]any, error) { return d.Jobs[i].resultRow(), nil }
	case "clarifications":
		return len(d.Clarifications), func(i int) ([]any, error) {
			c := &d.Clarifications[i]
			return []any{c.ID, c.TeamID, c.Question, c.Answer, c.Disclosed, c.AskedAtUS, c.AnsweredAtUS}, nil
		}
	}
	return 0, nil
}

func (j *Job) jobRow() []any {
	const finished = 3
	return []any{j.ID, j.TeamID, finished, nil, j.Target, j.Memo, j.Worker, j.Score, j.Passed, j.Reason,
		j.CreatedAtUS, j.StartedAtUS, j.FinishedAtUS}
}

func (j *Job) resultRow() []any {
	return []any{j.ResultID, j.TeamID, j.ID, j.Score, j.Passed, j.FinishedAtUS}
}
