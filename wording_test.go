package isukit_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// A wording is one line of testdata/wording.tsv.
type wording struct {
	pattern, allowed *regexp.Regexp
	plain            string
}

// found is the part of a text that the pattern matches, or "".
func (w wording) found(text string) string {
	if w.allowed != nil {
		text = w.allowed.ReplaceAllString(text, "…")
	}
	return w.pattern.FindString(text)
}

func wordings(t *testing.T) (list []wording) {
	t.Helper()
	for line := range strings.Lines(readFile(t, "testdata/wording.tsv")) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		column := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if len(column) != 3 {
			t.Fatalf("testdata/wording.tsv: %q is not pattern, allowed text and plain form", line)
		}
		w := wording{pattern: regexp.MustCompile(column[0]), plain: column[2]}
		if column[1] != "-" {
			w.allowed = regexp.MustCompile(column[1])
		}
		list = append(list, w)
	}
	return list
}

// TestWording checks texts against testdata/wording.tsv: string literals and comments of the programs, pages, templates, messages of scripts,
// and the comments of tunings and topologies, which tune show and topology ls print.
func TestWording(t *testing.T) {
	list := wordings(t)
	texts := 0
	check := func(place, text string) {
		texts++
		for _, w := range list {
			if found := w.found(text); found != "" {
				t.Errorf("%s: %q in %q: write: %s", place, found, text, w.plain)
			}
		}
	}
	eachSource(t, func(file, _ string) { eachText(t, file, check) })
	for _, pattern := range []string{"README.md", "CONTRIBUTING.md", "CHANGELOG.md", "app/README.md", "docs/*.md", "docs/decisions/*.md", "bench/report/*.tmpl",
		"scripts/*.sh", "Makefile", "scripts/*/*.conf", "scripts/tunings.conf", "mysql/*", "nginx/*.conf", "infra/topologies/*.yaml"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			number := 0
			for line := range strings.Lines(readFile(t, file)) {
				if number++; isRead(file, line) {
					check(file+":"+strconv.Itoa(number), strings.TrimSpace(line))
				}
			}
		}
	}
	if texts < 10000 {
		t.Errorf("only %d texts were checked", texts)
	}
}

var printsExpr = regexp.MustCompile(`\b(echo|printf|say|usage|die|fail) `)

// isRead reports whether this line of a file is checked: all of a page or a template, messages and comments of a script, comments of the rest.
func isRead(file, line string) bool {
	switch filepath.Ext(file) {
	case ".md", ".tmpl":
		return true
	case ".sh":
		return printsExpr.MatchString(line) || strings.HasPrefix(strings.TrimSpace(line), "#")
	}
	return strings.HasPrefix(strings.TrimSpace(line), "#")
}

// eachText visits each line that has a space in it, of the comments of a file and, unless it is a test, of its string literals.
func eachText(t *testing.T, file string, visit func(place, text string)) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	set := token.NewFileSet()
	f, err := parser.ParseFile(set, file, text, parser.SkipObjectResolution|parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	visitLines := func(at token.Pos, text string) {
		number := set.Position(at).Line
		for line := range strings.Lines(text) {
			if line = strings.TrimSpace(line); strings.Contains(line, " ") {
				visit(file+":"+strconv.Itoa(number), line)
			}
			number++
		}
	}
	ast.Inspect(f, func(n ast.Node) bool {
		if literal, ok := n.(*ast.BasicLit); ok && literal.Kind == token.STRING && !strings.HasSuffix(file, "_test.go") {
			value, err := strconv.Unquote(literal.Value)
			if err != nil {
				t.Fatal(err)
			}
			visitLines(literal.Pos(), value)
		}
		return true
	})
	for _, group := range f.Comments {
		for _, c := range group.List {
			visitLines(c.Pos(), strings.TrimPrefix(c.Text, "//"))
		}
	}
}

// TestWordingFinds holds the patterns against sentences that they must find and sentences that they must not.
func TestWordingFinds(t *testing.T) {
	list := wordings(t)
	for text, want := range map[string]bool{
		`--status "x" is no status`:                   true,
		"There is no route, and no longer one":        false,
		"there is no route":                           true,
		"tests that pass in all cases":                false,
		"12 times in all":                             true,
		"when one does not get healthy":               true,
		"the original value is reported and restored": false,
		"an example, as 'GET /api/teams'":             true,
		"mending rows in place of copying them":       true,
		"the recommended value":                       false,
	} {
		got := slices.ContainsFunc(list, func(w wording) bool { return w.found(text) != "" })
		if got != want {
			t.Errorf("%q: found %v, want %v", text, got, want)
		}
	}
}
