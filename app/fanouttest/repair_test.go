package fanouttest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"

	"forge.example/account/isukit/app/fanout"
	"isukit/infra/infratest"
	"isukit/infra/infratest/wait"
)

// oddTables have the key and column types that comparing and copying must get right.
var oddTables = []string{
	"CREATE TABLE pair (a VARCHAR(20) COLLATE utf8mb4_general_ci NOT NULL, b INT NOT NULL, v VARCHAR(20), PRIMARY KEY (a, b)) DEFAULT CHARSET=utf8mb4",
	"CREATE TABLE types (id VARBINARY(16) PRIMARY KEY, j JSON, d DECIMAL(20,6), f DOUBLE, t DATETIME(6), ts TIMESTAMP(3) NULL, b BLOB, " +
		"e ENUM('x','y'), bits BIT(10), l VARCHAR(20) CHARACTER SET latin1, g INT GENERATED ALWAYS AS (bits + 1) STORED)",
	"CREATE TABLE keyless (a INT, b VARCHAR(20))",
	"CREATE TABLE zero (id INT AUTO_INCREMENT PRIMARY KEY, v INT)",
	"CREATE TABLE up (id INT PRIMARY KEY)",
	"CREATE TABLE down (id INT PRIMARY KEY, up INT, FOREIGN KEY (up) REFERENCES up (id))",
}

var oddRows = []string{
	"INSERT INTO pair VALUES ('a', 1, 'x'), ('a', 2, NULL), ('b', 1, ''), ('ü', 1, '日本')",
	`INSERT INTO types (id, j, d, f, t, ts, b, e, bits, l) VALUES (x'00ff', '{"a": "\\u00e9"}', 1.5, 0.1, '2020-01-02 03:04:05.678901', '2020-01-02 03:04:05.678', x'0001fe27', 'y', 5, 'é'),
		(x'0100', NULL, NULL, NULL, NULL, NULL, NULL, NULL, 0, NULL)`,
	"INSERT INTO keyless VALUES (1, 'a'), (1, 'a'), (2, NULL)",
	"INSERT INTO zero VALUES (5, 1), (6, 2)",
	"INSERT INTO up VALUES (1), (2)",
	"INSERT INTO down VALUES (1, 1), (2, 2)",
}

func TestCheckNamesAndRepairMends(t *testing.T) {
	t.Parallel()
	for _, engine := range infratest.Engines(t) {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			c := startCluster(t, engine, 3)
			c.execShop(t, oddTables...)
			c.execShop(t, oddRows...)
			p := c.open(t, c.config(fanout.ModeOrdered))
			ctx := t.Context()
			before, err := p.Check(ctx, fanout.CheckOptions{})
			if err != nil || !before.Clean() {
				t.Fatalf("Check before any damage: %v, %v", before, err)
			}
			damage(t, p)
			report, err := p.Check(ctx, fanout.CheckOptions{})
			if err != nil {
				t.Fatal(err)
			}
			want := []string{"down id=1", "down id=3", "keyless", "pair a=b,b=1", "pair a=c,b=9", "types id=0x00ff", "types id=0x0100", "zero id=0", "zero id=6"}
			if got := namedRows(report); !slices.Equal(got, want) {
				t.Errorf("Check names %q, want %q\n%s", got, want, report)
			}
			wantSecondOpinion(t, c, "before Repair", map[string]bool{"pair": true, "types": true, "zero": true, "down": true, "up": false})
			done, err := p.Repair(ctx, fanout.RepairOptions{Tables: []string{"pair", "types", "zero", "down"}})
			if err != nil {
				t.Fatalf("Repair: %v", err)
			}
			var left []string
			for _, d := range done.Left { // r1 executes first, and both others agree against it
				left = append(left, d.Key)
			}
			if slices.Sort(left); !slices.Equal(left, []string{"down id=1", "zero id=6"}) || !strings.Contains(done.String(), "changed around the fan-out") {
				t.Errorf("Repair left %q, want the rows in which r1 stands alone, with the reason\n%s", left, done)
			}
			if more, err := p.Repair(ctx, fanout.RepairOptions{Tables: []string{"zero", "down"}, From: "r2"}); err != nil || len(more.Left) > 0 {
				t.Errorf("Repair from r2: %v, %v", more, err)
			}
			wantSecondOpinion(t, c, "after Repair", map[string]bool{"pair": false, "types": false, "zero": false, "down": false, "up": false})
			for _, line := range []string{"pair on r3: 2 rows deleted, 1 inserted", "types on r2: 1 rows deleted, 2 inserted"} {
				if !strings.Contains(done.String(), line) {
					t.Errorf("Repair says\n%s\nwithout %q", done, line)
				}
			}
			after, err := p.Check(ctx, fanout.CheckOptions{Tables: []string{"pair", "types", "zero", "down"}})
			if err != nil || !after.Clean() {
				t.Errorf("Check after Repair: %v, %v", after, err)
			}
			if _, err := p.Repair(ctx, fanout.RepairOptions{}); err == nil || !strings.Contains(err.Error(), "keyless") {
				t.Errorf("Repair of a table without a key: got %v, want an error that names it", err)
			}
		})
	}
}

// wantSecondOpinion reads from pt-table-sync, which does not know the pool, of which tables it would change rows on r2 or r3 to make them
// equal to r1's.
func wantSecondOpinion(t *testing.T, c *cluster, when string, want map[string]bool) {
	t.Helper()
	for table, differs := range want {
		var said string
		for i := range c.dbs[1:] {
			said += tableSync(t, c, table, i+1)
		}
		if got := said != ""; got != differs {
			t.Errorf("%s, pt-table-sync would change rows of %s: %v, want %v\n%s", when, table, got, differs, said)
		}
	}
}

// tableSync is what pt-table-sync prints: the statements that would make a table on the server at index i what r1's is.
func tableSync(t *testing.T, c *cluster, table string, i int) string {
	t.Helper()
	dsn := func(i int) string {
		cfg, err := mysql.ParseDSN(c.dbs[i].RootDSN(c.name))
		must(t, err)
		return fmt.Sprintf("S=%s,u=%s,p=%s,D=%s,t=%s,A=utf8mb4", c.dbs[i].Socket, cfg.User, cfg.Passwd, c.name, table)
	}
	cmd := exec.Command("pt-table-sync", "--print", "--no-check-slave", "--no-check-triggers", "--no-check-child-tables", dsn(0), dsn(i))
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		var exit *exec.ExitError // 2 says that rows differ
		if !errors.As(err, &exit) || exit.ExitCode() != 2 {
			t.Fatalf("pt-table-sync: %v (hint: make setup-test)\n%s", err, errs.String())
		}
	}
	return out.String()
}

// TestRepairFrom repairs from a named replica, and leaves rows alone without a name if two differ.
func TestRepairFrom(t *testing.T) {
	t.Parallel()
	for _, engine := range infratest.Engines(t) {
		for _, tt := range []struct {
			replicas int
			from     string
			want     string // the value of the row that all differ in, and whether row 2 is there
		}{{2, "", ""}, {2, "r1", "one 1"}, {2, "r2", "two 0"}, {3, "r2", "two 0"}, {3, "r3", "three 1"}} {
			t.Run(fmt.Sprintf("%s/%d from %s", engine, tt.replicas, tt.from), func(t *testing.T) {
				t.Parallel()
				c := startCluster(t, engine, tt.replicas)
				c.execShop(t, "CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(10))", "INSERT INTO t VALUES (1, 'same'), (2, 'same'), (3, 'same')")
				p := c.open(t, c.config(fanout.ModeOrdered))
				for i, v := range []string{"one", "two", "three"}[:tt.replicas] {
					c.execOn(t, i, "UPDATE t SET v = '"+v+"' WHERE id = 1")
				}
				c.execOn(t, 1, "DELETE FROM t WHERE id = 2") // the others have it
				report, err := p.Repair(t.Context(), fanout.RepairOptions{From: tt.from})
				must(t, err)
				if tt.from == "" {
					if len(report.Left) != 2 || len(report.Mended) > 0 || len(report.Left[0].Rows) != 2 || !strings.Contains(report.Why, "r1") || !strings.Contains(report.Why, "r2") {
						t.Errorf("Repair of two replicas from nobody: got %s, want both rows left as they are, and both replicas named", report)
					}
					return
				}
				if len(report.Left) > 0 || strings.Contains(report.String(), "on "+tt.from+":") {
					t.Errorf("Repair left %v and says\n%s\nwant nothing left and %s untouched", report.Left, report, tt.from)
				}
				for i := range c.dbs {
					got := c.rows(t, i, "SELECT CONCAT(MAX(IF(id = 1, v, '')), ' ', SUM(id = 2)) FROM t")
					if got[0] != tt.want {
						t.Errorf("r%d has %q after Repair from %s, want %q", i+1, got[0], tt.from, tt.want)
					}
				}
			})
		}
	}
}

// damage changes single replicas around the pool.
func damage(tb testing.TB, p *fanout.Pool) {
	tb.Helper()
	for _, d := range [][2]string{
		{"r3", "UPDATE pair SET v = 'other' WHERE a = 'b'"},
		{"r3", "INSERT INTO pair VALUES ('c', 9, 'extra')"},
		{"r2", "UPDATE types SET f = 0.2 WHERE id = x'00ff'"},
		{"r2", "DELETE FROM types WHERE id = x'0100'"},
		{"r1", "INSERT INTO keyless VALUES (1, 'a')"},
		{"r1", "UPDATE zero SET v = 9 WHERE id = 6"},
		{"r2", "UPDATE zero SET id = 0 WHERE id = 6"},
		{"r1", "DELETE FROM down WHERE id = 1"},
		{"r1", "INSERT INTO down VALUES (3, 2)"},
		{"r2", "INSERT INTO down VALUES (3, 2)"},
	} {
		if _, err := p.Replica(d[0]).ExecContext(tb.Context(), d[1]); err != nil {
			tb.Fatalf("%s: %v", d[1], err)
		}
	}
	// r2 lacks 6, r1 has it changed: of id=6 no two replicas have the same; r3's is the original. Have r1 stand alone.
	if _, err := p.Replica("r2").ExecContext(tb.Context(), "INSERT INTO zero VALUES (6, 2)"); err != nil {
		tb.Fatal(err)
	}
}

func namedRows(r *fanout.CheckReport) []string {
	var list []string
	for _, t := range r.Tables {
		for _, d := range t.Differences {
			name := t.Table + " " + d.Key
			if t.Table == "keyless" {
				name = "keyless"
			}
			list = append(list, name)
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

func TestAdmitWhileWritesGoOn(t *testing.T) {
	for _, engine := range infratest.Engines(t) {
		t.Run(engine, func(t *testing.T) {
			c := startCluster(t, engine, 2)
			pools, done, _ := admitBesideWrites(t, c)
			if done < 4 {
				t.Errorf("%d writes came to their end while a replica was admitted, want those of four clients at least", done)
			}
			if n, what := countDiffering(t, c); n > 0 {
				t.Errorf("%d rows differ after Admit: %s", n, what)
			}
			check, err := pools[0].Check(t.Context(), fanout.CheckOptions{Replicas: []string{"r1", "r2"}})
			if err != nil || !check.Clean() {
				t.Errorf("Check after Admit: %v, %v", check, err)
			}
			wait.For(t, "the other process to see r2 in service", func() bool {
				s, err := pools[0].Status(t.Context())
				must(t, err)
				return s.Replicas[1].State == fanout.InService
			})
		})
	}
}

// BenchmarkAdmitBesideWrites reports the longest write while a replica is admitted; the target is a second.
// TestAdmitMovesUniqueValues has rows of two ranges take each other's value of a unique key while a replica is out of service.
func TestAdmitMovesUniqueValues(t *testing.T) {
	for _, engine := range infratest.Engines(t) {
		c := startCluster(t, engine, 2)
		c.execShop(t, "CREATE TABLE u (id INT PRIMARY KEY, k INT UNIQUE)", "INSERT INTO u WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n WHERE i < 900) SELECT i, i FROM n",
			"INSERT INTO u SELECT id + 900, id + 900 FROM u")
		p := c.open(t, c.config(fanout.ModeOrdered))
		must(t, p.Eject(t.Context(), "r2", "by the test"))
		do("UPDATE u SET k = 5000 WHERE id = 1", "UPDATE u SET k = 1 WHERE id = 1700", "UPDATE u SET k = 1700 WHERE id = 1")(t, p.DB())
		_, err := p.Admit(t.Context(), "r2")
		must(t, err)
		if n := c.differing(t, "SELECT CONCAT(id, '/', k) FROM u"); n > 0 {
			t.Errorf("%s: %d rows differ", engine, n)
		}
	}
}

func BenchmarkAdmitBesideWrites(b *testing.B) {
	for _, engine := range infratest.Engines(b) {
		b.Run(engine, func(b *testing.B) {
			for b.Loop() {
				_, _, longest := admitBesideWrites(b, startServers(b, engine, 2))
				b.ReportMetric(float64(longest.Milliseconds()), "longest-write-ms(target:1000)")
			}
		})
	}
}

// admitBesideWrites ejects r2, lets it fall behind, and admits it while clients write: done of these writes finished before Admit did.
func admitBesideWrites(tb testing.TB, c *cluster) (pools []*fanout.Pool, done int64, longest time.Duration) {
	tb.Helper()
	fillConflictTables(tb, c)
	c.execShop(tb, "CREATE TABLE bulk (id INT PRIMARY KEY, v VARCHAR(100) NOT NULL)")
	pools = []*fanout.Pool{c.open(tb, c.config(fanout.ModeOrdered)), c.open(tb, c.config(fanout.ModeOrdered))}
	fillBulk(tb, pools[0], scale(5000))
	if err := pools[0].Eject(tb.Context(), "r2", "by hand"); err != nil {
		tb.Fatal(err)
	}
	hammer(tb, pools, 300, allKinds...)
	if n, _ := countDiffering(tb, c); n == 0 {
		tb.Fatal("nothing differs after writes without r2: the test would not see whether Admit copies")
	}
	c.execOn(tb, 1, "DROP TABLE bulk", "DROP TABLE flux")
	w := writeOn(tb, pools)
	report, err := pools[1].Admit(tb.Context(), "r2") // by the process that did not eject it
	done = w.done.Load()
	wait.For(tb, "some writes with r2 in service", func() bool { return w.done.Load() >= done+20 || tb.Failed() })
	w.stop()
	if err != nil {
		tb.Fatalf("Admit: %v", err)
	}
	longest = time.Duration(w.longest.Load())
	tb.Logf("%d writes meanwhile, the longest %v; %d tables copied", done, longest, len(report.Mended))
	return pools, done, longest
}

func fillBulk(tb testing.TB, p *fanout.Pool, n int) {
	tb.Helper()
	for i := 0; i < n; i += 1000 {
		var b strings.Builder
		b.WriteString("INSERT INTO bulk VALUES ")
		for j := range min(1000, n-i) {
			if j > 0 {
				b.WriteByte(',')
			}
			fmt.Fprintf(&b, "(%d, 'value %d')", i+j, i+j)
		}
		if _, err := p.DB().ExecContext(tb.Context(), b.String()); err != nil {
			tb.Fatal(err)
		}
	}
}

// writing is what four clients do until stop is called.
type writing struct {
	done    atomic.Int64 // writes that came to their end
	longest atomic.Int64 // the slowest of them, in nanoseconds
	stop    func()
}

func writeOn(tb testing.TB, pools []*fanout.Pool) *writing {
	ctx, cancel := context.WithCancel(tb.Context())
	w := &writing{}
	var next atomic.Int64
	next.Store(1_000_000)
	var wg sync.WaitGroup
	for client := range 4 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			rng := rand.New(rand.NewPCG(uint64(client), 7))
			for ctx.Err() == nil {
				kind := []string{"register", "append", "transfer", "claim", "children"}[rng.IntN(5)]
				began := time.Now()
				err := writers[kind](context.WithoutCancel(ctx), pools[client%len(pools)], rng, next.Add(1))
				if retryable(err) != nil {
					tb.Errorf("%s while a replica is admitted: %v", kind, err)
					return
				}
				w.done.Add(1)
				w.longest.Store(max(w.longest.Load(), int64(time.Since(began))))
			}
		}()
	}
	w.stop = func() { cancel(); wg.Wait() }
	return w
}

// TestObserver ejects a dead replica, which the app's own Open would insist on, and admits it again next to a running app.
func TestObserver(t *testing.T) {
	t.Parallel()
	for _, engine := range infratest.Engines(t) {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			c := fillLedger(t, startServers(t, engine, 2))
			c.open(t, c.config(fanout.ModeOrdered)).Close() // makes the pool's tables
			c.dbs[0].Kill()
			if p, err := fanout.Open(t.Context(), c.config(fanout.ModeOrdered)); err == nil {
				p.Close()
				t.Error("the app could open the pool although a replica in service does not answer")
			}
			cfg := c.config(fanout.ModeOrdered)
			cfg.Observer = true
			o := c.open(t, cfg)
			if err := o.Eject(t.Context(), "r1", "its host is gone"); err != nil {
				t.Fatal(err)
			}
			if _, err := o.DB().Exec("UPDATE counter SET n = 1"); !errors.Is(err, fanout.ErrRefused) {
				t.Errorf("an observer's write: got %v, want ErrRefused", err)
			}
			p := c.open(t, c.config(fanout.ModeOrdered))
			if err := insertLedger(p, 1, 0); err != nil {
				t.Fatal(err)
			}
			c.dbs[0].Restart()
			if _, err := o.Admit(t.Context(), "r1"); err != nil {
				t.Fatal(err)
			}
			time.Sleep(500 * time.Millisecond)
			if err := insertLedger(p, 2, 0); err != nil {
				t.Fatal(err)
			}
			report, err := o.Check(t.Context(), fanout.CheckOptions{})
			if err != nil || !report.Clean() || len(report.Replicas) != 2 {
				t.Errorf("Check: %v, %v", report, err)
			}
			s, err := o.Status(t.Context())
			if err != nil || s.Apps != 1 {
				t.Errorf("the observer sees %d app processes (%v), want 1", s.Apps, err)
			}
		})
	}
}
