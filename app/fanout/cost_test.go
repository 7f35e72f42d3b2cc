package fanout_test

import (
	"context"
	"encoding/json"
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

	"isukit/app/fanout"
	"isukit/infra/infratest"
)

// costSetup is one row of the table: a mode over some replicas, perhaps with a delay to each.
type costSetup struct {
	mode     fanout.Mode
	replicas int
	delay    time.Duration
}

func (s costSetup) String() string {
	name := fmt.Sprintf("%s/%d", s.mode, s.replicas)
	if s.delay > 0 {
		name += "/" + s.delay.String()
	}
	return name
}

// TestCost measures what each mode costs against mode parallel over as many replicas, in randomly interleaved runs of 2 s:
// one-row updates over 10,000 keys and transfers over 1,000 accounts, 16 clients, a flush at each commit. It is run by
// ISUKIT_FANOUT_COST=<runs of each> and ends with a line of JSON.
func TestCost(t *testing.T) {
	runs, err := strconv.Atoi(os.Getenv("ISUKIT_FANOUT_COST"))
	if err != nil || runs < 1 {
		t.Skip("a measurement of minutes: set ISUKIT_FANOUT_COST=5 to run it")
	}
	for _, engine := range infratest.Engines(t) {
		t.Run(engine, func(t *testing.T) { measureCost(t, engine, runs) })
	}
}

func measureCost(t *testing.T, engine string, runs int) {
	c := startServers(t, engine, 3, "--innodb-flush-log-at-trx-commit=1", "--innodb-buffer-pool-size=256M")
	c.execShop(t, "CREATE TABLE one (id INT PRIMARY KEY, v BIGINT NOT NULL)", "CREATE TABLE account (id INT PRIMARY KEY, balance BIGINT NOT NULL)")
	setups := []costSetup{{fanout.ModeSingle, 1, 0}}
	for _, delay := range []time.Duration{0, time.Millisecond} {
		for _, n := range []int{2, 3} {
			for _, m := range []fanout.Mode{fanout.ModeParallel, fanout.ModeKeyed, fanout.ModeOrdered, fanout.ModeDurable} {
				setups = append(setups, costSetup{m, n, delay})
			}
		}
	}
	updates, transfers := map[string][]float64{}, map[string][]float64{}
	for run := range runs {
		rng := rand.New(rand.NewPCG(uint64(run), 5))
		rng.Shuffle(len(setups), func(i, j int) { setups[i], setups[j] = setups[j], setups[i] })
		for _, s := range setups {
			fillCost(t, c)
			updates[s.String()] = append(updates[s.String()], costOf(t, c, s, updateOne))
			if s.delay == 0 && s.mode != fanout.ModeParallel { // that one deadlocks across servers, for 50 s each time
				fillCost(t, c)
				transfers[s.String()] = append(transfers[s.String()], costOf(t, c, s, transferOne))
			}
		}
	}
	printCost(t, engine, runs, updates, transfers)
}

func fillCost(t *testing.T, c *cluster) {
	t.Helper()
	fill := []string{"TRUNCATE one", "TRUNCATE account", "DROP TABLE IF EXISTS isukit_fanout_commit", "DROP TABLE IF EXISTS isukit_fanout_app", "DROP TABLE IF EXISTS isukit_fanout_replica"}
	for table, n := range map[string]int{"one": 10_000, "account": 1000} {
		text := "INSERT INTO " + table + " VALUES (0, 1000)"
		for i := 1; i < n; i++ {
			text += fmt.Sprintf(",(%d, 1000)", i)
		}
		fill = append(fill, text)
	}
	c.execShop(t, fill...)
}

type costWrite func(ctx context.Context, p *fanout.Pool, rng *rand.Rand) error

func updateOne(ctx context.Context, p *fanout.Pool, rng *rand.Rand) error {
	id := rng.IntN(10_000)
	_, err := p.DB().ExecContext(keys(ctx, "one", id), "UPDATE one SET v = v + 1 WHERE id = ?", id)
	return err
}

func transferOne(ctx context.Context, p *fanout.Pool, rng *rand.Rand) error {
	from, to := rng.IntN(1000), rng.IntN(1000)
	from, to = min(from, to), max(from, to) // one order, or mode parallel spends its time in deadlocks
	return p.InTx(keys(ctx, "account", from, to), nil, func(tx *sqlx.Tx) error {
		if _, err := tx.ExecContext(ctx, "UPDATE account SET balance = balance - 1 WHERE id = ?", from); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, "UPDATE account SET balance = balance + 1 WHERE id = ?", to)
		return err
	})
}

// costOf is the writes per second of 16 clients over 2 s.
func costOf(t *testing.T, c *cluster, s costSetup, write costWrite) float64 {
	t.Helper()
	cfg := c.config(s.mode)
	cfg.Replicas = cfg.Replicas[:s.replicas]
	for i := range cfg.Replicas {
		if s.delay > 0 {
			cfg.Replicas[i].MySQL.DialFunc = delayed(s.delay)
		}
	}
	p, err := fanout.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	var wg sync.WaitGroup
	var writes, failed atomic.Int64
	began := time.Now()
	end := began.Add(2 * time.Second)
	for client := range 16 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			rng := rand.New(rand.NewPCG(uint64(client), uint64(began.UnixNano())))
			for time.Now().Before(end) {
				if err := write(t.Context(), p, rng); err != nil {
					failed.Add(1)
				} else {
					writes.Add(1)
				}
			}
		}()
	}
	wg.Wait()
	if failed.Load() > writes.Load()/100 && s.mode != fanout.ModeParallel {
		t.Errorf("%v: %d writes failed, %d did not", s, failed.Load(), writes.Load())
	}
	return float64(writes.Load()) / time.Since(began).Seconds()
}

// delayed dials connections on which every packet sent takes d longer, as a round trip to another host would.
func delayed(d time.Duration) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		nc, err := (&net.Dialer{}).DialContext(ctx, network, addr)
		return slowConn{nc, d}, err
	}
}

type slowConn struct {
	net.Conn
	d time.Duration
}

func (c slowConn) Write(b []byte) (int, error) {
	time.Sleep(c.d)
	return c.Conn.Write(b)
}

func median(list []float64) float64 {
	s := slices.Sorted(slices.Values(list))
	if len(s)%2 == 1 {
		return s[len(s)/2]
	}
	return (s[len(s)/2-1] + s[len(s)/2]) / 2
}

// ratios divides run by run.
func ratios(a, b []float64) []float64 {
	out := make([]float64, len(a))
	for i := range a {
		out[i] = a[i] / b[i]
	}
	return out
}

// costRow is one line of the result.
type costRow struct {
	Engine, Setup, Work, Against string
	Ratio, Low, High             float64 // median, least and greatest of the runs
}

func printCost(t *testing.T, engine string, runs int, updates, transfers map[string][]float64) {
	var rows []costRow
	add := func(work string, list map[string][]float64, setup, against string) {
		r := ratios(list[setup], list[against])
		rows = append(rows, costRow{engine, setup, work, against, median(r), slices.Min(r), slices.Max(r)})
	}
	for _, delay := range []string{"", "/1ms"} {
		for _, n := range []string{"2", "3"} {
			for _, m := range []string{"keyed", "ordered", "durable"} {
				add("one-row updates", updates, m+"/"+n+delay, "parallel/"+n+delay)
			}
		}
	}
	for _, n := range []string{"2", "3"} {
		for _, m := range []string{"parallel", "keyed", "ordered", "durable"} {
			add("one-row updates", updates, m+"/"+n, "single/1")
			if m != "parallel" {
				add("transfers", transfers, m+"/"+n, "single/1")
			}
		}
	}
	t.Logf("%s, %d runs: ratio of writes per second, median (least to greatest)", engine, runs)
	for _, r := range rows {
		t.Logf("%-16s %-14s against %-16s %.2f (%.2f to %.2f)", r.Work, r.Setup, r.Against, r.Ratio, r.Low, r.High)
	}
	line, err := json.Marshal(rows)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Println(string(line))
}
