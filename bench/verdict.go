package bench

import (
	"fmt"

	"isukit/bench/result"
)

// Thresholds of the verdict and its doubts; all are shares of a host's CPU time but the last three.
const (
	busyHost      = 0.85 // from here on a host's CPU is what limits it
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

// bottleneckOf finds the busiest host, and on it whoever uses most of its CPU.
func bottleneckOf(r *result.Round) result.Bottleneck {
	var host result.HostUsage
	for _, h := range r.Hosts {
		if h.Busy > host.Busy {
			host = h
		}
	}
	if host.Host == "" {
		return result.Bottleneck{Resource: "none", Text: "No host was measured."}
	}
	var top result.RoleUsage
	for _, u := range r.Roles {
		if u.Host == host.Host && u.MeanCores > top.MeanCores {
			top = u
		}
	}
	load := r.LoadSeconds
	generatorCores := 0.0
	if load > 0 {
		generatorCores = r.Generator.CPUSeconds / load
	}
	switch {
	case host.Busy < busyHost:
		return result.Bottleneck{Resource: "none", Host: host.Host, Role: top.Role, Text: fmt.Sprintf(
			"No CPU was the limit: the busiest host, %s, was %.0f %% busy (of the roles, %s used most: %.2f of %.4g cores%s). Look for locks, waiting and too few connections.",
			host.Host, 100*host.Busy, top.Role, top.MeanCores, host.CPUs, foreignText(host))}
	case generatorCores > top.MeanCores && r.Generator.OfSystem > 0:
		return result.Bottleneck{Resource: "generator", Host: host.Host, Text: fmt.Sprintf(
			"The load generator itself: %.2f of the %.4g cores of %s, more than any role. The score is too low by what it took.",
			generatorCores, host.CPUs, host.Host)}
	}
	return result.Bottleneck{Resource: "cpu", Host: host.Host, Role: top.Role, Text: fmt.Sprintf(
		"CPU of %s: %.0f %% busy, and %s used %.2f of its %.4g cores%s.", host.Host, 100*host.Busy, top.Role, top.MeanCores, host.CPUs, foreignText(host))}
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
