package observe

import (
	"context"
	"fmt"
	"maps"
	"path"
	"strings"
	"time"

	"isukit/infra/digest/query"
	"isukit/infra/engine/mysql"
	"isukit/infra/redact"
)

// Database asks a database server.
type Database struct {
	Name, Host string
	// Schema is the database in which examples are explained; "" takes what the log tells.
	Schema string
	Query  mysql.Querier
}

const queryLimit = 20 * time.Second

func (d Database) ask(ctx context.Context, sql string) ([][]string, error) {
	ctx, cancel := context.WithTimeout(ctx, queryLimit)
	defer cancel()
	rows, err := d.Query.Query(ctx, sql)
	return rows, d.wrap(err)
}

func (d Database) wrap(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("query the database of %s: %s", d.Host, redact.Text(lastLines([]byte(err.Error()), 2)))
}

func (d Database) pairs(ctx context.Context, sql string) (map[string]string, error) {
	rows, err := d.ask(ctx, sql)
	values := map[string]string{}
	for _, row := range rows {
		if len(row) == 2 {
			values[row[0]] = row[1]
		}
	}
	return values, err
}

// HasSchema tells whether performance_schema counts statements.
func (d Database) HasSchema(ctx context.Context) (bool, error) {
	rows, err := d.ask(ctx, "SELECT @@performance_schema")
	return err == nil && len(rows) == 1 && rows[0][0] == "1", err
}

// SlowLog is the file of the server's slow statements; "" if it writes none, or is unknown.
func (d Database) SlowLog(ctx context.Context) string {
	rows, err := d.ask(ctx, "SELECT @@GLOBAL.slow_query_log, @@GLOBAL.slow_query_log_file, @@GLOBAL.datadir")
	if err != nil || len(rows) != 1 || rows[0][0] != "1" {
		return ""
	}
	if file := rows[0][1]; path.IsAbs(file) {
		return file
	}
	return path.Join(rows[0][2], rows[0][1])
}

// Counted is what performance_schema has counted until now, for query.FromSchema.
func (d Database) Counted(ctx context.Context) (string, error) {
	rows, err := d.ask(ctx, query.SchemaStatement)
	var b strings.Builder
	for _, row := range rows {
		for i, cell := range row {
			row[i] = strings.NewReplacer("\t", " ", "\n", " ").Replace(cell)
		}
		b.WriteString(strings.Join(row, "\t") + "\n")
	}
	return b.String(), err
}

// changing are variables that describe the moment and are not settings.
var changing = []string{"timestamp", "rand_seed1", "rand_seed2", "pseudo_thread_id", "last_insert_id", "insert_id", "gtid_", "error_count", "warning_count", "identity",
	"server_uuid", "in_transaction", "last_gtid", "skip_parallel_replication", "statement_id", "external_user", "proxy_user", "report_password"}

// Variables are the server's global variables, without those that change without a user; secrets are masked.
func (d Database) Variables(ctx context.Context) (map[string]string, error) {
	all, err := d.pairs(ctx, "SHOW GLOBAL VARIABLES")
	if err != nil {
		return nil, err
	}
	values := map[string]string{}
	for name, value := range all {
		if !isChanging(name) {
			values[name] = masked(name, value)
		}
	}
	return values, nil
}

// columnsStatement and indexesStatement are of all databases but the server's own, a key and a value a row.
const columnsStatement = `SELECT CONCAT(table_schema, '.', table_name, ' ', column_name), CONCAT(column_type, IF(is_nullable = 'YES', ' null', ''))
FROM information_schema.columns WHERE table_schema NOT IN ('mysql', 'sys', 'performance_schema', 'information_schema') ORDER BY 1 LIMIT 5000`

const indexesStatement = `SELECT CONCAT(table_schema, '.', table_name, ' index ', index_name), CONCAT(IF(MIN(non_unique) = 0, 'unique ', ''), GROUP_CONCAT(column_name ORDER BY seq_in_index SEPARATOR ', '))
FROM information_schema.statistics WHERE table_schema NOT IN ('mysql', 'sys', 'performance_schema', 'information_schema')
GROUP BY table_schema, table_name, index_name ORDER BY 1 LIMIT 5000`

// Tables are the columns and indexes of the server's tables, by "database.table column" and "database.table index NAME".
func (d Database) Tables(ctx context.Context) (map[string]string, error) {
	values, err := d.pairs(ctx, columnsStatement)
	if err != nil {
		return nil, err
	}
	indexes, err := d.pairs(ctx, indexesStatement)
	maps.Copy(values, indexes)
	return values, err
}

func isChanging(name string) bool {
	for _, c := range changing {
		if name == c || strings.HasSuffix(c, "_") && strings.HasPrefix(name, c) {
			return true
		}
	}
	return false
}

func masked(name, value string) string {
	return redact.Value(name, value)
}

// Explain is the server's plan of a statement, which does not run; "" if it cannot be explained.
func (d Database) Explain(ctx context.Context, database, statement string) (string, error) {
	line, ok := query.OneLine(statement)
	if !ok {
		return "", nil
	}
	if d.Schema != "" {
		database = d.Schema
	}
	ctx, cancel := context.WithTimeout(ctx, queryLimit)
	defer cancel()
	text, err := d.Query.Table(ctx, database, "EXPLAIN "+line)
	return redact.Statement(strings.TrimSpace(text)), d.wrap(err)
}
