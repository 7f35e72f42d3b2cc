package bench

import (
	"cmp"
	"fmt"
	"slices"

	"isukit/bench/result"
)

// From where on something counts as a limit, ratios.
const (
	fullCPU       = 0.85 // of a host, over the window; for Judge, over the second half of the load
	fullDisk      = 0.8
	oneCore       = 0.9 // of a core, for a process that may be unable to use a second one
	muchIOWait    = 0.25
	muchSteal     = 0.1
	nearFileLimit = 0.8
	fewMemory     = 0.05 // of a host's memory that is still available
)

// suspect is something that may have been the limit, with a weight to order by: what ends processes comes before what slows
// them down.
type suspect struct {
	weight float64
	result.Bottleneck
}

// JudgeHosts finds out which host's which resource was the limit of a round from what its hosts did second by second, and
// adds a warning for everything else that stands out.
func JudgeHosts(r *result.Round) {
	var all []suspect
	for _, s := range r.Series {
		all = append(all, suspectsOf(s, usageOf(r, s.Host))...)
	}
	slices.SortStableFunc(all, func(a, b suspect) int { return cmp.Compare(b.weight, a.weight) })
	if len(all) == 0 {
		r.Bottleneck = result.Bottleneck{Resource: "none", Text: nothingFull(r)}
		return
	}
	r.Bottleneck = all[0].Bottleneck
	for _, s := range all[1:] {
		r.Warnings = append(r.Warnings, s.Text)
	}
}

func usageOf(r *result.Round, host string) result.HostUsage {
	for _, h := range r.Hosts {
		if h.Host == host {
			return h
		}
	}
	return result.HostUsage{Host: host}
}

// nothingFull says who was busiest when nobody was full.
func nothingFull(r *result.Round) string {
	if len(r.Hosts) == 0 {
		return "No host was measured."
	}
	h := slices.MaxFunc(r.Hosts, func(a, b result.HostUsage) int { return cmp.Compare(a.Busy, b.Busy) })
	return fmt.Sprintf("No resource was full: the busiest host, %s, used %.0f %% of its CPU. Look for locks, waiting, too few connections, and a benchmark that asks for no more.", h.Host, 100*h.Busy)
}

// meanOf is the mean of a figure over the seconds.
func meanOf(seconds []result.HostSecond, of func(result.HostSecond) float64) float64 {
	if len(seconds) == 0 {
		return 0
	}
	sum := 0.0
	for _, s := range seconds {
		sum += of(s)
	}
	return sum / float64(len(seconds))
}

// suspects gathers what may have been the limit on one host.
type suspects struct {
	host string
	all  []suspect
}

func (s *suspects) add(weight float64, resource, process, format string, args ...any) {
	s.all = append(s.all, suspect{weight, result.Bottleneck{Resource: resource, Host: s.host, Role: process, Text: fmt.Sprintf(format, args...)}})
}

func suspectsOf(s result.HostSeries, h result.HostUsage) []suspect {
	found := &suspects{host: s.Host}
	found.memory(s, h)
	found.files(s)
	found.cpu(s, h)
	found.disk(s)
	found.network(s)
	return found.all
}

func (f *suspects) memory(s result.HostSeries, h result.HostUsage) {
	if s.OOMKills > 0 {
		f.add(10, "memory", "", "Memory of %s: the kernel killed %d process(es) for want of it.", s.Host, s.OOMKills)
	}
	if n := len(s.Seconds); n > 0 && h.MemoryBytes > 0 {
		if free := h.MemoryBytes - s.Seconds[n-1].MemoryBytes; float64(free) < fewMemory*float64(h.MemoryBytes) {
			f.add(2.5, "memory", "", "Memory of %s: %d MiB of %d MiB were left at the end.", s.Host, free>>20, h.MemoryBytes>>20)
		}
	}
}

func (f *suspects) files(s result.HostSeries) {
	for _, p := range s.Processes {
		if p.FileLimit > 0 && float64(p.OpenFiles) >= nearFileLimit*float64(p.FileLimit) {
			f.add(9, "files", p.Name, "Open files of %s on %s: %d of the %d that it may have.", p.Name, s.Host, p.OpenFiles, p.FileLimit)
		}
	}
}

func (f *suspects) cpu(s result.HostSeries, h result.HostUsage) {
	var top result.ProcessUsage
	for _, p := range s.Processes {
		if p.CPUSeconds > top.CPUSeconds {
			top = p
		}
	}
	window := float64(len(s.Seconds))
	busy := meanOf(s.Seconds, func(x result.HostSecond) float64 { return x.User + x.System })
	switch cores := top.CPUSeconds / max(window, 1); {
	case busy >= fullCPU:
		f.add(5+busy, "cpu", top.Name, "CPU of %s: %.0f %% busy, and %s used %.2f of its %.4g cores.", s.Host, 100*busy, top.Name, cores, h.CPUs)
	case top.Count == 1 && cores >= oneCore && cores <= 1.1 && h.CPUs > 1:
		f.add(3, "cpu", top.Name, "One core of %s: %s is a single process that used %.2f cores, while the host has %.4g and was %.0f %% busy.", s.Host, top.Name, cores, h.CPUs, 100*busy)
	}
	if steal := meanOf(s.Seconds, func(x result.HostSecond) float64 { return x.Steal }); steal >= muchSteal {
		f.add(2+steal, "steal", "", "CPU of %s: %.0f %% of it went to other guests of the same machine.", s.Host, 100*steal)
	}
	if s.ThrottledSeconds > 0.05*window {
		f.add(2, "throttled", "", "CPU limit of %s: control groups were kept from running for %.1f s.", s.Host, s.ThrottledSeconds)
	}
}

func (f *suspects) disk(s result.HostSeries) {
	iowait := meanOf(s.Seconds, func(x result.HostSecond) float64 { return x.IOWait })
	disk := meanOf(s.Seconds, func(x result.HostSecond) float64 { return x.DiskBusy })
	if disk >= fullDisk || iowait >= muchIOWait {
		f.add(4+disk, "disk", "", "Disk of %s: busy for %.0f %% of the time, and CPUs waited for it for %.0f %%.", s.Host, 100*disk, 100*iowait)
	}
}

func (f *suspects) network(s result.HostSeries) {
	if s.ListenOverflows > 0 {
		f.add(1.5, "connections", "", "Listen queues of %s: %d connections came while one was full (somaxconn, backlog).", s.Host, s.ListenOverflows)
	}
	if retries := meanOf(s.Seconds, func(x result.HostSecond) float64 { return x.Retransmits }); retries > 5 {
		f.add(1, "network", "", "Network of %s: %.0f segments a second were sent again.", s.Host, retries)
	}
}
