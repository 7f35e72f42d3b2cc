package fanouttest

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"

	"github.com/go-sql-driver/mysql"

	"forge.example/account/isukit/app/fanout"
	"isukit/infra/infratest"
)

// scale multiplies the counts of the tests against real servers; 1 fits them into make test.
func scale(n int) int {
	f, err := strconv.ParseFloat(os.Getenv("ISUKIT_FANOUT_SCALE"), 64)
	if err != nil || f <= 0 {
		return n
	}
	return int(float64(n) * f)
}

// full reports whether the counts were scaled up: then the cases that take long run as well.
func full() bool { return scale(100) > 100 }

// cluster is some real servers of one engine, each with a database of the test's own.
type cluster struct {
	engine string
	name   string // of the database
	dbs    []*infratest.DB

	copying *infratest.Replicated // nil but where the servers replicate from the first one
}

// process is a testing.TB that lasts as long as the test process: for servers that tests share.
type process struct {
	testing.TB
	mu       sync.Mutex
	cleanups []func()
}

func (p *process) Helper()                  {}
func (p *process) Context() context.Context { return context.Background() }
func (p *process) Cleanup(f func())         { p.mu.Lock(); p.cleanups = append(p.cleanups, f); p.mu.Unlock() }

// TempDir lasts as long as the servers that use it.
func (p *process) TempDir() string {
	dir, err := os.MkdirTemp("", "fanouttest-")
	if err != nil {
		panic(err)
	}
	p.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func (p *process) Errorf(format string, a ...any) { panic(fmt.Sprintf(format, a...)) }
func (p *process) Fatalf(format string, a ...any) { panic(fmt.Sprintf(format, a...)) }

// shared are the servers that tests which harm none of them have in common, by engine.
var shared struct {
	mu      sync.Mutex
	tb      process
	servers map[string][]*infratest.DB
	names   int
}

func TestMain(m *testing.M) {
	carryFrames()
	code := m.Run()
	for _, f := range slices.Backward(shared.tb.cleanups) {
		f()
	}
	os.Exit(code)
}

// startCluster gives a test a database of its own on each of n servers, which it shares with other tests.
func startCluster(tb testing.TB, engine string, n int) *cluster {
	tb.Helper()
	infratest.Real(tb)
	shared.mu.Lock()
	defer shared.mu.Unlock()
	if shared.servers == nil {
		shared.servers = map[string][]*infratest.DB{}
	}
	for len(shared.servers[engine]) < n {
		shared.tb.TB = tb
		shared.servers[engine] = append(shared.servers[engine], infratest.StartDB(&shared.tb, engine, "--max-connections=500"))
	}
	shared.names++
	return newCluster(tb, engine, fmt.Sprint("shop", shared.names), shared.servers[engine][:n])
}

// startServers gives a test n servers of its own, to be killed.
func startServers(tb testing.TB, engine string, n int, args ...string) *cluster {
	tb.Helper()
	var dbs []*infratest.DB
	for range n {
		dbs = append(dbs, infratest.StartDB(tb, engine, args...))
	}
	return newCluster(tb, engine, "shop", dbs)
}

func newCluster(tb testing.TB, engine, name string, dbs []*infratest.DB) *cluster {
	tb.Helper()
	for _, db := range dbs {
		db.Exec(tb, "CREATE DATABASE "+name)
	}
	return &cluster{engine: engine, name: name, dbs: dbs}
}

// execOn runs statements in the test's database on server i, around the fan-out.
func (c *cluster) execOn(tb testing.TB, i int, statements ...string) {
	tb.Helper()
	pool := c.dbs[i].Open(tb, c.name)
	defer pool.Close()
	for _, s := range statements {
		if _, err := pool.ExecContext(tb.Context(), s); err != nil {
			tb.Fatalf("%s r%d: %s: %v", c.engine, i+1, s, err)
		}
	}
}

// execShop runs statements in the test's database on every server.
func (c *cluster) execShop(tb testing.TB, statements ...string) {
	tb.Helper()
	if c.copying != nil {
		c.execOn(tb, 0, statements...)
		c.settle(tb)
		return
	}
	for i := range c.dbs {
		c.execOn(tb, i, statements...)
	}
}

func (c *cluster) config(mode fanout.Mode) fanout.Config {
	cfg := fanout.Config{Mode: mode}
	for i, db := range c.dbs {
		my, err := mysql.ParseDSN(db.RootDSN(c.name))
		if err != nil {
			panic(err)
		}
		my.Logger = &mysql.NopLogger{}
		cfg.Replicas = append(cfg.Replicas, fanout.Replica{Name: fmt.Sprintf("r%d", i+1), MySQL: my})
	}
	return cfg
}

func (c *cluster) open(tb testing.TB, cfg fanout.Config) *fanout.Pool {
	tb.Helper()
	p, err := fanout.Open(tb.Context(), cfg)
	if err != nil {
		tb.Fatalf("%s: open: %v", c.engine, err)
	}
	tb.Cleanup(func() { p.Close() })
	return p
}

// rows returns the rows of a query on one server, one line each.
func (c *cluster) rows(tb testing.TB, i int, query string) []string {
	tb.Helper()
	pool := c.dbs[i].Open(tb, c.name)
	defer pool.Close()
	rows, err := pool.QueryContext(context.Background(), query)
	if err != nil {
		tb.Fatalf("%s r%d: %s: %v", c.engine, i+1, query, err)
	}
	defer rows.Close()
	var list []string
	for rows.Next() {
		var line string
		if err := rows.Scan(&line); err != nil {
			tb.Fatal(err)
		}
		list = append(list, line)
	}
	if err := rows.Err(); err != nil {
		tb.Fatal(err)
	}
	return list
}

// differing counts the lines of query that are not the same on all servers.
func (c *cluster) differing(tb testing.TB, query string) int {
	tb.Helper()
	if c.copying != nil {
		c.settle(tb)
	}
	count := map[string]int{}
	for i := range c.dbs {
		for _, line := range c.rows(tb, i, query) {
			count[line]++
		}
	}
	n := 0
	for _, k := range count {
		if k != len(c.dbs) {
			n++
		}
	}
	return n
}

// states are the replicas' states in order.
func states(tb testing.TB, p *fanout.Pool) []fanout.State {
	tb.Helper()
	s, err := p.Status(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	var list []fanout.State
	for _, r := range s.Replicas {
		list = append(list, r.State)
	}
	return list
}
