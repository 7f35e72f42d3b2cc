package infratest_test

import (
	"database/sql"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	_ "github.com/go-sql-driver/mysql"

	"isukit/infra/infratest"
)

func TestDB(t *testing.T) {
	for _, engine := range infratest.Engines(t) {
		t.Run(engine, func(t *testing.T) {
			db := infratest.StartDB(t, engine, "--max-connections=42")
			pool := db.Open(t, "")

			db.Exec(t, "CREATE DATABASE d", "CREATE TABLE d.t (id BIGINT PRIMARY KEY)", "INSERT INTO d.t VALUES (7)",
				"CREATE USER 'u'@'127.0.0.1' IDENTIFIED BY 'secret'", "GRANT ALL ON d.* TO 'u'@'127.0.0.1'")
			user, err := sql.Open("mysql", db.DSN("u", "secret", "d"))
			if err != nil {
				t.Fatal(err)
			}
			defer user.Close()
			wantRow := func(when string) {
				t.Helper()
				var id, max int
				if err := user.QueryRow("SELECT id, @@max_connections FROM t").Scan(&id, &max); err != nil || id != 7 || max != 42 {
					t.Fatalf("%s: got row %d, max_connections %d, err %v; want 7, 42, no error", when, id, max, err)
				}
			}
			wantRow("after start")

			pid, port := db.PID(), db.Port
			db.Kill()
			if err := pool.Ping(); err == nil {
				t.Error("the server answers after Kill")
			}
			db.Restart()
			if db.PID() == pid || db.Port != port {
				t.Errorf("after Restart: pid %d, port %d; want another pid than %d and port %d", db.PID(), db.Port, pid, port)
			}
			wantRow("after Kill and Restart")
			db.Restart()
			wantRow("after Restart")

			db.Stop()
			if err := syscall.Kill(db.PID(), 0); err != syscall.ESRCH {
				t.Errorf("process %d after Stop: got %v, want it gone", db.PID(), err)
			}
		})
	}
}

func TestDBIsPrivate(t *testing.T) {
	for _, engine := range infratest.Engines(t) {
		t.Run(engine, func(t *testing.T) {
			var db *infratest.DB
			t.Run("running", func(t *testing.T) {
				db = infratest.StartDB(t, engine)
				rows, err := db.Open(t, "").Query("SELECT user, host FROM mysql.user")
				if err != nil {
					t.Fatal(err)
				}
				defer rows.Close()
				for rows.Next() {
					var user, host string
					if err := rows.Scan(&user, &host); err != nil {
						t.Fatal(err)
					}
					if user == "" || host != "localhost" && host != "127.0.0.1" {
						t.Errorf("account '%s'@'%s': want only named ones of this machine", user, host)
					}
				}
				dsn := db.RootDSN("")
				password := dsn[strings.IndexByte(dsn, ':')+1 : strings.IndexByte(dsn, '@')]
				cmdline, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", db.PID()))
				if err != nil {
					t.Fatal(err)
				}
				if strings.Contains(string(cmdline), password) || strings.Contains(db.Log(), password) {
					t.Error("the password is in the server's arguments or log")
				}
			})
			if err := syscall.Kill(db.PID(), 0); err != syscall.ESRCH {
				t.Errorf("process %d after the test: got %v, want it gone", db.PID(), err)
			}
			if _, err := os.Stat(db.Socket); !os.IsNotExist(err) {
				t.Errorf("socket %s after the test: got %v, want it gone", db.Socket, err)
			}
		})
	}
}
