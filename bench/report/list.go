package report

import (
	"io"
	"strings"

	"isukit/bench/result"
)

// List writes one line for each round, in the order in which they come, and one for each that cannot be read.
func List(w io.Writer, entries []result.Entry, s Style) error {
	p := newSheet(s)
	if s.Width > 0 {
		p.width = max(s.Width, 40) // a list has columns to spare
	}
	if len(entries) == 0 {
		p.line("no rounds yet")
	} else {
		p.rounds(entries)
	}
	_, err := io.WriteString(w, p.String())
	return err
}

func (p *sheet) rounds(entries []result.Entry) {
	cols := []column{{title: "round", elastic: true}, {title: ""}, {title: "score", right: true}, {title: "hits/s", right: true},
		{title: "p50 ms", right: true}, {title: "p99 ms", right: true}, {title: "errors", right: true}, {title: "load", right: true}}
	var rows [][]cell
	for _, e := range entries {
		if e.Round != nil {
			rows = append(rows, listRow(e))
		}
	}
	if len(rows) > 0 {
		p.table(cols, rows)
	}
	for _, e := range entries {
		if e.Err != nil {
			p.para("  "+p.paint(red, "cannot be read")+"  ", "", clean(e.ID)+": "+strings.TrimPrefix(e.Err.Error(), "read "))
		}
	}
}

func listRow(e result.Entry) []cell {
	r := e.Round
	l := r.All.Latency
	row := plain(clean(e.ID), "pass", count(r.Score.Total), figure(r.HitsPerSec()), figure(l.P50Ms), figure(l.P99Ms),
		count(r.All.Errors), seconds(r.LoadTook()))
	row[1].code = green
	if !r.Passed {
		row[1] = cell{"FAIL", red}
	}
	if len(r.Warnings) > 0 {
		row[1].text += " !"
	}
	return row
}
