package main

import (
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"isukit/bench/result"
	"isukit/cmd/internal/ui"
)

// TestRoundAlike plays one round on three servers over ssh and in the lab: both see the same routes, the same queries and the same scheduled
// requests, and roles take the same shares of the CPU time, to 5 points. These shares make it a test for make stress-topology.
func TestRoundAlike(t *testing.T) {
	if os.Getenv("ISUKIT_KILLS") == "" {
		t.Skip("it judges shares of CPU time, which a busy machine changes: make stress-topology runs it")
	}
	s := newRealSite(t, "final-1")
	far := s.playAlike(t, "ssh", func(args ...string) string {
		defer s.isukit(t, ui.ExitOK, "topology", "down", "--driver", "ssh", "-q")
		return s.isukit(t, ui.ExitOK, args...)
	})
	near := s.playAlike(t, "lab", func(args ...string) string {
		cmd := exec.Command(s.program, append(args, "--cpu-scale", "1")...)
		cmd.Env, cmd.Dir, cmd.Stderr = append(os.Environ(), s.env...), t.TempDir(), os.Stderr
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("isukit %s: %v\n%s", strings.Join(args, " "), err, out)
		}
		return string(out)
	})
	for what, got := range map[string][2][]string{"routes": {far.routes, near.routes}, "queries": {far.queries, near.queries}} {
		if diff := gocmp.Diff(got[1], got[0]); diff != "" || len(got[0]) == 0 {
			t.Errorf("%s (-lab +ssh):\n%s", what, diff)
		}
	}
	if diff := gocmp.Diff(near.scheduled, far.scheduled); diff != "" || far.scheduled["GET /"] == 0 {
		t.Errorf("scheduled requests by route (-lab +ssh):\n%s", diff)
	}
	t.Logf("scheduled requests: %v", far.scheduled)
	t.Logf("shares of CPU time: ssh %v, lab %v", far.cpu, near.cpu)
	for role, share := range near.cpu {
		if d := far.cpu[role] - share; d > 0.05 || d < -0.05 {
			t.Errorf("%s has %.1f %% of the CPU time over ssh and %.1f %% in the lab", role, 100*far.cpu[role], 100*share)
		}
	}
}

// alike is what two rounds have in common.
type alike struct {
	routes, queries []string
	scheduled       map[string]int // by route: what users do at their first visit, of those who came in the first 20 s of 30
	cpu             map[string]float64
}

func (s *realSite) playAlike(t *testing.T, driver string, run func(args ...string) string) alike {
	t.Helper()
	results := filepath.Join(s.dir, driver)
	text := run("round", "-t", "final-1", "--driver", driver, "--shape", "rate=1", "--duration", "30s", "--seed", "5", "--tune", "measure", "--results", results, "--json", "-q")
	var r result.Round
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	a := alike{scheduled: map[string]int{}, cpu: map[string]float64{}}
	for _, e := range r.Endpoints {
		a.routes = append(a.routes, e.Name)
	}
	for _, q := range r.Queries.Queries {
		a.queries = append(a.queries, q.Fingerprint)
	}
	slices.Sort(a.routes)
	slices.Sort(a.queries)
	sum := 0.0
	for _, u := range r.Roles {
		sum += u.CPUSeconds
	}
	for _, u := range r.Roles {
		a.cpu[u.Role] += u.CPUSeconds / sum
	}
	hits := exec.Command(s.program, "hits", "last", "--json", "--results", results)
	hits.Env = append(os.Environ(), s.env...)
	out, err := hits.Output()
	if err != nil {
		t.Fatal(err)
	}
	late := map[int]bool{} // users who came later
	var all []hitLine
	for line := range strings.Lines(string(out)) {
		var h hitLine
		if err := json.Unmarshal([]byte(line), &h); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		all = append(all, h)
	}
	slices.SortFunc(all, func(a, b hitLine) int { return int(1e6 * (a.Intended - b.Intended)) })
	seen := map[int]bool{}
	for _, h := range all {
		if !seen[h.User] {
			seen[h.User], late[h.User] = true, h.Intended > 20
		}
		if !late[h.User] && !strings.HasPrefix(h.Endpoint, "GET /api/") && !strings.Contains(h.Endpoint, "receive") {
			a.scheduled[h.Endpoint]++
		}
	}
	t.Logf("%s: %v", driver, slices.Sorted(maps.Keys(a.scheduled)))
	return a
}

type hitLine struct {
	User     int     `json:"user"`
	Endpoint string  `json:"endpoint"`
	Intended float64 `json:"intended_s"`
}
