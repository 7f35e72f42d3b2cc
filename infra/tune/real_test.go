package tune_test

import (
	"os"
	"strings"
	"testing"

	"isukit/infra/infratest"
	"isukit/infra/tune"
)

// TestDatabase applies every tuning to both engines in parallel and reverts them.
func TestDatabase(t *testing.T) {
	t.Parallel()
	h := local(t)
	for _, engine := range infratest.Engines(t) {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			db, target := database(t, h, engine, t.TempDir())
			db.Exec(t, "SET GLOBAL max_connections = 77") // the file says 120
			before := databaseSnapshot(t, db)
			report := apply(t, target, "mysql/memory", "mysql/durability-relaxed", "mysql/io-capacity", "mysql/caches")
			t.Logf("\n%s", show(report))
			if report.Has(tune.Failed, tune.Left) {
				t.Errorf("apply:\n%s", show(report))
			}
			pool := db.Open(t, "")
			for name, want := range map[string]string{"innodb_flush_log_at_trx_commit": "2", "sync_binlog": "0", "max_connections": "300",
				"innodb_io_capacity_max": "4000", "innodb_buffer_pool_size": "134217728"} {
				var got string
				if err := pool.QueryRow("SELECT @@GLOBAL." + name).Scan(&got); err != nil || strings.TrimSuffix(got, ".0") != want {
					if name != "innodb_io_capacity_max" || engine == "mariadb" {
						t.Errorf("%s: got %q, %v; want %s", name, got, err, want)
					}
				}
			}
			if drift := verify(t, target); len(drift) > 0 {
				t.Errorf("verify after apply:\n%s", show(drift))
			}
			back := revert(t, target)
			if back.Has(tune.Left, tune.Failed) {
				t.Errorf("revert:\n%s", show(back))
			}
			if after := databaseSnapshot(t, db); after != before {
				t.Errorf("after revert: %s", firstDifference(before, after))
			}
			if drift := verify(t, target); len(drift) > 0 {
				t.Errorf("verify after revert:\n%s", show(drift))
			}
		})
	}
}

// databaseSnapshot is all settings of a server on every layer, as text.
func databaseSnapshot(t *testing.T, db *infratest.DB) string {
	t.Helper()
	var b strings.Builder
	rows, err := db.Open(t, "").Query("SHOW GLOBAL VARIABLES")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var name, value string
		if err := rows.Scan(&name, &value); err != nil {
			t.Fatal(err)
		}
		// Positions of logs, and what belongs to the connection that asks.
		if strings.HasPrefix(name, "gtid") || strings.HasPrefix(name, "pseudo_") || name == "timestamp" || name == "server_uuid" {
			continue
		}
		// MariaDB sets it whenever it opens its log, by the file system; resizing the log opens it.
		if name == "innodb_log_file_buffering" {
			continue
		}
		b.WriteString(name + " = " + value + "\n")
	}
	for _, arg := range db.Command() {
		if file, ok := strings.CutPrefix(arg, "--defaults-file="); ok {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			b.Write(text)
		}
	}
	if db.Engine == "mysql" {
		const query = "SELECT COALESCE(GROUP_CONCAT(VARIABLE_NAME, '=', VARIABLE_VALUE ORDER BY VARIABLE_NAME), '') FROM performance_schema.persisted_variables"
		var persisted string
		if err := db.Open(t, "").QueryRow(query).Scan(&persisted); err != nil {
			t.Fatal(err)
		}
		b.WriteString("persisted: " + persisted + "\n")
	}
	return b.String()
}

func firstDifference(before, after string) string {
	a, b := strings.Split(before, "\n"), strings.Split(after, "\n")
	var diff []string
	for i := range max(len(a), len(b)) {
		var x, y string
		if i < len(a) {
			x = a[i]
		}
		if i < len(b) {
			y = b[i]
		}
		if x != y && len(diff) < 5 {
			diff = append(diff, "before: "+x+" | after: "+y)
		}
	}
	return strings.Join(diff, "\n")
}
