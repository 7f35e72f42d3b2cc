package host

import (
	"bufio"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"isukit/infra/host/proc"
)

// Usage is what a group of processes has used.
type Usage struct {
	CPU       time.Duration // user and system, since their start, ended children included
	RSSBytes  int64         // now; pages that processes share are counted in each
	Processes int
}

// GroupPIDs returns the processes of a process group, without those that have ended, by pid.
func GroupPIDs(group int) []int {
	var pids []int
	for _, st := range proc.Group(group) {
		pids = append(pids, st.PID)
	}
	return pids
}

// MachineUsage is what the whole machine has used since its start, summed over its CPUs.
type MachineUsage struct {
	Total  time.Duration // of all CPUs together, used or not
	Busy   time.Duration // neither idle nor waiting for a disk nor stolen
	IOWait time.Duration
	Steal  time.Duration // taken by other guests of the same physical machine
}

const tick = 10 * time.Millisecond

// GroupUsages sums up the living processes of each process group, by group. It reads /proc once for all of them.
func GroupUsages(groups []int) map[int]Usage {
	usages := make(map[int]Usage, len(groups))
	for _, st := range proc.List(func(st proc.Stat) bool { return slices.Contains(groups, st.Group) }) {
		u := usages[st.Group]
		u.CPU += time.Duration(st.Ticks) * tick
		u.RSSBytes += st.RSSPages * int64(os.Getpagesize())
		u.Processes++
		usages[st.Group] = u
	}
	return usages
}

// ReadMachineUsage reads the first line of /proc/stat.
func ReadMachineUsage() (MachineUsage, error) {
	f, err := os.Open("/proc/stat")
	if err != nil {
		return MachineUsage{}, err
	}
	defer f.Close()
	line, err := bufio.NewReader(f).ReadString('\n')
	if err != nil {
		return MachineUsage{}, fmt.Errorf("read /proc/stat: %w", err)
	}
	return ParseMachineUsage(line)
}

// ParseMachineUsage reads the first line of a /proc/stat: "cpu user nice system idle iowait irq softirq steal guest guest_nice"; guest is a part of user.
func ParseMachineUsage(line string) (MachineUsage, error) {
	fields := strings.Fields(line)
	if len(fields) < 9 || fields[0] != "cpu" {
		return MachineUsage{}, fmt.Errorf("read /proc/stat: %q is not the line of all CPUs", line)
	}
	var t [8]time.Duration
	var u MachineUsage
	for i := range t {
		n, err := strconv.ParseInt(fields[i+1], 10, 64)
		if err != nil {
			return MachineUsage{}, fmt.Errorf("read /proc/stat: %w", err)
		}
		t[i] = time.Duration(n) * tick
		u.Total += t[i]
	}
	u.IOWait, u.Steal = t[4], t[7]
	u.Busy = u.Total - t[3] - u.IOWait - u.Steal
	return u, nil
}
