package observe

import (
	"context"
	"fmt"
	"strings"
	"time"

	"isukit/infra/digest/query"
	"isukit/infra/host"
	"isukit/infra/project"
	"isukit/infra/redact"
)

// Database asks a database server through its client on its host.
type Database struct {
	project.Database
	At host.Host
}

// queryLimit is how long the server may take to answer.
const queryLimit = 20 * time.Second

// ask sends SQL to the client's standard input and returns what it prints.
func (d Database) ask(ctx context.Context, sql string, flags ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, queryLimit)
	defer cancel()
	res, err := d.At.Run(ctx, host.Command{Argv: []string{"sh", "-c", d.Client + " " + strings.Join(flags, " ")}, Stdin: []byte(sql + ";\n")})
	if err != nil {
		return "", fmt.Errorf("ask the database of %s: %w", d.Host, err)
	}
	if res.Code != 0 {
		return "", fmt.Errorf("ask the database of %s: exit status %d: %s", d.Host, res.Code, redact.Text(lastLines(res.Stderr, 2)))
	}
	return string(res.Stdout), nil
}

// HasSchema tells whether performance_schema counts statements.
func (d Database) HasSchema(ctx context.Context) (bool, error) {
	text, err := d.ask(ctx, "SELECT @@performance_schema", "--batch", "--skip-column-names")
	return strings.TrimSpace(text) == "1", err
}

// Schema reads what performance_schema has counted until now, for query.FromSchema.
func (d Database) Schema(ctx context.Context) (string, error) {
	return d.ask(ctx, query.SchemaStatement, "--batch", "--skip-column-names")
}

// changing are variables that tell of the moment, not of a setting.
var changing = []string{"timestamp", "rand_seed1", "rand_seed2", "pseudo_thread_id", "last_insert_id", "insert_id", "gtid_", "error_count", "warning_count", "identity",
	"server_uuid", "in_transaction", "last_gtid", "skip_parallel_replication", "statement_id", "external_user", "proxy_user", "report_password"}

// Variables are the server's global variables; those that change by themselves are left out, and secrets are masked.
func (d Database) Variables(ctx context.Context) (map[string]string, error) {
	text, err := d.ask(ctx, "SHOW GLOBAL VARIABLES", "--batch", "--skip-column-names")
	if err != nil {
		return nil, err
	}
	values := map[string]string{}
	for line := range strings.Lines(text) {
		name, value, ok := strings.Cut(strings.TrimRight(line, "\n"), "\t")
		if !ok || isChanging(name) {
			continue
		}
		values[name] = masked(name, value)
	}
	return values, nil
}

// tablesStatement lists columns and indexes of all databases but the server's own, a key and a value a line.
const tablesStatement = `SELECT CONCAT(table_schema, '.', table_name, ' ', column_name), CONCAT(column_type, IF(is_nullable = 'YES', ' null', ''))
FROM information_schema.columns WHERE table_schema NOT IN ('mysql', 'sys', 'performance_schema', 'information_schema') ORDER BY 1 LIMIT 5000;
SELECT CONCAT(table_schema, '.', table_name, ' index ', index_name), CONCAT(IF(MIN(non_unique) = 0, 'unique ', ''), GROUP_CONCAT(column_name ORDER BY seq_in_index SEPARATOR ', '))
FROM information_schema.statistics WHERE table_schema NOT IN ('mysql', 'sys', 'performance_schema', 'information_schema')
GROUP BY table_schema, table_name, index_name ORDER BY 1 LIMIT 5000`

// Tables are the columns and indexes of the server's tables, by "database.table column" and "database.table index NAME".
func (d Database) Tables(ctx context.Context) (map[string]string, error) {
	text, err := d.ask(ctx, tablesStatement, "--batch", "--skip-column-names")
	values := map[string]string{}
	for line := range strings.Lines(text) {
		if name, value, ok := strings.Cut(strings.TrimRight(line, "\n"), "\t"); ok {
			values[name] = value
		}
	}
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

// masked is a setting's value without secrets.
func masked(name, value string) string {
	return redact.Value(name, value)
}

// Explain tells how the server would run a statement; it does not run it. "" is for what cannot be explained.
func (d Database) Explain(ctx context.Context, database, statement string) (string, error) {
	line, ok := query.OneLine(statement)
	if !ok {
		return "", nil
	}
	sql := ""
	if d.Database.Schema != "" {
		database = d.Database.Schema
	}
	if database != "" {
		sql = "USE `" + strings.ReplaceAll(database, "`", "``") + "`;\n"
	}
	text, err := d.ask(ctx, sql+"EXPLAIN "+line, "--table")
	return redact.Statement(strings.TrimSpace(text)), err
}
