package fanouttest

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"

	"forge.example/account/isukit/app/fanout"
	"isukit/infra/infratest"
)

// costSetup is one row of the table: a mode over some replicas, perhaps on hosts of the lab that are far away.
type costSetup struct {
	mode     fanout.Mode
	replicas int
	away     time.Duration // that a packet and its answer take longer
}

func (s costSetup) String() string {
	name := fmt.Sprintf("%s/%d", s.mode, s.replicas)
	if s.away > 0 {
		name += "/" + s.away.String()
	}
	return name
}

// TestCost measures what each mode costs against mode parallel over as many replicas, in randomly interleaved runs of 1.5 s:
// one-row updates over 10,000 keys and transfers over 1,000 accounts, 16 clients, a flush at each commit. It is run by
// ISUKIT_FANOUT_COST=<runs of each>, prints a table, and writes a line of JSON into the file ISUKIT_FANOUT_COST_JSON, or prints it.
// With ISUKIT_FANOUT_COST_ONLY, a regular expression for names such as "updates ordered/2", it measures those and prints a
// line for each; updates are compared with the first of them that is in mode parallel, transfers with mode single.
func TestCost(t *testing.T) {
	runs, err := strconv.Atoi(os.Getenv("ISUKIT_FANOUT_COST"))
	if err != nil || runs < 1 {
		t.Skip("a measurement of minutes: set ISUKIT_FANOUT_COST=5 to run it")
	}
	var all []costRow
	for _, engine := range infratest.Engines(t) {
		if only := os.Getenv("ISUKIT_FANOUT_COST_ENGINE"); only == "" || only == engine {
			t.Run(engine, func(t *testing.T) { all = append(all, measureCost(t, engine, runs)...) })
		}
	}
	line, err := json.Marshal(all)
	must(t, err)
	if file := os.Getenv("ISUKIT_FANOUT_COST_JSON"); file != "" {
		must(t, os.WriteFile(file, append(line, '\n'), 0o600))
		return
	}
	fmt.Println(string(line))
}

// costModes are the modes of several replicas, with a text for each next to its metrics.
var costModes = []struct {
	mode                   fanout.Mode
	promise, trips, upkeep string
}{
	{fanout.ModeParallel, "nothing: replicas differ", "1", "not even an ordinary day"},
	{fanout.ModeKeyed, "equal rows, one app process", "1", "a replica's death; not the app's in the middle of a write"},
	{fanout.ModeOrdered, "equal rows, any number of processes", "3", "a replica's death, cut, freeze, full disk; the app's death, by comparing"},
	{fanout.ModeDurable, "that, and atomic under any crash", "4, 3 with two replicas", "all of that, and nothing is left on some replicas only"},
	{fanout.ModeReplicated, "what the source has, later on the others", "1", "a replica's death; the source's only as far as it was copied"},
}

// costRun is what one run of a setup gave.
type costRun struct {
	perSec  float64 // writes
	packets float64 // sent for each write, to all replicas

	client, servers float64 // microseconds of CPU for each write
}

func measureCost(t *testing.T, engine string, runs int) []costRow {
	if only := os.Getenv("ISUKIT_FANOUT_COST_ONLY"); only != "" {
		measureSome(t, engine, runs, regexp.MustCompile(only))
		return nil
	}
	args := []string{"--innodb-flush-log-at-trx-commit=1", "--innodb-buffer-pool-size=256M"}
	c := startServers(t, engine, 3, args...)
	clusters := map[int]*cluster{2: startReplicated(t, engine, 2, false, args...), 3: startReplicated(t, engine, 3, false, args...)}
	for _, one := range []*cluster{c, clusters[2], clusters[3]} {
		one.execShop(t, "CREATE TABLE one (id INT PRIMARY KEY, v BIGINT NOT NULL)", "CREATE TABLE account (id INT PRIMARY KEY, balance BIGINT NOT NULL)")
	}
	setups := []costSetup{{fanout.ModeSingle, 1, 0}}
	far := farAway(t, 3, time.Millisecond)
	for _, away := range []time.Duration{0, time.Millisecond} {
		for _, n := range []int{2, 3} {
			for _, m := range costModes {
				setups = append(setups, costSetup{m.mode, n, away})
			}
		}
	}
	updates, transfers := map[string][]costRun{}, map[string][]costRun{}
	for run := range runs {
		rng := rand.New(rand.NewPCG(uint64(run), 5))
		rng.Shuffle(len(setups), func(i, j int) { setups[i], setups[j] = setups[j], setups[i] })
		for _, s := range setups {
			on := c
			if s.mode == fanout.ModeReplicated {
				on = clusters[s.replicas]
			}
			fillCost(t, on)
			updates[s.String()] = append(updates[s.String()], costOf(t, on, far, s, updateOne))
			if s.away == 0 && s.mode != fanout.ModeParallel { // that one deadlocks across servers, for 50 s each time
				fillCost(t, on)
				transfers[s.String()] = append(transfers[s.String()], costOf(t, on, far, s, transferOne))
			}
		}
	}
	return printCost(engine, runs, updates, transfers)
}

// measureSome is measureCost for the setups whose names match only.
func measureSome(t *testing.T, engine string, runs int, only *regexp.Regexp) {
	c := startServers(t, engine, 3, "--innodb-flush-log-at-trx-commit=1", "--innodb-buffer-pool-size=256M")
	c.execShop(t, "CREATE TABLE one (id INT PRIMARY KEY, v BIGINT NOT NULL)", "CREATE TABLE account (id INT PRIMARY KEY, balance BIGINT NOT NULL)")
	works := map[string]costWrite{"updates": updateOne, "transfers": transferOne}
	seen := map[string][]costRun{}
	for range runs {
		for _, work := range []string{"updates", "transfers"} {
			for _, s := range []costSetup{{fanout.ModeSingle, 1, 0}, {fanout.ModeParallel, 2, 0}, {fanout.ModeKeyed, 2, 0}, {fanout.ModeOrdered, 2, 0},
				{fanout.ModeDurable, 2, 0}, {fanout.ModeParallel, 3, 0}, {fanout.ModeKeyed, 3, 0}, {fanout.ModeOrdered, 3, 0}, {fanout.ModeDurable, 3, 0}} {
				if name := work + " " + s.String(); only.MatchString(name) {
					fillCost(t, c)
					seen[name] = append(seen[name], costOf(t, c, distance{}, s, works[work]))
				}
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(seen)) {
		work, setup, _ := strings.Cut(name, " ")
		against := work + " single/1"
		if work == "updates" {
			against = work + " parallel/" + setup[len(setup)-1:]
		}
		if seen[against] == nil {
			against = name
		}
		row := costRowOf(engine, work, name, against, seen)
		fmt.Printf("%s %s: %v of %s; median %.0f a second, %.1f packets, %.0f us of CPU a write, %.0f of it in the servers\n", engine, name, row, against,
			medianOf(seen[name], func(r costRun) float64 { return r.perSec }), row.Packets,
			medianOf(seen[name], func(r costRun) float64 { return r.client + r.servers }), medianOf(seen[name], func(r costRun) float64 { return r.servers }))
	}
}

func medianOf(runs []costRun, of func(costRun) float64) float64 {
	var list []float64
	for _, r := range runs {
		list = append(list, of(r))
	}
	return median(list)
}

// cpuOf is the CPU time that this process, and the servers together, have used so far.
func cpuOf(t *testing.T, c *cluster) (client, servers time.Duration) {
	t.Helper()
	var u syscall.Rusage // clock: TestCost is a benchmark, which runs where it is asked for
	must(t, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	for _, db := range c.dbs {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", db.PID()))
		must(t, err)
		fields := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:])) // from the third on
		for _, f := range fields[11:13] {
			ticks, err := strconv.Atoi(f)
			must(t, err)
			servers += time.Duration(ticks) * 10 * time.Millisecond
		}
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), servers
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

// costOf is the writes per second of 16 clients over 1.5 s.
func costOf(t *testing.T, c *cluster, far distance, s costSetup, write costWrite) costRun {
	t.Helper()
	cfg := c.config(s.mode)
	cfg.Replicas = cfg.Replicas[:s.replicas]
	var packets atomic.Int64
	if s.away > 0 {
		defer far.serve(t, c)()
	}
	for i := range cfg.Replicas {
		cfg.Replicas[i].MySQL.DialFunc = func(ctx context.Context, network, addr string) (nc net.Conn, err error) {
			if s.away > 0 {
				nc, err = far.dial(ctx, i)
			} else {
				nc, err = (&net.Dialer{}).DialContext(ctx, network, addr)
			}
			return countedConn{nc, &packets}, err
		}
	}
	p, err := fanout.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	var wg sync.WaitGroup
	var writes, failed atomic.Int64
	packets.Store(0)
	client, servers := cpuOf(t, c)
	began := time.Now()
	end := began.Add(1500 * time.Millisecond)
	for client := range 16 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			rng := rand.New(rand.NewPCG(uint64(client), uint64(began.UnixNano())))
			for time.Now().Before(end) { // clock: each run has this length
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
	n := float64(writes.Load())
	took := time.Since(began).Seconds()
	clientEnd, serversEnd := cpuOf(t, c)
	return costRun{n / took, float64(packets.Load()) / n, float64((clientEnd - client).Microseconds()) / n, float64((serversEnd - servers).Microseconds()) / n}
}

// countedConn counts the packets that are sent.
type countedConn struct {
	net.Conn
	packets *atomic.Int64
}

func (c countedConn) Write(b []byte) (int, error) {
	c.packets.Add(1)
	return c.Conn.Write(b)
}

func median(list []float64) float64 {
	s := slices.Sorted(slices.Values(list))
	if len(s)%2 == 1 {
		return s[len(s)/2]
	}
	return (s[len(s)/2-1] + s[len(s)/2]) / 2
}

// costRow is one figure of the result.
type costRow struct {
	Engine, Setup, Work, Against string
	Ratio, Low, High             float64 // of writes per second: median, least and greatest of the runs
	Packets                      float64 // sent for each write, median
}

// costRowOf divides run by run.
func costRowOf(engine, work, setup, against string, list map[string][]costRun) costRow {
	row := costRow{Engine: engine, Setup: setup, Work: work, Against: against}
	var ratios, packets []float64
	for i, r := range list[setup] {
		ratios = append(ratios, r.perSec/list[against][i].perSec)
		packets = append(packets, r.packets)
	}
	row.Ratio, row.Low, row.High, row.Packets = median(ratios), slices.Min(ratios), slices.Max(ratios), median(packets)
	return row
}

func (r costRow) String() string { return fmt.Sprintf("%.2f (%.2f to %.2f)", r.Ratio, r.Low, r.High) }

// printCost prints a table as docs/fanout.md has it, a line a mode.
func printCost(engine string, runs int, updates, transfers map[string][]costRun) []costRow {
	var all []costRow
	fmt.Printf("\n%s, median of %d runs (least to greatest). Updates: against mode parallel over as many replicas. Transfers: against one database.\n\n", engine, runs)
	fmt.Println("| mode | promises | round trips a write | packets a write, 2 replicas | updates, 2 | updates, 3 | updates, 2, 1 ms away | updates, 3, 1 ms away | transfers, 2 | transfers, 3 | survives |")
	fmt.Println("|---|---|---|---|---|---|---|---|---|---|---|")
	for _, m := range costModes {
		var cells []string
		for _, suffix := range []string{"/2", "/3", "/2/1ms", "/3/1ms"} {
			row := costRowOf(engine, "one-row updates", string(m.mode)+suffix, "parallel"+suffix, updates)
			all = append(all, row)
			cells = append(cells, row.String())
		}
		packets := all[len(all)-4].Packets
		for _, suffix := range []string{"/2", "/3"} {
			all = append(all, costRowOf(engine, "one-row updates", string(m.mode)+suffix, "single/1", updates))
			if m.mode == fanout.ModeParallel {
				cells = append(cells, "deadlocks")
				continue
			}
			row := costRowOf(engine, "transfers", string(m.mode)+suffix, "single/1", transfers)
			all = append(all, row)
			cells = append(cells, row.String())
		}
		fmt.Printf("| `%s` | %s | %s | %.1f | %s | %s |\n", m.mode, m.promise, m.trips, packets, strings.Join(cells, " | "), m.upkeep)
	}
	return all
}
