package fanouttest

import (
	"slices"
	"testing"

	"forge.example/account/isukit/app/fanout"
	"isukit/infra/infratest"
)

// TestDurableOnReplicasThatDiffer writes rows of which the second replica lacks one. Whether the write names its row, and commits
// unasked, or is held to the number of rows, it ends on the first replica, and the second one is ejected with nothing changed: also in
// an sql_mode that makes a zero of a NULL.
func TestDurableOnReplicasThatDiffer(t *testing.T) {
	t.Parallel()
	for _, engine := range infratest.Engines(t) {
		for name, text := range map[string]string{
			"one row by its key": "UPDATE counter SET n = n + 1 WHERE id = 7",
			"several rows":       "UPDATE counter SET n = n + 1 WHERE id > 5",
		} {
			t.Run(engine+"/"+name, func(t *testing.T) {
				t.Parallel()
				c := startLedger(t, engine, 2)
				cfg := c.config(fanout.ModeDurable)
				for i := range cfg.Replicas {
					cfg.Replicas[i].MySQL.Params = map[string]string{"sql_mode": "''"}
				}
				p := c.open(t, cfg)
				c.execOn(t, 1, "DELETE FROM counter WHERE id = 7")
				if _, err := p.DB().ExecContext(t.Context(), text); err != nil {
					t.Fatal(err)
				}
				if got := states(t, p); !slices.Equal(got, []fanout.State{fanout.InService, fanout.Ejected}) {
					t.Errorf("states %q, want the second ejected", got)
				}
				if n := c.rows(t, 0, "SELECT n FROM counter WHERE id = 7"); n[0] != "1" {
					t.Errorf("the first replica has %q, want the write", n)
				}
				if n := c.rows(t, 1, "SELECT SUM(n) FROM counter"); n[0] != "0" {
					t.Errorf("the second replica was changed by %s", n[0])
				}
				must(t, p.Close())
			})
		}
	}
}
