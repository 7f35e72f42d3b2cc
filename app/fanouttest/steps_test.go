package fanouttest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"

	"forge.example/account/isukit/app/fanout"
	"isukit/infra/infratest"
	"isukit/infra/infratest/wait"
)

// seeds are those of the tests that befall writes at random moments: one by default, ISUKIT_FANOUT_SEEDS of them, or the one
// of ISUKIT_FANOUT_SEED, to see a failure again.
func seeds() []uint64 {
	if one, err := strconv.ParseUint(os.Getenv("ISUKIT_FANOUT_SEED"), 10, 64); err == nil {
		return []uint64{one}
	}
	n, _ := strconv.Atoi(os.Getenv("ISUKIT_FANOUT_SEEDS"))
	list := make([]uint64, max(n, 1))
	for i := range list {
		list[i] = uint64(i + 1)
	}
	return list
}

// cable is the way to one replica. Cut, it breaks every connection and lets none through for a while.
type cable struct {
	dial  func(ctx context.Context, network, addr string) (net.Conn, error)
	mu    sync.Mutex
	conns map[net.Conn]struct{}
	until time.Time
}

type cableConn struct {
	net.Conn
	c *cable
}

func (c cableConn) Close() error {
	c.c.mu.Lock()
	delete(c.c.conns, c.Conn)
	c.c.mu.Unlock()
	return c.Conn.Close()
}

func (c *cable) connect(ctx context.Context, network, addr string) (net.Conn, error) {
	nc, err := c.dial(ctx, network, addr)
	c.mu.Lock()
	defer c.mu.Unlock()
	if err == nil && time.Now().Before(c.until) { // clock: the cable is cut for this time
		_ = nc.Close()
		return nil, fmt.Errorf("dial %s: the cable is cut", addr)
	}
	if err != nil {
		return nil, err
	}
	c.conns[nc] = struct{}{}
	return cableConn{nc, c}, nil
}

func (c *cable) cut(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.until = time.Now().Add(d)
	for nc := range c.conns {
		_ = nc.Close()
	}
	clear(c.conns)
}

// wired is cfg with a cable to each replica.
func wired(cfg fanout.Config) (fanout.Config, []*cable) {
	var cables []*cable
	for i := range cfg.Replicas {
		c := &cable{dial: (&net.Dialer{}).DialContext, conns: map[net.Conn]struct{}{}}
		cfg.Replicas[i].MySQL.DialFunc = c.connect
		cables = append(cables, c)
	}
	return cfg, cables
}

// strike is what befalls when a write comes to a moment.
type strike struct {
	name string
	do   func(c *cluster, cables []*cable, rng *rand.Rand)
	back func(c *cluster)
	dear bool // takes seconds: at two moments of each kind, except in the long run
}

var strikes = []strike{
	{name: "cut r1", do: func(_ *cluster, w []*cable, rng *rand.Rand) {
		w[0].cut(time.Duration(rng.Int64N(int64(400 * time.Millisecond))))
	}},
	{name: "cut r2", do: func(_ *cluster, w []*cable, rng *rand.Rand) {
		w[1].cut(time.Duration(rng.Int64N(int64(400 * time.Millisecond))))
	}},
	{name: "kill r1", dear: true, do: func(c *cluster, _ []*cable, _ *rand.Rand) { c.dbs[0].Kill() }, back: func(c *cluster) { c.dbs[0].Restart() }},
	{name: "kill r2", dear: true, do: func(c *cluster, _ []*cable, _ *rand.Rand) { c.dbs[1].Kill() }, back: func(c *cluster) { c.dbs[1].Restart() }},
	{name: "kill both", dear: true, do: func(c *cluster, _ []*cable, _ *rand.Rand) {
		var wg sync.WaitGroup
		for _, db := range c.dbs {
			wg.Add(1)
			go func() { defer wg.Done(); db.Kill() }()
		}
		wg.Wait()
	}, back: func(c *cluster) {
		for _, db := range c.dbs {
			db.Restart()
		}
	}},
}

// TestFaultAtEveryStep lets each strike hit a write at each step of its protocol, while others write, and compares the clients' results
// with the data.
func TestFaultAtEveryStep(t *testing.T) {
	eachMode(t, func(t *testing.T, engine string, mode fanout.Mode) {
		c := fillLedger(t, startServers(t, engine, 2))
		var next atomic.Int64
		l := &ledger{told: map[int64]error{}}
		for _, seed := range seeds() {
			rng := rand.New(rand.NewPCG(seed, 17))
			all := moments(mode)
			for _, s := range strikes {
				at := rng.Perm(len(all))
				if s.dear && !full() {
					at = at[:1]
				}
				for _, i := range at {
					m := all[i]
					t.Run(fmt.Sprintf("seed %d: %s when %s (%s)", seed, s.name, m.Step, m.Replica), func(t *testing.T) {
						strikeAt(t, c, mode, l, &next, s, m, rng)
					})
				}
			}
		}
	})
}

func strikeAt(t *testing.T, c *cluster, mode fanout.Mode, l *ledger, next *atomic.Int64, s strike, at moment, rng *rand.Rand) {
	cfg, cables := wired(quick(c.config(mode)))
	var passed atomic.Int64
	nth := 20 + rng.Int64N(60)
	ctx, cancel := context.WithTimeout(t.Context(), wait.Limit)
	defer cancel()
	struck := make(chan struct{})
	cfg.OnStep = func(step, replica string) {
		if step == at.Step && replica == at.Replica && passed.Add(1) == nth {
			s.do(c, cables, rng)
			close(struck)
		}
	}
	p := c.open(t, cfg)
	var wg sync.WaitGroup
	wg.Add(1)
	go func() { defer wg.Done(); l.write(ctx, p, next) }()
	select {
	case <-struck:
		time.Sleep(150 * time.Millisecond)
	case <-ctx.Done():
		t.Errorf("no write came to the step %d times, %d did; states %q", nth, passed.Load(), states(t, p))
	}
	cancel()
	wg.Wait()
	if s.back != nil {
		s.back(c)
		time.Sleep(500 * time.Millisecond) // what could not be recorded is recorded
	}
	time.Sleep(300 * time.Millisecond)
	settled(t, c, p, mode, l)
	if err := insertLedger(p, next.Add(1), 0); err != nil {
		t.Errorf("a write afterwards: %v", err)
	}
	if err := p.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	leftNothing(t, c)
}

// settled compares every replica in service with the clients' results, names and admits those that were ejected, and compares all of them.
func settled(t *testing.T, c *cluster, p *fanout.Pool, mode fanout.Mode, l *ledger) {
	t.Helper()
	l.check(t, c, p)
	report, err := p.Check(t.Context(), fanout.CheckOptions{})
	if err != nil || !report.Clean() {
		t.Errorf("Check of the replicas in service: %v, %v", report, err)
	}
	s, err := p.Status(t.Context())
	must(t, err)
	for _, r := range s.Replicas {
		if r.State == fanout.InService {
			continue
		}
		if r.State != fanout.Ejected || r.Reason == "" {
			t.Errorf("%s is %q because %q, want it in service or ejected for a reason", r.Name, r.State, r.Reason)
		}
		// A cut that lasted has a server keep the session of a prepared branch until TCP's next attempt.
		wait.ForNil(t, r.Name+" to be admitted", func() error { _, err := p.Admit(t.Context(), r.Name); return err })
	}
	l.check(t, c, p)
	report, err = p.Check(t.Context(), fanout.CheckOptions{})
	if err != nil || !report.Clean() || len(report.Replicas) != len(c.dbs) {
		t.Errorf("Check of all replicas in mode %s: %v, %v", mode, report, err)
	}
}

// leftNothing fails when a closed pool left connections or prepared branches on a server that is the test's own.
func leftNothing(t *testing.T, c *cluster) {
	t.Helper()
	for i := range c.dbs {
		var left []string
		if !wait.Within(func() bool {
			left = c.rows(t, i, "SELECT CONCAT_WS(' ', id, command, info) FROM information_schema.processlist WHERE db = DATABASE() AND id <> CONNECTION_ID()")
			return len(left) == 0
		}) {
			t.Errorf("r%d keeps %d connections after Close: %q", i+1, len(left), left)
		}
		branches, err := c.dbs[i].Open(t, "").Query("XA RECOVER")
		must(t, err)
		for branches.Next() {
			var format, gtrid, bqual int
			var data string
			must(t, branches.Scan(&format, &gtrid, &bqual, &data))
			t.Errorf("r%d keeps the branch %s prepared", i+1, data)
		}
		must(t, branches.Close())
	}
}

// TestAppKilledAtEveryStep kills a writing process when it comes to a step of its protocol, for each of them.
func TestAppKilledAtEveryStep(t *testing.T) {
	eachMode(t, func(t *testing.T, engine string, mode fanout.Mode) {
		c := fillLedger(t, startServers(t, engine, 2))
		l := &ledger{told: map[int64]error{}}
		start := int64(0)
		for _, seed := range seeds() {
			rng := rand.New(rand.NewPCG(seed, 19))
			for _, m := range moments(mode) {
				t.Run(fmt.Sprintf("seed %d: %s (%s)", seed, m.Step, m.Replica), func(t *testing.T) {
					start += 1_000_000
					for _, id := range runWriter(t, c, writerOrder{Mode: mode, Start: start, At: m, Nth: 20 + rng.Int64N(100)}) {
						l.told[id] = nil
					}
					p, err := fanout.Open(t.Context(), c.config(mode))
					must(t, err)
					if got := states(t, p); mode == fanout.ModeDurable && slices.Contains(got, fanout.Ejected) {
						t.Errorf("states %q: mode durable leaves no replica behind", got)
					}
					if (m == moment{Step: "the first replica is to decide", Replica: "r2"}) {
						refused(t, c)
					}
					settled(t, c, p, mode, l)
					must(t, p.Close())
					leftNothing(t, c)
				})
			}
		}
	})
}

// refused fails unless r2 keeps a refusal of what a dead process had prepared on r1 and not decided: the packet that decides may wait
// for a lock of the server's even now.
func refused(t *testing.T, c *cluster) {
	t.Helper()
	if n := c.rows(t, 1, "SELECT COUNT(*) FROM isukit_fanout_commit WHERE verdict = 0"); n[0] == "0" {
		t.Error("r2 keeps no refusal")
	}
	c.execOn(t, 1, "DELETE FROM isukit_fanout_commit") // for the next time
}

// TestDurableWithFewRights writes with accounts that have the rights that the documentation asks for, without and with
// the one that makes the mode faster on MySQL.
func TestDurableWithFewRights(t *testing.T) {
	t.Parallel()
	for _, engine := range infratest.Engines(t) {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			c := startLedger(t, engine, 2)
			writesWith(t, c, 1, "XA_RECOVER_ADMIN", true)
			writesWith(t, c, 2, "XA_RECOVER_ADMIN, SESSION_VARIABLES_ADMIN", false)
			if n := c.differing(t, "SELECT id FROM ledger"); n > 0 {
				t.Errorf("%d rows differ", n)
			}
		})
	}
}

// writesWith writes with a new account that has these rights on MySQL, and looks whether a prepared branch leaves its session.
func writesWith(t *testing.T, c *cluster, n int64, rights string, leaves bool) {
	t.Helper()
	cfg := c.config(fanout.ModeDurable)
	user := fmt.Sprint(c.name, "_", n)
	for i := range cfg.Replicas {
		c.execOn(t, i, "CREATE USER "+user+" IDENTIFIED BY 'few'", "GRANT ALL ON "+c.name+".* TO "+user)
		if c.engine == "mysql" {
			c.execOn(t, i, "GRANT "+rights+" ON *.* TO "+user)
		}
		cfg.Replicas[i].MySQL.User, cfg.Replicas[i].MySQL.Passwd = user, "few"
	}
	p := c.open(t, cfg)
	must(t, insertLedger(p, 2*n, 1))
	must(t, insertLedger(p, 2*n+1, 1))
	if c.engine != "mysql" {
		return
	}
	must(t, p.InTx(t.Context(), nil, func(tx *sqlx.Tx) error {
		var detach bool
		err := tx.Get(&detach, "SELECT @@SESSION.xa_detach_on_prepare")
		if err == nil && detach != leaves {
			t.Errorf("with %s branches leave their session: %v, want %v", rights, detach, leaves)
		}
		return err
	}))
}
