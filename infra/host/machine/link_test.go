package machine_test

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"isukit/infra/host"
	"isukit/infra/host/machine"
	"isukit/infra/infratest/wait"
)

// said is what a command prints; it must succeed.
func said(t testing.TB, h host.Host, argv ...string) string {
	t.Helper()
	got, err := h.Run(t.Context(), command(argv...))
	if err != nil || got.Code != 0 {
		t.Fatalf("%s: %v, exit status %d: %s%s", argv, err, got.Code, got.Stdout, got.Stderr)
	}
	return string(got.Stdout)
}

// pings is what the program ping says.
type pings struct {
	came, answers, late int
	min, middle, max    float64 // ms
}

func pinged(t testing.TB, from host.Host, to, count, apart string) (p pings) {
	t.Helper()
	text := said(t, from, os.Args[0], "ping", to, count, apart)
	if _, err := fmt.Sscan(text, &p.came, &p.answers, &p.late, &p.min, &p.middle, &p.max); err != nil {
		t.Fatalf("ping: %v: %s", err, text)
	}
	return p
}

// BenchmarkLabDistance: pings, and single bytes both ways over TCP, with a link's delay and loss. Targets: twice the delay within 10 % or
// 0.1 ms more than without one, and two frames' loss.
func BenchmarkLabDistance(b *testing.B) {
	for _, flaws := range []host.Flaws{{}, {Delay: 500 * time.Microsecond}, {Delay: time.Millisecond}, {Delay: 10 * time.Millisecond}, {Loss: 0.01}} {
		b.Run("asked_"+strings.ReplaceAll(flaws.String(), " ", ""), func(b *testing.B) {
			d := lab(b, 1, host.Want{Name: "s1", Flaws: flaws}, host.Want{Name: "s2"})
			s1, s2 := hostOf(b, d, "s1"), hostOf(b, d, "s2")
			program(b, s1, "echo", "0.0.0.0:7000")
			answers(b, d, "s1:7000")
			for b.Loop() {
				p := pinged(b, s2, "s1", "5000", "1ms")
				var turns int
				var middle, mean float64
				if _, err := fmt.Sscan(said(b, s2, os.Args[0], "turns", "s1:7000", "5s"), &turns, &middle, &mean); err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(p.middle, "ping-ms")
				b.ReportMetric(100*float64(5000-p.came)/5000, "ping-lost-%")
				b.ReportMetric(float64(p.late), "ping-overtaken")
				b.ReportMetric(middle, "tcp-turn-ms")
			}
		})
	}
}

// answers waits until something listens on a host.
func answers(t testing.TB, d *machine.Driver, address string) {
	t.Helper()
	wait.For(t, "an answer of "+address, func() bool {
		conn, err := d.Dial(t.Context(), "tcp", address)
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
}

// TestLabLinkFlaws asks one after the other of a link, and compares what pings see. Times are only held to what a slow machine keeps, too.
func TestLabLinkFlaws(t *testing.T) {
	d := lab(t, 1, host.Want{Name: "s1", CPUs: 1}, host.Want{Name: "s2", CPUs: 1})
	s2 := hostOf(t, d, "s2")
	wait.For(t, "a new lab's first ping", func() bool { return pinged(t, s2, "s1", "1", "1ms").came == 1 })
	for _, c := range []struct {
		name  string
		flaws host.Flaws
		ok    func(pings) bool
	}{
		{"none", host.Flaws{}, func(p pings) bool { return p.came == 200 && p.answers == 200 && p.late == 0 }},
		{"delay and jitter", host.Flaws{Delay: 30 * time.Millisecond, Jitter: 10 * time.Millisecond}, func(p pings) bool {
			return p.came == 200 && p.answers == 200 && p.late == 0 && p.min >= 40 && p.max > p.min+1
		}},
		{"delay one way", host.Flaws{Delay: 30 * time.Millisecond, Way: "in"}, func(p pings) bool { return p.came == 200 && p.min >= 30 }},
		{"delay to another", host.Flaws{Delay: time.Second, Peer: "generator"}, func(p pings) bool { return p.came == 200 && p.min < 1000 }},
		{"half lost", host.Flaws{Loss: 0.5, Way: "out"}, func(p pings) bool { return p.came > 60 && p.came < 140 }},
		{"all lost", host.Flaws{Loss: 1}, func(p pings) bool { return p.came == 0 }},
		{"all twice", host.Flaws{Duplicate: 1}, func(p pings) bool { return p.came == 200 && p.answers == 800 }},
		{"all corrupt", host.Flaws{Corrupt: 1, Way: "in"}, func(p pings) bool { return p.came < 20 }}, // a bit of the sender's address comes through
		{"overtaken", host.Flaws{Delay: 200 * time.Millisecond, Reorder: 0.5, Way: "out"}, func(p pings) bool { return p.came == 200 && p.late > 20 }},
	} {
		if err := d.Ensure(t.Context(), []host.Want{{Name: "s1", CPUs: 1, Flaws: c.flaws}}); err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		if got := pinged(t, s2, "s1", "200", "2ms"); !c.ok(got) {
			t.Errorf("%s (%v): pings: %+v", c.name, c.flaws, got)
		}
	}
	if err := d.Ensure(t.Context(), []host.Want{{Name: "s1", CPUs: 1}}); err != nil {
		t.Fatal(err)
	}
	if devices := said(t, hostOf(t, d, "switch"), "ip", "-brief", "link"); strings.Contains(devices, "w-s1") {
		t.Errorf("a link of which nothing is asked any more: the switch has\n%s", devices)
	}
	if err := d.Ensure(t.Context(), []host.Want{{Name: "s1", Flaws: host.Flaws{Delay: 1, Peer: "s9"}}}); err == nil || !strings.Contains(err.Error(), "s9") {
		t.Errorf("a link with a peer that is not there: got %v", err)
	}
}

// TestLabFault disturbs a link that is up, and ends that in every way there is.
func TestLabFault(t *testing.T) {
	d := lab(t, 1, host.Want{Name: "s1", CPUs: 1}, host.Want{Name: "s2", CPUs: 1})
	s2 := hostOf(t, d, "s2")
	wait.For(t, "a new lab's first ping", func() bool { return pinged(t, s2, "s1", "1", "1ms").came == 1 })
	fault := func(f *machine.Fault) {
		t.Helper()
		if err := d.Fault(t.Context(), "s1", f); err != nil {
			t.Fatal(err)
		}
	}
	plain := func(after string) {
		t.Helper()
		wait.For(t, "a plain link after "+after, func() bool {
			devices := said(t, hostOf(t, d, "switch"), "ip", "-brief", "link", "show", "master", "br0")
			return strings.Contains(devices, "v-s1") && !strings.Contains(devices, "w-s1")
		})
		if p := pinged(t, s2, "s1", "20", "1ms"); p.came != 20 {
			t.Errorf("pings after %s: %+v", after, p)
		}
	}
	fault(&machine.Fault{Flaws: host.Flaws{Loss: 1, Way: "out"}})
	if p := pinged(t, s2, "s1", "20", "1ms"); p.came != 0 {
		t.Errorf("pings over a cut link: %+v", p)
	}
	fault(nil)
	plain("--clear")

	until := time.Now().Add(10 * time.Second)
	fault(&machine.Fault{Stall: true, Until: until})
	if p := pinged(t, s2, "s1", "1", "10s"); p.came != 1 || p.min < 1 {
		t.Errorf("a ping over a stalled link: %+v; want it held until the end", p)
	}
	plain("a stall")

	fault(&machine.Fault{Flaws: host.Flaws{Loss: 1}})
	said(t, hostOf(t, d, "switch"), "sh", "-c", "kill -9 $(pgrep -f 'lab link .*v-s1 x-s1$')")
	plain("its process was killed")

	for _, bad := range []machine.Fault{{}, {Stall: true}, {Flaws: host.Flaws{Peer: "s2"}}, {Flaws: host.Flaws{Loss: 1, Peer: "s9"}}, {Flaws: host.Flaws{Loss: 1}, Until: until}} {
		if err := d.Fault(t.Context(), "s1", &bad); err == nil {
			t.Errorf("fault %+v: no error", bad)
		}
	}
	if devices := said(t, hostOf(t, d, "switch"), "ip", "-brief", "link"); strings.Contains(devices, "w-s1") {
		t.Errorf("a fault that was refused: the switch has\n%s", devices)
	}
}

// BenchmarkLabPlainLink: what a link of 1 Gbit/s carries with isukit's own process away, as it was made, and after a fault has come and gone.
// Target: 0.95 at least.
func BenchmarkLabPlainLink(b *testing.B) {
	d := lab(b, 1, host.Want{Name: "s1", LinkBitsPerSecond: 1e9}, host.Want{Name: "s2"})
	program(b, hostOf(b, d, "s1"), "flood", "0.0.0.0:7000")
	megabits := func() float64 {
		receive(b, d, time.Second)
		began := time.Now()
		n := receive(b, d, 3*time.Second)
		return float64(8*n) / time.Since(began).Seconds() / 1e6
	}
	for b.Loop() {
		before := megabits()
		if err := d.Fault(b.Context(), "s1", &machine.Fault{Flaws: host.Flaws{Delay: time.Millisecond}}); err != nil {
			b.Fatal(err)
		}
		delayed := megabits()
		if err := d.Fault(b.Context(), "s1", nil); err != nil {
			b.Fatal(err)
		}
		after := megabits()
		b.ReportMetric(before, "Mbit/s-plain")
		b.ReportMetric(delayed, "Mbit/s-delayed-1ms")
		b.ReportMetric(after/before, "after/plain(target:0.95)")
	}
}

// BenchmarkLabPackets: 50,000 packets a second over a link with a delay of 1 ms and over one without. Targets: none lost, none overtaken, and 1 ms
// more than without, within 0.1 ms.
func BenchmarkLabPackets(b *testing.B) {
	for _, delay := range []time.Duration{0, time.Millisecond} {
		b.Run("asked_"+delay.String(), func(b *testing.B) {
			d := lab(b, 1, host.Want{Name: "s1", Flaws: host.Flaws{Delay: delay}}, host.Want{Name: "s2"})
			s1 := hostOf(b, d, "s1")
			for b.Loop() {
				done := make(chan string, 1)
				go func() { done <- said(b, s1, os.Args[0], "sink", "0.0.0.0:7001") }()
				wait.For(b, "who receives", func() bool { return strings.Contains(said(b, s1, "cat", "/proc/net/udp", "/proc/net/udp6"), ":1B59 ") })
				said(b, hostOf(b, d, "s2"), os.Args[0], "burst", "s1:7001", "200000")
				var came, late int
				var middle, most float64
				if delay > 0 {
					spent := strings.Fields(said(b, s1, "sh", "-c", `cat /proc/$(pgrep -f "lab link .*v-s1 x-s1$")/stat`))
					user, _ := strconv.Atoi(spent[13])
					system, _ := strconv.Atoi(spent[14])
					b.ReportMetric(float64(user+system)*1e4/200000, "carrier-CPU-us-a-packet")
				}
				if _, err := fmt.Sscan(<-done, &came, &late, &middle, &most); err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(100*float64(200000-came)/200000, "lost-%")
				b.ReportMetric(float64(late), "overtaken")
				b.ReportMetric(middle, "ms")
				b.ReportMetric(most, "ms-of-99%")
			}
		})
	}
}

// TestLinkFlawsElsewhere: a driver that cannot make such a link refuses it.
func TestLinkFlawsElsewhere(t *testing.T) {
	d, err := machine.OpenLocal(machine.Options{StateDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close(t.Context())
	var fault *host.Fault
	err = d.Ensure(t.Context(), []host.Want{{Name: "s1", Flaws: host.Flaws{Delay: time.Millisecond}}})
	if !errors.Is(err, host.ErrUnsupported) || !errors.As(err, &fault) || !strings.Contains(fault.Hint, "--driver lab") {
		t.Errorf("a delay on this machine: got %v", err)
	}
}
