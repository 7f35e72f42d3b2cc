package cgroup

import (
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
	// Others are the mounts of other hierarchies, with those of systemd, and of version 2 next to version 1; Whole finds them.
	Others []string
	whole  bool
}

// Find finds the trees of this machine. Where both versions are mounted, the one counts that has the controllers.
func Find() (Tree, error) {
	lines, err := mountLines()
	if err != nil {
		return Tree{}, err
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

func mountLines() ([]string, error) {
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("find control groups: %w", err)
	}
	return strings.Split(string(text), "\n"), nil
}

// Whole is the tree for hosts that manage control groups of their own, as systemd does: a host's group is one in every hierarchy,
// and its first process is in that very group, to be the root of what it manages.
func (t Tree) Whole() (Tree, error) {
	t.whole = true
	if t.Unified != "" {
		return t, nil
	}
	lines, err := mountLines()
	if err != nil {
		return t, err
	}
	byOption := mounted(lines)
	if byOption["name=systemd"] == "" {
		return t, fmt.Errorf("%w: systemd's own hierarchy is not mounted", ErrNone)
	}
	for _, mount := range byOption {
		if !slices.Contains(t.mounts(), mount) {
			t.Others = append(t.Others, mount)
		}
	}
	// systemd follows its services in that of version 2 where there is one: two of them in one group remove each other's groups.
	if _, unified := parseMounts(lines); len(unified) > 0 {
		t.Others = append(t.Others, unified[0])
	}
	slices.Sort(t.Others)
	t.Others = slices.Compact(t.Others)
	return t, nil
}

// mounted is where each controller and each named hierarchy of version 1 is mounted. Options that name neither are there, too.
func mounted(lines []string) map[string]string {
	list := map[string]string{}
	for _, line := range lines {
		mount, kind, options := parseMount(line)
		for option := range strings.SplitSeq(options, ",") {
			if kind == "cgroup" && list[option] == "" {
				list[option] = mount
			}
		}
	}
	return list
}

func hasAll(have []string) bool {
	for _, c := range []string{cpu, cpuset, memory} {
		if !slices.Contains(have, c) {
			return false
		}
	}
	return true
}

// parseMounts finds the controllers of version 1 that are used, and where version 2 is mounted.
func parseMounts(lines []string) (v1 Tree, unified []string) {
	v1.ByController = map[string]string{}
	byOption := mounted(lines)
	for _, c := range []string{cpu, cpuacct, cpuset, memory} {
		if mount := byOption[c]; mount != "" {
			v1.ByController[c] = mount
		}
	}
	for _, line := range lines {
		if mount, kind, _ := parseMount(line); kind == "cgroup2" {
			unified = append(unified, mount)
		}
	}
	return v1, unified
}

// parseMount reads a line of /proc/self/mountinfo: "ID PARENT DEV ROOT MOUNT OPTIONS [OPTIONAL ...] - TYPE SOURCE SUPER".
func parseMount(line string) (mount, kind, options string) {
	before, after, ok := strings.Cut(line, " - ")
	fields, end := strings.Fields(before), strings.Fields(after)
	if !ok || len(fields) < 5 || len(end) < 3 {
		return "", "", ""
	}
	return fields[4], end[0], end[2]
}

// Enable makes controllers of version 2 available below the root, and returns the new ones, for Disable. Version 1 needs nothing.
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

// Disable reverts Enable, except for controllers that are now in use.
func (t Tree) Disable(controllers []string) {
	for _, c := range controllers {
		_ = write(filepath.Join(t.Unified, "cgroup.subtree_control"), "-"+c)
	}
}

// Host is the group of a host, by a path relative to the root of the tree.
func (t Tree) Host(path string) Group { return Group{tree: t, path: path} }

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
	list = append(list, t.Others...)
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
