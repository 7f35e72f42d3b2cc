package report

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"isukit/bench/result"
)

// NotesOnly as the number of rows leaves only a digest's notes: unreadable lines and missing fields.
const NotesOnly = -1

// Access writes the digest of access logs, at most that many routes; 0 is all.
func Access(w io.Writer, d *result.AccessDigest, most int, s Style) error {
	p := newSheet(s)
	p.access(d, most)
	_, err := io.WriteString(w, p.String())
	return err
}

func (p *sheet) access(d *result.AccessDigest, most int) {
	if most == NotesOnly {
		p.accessNotes(d)
		return
	}
	sum := seconds(d.Total.Request.SumSeconds) + " of the proxy's time in "
	if d.Total.Request.Count == 0 {
		sum = ""
	}
	p.head("Routes", "times in ms; "+sum+plural(d.Total.Hits, "request"))
	// On a narrow terminal the names of the routes are worth more than the last columns.
	shown := []string{"count", "sum s", "p50", "p90", "p99", "4xx", "5xx", "max", "2xx", "3xx", "upstream s", "bytes"}
	if p.width < 120 {
		shown = shown[:7]
	}
	cols := []column{{title: "", elastic: true}}
	for _, t := range shown {
		cols = append(cols, column{title: t, right: true})
	}
	rows, left := [][]cell{}, d.Left
	for i, r := range d.Routes {
		if most > 0 && i == most {
			left += len(d.Routes) - most
			break
		}
		rows = append(rows, routeRow(r, r.Method+" "+r.Path)[:len(cols)])
	}
	rows = append(rows, nil, routeRow(d.Total, "all")[:len(cols)])
	p.table(cols, rows)
	if left > 0 {
		p.line("  ", p.paint(dim, fmt.Sprintf("%s less time are not shown", plural(int64(left), "route")+" with")))
	}
	p.accessNotes(d)
}

func (p *sheet) accessNotes(d *result.AccessDigest) {
	for _, text := range accessNotes(d) {
		p.para("  ", yellow, text)
	}
	for _, e := range d.Examples {
		p.para(fmt.Sprintf("  %s:%d  ", cut(clean(e.File), 40), e.Line), dim, cut(clean(e.Text), 100))
	}
}

// routeRow has all columns, in the order of access.
func routeRow(r result.Route, name string) []cell {
	class := func(name string) string {
		if r.Status[name] == 0 {
			return ""
		}
		return count(r.Status[name])
	}
	upstream := ""
	if r.Upstream.Count > 0 {
		upstream = figure(r.Upstream.SumSeconds)
	}
	t, ms := r.Request, figure
	if t.Count == 0 {
		ms = func(float64) string { return "" } // no line told a time
	}
	row := plain(strings.TrimSpace(clean(name)), count(r.Hits), ms(t.SumSeconds), ms(t.P50Ms), ms(t.P90Ms), ms(t.P99Ms),
		class("4xx"), class("5xx"), ms(t.MaxMs), class("2xx"), class("3xx"), upstream, size(r.SentBytes))
	row[7].code = red
	return row
}

// accessNotes are what may be missing from the routes, or is unusual.
func accessNotes(d *result.AccessDigest) []string {
	var notes []string
	if d.Unreadable > 0 {
		notes = append(notes, fmt.Sprintf("%s of %s could not be read:", count(d.Unreadable), plural(d.Lines, "line")))
	}
	if d.Outside > 0 {
		notes = append(notes, plural(d.Outside, "line")+" outside the window")
	}
	if d.Untimed > 0 {
		notes = append(notes, plural(d.Untimed, "line")+" without a time that could be read")
	}
	if d.Zoneless > 0 {
		notes = append(notes, plural(d.Zoneless, "line")+" with a time without a zone, taken for the host's or for that of --zone")
	}
	if len(d.Untold) > 0 {
		notes = append(notes, "no line has: "+strings.Join(d.Untold, ", ")+" (a label that isukit does not know is mapped with --format 'json LABEL=request_time')")
	}
	t := d.Total
	if t.Closed > 0 {
		notes = append(notes, plural(t.Closed, "request")+" whose client gave up (499)")
	}
	if t.Retried > 0 {
		notes = append(notes, plural(t.Retried, "request")+" for which more than one upstream was asked")
	}
	if len(t.Cache) > 0 {
		var parts []string
		for _, state := range slices.Sorted(maps.Keys(t.Cache)) {
			parts = append(parts, cut(clean(state), 16)+" "+count(t.Cache[state]))
		}
		notes = append(notes, "cache: "+strings.Join(parts, ", "))
	}
	return notes
}
