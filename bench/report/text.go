package report

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"

	"isukit/bench/result"
)

// Text writes the round for a terminal: score, its parts, errors, where time and CPU went, the bottleneck, and the warnings.
func Text(w io.Writer, r *result.Round, s Style) error {
	p := newSheet(s)
	p.score(r)
	p.faults(r)
	p.scoreLines(r)
	p.errorGroups(r)
	p.messages(r)
	if loaded(r) {
		if !r.Observed() {
			p.endpoints(r)
		}
		p.digests(r)
		p.usage(r)
	}
	p.closing(r, s.Record)
	_, err := io.WriteString(w, p.String())
	return err
}

// score writes the verdict so that it is seen from across the room.
func (p *sheet) score(r *result.Round) {
	verdict, code := "PASS", green
	if !r.Passed {
		verdict, code = "FAIL", red
	}
	big := bigDigits(count(r.Score.Total))
	p.line()
	p.line("  ", p.paint(code, big[0]))
	p.line("  ", p.paint(code, big[1]), "   ", p.paint(bold+";"+code, verdict), "  score ", p.paint(bold, count(r.Score.Total)))
	p.line("  ", p.paint(code, big[2]))
	p.line()
	if r.Reason != "" {
		p.para("  ", code, r.Reason)
	}
	p.para("  ", "", subtitle(r))
	p.para("  ", "", phases(r))
	if r.CapacityRate > 0 {
		p.para("  ", bold, capacity(r))
	}
	if n := len(r.Warnings); n > 0 {
		p.line("  ", p.paint(yellow, "with "+plural(int64(n), "warning")+" (see below)"))
	}
}

// capacity describes the result of a search, and which part of the round the metrics are from.
func capacity(r *result.Round) string {
	least := ""
	if r.CapacityAtLeast {
		least = "at least "
	}
	return fmt.Sprintf("capacity: %s%.1f visits/s, by %s; all other figures describe the last one",
		least, r.CapacityRate, plural(int64(len(r.Trials)), "trial"))
}

// loaded: the round came as far as its load.
func loaded(r *result.Round) bool { return r.All.Hits > 0 || len(r.Endpoints) > 0 || len(r.Roles) > 0 }

func phases(r *result.Round) string {
	parts := make([]string, len(r.Phases))
	for i, ph := range r.Phases {
		parts[i] = ph.Name + " " + seconds(ph.DurationSeconds)
		if !ph.OK {
			parts[i] += " FAILED"
		}
	}
	return strings.Join(parts, ", ")
}

func (p *sheet) scoreLines(r *result.Round) {
	if len(r.Score.Lines) == 0 {
		return
	}
	p.head("Score breakdown", "")
	cols := []column{{title: "", elastic: true}, {title: "count", right: true}, {title: "each", right: true}, {title: "points", right: true}}
	var rows [][]cell
	var sum int64
	for _, l := range r.Score.Lines {
		row := plain(clean(l.Label), count(l.Count), signed(l.Each), signed(l.Points))
		if l.Points < 0 {
			row[0].code, row[3].code = red, red
		}
		rows = append(rows, row)
		sum += l.Points
	}
	total := plain("score", "", "", count(r.Score.Total))
	total[0].code, total[3].code = bold, bold
	if sum != r.Score.Total {
		rows = append(rows, nil, plain("sum", "", "", count(sum)), total)
	} else {
		rows = append(rows, nil, total)
	}
	p.table(cols, rows)
	if sum != r.Score.Total {
		p.para("  ", dim, zeroed(r))
	}
}

// zeroed says why the score is not the sum of its lines.
func zeroed(r *result.Round) string {
	if !r.Passed {
		return "A failed round scores 0, regardless of its points."
	}
	return "A score is never below 0."
}

func (p *sheet) faults(r *result.Round) {
	if len(r.Faults) == 0 {
		return
	}
	p.head("Faults", "each of these alone fails the round")
	for _, f := range r.Faults {
		phase := cut(clean(f.Phase), 16)
		p.para("  "+phase+strings.Repeat(" ", max(2, 10-columns(phase))), red, f.Text)
	}
}

func (p *sheet) errorGroups(r *result.Round) {
	if len(r.Errors) == 0 {
		return
	}
	p.head("Errors", fmt.Sprintf("%s, %s of all hits", count(r.All.Errors), percent(ratio(r.All.Errors, r.All.Hits))))
	for _, e := range r.Errors {
		first := fmt.Sprintf("  %7s  ", count(e.Count))
		p.line(p.paint(red, first), cut(clean(e.Kind), 10), "  ", p.paint(cyan, shorten(clean(e.Endpoint), p.width-23)))
		p.para("           ", "", e.Text)
		if e.Example != "" {
			p.para("           e.g. ", dim, e.Example)
		}
	}
}

func (p *sheet) endpoints(r *result.Round) {
	p.head("Endpoints", fmt.Sprintf("latency in ms from the scheduled send time; %s requests/s", figure(r.HitsPerSec())))
	cols := []column{{title: "", elastic: true}}
	for _, t := range []string{"hits", "share", "p50", "p90", "p99", "max", "errors"} {
		cols = append(cols, column{title: t, right: true})
	}
	var rows [][]cell
	for _, e := range byHits(r.Endpoints) {
		rows = append(rows, endpointRow(e))
	}
	all := r.All
	all.Name = "all"
	rows = append(rows, nil, endpointRow(all))
	p.table(cols, rows)
	if r.All.Refused > 0 {
		p.line("  ", p.paint(dim, plural(r.All.Refused, "hit")+" rejected without penalty"))
	}
}

func byHits(endpoints []result.Endpoint) []result.Endpoint {
	sorted := slices.Clone(endpoints)
	slices.SortStableFunc(sorted, func(a, b result.Endpoint) int { return cmp.Compare(b.Hits, a.Hits) })
	return sorted
}

func endpointRow(e result.Endpoint) []cell {
	l := e.Latency
	row := plain(clean(e.Name), count(e.Hits), percent(e.Share), figure(l.P50Ms), figure(l.P90Ms), figure(l.P99Ms), figure(l.MaxMs), "")
	if e.Errors > 0 {
		row[7] = cell{count(e.Errors), red}
	}
	return row
}

func (p *sheet) usage(r *result.Round) {
	p.head("CPU and memory", "during the load")
	cols := []column{{title: "role", elastic: true}, {title: "host"}, {title: "CPU time", right: true},
		{title: "cores", right: true}, {title: "of host", right: true}, {title: ""}, {title: "peak memory", right: true}}
	var rows [][]cell
	for _, u := range r.Roles {
		rows = append(rows, roleRow(r, u))
	}
	g := r.Generator
	cores := g.CPUSeconds / r.LoadTook()
	if !r.Observed() {
		rows = append(rows, plain("generator", "", seconds(g.CPUSeconds), fixed(cores, 2), "", "", size(g.PeakRSSBytes)))
	}
	p.table(cols, rows)
	p.line()
	for _, h := range r.Hosts {
		p.para("  host "+p.paint(bold, cut(clean(h.Host), 16))+"  ", "", hostFigures(h))
	}
	if !r.Observed() {
		p.para("  generator  ", "", generatorFigures(g))
	}
}

func roleRow(r *result.Round, u result.RoleUsage) []cell {
	share, drawn := "", ""
	for _, h := range r.Hosts {
		if h.Host == u.Host && h.CPUs > 0 {
			share, drawn = percent(u.MeanCores/h.CPUs), bar(u.MeanCores/h.CPUs, 10)
		}
	}
	row := plain(clean(u.Role), cut(clean(u.Host), 14), seconds(u.CPUSeconds), fixed(u.MeanCores, 2), share, drawn, size(u.PeakRSSBytes))
	row[5].code = cyan
	return row
}

func hostFigures(h result.HostUsage) string {
	s := percent(h.Busy) + " busy of " + cpus(h.CPUs)
	for _, part := range []struct {
		ratio float64
		name  string
	}{{h.IOWait, "iowait"}, {h.Steal, "steal"}, {h.Foreign, "foreign"}} {
		if part.ratio > 0 {
			s += ", " + percent(part.ratio) + " " + part.name
		}
	}
	if h.MemoryBytes > 0 {
		s += "; " + size(h.MemoryBytes)
	}
	return s
}

func generatorFigures(g result.Generator) string {
	knee := ""
	if g.KneeUsers > 0 {
		knee = fmt.Sprintf(", held at %d by %s", g.KneeUsers, g.KneeBy)
	}
	return fmt.Sprintf("%s of the system's CPU time, %s CPU per 1,000 hits, timers %s late (p99), at most %s%s",
		percent(g.OfSystem), millis(1000*g.CPUSecondsPer1000Hits), millis(g.TimerDelayP99Ms), plural(int64(g.PeakUsers), "user"), knee)
}

func (p *sheet) closing(r *result.Round, record string) {
	if r.Bottleneck.Text != "" {
		p.head("Bottleneck", "")
		p.para("  ", "", r.Bottleneck.Text)
	}
	if len(r.Warnings) > 0 {
		p.head("Warnings", "")
		for _, w := range r.Warnings {
			p.para("  ! ", yellow, w)
		}
	}
	p.line()
	verdict := p.paint(green, "PASS")
	if !r.Passed {
		verdict = p.paint(red, "FAIL")
	}
	p.line(verdict, "  score ", p.paint(bold, count(r.Score.Total)), "  ", cut(clean(r.ID), p.width-30))
	if record != "" {
		p.line("record  ", record)
	}
}

func ratio(part, whole int64) float64 {
	if whole == 0 {
		return 0
	}
	return float64(part) / float64(whole)
}

// glyphs holds the digits as three lines of block characters each.
var glyphs = map[rune][3]string{
	'0': {"█▀█", "█ █", "▀▀▀"}, '1': {"▀█ ", " █ ", "▀▀▀"}, '2': {"▀▀█", "█▀▀", "▀▀▀"}, '3': {"▀▀█", " ▀█", "▀▀▀"},
	'4': {"█ █", "▀▀█", "  ▀"}, '5': {"█▀▀", "▀▀█", "▀▀▀"}, '6': {"█▀▀", "█▀█", "▀▀▀"}, '7': {"▀▀█", "  █", "  ▀"},
	'8': {"█▀█", "█▀█", "▀▀▀"}, '9': {"█▀█", "▀▀█", "▀▀▀"}, ',': {"", "", ""}, '-': {"  ", "▀▀", "  "},
}

func bigDigits(s string) [3]string {
	var lines [3][]string
	for _, r := range s {
		for i := range lines {
			lines[i] = append(lines[i], glyphs[r][i])
		}
	}
	return [3]string{strings.Join(lines[0], " "), strings.Join(lines[1], " "), strings.Join(lines[2], " ")}
}
