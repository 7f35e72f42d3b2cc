package report_test

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/text/width"

	"isukit/bench/report"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(got, "\n")); diff != "" {
		t.Errorf("%s (-want +got; -update rewrites it):\n%s", path, diff)
	}
}

func TestTextGolden(t *testing.T) {
	record := report.Style{Record: "results/20261122T201503Z-single"}
	tests := []struct {
		name  string
		write func(*bytes.Buffer) error
	}{
		{"passing.txt", func(b *bytes.Buffer) error { return report.Text(b, passing(), record) }},
		{"passing-120.txt", func(b *bytes.Buffer) error { return report.Text(b, passing(), report.Style{Width: 120}) }},
		{"passing-color.txt", func(b *bytes.Buffer) error { return report.Text(b, passing(), report.Style{Color: true}) }},
		{"failing.txt", func(b *bytes.Buffer) error { return report.Text(b, failing(), report.Style{}) }},
		{"empty.txt", func(b *bytes.Buffer) error { return report.Text(b, empty(), report.Style{}) }},
		{"hostile.txt", func(b *bytes.Buffer) error { return report.Text(b, hostile(), report.Style{}) }},
		{"list.txt", func(b *bytes.Buffer) error { return report.List(b, entries(), report.Style{}) }},
		{"list-empty.txt", func(b *bytes.Buffer) error { return report.List(b, nil, report.Style{}) }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var b bytes.Buffer
			if err := tt.write(&b); err != nil {
				t.Fatal(err)
			}
			golden(t, tt.name, b.String())
		})
	}
}

// wide counts columns as a terminal does, for the signs that the samples use.
func wide(s string) int {
	n := 0
	for _, r := range s {
		n++
		if k := width.LookupRune(r).Kind(); k == width.EastAsianWide {
			n++
		}
	}
	return n
}

func TestTextKeepsToItsWidth(t *testing.T) {
	for _, columns := range []int{0, 72, 80, 100, 200} {
		want := columns
		if want == 0 {
			want = 80
		}
		var b bytes.Buffer
		for _, r := range []func() error{
			func() error { return report.Text(&b, passing(), report.Style{Width: columns}) },
			func() error { return report.Text(&b, failing(), report.Style{Width: columns}) },
			func() error { return report.Text(&b, hostile(), report.Style{Width: columns}) },
			func() error { return report.List(&b, entries(), report.Style{Width: columns}) },
		} {
			if err := r(); err != nil {
				t.Fatal(err)
			}
		}
		for line := range strings.Lines(b.String()) {
			if got := wide(strings.TrimSuffix(line, "\n")); got > want {
				t.Errorf("width %d: a line of %d columns: %q", columns, got, line)
			}
		}
	}
}

// TestListOnANarrowTerminal: the figures that matter least give way, the ids by which rounds are named do not.
func TestListOnANarrowTerminal(t *testing.T) {
	for columns, want := range map[int][]string{
		40: {passing().ID, "score"}, 60: {passing().ID, "score", "p50 ms"}, 71: {passing().ID, "errors"}, 72: {"load"},
	} {
		var b bytes.Buffer
		if err := report.List(&b, entries(), report.Style{Width: columns}); err != nil {
			t.Fatal(err)
		}
		for _, text := range want {
			if !strings.Contains(b.String(), text) {
				t.Errorf("%d columns: %q is not there:\n%s", columns, text, b.String())
			}
		}
		for line := range strings.Lines(b.String()) {
			if got := wide(strings.TrimSuffix(line, "\n")); got > columns {
				t.Errorf("%d columns: a line of %d: %q", columns, got, line)
			}
		}
	}
}

func TestTextObeysNothing(t *testing.T) {
	var b bytes.Buffer
	if err := report.Text(&b, hostile(), report.Style{}); err != nil {
		t.Fatal(err)
	}
	if err := report.List(&b, entries(), report.Style{}); err != nil {
		t.Fatal(err)
	}
	for _, r := range b.String() {
		if r != '\n' && (unicode.IsControl(r) || unicode.Is(unicode.Cf, r)) {
			t.Errorf("the text holds %U, which a terminal obeys", r)
		}
	}
	if !strings.Contains(b.String(), `\x1b]0;pwned\x07`) {
		t.Errorf("the hostile text is not shown as it was:\n%s", b.String())
	}
}
