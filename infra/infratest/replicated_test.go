package infratest_test

import (
	"testing"
	"time"

	"isukit/infra/infratest"
)

func TestReplicated(t *testing.T) {
	for _, engine := range infratest.Engines(t) {
		t.Run(engine, func(t *testing.T) {
			r := infratest.StartReplicated(t, engine, 2, false)
			r.DBs[0].Exec(t, "CREATE DATABASE d", "CREATE TABLE d.t (id INT PRIMARY KEY)", "INSERT INTO d.t VALUES (7)")
			replica := r.DBs[1].Open(t, "") // by a password of its own, which the source's must not replace
			wait := func(want int) {
				t.Helper()
				got := 0
				for end := time.Now().Add(10 * time.Second); got != want && time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
					_ = replica.QueryRow("SELECT COUNT(*) FROM d.t").Scan(&got) // the table comes later than the database
				}
				if got != want {
					t.Fatalf("the replica has %d rows, want %d\n%s", got, want, r.DBs[1].Log())
				}
			}
			wait(1)
			r.StopCopying(t, 1)
			r.DBs[0].Exec(t, "INSERT INTO d.t VALUES (8)")
			time.Sleep(100 * time.Millisecond)
			wait(1)
			r.ResumeCopying(t, 1)
			wait(2)
			r.DBs[1].Restart() // replication begins again by itself
			r.DBs[0].Exec(t, "INSERT INTO d.t VALUES (9)")
			wait(3)
		})
	}
}
