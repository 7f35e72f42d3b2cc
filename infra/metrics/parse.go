package metrics

import (
	"regexp"
	"strconv"
	"strings"
	"time"
)

// tick is the unit of CPU times in /proc: USER_HZ is 100 on every architecture that Linux servers run on.
const tick = 10 * time.Millisecond

// Parse reads the script's output: lines with @, then files after "==> path <==". Missing values are zero; /proc/stat is required.
func Parse(text string) (Sample, error) {
	s := Sample{Processes: map[string]Process{}}
	limits := map[int][2]int64{}
	head, rest, _ := strings.Cut(text, "==> ")
	for line := range strings.Lines(head) {
		s.headLine(strings.Fields(line), limits)
	}
	for _, section := range strings.Split(rest, "\n==> ") {
		path, body, ok := strings.Cut(section, " <==\n")
		if ok {
			s.section(path, body, limits)
		}
	}
	if s.CPU.Total == 0 {
		return Sample{}, errNothing
	}
	return s, nil
}

func (s *Sample) headLine(words []string, limits map[int][2]int64) {
	switch {
	case len(words) == 2 && words[0] == "@time":
		if f, err := strconv.ParseFloat(words[1], 64); err == nil {
			s.HostAt = time.UnixMicro(int64(f * 1e6))
		}
	case len(words) == 4 && words[0] == "@files":
		limits[int(integer(words[1]))] = [2]int64{integer(words[2]), integer(words[3])}
	}
}

func (s *Sample) section(path, body string, limits map[int][2]int64) {
	switch {
	case path == "/proc/stat":
		s.stat(body)
	case path == "/proc/meminfo":
		s.meminfo(body)
	case path == "/proc/vmstat":
		v := pairs(body)
		s.SwapInPages, s.SwapOutPages, s.MajorFaults, s.OOMKills = v["pswpin"], v["pswpout"], v["pgmajfault"], v["oom_kill"]
	case path == "/proc/diskstats":
		s.diskstats(body)
	case path == "/proc/net/dev":
		s.netDev(body)
	case path == "/proc/net/snmp":
		tcp := table(body, "Tcp:")
		s.TCP.SentSegments, s.TCP.Retransmitted, s.TCP.Established, s.TCP.Resets = tcp["OutSegs"], tcp["RetransSegs"], tcp["CurrEstab"], tcp["OutRsts"]
	case path == "/proc/net/netstat":
		s.TCP.ListenOverflows = table(body, "TcpExt:")["ListenOverflows"]
	case path == "/proc/net/sockstat":
		s.sockstat(body)
	case path == "/proc/sys/fs/file-nr":
		if w := strings.Fields(body); len(w) == 3 {
			s.OpenFiles, s.MaxFiles = integer(w[0]), integer(w[2])
		}
	case strings.HasSuffix(path, "nf_conntrack_count"):
		s.Conntrack = integer(strings.TrimSpace(body))
	case strings.HasSuffix(path, "nf_conntrack_max"):
		s.ConntrackUp = integer(strings.TrimSpace(body))
	case strings.HasSuffix(path, "/cpu.stat"):
		v := pairs(body)
		s.Throttled += time.Duration(v["throttled_usec"])*time.Microsecond + time.Duration(v["throttled_time"])
	case strings.HasPrefix(path, "/proc/"):
		s.process(body, limits)
	}
}

func integer(text string) int64 {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// stat: "cpu user nice system idle iowait irq softirq steal guest guest_nice"; guest is a part of user.
func (s *Sample) stat(body string) {
	for line := range strings.Lines(body) {
		w := strings.Fields(line)
		if len(w) < 9 || !strings.HasPrefix(w[0], "cpu") {
			continue
		}
		if w[0] != "cpu" {
			s.CPUs++
			continue
		}
		var t [8]time.Duration
		for i := range t {
			t[i] = time.Duration(integer(w[i+1])) * tick
			s.CPU.Total += t[i]
		}
		s.CPU.User, s.CPU.System = t[0]+t[1], t[2]+t[5]+t[6]
		s.CPU.Idle, s.CPU.IOWait, s.CPU.Steal = t[3], t[4], t[7]
	}
}

func (s *Sample) meminfo(body string) {
	v := map[string]int64{}
	for line := range strings.Lines(body) {
		if w := strings.Fields(line); len(w) >= 2 {
			v[w[0]] = integer(w[1]) << 10
		}
	}
	s.MemTotal, s.MemAvailable, s.SwapUsed = v["MemTotal:"], v["MemAvailable:"], v["SwapTotal:"]-v["SwapFree:"]
}

func pairs(body string) map[string]int64 {
	v := map[string]int64{}
	for line := range strings.Lines(body) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), " "); ok {
			v[name] = integer(value)
		}
	}
	return v
}

// table reads a line of names and the line of values below it that begin with the same word.
func table(body, word string) map[string]int64 {
	var names []string
	v := map[string]int64{}
	for line := range strings.Lines(body) {
		w := strings.Fields(line)
		if len(w) == 0 || w[0] != word {
			continue
		}
		if names == nil {
			names = w
			continue
		}
		for i := range min(len(names), len(w)) {
			v[names[i]] = integer(w[i])
		}
	}
	return v
}

// wholeDisk finds disks that are neither parts of one nor made of others.
var wholeDisk = regexp.MustCompile(`^(sd[a-z]+|hd[a-z]+|vd[a-z]+|xvd[a-z]+|nvme\d+n\d+|mmcblk\d+)$`)

func (s *Sample) diskstats(body string) {
	const sector = 512
	for line := range strings.Lines(body) {
		w := strings.Fields(line)
		if len(w) < 13 || !wholeDisk.MatchString(w[2]) {
			continue
		}
		s.Disk.ReadBytes += integer(w[5]) * sector
		s.Disk.WrittenBytes += integer(w[9]) * sector
		s.Disk.Busy = max(s.Disk.Busy, time.Duration(integer(w[12]))*time.Millisecond)
	}
}

func (s *Sample) netDev(body string) {
	for line := range strings.Lines(body) {
		name, rest, ok := strings.Cut(line, ":")
		w := strings.Fields(rest)
		if !ok || len(w) < 12 {
			continue
		}
		if strings.TrimSpace(name) == "lo" {
			s.Net.LoopbackBytes += integer(w[0])
			continue
		}
		s.Net.ReceivedBytes += integer(w[0])
		s.Net.SentBytes += integer(w[8])
		s.Net.Dropped += integer(w[3]) + integer(w[11])
	}
}

// sockstat: "TCP: inuse 5 orphan 0 tw 2 alloc 7 mem 1".
func (s *Sample) sockstat(body string) {
	for line := range strings.Lines(body) {
		w := strings.Fields(line)
		if len(w) == 0 || w[0] != "TCP:" {
			continue
		}
		for i := 1; i+1 < len(w); i += 2 {
			switch w[i] {
			case "inuse":
				s.TCP.InUse = integer(w[i+1])
			case "orphan":
				s.TCP.Orphans = integer(w[i+1])
			case "tw":
				s.TCP.TimeWait = integer(w[i+1])
			}
		}
	}
}

const pageBytes = 4096

// process: "pid (name) state ppid ...": the name may hold spaces and parentheses.
func (s *Sample) process(body string, limits map[int][2]int64) {
	open, end := strings.IndexByte(body, '('), strings.LastIndexByte(body, ')')
	if open < 0 || end < open {
		return
	}
	w := strings.Fields(body[end+1:])
	if len(w) < 22 {
		return
	}
	pid, name := int(integer(strings.TrimSpace(body[:open]))), body[open+1:end]
	if worker, _, ok := strings.Cut(name, "/"); ok && strings.HasPrefix(name, "kworker/") {
		name = worker // the kernel's have a name for every task
	}
	p := s.Processes[name]
	used := time.Duration(integer(w[11])+integer(w[12])) * tick
	p.CPU += used
	if p.each == nil {
		p.each = map[processID]time.Duration{}
	}
	p.each[processID{int64(pid), integer(w[19])}] = used
	p.RSSBytes += integer(w[21]) * pageBytes
	p.Count++
	if len(p.PIDs) < 4 {
		p.PIDs = append(p.PIDs, pid)
	}
	if l, ok := limits[pid]; ok && l[1] > 0 && (p.FileLimit == 0 || float64(l[0])/float64(l[1]) > float64(p.OpenFiles)/float64(p.FileLimit)) {
		p.OpenFiles, p.FileLimit = l[0], l[1]
	}
	s.Processes[name] = p
}
