package report_test

import (
	"os"
	"path/filepath"
	"testing"

	"isukit/bench/result"
)

func savePage(t *testing.T, r *result.Round) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "report.html")
	if err := os.WriteFile(path, []byte(page(t, r)), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}
