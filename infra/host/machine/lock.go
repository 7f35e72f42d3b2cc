package machine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"isukit/infra/host"
	"isukit/infra/host/proc"
)

// Lock implements host.Driver. The lock ends with the process that holds it.
func (d *Driver) Lock(_ context.Context, holder string) (release func() error, err error) {
	path := filepath.Join(d.dir, "holder")
	lock, err := proc.TryLock(path)
	if errors.Is(err, unix.EWOULDBLOCK) {
		locked := &host.LockedError{Driver: d.name}
		text, err := os.ReadFile(path)
		if err == nil {
			err = json.Unmarshal(text, &locked.Holder)
		}
		if err != nil {
			locked.Holder = host.Holder{Name: "somebody"} // who has not written a name yet
		}
		return nil, locked
	}
	if err != nil {
		return nil, fmt.Errorf("lock the hosts: %w", err)
	}
	text, err := json.Marshal(host.Holder{Name: holder, Since: time.Now(), PID: os.Getpid()})
	if err == nil {
		err = lock.Truncate(0)
	}
	if err == nil {
		_, err = lock.WriteAt(append(text, '\n'), 0)
	}
	if err != nil {
		lock.Close()
		return nil, fmt.Errorf("lock the hosts: %w", err)
	}
	return func() error { return errors.Join(lock.Truncate(0), proc.Unlock(lock)) }, nil
}
