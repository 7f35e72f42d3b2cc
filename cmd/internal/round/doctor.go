package round

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"isukit/bench/result"
	"isukit/infra/doctor"
	"isukit/infra/metrics"
	"isukit/infra/subject"
)

const quickLook = 15 * time.Second

// quickDoctor runs the quick checks before a round; findings above notes become warnings. err is what could not be read of the subject.
func (r *gathering) quickDoctor(ctx context.Context, err error) {
	ctx, cancel := context.WithTimeout(ctx, quickLook)
	defer cancel()
	seen, lookErr := r.tuned.sub.Examine(ctx, subject.ExamineOptions{})
	if err = errors.Join(err, lookErr); err != nil && ctx.Err() == nil {
		r.warn("doctor could not run all checks: %v", err)
	}
	for _, text := range warningsOf(doctor.Diagnose(seen, doctor.Quick())) {
		r.warn("%s", text)
	}
}

// warnOfFiles warns once when processes of a name come near their limit of open files: at the limit it is too late.
func (r *gathering) warnOfFiles(hostName string, s metrics.Sample) {
	for name, p := range s.Processes {
		if !doctor.NearLimit(p.OpenFiles, p.FileLimit) {
			continue
		}
		r.mu.Lock()
		key := hostName + " " + name
		said := r.nearLimit[key]
		r.nearLimit[key] = true
		r.mu.Unlock()
		if !said {
			r.warn("%sfile-limits: %s %s: %d files open of at most %d", doctorMark, hostName, name, p.OpenFiles, p.FileLimit)
		}
	}
}

// doctorMark begins the warnings of a round that are doctor's.
const doctorMark = "doctor: "

func warningsOf(findings []doctor.Finding) []string {
	var warnings []string
	for _, f := range findings {
		if f.Severity != doctor.Note {
			warnings = append(warnings, doctorMark+f.String())
		}
	}
	return warnings
}

// ObservedIn is what a round's record shows of known problems.
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
