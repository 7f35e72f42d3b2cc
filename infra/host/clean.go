package host

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
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
		lock, err := lockOfDead(filepath.Join(dir, lockName))
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
	boot := bootID()
	for _, r := range records {
		if r.Boot != boot {
			continue
		}
		ended, err := endGroup(ctx, r.Name, r.process, dir)
		done.Ended = append(done.Ended, ended...)
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

// endGroup kills the processes of p's group that are still there, and returns when they are gone. While p lives, the
// group is surely ours. After its death others of the group may live on (nginx's workers do); then only those are ours
// that stand in the run directory dir, since the number may have come to a stranger.
func endGroup(ctx context.Context, name string, p process, dir string) ([]Ended, error) {
	var ended []Ended
	killed := map[int]bool{}
	for deadline := time.Now().Add(10 * time.Second); ; {
		first := p.alive()
		left := 0
		for _, st := range groupMembers(p.PID) {
			if !first && !killed[st.PID] && !standsIn(st.PID, dir) {
				continue
			}
			left++
			if err := syscall.Kill(st.PID, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
				return ended, fmt.Errorf("kill %s (pid %d): %w", name, st.PID, err)
			}
			if !killed[st.PID] {
				killed[st.PID] = true
				ended = append(ended, Ended{Name: name, PID: st.PID})
			}
		}
		if left == 0 {
			return ended, nil
		}
		if time.Now().After(deadline) {
			return ended, fmt.Errorf("%s: %d processes of group %d do not end", name, left, p.PID)
		}
		select {
		case <-ctx.Done():
			return ended, context.Cause(ctx)
		case <-time.After(2 * time.Millisecond):
		}
	}
}
