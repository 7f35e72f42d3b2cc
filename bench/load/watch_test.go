package load

import (
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"
)

// TestVerdict is a table of what the generator used and what had the CPUs: only what is the generator's own is a limit.
func TestVerdict(t *testing.T) {
	late := func(d time.Duration) Latency { return Latency{P99: d} }
	const s = time.Second
	tests := []struct {
		name            string
		usage           Usage
		limits, starved string // what they hold; "" for none
	}{
		{"all well", Usage{CPU: 3 * s, Cores: 0.3, AllCPU: 20 * s, BusyCPU: 8 * s, TimerDelay: late(time.Millisecond)}, "", ""},
		{"its cores are full", Usage{CPU: 19 * s, Cores: 1.9, AllCPU: 20 * s, BusyCPU: 20 * s, TimerDelay: late(50 * time.Millisecond)}, "used 1.90 of its 2 cores", ""},
		{"servers have the CPUs", Usage{CPU: 3 * s, Cores: 0.3, AllCPU: 20 * s, BusyCPU: 20 * s, TimerDelay: late(14 * time.Millisecond)}, "", "up to 14ms"},
		{"servers have the CPUs, users wait", Usage{CPU: 3 * s, Cores: 0.3, AllCPU: 20 * s, BusyCPU: 19 * s, ReadyDelayP99: 21 * time.Millisecond}, "", "up to 21ms"},
		{"most of the work is its own", Usage{CPU: 11 * s, Cores: 1.1, AllCPU: 20 * s, BusyCPU: 20 * s, TimerDelay: late(14 * time.Millisecond)}, "timers were 14ms late", ""},
		{"late though CPUs are idle", Usage{CPU: 3 * s, Cores: 0.3, AllCPU: 20 * s, BusyCPU: 9 * s, TimerDelay: late(14 * time.Millisecond)}, "timers were 14ms late", ""},
		{"users wait though CPUs are idle", Usage{CPU: 3 * s, Cores: 0.3, AllCPU: 20 * s, BusyCPU: 9 * s, ReadyDelayP99: 40 * time.Millisecond}, "users waited 40ms", ""},
		{"the system does not tell", Usage{CPU: 3 * s, Cores: 0.3, TimerDelay: late(14 * time.Millisecond)}, "timers were 14ms late", ""},
	}
	for _, tt := range tests {
		tt.usage.MaxCores = 2
		limits, starved := tt.usage.verdict()
		for _, v := range []struct{ got, want string }{{strings.Join(limits, "; "), tt.limits}, {starved, tt.starved}} {
			if !strings.Contains(v.got, v.want) || (v.got == "") != (v.want == "") {
				t.Errorf("%s: limits %q, starved %q, want %q and %q", tt.name, limits, starved, tt.limits, tt.starved)
			}
		}
	}
}

// TestStarvedIsNoLimit fills the CPUs with other processes: however late the generator is then, it is not its own limit.
func TestStarvedIsNoLimit(t *testing.T) {
	for range 4 * runtime.NumCPU() {
		burner := exec.Command("sh", "-c", "while :; do :; done")
		if err := burner.Start(); err != nil {
			t.Fatal(err)
		}
		defer func() {
			burner.Process.Kill()
			burner.Wait() // it was killed, that is its error
		}()
	}
	time.Sleep(100 * time.Millisecond)
	w := StartWatch()
	for begin := time.Now(); time.Since(begin) < 1500*time.Millisecond; { // clock: the watch has this length
		for range 100_000 { // some work of its own, so that the scheduler gives it no precedence
		}
		time.Sleep(100 * time.Microsecond)
	}
	u := w.Stop()
	if u.AllCPU > 0 && len(u.Limits) > 0 {
		t.Errorf("limits %q with timers %v late at p99, want none: others had the CPUs (%v of %v, itself %v)", u.Limits, u.TimerDelay.P99, u.BusyCPU, u.AllCPU, u.CPU)
	}
	t.Logf("timers %v late at p99, users %v; starved: %s", u.TimerDelay.P99, u.ReadyDelayP99, u.Starved)
}

// TestBusyGeneratorIsTheLimit has the generator itself use its cores up.
func TestBusyGeneratorIsTheLimit(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	w := StartWatch()
	begin, cpu := time.Now(), ProcessCPU()
	for time.Since(begin) < 10*time.Second && ProcessCPU()-cpu < 500*time.Millisecond { // clock: the watch has this length
	}
	got := float64(ProcessCPU()-cpu) / float64(time.Since(begin))
	u := w.Stop()
	if got > 0.95 && len(u.Limits) == 0 { // clock: what the watch says is held against the kernel's own figure
		t.Errorf("no limits, with %.2f of %d cores used", u.Cores, u.MaxCores)
	}
	// Where others had the rest, the watch must have seen no more than was there.
	if got <= 0.95 && u.Cores > 0.99 { // clock: as above
		t.Errorf("the watch says %.2f cores, it was %.2f", u.Cores, got)
	}
}
