package infratest_test

import (
	"fmt"
	"testing"
	"time"

	"isukit/infra/infratest"
	"isukit/infra/infratest/wait"
)

func TestReplicated(t *testing.T) {
	for _, engine := range infratest.Engines(t) {
		t.Run(engine, func(t *testing.T) {
			r := infratest.StartReplicated(t, engine, 2, false)
			r.DBs[0].Exec(t, "CREATE DATABASE d", "CREATE TABLE d.t (id INT PRIMARY KEY)", "INSERT INTO d.t VALUES (7)")
			replica := r.DBs[1].Open(t, "") // by a password of its own, which the source's must not replace
			rows := func(want int) {
				t.Helper()
				wait.ForNil(t, fmt.Sprintf("the replica to have %d rows", want), func() error {
					var got int
					if err := replica.QueryRow("SELECT COUNT(*) FROM d.t").Scan(&got); err != nil || got != want { // the table comes later than the database
						return fmt.Errorf("%d rows, %w\n%s", got, err, r.DBs[1].Log())
					}
					return nil
				})
			}
			rows(1)
			r.StopCopying(t, 1)
			r.DBs[0].Exec(t, "INSERT INTO d.t VALUES (8)")
			time.Sleep(100 * time.Millisecond)
			rows(1)
			r.ResumeCopying(t, 1)
			rows(2)
			r.DBs[1].Restart() // replication continues alone
			r.DBs[0].Exec(t, "INSERT INTO d.t VALUES (9)")
			rows(3)
		})
	}
}
