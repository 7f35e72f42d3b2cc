package infra

import (
	"os"
	"path/filepath"
	"strings"
	"time"
)

// keepPrepared is how long prepared data is kept after its last use: each is some hundred megabytes, and those of
// another version of the dataset or of the server are not used again.
const keepPrepared = 14 * 24 * time.Hour

// useCached marks prepared data as used at the time now, and removes what was not used for long beside it.
func useCached(dir string, now time.Time) error {
	if err := os.Chtimes(dir, now, now); err != nil {
		return err
	}
	entries, err := os.ReadDir(filepath.Dir(dir))
	if err != nil {
		return err
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || !e.IsDir() || !strings.Contains(e.Name(), preparedMark) || now.Sub(info.ModTime()) < keepPrepared {
			continue
		}
		path := filepath.Join(filepath.Dir(dir), e.Name())
		if err := os.RemoveAll(path); err != nil {
			return err
		}
		if err := os.Remove(path + ".lock"); err != nil && !os.IsNotExist(err) {
			return err
		}
	}
	return nil
}

// preparedMark is in the names of prepared data, and of nothing else in the cache.
const preparedMark = "-data-"
