package cgroup

import (
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
)

// Own are the limits of the group that this process is in, and of those above it: the least of each. What a kernel or a
// container does not tell is no limit.
func Own() Limits {
	text, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return Limits{}
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return Limits{}
	}
	v1, unified := parseMounts(strings.Split(string(mounts), "\n"))
	var l Limits
	for line := range strings.Lines(string(text)) {
		fields := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(fields) != 3 {
			continue
		}
		if fields[1] == "" {
			for _, mount := range unified {
				l.narrow(mount, fields[2], unifiedLimits)
			}
			continue
		}
		for controller := range strings.SplitSeq(fields[1], ",") {
			if mount := v1.ByController[controller]; mount != "" {
				l.narrow(mount, fields[2], separateLimits)
			}
		}
	}
	return l
}

// narrow takes the limits of a group and of those above it into account. Inside a container the path may not be there; the
// levels that are there count.
func (l *Limits) narrow(mount, group string, read func(dir string) Limits) {
	for group = path.Clean("/" + group); ; group = path.Dir(group) {
		at := read(filepath.Join(mount, group))
		if at.CPUs > 0 && (l.CPUs == 0 || at.CPUs < l.CPUs) {
			l.CPUs = at.CPUs
		}
		if at.MemoryBytes > 0 && (l.MemoryBytes == 0 || at.MemoryBytes < l.MemoryBytes) {
			l.MemoryBytes = at.MemoryBytes
		}
		if group == "/" {
			return
		}
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

// ratio is quota/period; 0 where there is no quota ("max" or below 0).
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
