package site

import (
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"isukit/infra/engine"
	"isukit/infra/infratest"
	"isukit/infra/plan"
	"isukit/infra/project"
)

// movedSchemas are schemas of all kinds, as statements in them.
var movedSchemas = map[string][]string{
	"nothing": {},
	"views":   {"CREATE VIEW v AS SELECT 1 AS a", "CREATE VIEW w AS SELECT a FROM v"},
	"programs": {
		"CREATE PROCEDURE p() SELECT 1", "CREATE FUNCTION f() RETURNS INT DETERMINISTIC RETURN 7", "CREATE EVENT e ON SCHEDULE EVERY 1 DAY DO SELECT 1",
	},
	"names": {
		"CREATE TABLE `it's \"it\"` (`a b` INT)", "CREATE TABLE `ba``ck` (`c``d` INT)", `CREATE TABLE ` + "`back\\slash`" + ` (a INT)`, "CREATE TABLE `椅子$` (`値段` INT)", "CREATE TABLE `select` (`from` INT)",
		"INSERT INTO `ba``ck` VALUES (1)", "INSERT INTO `椅子$` VALUES (2)", "CREATE TABLE `v;--` (a INT)",
	},
	"rows": {
		"CREATE TABLE without_rows (id INT PRIMARY KEY AUTO_INCREMENT) AUTO_INCREMENT=77", "CREATE TABLE without_key (a INT, b TEXT)", "INSERT INTO without_key VALUES (1, 'x'), (1, 'x'), (NULL, NULL)",
		"CREATE TABLE made (a INT, b INT AS (a + 1) VIRTUAL, c INT AS (a * 2) STORED, KEY (c))", "INSERT INTO made (a) VALUES (1), (2)",
		"CREATE TABLE old (t VARCHAR(20) CHARACTER SET latin1, u TEXT CHARACTER SET sjis, w VARCHAR(9) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin)", "INSERT INTO old VALUES ('caf\u00e9', '椅子', '🪑')",
		"CREATE TABLE kinds (b BLOB, j JSON, bits BIT(5), e ENUM('x','y'), s SET('p','q'), g POINT, d DECIMAL(30,10), f DOUBLE, at TIMESTAMP(6) NULL, y YEAR)",
		`INSERT INTO kinds VALUES (0x00FF0A0D5C27, '{"a": [1, 2.5]}', b'10101', 'y', 'p,q', POINT(1.1, 2.2), 12345678901234567890.1234567890, 0.1 + 0.2, '2026-11-30 12:00:00.123456', 2026)`,
		"CREATE TABLE child (id INT PRIMARY KEY, up INT, FULLTEXT KEY (t), t TEXT, CONSTRAINT up FOREIGN KEY (up) REFERENCES child (id))", "INSERT INTO child VALUES (1, NULL, 'a'), (2, 1, 'b')",
		"CREATE TABLE parts (id INT PRIMARY KEY) PARTITION BY HASH (id) PARTITIONS 3", "INSERT INTO parts VALUES (1), (2), (3)",
		"CREATE TRIGGER t BEFORE INSERT ON child FOR EACH ROW SET NEW.t = 'set'", "CREATE VIEW joined AS SELECT c.id, p.id AS part FROM child c JOIN parts p ON p.id = c.id",
	},
	"big":    {"CREATE TABLE big (id INT PRIMARY KEY, b LONGBLOB)", "INSERT INTO big VALUES (1, REPEAT('\\0', 20 << 20))"},
	"floats": {"CREATE TABLE f (id INT PRIMARY KEY, a FLOAT)", "INSERT INTO f VALUES (1, 0.1234567), (2, 16777215)"},
	"orphan": {"CREATE DEFINER=nobody@nowhere VIEW o AS SELECT 1 AS a", "CREATE DEFINER=nobody@nowhere PROCEDURE op() SELECT 1"},
}

// TestDump moves schemas of all kinds from one server to another, and back; each server's own dump program says that both have the same.
func TestDump(t *testing.T) {
	for _, name := range infratest.Engines(t) {
		t.Run(name, func(t *testing.T) {
			nodes := [2]*node{serverNode(t, name, "s1"), serverNode(t, name, "s2")}
			for schema, statements := range movedSchemas {
				t.Run(schema, func(t *testing.T) { moveSchema(t, nodes, schema, statements) })
			}
			if d := asked(t, nodes[0], "the_app", "own"); !d.users["localhost"] {
				t.Errorf("rights on a name with an escaped _ are not seen: %v", d.users)
			}
		})
	}
}

// serverNode is this machine with a server.
func serverNode(t *testing.T, name, as string) *node {
	t.Helper()
	db := infratest.StartDB(t, name, "--max-allowed-packet=64M")
	db.Exec(t, "CREATE USER mover@localhost", "GRANT ALL ON *.* TO mover@localhost WITH GRANT OPTION", "CREATE USER there@localhost",
		"CREATE USER own@localhost", "GRANT ALL ON `the\\_app`.* TO own@localhost")
	tree, program := filepath.Join(infratest.Root(t), ".local", "hosts"), "mariadb"
	if name == "mysql" {
		tree, program = filepath.Join(infratest.Root(t), ".local", "mysql"), "mysql"
	}
	loaders, err := filepath.Glob(tree + "/usr/lib*/ld-linux-*.so.*")
	if err != nil || len(loaders) == 0 {
		t.Fatalf("no loader in %s: %v", tree, err)
	}
	libs, err := filepath.Glob(tree + "/usr/lib/*-linux-gnu")
	if err != nil || len(libs) == 0 {
		t.Fatalf("no libraries in %s: %v", tree, err)
	}
	version, err := engine.ParseVersion(db.Version)
	if err != nil {
		t.Fatal(err)
	}
	return &node{name: as, at: infratest.Here(t), dir: t.TempDir(), rec: &record{}, bases: map[string]*database{"db": {
		client:  []string{loaders[0], "--library-path", libs[0], filepath.Join(tree, "usr/bin", program), "--no-defaults", "-umover", "-S", db.Socket},
		product: engine.Product{Name: name, Version: version},
	}}}
}

// asked is what a server says of a schema and a user.
func asked(t *testing.T, n *node, schema, user string) *database {
	t.Helper()
	d, err := n.ask(t.Context(), project.Role{Name: "db", MySQL: &project.MySQL{Client: strings.Join(n.bases["db"].client, " "), Schema: schema, User: user}})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func moveSchema(t *testing.T, nodes [2]*node, schema string, statements []string) {
	s := &Site{Project: &project.Project{Name: "team"}}
	o := project.Role{Name: "db", MySQL: &project.MySQL{Schema: schema, Move: project.MoveDump}}
	in := "CREATE DATABASE `" + schema + "`; USE `" + schema + "`;\n"
	do := func(n *node, sql string) {
		t.Helper()
		if _, err := n.run(t.Context(), []byte(sql), append(n.bases["db"].client, "--default-character-set=utf8mb4")...); err != nil {
			t.Fatal(err)
		}
	}
	do(nodes[0], in+strings.Join(statements, ";\n"))
	do(nodes[1], in+"CREATE TABLE other (a INT)")
	dump := func(n *node) string {
		t.Helper()
		argv := append(n.bases["db"].dump(o), "--skip-comments", "--skip-extended-insert", "--order-by-primary", "--skip-dump-date")
		out, err := exec.CommandContext(t.Context(), argv[0], argv[1:]...).Output()
		if err != nil {
			t.Fatalf("dump %s of %s: %v", schema, n.name, err)
		}
		return string(out)
	}
	same := func(want bool) {
		t.Helper()
		if got, err := s.differ(t.Context(), nodes[0], nodes[1], o); err != nil || (len(got) == 0) != want {
			t.Errorf("the servers differ in %q, %v; want the same: %v", got, err, want)
		}
	}
	fill := func(from, to *node) (moved bool) {
		t.Helper()
		to.bases["db"].schema = true
		err := s.fill(t.Context(), &hostPlan{node: to, Host: plan.Host{Name: to.name}}, move{role: o, from: from})
		if schema == "floats" {
			if err == nil || !strings.Contains(err.Error(), "floats.f differ; a dump rounds values of type FLOAT") {
				t.Errorf("rounded values: %v", err)
			}
			return false
		}
		if err != nil {
			t.Fatal(err)
		}
		if d := asked(t, to, schema, "mover"); !d.users["localhost"] || !slices.Contains(d.accounts, "there@localhost") || schema == "orphan" && !slices.Contains(d.definers, "nobody@nowhere") {
			t.Errorf("the server tells %+v", d)
		}
		return true
	}
	same(false)
	if !fill(nodes[0], nodes[1]) {
		return
	}
	if a, b := dump(nodes[0]), dump(nodes[1]); a != b {
		t.Errorf("%s is\n%.3000s\nand its copy\n%.3000s", schema, a, b)
	}
	same(true)
	do(nodes[1], "USE `"+schema+"`; CREATE VIEW another AS SELECT 2 AS b")
	same(false)
	fill(nodes[1], nodes[0])
	same(true)
}
