package cgroup

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// The controllers that are used. Version 2 has the CPU time that was used (cpuacct) without a controller.
const (
	cpu     = "cpu"
	cpuacct = "cpuacct"
	cpuset  = "cpuset"
	memory  = "memory"
)

// ErrNone says that the kernel has no control groups that could hold a host's CPU and memory.
var ErrNone = errors.New("no control groups with the controllers cpu, cpuset and memory")

// Tree is where the groups of this machine are.
type Tree struct {
	// Unified is where version 2 is mounted; "" where version 1 has the controllers.
	Unified string
	// ByController is where version 1 has each controller mounted.
	ByController map[string]string
}

// Find finds the trees of this machine. Where both versions are mounted, the one counts that has the controllers.
func Find() (Tree, error) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return Tree{}, fmt.Errorf("find control groups: %w", err)
	}
	defer f.Close()
	var lines []string
	for scan := bufio.NewScanner(f); scan.Scan(); {
		lines = append(lines, scan.Text())
	}
	t, unified := parseMounts(lines)
	if len(t.ByController) == 4 {
		return t, nil
	}
	for _, mount := range unified {
		text, err := os.ReadFile(filepath.Join(mount, "cgroup.controllers"))
		if err == nil && hasAll(strings.Fields(string(text))) {
			return Tree{Unified: mount}, nil
		}
	}
	return Tree{}, ErrNone
}

func hasAll(have []string) bool {
	for _, c := range []string{cpu, cpuset, memory} {
		if !slices.Contains(have, c) {
			return false
		}
	}
	return true
}

// parseMounts reads lines of /proc/self/mountinfo: "ID PARENT DEV ROOT MOUNT OPTIONS [OPTIONAL ...] - TYPE SOURCE SUPER".
func parseMounts(lines []string) (v1 Tree, unified []string) {
	v1.ByController = map[string]string{}
	for _, line := range lines {
		before, after, ok := strings.Cut(line, " - ")
		fields, end := strings.Fields(before), strings.Fields(after)
		if !ok || len(fields) < 5 || len(end) < 3 {
			continue
		}
		switch end[0] {
		case "cgroup2":
			unified = append(unified, fields[4])
		case "cgroup":
			for option := range strings.SplitSeq(end[2], ",") {
				if slices.Contains([]string{cpu, cpuacct, cpuset, memory}, option) && v1.ByController[option] == "" {
					v1.ByController[option] = fields[4]
				}
			}
		}
	}
	return v1, unified
}

// Enable makes the controllers of version 2 available to groups below the root, and tells which were not before: they are
// for Disable. Version 1 needs nothing.
func (t Tree) Enable() (enabled []string, err error) {
	if t.Unified == "" {
		return nil, nil
	}
	file := filepath.Join(t.Unified, "cgroup.subtree_control")
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("enable controllers: %w", err)
	}
	for _, c := range []string{cpu, cpuset, memory} {
		if slices.Contains(strings.Fields(string(text)), c) {
			continue
		}
		if err := write(file, "+"+c); err != nil {
			return enabled, fmt.Errorf("enable controllers: %w", err)
		}
		enabled = append(enabled, c)
	}
	return enabled, nil
}

// Disable takes back what Enable did. A controller that somebody uses by now stays.
func (t Tree) Disable(controllers []string) {
	for _, c := range controllers {
		_ = write(filepath.Join(t.Unified, "cgroup.subtree_control"), "-"+c)
	}
}

// Host is the group of a host, by a path relative to the root of the tree.
func (t Tree) Host(path string) Group { return Group{tree: t, path: path} }

// mounts are the distinct places where a group has a directory.
func (t Tree) mounts() []string {
	if t.Unified != "" {
		return []string{t.Unified}
	}
	var list []string
	for _, m := range t.ByController {
		if !slices.Contains(list, m) {
			list = append(list, m)
		}
	}
	slices.Sort(list)
	return list
}

// write writes to a file of the kernel, which must be there: os.WriteFile would make it.
func write(file, text string) error {
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}
