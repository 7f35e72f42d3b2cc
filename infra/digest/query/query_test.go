package query_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"isukit/infra/digest/query"
)

func TestFingerprint(t *testing.T) {
	for statement, want := range map[string]string{
		"SELECT * FROM `posts` WHERE `user_id` = 12 ORDER BY `created_at` DESC LIMIT 20": "select * from `posts` where `user_id` = ? order by `created_at` desc limit ?",
		"select *  from t -- note\n where a='it''s' and b=\"x\\\"y\"; ":                  "select * from t where a=? and b=?",
		"select /* route:/a */ 1":                                                             "select ?",
		"select * from t where id in (1,2,3) and x IN ('a', 'b')":                             "select * from t where id in (?+) and x in (?+)",
		"select * from t where id in (1)":                                                     "select * from t where id in (?+)",
		"select f(1, 2) from t1 where a > -1.5e-3 and b = 0x4D limit 10, 20":                  "select f(?, ?) from t1 where a > ? and b = ? limit ?",
		"INSERT INTO t (a, b) VALUES (1, 'x (y)'), (2, NULL) ON DUPLICATE KEY UPDATE a=1":     "insert into t (a, b) values (?+) on duplicate key update a=?",
		"insert into t values(1,now()),(2,now())":                                             "insert into t values (?+)",
		"insert into t (a) values (1) on duplicate key update a = values(a), b = values(`b`)": "insert into t (a) values (?+) on duplicate key update a = values(a), b = values(`b`)",
		"select a-1, b - 2 from t":                                                            "select a-?, b - ? from t",
		"# administrator command: Ping;":                                                      "administrator command: Ping",
		"select x'4d', _utf8mb4'a', N'b' from t":                                              "select ?, ?, ? from t",
		"":                                                                                    "",
		"select 'never closed":                                                                "select ?",
		"select * from t where (a,b) in ((1,2), (-3,'x'))":                                    "select * from t where (a, b) in (?+)",
		"select * from t where (a,b) in ((1,2))":                                              "select * from t where (a, b) in (?+)",
		"select * from t where a in (select b from u where c in (1))":                         "select * from t where a in (select b from u where c in (?+))",
		"insert into t values row(1, 2), ROW (3, now())":                                      "insert into t values (?+)",
		"update t set a = case id when 1 then 'x' when 2 then 'y' when 3 then 'z' else a end": "update t set a = case id when ? then ? else a end",
		"select case when a = 1 then 2 when b = 1 then 2 end, case when c then 1 end":         "select case when a = ? then ? when b = ? then ? end, case when c then ? end",
		"select 1 union all select 2":                                                         "select ? union all select ?",
		"select 1 union all select 2 union all select 3 union all select 4":                   "select ? union all select ?",
		"select 1 union all select 2 union all select 3 order by 1 limit 2":                   "select ? union all select ? order by ? limit ?",
		"select * from ((select a from t where b=1) union (select a from t where b=2) union (select a from t where b=3)) as x": "select * from ((select a from t where b=?) union (select a from t where b=?)) as x",
		"select 1 where a in ()":              "select ? where a in (?+)",
		"SELECT ? WHERE `a` IN (...)":         "select ? where `a` in (?+)",
		"SELECT\tcol1,\tcol2 FROM db.t1 AS a": "select col1, col2 from db.t1 as a",
	} {
		if got := query.Fingerprint(statement + ";\n"); !strings.Contains(statement, "--") && got != query.Fingerprint(statement) {
			t.Errorf("%q in a log, with its semicolon: got %q", statement, got)
		}
		if got := query.Fingerprint(statement); got != want {
			t.Errorf("%q\n gives %q,\n want %q", statement, got, want)
		}
	}
}

const mysqlLog = `/usr/sbin/mysqld, Version: 9.7.0 (MySQL Community Server - GPL). started with:
Tcp port: 3306  Unix socket: /tmp/mysql.sock
Time                 Id Command    Argument
# Time: 2026-10-14T20:26:40.500000Z
# User@Host: isu[isu] @ localhost []  Id:     8
# Query_time: 0.250000  Lock_time: 0.000010 Rows_sent: 1  Rows_examined: 1000
use isuconp;
SET timestamp=1792009600;
SELECT * FROM users WHERE id = 1 /*route='%2Fusers%2F%3Aid',framework='x'*/;
# Time: 2026-10-14T20:26:41.500000Z
# User@Host: isu[isu] @ localhost []  Id:     8
# Query_time: 0.750000  Lock_time: 0.000020 Rows_sent: 2  Rows_examined: 3000
SET timestamp=1792009601;
SELECT *
# a comment: with a colon
FROM users
WHERE id = 2;
# Time: 2026-10-14T20:26:42.500000Z
# User@Host: isu[isu] @ localhost []  Id:     8
# Query_time: 0.000100  Lock_time: 0.000000 Rows_sent: 0  Rows_examined: 0
SET timestamp=1792009602;
# administrator command: Quit;
`

const mariadbLog = `/usr/sbin/mariadbd, Version: 10.11.6-MariaDB. started with:
Tcp port: 3306  Unix socket: /run/mysqld/mysqld.sock
Time		    Id Command	Argument
# Time: 261014 20:26:40
# User@Host: isu[isu] @ localhost []
# Thread_id: 12  Schema: isuconp  QC_hit: No
# Query_time: 0.250000  Lock_time: 0.000010  Rows_sent: 1  Rows_examined: 1000
# Rows_affected: 0  Bytes_sent: 61
#
# explain: id	select_type	table
#
SET timestamp=1792009600;
SELECT * FROM users WHERE id = 1 /* GET /users/:id */;
# User@Host: isu[isu] @ localhost []
# Thread_id: 12  Schema: isuconp  QC_hit: No
# Query_time: 0.750000  Lock_time: 0.000020  Rows_sent: 2  Rows_examined: 3000
# Rows_affected: 0  Bytes_sent: 61
SET timestamp=1792009601;
SELECT * FROM users WHERE id = 2;
# User@Host: isu[isu] @ localhost []
# Thread_id: 12  Schema: isuconp  QC_hit: No
# Query_time: 0.000100  Lock_time: 0.000000  Rows_sent: 0  Rows_examined: 0
# Rows_affected: 3  Bytes_sent: 61
SET timestamp=1792009602;
# administrator command: Quit;
`

func digestOf(t *testing.T, opts query.Options, log string) *query.Digest {
	t.Helper()
	d := query.New(opts)
	if err := d.Read(t.Context(), "slow.log", strings.NewReader(log)); err != nil {
		t.Fatal(err)
	}
	return d.Digest()
}

func TestSlowLogs(t *testing.T) {
	for name, c := range map[string]struct{ log, route string }{"mysql": {mysqlLog, "/users/:id"}, "mariadb": {mariadbLog, "GET /users/:id"}} {
		d := digestOf(t, query.Options{}, c.log)
		// MySQL's header has the end to the microsecond, MariaDB's preamble the start to the second.
		first, last := time.Unix(1792009600, 0), time.Unix(1792009602, 0)
		if name == "mysql" {
			first, last = first.Add(250*time.Millisecond), last.Add(499900*time.Microsecond)
		}
		if d.Statements != 3 || d.Unreadable != 0 || len(d.Queries) != 2 || !d.First.Equal(first) || !d.Last.Equal(last) {
			t.Fatalf("%s: %d statements, %d unreadable (%v), %d queries from %v to %v", name, d.Statements, d.Unreadable, d.Examples, len(d.Queries), d.First, d.Last)
		}
		q := d.Queries[0]
		got := fmt.Sprint(q.Fingerprint, "|", q.Database, q.Time.Count, q.Time.Sum, q.Time.Max, q.Lock, q.RowsSent, q.RowsExamined, q.Routes)
		want := fmt.Sprint("select * from users where id = ?|isuconp", 2, time.Second, 750*time.Millisecond, 30*time.Microsecond, 3, 4000, map[string]int64{c.route: 1})
		if got != want {
			t.Errorf("%s:\n got %s\nwant %s", name, got, want)
		}
		if !strings.Contains(q.Example, "id = 2") || !q.WholeExample {
			t.Errorf("%s: the example is %q, want the slowest", name, q.Example)
		}
		inside := digestOf(t, query.Options{From: time.Unix(1792009600, 5e8), To: time.Unix(1792009602, 0)}, c.log)
		if inside.Outside != 2 || len(inside.Queries) != 1 || inside.Queries[0].Time.Sum != 750*time.Millisecond {
			t.Errorf("%s: in the window of a second %d are outside, %d queries", name, inside.Outside, len(inside.Queries))
		}
	}
}

// TestDamagedSlowLog holds that every entry is accounted for.
func TestDamagedSlowLog(t *testing.T) {
	log := "FROM users WHERE the rotation cut it;\n" + mariadbLog + "# User@Host: a[a] @ b []\n# Thread_id: 1\nSELECT without_time;\n" +
		"# User@Host: a[a] @ b []\n# Query_time: 0.1  Lock_time: 0  Rows_sent: 1  Rows_examined: 1\nINSERT INTO t VALUES " + strings.Repeat("(1,'x'),", 200_000) + "(2,'y');\n" +
		"# User@Host: a[a] @ b []\n# Query_time: 0.1  Lock_time: 0  Rows_sent: 1  Rows_examined: 1\n"
	d := digestOf(t, query.Options{}, log)
	if d.Statements != 7 || d.Unreadable != 3 || len(d.Examples) != 3 || len(d.Queries) != 3 {
		t.Errorf("%d statements, %d unreadable: %+v; %d queries; want 7, 3, 3", d.Statements, d.Unreadable, d.Examples, len(d.Queries))
	}
	for _, q := range d.Queries {
		if strings.HasPrefix(q.Fingerprint, "insert") && (q.Fingerprint != "insert into t values (?+)" || len(q.Example) != query.MaxExampleBytes || q.WholeExample) {
			t.Errorf("the long statement: %q, example of %d bytes", q.Fingerprint, len(q.Example))
		}
	}
}

func TestRouteTags(t *testing.T) {
	for comment, want := range map[string]string{
		"/* GET /posts/:id */": "GET /posts/:id", "/*route='%2Fposts',controller='x'*/": "/posts", "/*application:A,controller:posts,action:index*/": "posts#index",
		"/* endpoint=/api/x */": "/api/x", "-- /initialize\n": "/initialize", "/* just words */": "", "/*+ MAX_EXECUTION_TIME(1000) */": "", "/*!40001 SQL_NO_CACHE */": "",
	} {
		log := strings.ReplaceAll(mariadbLog, "/* GET /users/:id */", comment)
		got := ""
		for tag := range digestOf(t, query.Options{}, log).Queries[0].Routes {
			got = tag
		}
		if got != want && !strings.HasPrefix(comment, "/*!") {
			t.Errorf("%s names %q, want %q", comment, got, want)
		}
	}
}

func TestSchema(t *testing.T) {
	before := "isu\tSELECT * FROM `t` WHERE `id` = ?\t10\t1000000000000\t500000000000\t1000000\t10\t100\t0\n"
	after := "isu\tSELECT * FROM `t` WHERE `id` = ?\t30\t2000000000000\t500000000000\t3000000\t40\t900\t0\n" +
		"isu\tINSERT INTO `t`\\nVALUES (...)\t5\t50000000000\t20000000000\t0\t0\t0\t5\n"
	d, err := query.FromSchema(before, after)
	if err != nil {
		t.Fatal(err)
	}
	got := []string{}
	for _, q := range d.Queries {
		got = append(got, fmt.Sprint(q.Fingerprint, "|", q.Time.Count, q.Time.Sum, q.Time.Max, q.Lock, q.RowsSent, q.RowsExamined, q.RowsAffected))
	}
	want := []string{
		fmt.Sprint("select * from `t` where `id` = ?|", 20, time.Second, 50*time.Millisecond, 2*time.Microsecond, 30, 800, 0),
		fmt.Sprint("insert into `t` values (?+)|", 5, 50*time.Millisecond, 20*time.Millisecond, time.Duration(0), 0, 0, 5),
	}
	if diff := cmp.Diff(want, got); diff != "" || d.Statements != 25 {
		t.Errorf("%d statements (- want, + got):\n%s", d.Statements, diff)
	}
	// Digests of other databases, and those whose texts differ in what a fingerprint leaves out, are of one query here.
	row := func(database, text string, n int) string {
		return fmt.Sprintf("%s\t%s\t%d\t%d000000000\t9000000000\t0\t1\t2\t0\n", database, text, n, n)
	}
	d, err = query.FromSchema(row("a", "SELECT 1 IN (?)", 1), row("a", "SELECT 1 IN (?)", 2)+row("a", "SELECT ? IN (?)", 3)+row("b", "SELECT 1 IN (?)", 5))
	if err != nil || len(d.Queries) != 1 || d.Statements != 9 {
		t.Fatalf("%d queries of %d statements, %v; want one of 9", len(d.Queries), d.Statements, err)
	}
	if q := d.Queries[0]; q.Time.Count != 9 || q.Time.Sum != 9*time.Millisecond || q.Time.Max != 9*time.Millisecond || q.RowsExamined != 4 || q.Database != "a" {
		t.Errorf("got %+v, want 9 times in 9 ms, 4 rows, first in a", q)
	}
	if _, err := query.FromSchema("", "ERROR 1142 (42000)"); err == nil {
		t.Error("an error message is taken for rows")
	}
}

func FuzzSlowLog(f *testing.F) {
	f.Add(mysqlLog)
	f.Add(mariadbLog)
	f.Fuzz(func(t *testing.T, log string) {
		d := query.New(query.Options{})
		if d.Read(t.Context(), "log", strings.NewReader(log)) != nil {
			return
		}
		out := d.Digest()
		var counted int64
		for _, q := range out.Queries {
			counted += q.Time.Count
		}
		if counted+out.Unreadable+out.Outside != out.Statements {
			t.Errorf("%d statements: %d counted, %d unreadable, %d outside", out.Statements, counted, out.Unreadable, out.Outside)
		}
	})
}
