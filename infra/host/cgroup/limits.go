package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Limits are what a host may use.
type Limits struct {
	CPUs        float64 // CPU time per time; 0 for no limit
	On          []int   // the CPUs on which it may run; nil for all
	MemoryBytes int64   // 0 for no limit
}

// period is the time over which the CPU quota is given out. Shorter than the kernel's 100 ms: a process that has used its
// quota up stands still until the period ends, which would be most of the latency that is measured.
const period = 20 * time.Millisecond

// Limit sets the limits, of a host's group. Memory that is used already and above the limit makes it fail.
func (g Group) Limit(l Limits) error {
	settings := [][2]string{}
	add := func(controller, file, value string) {
		settings = append(settings, [2]string{filepath.Join(g.dir(controller), file), value})
	}
	if len(l.On) > 0 {
		add(cpuset, "cpuset.cpus", joinInts(l.On))
	}
	us := strconv.FormatInt(period.Microseconds(), 10)
	quota := strconv.FormatInt(max(1000, int64(l.CPUs*float64(period.Microseconds()))), 10)
	if g.tree.Unified != "" {
		if l.CPUs == 0 {
			quota = "max"
		}
		add(cpu, "cpu.max", quota+" "+us)
		add(memory, "memory.max", orElse(l.MemoryBytes, "max"))
		add(memory, "memory.swap.max", "0")
	} else {
		if l.CPUs == 0 {
			quota = "-1"
		}
		add(cpu, "cpu.cfs_quota_us", "-1") // else a shorter period may be refused
		add(cpu, "cpu.cfs_period_us", us)
		add(cpu, "cpu.cfs_quota_us", quota)
		add(memory, "memory.memsw.limit_in_bytes", "-1") // the sum of memory and swap may not be below memory
		add(memory, "memory.limit_in_bytes", orElse(l.MemoryBytes, "-1"))
		add(memory, "memory.memsw.limit_in_bytes", orElse(l.MemoryBytes, "-1"))
	}
	for _, s := range settings {
		err := write(s[0], s[1])
		if errors.Is(err, os.ErrNotExist) && strings.Contains(s[0], "sw") {
			continue // a kernel that does not count swap
		}
		if err != nil {
			return fmt.Errorf("limit a host to %g CPUs and %d bytes: %w", l.CPUs, l.MemoryBytes, err)
		}
	}
	return nil
}

func orElse(n int64, none string) string {
	if n == 0 {
		return none
	}
	return strconv.FormatInt(n, 10)
}

func joinInts(list []int) string {
	var s []string
	for _, n := range list {
		s = append(s, strconv.Itoa(n))
	}
	return strings.Join(s, ",")
}

// CPU is the CPU time that the group's processes have used, those of its leaves and those that ended included.
func (g Group) CPU() (time.Duration, error) {
	if g.tree.Unified != "" {
		n, err := field(filepath.Join(g.dir(cpu), "cpu.stat"), "usage_usec")
		return time.Duration(n) * time.Microsecond, err
	}
	n, err := number(filepath.Join(g.dir(cpuacct), "cpuacct.usage"))
	return time.Duration(n), err
}

// Throttled is how long the group's quota has kept it from running.
func (g Group) Throttled() (time.Duration, error) { return throttled(g.dir(cpu)) }

// throttled reads cpu.stat: microseconds in version 2, nanoseconds in version 1.
func throttled(dir string) (time.Duration, error) {
	file := filepath.Join(dir, "cpu.stat")
	us, err := field(file, "throttled_usec")
	if err != nil {
		return 0, err
	}
	ns, err := field(file, "throttled_time")
	return time.Duration(us)*time.Microsecond + time.Duration(ns), err
}

// MemoryBytes is what the group's processes use now, without files that could be read again from disk at any time.
func (g Group) MemoryBytes() (int64, error) {
	current, inactive := "memory.usage_in_bytes", "total_inactive_file"
	if g.tree.Unified != "" {
		current, inactive = "memory.current", "inactive_file"
	}
	used, err := number(filepath.Join(g.dir(memory), current))
	if err != nil {
		return 0, err
	}
	files, err := field(filepath.Join(g.dir(memory), "memory.stat"), inactive)
	return max(0, used-files), err
}

// OutOfMemory is how many processes of a leaf were killed because of the host's memory limit.
func (g Group) OutOfMemory() (int64, error) {
	if g.tree.Unified != "" {
		return field(filepath.Join(g.dir(memory), "memory.events"), "oom_kill")
	}
	return field(filepath.Join(g.dir(memory), "memory.oom_control"), "oom_kill")
}

func number(file string) (int64, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return 0, fmt.Errorf("read a control group: %w", err)
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("read a control group: %s: %w", file, err)
	}
	return n, nil
}

// field reads "name value" in a file; 0 where the name is not there, as on older kernels.
func field(file, name string) (int64, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return 0, fmt.Errorf("read a control group: %w", err)
	}
	for line := range strings.Lines(string(text)) {
		if k, v, ok := strings.Cut(strings.TrimSpace(line), " "); ok && k == name {
			n, err := strconv.ParseInt(v, 10, 64)
			if err != nil {
				return 0, fmt.Errorf("read a control group: %s: %w", file, err)
			}
			return n, nil
		}
	}
	return 0, nil
}

// Own are the limits of this process' group, and of those above it: the least of each. An unknown limit is none.
func Own() (l Limits) {
	for _, at := range own() {
		read := separateLimits
		if at.controller == "" {
			read = unifiedLimits
		}
		l.narrow(read(at.dir))
	}
	return l
}

// OwnThrottled is how long the quotas of this process's group, and of those above it, have kept it from running.
func OwnThrottled() (sum time.Duration, err error) {
	for _, at := range own() {
		if at.controller != "" && at.controller != cpu {
			continue
		}
		t, err := throttled(at.dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return 0, err
		}
		sum += t
	}
	return sum, nil
}

// level is a group that this process is in for a controller of version 1, or of version 2 where that is "".
type level struct{ controller, dir string }

func own() []level {
	groups, _ := os.ReadFile("/proc/self/cgroup") // a kernel without control groups
	mounts, _ := mountLines()
	return levels(string(groups), mounts)
}

// levels are the groups of a /proc/PID/cgroup and those above them. Inside a container the path may not be there; the levels that are
// there count.
func levels(groups string, mounts []string) (list []level) {
	v1, unified := parseMounts(mounts)
	add := func(controller, mount, group string) {
		for group = path.Clean("/" + group); ; group = path.Dir(group) {
			list = append(list, level{controller, filepath.Join(mount, group)})
			if group == "/" {
				return
			}
		}
	}
	for line := range strings.Lines(groups) {
		fields := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(fields) != 3 {
			continue
		}
		if fields[1] == "" {
			for _, mount := range unified {
				add("", mount, fields[2])
			}
			continue
		}
		for controller := range strings.SplitSeq(fields[1], ",") {
			if mount := v1.ByController[controller]; mount != "" {
				add(controller, mount, fields[2])
			}
		}
	}
	return list
}

// narrow takes the limits of a group into account.
func (l *Limits) narrow(at Limits) {
	if at.CPUs > 0 && (l.CPUs == 0 || at.CPUs < l.CPUs) {
		l.CPUs = at.CPUs
	}
	if at.MemoryBytes > 0 && (l.MemoryBytes == 0 || at.MemoryBytes < l.MemoryBytes) {
		l.MemoryBytes = at.MemoryBytes
	}
}

func unifiedLimits(dir string) Limits {
	var l Limits
	if text, err := os.ReadFile(filepath.Join(dir, "cpu.max")); err == nil {
		quota, per, _ := strings.Cut(strings.TrimSpace(string(text)), " ")
		l.CPUs = ratio(quota, per)
	}
	if text, err := os.ReadFile(filepath.Join(dir, "memory.max")); err == nil {
		l.MemoryBytes = limit(string(text))
	}
	return l
}

func separateLimits(dir string) Limits {
	var l Limits
	quota, err1 := os.ReadFile(filepath.Join(dir, "cpu.cfs_quota_us"))
	per, err2 := os.ReadFile(filepath.Join(dir, "cpu.cfs_period_us"))
	if err1 == nil && err2 == nil {
		l.CPUs = ratio(string(quota), string(per))
	}
	if text, err := os.ReadFile(filepath.Join(dir, "memory.limit_in_bytes")); err == nil {
		l.MemoryBytes = limit(string(text))
	}
	return l
}

// ratio is quota/period; 0 without a quota ("max" or below 0).
func ratio(quota, period string) float64 {
	q, err1 := strconv.ParseFloat(strings.TrimSpace(quota), 64)
	p, err2 := strconv.ParseFloat(strings.TrimSpace(period), 64)
	if err1 != nil || err2 != nil || q <= 0 || p <= 0 {
		return 0
	}
	return q / p
}

// limit is a number of bytes; 0 where it is "max", or so large that version 1 means no limit.
func limit(text string) int64 {
	n, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
	if err != nil || n >= 1<<60 {
		return 0
	}
	return n
}
