package cgroup

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestLevels(t *testing.T) {
	const v1 = "30 1 0:1 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct\n31 1 0:2 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n"
	const v2 = "32 1 0:3 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"
	tests := []struct {
		name, groups, mounts string
		want                 []level
	}{
		{"version 2", "0::/user.slice/user-0.slice\n", v2, []level{{"", "/sys/fs/cgroup/user.slice/user-0.slice"}, {"", "/sys/fs/cgroup/user.slice"}, {"", "/sys/fs/cgroup"}}},
		{"version 1", "5:cpuset:/a\n4:cpuacct,cpu:/b\n0::/c\n", v1, []level{
			{"cpuset", "/sys/fs/cgroup/cpuset/a"}, {"cpuset", "/sys/fs/cgroup/cpuset"}, {"cpuacct", "/sys/fs/cgroup/cpu/b"}, {"cpuacct", "/sys/fs/cgroup/cpu"},
			{"cpu", "/sys/fs/cgroup/cpu/b"}, {"cpu", "/sys/fs/cgroup/cpu"}}},
		{"outside of the namespace", "0::/../x\n", v2, []level{{"", "/sys/fs/cgroup/x"}, {"", "/sys/fs/cgroup"}}},
		{"nothing", "", v1 + v2, nil},
		{"no mounts", "0::/c\n", "", nil},
	}
	for _, tt := range tests {
		if got := levels(tt.groups, strings.Split(tt.mounts, "\n")); !slices.Equal(got, tt.want) {
			t.Errorf("%s: levels(%q) = %q, want %q", tt.name, tt.groups, got, tt.want)
		}
	}
}

func TestThrottled(t *testing.T) {
	tests := []struct {
		text string
		want time.Duration
		ok   bool
	}{
		{"usage_usec 5\nnr_throttled 3\nthrottled_usec 1500\n", 1500 * time.Microsecond, true},
		{"nr_periods 0\nnr_throttled 0\nthrottled_time 2000000\n", 2 * time.Millisecond, true},
		{"usage_usec 5\n", 0, true},
		{"throttled_usec x\n", 0, false},
		{"", 0, true},
	}
	for _, tt := range tests {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "cpu.stat"), []byte(tt.text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := throttled(dir); got != tt.want || (err == nil) != tt.ok {
			t.Errorf("throttled of %q = %v, %v, want %v", tt.text, got, err, tt.want)
		}
	}
}
