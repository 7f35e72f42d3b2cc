package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"isukit/cmd/internal/round"
	"isukit/cmd/internal/ui"
)

// TestFindDriver: where no driver is named, it is the one with which something is up.
func TestFindDriver(t *testing.T) {
	dir := t.TempDir()
	want := func(driver string, fault ...string) {
		t.Helper()
		got, err := round.FindDriver("", dir)
		if got != driver || (err != nil) != (len(fault) > 0) {
			t.Errorf("got %q, %v; want %q, and a fault: %v", got, err, driver, len(fault) > 0)
		}
		for _, part := range fault {
			if err == nil || !strings.Contains(err.Error(), part) {
				t.Errorf("got %v, want %q in it", err, part)
			}
		}
	}
	for _, d := range []string{"local", "lab/s2", "ssh"} {
		if err := os.MkdirAll(filepath.Join(dir, "hosts", d), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	want("")
	write(t, filepath.Join(dir, "hosts/local/state.json"), `{"driver":"local","hosts":[]}`)
	write(t, filepath.Join(dir, "hosts/ssh/state.json"), `[]`)
	want("")
	write(t, filepath.Join(dir, "hosts/local/state.json"), `{"driver":"local","hosts":[{"want":{"name":"s1"}}]}`)
	want("local") // hosts without a topology, and nothing else
	write(t, filepath.Join(dir, "hosts/lab/state.json"), `{"driver":"lab","hosts":[{"want":{"name":"s1"}},{"want":{"name":"s2"}}]}`)
	write(t, filepath.Join(dir, "hosts/lab/s2/inventory.json"), "{}")
	want("lab")
	if got, err := round.FindDriver("local", dir); got != "local" || err != nil {
		t.Errorf("with --driver local: got %q, %v", got, err)
	}
	write(t, filepath.Join(dir, "hosts/ssh/state.json"), `[{"want":{"name":"web"}}]`)
	want("", "topologies run with several drivers: lab, ssh")
	code, _, errOut := isukitState(t, dir, "topology", "status")
	if code != ui.ExitUsage || !strings.Contains(errOut, "hint: choose one: --driver lab or --driver ssh") {
		t.Errorf("topology status: got exit code %d, %s; want a usage error with a hint", code, errOut)
	}
}
