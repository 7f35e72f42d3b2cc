package cgroup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Group is a host's group, or a leaf of it. The zero value is for none.
type Group struct {
	tree Tree
	path string
	leaf bool
}

// Leaf is the group of one service of a host.
func (g Group) Leaf(name string) Group {
	return Group{tree: g.tree, path: path.Join(g.path, name), leaf: true}
}

func (g Group) None() bool { return g.path == "" }

// dir is where a controller keeps the group. A leaf is not there for those that split: CPU time and CPUs are the host's.
func (g Group) dir(controller string) string {
	mount := g.tree.Unified
	if mount != "" {
		return filepath.Join(mount, g.path)
	}
	mount = g.tree.ByController[controller]
	shared := mount == g.tree.ByController[memory] || mount == g.tree.ByController[cpuacct]
	if g.leaf && !shared {
		return filepath.Join(mount, path.Dir(g.path))
	}
	return filepath.Join(mount, g.path)
}

// Dirs are the directories of the group itself, not of its host, one in each hierarchy.
func (g Group) Dirs() []string {
	var list []string
	for _, m := range g.tree.mounts() {
		list = append(list, filepath.Join(m, g.path))
	}
	return list
}

// Make makes the group, and those above it; they may exist.
func (g Group) Make() error {
	if g.tree.Unified != "" {
		return g.makeUnified()
	}
	for _, place := range g.places() {
		mount, dir := place[0], place[1]
		rel, err := filepath.Rel(mount, dir)
		if err != nil {
			return err
		}
		for _, part := range prefixes(rel) {
			made := filepath.Join(mount, part)
			if err := mkdir(made); err != nil {
				return err
			}
			if err := inheritCPUs(made); err != nil {
				return err
			}
		}
	}
	return nil
}

// places are the mounts of version 1 and what is the group there.
func (g Group) places() [][2]string {
	var list [][2]string
	for _, c := range []string{cpu, cpuacct, cpuset, memory} {
		list = append(list, [2]string{g.tree.ByController[c], g.dir(c)})
	}
	for _, mount := range g.tree.Others {
		if !g.leaf {
			list = append(list, [2]string{mount, filepath.Join(mount, g.path)})
		}
	}
	return list
}

// prefixes of a/b/c are a, a/b and a/b/c.
func prefixes(rel string) []string {
	var list []string
	for i, c := range rel + "/" {
		if c == '/' {
			list = append(list, rel[:i])
		}
	}
	return list
}

func mkdir(dir string) error {
	if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("make control group: %w", err)
	}
	return nil
}

// inheritCPUs gives a new group of version 1 the CPUs and memory nodes of its parent: without them it takes no process.
func inheritCPUs(dir string) error {
	for _, name := range []string{"cpuset.cpus", "cpuset.mems"} {
		own, err := os.ReadFile(filepath.Join(dir, name))
		if errors.Is(err, fs.ErrNotExist) || err == nil && strings.TrimSpace(string(own)) != "" {
			continue
		}
		above, err := os.ReadFile(filepath.Join(filepath.Dir(dir), name))
		if err != nil {
			return fmt.Errorf("make control group: %w", err)
		}
		if err := write(filepath.Join(dir, name), strings.TrimSpace(string(above))); err != nil {
			return fmt.Errorf("make control group: %w", err)
		}
	}
	return nil
}

// makeUnified: a group of version 2 has processes or controllers, not both; so processes are in leaves, which get only memory.
func (g Group) makeUnified() error {
	parts := prefixes(g.path)
	for i, part := range parts {
		dir := filepath.Join(g.tree.Unified, part)
		if err := mkdir(dir); err != nil {
			return err
		}
		hand := "+cpu +cpuset +memory"
		switch {
		case i == len(parts)-1 && (g.leaf || g.tree.whole):
			continue
		case g.leaf && i == len(parts)-2, !g.leaf && i == len(parts)-1:
			hand = "+memory"
		}
		if err := write(filepath.Join(dir, "cgroup.subtree_control"), hand); err != nil {
			return fmt.Errorf("make control group %s: %w", dir, err)
		}
	}
	return nil
}

// Add puts a process, with all of its threads, into the group. Of version 2 it must be a leaf.
func (g Group) Add(pid int) error {
	done := map[string]bool{}
	for _, c := range []string{cpu, cpuacct, cpuset, memory} {
		dir := g.dir(c)
		if done[dir] {
			continue
		}
		done[dir] = true
		if err := write(filepath.Join(dir, "cgroup.procs"), strconv.Itoa(pid)); err != nil {
			return fmt.Errorf("put process %d into its control group: %w", pid, err)
		}
	}
	return nil
}

// PIDs are the processes of the group and of its leaves.
func (g Group) PIDs() ([]int, error) {
	var pids []int
	for _, root := range g.Dirs() {
		err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) || err == nil && d.Name() != "cgroup.procs" {
				return nil
			}
			if err != nil {
				return err
			}
			text, err := os.ReadFile(name)
			if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENODEV) {
				return nil // removed meanwhile
			}
			for line := range strings.Lines(string(text)) {
				if pid, err := strconv.Atoi(strings.TrimSpace(line)); err == nil && pid > 0 {
					pids = append(pids, pid)
				}
			}
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("list the processes of a control group: %w", err)
		}
	}
	slices.Sort(pids)
	return slices.Compact(pids), nil
}

// Kill ends every process of the group and of its leaves, and returns when they are gone, with how many there were.
func (g Group) Kill(ctx context.Context) (int, error) {
	killed := map[int]bool{}
	for deadline := time.Now().Add(time.Minute); ; {
		pids, err := g.PIDs()
		if err != nil || len(pids) == 0 {
			return len(killed), err
		}
		if time.Now().After(deadline) {
			return len(killed), fmt.Errorf("control group %s: processes %v do not end", g.path, pids)
		}
		for _, pid := range pids {
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
				return len(killed), fmt.Errorf("kill process %d: %w", pid, err)
			}
			killed[pid] = true
		}
		select {
		case <-ctx.Done():
			return len(killed), context.Cause(ctx)
		case <-time.After(2 * time.Millisecond):
		}
	}
}

// Remove removes the group with its leaves, which must have no processes. The group may be missing.
func (g Group) Remove() error {
	for _, root := range g.Dirs() {
		if err := removeTree(root); err != nil {
			return fmt.Errorf("remove control group: %w", err)
		}
	}
	return nil
}

// removeTree: a group whose last process has just ended is busy for a moment.
func removeTree(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.IsDir() {
			if err := removeTree(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(2 * time.Millisecond) {
		err := syscall.Rmdir(dir)
		if err == nil || errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if time.Now().After(deadline) {
			return &fs.PathError{Op: "rmdir", Path: dir, Err: err}
		}
	}
}
