package round

import (
	"slices"
	"strings"
	"time"

	"isukit/bench/result"
	"isukit/infra/doctor"
)

// ObservedIn is what a round's record tells of the traps.
func ObservedIn(r *result.Round) *doctor.Observed {
	seen := &doctor.Observed{}
	for _, name := range hostsOf(r) {
		if !slices.ContainsFunc(seen.Hosts, func(h doctor.Host) bool { return h.Name == name }) {
			seen.Hosts = append(seen.Hosts, hostIn(r, name))
		}
	}
	for _, route := range r.Access.Routes {
		seen.Routes = append(seen.Routes, doctor.CachedRoute{Name: route.Method + " " + route.Path, Counts: route.Cache})
	}
	for _, q := range r.Queries.Queries {
		seen.Statements = append(seen.Statements, doctor.Statement{Host: q.Host, Text: q.Fingerprint, Count: q.Time.Count})
		if q.Example != "" {
			seen.Statements = append(seen.Statements, doctor.Statement{Host: q.Host, Text: q.Example, Example: true, Count: q.Time.Count})
		}
	}
	return seen
}

// hostIn is what a record tells of one host.
func hostIn(r *result.Round, name string) doctor.Host {
	h := doctor.Host{Name: name, Over: time.Duration(r.LoadSeconds * float64(time.Second))}
	for _, u := range r.Hosts {
		if u.Host == name {
			h.MemoryBytes = u.MemoryBytes
			h.Processes = append(h.Processes, doctor.Process{Name: "other processes", OpenFiles: -1, CPU: time.Duration(u.Foreign * u.CPUs * float64(h.Over))})
		}
	}
	for _, s := range r.Series {
		if s.Host != name {
			continue
		}
		h.ClockAhead = time.Duration(s.ClockAheadMs * float64(time.Millisecond))
		for _, second := range s.Seconds {
			h.SwapUsed = max(h.SwapUsed, second.SwapBytes)
		}
		for _, p := range s.Processes {
			h.Processes = append(h.Processes, doctor.Process{Name: p.Name, OpenFiles: p.OpenFiles, SoftLimit: p.FileLimit})
		}
	}
	for _, s := range r.Settings {
		switch {
		case s.Host != name:
		case s.Source == "variables":
			h.Databases = append(h.Databases, doctor.Database{Name: "database", Version: s.Values["version"], Variables: s.Values})
		case s.Source == "boot" && s.Values["mitigations"] != "":
			h.Boot.Cmdline = "mitigations=" + s.Values["mitigations"]
		}
	}
	if name == result.GeneratorRole {
		h.SwapIn, h.SwapOut = r.Noise.SwapInBytes/pageBytes, r.Noise.SwapOutBytes/pageBytes
	}
	return h
}

// pageBytes is what the kernel counts swap in.
const pageBytes = 4096

// hostsOf are the names of all hosts of a record, the load generator's machine last; some may be there twice.
func hostsOf(r *result.Round) []string {
	var names []string
	for _, u := range r.Hosts {
		names = append(names, u.Host)
	}
	for _, s := range r.Series {
		names = append(names, s.Host)
	}
	for _, s := range r.Settings {
		names = append(names, s.Host)
	}
	return append(names, result.GeneratorRole)
}

// SaidThen are the findings that were made before and during the round: its warnings have them.
func SaidThen(r *result.Round, checks []doctor.Check) []doctor.Finding {
	var found []doctor.Finding
	for _, w := range r.Warnings {
		text, ok := strings.CutPrefix(w, doctorMark)
		if !ok {
			continue
		}
		id, seen, _ := strings.Cut(text, ": ")
		for _, c := range checks {
			if c.ID == id {
				found = append(found, doctor.Finding{Check: id, Severity: doctor.Warn, Seen: seen, Fix: "isukit doctor --only " + id + "   # while the servers run: it prints the fix"})
			}
		}
	}
	return found
}
