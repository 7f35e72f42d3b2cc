package result_test

import (
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"isukit/bench/result"
)

var start = time.Date(2026, 11, 22, 20, 15, 3, 0, time.UTC)

func sample(id string) *result.Round {
	return &result.Round{
		ID: id, StartedAt: start, Topology: "single", Scenario: "portal", Seed: math.MaxUint64, LoadSeconds: 30, Passed: true,
		Score:     result.Score{Total: 1200, Lines: []result.ScoreLine{{Label: "dashboard", Count: 1200, Each: 1, Points: 1200}}},
		Phases:    []result.Phase{{Name: "load", StartSeconds: 2.5, DurationSeconds: 30, OK: true}},
		All:       result.Endpoint{Name: "all", Hits: 1200, OK: 1200, Share: 1},
		Endpoints: []result.Endpoint{{Name: "GET /api/dashboard", Hits: 1200, OK: 1200, Share: 1, Latency: result.Latency{P50Ms: 1.5}}},
		Timeline:  []result.Second{{At: 0, Hits: 40, CoresByRole: map[string]float64{"db": 0.5}}},
		Roles:     []result.RoleUsage{{Role: "db", Host: "s1", CPUSeconds: 12}},
		Hosts:     []result.HostUsage{{Host: "s1", CPUs: 2}},
		Facts:     []result.Fact{{Key: "kernel", Value: "6.18"}},
	}
}

func text(path, content string) result.File {
	return result.File{Path: path, About: "a test", Write: func(w io.Writer, _ *result.Round) error {
		_, err := io.WriteString(w, content)
		return err
	}}
}

func TestWriteThenRead(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "results")
	r := sample(result.NewID(start, "single"))
	late := result.File{Path: "report.html", Write: func(w io.Writer, r *result.Round) error {
		_, err := fmt.Fprintf(w, "%s lists %d", r.ID, len(r.Artifacts))
		return err
	}}
	path, err := result.Write(dir, r, text("hosts/s1/access.log", "line\n"), late)
	if err != nil {
		t.Fatal(err)
	}
	got, err := result.Read(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(r, got); diff != "" {
		t.Errorf("what is read differs from what was written (-written +read):\n%s", diff)
	}
	want := []result.Artifact{{Path: "hosts/s1/access.log", SizeBytes: 5, About: "a test"}, {Path: "report.html", SizeBytes: 31}}
	if diff := cmp.Diff(want, got.Artifacts); diff != "" {
		t.Errorf("artifacts (-want +got):\n%s", diff)
	}
	report, err := os.ReadFile(filepath.Join(path, "report.html"))
	if want := "20261122T201503Z-single lists 1"; err != nil || string(report) != want {
		t.Errorf("report = %q, %v, want %q", report, err, want)
	}
	if other, err := result.Read(filepath.Join(path, result.RoundFile)); err != nil || !cmp.Equal(other, got) {
		t.Errorf("Read of the file = %v, %v, want what Read of the directory gave", other, err)
	}
}

func TestWriteNeverOverwrites(t *testing.T) {
	dir := t.TempDir()
	for i, want := range []string{"x", "x-2", "x-3"} {
		r := sample("x")
		r.Seed = uint64(i)
		path, err := result.Write(dir, r)
		if err != nil || path != filepath.Join(dir, want) || r.ID != want {
			t.Fatalf("Write %d = %q, %v with ID %q, want %s", i, path, err, r.ID, want)
		}
	}
	for i, id := range []string{"x", "x-2", "x-3"} {
		if r, err := result.Read(filepath.Join(dir, id)); err != nil || r.Seed != uint64(i) || r.ID != id {
			t.Errorf("Read(%s) = %+v, %v, want the seed %d that was written there", id, r, err, i)
		}
	}
}

func TestWriteConcurrently(t *testing.T) {
	dir := t.TempDir()
	const writers = 12
	var wg sync.WaitGroup
	for i := range writers {
		wg.Go(func() {
			r := sample("x")
			r.Seed = uint64(i)
			if _, err := result.Write(dir, r, text("a.txt", "a")); err != nil {
				t.Errorf("writer %d: %v", i, err)
			}
		})
	}
	wg.Wait()
	entries, err := result.List(dir)
	if err != nil || len(entries) != writers {
		t.Fatalf("List = %d rounds, %v, want %d", len(entries), err, writers)
	}
	seeds := map[uint64]bool{}
	for _, e := range entries {
		if e.Err != nil {
			t.Fatal(e.Err)
		}
		seeds[e.Round.Seed] = true
	}
	if len(seeds) != writers {
		t.Errorf("%d of %d rounds survived", len(seeds), writers)
	}
}

func TestWriteLeavesNothingBehindOnFailure(t *testing.T) {
	boom := result.File{Path: "bad", Write: func(io.Writer, *result.Round) error { return errors.New("boom") }}
	nan := sample("x")
	nan.LoadSeconds = math.NaN()
	tests := []struct {
		name  string
		round *result.Round
		files []result.File
		want  string
	}{
		{"artifact fails", sample("x"), []result.File{text("good", "1"), boom}, "boom"},
		{"artifact twice", sample("x"), []result.File{text("a", "1"), text("a", "2")}, "exists"},
		{"artifact above", sample("x"), []result.File{text("../a", "1")}, "not a path inside"},
		{"artifact absolute", sample("x"), []result.File{text("/a", "1")}, "not a path inside"},
		{"artifact in the record's place", sample("x"), []result.File{text("./round.json", "1")}, "not a path inside"},
		{"not a number", nan, nil, "NaN"},
		{"no id", sample(""), nil, "no id"},
		{"hidden id", sample(".x"), nil, "begins with"},
		{"id with a slash", sample("a/b"), nil, "file name"},
		{"long id", sample(strings.Repeat("x", 200)), nil, "longer"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			if _, err := result.Write(dir, tt.round, tt.files...); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Write = %v, want an error with %q", err, tt.want)
			}
			left, err := os.ReadDir(dir)
			if err != nil || len(left) != 0 {
				t.Errorf("left behind: %v, %v", left, err)
			}
		})
	}
}

func TestNewID(t *testing.T) {
	tests := []struct{ topology, want string }{
		{"single", "20261122T201503Z-single"},
		{"a b/ü", "20261122T201503Z-a-b--"},
		{"", "20261122T201503Z-round"},
		{strings.Repeat("x", 200), "20261122T201503Z-" + strings.Repeat("x", 103)},
	}
	for _, tt := range tests {
		got := result.NewID(start.In(time.FixedZone("JST", 9*3600)), tt.topology)
		if got != tt.want {
			t.Errorf("NewID(%q) = %q, want %q", tt.topology, got, tt.want)
		}
		if _, err := result.Write(t.TempDir(), sample(got)); err != nil {
			t.Errorf("Write under NewID(%q): %v", tt.topology, err)
		}
	}
}
