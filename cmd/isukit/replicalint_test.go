package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"forge.example/account/isukit/app/fanout/lint"

	"isukit/cmd/internal/ui"
)

// TestReplicasLint reads an app that one statement keeps from several databases, and again when that was changed.
func TestReplicasLint(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("schema.sql", "CREATE TABLE job (id BIGINT AUTO_INCREMENT PRIMARY KEY, token CHAR(36) NOT NULL);\n")
	app := "package app\n\nfunc add() {\n\tdb.Exec(\"INSERT INTO job (token) VALUES (%s)\")\n}\n"
	write("app.go", strings.Replace(app, "%s", "UUID()", 1))
	code, stdout, stderr := isukitIn(t, "", "replicas", "lint", dir)
	if code != ui.ExitRound || !strings.Contains(stdout, "app.go:4: refused: INSERT INTO job") || !strings.Contains(stdout, "pass") || stderr != "" {
		t.Errorf("with UUID() in a write: exit code %d, want %d; printed\n%s%s", code, ui.ExitRound, stdout, stderr)
	}
	code, stdout, _ = isukitIn(t, "", "replicas", "lint", "--json", dir)
	var report lint.Report
	if err := json.Unmarshal([]byte(stdout), &report); err != nil || code != ui.ExitRound || report.Count(lint.Refused) != 1 || report.Tables != 1 {
		t.Errorf("--json: exit code %d, %v: %+v", code, err, report)
	}
	write("app.go", strings.Replace(app, "%s", "?", 1))
	if code, stdout, _ = isukitIn(t, "", "replicas", "lint", dir); code != ui.ExitOK || !strings.Contains(stdout, "app.go:4: made exact: INSERT INTO job") {
		t.Errorf("with an argument: exit code %d, want 0; printed\n%s", code, stdout)
	}
	for _, wrong := range [][]string{{}, {"/nonexistent"}, {t.TempDir()}, {"--replica", "a=b", dir}, {"--mode", "durable", dir}} {
		if code, stdout, stderr := isukitIn(t, "", append([]string{"replicas", "lint"}, wrong...)...); code != ui.ExitUsage || stdout != "" || !strings.Contains(stderr, "hint:") {
			t.Errorf("replicas lint %q: exit code %d, want %d with a hint; printed\n%s%s", wrong, code, ui.ExitUsage, stdout, stderr)
		}
	}
}
