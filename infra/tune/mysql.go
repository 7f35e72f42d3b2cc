package tune

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"

	"isukit/infra/engine"
	"isukit/infra/engine/mysql"
	"isukit/infra/host"
)

// DatabaseConfig tells about a database server.
type DatabaseConfig struct {
	Query mysql.Querier
	// File is the option file that gets the settings; "" writes the running server only.
	File string
	// Command is what starts the server, for asking it what it would read; nil where that is not known.
	Command []string
	// PID is the server's process, 0 where none runs; nil takes what its pid file says.
	PID func(context.Context) (int, error)
	// Restart restarts the server and returns when it answers; nil where that cannot be done from here.
	Restart func(context.Context) error
	// RestartOp and Await are Restart in two parts, of which the first is done together with other things; nil where it cannot be.
	RestartOp *host.Op
	Await     func(context.Context) error
}

// NewDatabase is the target for tunings of kind mysql.
func NewDatabase(p Place, c DatabaseConfig) *Target {
	return p.target(MySQL, func(h *seen) server {
		c.Query = &seenSQL{Querier: c.Query, host: h}
		if c.PID != nil {
			c.PID = once(h, "pid", c.PID)
		}
		return databaseServer{host: h, c: c}
	})
}

type databaseServer struct {
	plain
	host *seen
	c    DatabaseConfig
}

func (d databaseServer) product(ctx context.Context) (engine.Product, error) {
	return mysql.ProductOf(ctx, d.c.Query)
}

var variableRE = regexp.MustCompile(`^[a-z][a-z0-9_]*$`)

func (d databaseServer) refuse(ctx context.Context, s Setting) (string, error) {
	name, _, _ := strings.Cut(s.Reads, "=")
	if name == "" {
		name = mysql.Variable(s.Key)
	}
	if !variableRE.MatchString(name) {
		return fmt.Sprintf("%q is not a variable", s.Key), nil
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

// commandLine finds an argument of the server that overrides any file.
func (d databaseServer) commandLine(_ context.Context, key string) (string, error) {
	for _, arg := range d.c.Command {
		name, _, _ := strings.Cut(strings.TrimPrefix(arg, "--"), "=")
		if strings.HasPrefix(arg, "--") && mysql.OptionName(name) == mysql.OptionName(key) {
			return fmt.Sprintf("the server is started with %s, which wins over any file", arg), nil
		}
	}
	return "", nil
}

// value rounds a buffer pool as the server will: to whole chunks.
func (d databaseServer) value(ctx context.Context, s Setting, _ keyed, text string) (string, error) {
	n, ok := engine.Number(text)
	if mysql.Variable(s.Key) != "innodb_buffer_pool_size" || !ok {
		return text, nil
	}
	chunk, err := mysql.One(ctx, d.c.Query, "SELECT @@GLOBAL.innodb_buffer_pool_chunk_size * IF(VERSION() LIKE '%MariaDB%', 1, @@GLOBAL.innodb_buffer_pool_instances)")
	if err != nil && strings.Contains(err.Error(), "1193") { // MariaDB has had no instances since 10.5
		chunk, err = mysql.One(ctx, d.c.Query, "SELECT @@GLOBAL.innodb_buffer_pool_chunk_size")
	}
	if err != nil {
		return "", err
	}
	if c, ok := engine.Number(chunk); ok && c > 0 {
		n = math.Ceil(n/c) * c
	}
	return strconv.FormatFloat(n, 'f', -1, 64), nil
}

func (d databaseServer) slots(ctx context.Context, s Setting) ([]slot, error) {
	var list []slot
	if d.c.File != "" {
		list = append(list, d.fileSlot(d.c.File))
	}
	p, err := d.product(ctx)
	if err != nil {
		return nil, err
	}
	if p.Name == "mysql" && p.Version.Compare(engine.Version{8, 0}) >= 0 && s.Reads == "" {
		list = append(list, persistSlot{d.c.Query})
	}
	if s.Restart == Never {
		list = append(list, globalSlot{d.c.Query})
	}
	return list, nil
}

func (d databaseServer) fileSlot(file string) slot {
	return fileSlot{host: d.host, path: file, format: iniFormat{engine.Ini{Section: "mysqld", Name: mysql.OptionName}}}
}

func (d databaseServer) slot(r *Record) slot {
	switch r.Layer {
	case FileLayer:
		return d.fileSlot(r.File)
	case PersistLayer:
		return persistSlot{d.c.Query}
	}
	return globalSlot{d.c.Query}
}

// settle restarts the server where that is needed.
func (d databaseServer) settle(ctx context.Context, need Restart) (string, error) {
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

// reloadOp implements reloader.
func (d databaseServer) reloadOp(context.Context) (host.Op, error) {
	if d.c.RestartOp == nil {
		return host.Op{}, errNoRestart
	}
	return *d.c.RestartOp, nil
}

// reloaded implements reloader.
func (d databaseServer) reloaded(ctx context.Context, _ string) (string, error) {
	return "restarted", d.c.Await(ctx)
}

// set implements forgetful. The server updates positions in logs without a user.
func (d databaseServer) set(ctx context.Context) ([]string, error) {
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
		return nil, fmt.Errorf("read the settings of the running server: %w", err)
	}
	var keys []string
	for _, row := range rows {
		if key := mysql.Variable(row[0]); variableRE.MatchString(key) && !strings.HasPrefix(key, "gtid") {
			keys = append(keys, key)
		}
	}
	return keys, nil
}

// foresee implements asker.
func (d databaseServer) foresee(ctx context.Context, _ []string) (ops []host.Op) {
	if d.c.PID != nil {
		_, _ = d.c.PID(ctx) // the next user of the pid gets the error
	}
	if d.c.File != "" {
		ops = append(ops, host.Op{Get: d.c.File})
	}
	return append(ops, d.overrides()...)
}

// overrides implements overridable.
func (d databaseServer) overrides() []host.Op {
	if len(d.c.Command) == 0 {
		return nil
	}
	return []host.Op{d.defaultsOp()}
}

// process is the server's pid, from its pid file if nothing else knows it.
func (d databaseServer) process(ctx context.Context) (string, error) {
	if d.c.PID != nil {
		if pid, err := d.c.PID(ctx); err != nil || pid > 0 {
			return fmt.Sprintf("pid %d", pid), err
		}
		return "", nil
	}
	file, err := mysql.One(ctx, d.c.Query, "SELECT @@GLOBAL.pid_file")
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
func (d databaseServer) check(ctx context.Context, r *Record) (string, error) {
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
		name, want = mysql.Variable(r.Key), r.current().Text
	}
	got, err := mysql.One(ctx, d.c.Query, "SELECT @@GLOBAL."+name)
	if err != nil {
		return "", err
	}
	if !engine.Same(got, want) {
		return fmt.Sprintf("the running server has %s=%s, not %s: it was not restarted, or something else sets it", name, got, want), nil
	}
	return "", nil
}

// overridden asks the server's program what it would read at its next start.
func (d databaseServer) overridden(ctx context.Context, r *Record) (string, error) {
	if len(d.c.Command) == 0 {
		return "", nil
	}
	out, err := host.Output(ctx, d.host, d.defaultsOp().Run.Argv...)
	if err != nil {
		return "", fmt.Errorf("query the files that the server would read: %w", err)
	}
	last, found := "", false
	for arg := range strings.FieldsSeq(out) {
		name, value, _ := strings.Cut(strings.TrimPrefix(arg, "--"), "=")
		if strings.HasPrefix(arg, "--") && mysql.OptionName(name) == mysql.OptionName(r.Key) {
			last, found = value, true
		}
	}
	want := r.current()
	if found == want.Absent || found && !engine.Same(last, want.Text) {
		return fmt.Sprintf("the server's next start would read %q: a later file overrides %s, or the server does not read it", last, r.File), nil
	}
	return "", nil
}

// defaultsOp asks the server's program for what it would read at its next start.
func (d databaseServer) defaultsOp() host.Op {
	argv := []string{}
	for _, arg := range d.c.Command {
		if strings.HasPrefix(arg, "--") && !strings.HasPrefix(arg, "--defaults") && !strings.HasPrefix(arg, "--no-defaults") &&
			!strings.HasPrefix(arg, "--library-path") {
			break
		}
		argv = append(argv, arg)
	}
	return host.Op{Run: &host.Command{Argv: append(argv, "--print-defaults")}}
}

// globalSlot is the running server.
type globalSlot struct{ q mysql.Querier }

func (globalSlot) layer() Layer { return RuntimeLayer }

func (globalSlot) file() string { return "" }

func (g globalSlot) read(ctx context.Context, key string) (engine.Value, error) {
	text, err := mysql.One(ctx, g.q, "SELECT @@GLOBAL."+mysql.Variable(key))
	if err != nil {
		return engine.Value{}, fmt.Errorf("read %s: %w", key, err)
	}
	return engine.Value{Text: text}, nil
}

// write never uses DEFAULT: it gives the compiled value, not the file's.
func (g globalSlot) write(ctx context.Context, key string, v engine.Value) error {
	if v.Absent {
		return fmt.Errorf("write %s: a variable can't be removed", key)
	}
	if _, err := g.q.Query(ctx, "SET GLOBAL "+mysql.Variable(key)+" = "+mysql.Literal(v.Text)); err != nil {
		return fmt.Errorf("write %s: %w", key, err)
	}
	if mysql.Variable(key) == "innodb_buffer_pool_size" {
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

// persistSlot is what MySQL keeps for its next start, where it wins over every file. A tuning leaves nothing there: it only
// takes away what would win over its own file.
type persistSlot struct{ q mysql.Querier }

func (persistSlot) layer() Layer { return PersistLayer }

func (persistSlot) file() string { return "" }

func (p persistSlot) read(ctx context.Context, key string) (engine.Value, error) {
	rows, err := p.q.Query(ctx, "SELECT VARIABLE_VALUE FROM performance_schema.persisted_variables WHERE VARIABLE_NAME = "+mysql.Literal(mysql.Variable(key)))
	if err != nil {
		return engine.Value{}, fmt.Errorf("read what is persisted of %s: %w", key, err)
	}
	if len(rows) == 0 {
		return engine.Value{Absent: true}, nil
	}
	return engine.Value{Text: rows[0][0]}, nil
}

// write leaves the running value alone: RESET PERSIST and PERSIST_ONLY do not touch it.
func (p persistSlot) write(ctx context.Context, key string, v engine.Value) error {
	statement := "RESET PERSIST IF EXISTS " + mysql.Variable(key)
	if !v.Absent {
		statement = "SET PERSIST_ONLY " + mysql.Variable(key) + " = " + mysql.Literal(v.Text)
	}
	if _, err := p.q.Query(ctx, statement); err != nil {
		return fmt.Errorf("write what is persisted of %s: %w", key, err)
	}
	return nil
}
