package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"isukit/cmd/internal/ui"
	"isukit/infra/infratest"
)

// TestProjectRoundComparesReplicas plays rounds of a project that names replicas: one where they are equal, one where a row differs, and one
// where a database is gone; isukit replicas finds the same databases.
func TestProjectRoundComparesReplicas(t *testing.T) {
	t.Parallel()
	for _, engine := range infratest.Engines(t) {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			dir := standIn(t, "replicas: {databases: [{name: db-1, dsn_file: one.dsn}, {name: db-2, dsn_file: two.dsn}]}", hit+"hit /a\necho '{\"score\":1}'")
			dbs := []*infratest.DB{infratest.StartDB(t, engine), infratest.StartDB(t, engine)}
			for i, file := range []string{"one.dsn", "two.dsn"} {
				dbs[i].Exec(t, "CREATE DATABASE shop", "CREATE TABLE shop.item (id INT PRIMARY KEY, v INT)", "INSERT INTO shop.item VALUES (1, 1), (7, 1)")
				if err := os.WriteFile(filepath.Join(dir, file), []byte(dbs[i].RootDSN("shop")+"\n"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if code, r, _ := roundIn(t, dir, "round", "-q"); code != ui.ExitOK || !r.Passed {
				t.Errorf("equal databases: exit %d, %q", code, r.Reason)
			}
			dbs[1].Exec(t, "UPDATE shop.item SET v = 2 WHERE id = 7")
			if code, r, _ := roundIn(t, dir, "round", "-q"); code != ui.ExitRound || r.Passed || !strings.Contains(r.Reason, "table item, id=7") {
				t.Errorf("databases that differ: exit %d, %q, want row 7 of item named", code, r.Reason)
			}
			file := filepath.Join(dir, "isukit.yaml")
			for command, code := range map[string]int{"check": ui.ExitRound, "status": ui.ExitOK, "repair": ui.ExitFailed} {
				got, out, errText := isukitIn(t, "", "replicas", command, "--project", file)
				if got != code || !strings.Contains(out, "db-2") {
					t.Errorf("replicas %s --project: exit %d, want %d\n%s%s", command, got, code, out, errText)
				}
			}
			if got, _, errText := isukitIn(t, "", "replicas", "check", "--project", file, "--driver", "local"); got != ui.ExitUsage {
				t.Errorf("replicas check of a project and a topology: exit %d, want a usage error: %s", got, errText)
			}
			if err := os.Remove(filepath.Join(dir, "two.dsn")); err != nil {
				t.Fatal(err)
			}
			if code, r, _ := roundIn(t, dir, "round", "-q"); code != ui.ExitRound || !strings.Contains(r.Reason, "compare: ") || !strings.Contains(r.Reason, "two.dsn") {
				t.Errorf("a DSN that is gone: exit %d, %q", code, r.Reason)
			}
		})
	}
}
