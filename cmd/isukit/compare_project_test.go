package main

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"isukit/cmd/internal/ui"
)

// TestCompareOfAProject plays sides of a project: what a command or a commit changes is compared, and sides that are equal by mistake
// end with exit code 2 and the reason.
func TestCompareOfAProject(t *testing.T) {
	t.Parallel()
	setting := filepath.Join(t.TempDir(), "setting")
	dir := standIn(t, "build: [{run: 'test -e app || true'}]\nfacts: [{key: setting, run: 'cat "+setting+"'}]", "echo score: $(cat score)")
	git := func(args ...string) {
		t.Helper()
		cmd := exec.Command("git", append([]string{"-C", dir, "-c", "user.name=t", "-c", "user.email=t@example.com"}, args...)...)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
	}
	write(t, setting, "old")
	write(t, filepath.Join(dir, "score"), "1000")
	git("add", "-A")
	git("commit", "-qm", "slow")
	write(t, filepath.Join(dir, "score"), "2000")
	git("commit", "-qam", "fast")
	for _, tt := range []struct {
		a, b string
		code int
		want string
	}{
		{"run=echo 1000 > score; echo a > " + setting, "run=echo 900 > score; echo b > " + setting, ui.ExitOK, "score"},
		{"run=echo 1000 > score", "run=echo 1000  > score", ui.ExitUsage, "the records of their rounds do not differ"},
		{"commit=HEAD~1", "commit=HEAD", ui.ExitOK, "score"},
		{"commit=HEAD", "commit=master", ui.ExitUsage, "do not differ in that: commit"},
		{"run=exit 3", "run=true", ui.ExitFailed, "exit status 3"},
		{"round=--users 5", "round=", ui.ExitUsage, "--users does not apply to a project"},
	} {
		cmd := aloneCommand(t, dir, filepath.Join(t.TempDir(), "state"), "compare", tt.a, tt.b, "--rounds", "1", "--warmup", "0", "--repeats", "0")
		out, err := cmd.CombinedOutput()
		if code := cmd.ProcessState.ExitCode(); code != tt.code || !strings.Contains(string(out), tt.want) {
			t.Errorf("isukit compare %q %q: exit %d, %v, want %d and %q:\n%s", tt.a, tt.b, code, err, tt.code, tt.want, out)
		}
	}
}
