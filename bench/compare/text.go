package compare

import (
	"cmp"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Text writes the comparison for a person, for 80 columns: each metric, what could have been seen, and every pair as a mark on a scale.
func Text(w io.Writer, c *Comparison) error {
	var b strings.Builder
	c.writeHead(&b)
	c.writeMetrics(&b)
	c.writeReach(&b)
	if len(c.Metrics) > 0 {
		c.writePlot(&b, c.Metrics[0])
	}
	for i, warning := range c.Warnings {
		if i == 0 {
			b.WriteString("\nWarnings\n")
		}
		writeWrapped(&b, "  ! ", warning)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (c *Comparison) writeHead(b *strings.Builder) {
	for i, s := range []SideSummary{c.A, c.B} {
		writeWrapped(b, "AB"[i:i+1]+"  ", fmt.Sprintf("%s (%s)", strings.ReplaceAll(s.Name, ",", ", "), plural(len(s.Rounds), "round")))
	}
	if len(c.Differences) > 0 {
		b.WriteString("\nWhat differs\n")
	}
	for _, d := range c.Differences {
		writeWrapped(b, "  ", fmt.Sprintf("%s: %s -> %s", d.Key, cmp.Or(d.A, "(none)"), cmp.Or(d.B, "(none)")))
	}
	b.WriteByte('\n')
}

func (c *Comparison) writeMetrics(b *strings.Builder) {
	rows := [][]string{{"", "A", "B", "B/A", fmt.Sprintf("%g %% interval", 100*(1-c.Alpha)), "p", "verdict"}}
	for _, m := range c.Metrics {
		interval := "-"
		if m.Low > 0 {
			interval = strings.TrimSuffix(change(m.Low), " %") + " to " + change(m.High)
		}
		rows = append(rows, []string{label(m), figure(m.MedianA), figure(m.MedianB), change(m.Ratio), interval,
			strconv.FormatFloat(m.PCorrected, 'f', 3, 64), c.verdictText(m)})
	}
	writeTable(b, rows, 0, 6)
	fmt.Fprintf(b, "  %s; %s;\n  correction: %s; alpha %g\n", plural(c.Pairs, "pair"), c.Method, c.Correction, c.Alpha)
}

func label(m Metric) string {
	switch m.Name {
	case "score":
		return "score"
	case "hits":
		return "hits/s"
	case "cpu":
		return "CPU s/1k hits"
	case "errors":
		return "errors/1k hits"
	}
	return strings.TrimSpace(m.Name + " " + m.Unit)
}

func (c *Comparison) verdictText(m Metric) string {
	switch {
	case m.Verdict == Same:
		return fmt.Sprintf("SAME within %g %%", 100*c.SameWithin)
	case m.Verdict != Undecided:
		return strings.ToUpper(string(m.Verdict))
	case m.MorePairs >= MaxPairs || m.MorePairs == 0:
		return "undecided"
	}
	return fmt.Sprintf("undecided, ~%d more", m.MorePairs)
}

// writeReach prints the effect that the pairs could have shown, and why metrics are undecided.
func (c *Comparison) writeReach(b *strings.Builder) {
	var parts []string
	for _, m := range c.Metrics {
		if m.SmallestRatio > 0 {
			parts = append(parts, fmt.Sprintf("%s %s", m.Name, change(m.SmallestRatio)))
		}
	}
	text := fmt.Sprintf("%s of %s can show no effect of any size: %d would be the least, %d with one metric.",
		plural(c.Pairs, "pair"), plural(len(c.Metrics), "metric"), minPairsFor(c.Alpha/float64(max(1, len(c.Metrics)))), minPairsFor(c.Alpha))
	if len(parts) > 0 {
		text = fmt.Sprintf("Smallest effect that %s of this noise would show in 4 of 5 cases: %s.", plural(c.Pairs, "pair"), strings.Join(parts, ", "))
	}
	b.WriteByte('\n')
	writeWrapped(b, "  ", text)
	var open []string
	for _, m := range c.Metrics {
		if m.Why != "" {
			open = append(open, m.Name+" ("+m.Why+")")
		}
	}
	if len(open) > 0 {
		writeWrapped(b, "  ", "Undecided: "+strings.Join(open, ", ")+".")
	}
	if len(c.Metrics) > 0 {
		m := c.Metrics[0]
		writeWrapped(b, "  ", fmt.Sprintf("Floor: rounds of one side alone differ in %s by %s in 1 of %.0f cases.", m.Name, change(m.Floor), 1/c.Alpha))
	}
}

// plotColumns is the width of the scale in writePlot; odd, so that "no difference" has a column.
const plotColumns = 51

// writePlot draws every pair as an o between the extremes, | being "no difference" and [ ] the interval.
func (c *Comparison) writePlot(b *strings.Builder, m Metric) {
	reach := math.Max(math.Log(1+c.SameWithin), 0)
	for i := range m.ValuesA {
		reach = math.Max(reach, math.Abs(math.Log(m.ValuesB[i]/m.ValuesA[i])))
	}
	column := func(ratio float64) int {
		return min(max(int(math.Round((math.Log(ratio)/reach+1)*(plotColumns-1)/2)), 0), plotColumns-1)
	}
	fmt.Fprintf(b, "\nEvery pair: B/A of %s, in the order in which they ran\n", m.Name)
	for i := range m.ValuesA {
		ratio, order := m.ValuesB[i]/m.ValuesA[i], "AB"
		if m.BFirst[i] {
			order = "BA"
		}
		row := blank(column(1))
		row[column(ratio)] = 'o'
		fmt.Fprintf(b, "  %3d %s %9s  %s\n", i+1, order, change(ratio), string(row))
	}
	row := blank(column(1))
	if m.Low > 0 {
		for i := column(m.Low); i <= column(m.High); i++ {
			row[i] = '-'
		}
		row[column(m.Low)], row[column(m.High)] = '[', ']'
	}
	row[column(m.Ratio)] = 'M'
	fmt.Fprintf(b, "  median %9s  %s\n", change(m.Ratio), string(row))
	fmt.Fprintf(b, "%*s%-*s%*s\n", 19, "", plotColumns/2, change(math.Exp(-reach)), plotColumns-plotColumns/2, change(math.Exp(reach)))
}

func blank(middle int) []rune {
	row := []rune(strings.Repeat(" ", plotColumns))
	row[middle] = '|'
	return row
}

// change writes a ratio as a signed percentage: 1.052 is "+5.2 %".
func change(ratio float64) string {
	p := 100 * (ratio - 1)
	switch {
	case math.Abs(p) < 0.05:
		return "0 %"
	case math.Abs(p) < 99.95:
		return fmt.Sprintf("%+.1f %%", p)
	case ratio < 1000:
		return fmt.Sprintf("%+.0f %%", p)
	}
	return fmt.Sprintf("x %.3g", ratio)
}

// figure writes x with three digits that matter, or as a whole number with commas.
func figure(x float64) string {
	if math.Abs(x) < 999.5 {
		return strconv.FormatFloat(x, 'g', 3, 64)
	}
	s := strconv.FormatFloat(x, 'f', 0, 64)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// clean shows control characters of names and facts instead of letting a terminal obey them.
func clean(s string) string {
	q := strconv.QuoteToGraphic(s)
	return strings.ReplaceAll(q[1:len(q)-1], `\"`, `"`)
}

// writeTable aligns rows; the columns named left stand left, all others right.
func writeTable(b *strings.Builder, rows [][]string, left ...int) {
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	for _, row := range rows {
		line := " "
		for i, cell := range row {
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
			if slices.Contains(left, i) {
				cell += pad
			} else {
				cell = pad + cell
			}
			line += " " + cell
		}
		b.WriteString(strings.TrimRight(line, " ") + "\n")
	}
}

// writeWrapped writes text at most 80 columns wide behind first, and its further lines under it.
func writeWrapped(b *strings.Builder, first, text string) {
	line := first
	for _, word := range strings.Fields(clean(text)) {
		if line != first && utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) > 80 {
			b.WriteString(line + "\n")
			first = strings.Repeat(" ", len(first))
			line = first
		}
		if line != first {
			line += " "
		}
		line += word
	}
	b.WriteString(line + "\n")
}
