package report

import (
	"fmt"
	"io"
	"math"
	"strings"

	"isukit/bench/diff"
)

// Diff writes what was changed between two rounds, then which metrics changed, the largest first; most limits each list, 0 is all.
func Diff(w io.Writer, d *diff.Diff, most int, s Style) error {
	p := newSheet(s)
	p.head("Changed", fmt.Sprintf("%s -> %s", clean(d.A.ID), clean(d.B.ID)))
	p.changes(d, most)
	return p.writeMoves(w, d, most, diffNote(d))
}

// Moves writes what differs between two digests, the largest first; most limits each list, 0 is all.
func Moves(w io.Writer, d *diff.Diff, most int, s Style) error {
	return newSheet(s).writeMoves(w, d, most, perMinuteNote(d))
}

func (p *sheet) writeMoves(w io.Writer, d *diff.Diff, most int, note string) error {
	for _, group := range moveGroups {
		p.moves(d, group.name, group.title, most)
	}
	if p.line(); note != "" {
		p.para("  ", dim, note)
	}
	_, err := io.WriteString(w, p.String())
	return err
}

// diffNote explains how to read the numbers of a difference.
func diffNote(d *diff.Diff) string {
	return perMinuteNote(d) + "One round each: the differences may be noise. isukit compare shows their confidence."
}

func perMinuteNote(d *diff.Diff) string {
	if !d.PerMinute {
		return ""
	}
	return fmt.Sprintf("The loads lasted %s and %s: sums and counts are for a minute of load. ", seconds(d.A.LoadTook()), seconds(d.B.LoadTook()))
}

// moveGroups are the groups of moves in the order in which they are shown.
var moveGroups = []struct{ name, title string }{
	{"round", "The round"}, {"route", "Routes"}, {"query", "Queries"}, {"cpu", "CPU by process"}, {"host", "Hosts"},
}

func (p *sheet) changes(d *diff.Diff, most int) {
	if len(d.Changed) == 0 {
		p.line("  nothing that was recorded")
		return
	}
	for i, c := range d.Changed {
		if most > 0 && i == most {
			p.line("  ", p.paint(dim, plural(int64(len(d.Changed)-most), "more change")))
			return
		}
		p.para("  "+p.paint(cyan, cut(clean(c.Group+" "+c.Key), p.width/2))+"  ", "", absent(c.From)+" -> "+absent(c.To))
	}
}

func absent(value string) string {
	if value == "" {
		return "(none)"
	}
	return cut(clean(value), 200)
}

func (p *sheet) moves(d *diff.Diff, group, title string, most int) {
	cols := []column{{title: "", elastic: true}, {title: "figure"}, {title: "before", right: true}, {title: "after", right: true}, {title: "change", right: true}}
	var rows [][]cell
	names, last, left := 0, "", 0
	for _, m := range d.Moved {
		if m.Group != group {
			continue
		}
		if m.Name != last || names == 0 {
			names, last = names+1, m.Name
		}
		if most > 0 && names > most {
			left++
			continue
		}
		rows = append(rows, moveRow(m, sameName(m, rows)))
	}
	if len(rows) == 0 {
		return
	}
	p.head(title, "")
	p.table(cols, rows)
	if left > 0 {
		p.line("  ", p.paint(dim, plural(int64(left), "figure")+" of smaller changes are not shown"))
	}
}

// sameName: the row before has the same name, which is then not repeated.
func sameName(m diff.Move, rows [][]cell) bool {
	for i := len(rows) - 1; i >= 0; i-- {
		if rows[i][0].text != "" {
			return rows[i][0].text == clean(m.Name)
		}
	}
	return false
}

func moveRow(m diff.Move, repeated bool) []cell {
	name := clean(m.Name)
	if repeated {
		name = ""
	}
	return plain(name, m.Figure, moved(m.Figure, m.From), moved(m.Figure, m.To), changeText(m))
}

// moved writes a figure; those that are counts have no decimals.
func moved(name string, x float64) string {
	switch strings.TrimSuffix(name, "/min") {
	case "count", "errors", "examined", "score", "statements":
		return count(int64(math.Round(x)))
	}
	return figure(x)
}

// changeText is a change as a signed percentage, or what else there is to say.
func changeText(m diff.Move) string {
	rel := m.Relative()
	switch {
	case m.OnlyA:
		return "gone"
	case m.OnlyB:
		return "new"
	case math.IsInf(rel, 0):
		return "from 0"
	case math.Abs(rel) < 0.005: // it would round to 0 %, with a sign before it
		return "same"
	case rel >= 9:
		return fmt.Sprintf("x %s", figure(1+rel))
	}
	return fmt.Sprintf("%+.0f %%", 100*rel)
}
