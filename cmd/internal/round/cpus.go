package round

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"isukit/infra/host/machine"
)

// maxCPU bounds the numbers in a list of CPUs.
const maxCPU = 4096

// parseCPUs reads a list such as "0-1,3" and returns the CPUs in order, each once. Empty text is none. A CPU that this
// process may not use is an error.
func parseCPUs(text string) ([]int, error) {
	if text == "" {
		return nil, nil
	}
	allowed, err := machine.UsableCPUs()
	if err != nil {
		return nil, fmt.Errorf("read which CPUs may be used: %w", err)
	}
	var cpus []int
	for part := range strings.SplitSeq(text, ",") {
		from, to, isRange := strings.Cut(part, "-")
		if !isRange {
			to = from
		}
		low, err1 := strconv.Atoi(from)
		high, err2 := strconv.Atoi(to)
		if err1 != nil || err2 != nil || low < 0 || high < low || high >= maxCPU {
			return nil, fmt.Errorf("%q is not a list of CPUs such as 0-1,3", text)
		}
		for cpu := low; cpu <= high; cpu++ {
			if !slices.Contains(allowed, cpu) {
				return nil, fmt.Errorf("CPU %d is not there, or not allowed to this process", cpu)
			}
			cpus = append(cpus, cpu)
		}
	}
	slices.Sort(cpus)
	return slices.Compact(cpus), nil
}
