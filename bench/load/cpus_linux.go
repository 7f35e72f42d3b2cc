package load

import (
	"bufio"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// cpuTick is the unit of /proc/stat: USER_HZ is 100 on every architecture that Go runs on.
const cpuTick = 10 * time.Millisecond

// cpuTimes returns the time so far of the CPUs that this process may use, all of it together, and that in which they were not idle:
// working for anybody, or taken away by other virtual machines. Both are 0 where the system does not tell.
func cpuTimes() (all, busy time.Duration) {
	var allowed unix.CPUSet
	if unix.SchedGetaffinity(0, &allowed) != nil {
		return 0, 0
	}
	f, err := os.Open("/proc/stat")
	if err != nil {
		return 0, 0
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) < 9 || !strings.HasPrefix(fields[0], "cpu") {
			continue
		}
		cpu, err := strconv.Atoi(fields[0][len("cpu"):])
		if err != nil || !allowed.IsSet(cpu) {
			continue // the first line is that of all CPUs
		}
		for i, field := range fields[1:9] { // user nice system idle iowait irq softirq steal
			ticks, err := strconv.ParseInt(field, 10, 64)
			if err != nil {
				return 0, 0
			}
			all += time.Duration(ticks) * cpuTick
			if i != 3 && i != 4 {
				busy += time.Duration(ticks) * cpuTick
			}
		}
	}
	return all, busy
}
