package compare

import (
	"errors"
	"slices"
	"strings"

	"isukit/bench/result"
)

// metric is one figure of a round.
type metric struct {
	name, unit     string
	higherIsBetter bool
	// of returns the figure; what is not above zero is not comparable.
	of func(*result.Round) float64
}

// metrics are all that are compared, the most important first.
var metrics = [...]metric{
	{"score", "points", true, func(r *result.Round) float64 { return float64(r.Score.Total) }},
	{"hits", "hits/s", true, func(r *result.Round) float64 { return float64(r.All.Hits) / loadSeconds(r) }},
	{"p50", "ms", false, func(r *result.Round) float64 { return r.All.Latency.P50Ms }},
	{"p99", "ms", false, func(r *result.Round) float64 { return r.All.Latency.P99Ms }},
	{"cpu", "CPU s/1,000 hits", false, cpuPer1000},
	{"errors", "(errors+½)/1,000 hits", false, errorsPer1000},
}

func metricNamed(name string) (metric, bool) {
	i := slices.IndexFunc(metrics[:], func(m metric) bool { return m.name == name })
	if i < 0 {
		return metric{}, false
	}
	return metrics[i], true
}

func metricNames() string {
	names := make([]string, len(metrics))
	for i, m := range metrics {
		names[i] = m.name
	}
	return strings.Join(names, ", ")
}

// chosen returns the metrics that the options ask for.
func chosen(o Options) []metric {
	if len(o.Metrics) == 0 {
		return metrics[:]
	}
	var list []metric
	for _, m := range metrics {
		if slices.Contains(o.Metrics, m.name) {
			list = append(list, m)
		}
	}
	return list
}

// cpuPer1000 is the CPU time of all roles for a thousand hits, in seconds; the generator's is not in it.
func cpuPer1000(r *result.Round) float64 {
	if r.All.Hits == 0 {
		return 0
	}
	cpu := 0.0
	for _, u := range r.Roles {
		cpu += u.CPUSeconds
	}
	return 1000 * cpu / float64(r.All.Hits)
}

// errorsPer1000 counts half an error more than there were, so that rounds without any have a ratio too.
func errorsPer1000(r *result.Round) float64 {
	if r.All.Hits == 0 {
		return 0
	}
	return 1000 * (float64(r.All.Errors) + 0.5) / float64(r.All.Hits)
}

// loadSeconds is how long the load lasted; what was planned, or 1, where that is not known.
func loadSeconds(r *result.Round) float64 {
	for _, p := range r.Phases {
		if p.Name == "load" && p.DurationSeconds > 0 {
			return p.DurationSeconds
		}
	}
	if r.LoadSeconds > 0 {
		return r.LoadSeconds
	}
	return 1
}

func joinFaults(faults []string) error {
	if len(faults) == 0 {
		return nil
	}
	return errors.New(strings.Join(faults, "; "))
}
