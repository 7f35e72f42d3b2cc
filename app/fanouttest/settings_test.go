package fanouttest

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"forge.example/account/isukit/app/fanout"
	"isukit/infra/infratest"
)

// refusedOpen opens the cluster and fails unless that is refused with all of want in the reason.
func refusedOpen(t *testing.T, c *cluster, what string, want ...string) {
	t.Helper()
	p, err := fanout.Open(t.Context(), c.config(fanout.ModeOrdered))
	if err == nil {
		p.Close()
	}
	if !errors.Is(err, fanout.ErrSchema) {
		t.Errorf("%s: Open gave %v, want ErrSchema", what, err)
		return
	}
	for _, w := range want {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("%s: Open gave %q, want %q in it", what, err, w)
		}
	}
}

// drifted are global variables that are set to other values on one server while it runs.
var drifted = map[string]string{
	"sql_mode": "'STRICT_ALL_TABLES,PIPES_AS_CONCAT'", "auto_increment_offset": "2", "auto_increment_increment": "3", "max_allowed_packet": "2097152",
	"group_concat_max_len": "64", "div_precision_increment": "9", "time_zone": "'+05:45'", "foreign_key_checks": "0", "unique_checks": "0",
	"lc_time_names": "'de_DE'", "default_week_format": "3", "innodb_strict_mode": "0", "sql_safe_updates": "1", "max_sort_length": "64",
	"completion_type": "1", "collation_server": "'utf8mb4_bin'", "init_connect": "'SET @a = 1'", "explicit_defaults_for_timestamp": "0",
}

// TestOpenComparesSettings sets each of many variables to another value on the second server: Open names it, with both replicas.
func TestOpenComparesSettings(t *testing.T) {
	t.Parallel()
	for _, engine := range infratest.Engines(t) {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			c := startServers(t, engine, 2)
			c.open(t, c.config(fanout.ModeOrdered))
			var all []string
			for name, value := range drifted {
				var before string
				root := c.dbs[1].Open(t, c.name)
				must(t, root.QueryRow("SELECT @@global."+name).Scan(&before))
				root.Close()
				c.execOn(t, 1, "SET GLOBAL "+name+" = "+value)
				if name == "max_allowed_packet" || name == "sql_mode" { // one alone; the others together, below
					refusedOpen(t, c, name, name+": r1 has ", "r2 has ")
				}
				all = append(all, name+": r1 has ")
			}
			refusedOpen(t, c, "all of them", all...)
		})
	}
}

// TestOpenComparesWhatOnlyAStartSets has servers that were started with other options.
func TestOpenComparesWhatOnlyAStartSets(t *testing.T) {
	t.Parallel()
	for _, engine := range infratest.Engines(t) {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			args, want := []string{"--innodb-autoinc-lock-mode=0", "--ft-min-word-len=2", "--innodb-ft-min-token-size=1"},
				[]string{"innodb_autoinc_lock_mode: r1 has ", "ft_min_word_len", "innodb_ft_min_token_size", "restart the server"}
			if engine == "mariadb" { // the other one can't change it once it has data
				args, want = append(args, "--lower-case-table-names=1"), append(want, "lower_case_table_names")
			}
			c := newCluster(t, engine, "shop", []*infratest.DB{infratest.StartDB(t, engine), infratest.StartDB(t, engine, args...)})
			refusedOpen(t, c, strings.Join(args, " "), want...)
		})
	}
}

// TestOpenComparesZones has servers whose zones agree today, or in winter, and not always.
func TestOpenComparesZones(t *testing.T) {
	for _, engine := range infratest.Engines(t) {
		utc := infratest.StartDB(t, engine, "--default-time-zone=+00:00")
		t.Setenv("TZ", "GMT0BST,M3.5.0/1,M10.5.0")
		london := infratest.StartDB(t, engine)
		same := infratest.StartDB(t, engine)
		t.Setenv("TZ", "XYZ0XYS,M4.2.0/1,M9.5.0")
		other := infratest.StartDB(t, engine)
		t.Setenv("TZ", "UTC0")
		alike := infratest.StartDB(t, engine)
		refusedOpen(t, newCluster(t, engine, "a", []*infratest.DB{utc, london}), "UTC beside London", "time_zone: r1 has", "+01:00", "time_zone='%2B00%3A00'")
		refusedOpen(t, newCluster(t, engine, "b", []*infratest.DB{london, other}), "two zones with a summer time", "time_zone: r1 has")
		c := newCluster(t, engine, "c", []*infratest.DB{utc, alike})
		p := c.open(t, c.config(fanout.ModeOrdered))
		var zone string
		must(t, p.DB().Get(&zone, "SELECT @@time_zone"))
		if zone != "+00:00" {
			t.Errorf("%s: a connection's zone is %s, want +00:00", engine, zone)
		}
		c = newCluster(t, engine, "d", []*infratest.DB{london, same})
		c.execShop(t, "CREATE TABLE t (id INT PRIMARY KEY, at TIMESTAMP NULL)")
		p = c.open(t, c.config(fanout.ModeOrdered))
		for i := range c.dbs {
			c.execOn(t, i, "SET GLOBAL time_zone = '-08:00'")
		}
		_, err := p.DB().Exec("INSERT INTO t VALUES (1, '2026-07-01 12:00:00'), (2, '2026-01-01 12:00:00')")
		must(t, err)
		p.DB().SetMaxIdleConns(0)
		for want, text := range map[string]string{
			"1782903600,1767268800":                   "SELECT GROUP_CONCAT(ROUND(UNIX_TIMESTAMP(at)) ORDER BY id) FROM t",
			"2026-07-01 12:00:00,2026-01-01 12:00:00": "SELECT GROUP_CONCAT(at ORDER BY id) FROM t",
		} {
			var got string
			must(t, p.DB().Get(&got, text))
			if got != want {
				t.Errorf("%s: in London's zone %s gives %s, want %s", engine, text, got, want)
			}
		}
	}
}

// TestSetGlobalChangesNothing sets everything that a session can fix, on the second server, under an open pool.
func TestSetGlobalChangesNothing(t *testing.T) {
	t.Parallel()
	for _, engine := range infratest.Engines(t) {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			c := startServers(t, engine, 2)
			c.execShop(t, "CREATE TABLE t (id BIGINT AUTO_INCREMENT PRIMARY KEY, at TIMESTAMP(6) NULL DEFAULT NULL, v VARCHAR(200), d DECIMAL(20,10), w INT) CHARACTER SET utf8mb4")
			p := c.open(t, c.config(fanout.ModeOrdered))
			for name, value := range drifted {
				if name != "max_allowed_packet" && name != "init_connect" && name != "collation_server" {
					c.execOn(t, 1, "SET GLOBAL "+name+" = "+value)
				}
			}
			c.execOn(t, 1, "SET GLOBAL character_set_client = latin1, GLOBAL collation_connection = latin1_german2_ci")
			p.DB().SetMaxIdleConns(0)
			for i := range 8 {
				at := fmt.Sprintf("2026-%02d-01 00:30:00", i+1)
				_, err := p.DB().Exec("INSERT INTO t (at, v, d, w) VALUES (?, CONCAT(DATE_FORMAT(?, '%M'), 'ä' = 'ae'), 1/3, WEEK(?)), (FROM_UNIXTIME(1782903600), '1' || '0', 2/7, 0)", at, at, at)
				must(t, err)
			}
			if n := c.differing(t, "SELECT CONCAT_WS('/', id, UNIX_TIMESTAMP(at), v, d, w) FROM t"); n > 0 {
				t.Errorf("%d rows differ", n)
			}
			if got := states(t, p); got[1] != fanout.InService {
				t.Errorf("states %q, want both in service", got)
			}
			var zone string
			for range 10 {
				must(t, p.Reader().Get(&zone, "SELECT @@time_zone"))
				if zone == "+05:45" {
					t.Fatalf("Reader reads with the zone that was set later, %s", zone)
				}
			}
		})
	}
}

// schemas are pairs of definitions that make the same statement write other rows, in words that the difference is to be named with.
var schemas = []struct{ name, both, first, second, want string }{
	{"default", "", "CREATE TABLE t (id INT PRIMARY KEY, v INT DEFAULT 1)", "CREATE TABLE t (id INT PRIMARY KEY, v INT DEFAULT 2)", "DEFAULT"},
	{"generated column", "", "CREATE TABLE t (id INT PRIMARY KEY, v INT AS (id + 1) STORED)", "CREATE TABLE t (id INT PRIMARY KEY, v INT AS (id + 2) STORED)", "`v`"},
	{"collation", "", "CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(9)) COLLATE utf8mb4_bin", "CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(9)) COLLATE utf8mb4_unicode_ci", "utf8mb4_bin"},
	{"foreign key's action", "CREATE TABLE up (id INT PRIMARY KEY)", "CREATE TABLE t (id INT PRIMARY KEY, up INT, CONSTRAINT f FOREIGN KEY (up) REFERENCES up (id) ON DELETE CASCADE)",
		"CREATE TABLE t (id INT PRIMARY KEY, up INT, CONSTRAINT f FOREIGN KEY (up) REFERENCES up (id) ON DELETE SET NULL)", "ON DELETE CASCADE"},
	{"check", "", "CREATE TABLE t (id INT PRIMARY KEY, v INT, CONSTRAINT c CHECK (v > 0))", "CREATE TABLE t (id INT PRIMARY KEY, v INT, CONSTRAINT c CHECK (v > 1))", "CHECK"},
	{"partitions", "", "CREATE TABLE t (id INT PRIMARY KEY) PARTITION BY HASH (id) PARTITIONS 2", "CREATE TABLE t (id INT PRIMARY KEY) PARTITION BY RANGE (id) (PARTITION p VALUES LESS THAN (100))", "PARTITION"},
	{"order of columns", "", "CREATE TABLE t (id INT PRIMARY KEY, a INT, b INT)", "CREATE TABLE t (id INT PRIMARY KEY, b INT, a INT)", "columns in the order"},
	{"order of unique keys", "", "CREATE TABLE t (id INT PRIMARY KEY, a INT, b INT, UNIQUE a (a), UNIQUE b (b))", "CREATE TABLE t (id INT PRIMARY KEY, a INT, b INT, UNIQUE b (b), UNIQUE a (a))", "unique keys"},
	{"order in which unique keys were made", "", "CREATE TABLE t (id INT PRIMARY KEY, a INT NOT NULL, b INT, UNIQUE b (b)); ALTER TABLE t ADD UNIQUE a (a), ALGORITHM=INPLACE",
		"CREATE TABLE t (id INT PRIMARY KEY, a INT NOT NULL, b INT, UNIQUE b (b), UNIQUE a (a))", "unique keys made in the order"},
	{"trigger", "CREATE TABLE t (id INT PRIMARY KEY, v INT)", "CREATE TRIGGER g BEFORE INSERT ON t FOR EACH ROW SET NEW.v = 1", "CREATE TRIGGER g BEFORE INSERT ON t FOR EACH ROW SET NEW.v = 2", "trigger"},
	{"trigger's sql_mode", "CREATE TABLE t (id INT PRIMARY KEY, v INT)", "CREATE TRIGGER g BEFORE INSERT ON t FOR EACH ROW SET NEW.v = 1",
		"SET SESSION sql_mode = ''; CREATE TRIGGER g BEFORE INSERT ON t FOR EACH ROW SET NEW.v = 1", "trigger"},
	{"procedure", "", "CREATE PROCEDURE p() SELECT 1", "CREATE PROCEDURE p() SELECT 2", "procedure p"},
	{"view", "CREATE TABLE t (id INT PRIMARY KEY)", "CREATE VIEW w AS SELECT id FROM t", "CREATE VIEW w AS SELECT id + 1 AS id FROM t", "view w"},
	{"event", "CREATE TABLE t (id INT PRIMARY KEY)", "CREATE EVENT e ON SCHEDULE EVERY 1 YEAR DO DELETE FROM t", "CREATE EVENT e ON SCHEDULE EVERY 2 YEAR DO DELETE FROM t", "event e"},
}

// TestOpenComparesSchemas refuses each pair of definitions, and accepts each definition with itself.
func TestOpenComparesSchemas(t *testing.T) {
	t.Parallel()
	for _, engine := range infratest.Engines(t) {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			for _, s := range schemas {
				t.Run(s.name, func(t *testing.T) {
					c := startCluster(t, engine, 2)
					make := func(i int, text string) {
						if text != "" {
							c.execOn(t, i, strings.Split(text, "; ")...)
						}
					}
					for i := range 2 {
						make(i, s.both)
					}
					make(0, s.first)
					make(1, s.second)
					refusedOpen(t, c, s.name, s.want)
					c = startCluster(t, engine, 2)
					for i := range 2 {
						make(i, s.both)
						make(i, s.first)
					}
					c.open(t, c.config(fanout.ModeOrdered))
				})
			}
		})
	}
}

// TestCheckComparesWhatIsStored: Check and Repair use the stored values, with any zone and settings of the servers' sessions.
func TestCheckComparesWhatIsStored(t *testing.T) {
	t.Parallel()
	for _, engine := range infratest.Engines(t) {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			c := startServers(t, engine, 2)
			c.execShop(t, "CREATE TABLE t (at TIMESTAMP(6) NOT NULL, id INT, d DATETIME, f FLOAT, b LONGBLOB, PRIMARY KEY (at, id))")
			for _, db := range c.dbs { // the zone of either server shows the moments alike that the other stored
				zone := map[bool]string{true: "+00:00", false: "+01:00"}[db == c.dbs[0]]
				db.Exec(t, "SET GLOBAL time_zone = '"+zone+"'", "SET GLOBAL max_allowed_packet = 16777216")
				db.Exec(t, "SET SESSION time_zone = '"+zone+"'", "INSERT INTO "+c.name+".t VALUES ('2026-07-01 12:00:00', 1, NULL, NULL, NULL)")
			}
			const utc = "SET SESSION time_zone = '+00:00'"
			same := "INSERT INTO " + c.name + ".t VALUES ('2026-08-01 12:00:00', 2, '2026-03-29 01:30:00', %s, %s), ('2026-03-29 01:30:00.000001', 3, NULL, 0.1, NULL)"
			c.dbs[0].Exec(t, utc, fmt.Sprintf(same, "16777216", "REPEAT('a', 9000000)"))
			c.dbs[1].Exec(t, utc, fmt.Sprintf(same, "16777218", "REPEAT('b', 9000000)"))
			cfg := c.config(fanout.ModeOrdered)
			cfg.Observer = true
			for i := range cfg.Replicas {
				cfg.Replicas[i].MySQL.ParseTime = true
			}
			p := c.open(t, cfg)
			report, err := p.Check(t.Context(), fanout.CheckOptions{})
			must(t, err)
			if got := report.Differing(); got != 3 {
				t.Errorf("Check: %d rows differ, want 3: one moment that is another one, and one row with another value\n%s", got, report)
			}
			_, err = p.Repair(t.Context(), fanout.RepairOptions{From: "r1"})
			must(t, err)
			report, err = p.Check(t.Context(), fanout.CheckOptions{})
			must(t, err)
			if !report.Clean() {
				t.Errorf("after Repair: %s", report)
			}
			if n := c.differing(t, "SELECT CONCAT_WS('/', UNIX_TIMESTAMP(at), id, d, f + 0e0, SHA2(b, 256)) FROM t"); n > 0 {
				t.Errorf("after Repair %d rows differ", n)
			}
		})
	}
}
