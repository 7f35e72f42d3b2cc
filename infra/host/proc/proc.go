// Package proc lists the processes of this machine, ends them, and has locks that end with them. It reads /proc.
package proc

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// ID is the identity of a process: a pid alone is used again by others.
type ID struct {
	PID   int    `json:"pid"`
	Start uint64 `json:"start"` // clock ticks since boot, field 22 of /proc/PID/stat
}

// Stat is the part of /proc/PID/stat that identity and usage need.
type Stat struct {
	ID
	State    byte // R, S, D, Z, ...
	Parent   int
	Group    int
	Ticks    uint64 // CPU time, its own and that of children it has waited for; USER_HZ of them are a second
	RSSPages int64
}

// Self is this process.
func Self() (ID, error) {
	st, err := Read(os.Getpid())
	return st.ID, err
}

// Read asks the kernel about a process.
func Read(pid int) (Stat, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return Stat{}, err
	}
	st, err := Parse(string(text))
	if err != nil {
		return Stat{}, fmt.Errorf("read /proc/%d/stat: %w", pid, err)
	}
	return st, nil
}

// Parse reads "PID (NAME) STATE PPID PGRP ...". The name may itself have spaces and brackets.
func Parse(text string) (Stat, error) {
	first, _, _ := strings.Cut(text, " ")
	pid, err := strconv.Atoi(first)
	if err != nil {
		return Stat{}, fmt.Errorf("%q has no pid", text)
	}
	_, rest, ok := strings.Cut(text[max(0, strings.LastIndexByte(text, ')')):], ") ")
	fields := strings.Fields(rest)
	if !ok || len(fields) < 22 {
		return Stat{}, fmt.Errorf("%q has too few fields", text)
	}
	// Fields are numbered as in proc(5), of which the first two are cut off.
	var n [25]int64
	for _, field := range []int{4, 5, 14, 15, 16, 17, 22, 24} {
		v, err := strconv.ParseInt(fields[field-3], 10, 64)
		if err != nil {
			return Stat{}, fmt.Errorf("field %d: %w", field, err)
		}
		n[field] = v
	}
	return Stat{
		ID: ID{PID: pid, Start: uint64(n[22])}, State: fields[0][0], Parent: int(n[4]), Group: int(n[5]),
		Ticks: uint64(n[14] + n[15] + n[16] + n[17]), RSSPages: n[24],
	}, nil
}

// Alive tells whether the very process runs; one that has ended and was not waited for does not.
func (p ID) Alive() bool {
	st, err := Read(p.PID)
	return err == nil && st.ID == p && st.running()
}

func (st Stat) running() bool { return st.State != 'Z' && st.State != 'X' }

// Group returns the processes of a process group, without those that have ended, by pid.
func Group(group int) []Stat {
	return List(func(st Stat) bool { return st.Group == group })
}

// Children returns the processes that a process has started, without those that have ended, by pid.
func Children(parent int) []Stat {
	return List(func(st Stat) bool { return st.Parent == parent })
}

// List lists the processes that match, without those that have ended, by pid.
func List(match func(Stat) bool) []Stat {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	var list []Stat
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if st, err := Read(pid); err == nil && st.running() && match(st) {
			list = append(list, st)
		}
	}
	return list
}

// StandsIn tells whether a process works in the directory or writes its output to a file in it.
func StandsIn(pid int, dir string) bool {
	for _, link := range []string{"cwd", "fd/1", "fd/2"} {
		target, err := os.Readlink(fmt.Sprintf("/proc/%d/%s", pid, link))
		if err == nil && strings.HasPrefix(target+"/", filepath.Clean(dir)+"/") {
			return true
		}
	}
	return false
}

// Boot is another after each start of the kernel: pids and start times of an earlier one mean nothing.
func Boot() string {
	text, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}
