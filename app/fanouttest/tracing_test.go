package fanouttest

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"slices"
	"sync"
	"testing"

	"github.com/jmoiron/sqlx"

	"forge.example/account/isukit/app/fanout"
	"isukit/infra/infratest"
)

// tracer is a connector that notes what goes through its connections, as drivers for tracing do.
type tracer struct {
	driver.Connector
	mu    sync.Mutex
	texts []string
}

func (tr *tracer) note(text string) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.texts = append(tr.texts, text)
}

func (tr *tracer) Connect(ctx context.Context) (driver.Conn, error) {
	c, err := tr.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	return &tracedConn{poolConn: c.(poolConn), tr: tr}, nil
}

// poolConn is what database/sql asks of a connection of the pool.
type poolConn interface {
	driver.Conn
	driver.ConnBeginTx
	driver.ConnPrepareContext
	driver.ExecerContext
	driver.QueryerContext
	driver.NamedValueChecker
	driver.SessionResetter
	driver.Validator
	driver.Pinger
}

type tracedConn struct {
	poolConn
	tr *tracer
}

func (c *tracedConn) ExecContext(ctx context.Context, text string, args []driver.NamedValue) (driver.Result, error) {
	c.tr.note(text)
	return c.poolConn.ExecContext(ctx, text, args)
}

func (c *tracedConn) QueryContext(ctx context.Context, text string, args []driver.NamedValue) (driver.Rows, error) {
	c.tr.note(text)
	return c.poolConn.QueryContext(ctx, text, args)
}

func (c *tracedConn) PrepareContext(ctx context.Context, text string) (driver.Stmt, error) {
	c.tr.note(text)
	return c.poolConn.PrepareContext(ctx, text)
}

// TestTracingDriver goes through a driver that wraps the pool's connections: it sees the app's statements, each once, and the replicas stay equal.
func TestTracingDriver(t *testing.T) {
	for _, engine := range infratest.Engines(t) {
		t.Run(engine, func(t *testing.T) {
			c := startCluster(t, engine, 2)
			c.execShop(t, upsertTable)
			p := c.open(t, c.config(fanout.ModeOrdered))
			tr := &tracer{Connector: p.Connector()}
			db := sqlx.NewDb(sql.OpenDB(tr), "mysql")
			defer db.Close()
			const insert, prepared, read = "INSERT INTO t(k, v) VALUES (?, ?) ON DUPLICATE KEY UPDATE v = VALUES(v)", "UPDATE t SET v = v + ? WHERE k = ? LIMIT 1", "SELECT v FROM t WHERE k = ? FOR UPDATE"
			for range 2 {
				_, err := db.Exec(insert, "a", 1)
				must(t, err)
			}
			must(t, inTx(db, func(tx *sqlx.Tx) error {
				var v int
				if err := tx.Get(&v, read, "a"); err != nil {
					return err
				}
				s, err := tx.Preparex(prepared)
				if err != nil {
					return err
				}
				defer s.Close()
				_, err = s.Exec(v, "a")
				return err
			}))
			refusedBy(t, db, "UPDATE t SET k = UUID()", "pass it")
			want := []string{insert, insert, read, prepared, "UPDATE t SET k = UUID()"}
			if !slices.Equal(tr.texts, want) {
				t.Errorf("traced %q\nwant %q", tr.texts, want)
			}
			for i := range c.dbs {
				if got := c.rows(t, i, "SELECT CONCAT_WS('/', id, k, v) FROM t"); !slices.Equal(got, []string{"1/a/2"}) {
					t.Errorf("r%d has %q", i+1, got)
				}
			}
		})
	}
}
