package fanouttest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/jmoiron/sqlx"

	"forge.example/account/isukit/app/fanout"
	"isukit/infra/infratest"
)

// splitConfig places job and result on the first server, everything else on the others.
func splitConfig(c *cluster) fanout.Config {
	cfg := c.config("")
	var rest []string
	for _, r := range cfg.Replicas[1:] {
		rest = append(rest, r.Name)
	}
	cfg.Groups = []fanout.Group{
		{Name: "jobs", Replicas: []string{"r1"}, Tables: []string{"job", "result"}},
		{Name: "rest", Replicas: rest, Tables: []string{"*"}},
	}
	return cfg
}

func TestGroupsOfTables(t *testing.T) {
	t.Parallel()
	for _, engine := range infratest.Engines(t) {
		for _, servers := range []int{2, 3} {
			t.Run(fmt.Sprintf("%s/%d", engine, servers), func(t *testing.T) {
				t.Parallel()
				c := startCluster(t, engine, servers)
				for i := range c.dbs {
					if i == 0 {
						c.execOn(t, i, "CREATE TABLE job (id INT PRIMARY KEY)", "CREATE TABLE result (id INT PRIMARY KEY, job INT)")
					} else {
						c.execOn(t, i, "CREATE TABLE team (id INT PRIMARY KEY)")
					}
				}
				c.execOn(t, 0, "CREATE TABLE team (id INT PRIMARY KEY)") // left over from before the split; no group reads it there
				p := c.open(t, splitConfig(c))
				useGroups(t, p)
				refuseAcrossGroups(t, p)
				report, err := p.Check(t.Context(), fanout.CheckOptions{})
				must(t, err)
				var tables []string
				for _, tc := range report.Tables {
					tables = append(tables, fmt.Sprint(tc.Table, " ", tc.Rows))
				}
				if want := []string{"job 11", "result 10", "team 10"}; !report.Clean() || !slices.Equal(tables, want) {
					t.Errorf("Check found %q, want %q; %s", tables, want, report)
				}
			})
		}
	}
}

func useGroups(t *testing.T, p *fanout.Pool) {
	t.Helper()
	for i := range 10 {
		err := p.InTx(t.Context(), nil, func(tx *sqlx.Tx) error {
			if _, err := tx.Exec("INSERT INTO job VALUES (?)", i); err != nil {
				return err
			}
			_, err := tx.Exec("INSERT INTO result VALUES (?, ?)", i, i)
			return err
		})
		must(t, err)
		_, err = p.DB().Exec("INSERT INTO team VALUES (?)", i)
		must(t, err)
	}
	session := fanout.Session(t.Context())
	for range 20 { // a session stays on one replica of each group
		var jobs, teams int
		must(t, p.DB().GetContext(session, &jobs, "SELECT COUNT(*) FROM job"))
		must(t, p.DB().GetContext(session, &teams, "SELECT COUNT(*) FROM team"))
		if jobs != 10 || teams != 10 {
			t.Errorf("a session saw %d jobs and %d teams, want 10 of each", jobs, teams)
		}
	}
	var n int
	must(t, p.DB().Get(&n, "SELECT COUNT(*) FROM job JOIN result ON job.id = result.job"))
	if n != 10 {
		t.Errorf("%d results with their jobs, want 10", n)
	}
	stmt, err := p.DB().Prepare("INSERT INTO job VALUES (?)")
	must(t, err)
	defer stmt.Close()
	_, err = stmt.Exec(100)
	must(t, err)
}

func refuseAcrossGroups(t *testing.T, p *fanout.Pool) {
	t.Helper()
	if _, err := p.DB().Exec("DELETE job FROM job JOIN team ON job.id = team.id"); !errors.Is(err, fanout.ErrGroups) || !strings.Contains(err.Error(), "jobs") {
		t.Errorf("a statement over two groups: got %v, want ErrGroups that names them", err)
	}
	err := p.InTx(t.Context(), nil, func(tx *sqlx.Tx) error {
		if _, err := tx.Exec("INSERT INTO job VALUES (50)"); err != nil {
			return err
		}
		_, err := tx.Exec("INSERT INTO team VALUES (50)")
		return err
	})
	if !errors.Is(err, fanout.ErrGroups) {
		t.Errorf("a transaction over two groups: got %v, want ErrGroups", err)
	}
	var n int
	must(t, p.DB().Get(&n, "SELECT COUNT(*) FROM job WHERE id = 50"))
	if n != 0 {
		t.Error("the refused transaction left its first statement behind")
	}
}

func TestValidateGroups(t *testing.T) {
	cfg := fanout.Config{
		Replicas: []fanout.Replica{{Name: "a", DSN: "u@tcp(h)/d"}, {Name: "b", DSN: "u@tcp(i)/d"}, {Name: "c", DSN: "u@tcp(j)/d"}},
		Groups: []fanout.Group{
			{Name: "x", Replicas: []string{"a", "z"}, Tables: []string{"t", "u"}},
			{Name: "y", Replicas: []string{"a", "b"}, Tables: []string{"U"}},
			{Name: "", Tables: []string{"v"}},
		},
	}
	err := cfg.Validate()
	for _, part := range []string{`table "U" is in group "x" and in group "y"`, `replica "a" is in group "x" and in group "y"`,
		`names replica "z"`, `replica "c" is in no group`, "has 1 tables and 0 replicas", `group name ""`} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("Validate gives\n%v\nwithout %q", err, part)
		}
	}
}
