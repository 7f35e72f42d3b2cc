package fanouttest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"forge.example/account/isukit/app/fanout"
	"isukit/infra/infratest"
	"isukit/infra/infratest/wait"
)

// outage keeps clients writing and reading while something is wrong with the replica at index bad, until it has left
// service, and then for half a second more. No read may fail or come from it after it has left.
func outage(t *testing.T, c *cluster, p *fanout.Pool, l *ledger, next *atomic.Int64, bad int, begin func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Add(1)
	go func() { defer wg.Done(); l.write(ctx, p, next) }()
	time.Sleep(200 * time.Millisecond)
	begin()
	wait.For(t, fmt.Sprintf("r%d to leave service", bad+1), func() bool { return gone(p, bad) })
	if failed, why := readMeanwhile(p, 500*time.Millisecond); failed > 0 {
		t.Errorf("%d reads failed while r%d was out of service, the last with: %v", failed, bad+1, why)
	}
	if n := readsFrom(t, p, c, 30); n[bad] > 0 {
		t.Errorf("%d of 30 reads came from r%d, which is known to be behind", n[bad], bad+1)
	}
	cancel()
	wg.Wait()
	if got := states(t, p); got[bad] != fanout.Ejected || got[1-bad] != fanout.InService {
		t.Fatalf("states %q, want r%d ejected alone", got, bad+1)
	}
}

// gone reports whether the pool has ejected the replica at index i. It asks no server.
func gone(p *fanout.Pool, i int) bool {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	s, err := p.Status(ctx)
	return err == nil && s.Replicas[i].State == fanout.Ejected
}

// TestNetworkCut cuts, between namespaces, the cable to one replica or the other, both ways or one way: connections stay open
// and nothing answers.
func TestNetworkCut(t *testing.T) {
	eachMode(t, func(t *testing.T, engine string, mode fanout.Mode) {
		network := infratest.NewNet(t, 2)
		var dbs []*infratest.DB
		for i := range 2 {
			dbs = append(dbs, network.StartDB(t, i, engine))
		}
		c := fillLedger(t, newCluster(t, engine, "shop", dbs))
		cfg := quick(c.config(mode))
		for i := range cfg.Replicas {
			cfg.Replicas[i].MySQL.DialFunc = network.Dial
		}
		p := c.open(t, cfg)
		l := &ledger{told: map[int64]error{}}
		var next atomic.Int64
		for _, seed := range seeds() {
			rng := rand.New(rand.NewPCG(seed, uint64(len(mode))))
			for _, way := range []infratest.Way{infratest.BothWays, infratest.ToHost, infratest.FromHost} {
				bad := rng.IntN(2)
				ok := t.Run(fmt.Sprintf("seed %d: r%d %s", seed, bad+1, way), func(t *testing.T) {
					outage(t, c, p, l, &next, bad, func() { network.Cut(bad, way) })
					network.Heal(bad)
					time.Sleep(cfg.DialTimeout + 100*time.Millisecond) // what was being dialled gives up: a pool hands such errors on
					settled(t, c, p, mode, l)
				})
				if !ok {
					return // the next one would begin with other states
				}
			}
		}
		must(t, p.Close())
		leftNothing(t, c)
	})
}

// TestFrozenForTenSeconds stops a replica's execution for this time, and lets it continue.
func TestFrozenForTenSeconds(t *testing.T) {
	eachMode(t, func(t *testing.T, engine string, mode fanout.Mode) {
		c := fillLedger(t, startServers(t, engine, 2))
		p := c.open(t, quick(c.config(mode)))
		l := &ledger{told: map[int64]error{}}
		var next atomic.Int64
		for _, seed := range seeds() {
			bad := rand.New(rand.NewPCG(seed, uint64(len(mode)+len(engine)))).IntN(2)
			t.Run(fmt.Sprintf("seed %d: r%d", seed, bad+1), func(t *testing.T) {
				began := time.Now()
				outage(t, c, p, l, &next, bad, c.dbs[bad].Pause)
				time.Sleep(10*time.Second - time.Since(began))
				c.dbs[bad].Resume()
				settled(t, c, p, mode, l)
			})
		}
		must(t, p.Close())
		leftNothing(t, c)
	})
}

// TestDiskFull fills the disk of one replica. A server may then refuse, wait for space, or end itself.
func TestDiskFull(t *testing.T) {
	eachMode(t, func(t *testing.T, engine string, mode fanout.Mode) {
		for _, seed := range seeds() {
			bad := rand.New(rand.NewPCG(seed, uint64(2*len(mode)+len(engine)))).IntN(2)
			t.Run(fmt.Sprintf("seed %d: r%d", seed, bad+1), func(t *testing.T) { diskFull(t, engine, mode, bad) })
		}
	})
}

func diskFull(t *testing.T, engine string, mode fanout.Mode, bad int) {
	dbs := make([]*infratest.DB, 2)
	dbs[bad] = infratest.StartDBOn(t, 400, engine)
	dbs[1-bad] = infratest.StartDB(t, engine)
	c := fillLedger(t, newCluster(t, engine, "shop", dbs))
	c.execShop(t, "CREATE TABLE ballast (id INT PRIMARY KEY, v MEDIUMTEXT NOT NULL)")
	cfg := quick(c.config(mode))
	cfg.WriteTimeout = 3 * time.Second
	p := c.open(t, cfg)
	l := &ledger{told: map[int64]error{}}
	var next atomic.Int64
	file := filepath.Join(c.dbs[bad].Dir(), "ballast")
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	outage(t, c, p, l, &next, bad, func() {
		fillDisk(t, file, 512<<10)
		wg.Add(1)
		go func() {
			defer wg.Done()
			for id := 0; ctx.Err() == nil && !gone(p, bad); id++ {
				_, _ = p.DB().ExecContext(ctx, "INSERT INTO ballast VALUES (?, ?)", id, strings.Repeat("x", 100_000))
			}
		}()
	})
	cancel()
	wg.Wait()
	s, err := p.Status(t.Context())
	must(t, err)
	t.Logf("ejected because %q", s.Replicas[bad].Reason)
	must(t, os.Remove(file))
	c.dbs[bad].Kill() // it may wait for space for a minute yet
	c.dbs[bad].Restart()
	settled(t, c, p, mode, l)
	must(t, p.Close())
	leftNothing(t, c)
}

// fillDisk makes a file that leaves so many bytes of its disk.
func fillDisk(t *testing.T, file string, leaves int64) {
	t.Helper()
	f, err := os.Create(file)
	must(t, err)
	defer f.Close()
	var st unix.Statfs_t
	must(t, unix.Statfs(file, &st))
	must(t, unix.Fallocate(int(f.Fd()), 0, 0, int64(st.Bavail)*st.Bsize-leaves))
}
