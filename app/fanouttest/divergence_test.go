package fanouttest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/jmoiron/sqlx"

	"forge.example/account/isukit/app/fanout"
	"isukit/infra/infratest"
)

// conflictTables hold what conflicting writes leave behind.
var conflictTables = []string{
	"CREATE TABLE register (id INT PRIMARY KEY, v BIGINT NOT NULL, at DATETIME(6) NOT NULL)",
	"CREATE TABLE list (id INT PRIMARY KEY, items TEXT NOT NULL)",
	"CREATE TABLE account (id INT PRIMARY KEY, balance BIGINT NOT NULL)",
	"CREATE TABLE claim (name VARCHAR(40) NOT NULL, owner INT NOT NULL, UNIQUE KEY (name), id BIGINT NOT NULL PRIMARY KEY)",
	"CREATE TABLE parent (id BIGINT AUTO_INCREMENT PRIMARY KEY, tag VARCHAR(40) NOT NULL)",
	"CREATE TABLE child (id BIGINT AUTO_INCREMENT PRIMARY KEY, parent BIGINT NOT NULL, n INT NOT NULL, made TIMESTAMP(6) DEFAULT CURRENT_TIMESTAMP(6))",
	"CREATE TABLE flux (id INT PRIMARY KEY, v INT NOT NULL, grp INT NOT NULL, KEY (grp))",
}

// conflictDumps print every row of those tables.
var conflictDumps = []string{
	"SELECT CONCAT_WS('/', 'register', id, v, at) FROM register",
	"SELECT CONCAT_WS('/', 'list', id, items) FROM list",
	"SELECT CONCAT_WS('/', 'account', id, balance) FROM account",
	"SELECT CONCAT_WS('/', 'claim', id, name, owner) FROM claim",
	"SELECT CONCAT_WS('/', 'parent', id, tag) FROM parent",
	"SELECT CONCAT_WS('/', 'child', id, parent, n, made) FROM child",
	"SELECT CONCAT_WS('/', 'flux', id, v, grp) FROM flux",
}

const (
	registers = 10
	accounts  = 20
	opening   = 1000 // each account's balance
)

func fillConflictTables(tb testing.TB, c *cluster) {
	tb.Helper()
	c.execShop(tb, conflictTables...)
	var fill []string
	for i := range registers {
		fill = append(fill, fmt.Sprintf("INSERT INTO register VALUES (%d, 0, '2020-01-01')", i), fmt.Sprintf("INSERT INTO list VALUES (%d, '')", i))
	}
	for i := range accounts {
		fill = append(fill, fmt.Sprintf("INSERT INTO account VALUES (%d, %d)", i, opening))
	}
	c.execShop(tb, fill...)
}

// writer does one kind of conflicting write; n is unique.
type writer func(ctx context.Context, p *fanout.Pool, rng *rand.Rand, n int64) error

var writers = map[string]writer{
	"register": func(ctx context.Context, p *fanout.Pool, rng *rand.Rand, n int64) error {
		id := rng.IntN(registers)
		_, err := p.DB().ExecContext(keys(ctx, "register", id), "UPDATE register SET v = ?, at = NOW(6) WHERE id = ?", n, id)
		return err
	},
	"append": func(ctx context.Context, p *fanout.Pool, rng *rand.Rand, n int64) error {
		id := rng.IntN(registers)
		_, err := p.DB().ExecContext(keys(ctx, "list", id), "UPDATE list SET items = RIGHT(CONCAT(items, ',', ?), 2000) WHERE id = ?", n, id)
		return err
	},
	"transfer": func(ctx context.Context, p *fanout.Pool, rng *rand.Rand, n int64) error {
		from, to := rng.IntN(accounts), rng.IntN(accounts)
		return p.InTx(keys(ctx, "account", from, to), nil, func(tx *sqlx.Tx) error {
			var have int64
			if err := tx.GetContext(ctx, &have, "SELECT balance FROM account WHERE id = ? FOR UPDATE", from); err != nil {
				return err
			}
			amount := min(have, rng.Int64N(50))
			if _, err := tx.ExecContext(ctx, "UPDATE account SET balance = balance - ? WHERE id = ?", amount, from); err != nil {
				return err
			}
			_, err := tx.ExecContext(ctx, "UPDATE account SET balance = balance + ? WHERE id = ?", amount, to)
			return err
		})
	},
	"claim": func(ctx context.Context, p *fanout.Pool, rng *rand.Rand, n int64) error {
		name := rng.IntN(5000)
		_, err := p.DB().ExecContext(keys(ctx, "claim", name), "INSERT INTO claim (name, owner, id) VALUES (?, ?, ?)", fmt.Sprint("name", name), n%16, n)
		var me *mysql.MySQLError
		if errors.As(err, &me) && me.Number == 1062 {
			return nil
		}
		return err
	},
	"children": func(ctx context.Context, p *fanout.Pool, rng *rand.Rand, n int64) error {
		return p.InTx(keys(ctx, "children"), nil, func(tx *sqlx.Tx) error {
			res, err := tx.ExecContext(ctx, "INSERT INTO parent (tag) VALUES (?)", fmt.Sprint(n))
			if err != nil {
				return err
			}
			id, err := res.LastInsertId()
			if err != nil {
				return err
			}
			if _, err := tx.ExecContext(ctx, "INSERT INTO child (parent, n) VALUES (?, 1), (?, 2)", id, id); err != nil {
				return err
			}
			_, err = tx.ExecContext(ctx, "INSERT INTO child (parent, n) VALUES (LAST_INSERT_ID(), 3)")
			return err
		})
	},
	"flux": func(ctx context.Context, p *fanout.Pool, rng *rand.Rand, n int64) error {
		id, grp := rng.IntN(60), rng.IntN(5)
		ctx = keys(ctx, "flux")
		var err error
		switch rng.IntN(6) {
		case 4:
			_, err = p.DB().ExecContext(ctx, "UPDATE flux SET v = v + 1 WHERE id = ? AND grp = ?", id, grp)
		case 5:
			_, err = p.DB().ExecContext(ctx, "INSERT INTO flux (id, v, grp) VALUES (?, ?, ?), (?, 7, ?)", id, n%1000, grp, id+30, grp)
			var me *mysql.MySQLError
			if errors.As(err, &me) && me.Number == 1062 {
				err = nil
			}
		case 0:
			_, err = p.DB().ExecContext(ctx, "DELETE FROM flux WHERE id = ?", id)
		case 1:
			_, err = p.DB().ExecContext(ctx, "INSERT IGNORE INTO flux (id, v, grp) VALUES (?, ?, ?)", id, n%1000, grp)
		case 2:
			_, err = p.DB().ExecContext(ctx, "INSERT INTO flux (id, v, grp) VALUES (?, 1, ?) ON DUPLICATE KEY UPDATE v = v + 1, grp = VALUES(grp)", id, grp)
		default:
			_, err = p.DB().ExecContext(ctx, "UPDATE flux SET v = v + 1 WHERE grp = ?", grp)
		}
		return retryable(err)
	},
}

// keys names what a write touches, for ModeKeyed; the other modes take no notice.
func keys(ctx context.Context, kind string, ids ...int) context.Context {
	list := []string{kind}
	if len(ids) > 0 {
		list = nil
	}
	for _, id := range ids {
		list = append(list, fmt.Sprint(kind, id))
	}
	return fanout.WithKeys(ctx, list...)
}

// retryable forgives a lock conflict, which a client would try again.
func retryable(err error) error {
	var me *mysql.MySQLError
	if errors.As(err, &me) && (me.Number == 1213 || me.Number == 1205) {
		return nil
	}
	return err
}

// hammer runs total conflicting writes of every kind from 16 clients, spread over the pools, and returns how many failed.
func hammer(tb testing.TB, pools []*fanout.Pool, total int, kinds ...string) int64 {
	tb.Helper()
	var next, failed atomic.Int64
	var firstErr sync.Map
	ctx, cancel := context.WithTimeout(tb.Context(), 10*time.Minute)
	defer cancel()
	var wg sync.WaitGroup
	for client := range 16 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			rng := rand.New(rand.NewPCG(uint64(client), 42))
			pool := pools[client%len(pools)]
			for {
				n := next.Add(1)
				if n > int64(total) {
					return
				}
				kind := kinds[rng.IntN(len(kinds))]
				if err := retryable(writers[kind](ctx, pool, rng, n)); err != nil {
					failed.Add(1)
					firstErr.LoadOrStore(kind, err)
				}
			}
		}()
	}
	wg.Wait()
	firstErr.Range(func(kind, err any) bool {
		tb.Logf("%s: first of the failed writes: %v", kind, err)
		return true
	})
	return failed.Load()
}

func countDiffering(tb testing.TB, c *cluster) (int, string) {
	tb.Helper()
	total := 0
	var what []string
	for _, dump := range conflictDumps {
		if n := c.differing(tb, dump); n > 0 {
			total += n
			what = append(what, fmt.Sprintf("%d of %s", n, dump[strings.LastIndex(dump, " ")+1:]))
		}
	}
	return total, strings.Join(what, ", ")
}

var allKinds = []string{"register", "append", "transfer", "claim", "children", "flux"}

func TestReplicasStayEqual(t *testing.T) {
	t.Parallel()
	for _, engine := range infratest.Engines(t) {
		for _, tt := range []struct {
			mode            fanout.Mode
			replicas, pools int // two pools do not know each other: two app processes
		}{{fanout.ModeOrdered, 2, 2}, {fanout.ModeOrdered, 3, 2}, {fanout.ModeDurable, 2, 2}, {fanout.ModeDurable, 3, 2}, {fanout.ModeKeyed, 2, 1}, {fanout.ModeKeyed, 3, 1}} {
			if tt.replicas > 2 && tt.mode != fanout.ModeOrdered && !full() {
				continue
			}
			t.Run(fmt.Sprintf("%s/%s/%d", engine, tt.mode, tt.replicas), func(t *testing.T) {
				t.Parallel()
				c := startCluster(t, engine, tt.replicas)
				fillConflictTables(t, c)
				var pools []*fanout.Pool
				for range tt.pools {
					pools = append(pools, c.open(t, c.config(tt.mode)))
				}
				staysEqual(t, c, pools, scale(1000))
			})
		}
	}
}

func staysEqual(t *testing.T, c *cluster, pools []*fanout.Pool, total int) {
	t.Helper()
	began := time.Now()
	failed := hammer(t, pools, total, allKinds...)
	var m fanout.Metrics
	for _, p := range pools {
		one := p.Metrics()
		m.Conflicts += one.Conflicts
		m.Differences += one.Differences
		m.Ejections += one.Ejections
	}
	t.Logf("%d writes, %d failed, %.0f a second, %d differences, %d conflicts across servers", total, failed,
		float64(total)/time.Since(began).Seconds(), m.Differences, m.Conflicts)
	if failed > 0 {
		t.Errorf("%d of %d writes failed", failed, total)
	}
	if n, what := countDiffering(t, c); n > 0 {
		t.Errorf("%d rows differ: %s", n, what)
	}
	if m.Ejections > 0 {
		t.Errorf("%d replicas were ejected", m.Ejections)
	}
	if got := c.rows(t, 0, "SELECT SUM(balance) FROM account"); got[0] != fmt.Sprint(accounts*opening) {
		t.Errorf("the accounts hold %s, want %d", got[0], accounts*opening)
	}
}

// TestParallelDiverges shows that the tests above can see divergence.
func TestParallelDiverges(t *testing.T) {
	t.Parallel()
	for _, engine := range infratest.Engines(t) {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			c := startCluster(t, engine, 2)
			fillConflictTables(t, c)
			p := c.open(t, c.config(fanout.ModeParallel))
			hammer(t, []*fanout.Pool{p}, scale(2000), "register", "append", "claim", "children")
			n, what := countDiffering(t, c)
			t.Logf("%d rows differ: %s", n, what)
			if n == 0 {
				t.Error("mode parallel left no differing rows, so these tests would not see divergence")
			}
		})
	}
}

func TestKeyedRefusesASecondProcess(t *testing.T) {
	t.Parallel()
	for _, engine := range infratest.Engines(t) {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			c := startCluster(t, engine, 2)
			cfg := c.config(fanout.ModeKeyed)
			cfg.AppProcesses = 2
			if err := cfg.Validate(); err == nil || !strings.Contains(err.Error(), "one app process only") {
				t.Errorf("Validate of mode keyed with two processes: %v", err)
			}
			cfg.AppProcesses = 1
			c.open(t, cfg)
			if p, err := fanout.Open(t.Context(), cfg); err == nil {
				p.Close()
				t.Error("a second process could open the replicas in mode keyed")
			}
		})
	}
}
