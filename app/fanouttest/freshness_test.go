package fanouttest

import (
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"

	"forge.example/account/isukit/app/fanout"
	"isukit/infra/infratest"
)

// slowConn holds up, now and then, what a replica answers.
type slowConn struct {
	net.Conn
	rng *rand.Rand // of this connection's reader
}

func (c slowConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	switch c.rng.IntN(60) {
	case 0:
		time.Sleep(time.Duration(c.rng.IntN(20)) * time.Millisecond)
	case 1, 2, 3:
		time.Sleep(time.Duration(c.rng.IntN(1500)) * time.Microsecond)
	}
	return n, err
}

// slowed is cfg with answers that come late from some replicas.
func slowed(cfg fanout.Config, seed uint64, late ...int) fanout.Config {
	var dialled atomic.Uint64
	for _, i := range late {
		cfg.Replicas[i].MySQL.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
			nc, err := (&net.Dialer{}).DialContext(ctx, network, addr)
			if err != nil {
				return nil, err
			}
			return slowConn{nc, rand.New(rand.NewPCG(seed, dialled.Add(1)))}, nil
		}
	}
	return cfg
}

// ways of writing a row's next number, so that each path to the replicas is taken.
var freshWrites = []struct {
	name string
	do   func(ctx context.Context, p *fanout.Pool, id int, n int64) error
}{
	{"by key", func(ctx context.Context, p *fanout.Pool, id int, n int64) error {
		_, err := p.DB().ExecContext(ctx, "UPDATE fresh SET n = ? WHERE id = ?", n, id)
		return err
	}},
	{"with the clock", func(ctx context.Context, p *fanout.Pool, id int, n int64) error {
		_, err := p.DB().ExecContext(ctx, "UPDATE fresh SET n = ?, at = NOW(6) WHERE id = ?", n, id)
		return err
	}},
	{"checked", func(ctx context.Context, p *fanout.Pool, id int, n int64) error {
		_, err := p.DB().ExecContext(ctx, "UPDATE fresh SET n = ? WHERE id = ? AND n < ?", n, id, n)
		return err
	}},
	{"prepared", func(ctx context.Context, p *fanout.Pool, id int, n int64) error {
		st, err := p.DB().PreparexContext(ctx, "UPDATE fresh SET n = ? WHERE id = ?")
		if err != nil {
			return err
		}
		defer st.Close()
		_, err = st.ExecContext(ctx, n, id)
		return err
	}},
	{"in a transaction", func(ctx context.Context, p *fanout.Pool, id int, n int64) error {
		return p.InTx(ctx, nil, func(tx *sqlx.Tx) error {
			for i := range 3 {
				if _, err := tx.ExecContext(ctx, "INSERT INTO made (id, fresh) VALUES (?, ?)", n*10+int64(i), id); err != nil {
					return err
				}
			}
			_, err := tx.ExecContext(ctx, "UPDATE fresh SET n = ? WHERE id = ?", n, id)
			return err
		})
	}},
	{"behind a lock", func(ctx context.Context, p *fanout.Pool, id int, n int64) error {
		return p.InTx(ctx, nil, func(tx *sqlx.Tx) error {
			var old int64
			if err := tx.GetContext(ctx, &old, "SELECT n FROM fresh WHERE id = ? FOR UPDATE", id); err != nil {
				return err
			}
			_, err := tx.ExecContext(ctx, "REPLACE INTO fresh (id, n, at) VALUES (?, ?, NOW(6))", id, n)
			return err
		})
	}},
}

const freshRead = "SELECT n FROM fresh WHERE id = ?"

// ways of reading it.
var freshReads = []struct {
	name string
	do   func(ctx context.Context, p *fanout.Pool, id int) (n int64, err error)
}{
	{"plainly", func(ctx context.Context, p *fanout.Pool, id int) (n int64, err error) {
		return n, p.DB().GetContext(ctx, &n, freshRead, id)
	}},
	{"prepared", func(ctx context.Context, p *fanout.Pool, id int) (n int64, err error) {
		st, err := p.DB().PreparexContext(ctx, freshRead)
		if err != nil {
			return 0, err
		}
		defer st.Close()
		return n, st.GetContext(ctx, &n, id)
	}},
	{"in a session", func(ctx context.Context, p *fanout.Pool, id int) (n int64, err error) {
		return n, p.DB().GetContext(fanout.Session(ctx), &n, freshRead, id)
	}},
	{"on the first", func(ctx context.Context, p *fanout.Pool, id int) (n int64, err error) {
		return n, p.DB().GetContext(fanout.OnFirst(ctx), &n, freshRead, id)
	}},
	{"by Reader", func(ctx context.Context, p *fanout.Pool, id int) (n int64, err error) {
		return n, p.Reader().GetContext(ctx, &n, freshRead, id)
	}},
	{"in a read-only transaction", readInTx(freshRead, &sql.TxOptions{ReadOnly: true})},
	{"in a transaction", readInTx(freshRead, nil)},
	{"under a lock", readInTx(freshRead+" LOCK IN SHARE MODE", nil)},
}

func readInTx(text string, opts *sql.TxOptions) func(ctx context.Context, p *fanout.Pool, id int) (int64, error) {
	return func(ctx context.Context, p *fanout.Pool, id int) (n int64, err error) {
		return n, p.InTx(ctx, opts, func(tx *sqlx.Tx) error { return tx.GetContext(ctx, &n, text, id) })
	}
}

const freshRows = 16

// freshness is what was acknowledged of each row, which one client writes.
type freshness struct {
	faults
	acked [freshRows]atomic.Int64
	reads atomic.Int64
}

// read reads a row by a pool: what was acknowledged before must be there.
func (f *freshness) read(ctx context.Context, p *fanout.Pool, id, way int) {
	want := f.acked[id].Load()
	got, err := freshReads[way].do(ctx, p, id)
	f.reads.Add(1)
	switch {
	case err != nil && retryable(err) != nil:
		f.add("read %s: %v", freshReads[way].name, err)
	case err == nil && got < want:
		f.add("row %d was read %s as %d after %d had been acknowledged", id, freshReads[way].name, got, want)
	}
}

// write writes a row's next number and reads it back.
func (f *freshness) write(ctx context.Context, pools []*fanout.Pool, id int, rng *rand.Rand, next *atomic.Int64) {
	n, way := next.Add(1), rng.IntN(len(freshWrites))
	if err := freshWrites[way].do(ctx, pools[rng.IntN(len(pools))], id, n); err != nil {
		if fanout.FateOf(err) != fanout.NotApplied {
			f.add("write %s: %v", freshWrites[way].name, err)
		}
		return
	}
	f.acked[id].Store(n)
	for range 3 {
		f.read(ctx, pools[rng.IntN(len(pools))], id, rng.IntN(len(freshReads)))
	}
}

// play has clients write rows of their own and read all.
func (f *freshness) play(t *testing.T, pools []*fanout.Pool, clients, writes int, next *atomic.Int64) {
	t.Helper()
	var wg sync.WaitGroup
	for client := range clients {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(client), 5))
			for range writes / clients {
				f.write(t.Context(), pools, client, rng, next)
				f.read(t.Context(), pools[rng.IntN(len(pools))], rng.IntN(clients), rng.IntN(len(freshReads)))
			}
		})
	}
	wg.Wait()
}

// TestReadsSeeWhatWasAcknowledged has two app processes write and read in parallel, while the answers of some replica come late: whichever
// replica a read goes to, it has what was acknowledged before the read began.
func TestReadsSeeWhatWasAcknowledged(t *testing.T) {
	t.Parallel()
	for _, engine := range infratest.Engines(t) {
		for _, mode := range []fanout.Mode{fanout.ModeOrdered, fanout.ModeDurable} {
			for _, replicas := range []int{2, 3} {
				t.Run(fmt.Sprintf("%s/%s/%d", engine, mode, replicas), func(t *testing.T) {
					t.Parallel()
					c := fillFresh(t, startCluster(t, engine, replicas))
					f := &freshness{}
					var next atomic.Int64
					for round := range 2 {
						pools := []*fanout.Pool{
							c.open(t, slowed(c.config(mode), uint64(round), replicas-1-round)),
							c.open(t, slowed(c.config(mode), uint64(round), round)),
						}
						f.play(t, pools, 8, scale(200), &next)
						for _, p := range pools {
							if n := p.Metrics().Ejections; n > 0 {
								t.Errorf("%d replicas were ejected", n)
							}
							must(t, p.Close())
						}
					}
					t.Logf("%d reads", f.reads.Load())
					f.judge(t, mode)
				})
			}
		}
	}
}

// TestReadsSeeItWhileReplicasLeave does the same, while replicas leave service and return by either process: no read of the other one comes from a
// replica that has left, and no transaction builds on what it read there.
func TestReadsSeeItWhileReplicasLeave(t *testing.T) {
	t.Parallel()
	for _, engine := range infratest.Engines(t) {
		modes := []fanout.Mode{fanout.ModeOrdered}
		if full() {
			modes = append(modes, fanout.ModeDurable)
		}
		for _, mode := range modes {
			t.Run(fmt.Sprintf("%s/%s", engine, mode), func(t *testing.T) {
				t.Parallel()
				c := fillFresh(t, startCluster(t, engine, 2))
				cfg := c.config(mode)
				cfg.ProbeTimeout = 20 * time.Second // a process that is late on a busy machine is waited for
				pools := []*fanout.Pool{c.open(t, cfg), c.open(t, cfg)}
				f := &freshness{}
				var next, counted atomic.Int64
				for round := range scale(4) {
					name := fmt.Sprint("r", 1+round%2)
					var wg sync.WaitGroup
					wg.Go(func() { f.play(t, pools, 4, 60, &next) })
					for i := range 4 {
						wg.Go(func() {
							for range 15 {
								by := rand.Int64N(1000) + 1 // what another one adds to an old number differs
								switch err := count(t.Context(), pools[i%2], by); {
								case err == nil:
									counted.Add(by)
								case fanout.FateOf(err) != fanout.NotApplied:
									t.Errorf("count: %v", err)
								}
							}
						})
					}
					must(t, pools[round/2%2].Eject(t.Context(), name, "by the test"))
					wg.Wait()
					if _, err := pools[0].Admit(t.Context(), name); err != nil {
						t.Fatal(err)
					}
				}
				t.Logf("%d reads", f.reads.Load())
				f.judge(t, mode)
				for i := range c.dbs {
					if got, want := c.rows(t, i, "SELECT n FROM fresh WHERE id = 15"), fmt.Sprint(counted.Load()); got[0] != want {
						t.Errorf("r%d has counted %s, %s were acknowledged", i+1, got[0], want)
					}
				}
			})
		}
	}
}

// count adds to a row, by way of the app.
func count(ctx context.Context, p *fanout.Pool, by int64) error {
	return p.InTx(ctx, nil, func(tx *sqlx.Tx) error {
		var n int64
		if err := tx.GetContext(ctx, &n, "SELECT n FROM fresh WHERE id = 15 FOR UPDATE"); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, "UPDATE fresh SET n = ? WHERE id = 15", n+by)
		return err
	})
}

// TestATransactionEndsWithItsReplica has a transaction's first replica leave service while it is open. What it reads there may be old: it is
// rolled back, and nothing that others have written meanwhile is lost.
func TestATransactionEndsWithItsReplica(t *testing.T) {
	t.Parallel()
	for _, engine := range infratest.Engines(t) {
		for _, mode := range []fanout.Mode{fanout.ModeOrdered, fanout.ModeDurable, fanout.ModeKeyed} {
			t.Run(fmt.Sprintf("%s/%s", engine, mode), func(t *testing.T) {
				t.Parallel()
				c := fillFresh(t, startCluster(t, engine, 2))
				p := c.open(t, c.config(mode))
				ctx := fanout.WithKeys(t.Context(), "another row")
				left := false
				must(t, p.InTx(ctx, nil, func(tx *sqlx.Tx) error {
					if _, err := tx.Exec("UPDATE fresh SET n = 1 WHERE id = 1"); err != nil {
						return err
					}
					if !left {
						left = true
						must(t, p.Eject(ctx, "r1", "by the test"))
						if _, err := p.DB().ExecContext(fanout.WithKeys(ctx, "the row"), "UPDATE fresh SET n = n + 1 WHERE id = 0"); err != nil {
							return err
						}
					}
					var n int64
					if err := tx.Get(&n, "SELECT n FROM fresh WHERE id = 0 FOR UPDATE"); err != nil {
						return err
					}
					_, err := tx.Exec("UPDATE fresh SET n = ? WHERE id = 0", n+10)
					return err
				}))
				if got := c.rows(t, 1, "SELECT n FROM fresh WHERE id = 0"); got[0] != "11" {
					t.Errorf("n is %s, want 11: both have added to it", got[0])
				}
			})
		}
	}
}

func fillFresh(t *testing.T, c *cluster) *cluster {
	t.Helper()
	c.execShop(t, "CREATE TABLE fresh (id INT PRIMARY KEY, n BIGINT NOT NULL, at DATETIME(6) NULL)", "CREATE TABLE made (id BIGINT PRIMARY KEY, fresh INT NOT NULL)")
	for id := range freshRows {
		c.execShop(t, fmt.Sprintf("INSERT INTO fresh (id, n) VALUES (%d, 0)", id))
	}
	return c
}

// TestTheClockGoesOn reads the time in every way, over connections that have just written it: it must not stand still.
func TestTheClockGoesOn(t *testing.T) {
	t.Parallel()
	for _, engine := range infratest.Engines(t) {
		for _, mode := range []fanout.Mode{fanout.ModeOrdered, fanout.ModeDurable, fanout.ModeKeyed} {
			t.Run(fmt.Sprintf("%s/%s", engine, mode), func(t *testing.T) {
				t.Parallel()
				c := fillFresh(t, startCluster(t, engine, 2))
				cfg := c.config(mode)
				cfg.MaxOpenConns = 1
				p := c.open(t, cfg)
				plain := func(tx *sqlx.Tx) error {
					_, err := tx.Exec("UPDATE fresh SET n = n + 1 WHERE id = 1")
					return err
				}
				between := map[string]func() error{
					"nothing":       func() error { return nil },
					"a transaction": func() error { return p.InTx(t.Context(), nil, plain) },
					"a write":       func() error { _, err := p.DB().Exec("UPDATE fresh SET n = n + 1 WHERE id = 1"); return err },
					"a checked one": func() error { _, err := p.DB().Exec("UPDATE fresh SET n = n + 1 WHERE id < 3"); return err },
				}
				for _, w := range freshWrites {
					for what, f := range between {
						for _, opts := range []*sql.TxOptions{nil, {}, {ReadOnly: true}} {
							for range 4 { // any replica may answer
								must(t, w.do(t.Context(), p, 0, nextFresh.Add(1)))
								must(t, f())
								if a, b := twice(t, p, opts); a == b {
									t.Errorf("behind a write %s and %s, the clock stands still at %s (transaction: %+v)", w.name, what, a, opts)
								}
							}
						}
					}
				}
			})
		}
	}
}

var nextFresh atomic.Int64

// twice is the time that two queries in a row give, on one replica.
func twice(t *testing.T, p *fanout.Pool, opts *sql.TxOptions) (a, b string) {
	t.Helper()
	ctx := fanout.Session(t.Context())
	get := func(on sqlx.QueryerContext, into *string) { must(t, sqlx.GetContext(ctx, on, into, "SELECT NOW(6)")) }
	if opts == nil {
		get(p.DB(), &a)
		get(p.DB(), &b)
		return a, b
	}
	must(t, p.InTx(ctx, opts, func(tx *sqlx.Tx) error {
		get(tx, &a)
		get(tx, &b)
		return nil
	}))
	return a, b
}
