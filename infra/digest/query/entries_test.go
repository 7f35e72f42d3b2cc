package query_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"isukit/infra/digest/query"
)

// entryLog writes a log whose entries took 1, 2, 4, ... µs, so that a sum shows which of them were counted.
func entryLog(preambles []string, statements ...string) string {
	var b strings.Builder
	for i, s := range statements {
		fmt.Fprintf(&b, "# Time: 2026-10-14T20:26:40.%06dZ\n# User@Host: isu[isu] @ localhost []  Id:     8\n# Query_time: %.6f  Lock_time: 0.000000 Rows_sent: 1  Rows_examined: 1\n%s%s;\n",
			i, 0.000001*float64(int(1)<<i), preambles[i%len(preambles)], s)
	}
	return b.String()
}

// TestEveryEntryCounts: an entry is the text between two headers, with any content.
func TestEveryEntryCounts(t *testing.T) {
	const imitation = ";\n# Time: 2026-10-14T20:26:40.500000Z\n# User@Host: a[a] @ b []  Id: 1\n# Query_time: 900.0  Lock_time: 0 Rows_sent: 1  Rows_examined: 1\nSET timestamp=1792009600;\nx"
	statements := []string{
		"use other", "SET timestamp=1792009600", "SET timestamp=1792009600.5", "set timestamp = default", "USE `quoted`", "SET insert_id=4", "SELECT 1",
		"select 1 /* " + imitation + " */", "select '" + imitation + "'", "select \"" + imitation + "\"", "select `" + imitation + "` from t", "select /*! " + imitation + " */ 1",
		"select 1 -- a;\n# Time: soon\n from t", "# Query_time: 5\nselect 2", "select 3 # end;", "-- first\nselect 4", "select 'C:\\'", "# administrator command: Init DB", "SELECT 'it''s; \\' fine'", "commit",
	}
	for _, preambles := range [][]string{
		{"SET timestamp=1792009600;\n"}, {"use isuconp;\nSET timestamp=1792009600;\n", "SET timestamp=1792009600;\n"},
		{"SET last_insert_id=7,insert_id=8,timestamp=1792009600;\n", "SET insert_id=8,timestamp=1792009600.25;\n"},
	} {
		d := digestOf(t, query.Options{From: time.Unix(1792009599, 0), To: time.Unix(1792009601, 0)}, entryLog(preambles, statements...))
		var counted int64
		var sum time.Duration
		for _, q := range d.Queries {
			counted, sum = counted+q.Time.Count, sum+q.Time.Sum
		}
		if n := int64(len(statements)); counted != n || d.Statements != n || d.Unreadable+d.Outside != 0 || sum != (1<<n-1)*time.Microsecond {
			t.Errorf("%q: %d of %d statements in %v (want %v), %d unreadable, %d outside", preambles, counted, n, sum, (1<<n-1)*time.Microsecond, d.Unreadable, d.Outside)
		}
	}
	// A server that writes no timestamp: the statement may be all that stands where a preamble does.
	if d := digestOf(t, query.Options{}, entryLog([]string{""}, "use a", "SET timestamp=1", "select 1")); d.Statements != 3 || len(d.Queries) != 3 {
		t.Errorf("without preambles: %d statements, %d queries, want 3 and 3", d.Statements, len(d.Queries))
	}
	limited := strings.Replace(mysqlLog, "Rows_examined: 1000", "Rows_examined: 1000\n# Log_slow_rate_type: query  Log_slow_rate_limit: 10", 1)
	pinned := strings.ReplaceAll(mysqlLog, "SET timestamp=179", "SET timestamp=100")
	if d := digestOf(t, query.Options{From: time.Unix(1792009600, 0), To: time.Unix(1792009603, 0)}, pinned); d.Outside != 0 {
		t.Errorf("%d statements of a session that set its timestamp are outside the window that they ran in", d.Outside)
	}
	if d := digestOf(t, query.Options{}, limited); d.Sampled != 10 {
		t.Errorf("one statement of %d was logged, want 10", d.Sampled)
	}
}
