package report

import "io"

// Page shows rounds together, as tables: for a browser, and for printing.
type Page struct {
	Title, About string
	Tables       []Table
	// Notes follow the tables; one that begins with "! " is a warning.
	Notes []string
	// Rounds is a table that only the browser shows.
	Rounds Table
}

// Table is one of a page.
type Table struct {
	Title, About string
	Columns      []string
	Rows         [][]Cell
}

// Cell is one field of a table; Drawn has a bar for Ratio, in [0,1], before the text.
type Cell struct {
	Text  string
	Ratio float64
	Drawn bool
}

// Row is a row of texts.
func Row(texts ...string) []Cell {
	cells := make([]Cell, len(texts))
	for i, t := range texts {
		cells[i].Text = t
	}
	return cells
}

// HTML writes the page as one that stands alone.
func (p Page) HTML(w io.Writer) error {
	return site(w, "tables", siteView{Title: p.Title, Home: ".", Page: p, Policy: "default-src 'none'; style-src " + sourceHash(pageCSS) + "; script-src " + sourceHash(siteScript()) +
		"; img-src data:; base-uri 'none'; form-action 'none'"})
}

// Bar draws a ratio as ten columns.
func Bar(ratio float64) string { return bar(ratio, 10) }
