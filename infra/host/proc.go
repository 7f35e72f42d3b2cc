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
	state byte // R, S, D, Z, ...
	group int
}

func readStat(pid int) (stat, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return stat{}, err
	}
	// The second field is the program's name in brackets, which may itself have spaces and brackets.
	_, rest, ok := strings.Cut(string(text[max(0, strings.LastIndexByte(string(text), ')')):]), ") ")
	fields := strings.Fields(rest)
	if !ok || len(fields) < 20 {
		return stat{}, fmt.Errorf("read /proc/%d/stat: %q has too few fields", pid, text)
	}
	group, err := strconv.Atoi(fields[2])
	if err != nil {
		return stat{}, fmt.Errorf("read /proc/%d/stat: %w", pid, err)
	}
	start, err := strconv.ParseUint(fields[19], 10, 64)
	if err != nil {
		return stat{}, fmt.Errorf("read /proc/%d/stat: %w", pid, err)
	}
	return stat{process: process{pid, start}, state: fields[0][0], group: group}, nil
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
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	var members []stat
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if st, err := readStat(pid); err == nil && st.group == group && st.state != 'Z' && st.state != 'X' {
			members = append(members, st)
		}
	}
	return members
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
