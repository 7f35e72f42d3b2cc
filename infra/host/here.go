package host

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"sync"

	"isukit/infra/host/cgroup"
)

// ThisMachine is what this machine has for this process, inside the limits of its control group and CPU affinity; Name, Driver and Dir are left to the caller.
func ThisMachine() (About, error) {
	memory, _, err := memory()
	if err != nil {
		return About{}, err
	}
	a := About{
		Address: "127.0.0.1", CPUs: float64(runtime.NumCPU()), Threads: runtime.NumCPU(), MemoryBytes: memory,
		Root: os.Geteuid() == 0, Kernel: SharedKernel, Here: true,
	}
	own := cgroup.Own()
	if own.CPUs > 0 {
		a.CPUs = min(a.CPUs, own.CPUs)
	}
	if own.MemoryBytes > 0 {
		a.MemoryBytes = min(a.MemoryBytes, own.MemoryBytes)
	}
	return a, nil
}

// memory is what this machine has, and what of it new programs could have now.
func memory() (totalBytes, availableBytes int64, err error) {
	text, err := os.ReadFile("/proc/meminfo")
	total := counter(string(text), "MemTotal:")
	if err == nil && total == 0 {
		err = errors.New("no MemTotal in /proc/meminfo")
	}
	if err != nil {
		return 0, 0, fmt.Errorf("read this machine's memory: %w", err)
	}
	return total << 10, counter(string(text), "MemAvailable:") << 10, nil
}

// UsedHere reads what this machine has used, and the process groups of services, by name.
func UsedHere(groups map[string]int) (Used, error) {
	machine, err := ReadMachineUsage()
	if err != nil {
		return Used{}, err
	}
	total, free, err := memory()
	if err != nil {
		return Used{}, err
	}
	used := Used{MachineUsage: machine, MemoryBytes: total - free, Services: map[string]Usage{}}
	var list []int
	for _, g := range groups {
		list = append(list, g)
	}
	usages := GroupUsages(list)
	for name, g := range groups {
		used.Services[name] = usages[g]
	}
	return used, nil
}

// Server ports are below the kernel's range for outgoing connections (32768 and up), so that a restarted server finds its port free.
const firstPort, lastPort = 20000, 31999

// FreePort returns a free TCP port of 127.0.0.1, another one at each call. No other isukit gets it while this process lives, so that the server
// it is for can take its time; another program may take it.
func FreePort() (int, error) {
	for range 200 {
		port := firstPort + rand.IntN(lastPort-firstPort+1)
		if !reserve(port) {
			continue
		}
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			continue
		}
		if err := l.Close(); err != nil {
			return 0, fmt.Errorf("find a free port: %w", err)
		}
		return port, nil
	}
	return 0, errors.New("find a free port: 200 tries between 20000 and 31999 found none")
}

// reserved keeps the sockets that reserve ports: one that nobody holds would be closed.
var reserved sync.Map

// reserve keeps a port from other isukits in this network namespace until this process ends: the name of an abstract socket is taken once. Only
// Linux has these.
func reserve(port int) bool {
	if runtime.GOOS != "linux" {
		return true
	}
	l, err := net.Listen("unix", fmt.Sprintf("@isukit-port-%d", port))
	if err != nil {
		return false
	}
	reserved.Store(port, l)
	return true
}
