package report

import (
	"fmt"
	"slices"
	"strconv"

	"isukit/bench/result"
)

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
	y, ticks := linearAxis(max(top, 0.1))
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
