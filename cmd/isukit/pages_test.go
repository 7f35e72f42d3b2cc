package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"forge.example/account/isukit/app/fanout"
	"isukit/infra"
	"isukit/infra/doctor"
	"isukit/infra/topology"
)

// page is a page of docs.
func page(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// firstCells are the names in the first cells of a page's tables: of `a`, `b` both.
func firstCells(text string) []string {
	var names []string
	for _, row := range regexp.MustCompile(`(?m)^\|([^|]*)\|`).FindAllStringSubmatch(text, -1) {
		for _, name := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(row[1], -1) {
			names = append(names, name[1])
		}
	}
	return names
}

// TestPagesListWhatThereIs holds the tables of docs against the doctor's checks, the shipped topologies and the write modes.
func TestPagesListWhatThereIs(t *testing.T) {
	text := page(t, "doctor.md")
	_, table, _ := strings.Cut(text, "\n## Checks\n")
	table, _, _ = strings.Cut(table, "\n## ")
	var checks []string
	for _, c := range doctor.Checks() {
		checks = append(checks, c.ID)
	}
	if got := firstCells(table); !slices.Equal(got, checks) {
		t.Errorf("docs/doctor.md lists the checks\n%q, there are\n%q", got, checks)
	}
	if want := fmt.Sprintf("(%d checks)", len(checks)); !strings.Contains(text, want) {
		t.Errorf("docs/doctor.md shows another output than one that ends in %s", want)
	}
	_, table, _ = strings.Cut(page(t, "topology.md"), "\n## Shipped topologies\n")
	table, _, _ = strings.Cut(table, "\n## ")
	got := firstCells(table)
	slices.Sort(got)
	if want := infra.ShippedNames(); !slices.Equal(got, want) {
		t.Errorf("docs/topology.md lists the topologies\n%q, there are\n%q", got, want)
	}
	for _, m := range fanout.Modes() {
		if !slices.Contains(firstCells(page(t, "fanout.md")), string(m)) {
			t.Errorf("docs/fanout.md has no row for write mode %s", m)
		}
		if m != fanout.ModeKeyed && !slices.Contains(topology.Writes(), topology.Write(m)) {
			t.Errorf("topology.Writes lacks %s, which app/fanout has", m)
		}
	}
	if len(topology.Writes()) != len(fanout.Modes())-1 {
		t.Errorf("a topology may name %q, app/fanout has %q", topology.Writes(), fanout.Modes())
	}
}
