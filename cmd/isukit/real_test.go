package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"isukit/infra/infratest"
)

var binaries struct {
	once sync.Once
	dir  string
	err  error
}

// buildBinaries builds both commands, once for all tests, and returns their directory.
func buildBinaries(t testing.TB) string {
	t.Helper()
	root := infratest.Root(t)
	binaries.once.Do(func() {
		if binaries.dir, binaries.err = os.MkdirTemp("", "isukit-bin-"); binaries.err != nil {
			return
		}
		cmd := exec.Command("go", "build", "-o", binaries.dir, "./cmd/isukit", "./cmd/isukit-app")
		cmd.Dir = root
		var out []byte
		if out, binaries.err = cmd.CombinedOutput(); binaries.err != nil {
			t.Logf("%s", out)
		}
	})
	if binaries.err != nil {
		t.Fatal(binaries.err)
	}
	return binaries.dir
}

// apart is infratest.Apart with isukit built; binary is where it is.
func apart(t *testing.T) (binary string, inside bool) {
	t.Helper()
	const env = "ISUKIT_TEST_BINARIES"
	dir := os.Getenv(env)
	if dir == "" {
		dir = buildBinaries(t)
	}
	return filepath.Join(dir, "isukit"), infratest.Apart(t, env+"="+dir)
}

// testStateDir is a state directory of the test alone, except for the machine's prepared data: preparing it for every test would take most
// of the time.
func testStateDir(t *testing.T) string {
	t.Helper()
	cache := filepath.Join(infratest.Root(t), ".local", "cache", "state")
	dir := t.TempDir()
	if err := os.MkdirAll(cache, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(cache, filepath.Join(dir, "cache")); err != nil {
		t.Fatal(err)
	}
	return dir
}
