package fanout_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"io"
	"math"
	"testing"
	"time"

	"forge.example/account/isukit/app/fanout"
)

// nullConn answers every query immediately, so that the rest is the cost of the layers above the driver.
type nullConn struct{ fakeConn }

type nullRows struct{ done bool }

func (r *nullRows) Columns() []string { return nil }
func (r *nullRows) Close() error      { return nil }
func (r *nullRows) Next(dest []driver.Value) error {
	if r.done || len(dest) == 0 {
		return io.EOF
	}
	r.done = true
	dest[0] = int64(1)
	return nil
}

var emptyRows = &nullRows{done: true}

func (c *nullConn) QueryContext(ctx context.Context, text string, args []driver.NamedValue) (driver.Rows, error) {
	if text == readText {
		return emptyRows, nil
	}
	return c.fakeConn.QueryContext(ctx, text, args)
}

type nullServer struct{ *fakeServer }

func (s nullServer) Connect(ctx context.Context) (driver.Conn, error) {
	c, err := s.fakeServer.Connect(ctx)
	if err != nil {
		return nil, err
	}
	return &nullConn{*c.(*fakeConn)}, nil
}

const readText = "SELECT a, b, c FROM t WHERE id = 1"

func readLoop(b *testing.B, db *sql.DB) {
	b.Helper()
	ctx := b.Context()
	b.ReportAllocs()
	for b.Loop() {
		rows, err := db.QueryContext(ctx, readText)
		if err != nil {
			b.Fatal(err)
		}
		rows.Close()
	}
}

// BenchmarkRead is a read through the pool and through database/sql over the driver alone: the difference is what the pool
// adds.
func BenchmarkRead(b *testing.B) {
	b.Run("driver", func(b *testing.B) {
		db := sql.OpenDB(nullServer{newFakeServer()})
		defer db.Close()
		readLoop(b, db)
	})
	b.Run("pool", func(b *testing.B) {
		cfg := fanout.Config{}
		for _, name := range []string{"r1", "r2"} {
			cfg.Replicas = append(cfg.Replicas, fanout.Replica{Name: name, Connector: nullServer{newFakeServer()}})
		}
		p, err := fanout.Open(b.Context(), cfg)
		if err != nil {
			b.Fatal(err)
		}
		defer p.Close()
		readLoop(b, p.DB().DB)
	})
}

// TestReadAddsNoAllocation holds the pool to its promise.
func TestReadAddsNoAllocation(t *testing.T) {
	cfg := fanout.Config{StatePoll: time.Hour, ProbeAfter: time.Hour} // what runs in the background would be counted
	for _, name := range []string{"r1", "r2"} {
		cfg.Replicas = append(cfg.Replicas, fanout.Replica{Name: name, Connector: nullServer{newFakeServer()}})
	}
	p, err := fanout.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	alone := sql.OpenDB(nullServer{newFakeServer()})
	defer alone.Close()
	ctx := t.Context()
	allocs := func(db *sql.DB) float64 { // the least of some runs: whatever else runs in the process is counted, too
		least := math.Inf(1)
		for range 10 {
			least = min(least, testing.AllocsPerRun(200, func() {
				rows, err := db.QueryContext(ctx, readText)
				if err != nil {
					t.Fatal(err)
				}
				rows.Close()
			}))
		}
		return least
	}
	if pool, driver := allocs(p.DB().DB), allocs(alone); pool > driver {
		t.Errorf("a read through the pool makes %.0f allocations, through the driver alone %.0f", pool, driver)
	}
}
