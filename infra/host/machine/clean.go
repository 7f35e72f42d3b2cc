package machine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"isukit/infra/host/cgroup"
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

// CleanDead takes away what isukits that are dead have left in stateDir: hosts and run directories that were not to outlive
// them, hosts that they had not finished making, and commands that they ran. What belongs to living ones, and hosts that are
// kept, are not touched. It goes on past what fails; that stays on record, and the errors are joined.
func CleanDead(ctx context.Context, stateDir string) (done Cleaned, err error) {
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
		lock, err := proc.LockOfDead(filepath.Join(dir, lockName))
		if errors.Is(err, unix.EWOULDBLOCK) {
			continue
		}
		if err == nil {
			err = errors.Join(cleanRun(ctx, dir, &done), proc.Unlock(lock))
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("clean up after a dead isukit in %s: %w", dir, err))
		}
	}
	for _, name := range []string{localName, labName} {
		if err := cleanKept(ctx, stateDir, name, &done); err != nil {
			errs = append(errs, fmt.Errorf("clean up after a dead isukit: %w", err))
		}
	}
	return done, errors.Join(errs...)
}

// cleanRun takes down the hosts of a run directory whose isukit is dead, and removes it.
func cleanRun(ctx context.Context, dir string, done *Cleaned) error {
	ended, err := endRecorded(ctx, filepath.Join(dir, "inventory"), dir) // of an isukit that had its services there
	if done.Ended = append(done.Ended, ended...); err != nil {
		return err
	}
	d, s, err := reopen(dir)
	if err != nil && !errors.Is(err, errBroken) {
		return err
	}
	if err == nil {
		done.Ended = append(done.Ended, s.living()...)
		if err := d.endCommands(ctx, done); err != nil {
			return err
		}
	}
	if err := errors.Join(d.Down(ctx), os.RemoveAll(dir)); err != nil {
		return err
	}
	done.Removed = append(done.Removed, dir)
	return nil
}

// cleanKept takes away what is half made of hosts that are to be kept.
func cleanKept(ctx context.Context, stateDir, name string, done *Cleaned) error {
	dir := keptDir(stateDir, name)
	if _, err := os.Stat(filepath.Join(dir, stateFile)); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	d, s, err := reopen(dir)
	if errors.Is(err, errBroken) {
		return nil // the driver's next user gets the error
	}
	if err != nil {
		return err
	}
	if err := d.endCommands(ctx, done); err != nil {
		return err
	}
	if !s.halfMade() {
		return nil
	}
	lock, err := proc.LockOfDead(filepath.Join(dir, workLock))
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil // somebody is at it
	}
	if err != nil {
		return err
	}
	defer proc.Unlock(lock)
	before := s.living()
	if err := d.removeHalfMade(ctx); err != nil {
		return err
	}
	if s, err = d.store.read(); err != nil {
		return err
	}
	if len(s.Hosts) == 0 {
		err = d.down(ctx)
	}
	done.Removed = append(done.Removed, dir)
	for _, e := range before {
		if _, err := proc.Read(e.PID); err != nil {
			done.Ended = append(done.Ended, e)
		}
	}
	return err
}

// reopen returns the driver whose directory this is, for taking down what it has made.
func reopen(dir string) (*Driver, state, error) {
	self, err := proc.Self()
	if err != nil {
		return nil, state{}, err
	}
	s, err := store{dir}.read()
	d := &Driver{name: s.Driver, dir: dir, self: self, store: store{dir}}
	if err != nil {
		return d, s, err
	}
	return d, s, d.openDir()
}

// abandon ends all processes of a driver's directory whose record cannot be read, also in the lab's control groups, and removes the rest.
func (d *Driver) abandon(ctx context.Context) error {
	groups := map[string]bool{}
	empty := 0 // twice, as in proc.EndGroup
	for deadline := time.Now().Add(time.Minute); empty < 2; time.Sleep(2 * time.Millisecond) {
		mine := proc.List(func(st proc.Stat) bool { return st.PID != d.self.PID && proc.StandsIn(st.PID, d.dir) })
		if empty++; len(mine) > 0 {
			empty = 0
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%d processes that stand in %s do not end", len(mine), d.dir)
		}
		for _, st := range mine {
			text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", st.PID)) // it may have ended
			if name := labGroup.FindString(string(text)); name != "" {
				groups[name] = true
			}
			if err := syscall.Kill(st.PID, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
				return fmt.Errorf("kill process %d, which stands in %s: %w", st.PID, d.dir, err)
			}
		}
	}
	tree, err := cgroup.Find()
	if err == nil {
		if whole, err := tree.Whole(); err == nil {
			tree = whole
		}
	}
	for name := range groups {
		g := tree.Host(name)
		if _, err := g.Kill(ctx); err != nil {
			return err
		}
		if err := g.Remove(); err != nil {
			return err
		}
	}
	entries, err := os.ReadDir(d.dir)
	for _, e := range entries {
		if filepath.Ext(e.Name()) != ".lock" && e.Name() != lockName {
			err = errors.Join(err, os.RemoveAll(filepath.Join(d.dir, e.Name())))
		}
	}
	return errors.Join(err, d.closeCommands())
}

var labGroup = regexp.MustCompile(`isukit-[0-9a-f]{8}`)

func (s *state) halfMade() bool {
	for _, h := range s.Hosts {
		if h.Maker.PID > 0 {
			return true
		}
	}
	return len(s.Hosts) == 0
}

// living are the first processes of everything that is on record and still there.
func (s *state) living() []Ended {
	var list []Ended
	add := func(name string, id proc.ID) {
		if id.Alive() {
			list = append(list, Ended{Name: name, PID: id.PID})
		}
	}
	for _, h := range s.Hosts {
		for _, service := range h.Services {
			add(service.Name, service.ID)
		}
		add(h.Want.Name, h.Holder)
		add(h.Want.Name, h.Link)
	}
	for _, f := range s.Fixtures {
		add(f.Name, f.ID)
	}
	return list
}
