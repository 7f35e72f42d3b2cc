package host

import (
	"testing"
	"time"
)

func TestReadNoise(t *testing.T) {
	n, err := ReadNoise()
	if err != nil {
		t.Fatal(err)
	}
	if n.LoadAverage < 0 || n.SwapInBytes < 0 || n.SwapOutBytes < 0 || n.Throttled < 0 || n.FrequencyMHz < 0 || n.FrequencyMHz > 20_000 {
		t.Errorf("ReadNoise() = %+v: no machine is so", n)
	}
}

func TestCPUGroup(t *testing.T) {
	tests := []struct{ name, text, mount, group string }{
		{"version 2", "0::/user.slice/user-0.slice\n", "/sys/fs/cgroup", "/user.slice/user-0.slice"},
		{"version 1", "5:cpuset:/a\n4:cpuacct,cpu:/b\n0::/c\n", "/sys/fs/cgroup/cpu", "/b"},
		{"version 1 without cpu", "5:cpuset:/a\n0::/c\n", "/sys/fs/cgroup", "/c"},
		{"outside of the namespace", "0::/../x\n", "/sys/fs/cgroup", "/x"},
		{"nothing", "", "/sys/fs/cgroup", "/"},
	}
	for _, tt := range tests {
		if mount, group := cpuGroup(tt.text); mount != tt.mount || group != tt.group {
			t.Errorf("%s: cpuGroup(%q) = %q, %q, want %q, %q", tt.name, tt.text, mount, group, tt.mount, tt.group)
		}
	}
}

func TestParseThrottled(t *testing.T) {
	tests := []struct {
		text string
		want time.Duration
	}{
		{"usage_usec 5\nnr_throttled 3\nthrottled_usec 1500\n", 1500 * time.Microsecond},
		{"nr_periods 0\nnr_throttled 0\nthrottled_time 2000000\n", 2 * time.Millisecond},
		{"usage_usec 5\n", 0},
		{"throttled_usec x\n", 0},
		{"", 0},
	}
	for _, tt := range tests {
		if got := parseThrottled(tt.text); got != tt.want {
			t.Errorf("parseThrottled(%q) = %v, want %v", tt.text, got, tt.want)
		}
	}
}

func TestParseLoadAverage(t *testing.T) {
	if got, err := parseLoadAverage("1.25 0.50 0.10 2/300 4711\n"); err != nil || got != 1.25 {
		t.Errorf("got %v, %v, want 1.25", got, err)
	}
	if _, err := parseLoadAverage("?"); err == nil {
		t.Error("no error for a file that is none")
	}
}
