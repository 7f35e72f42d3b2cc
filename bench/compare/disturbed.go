package compare

import (
	"fmt"

	"isukit/bench/result"
)

// From here on a round is so noisy that it is run again. The shares of CPU time are those at which a round has a warning.
const (
	noisyForeign   = 0.10
	noisySteal     = 0.05
	noisyThrottled = 0.01 // of the load's time
	noisySwap      = 16 << 20
	noisyFrequency = 0.9 // lowest over highest
)

// Disturbed lists what disturbed a round from outside. It never reads the result, so that leaving noisy rounds out favours no side.
func Disturbed(r *result.Round) []string {
	var why []string
	add := func(format string, args ...any) { why = append(why, fmt.Sprintf(format, args...)) }
	for _, h := range r.Hosts {
		if h.Foreign > noisyForeign {
			add("%.0f %% of the CPU time of %s went to other processes", 100*h.Foreign, h.Host)
		}
		if h.Steal > noisySteal {
			add("%.0f %% of the CPU time of %s went to other virtual machines", 100*h.Steal, h.Host)
		}
	}
	n := r.Noise
	if n.ThrottledSeconds > noisyThrottled*r.LoadTook() {
		add("a CPU limit kept it from running for %.2g s", n.ThrottledSeconds)
	}
	if swapped := n.SwapInBytes + n.SwapOutBytes; swapped > noisySwap {
		add("%d MiB were swapped", swapped>>20)
	}
	if n.LowestMHz < noisyFrequency*n.HighestMHz {
		add("the CPUs went from %.0f to %.0f MHz", n.HighestMHz, n.LowestMHz)
	}
	return why
}
