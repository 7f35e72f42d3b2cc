package compare_test

import (
	"math/rand/v2"
	"strings"
	"testing"

	"isukit/bench/compare"
	"isukit/bench/noise"
	"isukit/bench/result"
)

func TestDisturbed(t *testing.T) {
	host := func(h result.HostUsage) *result.Round {
		h.Host = "s1"
		return &result.Round{LoadSeconds: 10, Hosts: []result.HostUsage{{Host: "s0"}, h}}
	}
	noise := func(n result.Noise) *result.Round { return &result.Round{LoadSeconds: 10, Noise: n} }
	tests := []struct {
		name  string
		round *result.Round
		want  string // "" for a quiet round
	}{
		{"quiet", host(result.HostUsage{Busy: 1, Foreign: 0.1, Steal: 0.05, IOWait: 0.5}), ""},
		{"foreign", host(result.HostUsage{Foreign: 0.11}), "11 % of the CPU time of s1 went to other processes"},
		{"steal", host(result.HostUsage{Steal: 0.06}), "6 % of the CPU time of s1 went to other virtual machines"},
		{"a busy machine before it", noise(result.Noise{LoadAverageBefore: 50, LoadAverageAfter: 50}), ""},
		{"throttled", noise(result.Noise{ThrottledSeconds: 0.25}), "a CPU limit kept it from running for 0.25 s"},
		{"throttled a little", noise(result.Noise{ThrottledSeconds: 0.1}), ""},
		{"swap", noise(result.Noise{SwapInBytes: 10 << 20, SwapOutBytes: 7 << 20}), "17 MiB were swapped"},
		{"frequency", noise(result.Noise{LowestMHz: 2000, HighestMHz: 3000}), "from 3000 to 2000 MHz"},
		{"frequency not told", noise(result.Noise{}), ""},
	}
	for _, tt := range tests {
		got := strings.Join(compare.Disturbed(tt.round), "; ")
		if (got == "") != (tt.want == "") || !strings.Contains(got, tt.want) {
			t.Errorf("%s: Disturbed() = %q, want %q", tt.name, got, tt.want)
		}
	}
}

func TestGeneratorAsTheLimitIsSaid(t *testing.T) {
	a, b := session(noises[0], 8, 0, rand.New(rand.NewPCG(11, 4)))
	b.Rounds[3].Generator.Limits = []string{"the generator used 1.99 of its 2 cores"}
	c, err := compare.Rounds(a, b, compare.DefaultOptions())
	if err != nil {
		t.Fatal(err)
	}
	if all := strings.Join(c.Warnings, "\n"); !strings.Contains(all, "1 of 8 rounds of B") {
		t.Errorf("warnings %q do not say that the generator was the limit in a round of B", all)
	}
}

// TestRoundsTooShortToGuard: a verdict has a warning if the rounds were too short to measure their surroundings.
func TestRoundsTooShortToGuard(t *testing.T) {
	for want, change := range map[string]func(*result.Round){
		"too short (0.004 s)":  func(r *result.Round) { r.LoadSeconds, r.Phases = 0.004, nil },
		"no host was measured": func(r *result.Round) { r.Hosts = nil },
		"":                     func(*result.Round) {},
	} {
		a, b := session(noise.Model{White: 0.01}, 8, 0.2, rand.New(rand.NewPCG(1, 2)))
		for _, r := range b.Rounds {
			change(r)
		}
		c, err := compare.Rounds(a, b, quick())
		if err != nil {
			t.Fatal(err)
		}
		text := strings.Join(c.Warnings, "\n")
		if want != "" && !strings.Contains(text, "side B: ") || !strings.Contains(text, want) || want == "" && text != "" {
			t.Errorf("warnings %q, want %q", text, want)
		}
	}
}
