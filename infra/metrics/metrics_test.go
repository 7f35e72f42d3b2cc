package metrics_test

import (
	"context"
	"runtime"
	"testing"
	"time"

	"isukit/infra/host/machine"
	"isukit/infra/metrics"
)

const printed = `@time 1792000000.500000000
@files 12 900 1024
@files 13 10 1024
==> /proc/stat <==
cpu  100 10 50 800 20 1 2 5 0 0
cpu0 50 5 25 400 10 0 1 2 0 0
cpu1 50 5 25 400 10 1 1 3 0 0
intr 1 2 3

==> /proc/meminfo <==
MemTotal:        2048 kB
MemAvailable:    1024 kB
SwapTotal:        100 kB
SwapFree:          60 kB

==> /proc/vmstat <==
pswpin 3
oom_kill 2

==> /proc/diskstats <==
 253 0 vda 10 0 200 5 20 0 400 6 0 70 11 0 0 0 0
 253 1 vda1 10 0 200 5 20 0 400 6 0 70 11 0 0 0 0

==> /proc/net/dev <==
Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:     700       1    0    0    0     0          0         0      700       1    0    0    0     0       0          0
  eth0:    1000       1    0    4    0     0          0         0     2000       1    0    1    0     0       0          0

==> /proc/net/snmp <==
Ip: A B
Ip: 1 2
Tcp: RtoMin CurrEstab OutSegs RetransSegs OutRsts
Tcp: 200 7 100 9 3

==> /proc/net/netstat <==
TcpExt: X ListenOverflows
TcpExt: 1 6

==> /proc/net/sockstat <==
TCP: inuse 5 orphan 1 tw 8 alloc 7 mem 1

==> /sys/fs/cgroup/system.slice/cpu.stat <==
usage_usec 5
throttled_usec 1500

==> /proc/12/stat <==
12 (ruby (a) b) S 1 12 12 0 -1 4194560 100 0 0 0 30 20 0 0 20 0 1 0 100 1000 50 18446744073709551615 1 1

==> /proc/13/stat <==
13 (ruby (a) b) S 1 12 12 0 -1 4194560 100 0 0 0 10 0 0 0 20 0 1 0 100 1000 50 18446744073709551615 1 1
`

func TestParse(t *testing.T) {
	s, err := metrics.Parse(printed)
	if err != nil {
		t.Fatal(err)
	}
	ruby := s.Processes["ruby (a) b"]
	for name, c := range map[string]struct{ got, want any }{
		"user": {s.CPU.User, 1100 * time.Millisecond}, "system": {s.CPU.System, 530 * time.Millisecond}, "steal": {s.CPU.Steal, 50 * time.Millisecond}, "CPUs": {s.CPUs, 2},
		"memory": {s.MemAvailable, int64(1 << 20)}, "swap": {s.SwapUsed, int64(40 << 10)}, "OOM kills": {s.OOMKills, int64(2)},
		"read": {s.Disk.ReadBytes, int64(200 * 512)}, "disk busy": {s.Disk.Busy, 70 * time.Millisecond}, "sent": {s.Net.SentBytes, int64(2000)}, "dropped": {s.Net.Dropped, int64(5)},
		"retransmitted": {s.TCP.Retransmitted, int64(9)}, "established": {s.TCP.Established, int64(7)}, "time wait": {s.TCP.TimeWait, int64(8)}, "overflows": {s.TCP.ListenOverflows, int64(6)},
		"throttled": {s.Throttled, 1500 * time.Microsecond}, "process CPU": {ruby.CPU, 600 * time.Millisecond}, "processes": {ruby.Count, 2}, "RSS": {ruby.RSSBytes, int64(100 * 4096)},
		"open files": {ruby.OpenFiles, int64(900)}, "limit": {ruby.FileLimit, int64(1024)}, "time": {s.HostAt.UnixMilli(), int64(1792000000500)},
	} {
		if c.got != c.want {
			t.Errorf("%s is %v, want %v", name, c.got, c.want)
		}
	}
	for _, bad := range []string{"", "sh: not found", "==> /proc/stat <==\n", "==> /proc/1/stat <==\n(\n"} {
		if _, err := metrics.Parse(bad); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

// TestThisMachine samples a load of one core and wants to find it, at a price that the machine does not feel.
func TestThisMachine(t *testing.T) {
	h, err := machine.OpenHere(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close(context.Background())
	// On a busy machine it takes longer until that core's work has been done.
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	go func() {
		for ctx.Err() == nil {
			runtime.Gosched()
		}
	}()
	var samples []metrics.Sample
	began := time.Now().Truncate(time.Second)
	if err := metrics.Collect(ctx, h, 500*time.Millisecond, false, func(s metrics.Sample) {
		samples = append(samples, s)
		if me := metrics.Between(samples[0], s).Processes["metrics.test"]; len(samples) >= 4 && me.CPU >= 500*time.Millisecond && s.Processes["metrics.test"].OpenFiles > 0 {
			cancel()
		}
	}); err != nil {
		t.Fatal(err)
	}
	if len(samples) < 4 {
		t.Fatalf("%d samples", len(samples))
	}
	first, last := samples[0], samples[len(samples)-1]
	if last.HostAt.Before(began) || last.HostAt.After(time.Now()) {
		t.Errorf("a sample of this machine is of %v by its own clock, want between %v and now", last.HostAt, began)
	}
	d := metrics.Between(first, last)
	if d.CPU.Total <= 0 || d.CPU.User+d.CPU.System <= 0 || last.MemTotal < 1<<28 || d.Processes["metrics.test"].CPU < 500*time.Millisecond {
		t.Errorf("between %v and %v: %+v", first.At, last.At, d)
	}
	if p := last.Processes["metrics.test"]; p.FileLimit <= 0 || p.OpenFiles <= 0 {
		t.Errorf("open files of the test: %+v", p)
	}
}
