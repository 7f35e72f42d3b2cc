package fanout_test

import (
	"context"
	"database/sql/driver"
	"errors"
	"slices"
	"testing"
	"time"

	"forge.example/account/isukit/app/fanout"
)

// strictServer's connections refuse a statement while rows are open, as go-sql-driver's do.
type strictServer struct{ *fakeServer }

func (s strictServer) Connect(ctx context.Context) (driver.Conn, error) {
	c, err := s.fakeServer.Connect(ctx)
	if err != nil {
		return nil, err
	}
	return &strictConn{fakeConn: c.(*fakeConn)}, nil
}

type strictConn struct {
	*fakeConn
	open int
}

var errBusy = errors.New("fake: rows are open")

func (c *strictConn) ExecContext(ctx context.Context, text string, args []driver.NamedValue) (driver.Result, error) {
	if c.open > 0 {
		return nil, errBusy
	}
	return c.fakeConn.ExecContext(ctx, text, args)
}

func (c *strictConn) QueryContext(ctx context.Context, text string, args []driver.NamedValue) (driver.Rows, error) {
	if c.open > 0 {
		return nil, errBusy
	}
	rows, err := c.fakeConn.QueryContext(ctx, text, args)
	if err != nil {
		return nil, err
	}
	c.open++
	return &strictRows{Rows: rows, c: c}, nil
}

type strictRows struct {
	driver.Rows
	c      *strictConn
	closed bool
}

func (r *strictRows) Close() error {
	if !r.closed {
		r.closed = true
		r.c.open--
	}
	return r.Rows.Close()
}

// TestNewLinkRepeatsSettings dials a link again on a connection with a SET: the rows in which the pool reads the connection's id must be
// closed before the SET is repeated.
func TestNewLinkRepeatsSettings(t *testing.T) {
	var servers []*fakeServer
	p, _ := fakes(t, 2, func(cfg *fanout.Config) {
		for i := range cfg.Replicas {
			s := cfg.Replicas[i].Connector.(*fakeServer)
			servers = append(servers, s)
			cfg.Replicas[i].Connector = strictServer{s}
		}
	})
	conn, err := p.DB().Conn(t.Context())
	must(t, err)
	defer conn.Close()
	for range 2 {
		_, err = conn.ExecContext(t.Context(), "SET @a = 1")
		must(t, err)
		servers[1].setFault(once("UPDATE", breakFirst))
		_, err = conn.ExecContext(t.Context(), "UPDATE t SET a = 1 WHERE id = 1")
		must(t, err)
	}
	if got := states(t, p); slices.Contains(got, fanout.Ejected) {
		t.Errorf("states %q, want both in service", got)
	}
	for i, s := range servers {
		if got := len(s.log()); got != 2 {
			t.Errorf("server %d committed %d statements, want 2", i+1, got)
		}
	}
}

// TestCloseAfterACut closes a pool whose connections to one replica are gone.
func TestCloseAfterACut(t *testing.T) {
	p, servers := fakes(t, 2, nil)
	if _, err := p.DB().ExecContext(t.Context(), "UPDATE t SET a = 1 WHERE id = 1"); err != nil {
		t.Fatal(err)
	}
	servers[1].setDown(true)
	if err := p.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
}

// TestOpenWaitsForASlowReplica opens a pool over a replica that answers later than a probe may.
func TestOpenWaitsForASlowReplica(t *testing.T) {
	p, _ := fakes(t, 2, func(cfg *fanout.Config) {
		cfg.ProbeTimeout = 20 * time.Millisecond
		cfg.Replicas[1].Connector.(*fakeServer).slow = 60 * time.Millisecond
	})
	must(t, p.Close())
}
