package bench

import (
	"fmt"
	"math"

	"isukit/bench/result"
)

// Thresholds of the verdict and its doubts; all are shares of a host's CPU time but the last three.
const (
	heavySteal    = 0.05
	heavyForeign  = 0.10
	heavyIOWait   = 0.20
	costlyLoad    = 0.20 // the generator's CPU over that of the system under test
	shortestLoad  = 10.0 // seconds
	fewestAnswers = 1000 // right answers below which a percentile means little
)

// Judge names the round's bottleneck and adds the warnings that its figures deserve. Roles, Hosts, Generator and All must
// be filled in; Generator.OfSystem is computed here.
func Judge(r *result.Round) {
	system := 0.0
	for _, u := range r.Roles {
		system += u.CPUSeconds
	}
	if system > 0 {
		r.Generator.OfSystem = r.Generator.CPUSeconds / system
	}
	r.Bottleneck = bottleneckOf(r)
	r.Warnings = append(r.Warnings, doubts(r)...)
}

// bottleneckOf finds the busiest host, and on it whoever uses most of its CPU. It goes by the second half of the load: users
// are added as long as there is room, so what limits shows in the end, and the mean over all of it hides that.
func bottleneckOf(r *result.Round) result.Bottleneck {
	late := secondHalf(r)
	var host result.HostUsage
	for _, h := range r.Hosts {
		if host.Host == "" || late.busy(h) > late.busy(host) {
			host = h
		}
	}
	if host.Host == "" {
		return result.Bottleneck{Resource: "none", Text: "No host was measured."}
	}
	var top result.RoleUsage
	for _, u := range r.Roles {
		if u.Host == host.Host && late.cores(u.Role, u.MeanCores) > late.cores(top.Role, top.MeanCores) {
			top = u
		}
	}
	topCores := late.cores(top.Role, top.MeanCores)
	meanGenerator := 0.0
	if r.LoadSeconds > 0 {
		meanGenerator = r.Generator.CPUSeconds / r.LoadSeconds
	}
	generatorCores := late.cores(result.GeneratorRole, meanGenerator)
	busy := late.busyText(host)
	switch {
	case late.busy(host) < fullCPU:
		return result.Bottleneck{Resource: "none", Host: host.Host, Role: top.Role, Text: fmt.Sprintf(
			"No CPU was the limit: the busiest host, %s, was %s (of the roles, %s used most: %.2f of %.4g cores%s). Look for locks, waiting and too few connections.",
			host.Host, busy, top.Role, topCores, host.CPUs, foreignText(host))}
	case generatorCores > topCores && r.Generator.OfSystem > 0:
		return result.Bottleneck{Resource: "generator", Host: host.Host, Text: fmt.Sprintf(
			"The load generator itself: %.2f of the %.4g cores of %s, more than any role. The score is too low by what it took.",
			generatorCores, host.CPUs, host.Host)}
	}
	return result.Bottleneck{Resource: "cpu", Host: host.Host, Role: top.Role, Text: fmt.Sprintf(
		"CPU of %s: %s, and %s used %.2f of its %.4g cores%s.", host.Host, busy, top.Role, topCores, host.CPUs, foreignText(host))}
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

func (h half) cores(role string, otherwise float64) float64 {
	if cores, ok := h.roles[role]; ok {
		return cores
	}
	return otherwise
}

// busyText says how busy a host was, and over how much of the load where that matters.
func (h half) busyText(u result.HostUsage) string {
	late := 100 * h.busy(u)
	if math.Abs(late-100*u.Busy) < 2 {
		return fmt.Sprintf("%.0f %% busy", late)
	}
	return fmt.Sprintf("%.0f %% busy in the second half of the load (%.0f %% over all of it)", late, 100*u.Busy)
}

// foreignText names what others took, where that is much.
func foreignText(h result.HostUsage) string {
	if h.Foreign <= heavyForeign {
		return ""
	}
	return fmt.Sprintf("; processes outside the round took %.2f", h.Foreign*h.CPUs)
}

// doubts are the reasons why the figures may mislead.
func doubts(r *result.Round) []string {
	var w []string
	add := func(format string, args ...any) { w = append(w, fmt.Sprintf(format, args...)) }
	if r.LoadSeconds < shortestLoad {
		add("the load lasted %.3g s; below %.0f s the figures are mostly start-up", r.LoadSeconds, shortestLoad)
	}
	if r.All.OK < fewestAnswers {
		add("only %d right answers: p99 rests on %d of them", r.All.OK, r.All.OK/100)
	}
	if r.Generator.OfSystem > costlyLoad {
		add("the generator used %.0f %% of the CPU time of the system under test; %.0f %% is the most that is fair", 100*r.Generator.OfSystem, 100*costlyLoad)
	}
	for _, h := range r.Hosts {
		if h.Steal > heavySteal {
			add("%s lost %.0f %% of its CPU time to other virtual machines (steal)", h.Host, 100*h.Steal)
		}
		if h.Foreign > heavyForeign {
			add("%s spent %.0f %% of its CPU time on processes that are not part of the round", h.Host, 100*h.Foreign)
		}
		if h.IOWait > heavyIOWait {
			add("%s waited for its disk for %.0f %% of its CPU time", h.Host, 100*h.IOWait)
		}
	}
	return w
}
