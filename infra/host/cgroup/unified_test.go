package cgroup_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"isukit/infra/host/cgroup"
)

// These tests hold what is written to and read from version 2 against its documentation (cgroup-v2.rst), on files in a
// directory: a kernel that gives the controllers to version 1 has none to give here. What the kernel then does is not tested.

// unified is a tree with the files of a lab's group, a host's and a service's.
func unified(t *testing.T) (tree cgroup.Tree, read func(name string) string) {
	t.Helper()
	root := t.TempDir()
	for dir, files := range map[string]map[string]string{
		"":             {"cgroup.controllers": "cpuset cpu io memory pids\n", "cgroup.subtree_control": "memory\n"},
		"lab":          {"cgroup.subtree_control": "", "cgroup.procs": ""},
		"lab/s1":       {"cgroup.subtree_control": "", "cgroup.procs": "", "cpu.max": "", "cpuset.cpus": "", "memory.max": "", "memory.swap.max": "", "cpu.stat": "usage_usec 1500000\nuser_usec 1\nnr_throttled 3\nthrottled_usec 250000\n", "memory.current": "5000\n", "memory.stat": "anon 1\ninactive_file 2000\n"},
		"lab/s1/web-1": {"cgroup.procs": "", "memory.events": "low 0\nmax 9\noom 2\noom_kill 1\n"},
	} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
		for name, text := range files {
			if err := os.WriteFile(filepath.Join(root, dir, name), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	return cgroup.Tree{Unified: root}, func(name string) string {
		t.Helper()
		text, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(string(text))
	}
}

func TestUnifiedLimits(t *testing.T) {
	tree, read := unified(t)
	h := tree.Host("lab/s1")
	for _, tt := range []struct {
		limits cgroup.Limits
		want   map[string]string
	}{
		{cgroup.Limits{CPUs: 0.4, On: []int{1}, MemoryBytes: 1 << 30}, map[string]string{"cpu.max": "8000 20000", "cpuset.cpus": "1", "memory.max": "1073741824", "memory.swap.max": "0"}},
		{cgroup.Limits{CPUs: 1.5, On: []int{0, 1}}, map[string]string{"cpu.max": "30000 20000", "cpuset.cpus": "0,1", "memory.max": "max"}},
		{cgroup.Limits{}, map[string]string{"cpu.max": "max 20000", "memory.max": "max"}},
	} {
		if err := h.Limit(tt.limits); err != nil {
			t.Fatal(err)
		}
		for file, want := range tt.want {
			if got := read("lab/s1/" + file); got != want {
				t.Errorf("Limit(%+v): %s has %q, want %q", tt.limits, file, got, want)
			}
		}
	}
}

func TestUnifiedGroups(t *testing.T) {
	tree, read := unified(t)
	enabled, err := tree.Enable()
	if err != nil || strings.Join(enabled, " ") != "cpu cpuset" {
		t.Errorf("Enable: got %q, %v; want cpu and cpuset, since memory was there", enabled, err)
	}
	leaf := tree.Host("lab/s1").Leaf("web-1")
	if err := leaf.Make(); err != nil {
		t.Fatal(err)
	}
	if err := leaf.Add(42); err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]string{
		"lab/cgroup.subtree_control": "+cpu +cpuset +memory", "lab/s1/cgroup.subtree_control": "+memory",
		"lab/s1/web-1/cgroup.procs": "42", "lab/s1/cgroup.procs": "",
	} {
		if got := read(file); got != want {
			t.Errorf("%s has %q, want %q", file, got, want)
		}
	}
	if pids, err := tree.Host("lab").PIDs(); err != nil || len(pids) != 1 || pids[0] != 42 {
		t.Errorf("PIDs: got %v, %v; want 42", pids, err)
	}
}

func TestUnifiedUsage(t *testing.T) {
	tree, _ := unified(t)
	h := tree.Host("lab/s1")
	used, err := h.CPU()
	if err != nil || used != 1500*time.Millisecond {
		t.Errorf("CPU: got %v, %v; want 1.5s", used, err)
	}
	if got, err := h.Throttled(); err != nil || got != 250*time.Millisecond {
		t.Errorf("Throttled: got %v, %v; want 250ms", got, err)
	}
	if got, err := h.MemoryBytes(); err != nil || got != 3000 {
		t.Errorf("MemoryBytes: got %d, %v; want 3000", got, err)
	}
	if got, err := h.Leaf("web-1").OutOfMemory(); err != nil || got != 1 {
		t.Errorf("OutOfMemory: got %d, %v; want 1", got, err)
	}
}
