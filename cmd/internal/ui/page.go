package ui

import (
	"fmt"
	"io"
	"strings"

	"isukit/bench/report"
)

// PrintPage prints a page's tables and notes.
func PrintPage(out io.Writer, p report.Page) error {
	fmt.Fprintln(out, p.About)
	for _, t := range p.Tables {
		if t.Title != "" {
			fmt.Fprintf(out, "\n%s\n", strings.TrimSpace(t.Title+"  "+t.About))
		}
		w := NewTable(out)
		for _, c := range t.Columns {
			fmt.Fprint(w, strings.ToUpper(c), "\t")
		}
		for _, row := range t.Rows {
			fmt.Fprintln(w)
			for _, c := range row {
				text := OrDash(c.Text)
				if c.Drawn {
					text = report.Bar(c.Ratio) + " " + c.Text
				}
				fmt.Fprint(w, text, "\t")
			}
		}
		fmt.Fprintln(w)
		if err := w.Flush(); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintln(out, strings.Join(p.Notes, "\n"))
	return err
}
