package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"isukit/cmd/internal/ui"
	"isukit/infra/infratest"
)

// TestManPages writes the pages of all commands and lets man render them, which must find nothing to warn of.
func TestManPages(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if code, _, errs := isukitIn(t, "", "man", dir); code != ui.ExitOK {
		t.Fatalf("exit %d: %s", code, errs)
	}
	var pages []string
	for _, c := range allCommands(t) {
		page := filepath.Join(dir, strings.ReplaceAll(c.CommandPath(), " ", "-")+".1")
		if c.Hidden {
			continue
		}
		if _, err := os.Stat(page); err != nil {
			t.Error(err)
		}
		pages = append(pages, page)
	}
	man, err := exec.LookPath("man")
	if err != nil {
		infratest.Real(t)
		t.Fatal("man is needed to render the pages (Debian package man-db)")
	}
	cmd := exec.Command(man, append([]string{"--warnings=w", "-l"}, pages...)...)
	cmd.Env = append(os.Environ(), "MANPAGER=cat", "PAGER=cat", "MANWIDTH=80", "LC_ALL=C.UTF-8")
	var warnings strings.Builder
	cmd.Stderr = &warnings
	out, err := cmd.Output()
	if err != nil || warnings.Len() > 0 {
		t.Errorf("%v: %s", err, warnings.String())
	}
	for _, want := range []string{"--topology", "isukit compare topology=single", "--from 20s", "EXIT STATUS", "ISUKIT_STATE_DIR"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("what is rendered lacks %q", want)
		}
	}
}
