package round

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"sync"
	"time"

	"isukit/bench/load"
	"isukit/bench/result"
	"isukit/infra"
	"isukit/infra/doctor"
	"isukit/infra/host"
)

// measurement samples what the hosts use while the load runs, and puts it into the record.
type measurement struct {
	running *infra.Running
	hits    *hitLog        // nil when no hit is kept
	counted *load.Recorder // nil before there is an engine

	mu      sync.Mutex
	samples []sampled
	noise   []host.Noise  // every noiseEvery samples, at the beginning and at the end
	err     error         // why sampling ended early
	traffic *roundCapture // nil without --capture
	keys    *os.File      // nil without --keylog

	doctor []string // what it found before the round
	files  doctor.FileWatch
	say    func(format string, args ...any)
}

// noiseEvery is how many samples lie between two of the noise, whose files take longer to read.
const noiseEvery = 5

// sampled is a sample with the CPU time that the generator had used by then.
type sampled struct {
	infra.Sample
	generator time.Duration
}

// around samples from now until the function that it returns is called.
func (m *measurement) around(ctx context.Context) (done func()) {
	m.mu.Lock()
	m.samples, m.noise = nil, nil // of an earlier load of the same round
	m.mu.Unlock()
	ctx, cancel := context.WithCancel(ctx)
	finished := make(chan struct{})
	go func() {
		defer close(finished)
		_, err := m.running.Collect(ctx, time.Second, m.take)
		m.mu.Lock()
		defer m.mu.Unlock()
		m.err = errors.Join(m.err, err)
		m.takeNoise()
	}()
	return func() { cancel(); <-finished }
}

func (m *measurement) take(s infra.Sample) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.samples)%noiseEvery == 0 {
		m.takeNoise()
	}
	m.samples = append(m.samples, sampled{s, load.ProcessCPU()})
	if len(m.samples)%filesEvery == 1 {
		m.watchFiles()
	}
}

// filesEvery is how many samples lie between two looks at open files.
const filesEvery = 2

// watchFiles says so when a server comes near to its limit of open files: at the limit it is too late.
func (m *measurement) watchFiles() {
	pids, err := m.running.PIDsHere(context.Background())
	if err != nil {
		return // the samples tell of it
	}
	for _, warning := range warningsOf(m.files.Take(pids)) {
		m.say("warning: %s", warning)
	}
}

// takeNoise reads the noise so far; m.mu is held.
func (m *measurement) takeNoise() {
	n, err := host.ReadNoise()
	if err != nil {
		m.err = errors.Join(m.err, err)
		return
	}
	m.noise = append(m.noise, n)
}

// NoiseOf sums up what was read from the beginning of the load to its end.
func NoiseOf(read []host.Noise) result.Noise {
	if len(read) == 0 {
		return result.Noise{}
	}
	first, last := read[0], read[len(read)-1]
	n := result.Noise{
		LoadAverageBefore: first.LoadAverage, LoadAverageAfter: last.LoadAverage,
		SwapInBytes: last.SwapInBytes - first.SwapInBytes, SwapOutBytes: last.SwapOutBytes - first.SwapOutBytes,
		ThrottledSeconds: (last.Throttled - first.Throttled).Seconds(),
		LowestMHz:        math.Round(first.FrequencyMHz), HighestMHz: math.Round(first.FrequencyMHz),
	}
	for _, r := range read {
		n.LowestMHz, n.HighestMHz = min(n.LowestMHz, math.Round(r.FrequencyMHz)), max(n.HighestMHz, math.Round(r.FrequencyMHz))
	}
	return n
}

// live adds what was used in the last second to what the view shows.
func (m *measurement) live(second *result.Second) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if n := len(m.samples); n >= 2 {
		useBetween(m.samples[n-2], m.samples[n-1], second)
	}
}

// useBetween fills in cores by role and the share of each host that was busy from one sample to the next.
func useBetween(a, b sampled, second *result.Second) {
	wall := b.At.Sub(a.At).Seconds()
	if wall <= 0 {
		return
	}
	second.CoresByRole = map[string]float64{result.GeneratorRole: (b.generator - a.generator).Seconds() / wall}
	for i := range b.Roles {
		second.CoresByRole[b.Roles[i].Instance] = max(0, (b.Roles[i].CPU-a.Roles[i].CPU).Seconds()) / wall
	}
	second.BusyByHost = map[string]float64{}
	for i := range b.Hosts {
		second.BusyByHost[b.Hosts[i].Host] = hostUsage(a.Hosts[i], b.Hosts[i]).Busy
	}
}

// sampleBehind is the number of the first sample behind the middle of a second of the load, which began with the first sample; 0
// when there is none. On a machine that is full samples come late: two of them then stand for all seconds between them.
func sampleBehind(samples []sampled, second int) int {
	middle := samples[0].At.Add(time.Duration(second)*time.Second + time.Second/2)
	for n, s := range samples {
		if s.At.After(middle) {
			return n
		}
	}
	return 0
}

// hostUsage is what a host went through between two samples, but for Foreign.
func hostUsage(a, b infra.HostSample) result.HostUsage {
	u := result.HostUsage{Host: b.Host}
	if total := float64(b.Total - a.Total); total > 0 {
		u.Busy, u.IOWait, u.Steal = float64(b.Busy-a.Busy)/total, float64(b.IOWait-a.IOWait)/total, float64(b.Steal-a.Steal)/total
	}
	return u
}

// fill puts what was sampled into the record.
func (m *measurement) fill(r *result.Round) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r.Noise = NoiseOf(m.noise)
	r.Warnings = append(r.Warnings, m.doctor...)
	r.Warnings = append(r.Warnings, warningsOf(m.files.Findings())...)
	r.Roles, r.Hosts = []result.RoleUsage{}, []result.HostUsage{}
	if m.err != nil {
		r.Warnings = append(r.Warnings, fmt.Sprintf("what the hosts used was not measured to the end: %v", m.err))
	}
	if len(m.samples) < 2 {
		return
	}
	for i := range r.Timeline {
		if n := sampleBehind(m.samples, i); n > 0 {
			useBetween(m.samples[n-1], m.samples[n], &r.Timeline[i])
		}
	}
	first, last := m.samples[0], m.samples[len(m.samples)-1]
	wall := last.At.Sub(first.At).Seconds()
	known := (last.generator - first.generator).Seconds()
	for i := range last.Roles {
		u := m.roleUsage(i, wall)
		known += u.CPUSeconds
		r.Roles = append(r.Roles, u)
	}
	for i := range last.Hosts {
		u := hostUsage(first.Hosts[i], last.Hosts[i])
		u.CPUs, u.MemoryBytes = m.running.Size(u.Host)
		// On one machine the rest of what was busy is somebody else's.
		if total := (last.Hosts[i].Total - first.Hosts[i].Total).Seconds(); total > 0 {
			u.Foreign = max(0, u.Busy-known/total)
		}
		r.Hosts = append(r.Hosts, u)
	}
}

// roleUsage is what one instance used from the first sample to the last.
func (m *measurement) roleUsage(i int, wall float64) result.RoleUsage {
	first, last := m.samples[0].Roles[i], m.samples[len(m.samples)-1].Roles[i]
	u := result.RoleUsage{Role: last.Instance, Host: last.Host, CPUSeconds: max(0, (last.CPU - first.CPU).Seconds())}
	if wall > 0 {
		u.MeanCores = u.CPUSeconds / wall
	}
	for _, s := range m.samples {
		u.PeakRSSBytes = max(u.PeakRSSBytes, s.Roles[i].RSSBytes)
	}
	return u
}

// artifacts saves the logs into a temporary directory, from which they are copied into the record; drop removes it.
func (m *measurement) artifacts(ctx context.Context) (files []result.File, drop func(), err error) {
	dir, err := os.MkdirTemp("", "isukit-logs-")
	if err != nil {
		return nil, nil, err
	}
	drop = func() { os.RemoveAll(dir) }
	saved, err := m.running.SaveLogs(ctx, dir)
	if err != nil {
		drop()
		return nil, nil, err
	}
	if m.hits != nil {
		files = append(files, m.hits.Artifact())
	}
	for _, a := range saved {
		files = append(files, result.File{Path: filepath.ToSlash(a.Path), About: a.About, Write: func(w io.Writer, _ *result.Round) error {
			f, err := os.Open(filepath.Join(dir, a.Path))
			if err != nil {
				return err
			}
			defer f.Close()
			_, err = io.Copy(w, f)
			return err
		}})
	}
	return files, drop, nil
}
