package fanouttest

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/jmoiron/sqlx"

	"forge.example/account/isukit/app/fanout"
)

// executor is what sqlx.DB, sqlx.Tx and sqlx.Conn have in common.
type executor interface {
	ExecContext(ctx context.Context, text string, args ...any) (sql.Result, error)
	QueryxContext(ctx context.Context, text string, args ...any) (*sqlx.Rows, error)
	PreparexContext(ctx context.Context, text string) (*sqlx.Stmt, error)
}

// stepResult is what a statement gave: equal texts for equal effects, as far as a client sees them.
type stepResult struct {
	seen string
	err  error
}

// run sends the statement as it is to arrive.
func (s genStep) run(ctx context.Context, on executor) stepResult {
	switch s.Via {
	case "named", "namedquery":
		text, args := named(s)
		if text, list, err := sqlx.Named(text, args); err != nil {
			return stepResult{err: err}
		} else if s.Via == "named" {
			return s.runNamed(ctx, on, text, args, list)
		} else {
			return queried(on.QueryxContext(ctx, text, list...))
		}
	case "prepare", "preparequery":
		st, err := on.PreparexContext(ctx, s.Text)
		if err != nil {
			return stepResult{err: err}
		}
		defer st.Close()
		if s.Via == "prepare" {
			return executed(st.ExecContext(ctx, s.Args...))
		}
		return queried(st.QueryxContext(ctx, s.Args...))
	case "query":
		return queried(on.QueryxContext(ctx, s.Text, s.Args...))
	}
	return executed(on.ExecContext(ctx, s.Text, s.Args...))
}

func (s genStep) runNamed(ctx context.Context, on executor, text string, args map[string]any, list []any) stepResult {
	if n, ok := on.(interface {
		NamedExecContext(ctx context.Context, text string, arg any) (sql.Result, error)
	}); ok {
		text, _ := named(s)
		return executed(n.NamedExecContext(ctx, text, args))
	}
	return executed(on.ExecContext(ctx, text, list...))
}

// named is the statement with names instead of question marks.
func named(s genStep) (string, map[string]any) {
	args := map[string]any{}
	var b strings.Builder
	rest, quote := s.Text, byte(0)
	for i := 0; i < len(rest); i++ {
		c := rest[i]
		switch {
		case quote != 0 && c == '\\':
			b.WriteByte(c)
			i++
			c = rest[i]
		case quote != 0 && c == quote:
			quote = 0
		case quote == 0 && c == '\'':
			quote = c
		case quote == 0 && c == '?':
			name := fmt.Sprint("v", len(args))
			args[name] = s.Args[len(args)]
			b.WriteString(":" + name)
			continue
		}
		b.WriteByte(c)
	}
	return b.String(), args
}

func executed(res sql.Result, err error) stepResult {
	if err != nil {
		return stepResult{err: err}
	}
	id, _ := res.LastInsertId()
	n, _ := res.RowsAffected()
	return stepResult{seen: fmt.Sprintf("%d rows, id %d", n, id)}
}

// queried reads all rows; their order is not looked at.
func queried(rows *sqlx.Rows, err error) stepResult {
	if err != nil {
		return stepResult{err: err}
	}
	defer rows.Close()
	var lines []string
	for rows.Next() {
		cells, err := rows.SliceScan()
		if err != nil {
			return stepResult{err: err}
		}
		for i, c := range cells {
			if b, ok := c.([]byte); ok {
				cells[i] = string(b)
			}
		}
		lines = append(lines, fmt.Sprint(cells...))
	}
	if err := rows.Err(); err != nil {
		return stepResult{err: err}
	}
	slices.Sort(lines)
	return stepResult{seen: strings.Join(lines, "\n")}
}

// run does the unit. Steps that skip names are left out. The last result is that of BEGIN, COMMIT or the connection.
func (u genUnit) run(ctx context.Context, db *sqlx.DB, skip func(step int) bool) (results []stepResult, end error) {
	if u.Cancel > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, u.Cancel)
		defer cancel()
	}
	var on executor = db
	begin := db.BeginTxx
	if u.Conn {
		conn, err := db.Connx(ctx)
		if err != nil {
			return nil, err
		}
		defer conn.Close()
		on, begin = conn, conn.BeginTxx
	}
	if !u.Tx {
		return u.steps(ctx, on, skip), nil
	}
	tx, err := begin(ctx, &sql.TxOptions{Isolation: u.Level})
	if err != nil {
		return nil, err
	}
	defer tx.Rollback()
	results = u.steps(ctx, tx, skip)
	failed := slices.ContainsFunc(results, func(s stepResult) bool { return s.err != nil })
	if u.Rollback || failed && (!u.GoOn || hasConflict(results)) {
		return results, tx.Rollback()
	}
	return results, tx.Commit()
}

func (u genUnit) steps(ctx context.Context, on executor, skip func(int) bool) (results []stepResult) {
	for i, s := range u.Steps {
		if skip != nil && skip(i) {
			results = append(results, stepResult{err: fanout.ErrRefused})
			if u.Tx && !u.GoOn {
				break
			}
			continue
		}
		res := s.run(ctx, on)
		results = append(results, res)
		if u.Tx && res.err != nil && (!u.GoOn || hasConflict(results)) {
			break
		}
	}
	return results
}

// hasConflict reports whether a server rolled the transaction back, or the pool says that it has ended.
func hasConflict(results []stepResult) bool {
	return slices.ContainsFunc(results, func(s stepResult) bool {
		var we *fanout.WriteError
		var me *mysql.MySQLError
		return errors.As(s.err, &we) || errors.As(s.err, &me) && (me.Number == 1213 || me.Number == 1205 || me.Number == 1020)
	})
}

// verdictOf sorts an error: "", refused, a server's number, or given up. Anything else is a fault of the pool.
func verdictOf(err error) string {
	var we *fanout.WriteError
	var me *mysql.MySQLError
	switch {
	case err == nil:
		return ""
	case errors.Is(err, fanout.ErrRefused):
		return "refused"
	case errors.As(err, &we) && we.Fate == fanout.NotApplied && errors.As(err, &me):
		return "rolled back"
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded), errors.Is(err, sql.ErrTxDone), errors.Is(err, sql.ErrConnDone):
		return "given up"
	case errors.As(err, &me):
		return fmt.Sprint(me.Number)
	}
	return "fault: " + err.Error()
}

// dump is every row of every table of a database, by table.
func (c *cluster) dump(ctx context.Context, i int) (map[string][]string, error) {
	pool, err := c.raw(i)
	if err != nil {
		return nil, err
	}
	defer pool.Close()
	var tables []string
	if err := pool.SelectContext(ctx, &tables, `SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE()
		AND table_type = 'BASE TABLE' AND table_name NOT LIKE 'isukit\_%'`); err != nil {
		return nil, err
	}
	all := map[string][]string{}
	for _, t := range tables {
		rows, err := pool.QueryxContext(ctx, "SELECT * FROM `"+t+"`")
		if err != nil {
			return nil, err
		}
		names, _ := rows.Columns()
		lines := []string{}
		for rows.Next() {
			cells, err := rows.SliceScan()
			if err != nil {
				rows.Close()
				return nil, err
			}
			for i, v := range cells {
				cells[i] = names[i] + "=" + shown(v)
			}
			lines = append(lines, strings.TrimSuffix(fmt.Sprintln(cells...), "\n"))
		}
		if err := errors.Join(rows.Err(), rows.Close()); err != nil {
			return nil, err
		}
		slices.Sort(lines)
		all[t] = lines
	}
	return all, nil
}

func shown(v any) string {
	switch v := v.(type) {
	case []byte:
		return fmt.Sprintf("%q", v)
	case nil:
		return "NULL"
	}
	return fmt.Sprint(v)
}

// raw is a plain connection to server i that shows what is stored: TIMESTAMPs in UTC.
func (c *cluster) raw(i int) (*sqlx.DB, error) {
	my, err := mysql.ParseDSN(c.dbs[i].RootDSN(c.name))
	if err != nil {
		return nil, err
	}
	my.Params = map[string]string{"time_zone": "'+00:00'"}
	my.InterpolateParams = true // as the pool's connections do: JSON is compared with texts otherwise where they are arguments
	my.Logger = &mysql.NopLogger{}
	return sqlx.Connect("mysql", my.FormatDSN())
}

// difference is how b differs from a, or nothing.
func difference(aName string, a map[string][]string, bName string, b map[string][]string) string {
	var out strings.Builder
	names := maps.Clone(a)
	maps.Copy(names, b)
	for _, t := range slices.Sorted(maps.Keys(names)) {
		if slices.Equal(a[t], b[t]) {
			continue
		}
		fmt.Fprintf(&out, "table %s: %d rows on %s, %d on %s\n", t, len(a[t]), aName, len(b[t]), bName)
		only(&out, aName, a[t], b[t])
		only(&out, bName, b[t], a[t])
	}
	return out.String()
}

func only(out *strings.Builder, name string, have, has []string) {
	left := map[string]int{}
	for _, l := range has {
		left[l]++
	}
	shown := 0
	for _, l := range have {
		if left[l]--; left[l] < 0 && shown < 5 {
			fmt.Fprintf(out, "  only on %s: %s\n", name, l)
			shown++
		}
	}
}

// differ compares the databases of all servers with that of the first of them, from a place on.
func (c *cluster) differ(tb testing.TB, from int) string {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	first, err := c.dump(ctx, from)
	if err != nil {
		return fmt.Sprintf("r%d cannot be read: %v", from+1, err)
	}
	var all []string
	for i := from + 1; i < len(c.dbs); i++ {
		other, err := c.dump(ctx, i)
		if err != nil {
			return fmt.Sprintf("r%d cannot be read: %v", i+1, err)
		}
		if d := difference(fmt.Sprint("r", from+1), first, fmt.Sprint("r", i+1), other); d != "" {
			all = append(all, d)
		}
	}
	return strings.Join(all, "")
}
