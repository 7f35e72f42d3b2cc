package report

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"isukit/bench/result"
)

// queryView is a query as the page shows it.
type queryView struct {
	result.Query
	Anchor, Short string
	Share         float64
}

// pageQueries is how many queries the page shows in full.
const pageQueries = 60

func queryViews(r *result.Round) []queryView {
	var sum float64
	for _, q := range r.Queries.Queries {
		sum += q.Time.SumSeconds
	}
	var views []queryView
	for i, q := range r.Queries.Queries[:min(len(r.Queries.Queries), pageQueries)] {
		views = append(views, queryView{q, "q" + strconv.Itoa(i), cut(clean(q.Fingerprint), 110), q.Time.SumSeconds / max(sum, 1e-9)})
	}
	return views
}

// settingsView is one source of settings, in order.
type settingsView struct {
	Title string
	Rows  []result.Fact
}

func settingsViews(r *result.Round) []settingsView {
	var views []settingsView
	for _, s := range r.Settings {
		v := settingsView{Title: clean(s.Host + ": " + s.Source)}
		for _, key := range slices.Sorted(maps.Keys(s.Values)) {
			v.Rows = append(v.Rows, result.Fact{Key: clean(key), Value: cut(clean(s.Values[key]), 500)})
		}
		views = append(views, v)
	}
	return views
}

// flame is a flame graph: boxes placed in percent of its width.
type flame struct {
	ID, Title, About string
	Height           int
	Boxes            []flameBox
	Top              []flameTop
}

type flameBox struct {
	X, Width, Name, Text, Class string
	Y, Depth                    int
	// From and Part are ratios of the whole.
	From, Part string
	// Focus is set for boxes that are wide enough to be chosen with the keyboard.
	Focus bool
}

// flameTop is a function by what it took itself.
type flameTop struct{ Name, Text string }

// Sizes of flame graphs.
const (
	flameRow     = 18
	flameDepth   = 60
	flameColors  = 5
	flameTops    = 10
	flameFocused = 0.02 // of the width
)

func flames(r *result.Round) []flame {
	var all []flame
	for i, p := range r.Profiles {
		if p.Total <= 0 || len(p.Frames) == 0 {
			continue
		}
		f := flame{ID: "flame" + strconv.Itoa(i), Title: clean(p.Host + ": " + p.Name), About: amount(p.Total, p.Unit) + " in all"}
		deepest := 0
		for _, frame := range p.Frames {
			if frame.Depth < flameDepth {
				deepest = max(deepest, frame.Depth)
			}
		}
		f.Height = (deepest + 1) * flameRow
		for _, frame := range p.Frames {
			if frame.Depth < flameDepth && frame.Depth >= 0 {
				f.Boxes = append(f.Boxes, boxOf(frame, p, deepest))
			}
		}
		f.Top = topsOf(p)
		all = append(all, f)
	}
	return all
}

func boxOf(f result.Frame, p result.Profile, deepest int) flameBox {
	total := float64(p.Total)
	name := clean(f.Name)
	sum := 0
	for _, c := range name {
		sum += int(c)
	}
	from, part := float64(f.From)/total, float64(f.Value)/total
	return flameBox{
		X: num(100*from) + "%", Width: num(100*part) + "%", Y: (deepest - f.Depth) * flameRow, Depth: f.Depth, Name: shortFunction(name),
		Text:  fmt.Sprintf("%s: %s, %s; itself %s", name, percent(part), amount(f.Value, p.Unit), amount(f.Self, p.Unit)),
		Class: "f" + strconv.Itoa(sum%flameColors), From: strconv.FormatFloat(from, 'f', 6, 64), Part: strconv.FormatFloat(part, 'f', 6, 64),
		Focus: part >= flameFocused,
	}
}

// shortFunction leaves the package's path away.
func shortFunction(name string) string {
	head, _, _ := strings.Cut(name, "(")
	if i := strings.LastIndexByte(head, '/'); i >= 0 {
		return name[i+1:]
	}
	return name
}

func topsOf(p result.Profile) []flameTop {
	self := map[string]int64{}
	for _, f := range p.Frames {
		self[f.Name] += f.Self
	}
	names := slices.SortedFunc(maps.Keys(self), func(a, b string) int { return cmp.Or(cmp.Compare(self[b], self[a]), cmp.Compare(a, b)) })
	var tops []flameTop
	for _, name := range names[:min(len(names), flameTops)] {
		if self[name] > 0 {
			tops = append(tops, flameTop{clean(name), percent(float64(self[name])/float64(p.Total)) + ", " + amount(self[name], p.Unit)})
		}
	}
	return tops
}

// amount writes a value of a profile with its unit.
func amount(v int64, unit string) string {
	switch unit {
	case "nanoseconds":
		return millis(float64(v) / 1e6)
	case "bytes":
		return size(v)
	case "count":
		return count(v)
	}
	return count(v) + " " + clean(unit)
}

// openFiles tells how many files the process had open that came nearest to its limit; "" where that was not looked at.
func openFiles(r *result.Round, u result.RoleUsage) string {
	for _, s := range r.Series {
		for _, p := range s.Processes {
			if s.Host == u.Host && p.Name == u.Role && p.FileLimit > 0 {
				return count(p.OpenFiles) + " of " + count(p.FileLimit)
			}
		}
	}
	return ""
}

// hostCharts are panels of what hosts did besides using their CPUs.
func hostCharts(r *result.Round) []chart {
	var all []chart
	for i, s := range r.Series {
		at := alignedTo(r.Timeline, s.Seconds)
		id := "chart-host" + strconv.Itoa(i)
		mib := func(of func(result.HostSecond) float64) []float64 {
			return series(at, func(x result.HostSecond) float64 { return of(x) / (1 << 20) })
		}
		host := clean(s.Host)
		all = append(all,
			linesChart(id+"-disk", "Disk and network of "+host, "MiB a second", []labelled{
				{"disk written", "l-a", mib(func(x result.HostSecond) float64 { return x.DiskWritten })},
				{"disk read", "l-b", mib(func(x result.HostSecond) float64 { return x.DiskRead })},
				{"network sent", "l-c", mib(func(x result.HostSecond) float64 { return x.NetSent })},
			}),
			linesChart(id+"-wait", "Waiting on "+host, "% of the CPU time, of the disk's time", []labelled{
				{"iowait", "l-a", series(at, func(x result.HostSecond) float64 { return 100 * x.IOWait })},
				{"steal", "l-b", series(at, func(x result.HostSecond) float64 { return 100 * x.Steal })},
				{"disk busy", "l-c", series(at, func(x result.HostSecond) float64 { return 100 * x.DiskBusy })},
			}),
			linesChart(id+"-memory", "Memory of "+host, "MiB", []labelled{
				{"in use", "l-a", mib(func(x result.HostSecond) float64 { return float64(x.MemoryBytes) })},
				{"swap", "l-b", mib(func(x result.HostSecond) float64 { return float64(x.SwapBytes) })},
			}),
			linesChart(id+"-tcp", "TCP of "+host, "connections", []labelled{
				{"established", "l-a", series(at, func(x result.HostSecond) float64 { return float64(x.Connections) })},
				{"waiting to be forgotten", "l-b", series(at, func(x result.HostSecond) float64 { return float64(x.TimeWait) })},
			}))
	}
	return all
}

type labelled struct {
	label, class string
	values       []float64
}

func linesChart(id, title, unit string, lines []labelled) chart {
	top := 1e-9
	for _, l := range lines {
		top = max(top, slices.Max(l.values))
	}
	y, ticks := linearAxis(max(top, 0.1), "")
	c := chart{ID: id, Title: title, Unit: unit, Ticks: ticks, About: fmt.Sprintf("%s, %s; at most %s.", title, unit, figure(top))}
	for _, l := range lines {
		c.Shapes = append(c.Shapes, shape{"line " + l.class, line(l.values, y)})
		c.Legend = append(c.Legend, legend{l.class, l.label})
	}
	return c
}

// alignedTo puts a host's samples on the seconds of the timeline; a second without one has that before it.
func alignedTo(timeline []result.Second, seconds []result.HostSecond) []result.HostSecond {
	at := make([]result.HostSecond, len(timeline))
	have := make([]bool, len(timeline))
	for _, s := range seconds {
		if i := int(s.At + 0.5); i >= 0 && i < len(at) {
			at[i], have[i] = s, true
		}
	}
	for i := 1; i < len(at); i++ {
		if !have[i] {
			at[i] = at[i-1]
		}
	}
	return at
}
