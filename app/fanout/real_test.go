package fanout_test

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"testing"

	"github.com/go-sql-driver/mysql"

	"isukit/app/fanout"
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

// cluster is some real servers of one engine, each with a database "shop".
type cluster struct {
	engine string
	dbs    []*infratest.DB
}

func startCluster(tb testing.TB, engine string, n int, args ...string) *cluster {
	tb.Helper()
	c := &cluster{engine: engine}
	for range n {
		db := infratest.StartDB(tb, engine, args...)
		db.Exec(tb, "CREATE DATABASE shop")
		c.dbs = append(c.dbs, db)
	}
	return c
}

// execShop runs statements in the database shop of every server.
func (c *cluster) execShop(tb testing.TB, statements ...string) {
	tb.Helper()
	for _, db := range c.dbs {
		pool := db.Open(tb, "shop")
		for _, s := range statements {
			if _, err := pool.ExecContext(tb.Context(), s); err != nil {
				tb.Fatalf("%s: %s: %v", c.engine, s, err)
			}
		}
	}
}

func (c *cluster) config(mode fanout.Mode) fanout.Config {
	cfg := fanout.Config{Mode: mode}
	for i, db := range c.dbs {
		my, err := mysql.ParseDSN(db.RootDSN("shop"))
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
	pool := c.dbs[i].Open(tb, "shop")
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
