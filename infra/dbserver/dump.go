package dbserver

import (
	"bufio"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"strings"
)

// statementEnd is after every statement of a dump: no statement has these bytes in it, since texts are quoted.
const statementEnd = ";\x00\n"

// rowsPerInsert is how many rows an INSERT of a dump has; maxStatementBytes is where one ends earlier.
const (
	rowsPerInsert     = 1000
	maxStatementBytes = 4 << 20
)

// Dump writes tables as SQL that Load reads: each is dropped, made and filled again. Nothing may write to them meanwhile.
func (i *Instance) Dump(ctx context.Context, to io.Writer, database string, tables []string) error {
	w := bufio.NewWriter(to)
	err := i.onRoot(ctx, func(conn *sql.Conn) error {
		for _, t := range tables {
			if err := dumpTable(ctx, conn, w, quoteName(database)+"."+quoteName(t), quoteName(t)); err != nil {
				return fmt.Errorf("table %s: %w", t, err)
			}
		}
		return nil
	})
	if err := errors.Join(err, w.Flush()); err != nil {
		return fmt.Errorf("dump from %s: %w", i.name(), err)
	}
	return nil
}

func quoteName(s string) string { return "`" + strings.ReplaceAll(s, "`", "``") + "`" }

func dumpTable(ctx context.Context, conn *sql.Conn, w *bufio.Writer, from, name string) error {
	var ignored, create string
	if err := conn.QueryRowContext(ctx, "SHOW CREATE TABLE "+from).Scan(&ignored, &create); err != nil {
		return err
	}
	fmt.Fprintf(w, "DROP TABLE IF EXISTS %s%s%s%s", name, statementEnd, create, statementEnd)
	rows, err := conn.QueryContext(ctx, "SELECT * FROM "+from)
	if err != nil {
		return err
	}
	defer rows.Close()
	types, err := rows.ColumnTypes()
	if err != nil {
		return err
	}
	values, targets := make([]sql.RawBytes, len(types)), make([]any, len(types))
	for n := range values {
		targets[n] = &values[n]
	}
	count, size := 0, 0
	for rows.Next() {
		if err := rows.Scan(targets...); err != nil {
			return err
		}
		before := ", "
		if count == 0 {
			before = "INSERT INTO " + name + " VALUES "
		}
		text := before + rowText(types, values)
		if _, err := w.WriteString(text); err != nil {
			return err
		}
		count, size = count+1, size+len(text)
		if count == rowsPerInsert || size > maxStatementBytes {
			w.WriteString(statementEnd) // its error is Flush's
			count, size = 0, 0
		}
	}
	if count > 0 {
		w.WriteString(statementEnd)
	}
	return rows.Err()
}

// rowText is "(value, ...)". Text and numbers are quoted alike; bytes are marked as such.
func rowText(types []*sql.ColumnType, values []sql.RawBytes) string {
	var b strings.Builder
	for n, v := range values {
		b.WriteString(map[bool]string{true: "(", false: ", "}[n == 0])
		kind := types[n].DatabaseTypeName()
		switch {
		case v == nil:
			b.WriteString("NULL")
			continue
		case strings.HasSuffix(kind, "BLOB") || strings.HasSuffix(kind, "BINARY") || kind == "BIT" || kind == "GEOMETRY":
			b.WriteString("_binary")
		}
		b.WriteByte('\'')
		b.WriteString(sqlEscapes.Replace(string(v)))
		b.WriteByte('\'')
	}
	b.WriteByte(')')
	return b.String()
}

var sqlEscapes = strings.NewReplacer("\x00", `\0`, "\n", `\n`, "\r", `\r`, `\`, `\\`, "'", `\'`, "\x1a", `\Z`)

// Load runs what Dump has written, in a database.
func (i *Instance) Load(ctx context.Context, from io.Reader, database string) error {
	err := i.onRoot(ctx, func(conn *sql.Conn) error {
		for _, s := range []string{"SET SESSION sql_log_bin = 0, foreign_key_checks = 0, unique_checks = 0, NAMES utf8mb4", "USE " + quoteName(database)} {
			if _, err := conn.ExecContext(ctx, s); err != nil {
				return err
			}
		}
		lines := bufio.NewScanner(from)
		lines.Buffer(nil, 64<<20)
		lines.Split(splitStatements)
		for lines.Scan() {
			if _, err := conn.ExecContext(ctx, lines.Text()); err != nil {
				return err
			}
		}
		return lines.Err()
	})
	if err != nil {
		return fmt.Errorf("load into %s: %w", i.name(), err)
	}
	return nil
}

func splitStatements(data []byte, atEOF bool) (advance int, token []byte, err error) {
	if n := strings.Index(string(data), statementEnd); n >= 0 {
		return n + len(statementEnd), data[:n], nil
	}
	if atEOF && len(data) > 0 {
		return 0, nil, io.ErrUnexpectedEOF
	}
	return 0, nil, nil
}
