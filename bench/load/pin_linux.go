package load

import (
	"fmt"
	"os"
	"runtime"
	"strconv"

	"golang.org/x/sys/unix"
)

// Pin restricts the whole process to some CPUs, and the runtime to as many at once. Call it before the load begins: it moves
// all threads that there are, and those made later inherit from them.
func Pin(cpus []int) error {
	if len(cpus) == 0 {
		return fmt.Errorf("pin the generator: no CPUs named")
	}
	var set unix.CPUSet
	for _, cpu := range cpus {
		set.Set(cpu)
	}
	// A thread that is made while the others are moved may inherit from one that was not; the second pass finds it.
	for range 2 {
		tasks, err := os.ReadDir("/proc/self/task")
		if err != nil {
			return fmt.Errorf("pin the generator: %w", err)
		}
		for _, t := range tasks {
			tid, err := strconv.Atoi(t.Name())
			if err != nil {
				continue
			}
			if err := unix.SchedSetaffinity(tid, &set); err != nil && err != unix.ESRCH {
				return fmt.Errorf("pin the generator to CPUs %v: %w", cpus, err)
			}
		}
	}
	runtime.GOMAXPROCS(len(cpus))
	return nil
}
