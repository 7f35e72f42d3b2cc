package compare

import (
	"slices"
	"strings"

	"isukit/bench/result"
)

type metric struct {
	name, unit     string
	higherIsBetter bool
	// of returns the value; only values above zero can be compared.
	of func(*result.Round) float64
}

// metrics are all that are compared, the most important first.
var metrics = [...]metric{
	{"score", "points", true, score},
	{"hits", "hits/s", true, (*result.Round).HitsPerSec},
	{"p50", "ms", false, func(r *result.Round) float64 { return r.All.Latency.P50Ms }},
	{"p99", "ms", false, func(r *result.Round) float64 { return r.All.Latency.P99Ms }},
	{"cpu", "CPU s/1,000 hits", false, cpuPer1000},
	{"errors", "(errors+½)/1,000 hits", false, errorsPer1000},
}

// score is the command's own figure where a command was the round: it need not be a whole number.
func score(r *result.Round) float64 {
	if v, ok := r.Metrics["score"]; ok {
		return v
	}
	return float64(r.Score.Total)
}

// metricNamed finds a metric of rounds, or makes one of what commands print: "rss:lower" is the metric rss, lower is better.
func metricNamed(name string) (metric, bool) {
	if own, better, ok := strings.Cut(name, ":"); ok {
		m := metric{own, "", better == "higher", func(r *result.Round) float64 { return r.Metrics[own] }}
		return m, own != "" && (better == "higher" || better == "lower")
	}
	i := slices.IndexFunc(metrics[:], func(m metric) bool { return m.name == name })
	if i < 0 {
		return metric{}, false
	}
	return metrics[i], true
}

// Value returns how good a round is by a metric, as a number that is higher for a better round: the value, or its inverse if lower is
// better; 0 if the round has none. ok is false if no metric has that name.
func Value(name string) (of func(*result.Round) float64, ok bool) {
	m, ok := metricNamed(name)
	if !ok || m.higherIsBetter {
		return m.of, ok
	}
	return func(r *result.Round) float64 {
		v := m.of(r)
		if v <= 0 {
			return 0
		}
		return 1 / v
	}, true
}

func metricNames() string {
	names := make([]string, len(metrics))
	for i, m := range metrics {
		names[i] = m.name
	}
	return strings.Join(names, ", ")
}

// chosen returns the metrics that the options ask for: by default those that any round has at all.
func chosen(o Options, pairs []pair) []metric {
	var list []metric
	for _, m := range metrics {
		if len(o.Metrics) == 0 && (!ofCommands(pairs) || inAny(pairs, m)) || slices.Contains(o.Metrics, m.name) {
			list = append(list, m)
		}
	}
	for _, name := range o.Metrics {
		if m, ok := metricNamed(name); ok && strings.Contains(name, ":") {
			list = append(list, m)
		}
	}
	return list
}

func ofCommands(pairs []pair) bool {
	return slices.ContainsFunc(pairs, func(p pair) bool { return p.a.Metrics != nil || p.b.Metrics != nil })
}

func inAny(pairs []pair, m metric) bool {
	return slices.ContainsFunc(pairs, func(p pair) bool { return m.of(p.a) > 0 && m.of(p.b) > 0 })
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
