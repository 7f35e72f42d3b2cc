// Package metrics samples a host once a second: CPU, memory, disk, network, TCP, and the usage of its processes. The host needs only a
// shell and tail: one command a second prints files of /proc, which are parsed here. Collect yields samples; Between is the difference of
// two.
package metrics

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"isukit/infra/host"
)

// Sample is what a host has done up to one moment: counters only grow, unless it says otherwise.
type Sample struct {
	// At is the time by this process's clock, HostAt by the host's.
	At, HostAt time.Time
	CPU        CPU
	CPUs       int
	// Now, in bytes.
	MemTotal, MemAvailable, SwapUsed int64
	// Pages are 4 KiB on every machine that /proc/vmstat counts for here.
	SwapInPages, SwapOutPages, MajorFaults, OOMKills int64
	// Throttled is how long CPU limits kept control groups of the host from running, as far as it tells.
	Throttled   time.Duration
	Disk        Disk
	Net         Net
	TCP         TCP
	OpenFiles   int64 // now, of the whole host
	MaxFiles    int64
	Conntrack   int64 // now
	ConntrackUp int64 // its limit; 0 when there is none
	// Processes are those that run, by name: processes of one name are added up. Of a host that is a network namespace they are its own.
	Processes map[string]Process
	// Services are those that isukit has started on the host, by name; nil where it was not asked for them.
	Services map[string]host.Usage
}

// CPU is time of all CPUs together.
type CPU struct{ User, System, Idle, IOWait, Steal, Total time.Duration }

// Busy is the share of all of it that was neither idle nor waiting, a ratio.
func (c CPU) Busy() float64 {
	if c.Total <= 0 {
		return 0
	}
	return float64(c.User+c.System) / float64(c.Total)
}

// Disk is what all disks have read and written.
type Disk struct {
	ReadBytes, WrittenBytes int64
	Busy                    time.Duration // of the busiest disk
}

// Net is what all network interfaces except the loopback have received and sent, and the loopback alone.
type Net struct{ ReceivedBytes, SentBytes, LoopbackBytes, Dropped int64 }

// TCP are the counters of the host's TCP, and how many connections there are now.
type TCP struct {
	SentSegments, Retransmitted, ListenOverflows, Resets int64
	Established, TimeWait, Orphans, InUse                int64
}

// Process is all processes of one name.
type Process struct {
	CPU      time.Duration
	RSSBytes int64
	Count    int
	// PIDs are the first of them.
	PIDs []int
	// OpenFiles and FileLimit are those of the process that is nearest to its limit; 0 if unknown.
	OpenFiles, FileLimit int64
	// each is the CPU time of every one of them: the sum shrinks when one ends.
	each map[processID]time.Duration
}

// processID tells processes apart: a number is given again, but not with the same start.
type processID struct{ pid, startTicks int64 }

// files are what a sample is made of. Those that a kernel has not are left out by it.
const files = "/proc/stat /proc/meminfo /proc/vmstat /proc/diskstats /proc/net/dev /proc/net/snmp /proc/net/netstat /proc/net/sockstat " +
	"/proc/sys/fs/file-nr /proc/sys/net/netfilter/nf_conntrack_count /proc/sys/net/netfilter/nf_conntrack_max " +
	"/sys/fs/cgroup/cpu.stat /sys/fs/cgroup/*/cpu.stat /sys/fs/cgroup/*/*/cpu.stat /sys/fs/cgroup/cpu/cpu.stat"

// script prints the time, the files, and all processes' stat. $1: count open files of these; $2: only those of the own namespace.
const script = `date +@time\ %s.%N
stats=/proc/[0-9]*/stat
[ -z "$2" ] || { stats=; for p in /proc/[0-9]*; do [ "$p/ns/net" -ef /proc/self/ns/net ] && stats="$stats $p/stat"; done; }
for p in $1; do
	set -- /proc/$p/fd/*
	[ "$1" != "/proc/$p/fd/*" ] || set --
	while read -r a b c soft rest; do
		case "$a $b $c" in "Max open files") echo "@files $p $# $soft"; break;; esac
	done 2>/dev/null < /proc/$p/limits
done
exec tail -v -n +1 ` + files + ` $stats 2>/dev/null`

// Options are the parts of a sample.
type Options struct {
	// PIDs are processes whose open files are counted.
	PIDs []int
	// Services asks for those that isukit has started.
	Services bool
}

// Read takes one sample.
func Read(ctx context.Context, h host.Host, o Options) (Sample, error) {
	words := make([]string, len(o.PIDs))
	for i, p := range o.PIDs {
		words[i] = strconv.Itoa(p)
	}
	own := ""
	namespace := h.About().Kernel == host.NamespaceKernel
	if namespace {
		own = "own"
	}
	began := time.Now()
	res, err := h.Run(ctx, host.Command{Argv: []string{"sh", "-c", script, "sh", strings.Join(words, " "), own}})
	if err != nil {
		return Sample{}, fmt.Errorf("read metrics: %w", err)
	}
	s, err := Parse(string(res.Stdout))
	// The host printed its time when the command had come and before it was gone.
	s.At = began.Add(time.Since(began) / 2)
	if err != nil || !o.Services && !namespace {
		return s, err
	}
	used, err := h.Used(ctx)
	if err != nil {
		return s, fmt.Errorf("read metrics: %w", err)
	}
	if namespace {
		s.inNamespace(h.About(), used)
	}
	if s.Services = map[string]host.Usage{}; o.Services {
		maps.Copy(s.Services, used.Services)
	}
	return s, nil
}

// inNamespace puts what a host may use and has used in the place of the machine's that it is on, of which it has a part; what only the
// machine has is left out.
func (s *Sample) inNamespace(about host.About, used host.Used) {
	m := used.MachineUsage
	s.CPU = CPU{User: m.Busy, IOWait: m.IOWait, Steal: m.Steal, Total: m.Total, Idle: m.Total - m.Busy - m.IOWait - m.Steal}
	s.MemTotal, s.MemAvailable = about.MemoryBytes, about.MemoryBytes-used.MemoryBytes
	s.SwapUsed, s.SwapInPages, s.SwapOutPages, s.MajorFaults, s.OOMKills, s.Throttled = 0, 0, 0, 0, 0, 0
	s.Disk, s.OpenFiles, s.MaxFiles = Disk{}, 0, 0
}

// filesEvery is after how many samples open files are counted: it takes some forks for each process.
const filesEvery = 5

// Collect samples immediately, at every interval, and once more when ctx ends, with or without the services that isukit has started. It
// calls each with every sample, from one goroutine. It omits samples that fail; the error contains their number, and why the last of them
// did.
func Collect(ctx context.Context, h host.Host, interval time.Duration, services bool, each func(Sample)) error {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	var before, last Sample
	var failed int
	var lastErr error
	take := func(n int) {
		o := Options{Services: services}
		if n%filesEvery == 1 {
			o.PIDs = busiest(Between(before, last))
		}
		// A host that hangs must not hold up the round.
		limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), max(interval, 5*time.Second))
		defer cancel()
		s, err := Read(limited, h, o)
		if err != nil {
			failed, lastErr = failed+1, err
			return
		}
		before, last = last, s
		each(s)
	}
	for n := 0; ; n++ {
		take(n)
		select {
		case <-ctx.Done():
			take(1)
			if failed > 0 {
				return fmt.Errorf("%d samples are missing, the last because: %w", failed, lastErr)
			}
			return nil
		case <-ticker.C:
		}
	}
}

func busiest(s Sample) []int {
	names := make([]string, 0, len(s.Processes))
	for name := range s.Processes {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int { return int(s.Processes[b].CPU - s.Processes[a].CPU) })
	var pids []int
	for _, name := range names[:min(len(names), 8)] {
		p := s.Processes[name].PIDs
		pids = append(pids, p[:min(len(p), 2)]...)
	}
	return pids
}

var errNothing = errors.New("read metrics: the host printed nothing that is known")

// Between is the growth of the counters from a to b; values of one moment are b's. Counters that were reset count from zero.
func Between(a, b Sample) Sample {
	d := b
	for _, p := range []struct {
		from, to *time.Duration
	}{
		{&a.CPU.User, &d.CPU.User}, {&a.CPU.System, &d.CPU.System}, {&a.CPU.Idle, &d.CPU.Idle}, {&a.CPU.IOWait, &d.CPU.IOWait}, {&a.CPU.Steal, &d.CPU.Steal},
		{&a.CPU.Total, &d.CPU.Total}, {&a.Throttled, &d.Throttled}, {&a.Disk.Busy, &d.Disk.Busy},
	} {
		*p.to = grown(*p.from, *p.to)
	}
	for _, p := range []struct{ from, to *int64 }{
		{&a.SwapInPages, &d.SwapInPages}, {&a.SwapOutPages, &d.SwapOutPages}, {&a.MajorFaults, &d.MajorFaults}, {&a.OOMKills, &d.OOMKills},
		{&a.Disk.ReadBytes, &d.Disk.ReadBytes}, {&a.Disk.WrittenBytes, &d.Disk.WrittenBytes}, {&a.Net.ReceivedBytes, &d.Net.ReceivedBytes},
		{&a.Net.SentBytes, &d.Net.SentBytes}, {&a.Net.LoopbackBytes, &d.Net.LoopbackBytes}, {&a.Net.Dropped, &d.Net.Dropped},
		{&a.TCP.SentSegments, &d.TCP.SentSegments}, {&a.TCP.Retransmitted, &d.TCP.Retransmitted}, {&a.TCP.ListenOverflows, &d.TCP.ListenOverflows}, {&a.TCP.Resets, &d.TCP.Resets},
	} {
		*p.to = grown(*p.from, *p.to)
	}
	d.Processes = map[string]Process{}
	for name, p := range b.Processes {
		before := a.Processes[name].each
		p.CPU = 0
		for id, used := range p.each {
			p.CPU += grown(before[id], used)
		}
		d.Processes[name] = p
	}
	return d
}

// grown is to - from, or to where the counter was set back.
func grown[T int64 | time.Duration](from, to T) T {
	if to < from {
		return to
	}
	return to - from
}
