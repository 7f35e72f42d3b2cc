package host

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"isukit/infra/host/cgroup"
)

// Noise is disturbance of measurements on this machine up to one moment. Unknown values are zero, such as a virtual CPU's frequency.
type Noise struct {
	// LoadAverage is the mean number of tasks that ran or wanted to over about the last minute.
	LoadAverage float64
	// SwapInBytes and SwapOutBytes only grow.
	SwapInBytes, SwapOutBytes int64
	// Throttled is how long CPU limits of this process' control group, and of those above it, have stopped it. It only grows.
	Throttled time.Duration
	// FrequencyMHz is the mean over all CPUs.
	FrequencyMHz float64
}

// ReadNoise reads the files of /proc and /sys about noise.
func ReadNoise() (n Noise, err error) {
	load, err := os.ReadFile("/proc/loadavg")
	if err == nil {
		n.LoadAverage, err = parseLoadAverage(string(load))
	}
	var vmstat []byte
	if err == nil {
		vmstat, err = os.ReadFile("/proc/vmstat")
	}
	page := int64(os.Getpagesize())
	n.SwapInBytes, n.SwapOutBytes = page*counter(string(vmstat), "pswpin"), page*counter(string(vmstat), "pswpout")
	if err == nil {
		n.Throttled, err = cgroup.OwnThrottled()
	}
	if err == nil {
		n.FrequencyMHz, err = frequency()
	}
	if err != nil {
		return Noise{}, fmt.Errorf("read noise: %w", err)
	}
	return n, nil
}

func parseLoadAverage(text string) (float64, error) {
	first, _, _ := strings.Cut(text, " ")
	load, err := strconv.ParseFloat(first, 64)
	if err != nil {
		return 0, fmt.Errorf("/proc/loadavg: %w", err)
	}
	return load, nil
}

// counter finds "name value" among lines of such; 0 if it is not there or no number.
func counter(text, name string) int64 {
	for line := range strings.Lines(text) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == name {
			n, _ := strconv.ParseInt(f[1], 10, 64) // a kernel's counter is a number
			return n
		}
	}
	return 0
}

// frequency is the mean of the CPUs' frequencies in MHz, from their driver or otherwise /proc/cpuinfo.
func frequency() (float64, error) {
	files, err := filepath.Glob("/sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_cur_freq")
	if err != nil {
		return 0, err
	}
	var all []float64
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // a CPU that went offline meanwhile
		}
		if kHz, err := strconv.ParseFloat(strings.TrimSpace(string(text)), 64); err == nil {
			all = append(all, kHz/1000)
		}
	}
	if len(all) == 0 {
		if all, err = cpuinfoMHz(); err != nil {
			return 0, err
		}
	}
	sum := 0.0
	for _, mhz := range all {
		sum += mhz
	}
	return sum / float64(max(1, len(all))), nil
}

func cpuinfoMHz() ([]float64, error) {
	f, err := os.Open("/proc/cpuinfo")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var all []float64
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		k, v, ok := strings.Cut(lines.Text(), ":")
		if !ok || strings.TrimSpace(k) != "cpu MHz" {
			continue
		}
		if mhz, err := strconv.ParseFloat(strings.TrimSpace(v), 64); err == nil {
			all = append(all, mhz)
		}
	}
	return all, lines.Err()
}
