package report_test

import (
	"strings"
	"testing"

	"isukit/bench/report"
)

// TestPageOfTables has every text shown and not interpreted, a bar for each ratio, and no request allowed.
func TestPageOfTables(t *testing.T) {
	var b strings.Builder
	row := report.Row("<script>alert(1)</script>", "a\x1b[31mb")
	row[1].Ratio, row[1].Drawn = 0.42, true
	table := report.Table{Title: "T & t", Columns: []string{"<i>", "two"}, Rows: [][]report.Cell{row}}
	if err := (report.Page{Title: "a page", About: "<b>", Tables: []report.Table{table}, Notes: []string{"! mind"}, Rounds: table}).HTML(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"&lt;script&gt;alert(1)", `a\x1b[31mb`, `<rect width="42%"`, "T &amp; t", "<li>! mind</li>", "&lt;i&gt;", `content="default-src &#39;none&#39;; style-src`} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if strings.Contains(b.String(), "<script>alert") || strings.Contains(b.String(), "\x1b") || strings.Count(b.String(), "42%") != 2 {
		t.Errorf("%s", b.String())
	}
}
