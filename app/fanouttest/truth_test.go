package fanouttest

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"forge.example/account/isukit/app/fanout"
	"isukit/infra/infratest"
)

// wrongs are the reasons for which one of three replicas may have wrong rows. Each is done after acknowledged writes. They return which
// replicas to repair, nil for those in service, and whether it can be known which one is correct.
var wrongs = []struct {
	name  string
	do    func(t *testing.T, c *cluster, p *fanout.Pool, h *told, rng *rand.Rand) []string
	known bool
}{
	{"a row of another than the first was changed around the pool", func(t *testing.T, c *cluster, _ *fanout.Pool, h *told, rng *rand.Rand) []string {
		h.change(t, c, 1+rng.IntN(2), rng)
		return nil
	}, true},
	{"a row of the first was changed around the pool", func(t *testing.T, c *cluster, _ *fanout.Pool, h *told, rng *rand.Rand) []string {
		h.change(t, c, 0, rng)
		return nil
	}, false},
	{"both others computed the same wrong value", func(t *testing.T, c *cluster, _ *fanout.Pool, h *told, rng *rand.Rand) []string {
		id := h.any(rng)
		for i := 1; i < 3; i++ {
			c.execOn(t, i, fmt.Sprintf("UPDATE t SET v = -1 WHERE id = %d", id))
		}
		return nil
	}, false},
	{"each computed a value of its own", func(t *testing.T, c *cluster, _ *fanout.Pool, h *told, rng *rand.Rand) []string {
		id := h.any(rng)
		for i := 1; i < 3; i++ {
			c.execOn(t, i, fmt.Sprintf("UPDATE t SET v = -%d WHERE id = %d", i, id))
		}
		return nil
	}, true},
	{"another than the first was ejected, and writes went on", func(t *testing.T, c *cluster, p *fanout.Pool, h *told, rng *rand.Rand) []string {
		must(t, p.Eject(t.Context(), fmt.Sprintf("r%d", 2+rng.IntN(2)), "test"))
		h.write(t, p, 3)
		return []string{"r1", "r2", "r3"}
	}, true},
	{"the first was ejected, and writes went on", func(t *testing.T, c *cluster, p *fanout.Pool, h *told, _ *rand.Rand) []string {
		must(t, p.Eject(t.Context(), "r1", "test"))
		h.write(t, p, 3)
		return []string{"r1", "r2", "r3"}
	}, true},
	{"the first two were ejected, and writes went on", func(t *testing.T, c *cluster, p *fanout.Pool, h *told, _ *rand.Rand) []string {
		must(t, p.Eject(t.Context(), "r1", "test"))
		h.write(t, p, 2)
		must(t, p.Eject(t.Context(), "r2", "test"))
		h.write(t, p, 2)
		return []string{"r1", "r2", "r3"}
	}, true},
	{"one was put back to an earlier state", func(t *testing.T, c *cluster, p *fanout.Pool, h *told, rng *rand.Rand) []string {
		i := rng.IntN(3)
		c.execOn(t, i, "CREATE TABLE backup AS SELECT * FROM t")
		h.write(t, p, 4)
		c.execOn(t, i, "DELETE FROM t", "INSERT INTO t SELECT * FROM backup", "DROP TABLE backup")
		return nil
	}, false},
	{"processes that a cut kept apart wrote to one replica each", func(t *testing.T, c *cluster, p *fanout.Pool, h *told, rng *rand.Rand) []string {
		must(t, p.Eject(t.Context(), "r3", "test"))
		for i := range 2 { // what each process records where it still gets to
			h.alone(t, c, i)
			c.execOn(t, i, "REPLACE INTO isukit_fanout_replica (replica, state, epoch, reason, since_us) VALUES ('r1', '"+string(place(i == 0))+"', "+fmt.Sprint(50+rng.IntN(2))+", '', 0), "+
				"('r2', '"+string(place(i == 1))+"', 50, '', 0)")
		}
		return []string{"r1", "r2"}
	}, false},
}

func place(in bool) fanout.State {
	if in {
		return fanout.InService
	}
	return fanout.Ejected
}

// told is the writers' results: the value of each row, by id.
type told struct {
	rows map[int64]int64
	next int64
}

func (h *told) any(rng *rand.Rand) int64 {
	ids := make([]int64, 0, len(h.rows))
	for id := range h.rows {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids[rng.IntN(len(ids))]
}

// write has n writes acknowledged.
func (h *told) write(t *testing.T, p *fanout.Pool, n int) {
	t.Helper()
	for range n {
		h.next++
		_, err := p.DB().Exec("INSERT INTO t VALUES (?, ?)", h.next, h.next*10)
		must(t, err)
		h.rows[h.next] = h.next * 10
	}
}

// alone has a write acknowledged that is on one replica only.
func (h *told) alone(t *testing.T, c *cluster, i int) {
	h.next++
	c.execOn(t, i, fmt.Sprintf("INSERT INTO t VALUES (%d, %d)", h.next, h.next*10))
	h.rows[h.next] = h.next * 10
}

// change deletes, changes or adds a row on one replica.
func (h *told) change(t *testing.T, c *cluster, i int, rng *rand.Rand) {
	id := h.any(rng)
	c.execOn(t, i, []string{
		fmt.Sprintf("DELETE FROM t WHERE id = %d", id), fmt.Sprintf("UPDATE t SET v = -1 WHERE id = %d", id), fmt.Sprintf("INSERT INTO t VALUES (%d, 0)", 1000+id),
	}[rng.IntN(3)])
}

// right are the acknowledged rows that replica i has as they were acknowledged.
func (h *told) right(t *testing.T, c *cluster, i int) map[int64]bool {
	has := map[int64]bool{}
	for _, line := range c.rows(t, i, "SELECT CONCAT(id, ' ', v) FROM t") {
		var id, v int64
		if _, err := fmt.Sscan(line, &id, &v); err != nil {
			t.Fatal(err)
		}
		if want, ok := h.rows[id]; ok && v == want {
			has[id] = true
		}
	}
	return has
}

// TestRepairLosesNothing makes one of three replicas wrong for each possible reason, in random histories: Repair, without a named replica,
// takes no acknowledged write from a replica that has it, and where the protocol decides which one is correct, all are equal afterwards.
func TestRepairLosesNothing(t *testing.T) {
	t.Parallel()
	for _, engine := range infratest.Engines(t) {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			c := startCluster(t, engine, 3)
			c.execShop(t, "CREATE TABLE t (id BIGINT PRIMARY KEY, v BIGINT NOT NULL)")
			mended, left := 0, 0
			for n := range scale(18) {
				w, rng := wrongs[n%len(wrongs)], rand.New(rand.NewPCG(uint64(n), 23))
				c.execShop(t, "DELETE FROM t")
				if n > 0 {
					c.execShop(t, "DELETE FROM isukit_fanout_replica", "DELETE FROM isukit_fanout_app")
				}
				p, err := fanout.Open(t.Context(), c.config([]fanout.Mode{fanout.ModeOrdered, fanout.ModeDurable}[rng.IntN(2)]))
				must(t, err)
				h := &told{rows: map[int64]int64{}}
				h.write(t, p, 2+rng.IntN(6))
				replicas := w.do(t, c, p, h, rng)
				must(t, p.Close())
				m, l := repaired(t, c, h, w.name, w.known, replicas)
				mended, left = mended+m, left+l
				if t.Failed() {
					t.Fatalf("history %d", n)
				}
			}
			if mended == 0 || left == 0 {
				t.Errorf("%d rows were mended, %d left: the test would not see what it is for", mended, left)
			}
		})
	}
}

// repaired repairs as isukit replicas does, next to the app, and checks the result. It returns how many replicas were repaired and rows
// left.
func repaired(t *testing.T, c *cluster, h *told, what string, known bool, replicas []string) (mended, left int) {
	t.Helper()
	cfg := c.config(fanout.ModeOrdered)
	cfg.Observer = true
	p := c.open(t, cfg)
	defer p.Close()
	var before []map[int64]bool
	for i := range c.dbs {
		before = append(before, h.right(t, c, i))
	}
	report, err := p.Repair(t.Context(), fanout.RepairOptions{Replicas: replicas})
	must(t, err)
	for i := range c.dbs {
		after := h.right(t, c, i)
		for id := range before[i] {
			if !after[id] {
				t.Errorf("%s: Repair took the acknowledged row %d from r%d\n%s", what, id, i+1, report)
			}
		}
	}
	if len(report.Left) > 0 && strings.Count(report.Why, "r1") == 0 {
		t.Errorf("%s: Repair left rows and does not name the replicas: %q", what, report.Why)
	}
	if !known {
		return len(report.Mended), len(report.Left)
	}
	check, err := p.Check(t.Context(), fanout.CheckOptions{Replicas: replicas})
	must(t, err)
	if !check.Clean() || len(report.Left) > 0 {
		t.Errorf("%s: Repair left %v\n%s", what, report.Left, check)
	}
	return len(report.Mended), len(report.Left)
}

// TestRepairAsks has databases of which it is unknown which one is correct: each row stays, with both replicas' versions.
func TestRepairAsks(t *testing.T) {
	t.Parallel()
	for _, engine := range infratest.Engines(t) {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			for _, tt := range []struct {
				name   string
				opened bool // by an app, before
				names  []string
				mode   fanout.Mode
				why    string
			}{
				{"never opened by an app", false, []string{"r1", "r2", "r3"}, fanout.ModeOrdered, "no app has opened"},
				{"named in another order", true, []string{"r2", "r1", "r3"}, fanout.ModeOrdered, "in this order"},
				{"the first is not named", true, []string{"r2", "r3"}, fanout.ModeOrdered, "r1, which is in service, is not among"},
				{"a mode without a first one", true, []string{"r1", "r2", "r3"}, fanout.ModeParallel, "mode parallel"},
			} {
				c := startCluster(t, engine, 3)
				c.execShop(t, "CREATE TABLE t (id BIGINT PRIMARY KEY, v BIGINT NOT NULL)")
				if tt.opened {
					must(t, c.open(t, c.config(fanout.ModeOrdered)).Close())
				}
				for i := range c.dbs {
					c.execOn(t, i, fmt.Sprintf("INSERT INTO t VALUES (1, %d)", i))
				}
				all, cfg := c.config(tt.mode), fanout.Config{Mode: tt.mode, Observer: true}
				for _, name := range tt.names {
					for _, r := range all.Replicas {
						if r.Name == name {
							cfg.Replicas = append(cfg.Replicas, r)
						}
					}
				}
				report, err := c.open(t, cfg).Repair(t.Context(), fanout.RepairOptions{})
				must(t, err)
				if len(report.Left) != 1 || len(report.Mended) > 0 || len(report.Left[0].Rows) != len(tt.names) || !strings.Contains(report.Why, tt.why) {
					t.Errorf("%s: Repair gave %s, want the row left with all versions and %q", tt.name, report, tt.why)
				}
			}
		})
	}
}

// TestOrderIsTheSameForAll has a second process name the replicas in another order.
func TestOrderIsTheSameForAll(t *testing.T) {
	t.Parallel()
	for _, engine := range infratest.Engines(t) {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			c := startCluster(t, engine, 2)
			p := c.open(t, c.config(fanout.ModeOrdered))
			turned := *c
			turned.dbs = []*infratest.DB{c.dbs[1], c.dbs[0]}
			cfg := turned.config(fanout.ModeOrdered)
			cfg.Replicas[0].Name, cfg.Replicas[1].Name = "r2", "r1"
			if _, err := fanout.Open(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "in the same order") {
				t.Errorf("a second process with r2 before r1: Open gave %v", err)
			}
			must(t, p.Close())
			c.open(t, cfg) // alone it may
		})
	}
}
