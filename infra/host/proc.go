package host

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// process is the identity of a process: a pid alone is used again by others.
type process struct {
	PID   int    `json:"pid"`
	Start uint64 `json:"start"` // clock ticks since boot, field 22 of /proc/PID/stat
}

// stat is the part of /proc/PID/stat that identity and usage need.
type stat struct {
	process
	state    byte // R, S, D, Z, ...
	group    int
	ticks    uint64 // CPU time, its own and that of children it has waited for
	rssPages int64
}

func readStat(pid int) (stat, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return stat{}, err
	}
	st, err := parseStat(string(text))
	if err != nil {
		return stat{}, fmt.Errorf("read /proc/%d/stat: %w", pid, err)
	}
	st.PID = pid
	return st, nil
}

// parseStat reads "PID (NAME) STATE PPID PGRP ...". The name may itself have spaces and brackets.
func parseStat(text string) (stat, error) {
	_, rest, ok := strings.Cut(text[max(0, strings.LastIndexByte(text, ')')):], ") ")
	fields := strings.Fields(rest)
	if !ok || len(fields) < 22 {
		return stat{}, fmt.Errorf("%q has too few fields", text)
	}
	// Fields are numbered as in proc(5), of which the first two are cut off.
	var n [25]int64
	for _, field := range []int{5, 14, 15, 16, 17, 22, 24} {
		v, err := strconv.ParseInt(fields[field-3], 10, 64)
		if err != nil {
			return stat{}, fmt.Errorf("field %d: %w", field, err)
		}
		n[field] = v
	}
	return stat{
		process: process{Start: uint64(n[22])}, state: fields[0][0], group: int(n[5]),
		ticks: uint64(n[14] + n[15] + n[16] + n[17]), rssPages: n[24],
	}, nil
}

// alive tells whether the very process runs; one that has ended and was not waited for does not.
func (p process) alive() bool {
	st, err := readStat(p.PID)
	return err == nil && st.process == p && st.state != 'Z' && st.state != 'X'
}

// GroupPIDs returns the processes of a process group, without those that have ended, by pid.
func GroupPIDs(group int) []int {
	var pids []int
	for _, st := range groupMembers(group) {
		pids = append(pids, st.PID)
	}
	return pids
}

func groupMembers(group int) []stat {
	return processes(func(st stat) bool { return st.group == group })
}

// processes lists the processes that match, without those that have ended, by pid.
func processes(match func(stat) bool) []stat {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	var list []stat
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if st, err := readStat(pid); err == nil && st.state != 'Z' && st.state != 'X' && match(st) {
			list = append(list, st)
		}
	}
	return list
}

// standsIn tells whether a process works in the directory or writes its output to a file in it.
func standsIn(pid int, dir string) bool {
	for _, link := range []string{"cwd", "fd/1", "fd/2"} {
		target, err := os.Readlink(fmt.Sprintf("/proc/%d/%s", pid, link))
		if err == nil && strings.HasPrefix(target+"/", filepath.Clean(dir)+"/") {
			return true
		}
	}
	return false
}

// bootID is another after each start of the kernel: pids and start times of an earlier one mean nothing.
func bootID() string {
	text, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}
