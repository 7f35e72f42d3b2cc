package proc

import (
	"encoding/json"
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// TryLock is Lock that does not wait; the error is unix.EWOULDBLOCK when another process holds it.
func TryLock(path string) (*os.File, error) { return lock(path, unix.LOCK_EX|unix.LOCK_NB) }

// Lock opens and locks a file, which is made when it is not there.
func Lock(path string) (*os.File, error) { return lock(path, unix.LOCK_EX) }

func lock(path string, how int) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := Flock(f, how); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// Unlock releases a lock and closes the file; closing alone would leave it locked while a forked child has the file open.
func Unlock(f *os.File) error { return errors.Join(Flock(f, unix.LOCK_UN), f.Close()) }

// WriteOwner notes this process in its lock file.
func WriteOwner(lock *os.File) error {
	self, err := Self()
	if err != nil {
		return err
	}
	return json.NewEncoder(lock).Encode(self)
}

// LockOfDead locks the lock file of a run directory whose owner is dead; for that of a living one the error is
// unix.EWOULDBLOCK. A child that its owner had forked, and that has not begun its program yet, still holds the lock for
// a moment after the owner's death.
func LockOfDead(path string) (*os.File, error) {
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		f, err := TryLock(path)
		if err == nil || !errors.Is(err, unix.EWOULDBLOCK) || time.Now().After(deadline) {
			return f, err
		}
		var owner ID
		text, readErr := os.ReadFile(path)
		if readErr != nil || json.Unmarshal(text, &owner) != nil || owner.Alive() {
			return nil, err
		}
	}
}

// Flock locks an open file; how is one of unix.LOCK_*.
func Flock(f *os.File, how int) error {
	for {
		if err := unix.Flock(int(f.Fd()), how); err != unix.EINTR {
			return err
		}
	}
}
