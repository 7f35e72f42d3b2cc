package host

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Noise is what can disturb a measurement on this machine from outside, up to one moment. What a machine does not tell, as
// a virtual one its CPU frequency, is zero.
type Noise struct {
	// LoadAverage is the mean number of tasks that ran or wanted to over about the last minute.
	LoadAverage float64
	// SwapInBytes and SwapOutBytes only grow.
	SwapInBytes, SwapOutBytes int64
	// Throttled is how long CPU limits of this process's control group, and of those above it, have kept it from running. It
	// only grows.
	Throttled time.Duration
	// FrequencyMHz is the mean over all CPUs.
	FrequencyMHz float64
}

// ReadNoise reads the files of /proc and /sys that tell of noise.
func ReadNoise() (Noise, error) {
	var n Noise
	load, err := os.ReadFile("/proc/loadavg")
	if err == nil {
		n.LoadAverage, err = parseLoadAverage(string(load))
	}
	if err != nil {
		return Noise{}, fmt.Errorf("read noise: %w", err)
	}
	vmstat, err := os.ReadFile("/proc/vmstat")
	if err != nil {
		return Noise{}, fmt.Errorf("read noise: %w", err)
	}
	page := int64(os.Getpagesize())
	n.SwapInBytes, n.SwapOutBytes = page*counter(string(vmstat), "pswpin"), page*counter(string(vmstat), "pswpout")
	if n.Throttled, err = throttled(); err != nil {
		return Noise{}, fmt.Errorf("read noise: %w", err)
	}
	if n.FrequencyMHz, err = frequency(); err != nil {
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
		if k, v, ok := strings.Cut(strings.TrimSpace(line), " "); ok && k == name {
			n, _ := strconv.ParseInt(v, 10, 64) // a kernel's counter is a number
			return n
		}
	}
	return 0
}

// throttled adds up what the control groups from this process's to the root say. Inside a container the path in
// /proc/self/cgroup may not be there below /sys/fs/cgroup; the levels that are there count.
func throttled() (time.Duration, error) {
	text, err := os.ReadFile("/proc/self/cgroup")
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil // a kernel without control groups
	}
	if err != nil {
		return 0, err
	}
	mount, group := cpuGroup(string(text))
	var sum time.Duration
	for {
		stat, err := os.ReadFile(filepath.Join(mount, group, "cpu.stat"))
		if err == nil {
			sum += parseThrottled(string(stat))
		} else if !errors.Is(err, fs.ErrNotExist) {
			return 0, err
		}
		if group == "/" {
			return sum, nil
		}
		group = path.Dir(group)
	}
}

// cpuGroup finds in /proc/self/cgroup the group that limits CPU time, of version 1 or else 2, and where its tree is mounted.
func cpuGroup(text string) (mount, group string) {
	mount, group = "/sys/fs/cgroup", "/"
	for line := range strings.Lines(text) {
		fields := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(fields) != 3 || !strings.HasPrefix(fields[2], "/") {
			continue
		}
		if fields[1] == "" {
			group = path.Clean(fields[2])
			continue
		}
		for controller := range strings.SplitSeq(fields[1], ",") {
			if controller == "cpu" {
				return "/sys/fs/cgroup/cpu", path.Clean(fields[2])
			}
		}
	}
	return mount, group
}

// parseThrottled reads cpu.stat: microseconds as throttled_usec in version 2, nanoseconds as throttled_time in version 1.
func parseThrottled(text string) time.Duration {
	return time.Duration(counter(text, "throttled_usec"))*time.Microsecond + time.Duration(counter(text, "throttled_time"))
}

// frequency is the mean of what the CPUs run at in MHz, as their driver tells or else /proc/cpuinfo.
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
