package fanout_test

import (
	"context"
	"database/sql/driver"
	"sync/atomic"
	"testing"
	"time"

	"forge.example/account/isukit/app/fanout"
)

// lateServer lets some questions over new connections wait for as long as they may.
type lateServer struct {
	*fakeServer
	late      atomic.Int32
	meanwhile func()
}

func (s *lateServer) Connect(ctx context.Context) (driver.Conn, error) {
	if s.late.Add(-1) < 0 {
		return s.fakeServer.Connect(ctx)
	}
	s.meanwhile()
	<-ctx.Done()
	return nil, driver.ErrBadConn // as the driver says it
}

// TestBusyIsNotDead breaks a connection to a replica that then takes no other one for a while.
func TestBusyIsNotDead(t *testing.T) {
	for _, tt := range []struct {
		name  string
		late  int32
		reads bool // other connections are answered meanwhile
		want  fanout.State
	}{
		{"slow", 2, false, fanout.InService},
		{"busy", 1, true, fanout.InService},
		{"frozen", 3, false, fanout.Ejected},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var first *lateServer
			p, servers := fakes(t, 2, func(cfg *fanout.Config) {
				cfg.ProbeTimeout, cfg.StatePoll, cfg.ProbeAfter = 100*time.Millisecond, time.Hour, time.Hour // no other goroutine dials
				first = &lateServer{fakeServer: cfg.Replicas[0].Connector.(*fakeServer)}
				cfg.Replicas[0].Connector = first
			})
			ctx := fanout.OnFirst(t.Context())
			conn, err := p.DB().Conn(ctx)
			must(t, err)
			defer conn.Close()
			first.meanwhile = func() {
				if tt.reads {
					_, err := conn.ExecContext(ctx, "SELECT 1")
					must(t, err)
				}
			}
			first.meanwhile()
			_, err = p.DB().ExecContext(t.Context(), "UPDATE t SET a = 0 WHERE id = 1") // over a connection that is then idle
			must(t, err)
			servers[0].setFault(once("UPDATE", breakFirst))
			first.late.Store(tt.late)
			_, err = p.DB().ExecContext(t.Context(), "UPDATE t SET a = 1 WHERE id = 1")
			must(t, err)
			if got := states(t, p); got[0] != tt.want || got[1] != fanout.InService {
				t.Errorf("states %q, want %s and in service", got, tt.want)
			}
			if got := first.late.Load(); got > 0 {
				t.Errorf("%d questions were not asked", got)
			}
		})
	}
}
