package isukit_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestFanoutAlone builds a stranger's app on app/fanout with the lines that docs/fanout.md shows, and holds what comes with it to the driver,
// sqlx, and what these two need.
func TestFanoutAlone(t *testing.T) {
	root, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	lines := shownBlock(t, "go.mod")
	if !strings.Contains(lines, "=> ../isukit/app/fanout") {
		t.Fatalf("docs/fanout.md does not replace the module by a folder:\n%s", lines)
	}
	lines = strings.Replace(lines, "../isukit/app/fanout", filepath.Join(root, "app", "fanout"), 1)
	indirect := readFile(t, "app/fanout/go.mod")
	_, indirect, _ = strings.Cut(indirect, "\n") // the module's own name
	writeFile(t, filepath.Join(dir, "go.mod"), "module stranger\n"+lines+indirect)
	writeFile(t, filepath.Join(dir, "go.sum"), readFile(t, "app/fanout/go.sum"))
	writeFile(t, filepath.Join(dir, "main.go"), "package main\n\nimport _ \""+fanoutPath()+"\"\n\nfunc main() {}\n")
	run(t, dir, "go", "build", ".")
	got := strings.Fields(run(t, dir, "go", "list", "-deps", "-f", "{{with .Module}}{{if not .Main}}{{.Path}}{{end}}{{end}}", "."))
	allowed := []string{fanoutPath(), "github.com/go-sql-driver/mysql", "github.com/jmoiron/sqlx", "golang.org/x/sync", "filippo.io/edwards25519"}
	for _, m := range got {
		if !strings.Contains(strings.Join(allowed, " "), m) {
			t.Errorf("a stranger's app that imports %s is linked from %s", fanoutPath(), m)
		}
	}
	for line := range strings.Lines(readFile(t, "app/fanout/go.mod")) {
		if name := strings.Fields(line); len(name) >= 2 && strings.HasPrefix(name[1], "v") && !strings.Contains(strings.Join(allowed, " "), name[0]) {
			t.Errorf("app/fanout/go.mod requires %s", name[0])
		}
	}
}

// TestFanoutPath gives the module another path in a copy of the tree, and looks whether everything still finds it.
func TestFanoutPath(t *testing.T) {
	dir, to := t.TempDir(), "github.com/you/isukit/app/fanout"
	run(t, ".", "sh", "-c", `git ls-files -co --exclude-standard -z | tar --null --ignore-failed-read -cf - -T - | tar -xf - -C "$0"`, dir)
	run(t, dir, "sh", "scripts/fanout-path.sh", to)
	if out, err := exec.Command("grep", "-rlF", fanoutPath(), dir).Output(); err == nil {
		t.Errorf("the former path is still in\n%s", out)
	}
	if got := run(t, dir, "go", "list", "-deps", "-test", "./cmd/isukit", "./app/fanouttest"); !strings.Contains(got, to+"\n") {
		t.Errorf("cmd/isukit and app/fanouttest do not import %s", to)
	}
	if out := run(t, dir, "gofmt", "-l", "app", "cmd"); out != "" {
		t.Errorf("not formatted:\n%s", out)
	}
	for _, wrong := range []string{"", "isukit/app/fanout", "https://github.com/you/isukit", "/x.y/z"} {
		if err := exec.Command("sh", filepath.Join(dir, "scripts", "fanout-path.sh"), wrong).Run(); err == nil {
			t.Errorf("%q was taken for a module path", wrong)
		}
	}
}

// shownBlock is the first block of docs/fanout.md in a language.
func shownBlock(t *testing.T, language string) string {
	t.Helper()
	_, rest, _ := strings.Cut(readFile(t, "docs/fanout.md"), "```"+language+"\n")
	block, _, ok := strings.Cut(rest, "```")
	if !ok {
		t.Fatalf("docs/fanout.md shows no %s", language)
	}
	return block
}

func run(t *testing.T, dir, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOFLAGS=", "GOWORK=off")
	var problems strings.Builder
	cmd.Stderr = &problems
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s%s", name, strings.Join(args, " "), err, out, problems.String())
	}
	return string(out)
}

func readFile(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func writeFile(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
