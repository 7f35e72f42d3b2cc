package diff_test

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"isukit/bench/diff"
	"isukit/bench/result"
)

func route(path string, n int64, ms float64) result.Route {
	return result.Route{Method: "GET", Path: path, Hits: n, Request: result.Spread{Count: n, SumSeconds: float64(n) * ms / 1000, P50Ms: ms, P99Ms: 3 * ms}}
}

func TestOf(t *testing.T) {
	a := &result.Round{LoadSeconds: 60, Topology: "t", Score: result.Score{Total: 600}, Facts: []result.Fact{{Key: "commit", Value: "a"}, {Key: "kernel", Value: "6"}},
		Access:   result.AccessDigest{Routes: []result.Route{route("/", 100, 10), route("/slow", 100, 100), route("/gone", 1, 1)}},
		Settings: []result.Settings{{Host: "s1", Source: "sysctl", Values: map[string]string{"somaxconn": "128", "same": "1"}}, {Host: "s1", Source: "nginx", Values: map[string]string{"x": "1"}}},
		Roles:    []result.RoleUsage{{Role: "db", Host: "s1", MeanCores: 1}, {Role: "app", Host: "s1", MeanCores: 0.5}},
	}
	b := &result.Round{LoadSeconds: 60, Topology: "t", Score: result.Score{Total: 1500}, Facts: []result.Fact{{Key: "commit", Value: "b"}, {Key: "kernel", Value: "6"}, {Key: "tuning", Value: "x"}},
		Access:   result.AccessDigest{Routes: []result.Route{route("/", 110, 10), route("/slow", 200, 10)}},
		Settings: []result.Settings{{Host: "s1", Source: "sysctl", Values: map[string]string{"somaxconn": "4096", "same": "1"}}},
		Roles:    []result.RoleUsage{{Role: "db", Host: "s1", MeanCores: 0.9}, {Role: "app", Host: "s1", MeanCores: 1.5}},
	}
	d := diff.Of(a, b)
	want := []diff.Change{{"fact", "commit", "a", "b"}, {"fact", "tuning", "", "x"}, {"s1: sysctl", "somaxconn", "128", "4096"}}
	if diff := cmp.Diff(want, d.Changed); diff != "" {
		t.Errorf("changed (- want, + got):\n%s", diff)
	}
	var moved []string
	for _, m := range d.Moved {
		if m.Figure == "score" || m.Figure == "sum s" || m.Figure == "cores" {
			moved = append(moved, fmt.Sprintf("%s %s %.4g>%.4g %v%v", m.Group, m.Name, m.From, m.To, m.OnlyA, m.OnlyB))
		}
	}
	wantMoved := []string{"round  600>1500 falsefalse", "route GET /slow 10>2 falsefalse", "route GET / 1>1.1 falsefalse", "route GET /gone 0.001>0 truefalse", "cpu app@s1 0.5>1.5 falsefalse", "cpu db@s1 1>0.9 falsefalse"}
	if diff := cmp.Diff(wantMoved, moved); diff != "" {
		t.Errorf("moved (- want, + got):\n%s", diff)
	}
	if same := diff.Of(a, a); len(same.Changed) > 0 || len(same.Moved) != 1 || same.Moved[0].Relative() != 0 {
		t.Errorf("a round and itself: %+v", same)
	}
}

// TestQueriesOfSeveralDatabases adds up one query of two databases, and does not count lines without a statement.
func TestQueriesOfSeveralDatabases(t *testing.T) {
	query := func(host string, n int64) result.Query {
		return result.Query{Fingerprint: "select ?", Host: host, Time: result.Spread{Count: n, SumSeconds: float64(n) / 100}, RowsExamined: 3 * n}
	}
	a := &result.Round{LoadSeconds: 60, Queries: result.QueryDigest{Statements: 105, Unreadable: 5, Queries: []result.Query{query("s1", 70), query("s2", 30)}}}
	b := &result.Round{LoadSeconds: 60, Queries: result.QueryDigest{Statements: 50, Queries: []result.Query{query("s1", 50)}}}
	got := map[string][2]float64{}
	for _, m := range diff.Of(a, b).Moved {
		got[m.Group+" "+m.Figure] = [2]float64{m.From, m.To}
	}
	want := map[string][2]float64{"round statements": {100, 50}, "query sum s": {1, 0.5}, "query count": {100, 50}, "query mean ms": {10, 10}, "query examined": {300, 150}}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(- want, + got):\n%s", d)
	}
}

// TestUnlikeLoads compares a long round with a short one of the same rate: nothing has moved but the score.
func TestUnlikeLoads(t *testing.T) {
	round := func(secs float64) *result.Round {
		n := int64(10 * secs)
		return &result.Round{Scenario: "portal", LoadSeconds: secs, Score: result.Score{Total: 2 * n}, All: result.Endpoint{Hits: n, Errors: n / 10},
			Phases:    []result.Phase{{Name: "load", DurationSeconds: secs}},
			Endpoints: []result.Endpoint{{Name: "GET /", Hits: n, Latency: result.Latency{P50Ms: 3, P99Ms: 9}}}}
	}
	d := diff.Of(round(30), round(10))
	if want := []diff.Change{{"round", "load", "30 s", "10 s"}}; !cmp.Equal(want, d.Changed) {
		t.Errorf("changed: %s", cmp.Diff(want, d.Changed))
	}
	for _, m := range d.Moved {
		if (m.Figure == "score") == (m.Relative() == 0) {
			t.Errorf("%s %s: %g -> %g", m.Name, m.Figure, m.From, m.To)
		}
	}
	if !d.PerMinute || len(d.Moved) != 4 {
		t.Errorf("per minute %v, moved %+v", d.PerMinute, d.Moved)
	}
}
