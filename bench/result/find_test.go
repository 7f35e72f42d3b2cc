package result_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"isukit/bench/result"
)

// shelf writes rounds, one of them damaged, and other files.
func shelf(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	ids := []string{"20261122T201503Z-single", "20261122T211503Z-two", "20261122T211503Z-two", "20261121T201503Z-single"}
	for range 8 {
		ids = append(ids, "20261122T211503Z-two")
	}
	for _, id := range ids {
		if _, err := result.Write(dir, sample(id)); err != nil {
			t.Fatal(err)
		}
	}
	for _, d := range []string{"20261123T000000Z-damaged", ".20261124T000000Z-x.tmp", "notes"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, f := range []string{"20261123T000000Z-damaged/round.json", ".20261124T000000Z-x.tmp/round.json", "file"} {
		if err := os.WriteFile(filepath.Join(dir, f), []byte(`{"format":1,`), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestList(t *testing.T) {
	entries, err := result.List(shelf(t))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.ID)
		if (e.Err == nil) == (e.ID == "20261123T000000Z-damaged") || (e.Err == nil) != (e.Round != nil) {
			t.Errorf("entry %s: round %v, err %v", e.ID, e.Round, e.Err)
		}
	}
	want := []string{"20261123T000000Z-damaged"}
	for _, n := range []string{"-10", "-9", "-8", "-7", "-6", "-5", "-4", "-3", "-2", ""} {
		want = append(want, "20261122T211503Z-two"+n)
	}
	want = append(want, "20261122T201503Z-single", "20261121T201503Z-single")
	if !slices.Equal(got, want) {
		t.Errorf("List =\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestListOfNothing(t *testing.T) {
	if entries, err := result.List(filepath.Join(t.TempDir(), "none")); err != nil || len(entries) != 0 {
		t.Errorf("List = %v, %v, want none", entries, err)
	}
}

func TestFind(t *testing.T) {
	dir := shelf(t)
	tests := []struct{ query, want, err string }{
		{"20261122T211503Z-two", "20261122T211503Z-two", ""},
		{"20261122T211503Z-two-10", "20261122T211503Z-two-10", ""},
		{"20261121", "20261121T201503Z-single", ""},
		{"last-1", "20261122T211503Z-two-10", ""},
		{"~1", "20261122T211503Z-two-10", ""},
		{"~12", "20261121T201503Z-single", ""},
		{dir + "/20261121T201503Z-single", "20261121T201503Z-single", ""},
		{dir + "/20261121T201503Z-single/round.json", "20261121T201503Z-single", ""},
		{"last", "", "damaged JSON"},
		{"~0", "", "damaged JSON"},
		{"~13", "", "no such round: there are 13"},
		{"last-x", "", "no such round"},
		{"last--1", "", "no such round"},
		{"", "", "no such round"},
		{"notes", "", "no such round"},
		{"20261122T21", "", "10 rounds begin so: 20261122T211503Z-two-10, "},
		{dir + "/notes", "", "no such file"},
	}
	for _, tt := range tests {
		r, path, err := result.Find(dir, tt.query)
		if tt.err != "" {
			if err == nil || !strings.Contains(err.Error(), tt.err) {
				t.Errorf("Find(%q) = %v, want an error with %q", tt.query, err, tt.err)
			}
			continue
		}
		if err != nil || r.ID != tt.want || path != filepath.Join(dir, tt.want) {
			t.Errorf("Find(%q) = %v, %q, %v, want %s", tt.query, r, path, err, tt.want)
		}
	}
	if _, _, err := result.Find(dir, "2030"); !errors.Is(err, result.ErrNoRound) {
		t.Errorf("Find(2030) = %v, want ErrNoRound", err)
	}
}
