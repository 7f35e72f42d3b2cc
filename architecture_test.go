package isukit_test

import (
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
)

// TestArchitecturePicture holds the picture of parts in docs/architecture.md against what the code imports.
func TestArchitecturePicture(t *testing.T) {
	text, err := os.ReadFile("docs/architecture.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "flowchart TD\n")
	picture, _, ok := strings.Cut(rest, "```")
	if !ok {
		t.Fatal("docs/architecture.md has no picture of the parts")
	}
	var drawn []string
	for line := range strings.Lines(picture) {
		drawn = append(drawn, strings.TrimSpace(line))
	}
	slices.Sort(drawn)
	if got := arrows(t); !slices.Equal(got, drawn) {
		t.Errorf("docs/architecture.md draws\n%s\nthe code has\n%s", strings.Join(drawn, "\n"), strings.Join(got, "\n"))
	}
}

// arrows are the imports from part to part, tests aside.
func arrows(t *testing.T) []string {
	t.Helper()
	found := map[string]bool{}
	eachSource(t, func(file, dir string) {
		if strings.HasSuffix(file, "_test.go") {
			return
		}
		for _, imported := range importsOf(t, file) {
			if from, to := part(dir), part(imported); to != from && to != "." && !matches(anywhere, imported) {
				found[from+" --> "+to] = true
			}
		}
	})
	return slices.Sorted(maps.Keys(found))
}

// part is the part of the project that a package belongs to: each command alone, otherwise its first folder.
func part(pkg string) string {
	if strings.HasPrefix(pkg, "cmd/") {
		return pkg
	}
	first, _, _ := strings.Cut(pkg, "/")
	return first
}
