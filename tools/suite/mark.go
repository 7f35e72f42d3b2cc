package main

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// dirName begins the names of the directories of runs; such a directory's path is the mark of all that its run makes.
const dirName = "isukit-test."

const inMemory = "/dev/shm"

// needBytes is how much memory must be free for the files to be kept there.
const needBytes = 8 << 30

// testRun is the directory of a run under way.
type testRun struct {
	dir  string
	lock *os.File // held for as long as this process lives
}

// newRun makes the directory: in memory, if there is plenty that may hold programs. The servers that tests start wait for the disk longer
// than they compute.
func newRun() (testRun, error) {
	if memoryIsPlenty() {
		r, err := newRunIn(inMemory)
		if err == nil && mayHoldPrograms(r.dir) {
			return r, nil
		}
		if err == nil {
			err = r.remove()
		}
		if err != nil {
			return testRun{}, err
		}
	}
	return newRunIn(os.TempDir())
}

func newRunIn(parent string) (r testRun, err error) {
	if r.dir, err = os.MkdirTemp(parent, dirName); err != nil {
		return r, err
	}
	if r.lock, err = os.Create(lockOf(r.dir)); err != nil {
		return r, err
	}
	if err := syscall.Flock(int(r.lock.Fd()), syscall.LOCK_EX); err != nil {
		return r, err
	}
	return r, os.Chmod(r.dir, 0o777|fs.ModeSticky) // as /tmp is: some tests run as another user
}

func lockOf(dir string) string { return filepath.Join(dir, "lock") }

func (r testRun) remove() error {
	defer r.lock.Close()
	return removeMarked(r.dir)
}

// removeDead removes what runs left whose process was killed. What it cannot remove it says: the tests go on.
func removeDead() {
	for _, parent := range []string{inMemory, os.TempDir()} {
		dirs, _ := filepath.Glob(filepath.Join(parent, dirName+"*"))
		for _, dir := range dirs {
			if !isDead(dir) {
				continue
			}
			fmt.Fprintf(os.Stderr, "suite: clearing up %s, of a run that was killed\n", dir)
			if err := removeMarked(dir); err != nil {
				fmt.Fprintln(os.Stderr, "suite: error:", err)
			}
		}
	}
	removeNamespaces()
}

// isDead tells whether nobody holds the directory's lock.
func isDead(dir string) bool {
	lock, err := os.Open(lockOf(dir))
	if err != nil {
		return false // it is being made, or is none of ours
	}
	defer lock.Close()
	return syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil
}

func memoryIsPlenty() bool {
	var st syscall.Statfs_t
	if syscall.Statfs(inMemory, &st) != nil || st.Bavail*uint64(st.Bsize) < needBytes {
		return false
	}
	info, err := os.Open("/proc/meminfo")
	if err != nil {
		return false
	}
	defer info.Close()
	for lines := bufio.NewScanner(info); lines.Scan(); {
		var kib uint64
		if n, _ := fmt.Sscanf(lines.Text(), "MemAvailable: %d kB", &kib); n == 1 {
			return kib<<10 >= needBytes
		}
	}
	return false
}

// mayHoldPrograms tells whether the kernel runs what is in dir: a file system may be mounted without that.
func mayHoldPrograms(dir string) bool {
	probe := filepath.Join(dir, "probe")
	if os.WriteFile(probe, []byte("#!/bin/sh\n"), 0o700) != nil {
		return false
	}
	defer os.Remove(probe)
	return syscall.Access(probe, 1) == nil // X_OK, which a file system without programs refuses
}

// removeMarked ends what bears the mark dir, and removes the directory.
func removeMarked(dir string) error {
	groups := labGroups(dir) // their names are in files
	endMarked(dir)
	var errs []error
	for _, m := range mountsBelow(dir) {
		if err := syscall.Unmount(m, syscall.MNT_DETACH); err != nil {
			errs = append(errs, fmt.Errorf("unmount %s: %w", m, err))
		}
	}
	for _, g := range groups {
		removeGroup(g)
	}
	removeNamespaces()
	return errors.Join(append(errs, os.RemoveAll(dir))...)
}

// mountsBelow lists what is mounted in dir, the last first.
func mountsBelow(dir string) (list []string) {
	text, _ := os.ReadFile("/proc/self/mountinfo")
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) > 4 && strings.HasPrefix(f[4], dir+"/") {
			list = append([]string{strings.ReplaceAll(f[4], `\040`, " ")}, list...)
		}
	}
	return list
}
