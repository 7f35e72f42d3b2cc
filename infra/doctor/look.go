package doctor

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"isukit"
	"isukit/infra/host"
)

// LookOptions are how to inspect a host.
type LookOptions struct {
	// Over is for how long to look, for what only a difference tells: CPU time, swapping, bad packets. 0 is a tenth of a second.
	Over time.Duration
	// Root is put before the files of /proc, /sys and /etc, in tests.
	Root string
	// Roles are processes of instances, by process id.
	Roles map[int]string
}

// Look sees what a host is and does.
func Look(ctx context.Context, at host.Host, o LookOptions) (Host, error) {
	about := at.About()
	script, err := isukit.Assets.ReadFile("scripts/doctor-look.sh")
	if err != nil {
		return Host{}, err
	}
	only := ""
	if about.Kernel == host.NamespaceKernel {
		only = "own"
	}
	over := max(o.Over, 100*time.Millisecond)
	ctx, cancel := context.WithTimeout(ctx, over+time.Minute)
	defer cancel()
	began := time.Now()
	res, err := at.Run(ctx, host.Command{Argv: []string{"sh", "-c", host.AsRoot, string(script), o.Root, fmt.Sprintf("%.2f", over.Seconds()), only}})
	ended := time.Now()
	if err != nil {
		return Host{}, fmt.Errorf("inspect host %s: %w", about.Name, err)
	}
	if res.Code != 0 {
		return Host{}, fmt.Errorf("inspect host %s: exit status %d: %s", about.Name, res.Code, strings.TrimSpace(string(res.Stderr)))
	}
	h, times := parseLook(string(res.Stdout), o.Roles)
	h.Name, h.Address, h.Far = about.Name, about.Address, !about.Here
	h.MemoryBytes = about.MemoryBytes
	if len(times) == 3 { // between the two countings, and at the end
		h.Over = times[1].Sub(times[0])
		h.ClockAhead, h.ClockDoubt = clock(began, ended, times[0], times[2])
	}
	return h, nil
}

// clock tells by how much a clock that said first and last is ahead of one that said began before and ended after, and how far
// off that may be.
func clock(began, ended, first, last time.Time) (ahead, doubt time.Duration) {
	least, most := last.Sub(ended), first.Sub(began)
	return (least + most) / 2, (most - least) / 2
}

// looked is a host that is being put together from the script's lines.
type looked struct {
	Host
	processes map[int]*Process
	before    map[int]time.Duration // CPU time
	names     map[string][2][]string
	inodes    map[string][2]int64
	swapFree  int64
}

func parseLook(text string, roles map[int]string) (Host, []time.Time) {
	l := &looked{processes: map[int]*Process{}, before: map[int]time.Duration{}, names: map[string][2][]string{}, inodes: map[string][2]int64{}}
	var times []time.Time
	for line := range strings.Lines(text) {
		word, rest, _ := strings.Cut(strings.TrimRight(line, "\n"), " ")
		if word == "@time" {
			if f, err := strconv.ParseFloat(rest, 64); err == nil {
				times = append(times, time.UnixMicro(int64(f*1e6)))
			}
			continue
		}
		if !l.ofProcess(word, rest) {
			l.ofHost(word, strings.Fields(rest), rest)
		}
	}
	for _, pid := range slices.Sorted(maps.Keys(l.processes)) {
		p := l.processes[pid]
		if !p.mine {
			continue
		}
		p.Role = roleOf(pid, l.processes, roles)
		l.Processes = append(l.Processes, *p)
	}
	for i, d := range l.Disks {
		l.Disks[i].Inodes, l.Disks[i].InodesUsed = l.inodes[d.Mount][0], l.inodes[d.Mount][1]
	}
	l.SwapUsed -= l.swapFree
	return l.Host, times
}

// roleOf finds the instance of a process, which may be a child of the one that was started.
func roleOf(pid int, all map[int]*Process, roles map[int]string) string {
	for range 16 {
		if role := roles[pid]; role != "" {
			return role
		}
		p := all[pid]
		if p == nil || p.parent <= 1 {
			return ""
		}
		pid = p.parent
	}
	return ""
}

// ofProcess takes a line about a process, which comes with its id. It is false for any other.
func (l *looked) ofProcess(word, rest string) bool {
	if strings.HasPrefix(word, "@stat") {
		l.stat(word == "@stat1", rest)
		return true
	}
	pidText, rest, _ := strings.Cut(rest, " ")
	pid, err := strconv.Atoi(pidText)
	p := l.processes[pid]
	if err != nil || p == nil {
		return slices.Contains([]string{"@process", "@limits", "@uid", "@gids", "@unit", "@argv", "@dir", "@profile", "@protecthome", "@limit"}, word)
	}
	f := strings.Fields(rest)
	switch word {
	case "@process":
		p.mine, p.OpenFiles = true, number(rest)
	case "@limits":
		if len(f) == 2 {
			p.SoftLimit, p.HardLimit = number(f[0]), number(f[1])
		}
	case "@uid":
		p.UID = int(number(rest))
	case "@gids":
		for _, id := range f {
			p.GIDs = append(p.GIDs, int(number(id)))
		}
	case "@unit":
		p.Unit = rest
	case "@argv":
		p.Argv = strings.Split(strings.TrimRight(rest, "\x1f"), "\x1f")
	case "@dir":
		p.Dir = rest
	case "@profile":
		if rest != "" && !strings.HasPrefix(rest, "unconfined") {
			p.Profile = strings.TrimRight(rest, "\x00")
		}
	case "@protecthome":
		p.ProtectHome = rest
	case "@limit":
		// A group without a limit says max, or a number that no machine has.
		if n := number(rest); n > 0 && n < 1<<60 && (p.MemoryLimit == 0 || n < p.MemoryLimit) {
			p.MemoryLimit = n
		}
	default:
		return false
	}
	return true
}

const clockTick = 10 * time.Millisecond

// stat takes a line of /proc/PID/stat: "pid (name) state parent ... utime stime ...". A name may hold anything.
func (l *looked) stat(first bool, text string) {
	open, end := strings.IndexByte(text, '('), strings.LastIndexByte(text, ')')
	if open < 0 || end < open {
		return
	}
	pid, f := int(number(strings.TrimSpace(text[:open]))), strings.Fields(text[end+1:])
	if len(f) < 20 || pid == 0 {
		return
	}
	cpu := time.Duration(number(f[11])+number(f[12])) * clockTick
	if first {
		l.before[pid] = cpu
		return
	}
	if f[0] == "Z" {
		return
	}
	l.processes[pid] = &Process{PID: pid, Name: text[open+1 : end], parent: int(number(f[1])), OpenFiles: -1}
	if before, ok := l.before[pid]; ok {
		l.processes[pid].CPU = cpu - before
	}
}

func (l *looked) ofHost(word string, f []string, rest string) {
	switch {
	case word == "@mem" && len(f) == 2:
		switch n := number(f[1]) << 10; f[0] {
		case "MemTotal:":
			l.MemTotal = n
		case "SwapTotal:":
			l.SwapUsed = n
		case "SwapFree:":
			l.swapFree = n
		}
	case strings.HasPrefix(word, "@vm") && len(f) == 2:
		sign := int64(1)
		if word == "@vm1" {
			sign = -1
		}
		if f[0] == "pswpin" {
			l.SwapIn += sign * number(f[1])
		} else {
			l.SwapOut += sign * number(f[1])
		}
	case strings.HasPrefix(word, "@ip") && len(f) > 1:
		l.counters(word, f)
	case word == "@link":
		l.link(f)
	case word == "@addr" && len(f) >= 4:
		for i := range l.Links {
			if address, _, _ := strings.Cut(f[3], "/"); l.Links[i].Name == f[1] {
				l.Links[i].Addresses = append(l.Links[i].Addresses, address)
			}
		}
	case word == "@egress":
		l.EgressPrograms = append(l.EgressPrograms, rest)
	case word == "@df" || word == "@dfi":
		l.disk(word == "@dfi", f)
	case word == "@cmdline":
		l.Boot.Cmdline = rest
	case word == "@grub":
		l.Boot.Configured = strings.TrimSpace(l.Boot.Configured + " " + rest)
	case word == "@cpu" && len(f) > 1 && f[1] == "Vulnerable":
		l.Boot.Vulnerable = append(l.Boot.Vulnerable, f[0])
	case word == "@apparmor":
		l.AppArmor = rest == "Y"
	}
}

// counters reads lines of /proc/net/snmp and netstat: names, then values. The second reading counts from the first.
func (l *looked) counters(word string, f []string) {
	key := word + f[0]
	pair := l.names[key]
	if pair[0] == nil {
		pair[0] = f
		l.names[key] = pair
		return
	}
	for i, name := range pair[0] {
		if i == 0 || i >= len(f) {
			continue
		}
		n := number(f[i])
		if word == "@ip1" {
			n = -n
		}
		switch name {
		case "InHdrErrors":
			l.HeaderErrors += n
		case "InCsumErrors":
			l.ChecksumErrors += n
		}
	}
}

// link takes "2: eth0@if3: <BROADCAST,UP> mtu 1500 ...".
func (l *looked) link(f []string) {
	if len(f) < 5 {
		return
	}
	name, _, _ := strings.Cut(strings.TrimSuffix(f[1], ":"), "@")
	k := Link{Name: name, Up: strings.Contains(f[2], "UP")}
	if i := slices.Index(f, "mtu"); i >= 0 && i+1 < len(f) {
		k.MTU = int(number(f[i+1]))
	}
	l.Links = append(l.Links, k)
}

// disk takes a line of df -Pk or -Pi. Several directories may be on one file system.
func (l *looked) disk(inodes bool, f []string) {
	if len(f) < 6 || !strings.HasSuffix(f[4], "%") && f[4] != "-" {
		return
	}
	mount := strings.Join(f[5:], " ")
	if inodes {
		l.inodes[mount] = [2]int64{number(f[1]), number(f[2])}
		return
	}
	if !slices.ContainsFunc(l.Disks, func(d Disk) bool { return d.Mount == mount }) {
		l.Disks = append(l.Disks, Disk{Mount: mount, SizeBytes: number(f[1]) << 10, UsedBytes: number(f[2]) << 10, AvailableBytes: number(f[3]) << 10})
	}
}

// number reads a count; what is none, such as "unlimited" or "max", is 0.
func number(text string) int64 {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0
	}
	return n
}
