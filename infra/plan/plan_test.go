package plan_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"isukit/infra/plan"
)

func item(kind plan.Kind, name, owner, content string) plan.Item {
	return plan.Item{Kind: kind, Name: name, Owner: owner, Hash: plan.Hash([]byte(content)), Made: true}
}

func wanted(kind plan.Kind, name, owner, content string, needs ...string) plan.Wanted {
	return plan.Wanted{Item: item(kind, name, owner, content), Text: []byte(content), Needs: needs}
}

func there(kind plan.Kind, name, owner, content string) plan.Actual {
	return plan.Actual{Item: item(kind, name, owner, content), Text: []byte(content), Exists: true, Running: kind == plan.Service}
}

func TestDiff(t *testing.T) {
	const cnf = "/d/db-1/my.cnf"
	half := item(plan.File, cnf, "db-1", "pool = 2\n")
	half.Made, half.Was = false, plan.Hash([]byte("pool = 1\n"))
	ended := there(plan.Service, "db-1", "db-1", "v1")
	ended.Running, ended.Exit = false, "signal: killed"
	tuned := item(plan.File, cnf, "db-1", "pool = 1\n")
	tuned.Tuned = plan.Hash([]byte("pool = 1\nflush = 2\n"))
	for name, tt := range map[string]struct {
		want      []plan.Wanted
		inventory []plan.Item
		actual    []plan.Actual
		text      string
	}{
		"nothing to do": {
			[]plan.Wanted{wanted(plan.File, cnf, "db-1", "pool = 1\n")},
			[]plan.Item{item(plan.File, cnf, "db-1", "pool = 1\n")},
			[]plan.Actual{there(plan.File, cnf, "db-1", "pool = 1\n")}, ""},
		"all new": {
			[]plan.Wanted{wanted(plan.File, cnf, "db-1", "pool = 1\n"), wanted(plan.Service, "db-1", "db-1", "v1")}, nil, nil,
			"s1\n  create  my.cnf of db-1\n  create  service db-1\n"},
		"a size changes": {
			[]plan.Wanted{wanted(plan.File, cnf, "db-1", "[mysqld]\npool = 2\n"), wanted(plan.Service, "db-1", "db-1", "v2", "my.cnf")},
			[]plan.Item{item(plan.File, cnf, "db-1", "[mysqld]\npool = 1\n"), item(plan.Service, "db-1", "db-1", "v1")},
			[]plan.Actual{there(plan.File, cnf, "db-1", "[mysqld]\npool = 1\n"), there(plan.Service, "db-1", "db-1", "v1")},
			"s1\n  change  my.cnf of db-1\n            pool = 1 -> pool = 2\n  restart service db-1 (my.cnf changed)\n"},
		"no longer declared": {
			nil,
			[]plan.Item{item(plan.File, cnf, "db-1", "x"), item(plan.Service, "db-1", "db-1", "v1")},
			[]plan.Actual{there(plan.File, cnf, "db-1", "x"), there(plan.Service, "db-1", "db-1", "v1")},
			"s1\n  remove  service db-1\n  remove  my.cnf of db-1\n"},
		"somebody else's": {
			[]plan.Wanted{wanted(plan.File, cnf, "db-1", "pool = 2\n")},
			[]plan.Item{item(plan.File, cnf, "db-1", "pool = 1\n"), item(plan.File, "/d/x", "", "x")},
			[]plan.Actual{there(plan.File, cnf, "db-1", "pool = 77\n"), there(plan.File, "/d/x", "", "y")},
			"s1\n  change  my.cnf of db-1 [changed outside isukit]\n            pool = 77 -> pool = 2\n  remove  /d/x [changed outside isukit]\n"},
		"tunings in a file that stays": {
			[]plan.Wanted{wanted(plan.File, cnf, "db-1", "pool = 1\n")}, []plan.Item{tuned},
			[]plan.Actual{there(plan.File, cnf, "db-1", "pool = 1\nflush = 2\n")}, ""},
		"tunings in a file that changes": {
			[]plan.Wanted{wanted(plan.File, cnf, "db-1", "pool = 2\n")}, []plan.Item{tuned},
			[]plan.Actual{there(plan.File, cnf, "db-1", "pool = 1\nflush = 2\n")},
			"s1\n  change  my.cnf of db-1 [tunings are applied to it]\n            pool = 1 -> pool = 2\n            - flush = 2\n"},
		"tunings in a file that goes": {
			nil, []plan.Item{tuned}, []plan.Actual{there(plan.File, cnf, "db-1", "pool = 1\nflush = 2\n")},
			"s1\n  remove  my.cnf of db-1 [tunings are applied to it]\n"},
		"somebody else's change over tunings": {
			[]plan.Wanted{wanted(plan.File, cnf, "db-1", "pool = 1\n")}, []plan.Item{tuned},
			[]plan.Actual{there(plan.File, cnf, "db-1", "pool = 9\nflush = 2\n")},
			"s1\n  change  my.cnf of db-1 [changed outside isukit]\n            pool = 9 -> pool = 1\n            - flush = 2\n"},
		"cut off while it was changed": {
			[]plan.Wanted{wanted(plan.File, cnf, "db-1", "pool = 3\n")}, []plan.Item{half},
			[]plan.Actual{there(plan.File, cnf, "db-1", "pool = 1\n")},
			"s1\n  change  my.cnf of db-1\n            pool = 1 -> pool = 3\n"},
		"a service that ended": {
			[]plan.Wanted{wanted(plan.Service, "db-1", "db-1", "v1")}, []plan.Item{item(plan.Service, "db-1", "db-1", "v1")},
			[]plan.Actual{ended}, "s1\n  start   service db-1 (it has ended (signal: killed))\n"},
	} {
		h := plan.Diff(tt.want, tt.inventory, tt.actual)
		h.Name = "s1"
		if diff := cmp.Diff(tt.text, h.Text()); diff != "" {
			t.Errorf("%s: -want +got\n%s", name, diff)
		}
	}
}

func TestLines(t *testing.T) {
	for _, tt := range []struct {
		before, after string
		want          []string
	}{
		{"a\nb\nc\n", "a\nb\nc\n", nil},
		{"a\n  b 1;\nc\n", "a\n  b 2;\nc\n", []string{"b 1; -> b 2;"}},
		{"a\nc\n", "a\nb\nc\n", []string{"+ b"}},
		{"a\nb\nc\n", "c\n", []string{"- a", "- b"}},
	} {
		if got := plan.Lines(tt.before, tt.after); !slices.Equal(got, tt.want) {
			t.Errorf("Lines(%q, %q): got %q, want %q", tt.before, tt.after, got, tt.want)
		}
	}
	if got := plan.Lines("", strings.Repeat("x\n", 1000)); len(got) != 21 {
		t.Errorf("a thousand new lines: got %d, want 20 and how many more", len(got))
	}
}
