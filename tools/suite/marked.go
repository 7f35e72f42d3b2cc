package main

import (
	"encoding/json"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// endMarked ends the processes that bear the mark dir: kindly at first, so that isukit takes back what it did.
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
	_ = filepath.WalkDir(dir, func(name string, e fs.DirEntry, err error) error { // what cannot be read is no lab's state
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

// killIn ends what a control group still holds.
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
