package fanouttest

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/jmoiron/sqlx"

	"forge.example/account/isukit/app/fanout"
	"isukit/infra/infratest"
	"isukit/infra/infratest/wait"
)

// sqlCase is one thing that an app may rely on. It runs over every write mode that keeps the promise.
type sqlCase struct {
	name string
	run  func(t *testing.T, p *fanout.Pool, c *cluster)
}

var sqlCases = []sqlCase{
	{"rows keep their replica until closed", rowsKeepReplica},
	{"prepared statements", preparedStatements},
	{"transaction rolls back", transactionRollsBack},
	{"read-only transaction", readOnlyTransaction},
	{"errors are the servers'", serverErrors},
	{"several result sets", severalResultSets},
	{"arguments of every kind", argumentKinds},
	{"a cancelled query is killed", cancelledQuery},
	{"sqlx named and struct scans", sqlxNamed},
	{"session settings stay with the connection", sessionSettings},
	{"one write after another", oneWriteAfterAnother},
}

func TestDatabaseSQL(t *testing.T) {
	for _, engine := range infratest.Engines(t) {
		c := startCluster(t, engine, 2)
		createSQLTables(t, c)
		for _, mode := range []fanout.Mode{fanout.ModeSingle, fanout.ModeOrdered, fanout.ModeDurable} {
			for _, sc := range sqlCases {
				t.Run(fmt.Sprintf("%s/%s/%s", engine, mode, sc.name), func(t *testing.T) {
					c.execShop(t, "DELETE FROM item", "DELETE FROM auto")
					cfg := c.config(mode)
					if mode == fanout.ModeSingle {
						cfg.Replicas = cfg.Replicas[:1]
					}
					sc.run(t, c.open(t, cfg), c)
				})
			}
		}
	}
}

func createSQLTables(t *testing.T, c *cluster) {
	t.Helper()
	c.execShop(t,
		"CREATE TABLE item (id INT PRIMARY KEY, name VARCHAR(50), price DECIMAL(10,2), at DATETIME(6) NULL, raw BLOB, big BIGINT UNSIGNED)",
		"CREATE TABLE auto (id BIGINT AUTO_INCREMENT PRIMARY KEY, v INT, UNIQUE KEY (v))",
		"CREATE PROCEDURE two() BEGIN SELECT 1; SELECT 2; END")
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func rowsKeepReplica(t *testing.T, p *fanout.Pool, _ *cluster) {
	for i := range 20 {
		_, err := p.DB().Exec("INSERT INTO item (id, name) VALUES (?, ?)", i, "x")
		must(t, err)
	}
	rows, err := p.DB().Query("SELECT id, @@port FROM item ORDER BY id")
	must(t, err)
	defer rows.Close()
	ports := map[int]bool{}
	n := 0
	for rows.Next() {
		var id, port int
		must(t, rows.Scan(&id, &port))
		ports[port] = true
		n++
	}
	must(t, rows.Err())
	if n != 20 || len(ports) != 1 {
		t.Errorf("%d rows from %d servers, want 20 from one", n, len(ports))
	}
}

func preparedStatements(t *testing.T, p *fanout.Pool, c *cluster) {
	ins, err := p.DB().Prepare("INSERT INTO item (id, name) VALUES (?, ?)")
	must(t, err)
	defer ins.Close()
	for i := range 10 {
		res, err := ins.Exec(i, fmt.Sprint("name ", i))
		must(t, err)
		if n, _ := res.RowsAffected(); n != 1 {
			t.Errorf("%d rows affected, want 1", n)
		}
	}
	sel, err := p.DB().Prepare("SELECT name FROM item WHERE id = ?")
	must(t, err)
	defer sel.Close()
	for i := range 10 {
		var name string
		must(t, sel.QueryRow(i).Scan(&name))
		if name != fmt.Sprint("name ", i) {
			t.Errorf("item %d is %q", i, name)
		}
	}
	tx, err := p.DB().Begin()
	must(t, err)
	_, err = tx.Stmt(ins).Exec(100, "in a transaction")
	must(t, err)
	must(t, tx.Rollback())
	if n := c.differing(t, "SELECT CONCAT(id, name) FROM item"); n > 0 && len(replicasOf(t, p)) > 1 {
		t.Errorf("%d rows differ", n)
	}
	if _, err := p.DB().Prepare("SELEC nonsense"); err == nil {
		t.Error("a statement with a fault could be prepared")
	}
}

func replicasOf(t *testing.T, p *fanout.Pool) []fanout.ReplicaStatus {
	t.Helper()
	s, err := p.Status(t.Context())
	must(t, err)
	return s.Replicas
}

func transactionRollsBack(t *testing.T, p *fanout.Pool, c *cluster) {
	tx, err := p.DB().Beginx()
	must(t, err)
	_, err = tx.Exec("INSERT INTO item (id) VALUES (1)")
	must(t, err)
	var n int
	must(t, tx.Get(&n, "SELECT COUNT(*) FROM item"))
	if n != 1 {
		t.Errorf("the transaction sees %d rows of its own, want 1", n)
	}
	must(t, tx.Rollback())
	for i := range c.dbs {
		if got := c.rows(t, i, "SELECT COUNT(*) FROM item"); got[0] != "0" {
			t.Errorf("r%d has %s rows after a rollback", i+1, got[0])
		}
	}
}

func readOnlyTransaction(t *testing.T, p *fanout.Pool, _ *cluster) {
	tx, err := p.DB().BeginTxx(t.Context(), &sql.TxOptions{ReadOnly: true, Isolation: sql.LevelRepeatableRead})
	must(t, err)
	defer tx.Rollback()
	var before, after int
	must(t, tx.Get(&before, "SELECT COUNT(*) FROM item"))
	_, err = p.DB().Exec("INSERT INTO item (id) VALUES (1)")
	must(t, err)
	must(t, tx.Get(&after, "SELECT COUNT(*) FROM item"))
	if before != after {
		t.Errorf("a read-only transaction saw %d rows and then %d", before, after)
	}
	if _, err := tx.Exec("INSERT INTO item (id) VALUES (2)"); err == nil {
		t.Error("a read-only transaction took a write")
	}
	must(t, tx.Commit())
}

func serverErrors(t *testing.T, p *fanout.Pool, _ *cluster) {
	_, err := p.DB().Exec("INSERT INTO auto (v) VALUES (7)")
	must(t, err)
	for what, want := range map[string]uint16{
		"INSERT INTO auto (v) VALUES (7)": 1062, "INSERT INTO nowhere VALUES (1)": 1146, "INSERT INTO auto (v) VALUES ('x')": 1366,
	} {
		_, err := p.DB().Exec(what)
		var me *mysql.MySQLError
		if !errors.As(err, &me) || me.Number != want {
			t.Errorf("%s: got %v, want error %d", what, err, want)
		}
	}
	tx, err := p.DB().Begin()
	must(t, err)
	defer tx.Rollback()
	_, err = tx.Exec("INSERT INTO auto (v) VALUES (8)")
	must(t, err)
	if _, err := tx.Exec("INSERT INTO auto (v) VALUES (7)"); err == nil {
		t.Error("a duplicate key was taken")
	}
	_, err = tx.Exec("INSERT INTO auto (v) VALUES (9)") // as with one server, the transaction goes on
	must(t, err)
	must(t, tx.Commit())
	var n int
	must(t, p.DB().Get(&n, "SELECT COUNT(*) FROM auto"))
	if n != 3 {
		t.Errorf("%d rows, want 3", n)
	}
}

func severalResultSets(t *testing.T, p *fanout.Pool, _ *cluster) {
	rows, err := p.DB().Query("CALL two()")
	must(t, err)
	defer rows.Close()
	var got []int
	for {
		for rows.Next() {
			var n int
			must(t, rows.Scan(&n))
			got = append(got, n)
		}
		if !rows.NextResultSet() {
			break
		}
	}
	must(t, rows.Err())
	if !slices.Equal(got, []int{1, 2}) {
		t.Errorf("the result sets hold %v, want [1 2]", got)
	}
}

func argumentKinds(t *testing.T, p *fanout.Pool, c *cluster) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 678901000, time.UTC)
	_, err := p.DB().Exec("INSERT INTO item VALUES (?, ?, ?, ?, ?, ?)", 1, "it's ; -- \\ \"日本\"", "12.50", at, []byte{0, 1, 0xff, '\''}, ^uint64(0))
	must(t, err)
	var name, price string
	var raw []byte
	var big uint64
	must(t, p.DB().QueryRow("SELECT name, price, raw, big FROM item WHERE id = ?", 1).Scan(&name, &price, &raw, &big))
	if name != "it's ; -- \\ \"日本\"" || price != "12.50" || !slices.Equal(raw, []byte{0, 1, 0xff, '\''}) || big != ^uint64(0) {
		t.Errorf("read back %q %q %x %d", name, price, raw, big)
	}
	if got := c.rows(t, 0, "SELECT at FROM item"); got[0] != "2026-01-02 03:04:05.678901" {
		t.Errorf("the time is %s", got[0])
	}
}

func cancelledQuery(t *testing.T, p *fanout.Pool, c *cluster) {
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err := p.DB().QueryContext(ctx, "SELECT SLEEP(600)")
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want context.DeadlineExceeded", err)
	}
	for i := range c.dbs {
		wait.For(t, fmt.Sprintf("the end of the query on r%d, whose client gave up", i+1), func() bool {
			return c.rows(t, i, "SELECT COUNT(*) FROM information_schema.processlist WHERE db = DATABASE() AND info LIKE 'SELECT SLEEP%'")[0] == "0"
		})
	}
}

func sqlxNamed(t *testing.T, p *fanout.Pool, _ *cluster) {
	type item struct {
		ID   int    `db:"id"`
		Name string `db:"name"`
	}
	_, err := p.DB().NamedExec("INSERT INTO item (id, name) VALUES (:id, :name)", []item{{1, "a"}, {2, "b"}})
	must(t, err)
	var items []item
	query, args, err := sqlx.In("SELECT id, name FROM item WHERE id IN (?) ORDER BY id", []int{1, 2})
	must(t, err)
	must(t, p.DB().Select(&items, p.DB().Rebind(query), args...))
	if !slices.Equal(items, []item{{1, "a"}, {2, "b"}}) {
		t.Errorf("got %v", items)
	}
}

func sessionSettings(t *testing.T, p *fanout.Pool, _ *cluster) {
	conn, err := p.DB().Conn(t.Context())
	must(t, err)
	defer conn.Close()
	_, err = conn.ExecContext(t.Context(), "SET @x = 5")
	must(t, err)
	var x int
	must(t, conn.QueryRowContext(t.Context(), "SELECT @x").Scan(&x))
	if x != 5 {
		t.Errorf("@x is %d, want 5", x)
	}
}

// oneWriteAfterAnother writes so often that the pool stops sending BEGIN, and then does what needs a session with autocommit.
func oneWriteAfterAnother(t *testing.T, p *fanout.Pool, c *cluster) {
	ctx := t.Context()
	st, err := p.Status(ctx)
	must(t, err)
	conn, err := p.DB().Conn(ctx)
	must(t, err)
	defer conn.Close()
	var want []string
	round := func(from int) {
		for id := from; id < from+60; id++ {
			run := conn.ExecContext
			var tx *sql.Tx
			if id%3 > 0 {
				tx, err = conn.BeginTx(ctx, nil)
				must(t, err)
				run = tx.ExecContext
			}
			_, err := run(ctx, "INSERT INTO item (id, name) VALUES (?, ?)", id, "x")
			must(t, err)
			if id%5 == 0 { // a statement that fails leaves the others of its transaction
				if _, err := run(ctx, "INSERT INTO item (id, name) VALUES (?, ?)", id, "x"); err == nil {
					t.Error("a duplicate was taken")
				}
			}
			switch id % 3 {
			case 1:
				must(t, tx.Commit())
			case 2:
				must(t, tx.Rollback())
				continue
			}
			want = append(want, fmt.Sprint(id))
		}
	}
	round(0)
	if begins := statusOf(t, conn, "Com_begin"); st.Mode == fanout.ModeOrdered && begins > 20 {
		t.Errorf("BEGIN was sent %d times for 60 writes, want 8", begins)
	}
	nothingOpen(t, c)
	for range 10 {
		var on int
		must(t, conn.QueryRowContext(ctx, "SELECT @@autocommit").Scan(&on))
		if on != 1 {
			t.Fatalf("a read runs with autocommit=%d", on)
		}
	}
	round(60)
	brief, cancel := context.WithTimeout(ctx, wait.Limit)
	defer cancel()
	_, err = p.DB().ExecContext(brief, "ALTER TABLE item COMMENT 'nobody holds it'")
	must(t, err)
	var n int
	must(t, conn.QueryRowContext(ctx, "SELECT COUNT(*) FROM item").Scan(&n))
	round(120)
	nothingOpen(t, c)
	must(t, conn.QueryRowContext(ctx, "SELECT COUNT(*) FROM item").Scan(&n))
	if n != len(want) {
		t.Errorf("%d rows, want %d", n, len(want))
	}
	for i := range st.Replicas {
		if got := c.rows(t, i, "SELECT id FROM item ORDER BY id"); !slices.Equal(got, want) {
			t.Errorf("r%d has the rows %q, want %q", i+1, got, want)
		}
	}
}

func statusOf(t *testing.T, conn *sql.Conn, name string) (n int) {
	t.Helper()
	must(t, conn.QueryRowContext(fanout.OnFirst(t.Context()), "SHOW SESSION STATUS LIKE '"+name+"'").Scan(&name, &n))
	return n
}

// nothingOpen fails when a connection to the test's databases has a transaction open.
func nothingOpen(t *testing.T, c *cluster) {
	t.Helper()
	for i := range c.dbs {
		open := c.rows(t, i, "SELECT CONCAT_WS(' ', t.trx_state, p.id, p.info) FROM information_schema.innodb_trx t "+
			"JOIN information_schema.processlist p ON p.id = t.trx_mysql_thread_id WHERE p.db = DATABASE() AND p.id <> CONNECTION_ID()")
		if len(open) > 0 {
			t.Errorf("r%d has transactions open: %q", i+1, open)
		}
	}
}

// TestSameRowEverywhere holds what the servers themselves put into a row against each other, and shows that the pins do
// not leak into later statements.
func TestSameRowEverywhere(t *testing.T) {
	t.Parallel()
	for _, engine := range infratest.Engines(t) {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			c := startCluster(t, engine, 2)
			c.execShop(t, "CREATE TABLE made (id BIGINT AUTO_INCREMENT PRIMARY KEY, v INT, at TIMESTAMP(6) DEFAULT CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6), d DATETIME(6))")
			c.execOn(t, 1, "ALTER TABLE made AUTO_INCREMENT = 1000") // ids would differ if they were not forwarded
			c.execOn(t, 0, "INSERT INTO made (id, v, at, d) VALUES (7, 0, '2020-01-01', '2020-01-01')")
			c.execOn(t, 1, "INSERT INTO made (id, v, at, d) VALUES (7, 0, '2020-01-01', '2020-01-01')")
			p := c.open(t, c.config(fanout.ModeOrdered))
			conn, err := p.DB().Connx(t.Context())
			must(t, err)
			defer conn.Close()
			for _, text := range []string{
				"INSERT INTO made (v, d) VALUES (1, NOW(6)), (2, NOW(6))",
				"INSERT INTO made (id, v) VALUES (500, 3)",
				"INSERT INTO made (v) VALUES (4)",
				"INSERT INTO made (v, d) VALUES (LAST_INSERT_ID(), UTC_TIMESTAMP(6))",
				"UPDATE made SET v = 9 WHERE id = 7",
			} {
				_, err := conn.ExecContext(t.Context(), text)
				must(t, err)
			}
			if n := c.differing(t, "SELECT CONCAT_WS('/', id, v, at, d) FROM made"); n > 0 {
				t.Errorf("%d rows differ:\n%s\n%s", n, c.rows(t, 0, "SELECT CONCAT_WS('/', id, v, at, d) FROM made"), c.rows(t, 1, "SELECT CONCAT_WS('/', id, v, at, d) FROM made"))
			}
			for range 5 {
				var now float64
				before := float64(time.Now().UnixMicro())/1e6 - 0.1 // what the kernel's coarse clock may be late by
				must(t, conn.QueryRowContext(t.Context(), "SELECT UNIX_TIMESTAMP(NOW(6))").Scan(&now))
				if after := float64(time.Now().UnixMicro())/1e6 + 0.1; now < before || now > after {
					t.Errorf("after the writes a query's NOW() is %.3f, the clock's time from %.3f to %.3f", now, before, after)
				}
				time.Sleep(20 * time.Millisecond)
			}
		})
	}
}

func TestSchemaChanges(t *testing.T) {
	t.Parallel()
	for _, engine := range infratest.Engines(t) {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			c := startCluster(t, engine, 2)
			p := c.open(t, c.config(fanout.ModeOrdered))
			for _, text := range []string{"CREATE TABLE t (id INT PRIMARY KEY)", "ALTER TABLE t ADD v INT", "INSERT INTO t VALUES (1, 1)"} {
				_, err := p.DB().Exec(text)
				must(t, err)
			}
			c.execOn(t, 1, "CREATE TABLE u (id INT)")
			if _, err := p.DB().Exec("CREATE TABLE u (id INT)"); err != nil {
				t.Errorf("got %v, want success and r2 ejected", err)
			}
			if got := states(t, p); got[1] != fanout.Ejected {
				t.Errorf("states %q, want r2 ejected, as the DDL failed there", got)
			}
			_, err := p.Admit(t.Context(), "r2")
			must(t, err)
			c.execOn(t, 1, "ALTER TABLE t ADD KEY (v)")
			if _, err := fanout.Open(t.Context(), c.config(fanout.ModeOrdered)); !errors.Is(err, fanout.ErrSchema) || !strings.Contains(err.Error(), "KEY `v`") {
				t.Errorf("Open over schemas that differ: got %v, want ErrSchema that names the index", err)
			}
		})
	}
}

func TestSessionStaysOnOneReplica(t *testing.T) {
	t.Parallel()
	for _, engine := range infratest.Engines(t) {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			c := startCluster(t, engine, 2)
			p := c.open(t, c.config(fanout.ModeOrdered))
			ctx := fanout.Session(t.Context())
			in, out := map[int]int{}, map[int]int{}
			for range 100 {
				var port int
				must(t, p.DB().GetContext(ctx, &port, "SELECT @@port"))
				in[port]++
				must(t, p.DB().Get(&port, "SELECT @@port"))
				out[port]++
				must(t, p.DB().GetContext(fanout.OnFirst(t.Context()), &port, "SELECT @@port"))
				if port != c.dbs[0].Port {
					t.Errorf("OnFirst read from port %d, want %d", port, c.dbs[0].Port)
				}
			}
			if len(in) != 1 || len(out) != 2 {
				t.Errorf("a session read from %d servers, other reads from %d; want 1 and 2", len(in), len(out))
			}
		})
	}
}

// TestInitializeDropsTheDatabase lets an app's initialize recreate the databases, around the pool, whose own tables are gone with them.
func TestInitializeDropsTheDatabase(t *testing.T) {
	for _, engine := range infratest.Engines(t) {
		t.Run(engine, func(t *testing.T) {
			c := startCluster(t, engine, 2)
			table := "CREATE TABLE t (id INT PRIMARY KEY, v INT)"
			c.execShop(t, table)
			p := c.open(t, c.config(fanout.ModeDurable))
			for _, db := range c.dbs {
				db.Exec(t, "DROP DATABASE "+c.name)
				db.Exec(t, "CREATE DATABASE "+c.name)
			}
			c.execShop(t, table)
			wait.ForNil(t, "a write", func() error {
				_, err := p.DB().Exec("INSERT INTO t VALUES (1, 1)")
				return err
			})
			must(t, p.Eject(t.Context(), "r2", "by the test"))
			if got := c.rows(t, 0, "SELECT state FROM isukit_fanout_replica WHERE replica = 'r2'"); !slices.Equal(got, []string{"ejected"}) {
				t.Errorf("r1 has recorded %q of r2, want that it was ejected", got)
			}
			if got := c.rows(t, 0, "SELECT reason FROM isukit_fanout_replica WHERE replica = '*order'"); !slices.Equal(got, []string{"r1,r2"}) {
				t.Errorf("r1 has recorded %q as the order, want r1,r2", got)
			}
		})
	}
}
