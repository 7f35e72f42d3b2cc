package bench

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"isukit/bench/result"
)

// From these values on something counts as a limit or a doubt; ratios, unless noted.
const (
	fullCPU       = 0.85 // of a host, over the second half of the load
	fullDisk      = 0.8
	oneCore       = 0.9 // of a core, for a process that may be unable to use a second one
	muchIOWait    = 0.25
	muchSteal     = 0.05
	muchForeign   = 0.10
	nearFileLimit = 0.8
	fewMemory     = 0.05 // of a host's memory that is still available
	costlyLoad    = 0.20 // the generator's CPU over that of the system under test
	shortestLoad  = 10.0 // seconds
	fewestAnswers = 1000 // right answers below which a percentile means little
)

// suspect may have been the limit; the weight orders them: what ends processes comes before what slows them down.
type suspect struct {
	weight float64
	result.Bottleneck
}

// Judge finds out which resource of which host was the limit of a round, and adds a warning for everything else that stands out and
// for what makes its figures doubtful. What was measured must be filled in; Generator.OfSystem is computed here.
func Judge(r *result.Round) {
	system := 0.0
	for _, u := range r.Roles {
		system += u.CPUSeconds
	}
	if system > 0 {
		r.Generator.OfSystem = r.Generator.CPUSeconds / system
	}
	late := secondHalf(r)
	var all []suspect
	for _, h := range r.Hosts {
		found := &suspects{host: h.Host}
		found.cpu(r, late, h)
		for _, s := range r.Series {
			if s.Host == h.Host {
				found.memory(s, h)
				found.files(s)
				found.oneCore(s, h)
				found.disk(s)
				found.network(s)
			}
		}
		all = append(all, found.all...)
	}
	slices.SortStableFunc(all, func(a, b suspect) int { return cmp.Compare(b.weight, a.weight) })
	if len(all) == 0 {
		all = []suspect{{0, nothingFull(r, late)}}
	}
	r.Bottleneck = all[0].Bottleneck
	for _, s := range all[1:] {
		r.Warnings = append(r.Warnings, s.Text)
	}
	r.Warnings = append(r.Warnings, doubts(r)...)
}

// nothingFull says who was busiest when nobody was full.
func nothingFull(r *result.Round, late half) result.Bottleneck {
	if len(r.Hosts) == 0 {
		return result.Bottleneck{Resource: "none", Text: "No host was measured."}
	}
	h := slices.MaxFunc(r.Hosts, func(a, b result.HostUsage) int { return cmp.Compare(late.busy(a), late.busy(b)) })
	role, most := late.top(r, h), ""
	if role.Role != "" {
		most = fmt.Sprintf(" (%s used most: %.2f of %.4g cores%s)", role.Role, late.cores(role), h.CPUs, foreignText(h))
	}
	return result.Bottleneck{Resource: "none", Host: h.Host, Role: role.Role, Text: fmt.Sprintf(
		"No resource was full: the busiest host, %s, was %s%s. Look for locks, waiting, too few connections, and a load that asks for no more.", h.Host, late.busyText(h), most)}
}

// half is what hosts and roles used in a part of the load, by the seconds of it that were measured.
type half struct {
	hosts map[string]float64 // busy, ratio
	roles map[string]float64 // cores
}

// secondHalf is the later half of the load's whole seconds, of those that were measured; empty where none was.
func secondHalf(r *result.Round) half {
	h := half{map[string]float64{}, map[string]float64{}}
	seconds, ofHost, measured := r.Timeline[len(r.Timeline)/2:], map[string]float64{}, 0.0
	for _, s := range seconds {
		for host, busy := range s.BusyByHost {
			h.hosts[host] += busy
			ofHost[host]++
		}
		for role, cores := range s.CoresByRole {
			h.roles[role] += cores
		}
		if s.CoresByRole != nil {
			measured++
		}
	}
	for host := range h.hosts {
		h.hosts[host] /= ofHost[host]
	}
	for role := range h.roles {
		h.roles[role] /= measured
	}
	return h
}

// busy is the host's ratio in the half, or over all of the load where the half does not have it.
func (h half) busy(u result.HostUsage) float64 {
	if busy, ok := h.hosts[u.Host]; ok {
		return busy
	}
	return u.Busy
}

// cores are those of a role in the half, by its name alone or with its host's, or over all of the load.
func (h half) cores(u result.RoleUsage) float64 {
	for _, name := range []string{u.Role, u.Role + "@" + u.Host} {
		if cores, ok := h.roles[name]; ok {
			return cores
		}
	}
	return u.MeanCores
}

// top is the role of a host that used most.
func (h half) top(r *result.Round, host result.HostUsage) (top result.RoleUsage) {
	for _, u := range r.Roles {
		if u.Host == host.Host && h.cores(u) > h.cores(top) {
			top = u
		}
	}
	return top
}

// busyText describes how busy a host was, and for how much of the load if that matters.
func (h half) busyText(u result.HostUsage) string {
	late := 100 * h.busy(u)
	if math.Abs(late-100*u.Busy) < 2 {
		return fmt.Sprintf("%.0f %% busy", late)
	}
	return fmt.Sprintf("%.0f %% busy in the second half of the load (%.0f %% over all of it)", late, 100*u.Busy)
}

// foreignText names what others took, where that is much.
func foreignText(h result.HostUsage) string {
	if h.Foreign <= muchForeign {
		return ""
	}
	return fmt.Sprintf("; processes outside the round took %.2f", h.Foreign*h.CPUs)
}

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

// cpu uses the second half of the load: users are added as long as there is room, so the limit shows at the end.
func (f *suspects) cpu(r *result.Round, late half, h result.HostUsage) {
	top, generator := late.top(r, h), late.cores(result.RoleUsage{Role: result.GeneratorRole, MeanCores: r.Generator.CPUSeconds / max(r.LoadSeconds, 1e-3)})
	switch busy := late.busy(h); {
	case busy < fullCPU:
	case generator > late.cores(top) && r.Generator.OfSystem > 0:
		f.add(5+busy, "generator", "", "The load generator itself: %.2f of the %.4g cores of %s, more than any role. The score is too low by what it took.", generator, h.CPUs, h.Host)
	case top.Role == "":
		f.add(5+busy, "cpu", "", "CPU of %s: %s, and no role used any that was measured%s.", h.Host, late.busyText(h), foreignText(h))
	default:
		f.add(5+busy, "cpu", top.Role, "CPU of %s: %s, and %s used %.2f of its %.4g cores%s.", h.Host, late.busyText(h), top.Role, late.cores(top), h.CPUs, foreignText(h))
	}
	if h.Steal >= muchSteal {
		f.add(2+h.Steal, "steal", "", "CPU of %s: %.0f %% was used by other virtual machines (steal).", h.Host, 100*h.Steal)
	}
}

// generatorProcess may use all cores there are.
const generatorProcess = "isukit"

// oneCore is for a process that may be unable to use a second core.
func (f *suspects) oneCore(s result.HostSeries, h result.HostUsage) {
	var top result.ProcessUsage
	for _, p := range s.Processes {
		if p.CPUSeconds > top.CPUSeconds && p.Name != generatorProcess {
			top = p
		}
	}
	window := float64(len(s.Seconds))
	if cores := top.CPUSeconds / max(window, 1); top.Count == 1 && cores >= oneCore && cores <= 1.1 && h.CPUs > 1 && h.Busy < fullCPU {
		f.add(3, "cpu", top.Name, "One core of %s: %s is a single process that used %.2f cores, while the host has %.4g and was %.0f %% busy.", s.Host, top.Name, cores, h.CPUs, 100*h.Busy)
	}
	if s.ThrottledSeconds > 0.05*window {
		f.add(2, "throttled", "", "CPU limit of %s: control groups were kept from running for %.1f s.", s.Host, s.ThrottledSeconds)
	}
}

func (f *suspects) memory(s result.HostSeries, h result.HostUsage) {
	if s.OOMKills > 0 {
		f.add(10, "memory", "", "Memory of %s: the kernel's OOM killer killed %d process(es).", s.Host, s.OOMKills)
	}
	if n := len(s.Seconds); n > 0 && h.MemoryBytes > 0 {
		if free := h.MemoryBytes - s.Seconds[n-1].MemoryBytes; free >= 0 && float64(free) < fewMemory*float64(h.MemoryBytes) {
			f.add(2.5, "memory", "", "Memory of %s: %d MiB of %d MiB were left at the end.", s.Host, free>>20, h.MemoryBytes>>20)
		}
	}
}

func (f *suspects) files(s result.HostSeries) {
	for _, p := range s.Processes {
		if p.FileLimit > 0 && float64(p.OpenFiles) >= nearFileLimit*float64(p.FileLimit) {
			f.add(9, "files", p.Name, "Open files of %s on %s: %d, limit %d.", p.Name, s.Host, p.OpenFiles, p.FileLimit)
		}
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

// doubts are the reasons why the figures may mislead.
func doubts(r *result.Round) []string {
	var w []string
	add := func(format string, args ...any) { w = append(w, fmt.Sprintf(format, args...)) }
	if r.LoadSeconds < shortestLoad {
		add("the load lasted %.3g s; loads under %.0f s mostly measure start-up", r.LoadSeconds, shortestLoad)
	}
	if r.All.OK < fewestAnswers && !r.Observed() {
		add("only %d correct responses, so p99 is based on the slowest %d", r.All.OK, max(1, r.All.OK/100))
	}
	if r.Generator.OfSystem > costlyLoad {
		add("the load generator used %.0f %% of the CPU time of the system under test; above %.0f %% it distorts the result", 100*r.Generator.OfSystem, 100*costlyLoad)
	}
	for _, h := range r.Hosts {
		if h.Foreign > muchForeign {
			add("%s spent %.0f %% of its CPU time on processes that are not part of the round", h.Host, 100*h.Foreign)
		}
	}
	return w
}
