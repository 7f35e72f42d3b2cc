// Package diff compares two rounds: what was changed between them, and which metrics changed, the largest change first. Whether a change is
// more than noise is left to bench/compare, which needs several rounds.
package diff

import (
	"cmp"
	"maps"
	"math"
	"slices"
	"strconv"

	"isukit/bench/result"
)

// Diff is what differs between two rounds.
type Diff struct {
	A, B    *result.Round
	Changed []Change
	// Moved are figures of the whole round, then those of each kind by how far they moved.
	Moved []Move
	// PerMinute says that the loads lasted so unlike that sums and counts are given for a minute of load: "sum s/min".
	PerMinute bool
}

// unlike is from what difference between the times that two loads took sums and counts are given for a minute.
const unlike = 0.1

// Change is a condition that differs. From or To is "" where a side does not have it.
type Change struct {
	// Group is "fact", "topology", "round", "benchmark", or a host and source of settings, for example "s1: sysctl".
	Group string `json:"group"`
	Key   string `json:"key"`
	From  string `json:"from"`
	To    string `json:"to"`
}

// Move is a figure that differs.
type Move struct {
	// Group is "round", "route", "query", "cpu" or "host"; Name what it is a figure of, Figure which one, with its unit.
	Group  string  `json:"group"`
	Name   string  `json:"name,omitempty"`
	Figure string  `json:"figure"`
	From   float64 `json:"from"`
	To     float64 `json:"to"`
	// Weight orders the moves of a group: how far the sum of time, or of cores, has moved.
	Weight float64 `json:"-"`
	// OnlyA and OnlyB: the other round has nothing with that name.
	OnlyA bool `json:"-"`
	OnlyB bool `json:"-"`
}

// Relative is how far the figure moved in relation to where it was; +Inf from zero.
func (m Move) Relative() float64 {
	if m.From == 0 {
		if m.To == 0 {
			return 0
		}
		return math.Inf(1)
	}
	return m.To/m.From - 1
}

// Of compares b with a.
func Of(a, b *result.Round) *Diff {
	d := &Diff{A: a, B: b, PerMinute: math.Abs(math.Log(b.LoadTook()/a.LoadTook())) > unlike}
	d.conditions()
	d.whole()
	d.routes()
	d.queries()
	d.cpu()
	return d
}

// always are facts that differ between any two rounds and say nothing.
var always = []string{"started", "id"}

func (d *Diff) conditions() {
	d.change("topology", "name", d.A.Topology, d.B.Topology)
	d.change("benchmark", "command", d.A.Benchmark.Command, d.B.Benchmark.Command)
	d.change("round", "load", planned(d.A), planned(d.B))
	d.change("round", "seed", seed(d.A), seed(d.B))
	facts := func(r *result.Round) map[string]string {
		all := map[string]string{}
		for _, f := range r.Facts {
			if !slices.Contains(always, f.Key) {
				all[f.Key] = f.Value
			}
		}
		return all
	}
	d.maps("fact", facts(d.A), facts(d.B))
	settings := func(r *result.Round) map[string]map[string]string {
		all := map[string]map[string]string{}
		for _, s := range r.Settings {
			all[s.Host+": "+s.Source] = s.Values
		}
		return all
	}
	a, b := settings(d.A), settings(d.B)
	for _, source := range union(a, b) {
		// A side that did not read a source at all has not changed it.
		if a[source] != nil && b[source] != nil {
			d.maps(source, a[source], b[source])
		}
	}
}

// planned is the duration asked for; it is unknown for a benchmark that is not isukit's own.
func planned(r *result.Round) string {
	if r.Observed() || r.LoadSeconds <= 0 {
		return ""
	}
	return strconv.FormatFloat(r.LoadSeconds, 'g', -1, 64) + " s"
}

func seed(r *result.Round) string {
	if r.Observed() || r.Scenario == "" {
		return ""
	}
	return strconv.FormatUint(r.Seed, 10)
}

func (d *Diff) maps(group string, a, b map[string]string) {
	for _, key := range union(a, b) {
		d.change(group, key, a[key], b[key])
	}
}

func (d *Diff) change(group, key, from, to string) {
	if from != to {
		d.Changed = append(d.Changed, Change{group, key, from, to})
	}
}

func union[V any](a, b map[string]V) []string {
	keys := maps.Clone(a)
	if keys == nil {
		keys = map[string]V{}
	}
	maps.Copy(keys, b)
	return slices.Sorted(maps.Keys(keys))
}

// amount is a sum or count of r, for a minute of its load where the two can't be compared otherwise.
func (d *Diff) amount(r *result.Round, x float64) float64 {
	if d.PerMinute {
		return 60 * x / r.LoadTook()
	}
	return x
}

func (d *Diff) amountName(figure string) string {
	if d.PerMinute {
		return figure + "/min"
	}
	return figure
}

func (d *Diff) whole() {
	score := func(r *result.Round) float64 { return float64(r.Score.Total) }
	if d.PerMinute {
		d.Moved = append(d.Moved, Move{Group: "round", Figure: "score", From: score(d.A), To: score(d.B)})
	}
	for _, f := range []struct {
		figure string
		of     func(*result.Round) float64
	}{
		{d.amountName("score"), func(r *result.Round) float64 { return d.amount(r, score(r)) }}, {"hits/s", (*result.Round).HitsPerSec},
		{"p50 ms", func(r *result.Round) float64 { return r.All.Latency.P50Ms }}, {"p99 ms", func(r *result.Round) float64 { return r.All.Latency.P99Ms }},
		{d.amountName("errors"), func(r *result.Round) float64 { return d.amount(r, float64(r.All.Errors)) }},
		{d.amountName("statements"), func(r *result.Round) float64 { return d.amount(r, float64(r.Queries.Counted())) }},
	} {
		if from, to := f.of(d.A), f.of(d.B); from != 0 || to != 0 {
			d.Moved = append(d.Moved, Move{Group: "round", Figure: f.figure, From: from, To: to})
		}
	}
}

type figures struct {
	weight float64
	of     []float64
}

// group compares what two rounds know of the same names, by figure.
func (d *Diff) group(group string, names []string, a, b map[string]figures) {
	var moves []Move
	for _, name := range union(a, b) {
		x, inA := a[name]
		y, inB := b[name]
		if inA && inB && slices.Equal(x.of, y.of) {
			continue // it did not move
		}
		for i, figure := range names {
			m := Move{Group: group, Name: name, Figure: figure, Weight: math.Abs(y.weight - x.weight), OnlyA: !inB, OnlyB: !inA}
			if inA {
				m.From = x.of[i]
			}
			if inB {
				m.To = y.of[i]
			}
			moves = append(moves, m)
		}
	}
	slices.SortStableFunc(moves, func(a, b Move) int { return cmp.Compare(b.Weight, a.Weight) })
	d.Moved = append(d.Moved, moves...)
}

func (d *Diff) routes() {
	of := func(r *result.Round) map[string]figures {
		all := map[string]figures{}
		add := func(name string, sum float64, hits int64, p50, p99 float64) {
			all[name] = figures{d.amount(r, sum), []float64{d.amount(r, sum), d.amount(r, float64(hits)), p50, p99}}
		}
		for _, x := range r.Access.Routes {
			add(x.Method+" "+x.Path, x.Request.SumSeconds, x.Hits, x.Request.P50Ms, x.Request.P99Ms)
		}
		for _, e := range r.Endpoints {
			// The record has no sum of their times: about as long as the median took, each.
			add(e.Name, float64(e.Hits)*e.Latency.P50Ms/1000, e.Hits, e.Latency.P50Ms, e.Latency.P99Ms)
		}
		return all
	}
	d.group("route", []string{d.amountName("sum s"), d.amountName("count"), "p50 ms", "p99 ms"}, of(d.A), of(d.B))
}

func (d *Diff) queries() {
	of := func(r *result.Round) map[string]figures {
		// Several databases may report the same query.
		sums := map[string]result.Query{}
		for _, q := range r.Queries.Queries {
			sum := sums[q.Fingerprint]
			sum.Time.SumSeconds += q.Time.SumSeconds
			sum.Time.Count += q.Time.Count
			sum.RowsExamined += q.RowsExamined
			sums[q.Fingerprint] = sum
		}
		all := map[string]figures{}
		for fingerprint, q := range sums {
			sum := d.amount(r, q.Time.SumSeconds)
			mean := 1000 * q.Time.SumSeconds / float64(max(q.Time.Count, 1))
			all[fingerprint] = figures{sum, []float64{sum, d.amount(r, float64(q.Time.Count)), mean, d.amount(r, float64(q.RowsExamined))}}
		}
		return all
	}
	d.group("query", []string{d.amountName("sum s"), d.amountName("count"), "mean ms", d.amountName("examined")}, of(d.A), of(d.B))
}

func (d *Diff) cpu() {
	of := func(r *result.Round) map[string]figures {
		all := map[string]figures{}
		for _, u := range r.Roles {
			all[u.Role+"@"+u.Host] = figures{u.MeanCores, []float64{u.MeanCores}}
		}
		return all
	}
	d.group("cpu", []string{"cores"}, of(d.A), of(d.B))
	hosts := func(r *result.Round) map[string]figures {
		all := map[string]figures{}
		for _, h := range r.Hosts {
			all[h.Host] = figures{h.Busy, []float64{100 * h.Busy, 100 * h.IOWait}}
		}
		return all
	}
	d.group("host", []string{"busy %", "iowait %"}, hosts(d.A), hosts(d.B))
}
