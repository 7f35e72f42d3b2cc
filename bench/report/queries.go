package report

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"isukit/bench/result"
)

// Queries writes the digest of what databases ran, at most that many queries; 0 is all.
func Queries(w io.Writer, d *result.QueryDigest, most int, s Style) error {
	p := newSheet(s)
	p.queries(d, most)
	_, err := io.WriteString(w, p.String())
	return err
}

func (p *sheet) queries(d *result.QueryDigest, most int) {
	if most == NotesOnly {
		p.queryNotes(d)
		return
	}
	var sum float64
	for _, q := range d.Queries {
		sum += q.Time.SumSeconds
	}
	p.head("Queries", fmt.Sprintf("times in ms; %s in %s", seconds(sum), plural(d.Counted(), "statement")))
	cols := []column{{title: "#", right: true}}
	// As for routes: what the query is matters more than the last columns.
	shown := []string{"count", "sum s", "share", "mean", "p95", "max", "lock s", "examined", "sent"}
	if p.width < 120 {
		shown = shown[:5]
	}
	for _, t := range shown {
		cols = append(cols, column{title: t, right: true})
	}
	cols = append(cols, column{title: "query", elastic: true})
	rows, left := [][]cell{}, d.Left
	for i, q := range d.Queries {
		if most > 0 && i == most {
			left += len(d.Queries) - most
			break
		}
		row := queryRow(i+1, q, sum)
		rows = append(rows, append(row[:1+len(shown):1+len(shown)], row[len(row)-1]))
	}
	p.table(cols, rows)
	if left > 0 {
		p.line("  ", p.paint(dim, fmt.Sprintf("%s with less time are not shown", plural(int64(left), "query fingerprint"))))
	}
	for i, q := range d.Queries[:min(3, len(d.Queries))] {
		p.queryDetail(i+1, q)
	}
	p.queryNotes(d)
}

func (p *sheet) queryNotes(d *result.QueryDigest) {
	if d.Unreadable > 0 {
		p.para("  ", yellow, fmt.Sprintf("%s of %s could not be read:", count(d.Unreadable), plural(d.Statements, "statement")))
	}
	if d.Outside > 0 {
		p.para("  ", yellow, plural(d.Outside, "statement")+" outside the window")
	}
	if d.Sampled > 1 {
		p.para("  ", yellow, fmt.Sprintf("the server logged one of %s statements (log_slow_rate_limit): counts and sums are of what was logged", count(d.Sampled)))
	}
	for _, e := range d.Examples {
		p.para(fmt.Sprintf("  %s:%d  ", cut(clean(e.File), 40), e.Line), dim, cut(clean(e.Text), 100))
	}
}

func queryRow(n int, q result.Query, sum float64) []cell {
	p95 := ""
	if q.Time.P95Ms > 0 {
		p95 = figure(q.Time.P95Ms)
	}
	return plain(count(int64(n)), count(q.Time.Count), figure(q.Time.SumSeconds), percent(q.Time.SumSeconds/max(sum, 1e-9)), figure(meanMs(q.Time)), p95,
		figure(q.Time.MaxMs), figure(q.LockSeconds), count(q.RowsExamined), count(q.RowsSent), clean(q.Fingerprint))
}

func meanMs(s result.Spread) float64 { return 1000 * s.SumSeconds / float64(max(s.Count, 1)) }

// queryDetail shows what a row has no room for.
func (p *sheet) queryDetail(n int, q result.Query) {
	p.line()
	p.para(fmt.Sprintf("  %d  ", n), cyan, cut(clean(q.Fingerprint), 400))
	if routes := routesOf(q); routes != "" {
		p.para("     from  ", "", routes)
	}
	if q.Example != "" {
		p.para("     e.g.  ", dim, cut(clean(q.Example), 400))
	}
	for _, line := range explained(q.Explain) {
		p.para("     plan  ", dim, cut(clean(line), 400))
	}
}

// routesOf lists the routes that sent a query, the most frequent first.
func routesOf(q result.Query) string {
	names := slices.SortedFunc(maps.Keys(q.Routes), func(a, b string) int {
		if q.Routes[a] != q.Routes[b] {
			return int(min(1, max(-1, q.Routes[b]-q.Routes[a])))
		}
		return strings.Compare(a, b)
	})
	parts := make([]string, len(names))
	for i, name := range names {
		parts[i] = clean(name) + " " + count(q.Routes[name])
	}
	return strings.Join(parts, ", ")
}
