package machine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"isukit/infra/host"
	"isukit/infra/host/proc"
)

// CleanDead takes away what isukits that are dead have left in stateDir: hosts and run directories that were not to outlive
// them, hosts that they had not finished making, and commands that they ran. What belongs to living ones, and hosts that are
// kept, are not touched. It goes on past what fails; that stays on record, and the errors are joined.
func CleanDead(ctx context.Context, stateDir string) (host.Cleaned, error) {
	var done host.Cleaned
	var errs []error
	runs, err := filepath.Glob(filepath.Join(stateDir, "runs", "*", stateFile))
	if err != nil {
		return done, err
	}
	for _, file := range runs {
		if err := cleanRun(ctx, filepath.Dir(file), &done); err != nil {
			errs = append(errs, fmt.Errorf("clean up after a dead isukit: %w", err))
		}
	}
	for _, name := range []string{localName, labName} {
		if err := cleanKept(ctx, stateDir, name, &done); err != nil {
			errs = append(errs, fmt.Errorf("clean up after a dead isukit: %w", err))
		}
	}
	more, err := host.CleanDead(ctx, stateDir)
	done.Ended, done.Removed = append(done.Ended, more.Ended...), append(done.Removed, more.Removed...)
	return done, errors.Join(append(errs, err)...)
}

// cleanRun takes down the hosts of a run directory whose isukit is dead. The directory itself is left to host.CleanDead.
func cleanRun(ctx context.Context, dir string, done *host.Cleaned) error {
	lock, err := proc.LockOfDead(filepath.Join(dir, "lock"))
	if errors.Is(err, unix.EWOULDBLOCK) || errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer lock.Close()
	d, s, err := reopen(dir)
	if err != nil {
		return err
	}
	done.Ended = append(done.Ended, s.living()...)
	if err := d.endCommands(ctx, done); err != nil {
		return err
	}
	return d.Down(ctx)
}

// cleanKept takes away what is half made of hosts that are to be kept.
func cleanKept(ctx context.Context, stateDir, name string, done *host.Cleaned) error {
	dir := keptDir(stateDir, name)
	if _, err := os.Stat(filepath.Join(dir, stateFile)); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	d, s, err := reopen(dir)
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
	defer lock.Close()
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
	if err != nil {
		return nil, s, err
	}
	d := &Driver{name: s.Driver, dir: dir, self: self}
	return d, s, d.openDir()
}

// halfMade tells whether somebody was stopped while making or removing hosts.
func (s *state) halfMade() bool {
	for _, h := range s.Hosts {
		if h.Maker.PID > 0 {
			return true
		}
	}
	return len(s.Hosts) == 0
}

// living are the first processes of everything that is on record and still there.
func (s *state) living() []host.Ended {
	var list []host.Ended
	add := func(name string, id proc.ID) {
		if id.Alive() {
			list = append(list, host.Ended{Name: name, PID: id.PID})
		}
	}
	for _, h := range s.Hosts {
		for _, service := range h.Services {
			add(service.Name, service.ID)
		}
		add(h.Want.Name, h.Holder)
	}
	for _, f := range s.Fixtures {
		add(f.Name, f.ID)
	}
	return list
}

// endCommands ends the commands of isukits that are dead.
func (d *Driver) endCommands(ctx context.Context, done *host.Cleaned) error {
	ended, err := endCommandsOfDead(ctx, d.ownDir(""), d.dir)
	for _, pid := range ended {
		done.Ended = append(done.Ended, host.Ended{Name: "command", PID: pid})
	}
	return err
}
