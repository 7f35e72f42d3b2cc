package tune

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"

	"isukit/infra/host"
)

// Querier runs one statement and returns its rows as text; NULL is "".
type Querier interface {
	Query(ctx context.Context, statement string) ([][]string, error)
}

// SQL is a Querier over a pool of connections.
type SQL struct{ DB *sql.DB }

// Query implements Querier.
func (q SQL) Query(ctx context.Context, statement string) ([][]string, error) {
	rows, err := q.DB.QueryContext(ctx, statement)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		return nil, err
	}
	var all [][]string
	for rows.Next() {
		cells, to := make([]sql.NullString, len(columns)), make([]any, len(columns))
		for i := range cells {
			to[i] = &cells[i]
		}
		if err := rows.Scan(to...); err != nil {
			return nil, err
		}
		row := make([]string, len(cells))
		for i, c := range cells {
			row[i] = c.String
		}
		all = append(all, row)
	}
	return all, rows.Err()
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
	out, err := output(ctx, c.Host, argv...)
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

// DatabaseConfig tells about a database server.
type DatabaseConfig struct {
	Query Querier
	// File is the option file that gets the settings; "" writes the running server only.
	File string
	// Command is what starts the server, for asking it what it would read; nil where that is not known.
	Command []string
	// Restart restarts the server and returns when it answers; nil where that cannot be done from here.
	Restart func(context.Context) error
}

// NewDatabase is the target for tunings of kind mysql.
func NewDatabase(p Place, c DatabaseConfig) *Target {
	return p.target(MySQL, func(h *seen) server {
		c.Query = &seenSQL{Querier: c.Query, host: h}
		return database{host: h, c: c}
	})
}

type database struct {
	plain
	host host.Host
	c    DatabaseConfig
}

// DatabaseProduct asks a server what it is.
func DatabaseProduct(ctx context.Context, q Querier) (Product, error) {
	text, err := one(ctx, q, "SELECT VERSION()")
	if err != nil {
		return Product{}, fmt.Errorf("ask for the server's version: %w", err)
	}
	p := Product{Name: "mysql"}
	if strings.Contains(text, "MariaDB") {
		p.Name = "mariadb"
	}
	p.Version, err = ParseVersion(text)
	return p, err
}

func (d database) product(ctx context.Context) (Product, error) {
	return DatabaseProduct(ctx, d.c.Query)
}

// one runs a statement that returns one cell.
func one(ctx context.Context, q Querier, statement string) (string, error) {
	rows, err := q.Query(ctx, statement)
	if err != nil {
		return "", err
	}
	if len(rows) != 1 || len(rows[0]) == 0 {
		return "", fmt.Errorf("%s: got %d rows, want 1", statement, len(rows))
	}
	return rows[0][0], nil
}

var variableRE = regexp.MustCompile(`^[a-z][a-z0-9_]*$`)

// variable is the server's name for an option.
func variable(key string) string { return strings.ReplaceAll(strings.ToLower(key), "-", "_") }

func (d database) refuse(ctx context.Context, s Setting) (string, error) {
	name, _, _ := strings.Cut(s.Reads, "=")
	if name == "" {
		name = variable(s.Key)
	}
	if !variableRE.MatchString(name) {
		return fmt.Sprintf("%q is no variable", s.Key), nil
	}
	rows, err := d.c.Query.Query(ctx, "SHOW GLOBAL VARIABLES LIKE '"+strings.ReplaceAll(name, "_", `\_`)+"'")
	if err != nil {
		return "", err
	}
	if len(rows) == 0 {
		return "the server has no variable " + name, nil
	}
	if d.c.File == "" && s.Restart != Never {
		return "it needs a file that the server reads at its start, and none was named", nil
	}
	if by, err := d.commandLine(ctx, s.Key); err != nil || by != "" {
		return by, err
	}
	return "", nil
}

// commandLine tells when an argument of the server would win over any file.
func (d database) commandLine(_ context.Context, key string) (string, error) {
	for _, arg := range d.c.Command {
		name, _, _ := strings.Cut(strings.TrimPrefix(arg, "--"), "=")
		if strings.HasPrefix(arg, "--") && optionName(name) == optionName(key) {
			return fmt.Sprintf("the server is started with %s, which wins over any file", arg), nil
		}
	}
	return "", nil
}

// value rounds a buffer pool as the server will: to whole chunks.
func (d database) value(ctx context.Context, s Setting, _ Value, text string) (string, error) {
	n, ok := number(text)
	if variable(s.Key) != "innodb_buffer_pool_size" || !ok {
		return text, nil
	}
	chunk, err := one(ctx, d.c.Query, "SELECT @@GLOBAL.innodb_buffer_pool_chunk_size * IF(VERSION() LIKE '%MariaDB%', 1, @@GLOBAL.innodb_buffer_pool_instances)")
	if err != nil && strings.Contains(err.Error(), "1193") { // MariaDB has had no instances since 10.5
		chunk, err = one(ctx, d.c.Query, "SELECT @@GLOBAL.innodb_buffer_pool_chunk_size")
	}
	if err != nil {
		return "", err
	}
	if c, ok := number(chunk); ok && c > 0 {
		n = math.Ceil(n/c) * c
	}
	return strconv.FormatFloat(n, 'f', -1, 64), nil
}

func (d database) slots(ctx context.Context, s Setting) ([]slot, error) {
	var list []slot
	if d.c.File != "" {
		list = append(list, d.fileSlot(d.c.File))
	}
	p, err := d.product(ctx)
	if err != nil {
		return nil, err
	}
	if p.Name == "mysql" && p.Version.Compare(Version{8, 0}) >= 0 && s.Reads == "" {
		list = append(list, persistSlot{d.c.Query})
	}
	if s.Restart == Never {
		list = append(list, globalSlot{d.c.Query})
	}
	return list, nil
}

func (d database) fileSlot(file string) slot {
	return iniSlot{host: d.host, path: file, section: "mysqld", name: optionName}
}

func (d database) slot(r *Record) slot {
	switch r.Layer {
	case FileLayer:
		return d.fileSlot(r.File)
	case PersistLayer:
		return persistSlot{d.c.Query}
	}
	return globalSlot{d.c.Query}
}

// optionName makes spellings of an option equal: max-connections, loose_max_connections.
func optionName(key string) string { return strings.TrimPrefix(variable(key), "loose_") }

// settle restarts the server where that is needed.
func (d database) settle(ctx context.Context, need Restart) (string, error) {
	if need != Service && need != Listeners && need != Reload {
		return "", nil
	}
	if d.c.Restart == nil {
		return "", errNoRestart
	}
	if err := d.c.Restart(ctx); err != nil {
		return "", fmt.Errorf("restart: %w", err)
	}
	return "restarted", nil
}

// set implements forgetful. Where a log's position stands, the server keeps by itself.
func (d database) set(ctx context.Context) ([]string, error) {
	p, err := d.product(ctx)
	if err != nil {
		return nil, err
	}
	ask := "SELECT VARIABLE_NAME FROM performance_schema.variables_info WHERE VARIABLE_SOURCE = 'DYNAMIC'" +
		" AND VARIABLE_NAME IN (SELECT VARIABLE_NAME FROM performance_schema.global_variables)"
	if p.Name == "mariadb" {
		ask = "SELECT VARIABLE_NAME FROM information_schema.SYSTEM_VARIABLES WHERE GLOBAL_VALUE_ORIGIN = 'SQL' AND READ_ONLY = 'NO'" +
			" AND VARIABLE_SCOPE <> 'SESSION ONLY'"
	}
	rows, err := d.c.Query.Query(ctx, ask)
	if err != nil {
		return nil, fmt.Errorf("ask what was set while the server ran: %w", err)
	}
	var keys []string
	for _, row := range rows {
		if key := variable(row[0]); variableRE.MatchString(key) && !strings.HasPrefix(key, "gtid") {
			keys = append(keys, key)
		}
	}
	return keys, nil
}

// process is the server's pid, from its pid file.
func (d database) process(ctx context.Context) (string, error) {
	file, err := one(ctx, d.c.Query, "SELECT @@GLOBAL.pid_file")
	if err != nil {
		return "", err
	}
	pid, err := d.host.Get(ctx, file)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	return "pid " + strings.TrimSpace(string(pid)), err
}

// check finds what its slot can't see: another file or argument that wins, and a server that was not restarted.
func (d database) check(ctx context.Context, r *Record) (string, error) {
	if r.Layer != FileLayer || len(r.Writes) == 0 {
		return "", nil
	}
	if problem, err := d.overridden(ctx, r); err != nil || problem != "" {
		return problem, err
	}
	if r.Restart == Never {
		return "", nil
	}
	name, want, ok := strings.Cut(r.Reads, "=")
	if !ok {
		name, want = variable(r.Key), r.current().Text
	}
	got, err := one(ctx, d.c.Query, "SELECT @@GLOBAL."+name)
	if err != nil {
		return "", err
	}
	if !same(got, want) {
		return fmt.Sprintf("the running server has %s=%s, not %s: it was not restarted, or something else sets it", name, got, want), nil
	}
	return "", nil
}

// overridden asks the server's program what it would read at its next start.
func (d database) overridden(ctx context.Context, r *Record) (string, error) {
	if len(d.c.Command) == 0 {
		return "", nil
	}
	argv := []string{}
	for _, arg := range d.c.Command {
		if strings.HasPrefix(arg, "--") && !strings.HasPrefix(arg, "--defaults") && !strings.HasPrefix(arg, "--no-defaults") &&
			!strings.HasPrefix(arg, "--library-path") {
			break
		}
		argv = append(argv, arg)
	}
	out, err := output(ctx, d.host, append(argv, "--print-defaults")...)
	if err != nil {
		return "", fmt.Errorf("ask the server what it would read: %w", err)
	}
	last, found := "", false
	for arg := range strings.FieldsSeq(out) {
		name, value, _ := strings.Cut(strings.TrimPrefix(arg, "--"), "=")
		if strings.HasPrefix(arg, "--") && optionName(name) == optionName(r.Key) {
			last, found = value, true
		}
	}
	want := r.current()
	if found == want.Absent || found && !same(last, want.Text) {
		return fmt.Sprintf("the server's next start would read %q: a later file overrides %s, or the server does not read it", last, r.File), nil
	}
	return "", nil
}

// globalSlot is the running server.
type globalSlot struct{ q Querier }

func (globalSlot) layer() Layer { return RuntimeLayer }

func (globalSlot) file() string { return "" }

func (g globalSlot) read(ctx context.Context, key string) (Value, error) {
	text, err := one(ctx, g.q, "SELECT @@GLOBAL."+variable(key))
	if err != nil {
		return Value{}, fmt.Errorf("read %s: %w", key, err)
	}
	return Value{Text: text}, nil
}

// write never uses DEFAULT: it gives the compiled value, not the file's.
func (g globalSlot) write(ctx context.Context, key string, v Value) error {
	if v.Absent {
		return fmt.Errorf("write %s: a variable can't be removed", key)
	}
	if _, err := g.q.Query(ctx, "SET GLOBAL "+variable(key)+" = "+literal(v.Text)); err != nil {
		return fmt.Errorf("write %s: %w", key, err)
	}
	if variable(key) == "innodb_buffer_pool_size" {
		return g.waitResized(ctx)
	}
	return nil
}

// resizeLimit is how long a buffer pool may take to get its new size.
const resizeLimit = time.Minute

// waitResized: a buffer pool is resized in the background, and a second change meanwhile is dropped.
func (g globalSlot) waitResized(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, resizeLimit, errors.New("the buffer pool is still being resized"))
	defer cancel()
	for {
		rows, err := g.q.Query(ctx, "SHOW GLOBAL STATUS LIKE 'Innodb_buffer_pool_resize_status'")
		if err != nil {
			return err
		}
		if len(rows) == 0 || len(rows[0]) < 2 || rows[0][1] == "" || strings.HasPrefix(rows[0][1], "Completed") ||
			strings.HasPrefix(rows[0][1], "Size did not change") {
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// literal is a value in SQL: numbers and sizes as numbers, all else as a string.
func literal(text string) string {
	if n, ok := number(text); ok {
		return strconv.FormatFloat(n, 'f', -1, 64)
	}
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `''`).Replace(text) + "'"
}

// persistSlot is what MySQL keeps for its next start, where it wins over every file. A tuning leaves nothing there: it only
// takes away what would win over its own file.
type persistSlot struct{ q Querier }

func (persistSlot) layer() Layer { return PersistLayer }

func (persistSlot) file() string { return "" }

func (p persistSlot) read(ctx context.Context, key string) (Value, error) {
	rows, err := p.q.Query(ctx, "SELECT VARIABLE_VALUE FROM performance_schema.persisted_variables WHERE VARIABLE_NAME = "+literal(variable(key)))
	if err != nil {
		return Value{}, fmt.Errorf("read what is persisted of %s: %w", key, err)
	}
	if len(rows) == 0 {
		return Value{Absent: true}, nil
	}
	return Value{Text: rows[0][0]}, nil
}

// write leaves the running value alone: RESET PERSIST and PERSIST_ONLY do not touch it.
func (p persistSlot) write(ctx context.Context, key string, v Value) error {
	statement := "RESET PERSIST IF EXISTS " + variable(key)
	if !v.Absent {
		statement = "SET PERSIST_ONLY " + variable(key) + " = " + literal(v.Text)
	}
	if _, err := p.q.Query(ctx, statement); err != nil {
		return fmt.Errorf("write what is persisted of %s: %w", key, err)
	}
	return nil
}
