package isukit_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#+ (.+)$`)
	noSlug  = regexp.MustCompile(`[^\p{L}\p{N} _-]`)
)

// TestPagesAreLinked holds that links between pages lead somewhere, to their headings too, and that the README leads to every page.
func TestPagesAreLinked(t *testing.T) {
	all := []string{"CONTRIBUTING.md", "CHANGELOG.md", "app/README.md"}
	for readme, pattern := range map[string]string{"README.md": "docs/*.md", "README.ja.md": "docs/ja/*.md"} {
		pages, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(readme)
		if err != nil {
			t.Fatal(err)
		}
		for _, page := range pages {
			if !strings.Contains(string(text), "("+page+")") {
				t.Errorf("%s does not lead to %s", readme, page)
			}
		}
		all = append(append(all, readme), pages...)
	}
	decisions, err := filepath.Glob("docs/decisions/*.md")
	if err != nil || len(decisions) < 10 {
		t.Fatalf("decisions: %d, %v", len(decisions), err)
	}
	index := readFile(t, "docs/decisions/README.md")
	for _, page := range decisions {
		if name := filepath.Base(page); name != "README.md" && !strings.Contains(index, "("+name+")") {
			t.Errorf("docs/decisions/README.md does not lead to %s", page)
		}
		if name := filepath.Base(page); name != "README.md" && !strings.Contains(readFile(t, page), "**What would change our mind.**") {
			t.Errorf("%s does not say what would change our mind", page)
		}
	}
	all = append(all, decisions...)
	for _, page := range all {
		checkLinks(t, page)
	}
}

func checkLinks(t *testing.T, page string) {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range link.FindAllStringSubmatch(string(text), -1) {
		file, anchor, _ := strings.Cut(m[1], "#")
		if strings.Contains(file, "://") {
			continue
		}
		target := page
		if file != "" {
			target = filepath.Join(filepath.Dir(page), file)
		}
		if _, err := os.Stat(target); err != nil {
			t.Errorf("%s: link to %s: %v", page, m[1], err)
			continue
		}
		if anchor != "" && !hasHeading(t, target, anchor) {
			t.Errorf("%s: link to %s: no such heading", page, m[1])
		}
	}
}

// hasHeading reports whether a page has a heading of that anchor, as GitHub makes them.
func hasHeading(t *testing.T, page, anchor string) bool {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range heading.FindAllStringSubmatch(string(text), -1) {
		slug := strings.ReplaceAll(noSlug.ReplaceAllString(strings.ToLower(m[1]), ""), " ", "-")
		if slug == anchor {
			return true
		}
	}
	return false
}
