// Package metrics reads once a second what a host does: CPU, memory, disk, network, TCP, and what its processes use. It needs
// nothing on the host but a shell and tail: one command a second prints files of /proc, which are taken apart here. Collect
// yields samples; Between tells what lies between two of them.
package metrics

import (
	"context"
	"errors"
	"fmt"
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
	// Processes are those that run, by name: processes of one name are added up.
	Processes map[string]Process
}

// CPU is time of all CPUs together.
type CPU struct{ User, System, Idle, IOWait, Steal, Total time.Duration }

// Disk is what all disks have read and written.
type Disk struct {
	ReadBytes, WrittenBytes int64
	Busy                    time.Duration // of the busiest disk
}

// Net is what all network interfaces but the loopback have received and sent, and the loopback by itself.
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
	// OpenFiles and FileLimit are of the process that is nearest to its limit; 0 when not looked at.
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

// script prints the host's time, the files, and every process's stat; $1 are processes whose open files are counted.
const script = `date +@time\ %s.%N
for p in $1; do
	n=$(ls /proc/$p/fd 2>/dev/null | wc -l)
	while read -r a b c soft rest; do
		case "$a $b $c" in "Max open files") echo "@files $p $n $soft";; esac
	done 2>/dev/null < /proc/$p/limits
done
exec tail -v -n +1 ` + files + ` /proc/[0-9]*/stat 2>/dev/null`

// Read takes one sample. The open files of these processes are counted.
func Read(ctx context.Context, h host.Host, pids ...int) (Sample, error) {
	words := make([]string, len(pids))
	for i, p := range pids {
		words[i] = strconv.Itoa(p)
	}
	began := time.Now()
	res, err := h.Run(ctx, host.Command{Argv: []string{"sh", "-c", script, "sh", strings.Join(words, " ")}})
	if err != nil {
		return Sample{}, fmt.Errorf("read metrics: %w", err)
	}
	s, err := Parse(string(res.Stdout))
	// The host printed its time when the command had come and before it was gone.
	s.At = began.Add(time.Since(began) / 2)
	return s, err
}

// filesEvery is after how many samples open files are counted: it takes some forks for each process.
const filesEvery = 10

// Collect samples at once, at every interval, and once more when ctx ends. each is called with every sample, from one
// goroutine. A sample that fails is left out; the error tells how many, and why the last of them did.
func Collect(ctx context.Context, h host.Host, interval time.Duration, each func(Sample)) error {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	var before, last Sample
	var failed int
	var lastErr error
	take := func(n int) {
		var pids []int
		if n%filesEvery == 1 {
			pids = busiest(Between(before, last))
		}
		// A host that hangs must not hold up the round.
		limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), max(interval, 5*time.Second))
		defer cancel()
		s, err := Read(limited, h, pids...)
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

// busiest are the first processes of the names that used the most CPU time in between.
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
