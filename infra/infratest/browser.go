package infratest

import (
	"os/exec"
	"testing"
)

// FindBrowser is the path of Chromium, under any of the names that make setup-test is content with. A missing one fails tb.
func FindBrowser(tb testing.TB) string {
	tb.Helper()
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	tb.Fatal("there is no Chromium (hint: make setup-test)")
	return ""
}
