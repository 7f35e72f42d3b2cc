package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"isukit/bench/compare"
	"isukit/bench/result"
	"isukit/cmd/internal/ui"
)

// pairsOnDisk writes eight pairs of rounds, those of topology two scoring 20 % more, and a failed one of topology three.
func pairsOnDisk(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	at := time.Date(2026, 11, 22, 20, 0, 0, 0, time.UTC)
	write := func(topology string, score int64, passed bool) {
		at = at.Add(time.Minute)
		r := &result.Round{ID: result.NewID(at, topology), StartedAt: at, Topology: topology, Scenario: "portal", LoadSeconds: 30,
			Passed: passed, Score: result.Score{Total: score}}
		if _, err := result.Write(dir, r); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 8 {
		score := int64(1000 + 17*i)
		order := []string{"single", "two"}
		if i%3 == 0 {
			order = []string{"two", "single"}
		}
		for _, topology := range order {
			if topology == "two" {
				write(topology, score*6/5, true)
			} else {
				write(topology, score, true)
			}
		}
	}
	write("three", 0, false)
	return dir
}

func compareArgs(t *testing.T, args ...string) (code int, out, errOut string) {
	t.Helper()
	var o, e bytes.Buffer
	code = run(t.Context(), append([]string{"compare"}, args...), streams{in: strings.NewReader(""), out: &o, err: &e})
	return code, o.String(), e.String()
}

func TestCompareKeptRounds(t *testing.T) {
	dir := pairsOnDisk(t)
	code, out, errOut := compareArgs(t, "--results", dir, "topology=single", "topology=two")
	if code != ui.ExitOK || !strings.Contains(out, "BETTER") || !strings.Contains(out, "topology: single -> two") {
		t.Errorf("compare = %d, want a score that is BETTER\n%s%s", code, out, errOut)
	}
	code, out, errOut = compareArgs(t, "--results", dir, "topology=single", "topology=two", "--json", "--metrics", "score")
	var c compare.Comparison
	if err := json.Unmarshal([]byte(out), &c); code != ui.ExitOK || err != nil {
		t.Fatalf("compare --json = %d, %v\n%s%s", code, err, out, errOut)
	}
	if len(c.Metrics) != 1 || c.Metrics[0].Verdict != compare.Better || math.Abs(c.Metrics[0].Ratio-1.2) > 0.01 || c.Pairs != 8 {
		t.Errorf("compare --json says %+v, want 8 pairs and a score that is better by 20 %%", c.Metrics)
	}
	code, out, errOut = compareArgs(t, "--results", dir, "topology=single", "topology=two", "--bench")
	if n := strings.Count(out, "\nBenchmarkRound/portal 1 "); code != ui.ExitOK || n != 16 {
		t.Errorf("compare --bench = %d with %d lines, want 16\n%s%s", code, n, out, errOut)
	}
	a, b := "", ""
	for i := 1; i <= 16; i += 2 {
		a, b = a+fmt.Sprintf(",~%d", i), b+fmt.Sprintf(",~%d", i+1)
	}
	if code, out, errOut = compareArgs(t, "--results", dir, a[1:], b[1:]); code != ui.ExitOK || !strings.Contains(out, "undecided") {
		t.Errorf("compare of rounds by age = %d, want undecided, the sides being mixed\n%s%s", code, out, errOut)
	}
}

func TestCompareRefuses(t *testing.T) {
	dir := pairsOnDisk(t)
	tests := []struct {
		name string
		args []string
		code int
		want string
	}{
		{"one side", []string{"last"}, ui.ExitUsage, "takes 2 arguments, got 1"},
		{"no such topology", []string{"topology=none", "last"}, ui.ExitUsage, "no such round"},
		{"no such round", []string{"2030", "last"}, ui.ExitUsage, "no such round"},
		{"both the same", []string{"last", "~0"}, ui.ExitUsage, "named twice"},
		{"no such metric", []string{"last", "~1", "--metrics", "beauty"}, ui.ExitUsage, `no metric "beauty"`},
		{"nothing that passed", []string{"last", "~1"}, ui.ExitFailed, "no pair of passed rounds"},
	}
	for _, tt := range tests {
		code, out, errOut := compareArgs(t, append([]string{"--results", dir}, tt.args...)...)
		if code != tt.code || !strings.Contains(errOut, tt.want) || out != "" {
			t.Errorf("%s: code %d, stderr %q, stdout %q, want code %d and %q", tt.name, code, errOut, out, tt.code, tt.want)
		}
	}
}
