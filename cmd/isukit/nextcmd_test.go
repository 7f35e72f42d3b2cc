package main

import (
	"strings"
	"testing"
	"time"

	"isukit/bench/result"
	"isukit/cmd/internal/round"
	"isukit/infra/project"
)

// TestNextKnowsTheDay holds what isukit next names first, by where the day is.
func TestNextKnowsTheDay(t *testing.T) {
	noon := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	own, portal := &project.Project{Hosts: []project.Host{{Name: "s1", Address: "10.0.0.1"}, {Name: "s2"}}}, &project.Project{Benchmark: project.Benchmark{External: true}}
	passed := func(change func(*result.Round)) *result.Round {
		r := &result.Round{ID: "20261122T110000Z-app", StartedAt: noon.Add(-time.Hour), Passed: true, Topology: "single", Access: result.AccessDigest{Lines: 9}, Queries: result.QueryDigest{Statements: 9}}
		change(r)
		return r
	}
	plain := passed(func(*result.Round) {})
	scan := passed(func(r *result.Round) {
		r.Queries.Queries = []result.Query{{Fingerprint: "select * from chairs", RowsExamined: 900000, RowsSent: 40, Time: result.Spread{Count: 2, SumSeconds: 12}}}
	})
	cpu := passed(func(r *result.Round) {
		r.Bottleneck = result.Bottleneck{Resource: "cpu", Role: "db", Text: "CPU of s1: 98 % busy, db used most of it."}
	})
	others := passed(func(r *result.Round) {
		r.Bottleneck = result.Bottleneck{Resource: "cpu", Host: "s1", Role: "mariadbd", Text: "CPU of s1: 100 % busy, and mariadbd used 0.11 of its 2 cores."}
		r.Hosts = []result.HostUsage{{Host: "s1", CPUs: 2, Busy: 1}}
		r.Roles = []result.RoleUsage{{Role: "mariadbd", Host: "s1", MeanCores: 0.11}}
	})
	logs := passed(func(r *result.Round) { r.Queries.Sources = []string{"slow log of s1"} })
	dir := t.TempDir()
	for _, r := range []*result.Round{plain, scan} {
		if r == scan {
			r.ID = "20261122T120000Z-app"
		}
		if _, err := result.Write(dir, r); err != nil {
			t.Fatal(err)
		}
	}
	saved := round.Day{Now: noon, Project: own}
	if err := saved.Look(t.Context(), nil, dir); err != nil {
		t.Fatal(err)
	}
	failed := &result.Round{ID: "b", Reason: "validate failed", StartedAt: noon}
	evening := noon.Add(330 * time.Minute) // 17:30
	for name, c := range map[string]struct {
		day  round.Day
		want []string // beginnings of commands, in order
		why  string
	}{
		"nothing yet":         {round.Day{Now: noon}, []string{"isukit init", "isukit doctor", "isukit tune apply measure", "isukit round"}, "no isukit.yaml"},
		"no round":            {round.Day{Now: noon, Project: own}, []string{"isukit doctor", "isukit tune apply measure", "isukit round"}, "no round yet"},
		"external":            {round.Day{Now: noon, Project: portal}, []string{"isukit doctor", "isukit tune apply measure", "isukit observe --ask"}, "portal"},
		"no index":            {round.Day{Now: noon, Project: own, Rounds: []*result.Round{scan}}, []string{"isukit show", "isukit round", "isukit diff"}, "add an index: the slowest query (12.0 s)"},
		"database's CPU":      {round.Day{Now: noon, Project: own, Rounds: []*result.Round{cpu}}, []string{"isukit tune apply mysql/memory", "isukit round"}, "98 % busy"},
		"others' CPU":         {round.Day{Now: noon, Project: own, Rounds: []*result.Round{others}}, []string{"isukit doctor --only cpu-others", "isukit round"}, "0.11 of its 2 cores"},
		"portal's database":   {round.Day{Now: noon, Rounds: []*result.Round{cpu}}, []string{"isukit round -t final-1"}, "98 % busy"},
		"saved":               {saved, []string{"isukit show", "isukit round", "isukit diff"}, "add an index: the slowest query (12.0 s) examines 900000 rows to return 40"},
		"failed":              {round.Day{Now: noon, Project: own, Rounds: []*result.Round{failed, plain}}, []string{"isukit restore 20261122T110000Z-app"}, "validate failed"},
		"no logs":             {round.Day{Now: noon, Project: own, Rounds: []*result.Round{{Passed: true}}}, []string{"isukit tune apply measure"}, "no requests"},
		"evening, measuring":  {round.Day{Now: evening, Project: own, Rounds: []*result.Round{logs}}, []string{"isukit tune revert mysql/measure", "isukit final", "isukit round"}, "slow log of s1"},
		"evening, not booted": {round.Day{Now: evening, Project: own, Rounds: []*result.Round{plain}, Booted: map[string]time.Time{"s1": noon.Add(-9 * time.Hour), "s2": noon}}, []string{"ssh 10.0.0.1 sudo reboot", "isukit final"}, "first round, reboot one after another: ssh 10.0.0.1 sudo reboot"},
		"evening, here":       {round.Day{Now: evening, Project: own, Rounds: []*result.Round{plain}, Booted: map[string]time.Time{"s1": noon, "s2": noon.Add(-9 * time.Hour)}}, []string{"reboot", "isukit final"}, "sudo reboot"},
		"evening, booted":     {round.Day{Now: evening, Project: own, Rounds: []*result.Round{plain}, Booted: map[string]time.Time{"s1": noon, "s2": noon}}, []string{"isukit final", "isukit round"}, "change nothing"},
	} {
		c.day.End, c.day.Reference = noon.Add(6*time.Hour), afterSavedRound
		var out strings.Builder
		if err := printSteps(&out, c.day); err != nil {
			t.Fatal(err)
		}
		for i, s := range c.day.Steps() {
			if i < len(c.want) && !strings.HasPrefix(strings.TrimPrefix(s.Command, "sudo "), c.want[i]) {
				t.Errorf("%s: step %d is %q, want %q", name, i, s.Command, c.want[i])
			}
		}
		if len(c.day.Steps()) < len(c.want) || !strings.Contains(out.String(), c.why) || !strings.HasPrefix(out.String(), c.day.Now.Format("15:04")) {
			t.Errorf("%s: want %q and the time in\n%s", name, c.why, &out)
		}
	}
}

// TestNextAfterProjectRound holds that the last line of a round is the first step of the day, and never the report that was just printed.
func TestNextAfterProjectRound(t *testing.T) {
	noon := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	measured := result.Round{ID: "b", StartedAt: noon, Passed: true, Access: result.AccessDigest{Lines: 9}, Queries: result.QueryDigest{Statements: 9}}
	scan, unmeasured, failed, logged := measured, measured, measured, measured
	scan.Queries.Queries = []result.Query{{Fingerprint: "select * from chairs", RowsExamined: 900000, RowsSent: 40, Time: result.Spread{Count: 2, SumSeconds: 12}}}
	unmeasured.Queries = result.QueryDigest{}
	failed.Passed, failed.Reason = false, "validate failed"
	logged.Queries.Sources = []string{"slow log of s1"}
	for _, c := range []struct {
		rounds []*result.Round
		hours  time.Duration // until the end
		want   string
	}{
		{[]*result.Round{&measured}, 6, ""},
		{[]*result.Round{&measured, &measured}, 6, "isukit diff last-1 last   # what the change did"},
		{[]*result.Round{&scan}, 6, "isukit show   # add an index: the slowest query (12.0 s) examines 900000 rows to return 40: select * from chairs"},
		{[]*result.Round{&unmeasured}, 6, "isukit tune apply measure   # the newest round has no requests or no queries from logs"},
		{[]*result.Round{&failed, &measured}, 6, "isukit restore b   # the last round failed: validate failed; this one passed"},
		{[]*result.Round{&logged}, 6, ""},
		{[]*result.Round{&logged}, 1, "isukit tune revert mysql/measure nginx/measure   # measuring is still on: slow log of s1"},
		{[]*result.Round{&measured}, -1, ""}, // the contest is over
	} {
		d := round.Day{Now: noon, End: noon.Add(c.hours * time.Hour), Project: &project.Project{}, Rounds: c.rounds}
		if got := d.After(); got != c.want {
			t.Errorf("%d rounds, %d h left: got %q, want %q", len(c.rounds), c.hours, got, c.want)
		}
	}
}
