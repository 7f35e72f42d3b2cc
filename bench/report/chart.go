package report

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"isukit/bench/result"
)

// chart is one panel over the seconds of the load. Its drawing lies in a box as wide as there are seconds and 100 high,
// y downwards, which the page stretches to any size; labels are placed by percentages, so that they are not stretched.
type chart struct {
	ID, Title, Unit string
	// About is read to those who cannot see the drawing.
	About  string
	Box    string
	Ticks  []tick
	Shapes []shape
	Legend []legend
}

type tick struct {
	// Y is in hundredths of the height from above, with a percent sign.
	Y, Label string
	// Limit marks the line that cannot be exceeded.
	Limit bool
}

type shape struct{ Class, Path string }

type legend struct{ Class, Label string }

// scale maps a value to hundredths of the height, downwards.
type scale func(float64) float64

func linear(top float64) scale {
	return func(v float64) float64 { return 100 - 100*min(max(v/top, 0), 1) }
}

// logarithmic maps low to the bottom and high to the top.
func logarithmic(low, high float64) scale {
	return func(v float64) float64 {
		return 100 - 100*min(max(math.Log(max(v, low)/low)/math.Log(high/low), 0), 1)
	}
}

func charts(r *result.Round) []chart {
	if len(r.Timeline) == 0 {
		return nil
	}
	all := []chart{hitsChart(r.Timeline), latencyChart(r.Timeline)}
	if !r.Observed() {
		all = append(all, usersChart(r.Timeline))
	}
	all = append(all, cpuCharts(r)...)
	all = append(all, hostCharts(r)...)
	for i := range all {
		all[i].Box = fmt.Sprintf("0 0 %d 100", len(r.Timeline))
	}
	return all
}

func hitsChart(seconds []result.Second) chart {
	hits, errors := series(seconds, func(s result.Second) float64 { return float64(s.Hits) }), 0.0
	for _, s := range seconds {
		errors += float64(s.Errors)
	}
	y, ticks := linearAxis(max(slices.Max(hits), 1))
	c := chart{ID: "chart-hits", Title: "Hits and errors", Unit: "per second", Ticks: ticks,
		Shapes: []shape{{"area a-hits", area(hits, y)}, {"line l-hits", line(hits, y)}, {"bars b-error", errorBars(seconds, y)}},
		Legend: []legend{{"l-hits", "hits"}, {"b-error", "errors (never smaller than a sliver)"}},
		About: fmt.Sprintf("Requests per second over %d s, at most %s; %s errors.",
			len(seconds), figure(slices.Max(hits)), figure(errors))}
	return c
}

// errorBars draws a second's errors to the scale of the hits, but high enough that a single one is seen.
func errorBars(seconds []result.Second, y scale) string {
	const sliver = 4
	var b strings.Builder
	for i, s := range seconds {
		if s.Errors > 0 {
			fmt.Fprintf(&b, "M%d 100V%sH%dV100Z", i, num(min(y(float64(s.Errors)), 100-sliver)), i+1)
		}
	}
	return b.String()
}

func latencyChart(seconds []result.Second) chart {
	p50 := series(seconds, func(s result.Second) float64 { return s.P50Ms })
	p99 := series(seconds, func(s result.Second) float64 { return s.P99Ms })
	low, high := math.Inf(1), 1.0
	for _, v := range slices.Concat(p50, p99) {
		if v > 0 {
			low, high = min(low, v), max(high, v)
		}
	}
	low = math.Pow(10, math.Floor(math.Log10(min(low, high/10))))
	high = max(high*1.1, low*10)
	y := logarithmic(low, high)
	var ticks []tick
	for v := low; v <= high && len(ticks) < 12; v *= 10 {
		ticks = append(ticks, tick{Y: num(y(v)) + "%", Label: millis(v)})
	}
	return chart{ID: "chart-latency", Title: "Latency", Unit: "logarithmic", Ticks: ticks,
		Shapes: []shape{{"line l-p99", line(p99, y)}, {"line l-p50", line(p50, y)}},
		Legend: []legend{{"l-p50", "p50"}, {"l-p99", "p99"}},
		About:  fmt.Sprintf("Latency over %d s; the highest p99 of a second is %s.", len(seconds), millis(slices.Max(p99)))}
}

func usersChart(seconds []result.Second) chart {
	users := series(seconds, func(s result.Second) float64 { return float64(s.Users) })
	y, ticks := linearAxis(max(slices.Max(users), 1))
	return chart{ID: "chart-users", Title: "Users", Unit: "at work", Ticks: ticks,
		Shapes: []shape{{"area a-users", area(users, y)}, {"line l-users", line(users, y)}},
		About:  fmt.Sprintf("Users over %d s, at most %s.", len(seconds), figure(slices.Max(users)))}
}

// cpuCharts makes a panel for each host with its roles, stacked. Roles without a host, such as the generator, have a panel of their own.
func cpuCharts(r *result.Round) []chart {
	byHost := map[string][]string{}
	colors := roleColors(r)
	for role := range colors {
		_, host, _ := strings.Cut(role, "@")
		if host == "" && len(r.Hosts) == 1 {
			host = r.Hosts[0].Host
		}
		byHost[host] = append(byHost[host], role)
	}
	var all []chart
	hosts := slices.Sorted(maps.Keys(byHost))
	if _, ok := byHost[""]; ok && len(hosts) > 0 {
		hosts = append(hosts[1:], "")
	}
	for _, host := range hosts {
		usage := result.HostUsage{Host: host}
		for _, h := range r.Hosts {
			if h.Host == host {
				usage = h
			}
		}
		c := cpuChart(r.Timeline, usage, orderRoles(byHost[host]), colors)
		c.ID = "chart-cpu" + strconv.Itoa(len(all))
		all = append(all, c)
	}
	return all
}

func cpuChart(seconds []result.Second, host result.HostUsage, roles []string, colors map[string]int) chart {
	below := series(seconds, func(s result.Second) float64 {
		if _, measured := s.BusyByHost[host.Host]; !measured && host.CPUs > 0 {
			return math.NaN()
		}
		return 0
	})
	most := 0.0
	tops := make([][]float64, len(roles))
	for i, role := range roles {
		tops[i] = make([]float64, len(seconds))
		for t, s := range seconds {
			tops[i][t] = below[t] + max(s.CoresByRole[role], 0)
			if tops[i][t] > most {
				most = tops[i][t]
			}
		}
		below = tops[i]
	}
	y, ticks := linearAxis(max(host.CPUs, most, 0.1))
	c := chart{Title: "CPU", Unit: "cores", Ticks: ticks}
	if host.Host != "" {
		c.Title = "CPU of " + clean(host.Host)
	} else if len(roles) == 1 {
		c.Title = "CPU of the " + clean(roles[0])
	}
	for i := len(roles) - 1; i >= 0; i-- {
		class := fmt.Sprintf("c%d", colors[roles[i]])
		floor := make([]float64, len(seconds))
		if i > 0 {
			floor = tops[i-1]
		}
		c.Shapes = append(c.Shapes, shape{"stack " + class, band(tops[i], floor, y)})
		c.Legend = append(c.Legend, legend{class, clean(roles[i])})
	}
	if host.CPUs > 0 {
		busy := series(seconds, func(s result.Second) float64 {
			share, measured := s.BusyByHost[host.Host]
			if !measured {
				return math.NaN()
			}
			return share * host.CPUs
		})
		c.Shapes = append(c.Shapes, shape{"line l-busy", line(busy, y)})
		c.Legend = append(c.Legend, legend{"l-busy", "the whole host"})
		c.Ticks = append(c.Ticks, tick{Y: num(y(host.CPUs)) + "%", Label: cpus(host.CPUs), Limit: true})
	}
	c.About = fmt.Sprintf("CPU by role over %d s: %s; at most %s cores together, of %s.",
		len(seconds), clean(strings.Join(roles, ", ")), figure(most), cpus(host.CPUs))
	return c
}

// othersRole is the rest of a host's processes when the busiest have curves of their own.
const othersRole = "others"

// roleColors numbers the roles' colours, which repeat after paletteSize. The generator and the rest are grey.
func roleColors(r *result.Round) map[string]int {
	const paletteSize = 8
	colors := map[string]int{}
	for _, s := range r.Timeline {
		for role := range s.CoresByRole {
			colors[role] = 0
		}
	}
	next := 0
	for _, role := range orderRoles(slices.Collect(maps.Keys(colors))) {
		if name, _, _ := strings.Cut(role, "@"); name == result.GeneratorRole || name == othersRole {
			colors[role] = paletteSize
			continue
		}
		colors[role] = next % paletteSize
		next++
	}
	return colors
}

// linearAxis returns a scale from zero to a little more than top, and two to five round ticks.
func linearAxis(top float64) (scale, []tick) {
	step := math.Pow(10, math.Floor(math.Log10(top)))
	switch n := top / step; {
	case n < 2:
		step /= 2
	case n >= 5:
		step *= 2
	}
	y := linear(top * 1.06)
	var ticks []tick
	for v := step; v <= top*1.03 && len(ticks) < 6; v += step {
		ticks = append(ticks, tick{Y: num(y(v)) + "%", Label: figure(v)})
	}
	return y, ticks
}

func series[S any](seconds []S, of func(S) float64) []float64 {
	values := make([]float64, len(seconds))
	for i, s := range seconds {
		values[i] = of(s)
	}
	return values
}

// line draws values at the middle of their seconds, with a gap where there is none (NaN).
func line(values []float64, y scale) string {
	var b strings.Builder
	pen := 'M'
	for i, v := range values {
		if math.IsNaN(v) {
			pen = 'M'
			continue
		}
		fmt.Fprintf(&b, "%c%s %s", pen, num(float64(i)+0.5), num(y(v)))
		pen = 'L'
	}
	return b.String()
}

func area(values []float64, y scale) string { return band(values, make([]float64, len(values)), y) }

func band(tops, floors []float64, y scale) string {
	var b strings.Builder
	for begin := 0; begin < len(tops); {
		end := begin
		for end < len(tops) && !math.IsNaN(tops[end]) {
			end++
		}
		for i := begin; i < end; i++ {
			fmt.Fprintf(&b, "%c%s %s", "ML"[min(i-begin, 1)], num(float64(i)+0.5), num(y(tops[i])))
		}
		for i := end - 1; i >= begin; i-- {
			fmt.Fprintf(&b, "L%s %s", num(float64(i)+0.5), num(y(floors[i])))
		}
		if end > begin {
			b.WriteByte('Z')
		}
		begin = end + 1
	}
	return b.String()
}

// num writes a coordinate; NaN and infinity become 0.
func num(x float64) string {
	if math.IsNaN(x) || math.IsInf(x, 0) {
		return "0"
	}
	return strconv.FormatFloat(math.Round(x*100)/100, 'f', -1, 64)
}
