package infra

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestUseCached(t *testing.T) {
	cache, now := t.TempDir(), time.Now()
	for name, age := range map[string]time.Duration{
		"mariadb-1-data-small-1-v1": 20 * 24 * time.Hour, // the one that is used
		"mariadb-1-data-small-2-v1": 13 * 24 * time.Hour,
		"mariadb-0-data-small-1-v1": 15 * 24 * time.Hour,
		"mariadb-1":                 20 * 24 * time.Hour,
	} {
		dir := filepath.Join(cache, name)
		if err := os.MkdirAll(filepath.Join(dir, "mysql"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(dir+".lock", nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(dir, now.Add(-age), now.Add(-age)); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 { // what was used is not old the second time
		if err := useCached(filepath.Join(cache, "mariadb-1-data-small-1-v1"), now); err != nil {
			t.Fatal(err)
		}
	}
	entries, err := os.ReadDir(cache)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	want := []string{
		"mariadb-1", "mariadb-1-data-small-1-v1", "mariadb-1-data-small-1-v1.lock",
		"mariadb-1-data-small-2-v1", "mariadb-1-data-small-2-v1.lock", "mariadb-1.lock",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the cache afterwards: -want +got\n%s", diff)
	}
}
