package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// dirName begins the names of the directories of runs; such a directory's path is the mark of all that its run makes.
const dirName = "isukit-test."

const inMemory = "/dev/shm"

const needBytes = 8 << 30

type testRun struct {
	dir  string
	lock *os.File // held for as long as this process lives
}

// newRun makes the directory, in memory if there is plenty: the servers of tests wait for the disk longer than they compute.
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

func mountsBelow(dir string) (list []string) {
	text, _ := os.ReadFile("/proc/self/mountinfo")
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) > 4 && strings.HasPrefix(f[4], dir+"/") {
			list = append([]string{strings.ReplaceAll(f[4], `\040`, " ")}, list...)
		}
	}
	return list
}

// endMarked ends the processes with the mark dir, with SIGTERM first, so that isukit can clean up.
func endMarked(dir string) {
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
			pids := marked(dir)
			if len(pids) == 0 {
				return
			}
			for _, pid := range pids {
				_ = syscall.Kill(pid, sig) // it may have ended
				if sig == syscall.SIGTERM {
					_ = syscall.Kill(pid, syscall.SIGCONT) // one that was stopped would not end
				}
			}
		}
	}
}

// marked are the processes with dir in their environment, command line, working directory or open files. Zombies have none of these.
func marked(dir string) (pids []int) {
	entries, _ := filepath.Glob("/proc/[0-9]*")
	for _, e := range entries {
		if pid, _ := strconv.Atoi(filepath.Base(e)); pid != os.Getpid() && bears(e, dir) {
			pids = append(pids, pid)
		}
	}
	return pids
}

func bears(process, dir string) bool {
	for _, file := range []string{"environ", "cmdline"} {
		if text, err := os.ReadFile(filepath.Join(process, file)); err == nil && strings.Contains(string(text), dir) {
			return true
		}
	}
	links, _ := filepath.Glob(filepath.Join(process, "fd", "*"))
	for _, link := range append(links, filepath.Join(process, "cwd")) {
		if target, err := os.Readlink(link); err == nil && strings.HasPrefix(target+"/", dir+"/") {
			return true
		}
	}
	return false
}

// labGroups are the control groups of labs whose state is in dir.
func labGroups(dir string) (groups []string) {
	_ = filepath.WalkDir(dir, func(name string, e fs.DirEntry, err error) error { // an unreadable file is not a lab's state
		if err != nil || e.Name() != "state.json" {
			return nil
		}
		var s struct{ ID string }
		if text, err := os.ReadFile(name); err == nil && json.Unmarshal(text, &s) == nil && s.ID != "" {
			for _, pattern := range []string{"/sys/fs/cgroup/isukit-", "/sys/fs/cgroup/*/isukit-"} {
				found, _ := filepath.Glob(pattern + s.ID)
				groups = append(groups, found...)
			}
		}
		return nil
	})
	return groups
}

// removeGroup removes a control group with those in it, once nothing runs there any more.
func removeGroup(group string) {
	var dirs []string
	_ = filepath.WalkDir(group, func(name string, e fs.DirEntry, err error) error {
		if err == nil && e.IsDir() {
			dirs = append([]string{name}, dirs...)
		}
		return nil
	})
	for _, d := range dirs {
		for end := time.Now().Add(patience); syscall.Rmdir(d) == syscall.EBUSY && time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
			killIn(d)
		}
	}
}

func killIn(group string) {
	text, _ := os.ReadFile(filepath.Join(group, "cgroup.procs"))
	for _, word := range strings.Fields(string(text)) {
		if pid, err := strconv.Atoi(word); err == nil && pid > 0 {
			_ = syscall.Kill(pid, syscall.SIGKILL) // it may have ended
		}
	}
}

// removeNamespaces removes the network namespaces whose test process, named in theirs, is dead.
func removeNamespaces() {
	names, _ := filepath.Glob("/run/netns/isktest-*")
	for _, name := range names {
		owner, _, _ := strings.Cut(strings.TrimPrefix(filepath.Base(name), "isktest-"), "-")
		if pid, err := strconv.Atoi(owner); err == nil && syscall.Kill(pid, 0) == syscall.ESRCH {
			_ = exec.Command("ip", "netns", "del", filepath.Base(name)).Run() // who cannot had none
		}
	}
}
