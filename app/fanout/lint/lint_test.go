package lint

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// app writes files below a directory of the test's own.
func app(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func read(t *testing.T, opts Options, files map[string]string) *Report {
	t.Helper()
	r, err := Paths(context.Background(), []string{app(t, files)}, opts)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// lines are the findings of a report, a line each.
func lines(r *Report) (list []string) {
	for _, f := range r.Findings {
		list = append(list, fmt.Sprintf("%d %s: %s", f.Line, f.Verdict, f.Statement))
	}
	return list
}

const tables = `CREATE TABLE item (id BIGINT AUTO_INCREMENT PRIMARY KEY, name VARCHAR(50) NOT NULL UNIQUE, stock INT NOT NULL);
CREATE TABLE job (id INT PRIMARY KEY, state VARCHAR(10) NOT NULL);
`

func TestGoSources(t *testing.T) {
	for _, tt := range []struct {
		name, body string
		want       []string // without the schema's own
	}{
		{"literals", `db.Exec("UPDATE job SET state = ? WHERE id = ?", s, 1)
	db.QueryRowxContext(ctx, "SELECT 1")`, []string{"6 exact: UPDATE job SET state = ? WHERE id = ?", "7 exact: SELECT 1"}},
		{"refused", `tx.ExecContext(ctx, "UPDATE item SET stock = RAND() WHERE id = 1")`, []string{"6 refused: UPDATE item SET stock = RAND() WHERE id = 1"}},
		{"constants and sums", "const tail = ` WHERE id = 3`\n\tdb.MustExec(\"DELETE FROM job\" + tail)\n\tdb.Exec(allJobs)",
			[]string{"5 exact: SELECT id FROM job", "7 exact: DELETE FROM job WHERE id = 3"}},
		{"a text that grows", `q := "SELECT id FROM job"
	if s != "" {
		q += " WHERE state = ?"
		q = q + " ORDER BY id"
	}
	db.Select(&s, q, s)`, []string{"6 exact: SELECT id FROM job WHERE state = ? ORDER BY id"}},
		{"shapes of Sprintf", `db.Select(&s, fmt.Sprintf("SELECT id FROM job LIMIT %d", n))
	db.Exec(fmt.Sprintf("DELETE FROM %s WHERE id = 1", s))`, []string{"6 exact: SELECT id FROM job LIMIT 1",
			"7 not known until it runs: DELETE FROM … WHERE id = 1"}},
		{"refused, whatever the rest is", `db.Exec(fmt.Sprintf("UPDATE job SET state = UUID() WHERE id IN (%s)", s))`,
			[]string{"6 refused: UPDATE job SET state = UUID() WHERE id IN (…)"}},
		{"names", `db.NamedExec("INSERT INTO job (id, state) VALUES (:id, ':x')", s)
	q, args, err := sqlx.In("SELECT id FROM job WHERE id IN (?)", s)
	db.Select(&s, db.Rebind(q), args...)`, []string{"6 exact: INSERT INTO job (id, state) VALUES (?, ':x')", "7 exact: SELECT id FROM job WHERE id IN (?)"}},
		{"lists", `where := []string{"id = ?"}
	where = append(where, "state = ?")
	db.Select(&s, "SELECT id FROM job WHERE " + strings.Join(where, " AND "))
	db.Exec("DELETE FROM job WHERE id IN (?" + strings.Repeat(", ?", n) + ")")`,
			[]string{"8 exact: SELECT id FROM job WHERE id = ? AND state = ?", "9 exact: DELETE FROM job WHERE id IN (?, ?)"}},
		{"a builder", `var b strings.Builder
	b.WriteString("SELECT id ")
	fmt.Fprintf(&b, "FROM job WHERE id > %d", n)
	db.Query(b.String())`, []string{"7 exact: SELECT id FROM job WHERE id > 1"}},
		{"a variable", `db.QueryContext(ctx, s)`, []string{"6 not known until it runs: …"}},
		{"kept elsewhere", `m := map[string]string{"all": "SELECT id FROM job", "other": "Select a file from the list"}
	log.Printf("select from job: %v", s)`, []string{"6 exact: SELECT id FROM job"}},
		{"what several processes may not", `db.Exec("LOCK TABLES job WRITE")`, []string{"6 not known until it runs: LOCK TABLES job WRITE"}},
		{"transactions by text", `db.Exec("BEGIN")`, []string{"6 refused: BEGIN"}},
		{"not a database", `cache.Get(ctx, s)
	http.Get("UPDATE")
	exec.Command("select").Run()`, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := read(t, Options{}, map[string]string{"schema.sql": tables,
				"main.go": "package main\n\nimport \"fmt\"\n\nconst allJobs = \"SELECT id FROM job\"; func use(s string, n int) { \n\t" + tt.body + "\n}\n"})
			got := slices.DeleteFunc(lines(r), func(l string) bool {
				return strings.Contains(l, "CREATE TABLE") || strings.HasPrefix(l, "5 ") && !strings.Contains(tt.body, "allJobs")
			})
			if !slices.Equal(got, tt.want) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(tt.want, "\n"))
			}
		})
	}
}

func TestOtherSources(t *testing.T) {
	for _, tt := range []struct {
		file, text string
		want       []string
	}{
		{"a.py", "cur.execute(\"UPDATE job SET state = %s WHERE id = %s\", (a, b))\nq = f\"\"\"SELECT id\nFROM {table}\"\"\"\nprint('Select one from the list below')\n",
			[]string{"1 exact: UPDATE job SET state = ? WHERE id = ?", "2 not known until it runs: SELECT id FROM …"}},
		{"a.rb", "db.query('DELETE FROM job WHERE id = ?')\ndb.xquery(<<~SQL, id)\n  UPDATE job SET state = UUID()\n  SQL\n",
			[]string{"1 exact: DELETE FROM job WHERE id = ?", "3 refused: UPDATE job SET state = UUID()"}},
		{"a.php", `<?php $db->prepare("SELECT id FROM job WHERE id = :id"); $db->query("DELETE FROM job WHERE " . $cond);`,
			[]string{"1 exact: SELECT id FROM job WHERE id = ?", "1 not known until it runs: DELETE FROM job WHERE …"}},
		{"a.js", "await db.query('INSERT INTO job VALUES (?, ?)', [1, 's']);\nawait db.query(`SELECT id FROM job WHERE id IN (${ids})`);\n",
			[]string{"1 exact: INSERT INTO job VALUES (?, ?)", "2 not known until it runs: SELECT id FROM job WHERE id IN (…)"}},
		{"a.rs", `sqlx::query("UPDATE job SET state = ? WHERE id = ?")`, []string{"1 exact: UPDATE job SET state = ? WHERE id = ?"}},
	} {
		t.Run(tt.file, func(t *testing.T) {
			r := read(t, Options{}, map[string]string{"schema.sql": tables, tt.file: tt.text})
			got := slices.DeleteFunc(lines(r), func(l string) bool { return strings.Contains(l, "CREATE TABLE") })
			if !slices.Equal(got, tt.want) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(tt.want, "\n"))
			}
		})
	}
}

func TestSQLFiles(t *testing.T) {
	r := read(t, Options{}, map[string]string{"a.sql": tables + "USE shop;\nINSERT INTO job VALUES (1, 'a');\n-- again\nINSERT INTO job VALUES (2, 'b'), (3, 'it''s; so');\n" +
		"ALTER TABLE job ADD UNIQUE KEY s (state);\nINSERT INTO job SELECT id, RAND() FROM item;\n"})
	if r.Tables != 2 || len(r.Schema) != 1 {
		t.Errorf("%d tables from %q, want 2 from one file", r.Tables, r.Schema)
	}
	var inserts []Finding
	for _, f := range r.Findings {
		if strings.HasPrefix(f.Statement, "INSERT INTO job VALUES") {
			inserts = append(inserts, f)
		}
	}
	if len(inserts) != 1 || inserts[0].Line != 4 || inserts[0].Same != 1 {
		t.Errorf("two inserts that differ by their values are %+v, want one of line 4 with another like it", inserts)
	}
}

// TestTheSchemaDecides holds that what tables have changes a verdict, wherever the schema was read.
func TestTheSchemaDecides(t *testing.T) {
	files := map[string]string{"main.go": "package main\n\nfunc use() { db.Exec(`INSERT INTO log (what) VALUES (?)`) }\n"}
	if f := read(t, Options{}, files).Findings[0]; f.Assumed != "log" {
		t.Errorf("without a schema: %+v, want a word on table log", f)
	}
	given := filepath.Join(app(t, map[string]string{"schema.sql": "CREATE TABLE log (id CHAR(36) PRIMARY KEY DEFAULT (UUID()), what TEXT)"}), "schema.sql")
	if f := read(t, Options{Schema: []string{given}}, files).Findings[0]; f.Verdict != Made || f.Assumed != "" {
		t.Errorf("with a default that calls UUID(): %+v, want it made exact", f)
	}
	files["empty.sql"] = "SELECT 1;"
	dir := app(t, files)
	if _, err := Paths(context.Background(), []string{dir}, Options{Schema: []string{filepath.Join(dir, "empty.sql")}}); err == nil {
		t.Error("a schema without a table was taken")
	}
}

func TestWhatIsNotRead(t *testing.T) {
	r := read(t, Options{}, map[string]string{"main_test.go": "package main\n\nvar q = `DELETE FROM job`\n", "vendor/v/v.go": "package v\n\nvar q = `DELETE FROM job`\n",
		"broken.go": "package main\n\nfunc {\n", "notes.txt": "DELETE FROM job"})
	if len(r.Findings) > 0 || r.Files != 1 || len(r.Skipped) != 1 || !strings.Contains(r.Skipped[0], "broken.go") {
		t.Errorf("got %+v, want nothing but a word on broken.go", r)
	}
	if _, err := Paths(context.Background(), []string{"/nonexistent/x.go"}, Options{}); err == nil {
		t.Error("a path that does not exist was read")
	}
}

// FuzzSources holds that no source makes the reader fail or go on forever.
func FuzzSources(f *testing.F) {
	f.Add("package p\nfunc f() { q := \"SELECT\"; q += q; q = q + x(q); db.Get(&q, q) }\n")
	f.Add("<<~SQL\nUPDATE a SET b\nSQL\n")
	f.Fuzz(func(t *testing.T, text string) {
		for _, ext := range []string{".sql", ".py", ".rb", ".php", ".js", ".rs", ".pl"} {
			if l := languages[ext]; l != nil {
				otherStatements(source{"a" + ext, text}, l)
			}
		}
		s, _ := NewSchema()
		list := sqlStatements(source{"a.sql", text})
		found, _ := goStatements([]source{{"a.go", text}})
		for _, st := range append(list, found...) {
			s.Judge(st.text)
		}
	})
}
