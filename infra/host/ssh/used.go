package ssh

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"isukit/infra/host"
	"isukit/infra/host/proc"
)

// usedScript prints what the host and all of its processes have used, and the first process of each unit of isukit.
const usedScript = `sed -n '1s/^/stat=/p' /proc/stat
sed -n 's/^\(MemTotal\|MemAvailable\): *\([0-9]*\) kB$/\1=\2/p' /proc/meminfo
echo "page=$(getconf PAGESIZE)"
cd ` + unitDir + ` && for unit in isukit-*.service; do
	[ -e "$unit" ] && echo "unit=$unit $(systemctl show "$unit" --property=MainPID --value)"
done
cat /proc/[0-9]*/stat 2>/dev/null
true
`

const tick = 10 * time.Millisecond

// Used implements host.Host.
func (n *node) Used(ctx context.Context) (host.Used, error) {
	out, err := n.client.check(ctx, "read the usage", usedScript, nil)
	if err != nil {
		return host.Used{}, err
	}
	used, err := parseUsed(out)
	if err != nil {
		return used, fmt.Errorf("read the usage of %s: %w", n.about.Name, err)
	}
	return used, nil
}

func parseUsed(out string) (host.Used, error) {
	used := host.Used{Services: map[string]host.Usage{}}
	numbers, units := map[string]int64{}, map[string]int{}
	children := map[int][]proc.Stat{}
	all := map[int]proc.Stat{}
	for line := range strings.Lines(out) {
		line = strings.TrimSuffix(line, "\n")
		k, v, ok := strings.Cut(line, "=")
		switch {
		case ok && k == "stat":
			machine, err := host.ParseMachineUsage(v)
			if err != nil {
				return used, err
			}
			used.MachineUsage = machine
		case ok && k == "unit":
			name, pid, _ := strings.Cut(v, " ")
			units[strings.TrimSuffix(strings.TrimPrefix(name, "isukit-"), ".service")], _ = strconv.Atoi(pid)
		case ok && (k == "page" || strings.HasPrefix(k, "Mem")):
			numbers[k], _ = strconv.ParseInt(v, 10, 64)
		default:
			st, err := proc.Parse(line)
			if err == nil && st.State != 'Z' && st.State != 'X' {
				all[st.PID] = st
				children[st.Parent] = append(children[st.Parent], st)
			}
		}
	}
	used.MemoryBytes = (numbers["MemTotal"] - numbers["MemAvailable"]) << 10
	for service, pid := range units {
		if first, ok := all[pid]; ok && pid > 0 {
			used.Services[service] = sum(first, children, numbers["page"])
		}
	}
	return used, nil
}

// sum adds up a process and all that it has started.
func sum(st proc.Stat, children map[int][]proc.Stat, page int64) host.Usage {
	u := host.Usage{CPU: time.Duration(st.Ticks) * tick, RSSBytes: st.RSSPages * page, Processes: 1}
	for _, child := range children[st.PID] {
		more := sum(child, children, page)
		u.CPU += more.CPU
		u.RSSBytes += more.RSSBytes
		u.Processes += more.Processes
	}
	return u
}
