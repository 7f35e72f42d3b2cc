package query_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"isukit/infra/digest/query"
	"isukit/infra/infratest"
	"isukit/infra/infratest/wait"
)

// TestRealSlowLogs sends known statements to real servers and wants every one of them counted. With
// ISUKIT_PT_QUERY_DIGEST=/path/of/pt-query-digest that program reads the same log, and counts, sums and 95th percentiles
// are compared.
func TestRealSlowLogs(t *testing.T) {
	for _, engine := range infratest.Engines(t) {
		t.Run(engine, func(t *testing.T) {
			log := filepath.Join(t.TempDir(), "slow.log")
			db := infratest.StartDB(t, engine, "--slow-query-log=ON", "--long-query-time=0", "--slow-query-log-file="+log)
			began := time.Now().Truncate(time.Second)
			want := sendKnown(t, db)
			d := query.New(query.Options{From: began, To: time.Now().Add(2 * time.Second)})
			text := readThrough(t, log, "SELECT 'the last one'")
			if err := d.Read(t.Context(), log, strings.NewReader(string(text))); err != nil {
				t.Fatal(err)
			}
			out := d.Digest()
			if out.Unreadable > 0 {
				t.Errorf("%d of %d unreadable: %+v", out.Unreadable, out.Statements, out.Examples)
			}
			found := map[string]*query.Query{}
			for _, q := range out.Queries {
				found[q.Fingerprint] = q
			}
			for fingerprint, n := range want {
				if q := found[fingerprint]; q == nil || q.Time.Count != n || q.Time.Sum <= 0 {
					t.Errorf("%s: found %+v, want a count of %d", fingerprint, q, n)
				}
			}
			if q := found["select * from app.t where id = ?"]; q != nil && (q.Routes["GET /t/:id"] != q.Time.Count || q.RowsSent != q.Time.Count) {
				t.Errorf("select by id: %+v", q)
			}
			if pt := os.Getenv("ISUKIT_PT_QUERY_DIGEST"); pt != "" {
				againstPT(t, pt, log, string(text))
			}
		})
	}
}

func sendKnown(t *testing.T, db *infratest.DB) map[string]int64 {
	t.Helper()
	pool := db.Open(t, "")
	want := map[string]int64{}
	send := func(fingerprint, statement string) {
		if _, err := pool.ExecContext(t.Context(), statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
		want[fingerprint]++
	}
	send("create database app", "CREATE DATABASE app")
	send("create table app.t (id int primary key, name varchar(?))", "CREATE TABLE app.t (id INT PRIMARY KEY, name VARCHAR(20))")
	for i := range 200 {
		send("insert into app.t (id, name) values (?+)", fmt.Sprintf("INSERT INTO app.t (id, name) VALUES (%d, 'x%d; -- y'), (%d, \"z\\\"\")", 2*i, i, 2*i+1))
		send("select * from app.t where id = ?", fmt.Sprintf("SELECT * FROM app.t WHERE id = %d /* GET /t/:id */", i))
		send("select count(*) from app.t where name in (?+)", fmt.Sprintf("select COUNT(*) from app.t\nwhere name IN ('a'%s)", strings.Repeat(", 'b'", i%7)))
	}
	send("select ?", "SELECT 'the last one'")
	return want
}

// readThrough returns the log once it holds the last statement: a server answers first and logs afterwards.
func readThrough(t *testing.T, log, last string) []byte {
	t.Helper()
	var text []byte
	wait.For(t, fmt.Sprintf("the server to log %q", last), func() (ok bool) {
		var err error
		if text, err = os.ReadFile(log); err != nil {
			t.Fatal(err)
		}
		i := bytes.LastIndex(text, []byte(last))
		return i >= 0 && bytes.IndexByte(text[i:], '\n') >= 0
	})
	return text
}

// againstPT compares with pt-query-digest's JSON of the same log, whole.
func againstPT(t *testing.T, pt, log, text string) {
	t.Helper()
	if found, err := exec.LookPath(pt); err == nil {
		pt = found // a bare name
	}
	began := time.Now()
	raw, err := exec.Command("perl", pt, "--output", "json", "--limit", "100%", "--no-version-check", log).Output()
	if err != nil {
		t.Fatal(err)
	}
	theirTime := time.Since(began)
	var theirs struct {
		Classes []struct {
			Fingerprint string
			QueryCount  int64 `json:"query_count"`
			Metrics     map[string]struct {
				Sum string
				P95 string `json:"pct_95"`
				Max string
			}
		}
	}
	if err := json.Unmarshal(raw, &theirs); err != nil {
		t.Fatal(err)
	}
	began = time.Now()
	d := query.New(query.Options{})
	if err := d.Read(t.Context(), log, strings.NewReader(text)); err != nil {
		t.Fatal(err)
	}
	ours := map[string]*query.Query{}
	for _, q := range d.Digest().Queries {
		ours[loose(q.Fingerprint)] = q
	}
	t.Logf("pt-query-digest took %.0f times as long", float64(theirTime)/float64(time.Since(began)))
	for _, c := range theirs.Classes {
		q := ours[loose(c.Fingerprint)]
		if q == nil {
			t.Errorf("pt-query-digest has %d of %q, which is missing", c.QueryCount, c.Fingerprint)
			continue
		}
		var sum, p95 float64
		fmt.Sscan(c.Metrics["Query_time"].Sum, &sum)
		fmt.Sscan(c.Metrics["Query_time"].P95, &p95)
		if q.Time.Count != c.QueryCount || math.Abs(q.Time.Sum.Seconds()-sum) > 1e-5 {
			t.Errorf("%q: %d in %v, pt-query-digest has %d in %v", c.Fingerprint, q.Time.Count, q.Time.Sum, c.QueryCount, sum)
		}
		// Its buckets are 5 % wide.
		if got := q.Time.Quantile(0.95).Seconds(); c.QueryCount > 20 && math.Abs(got-p95) > 0.055*p95+2e-6 {
			t.Errorf("%q: p95 %v s, pt-query-digest has %v s", c.Fingerprint, got, p95)
		}
	}
}

// loose evens out in what the two write fingerprints differently.
func loose(fingerprint string) string {
	return strings.NewReplacer(" ", "", "?+", "?").Replace(strings.ToLower(fingerprint))
}
