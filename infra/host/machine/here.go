package machine

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"isukit/infra/host"
	"isukit/infra/host/proc"
)

// Here is this machine as a host. What it runs has the environment of this process, and ends with it.
type Here struct{ *node }

// OpenHere makes this machine a host, with a run directory in stateDir, which is made when it is not there. Close gives it back.
func OpenHere(stateDir string) (_ *Here, err error) {
	d, err := OpenLocal(Options{StateDir: stateDir})
	if err != nil {
		return nil, err
	}
	ctx := context.Background()
	var h host.Host
	if err = d.Ensure(ctx, []host.Want{{Name: localName}}); err == nil {
		h, err = d.Host(localName)
	}
	if err != nil {
		return nil, errors.Join(err, d.Close(ctx))
	}
	n := h.(*node)
	n.env = os.Environ()
	return &Here{n}, nil
}

// Close ends what still runs and removes the run directory.
func (h *Here) Close(ctx context.Context) error { return h.d.Close(ctx) }

// lockName is the file of a run directory that its isukit holds locked for as long as it lives.
const lockName = "lock"

func runsDir(stateDir string) string { return filepath.Join(stateDir, "runs") }

// lockState keeps others from making or cleaning run directories while one is made or cleaned.
func lockState(stateDir string) (unlock func(), err error) {
	if err := os.MkdirAll(runsDir(stateDir), 0o700); err != nil {
		return nil, fmt.Errorf("make state directory: %w", err)
	}
	f, err := proc.Lock(filepath.Join(stateDir, lockName))
	if err != nil {
		return nil, fmt.Errorf("lock state directory %s: %w", stateDir, err)
	}
	return func() { f.Close() }, nil
}

// makeRun makes the run directory of a driver whose hosts end with this process.
func makeRun(stateDir string) (dir string, lock *os.File, err error) {
	unlock, err := lockState(stateDir)
	if err != nil {
		return "", nil, err
	}
	defer unlock()
	// The name is short: the path of a Unix socket in it must be so.
	var id [4]byte
	rand.Read(id[:])
	dir = filepath.Join(runsDir(stateDir), hex.EncodeToString(id[:]))
	if err := os.Mkdir(dir, 0o700); err != nil {
		return "", nil, fmt.Errorf("make run directory: %w", err)
	}
	if lock, err = proc.TryLock(filepath.Join(dir, lockName)); err == nil {
		err = proc.WriteOwner(lock)
	}
	if err != nil {
		return "", nil, fmt.Errorf("lock run directory %s: %w", dir, errors.Join(err, os.RemoveAll(dir)))
	}
	return dir, lock, nil
}
