package report

import (
	"regexp"
	"strings"
)

// Style says for what kind of terminal text is made.
type Style struct {
	// Color turns on ANSI colours and bold.
	Color bool
	// Mark stands after the escape character of every sequence, for a writer that takes it out and lets no other sequence pass.
	Mark string
	// Width is the number of columns; 0 means 80. Less than 72 is taken as 72, but by List.
	Width int
	// Record is where the round is kept, as the reader should see it; empty prints nothing about it.
	Record string
}

// leastWidth is what most sheets need.
const leastWidth = 72

func (s Style) width() int {
	if s.Width == 0 {
		return 80
	}
	return max(s.Width, leastWidth)
}

type sheet struct {
	strings.Builder
	color bool
	mark  string
	width int
}

// The colours that a sheet uses, as parameters of ANSI's SGR sequence.
const (
	bold   = "1"
	dim    = "2"
	red    = "31"
	green  = "32"
	yellow = "33"
	cyan   = "36"
)

// sgr finds what paint adds.
var sgr = regexp.MustCompile("\x1b[0-9a-f]*\\[[0-9;]*m")

func bare(painted string) string { return sgr.ReplaceAllString(painted, "") }

func newSheet(s Style) *sheet { return &sheet{color: s.Color, mark: s.Mark, width: s.width()} }

// paint puts s, which has no colours yet, into one.
func (p *sheet) paint(code, s string) string {
	if !p.color || s == "" {
		return s
	}
	return "\x1b" + p.mark + "[" + code + "m" + s + "\x1b" + p.mark + "[0m"
}

func (p *sheet) line(parts ...string) {
	p.WriteString(strings.TrimRight(strings.Join(parts, ""), " "))
	p.WriteByte('\n')
}

// head begins a section: an empty line, its title, and an explanation in a lighter tone.
func (p *sheet) head(title, about string) {
	p.line()
	if about != "" {
		about = "  " + p.paint(dim, cut(about, p.width-2-columns(title)))
	}
	p.line(p.paint(bold, title), about)
}

// para writes text wrapped; its first line begins with first, which may be painted, the others with as many spaces.
func (p *sheet) para(first, code, text string) {
	indent := strings.Repeat(" ", columns(bare(first)))
	for i, l := range wrap(clean(text), p.width-len(indent)) {
		if i > 0 {
			first = indent
		}
		p.line(first, p.paint(code, l))
	}
}

// column is one column of a table; numbers stand right.
type column struct {
	title string
	right bool
	// elastic columns give way when the table is too wide; at most one should be.
	elastic bool
}

// cell is one field of a table; code is its colour, if any.
type cell struct{ text, code string }

func plain(texts ...string) []cell {
	cells := make([]cell, len(texts))
	for i, t := range texts {
		cells[i].text = t
	}
	return cells
}

// table writes rows under their titles, indented by two, no wider than the sheet. A nil row draws a rule.
func (p *sheet) table(cols []column, rows [][]cell) {
	if p.width < leastWidth {
		cols, rows = p.narrow(cols, rows)
	}
	widths, gap := p.fit(cols, rows)
	titles := make([]cell, len(cols))
	for i, c := range cols {
		titles[i] = cell{c.title, dim}
	}
	for _, row := range append([][]cell{titles}, rows...) {
		if row == nil {
			row = rule(cols, widths)
		}
		p.row(cols, widths, gap, row)
	}
}

// narrow leaves out the last columns, which matter least, until the others have room side by side; three stay in any case.
func (p *sheet) narrow(cols []column, rows [][]cell) ([]column, [][]cell) {
	total := 1
	for i, c := range cols {
		width := columns(c.title)
		for _, row := range rows {
			if row != nil {
				width = max(width, columns(row[i].text))
			}
		}
		if total += 1 + width; total <= p.width || i < 3 {
			continue
		}
		kept := make([][]cell, len(rows))
		for n, row := range rows {
			if row != nil {
				kept[n] = row[:i]
			}
		}
		return cols[:i], kept
	}
	return cols, rows
}

// fit chooses the columns' widths and the gap between them.
func (p *sheet) fit(cols []column, rows [][]cell) (widths []int, gap int) {
	widths = make([]int, len(cols))
	total, elastic := 0, -1
	for i, c := range cols {
		widths[i] = columns(c.title)
		for _, row := range rows {
			if row != nil {
				widths[i] = max(widths[i], columns(row[i].text))
			}
		}
		total += widths[i]
		if c.elastic {
			elastic = i
		}
	}
	gap = 2
	room := func() int { return p.width - 2 - total - gap*(len(cols)-1) }
	if elastic >= 0 && room() < 0 {
		gap = 1
		if r := room(); r < 0 {
			widths[elastic] = max(8, widths[elastic]+r)
		}
	}
	return widths, gap
}

func (p *sheet) row(cols []column, widths []int, gap int, row []cell) {
	var b strings.Builder
	b.WriteString("  ")
	for i, c := range cols {
		text := row[i].text
		if c.elastic {
			text = shorten(text, widths[i])
		}
		pad := strings.Repeat(" ", max(0, widths[i]-columns(text)))
		if i > 0 {
			b.WriteString(strings.Repeat(" ", gap))
		}
		if c.right {
			b.WriteString(pad + p.paint(row[i].code, text))
		} else {
			b.WriteString(p.paint(row[i].code, text) + pad)
		}
	}
	p.line(b.String())
}

func rule(cols []column, widths []int) []cell {
	cells := make([]cell, len(cols))
	for i, c := range cols {
		if c.right {
			cells[i] = cell{strings.Repeat("─", widths[i]), dim}
		}
	}
	return cells
}

func bar(ratio float64, n int) string {
	if !(ratio > 0) { // NaN too
		ratio = 0
	}
	ratio = min(ratio, 1)
	full := int(ratio*float64(n)*8 + 0.5)
	b := strings.Repeat("█", full/8)
	if full%8 > 0 {
		b += string([]rune("▏▎▍▌▋▊▉")[full%8-1])
	}
	return b + strings.Repeat("·", max(0, n-columns(b)))
}
