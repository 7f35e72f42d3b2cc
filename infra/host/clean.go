package host

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"isukit/infra/host/proc"
)

// Cleaned is what CleanDead did.
type Cleaned struct {
	Ended   []Ended  // processes that were killed
	Removed []string // run directories
}

// Ended is a process that a dead isukit had left.
type Ended struct {
	Name string // of its service or command
	PID  int
}

// CleanDead ends what is left of runs in stateDir whose isukit is dead, and removes their directories. Runs of living
// ones are not touched. It goes on past what fails; that stays on record, and the errors are joined.
func CleanDead(ctx context.Context, stateDir string) (Cleaned, error) {
	var done Cleaned
	unlock, err := lockState(stateDir)
	if err != nil {
		return done, err
	}
	defer unlock()
	runs, err := os.ReadDir(runsDir(stateDir))
	if err != nil {
		return done, fmt.Errorf("list runs: %w", err)
	}
	var errs []error
	for _, run := range runs {
		dir := filepath.Join(runsDir(stateDir), run.Name())
		if _, err := os.Stat(filepath.Join(dir, "state.json")); err == nil {
			continue // hosts of a driver (infra/host/machine), which must be taken down first
		}
		lock, err := proc.LockOfDead(filepath.Join(dir, lockName))
		if errors.Is(err, unix.EWOULDBLOCK) {
			continue
		}
		if err == nil {
			err = done.clean(ctx, dir)
			lock.Close()
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("clean up after a dead isukit in %s: %w", dir, err))
		}
	}
	return done, errors.Join(errs...)
}

func (done *Cleaned) clean(ctx context.Context, dir string) error {
	records, err := readInventory(dir)
	if err != nil {
		return err
	}
	boot := proc.Boot()
	for _, r := range records {
		if r.Boot != boot {
			continue
		}
		ended, err := proc.EndGroup(ctx, r.Name, r.ID, dir)
		for _, pid := range ended {
			done.Ended = append(done.Ended, Ended{Name: r.Name, PID: pid})
		}
		if err != nil {
			return err
		}
	}
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	done.Removed = append(done.Removed, dir)
	return nil
}
