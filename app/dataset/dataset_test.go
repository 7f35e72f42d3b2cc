package dataset_test

import (
	"cmp"
	"regexp"
	"slices"
	"testing"
	"unicode/utf8"

	"isukit/app/dataset"
)

func generate(t testing.TB, seed uint64, scale dataset.Scale) *dataset.Data {
	t.Helper()
	d, err := dataset.Generate(seed, scale)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// The digests of a seed's data. A change of one needs a new dataset.Version.
func TestSameSeedSameBytes(t *testing.T) {
	tests := []struct {
		seed  uint64
		scale dataset.Scale
		want  string
	}{
		{1, dataset.Small, "750fa92d5a52cb4f342933dc68b35d79a61971276216bde3935be6ead7f2d2d5"},
		{2, dataset.Small, "fa571e3dfe80018a9734ce00d714c76cd9de354d887b849a7dab9aa1ee8e192d"},
		{1, dataset.Standard, "3cbde4f5816045ad8d7f49ee10fe67084ecaf8fc435a589e4c82b407d7d66a47"},
	}
	for _, tt := range tests {
		for range 2 {
			if got := generate(t, tt.seed, tt.scale).Digest(); got != tt.want {
				t.Errorf("digest of seed %d, %s = %s, want %s (version %d)", tt.seed, tt.scale, got, tt.want, dataset.Version)
			}
		}
	}
}

func TestUnknownScale(t *testing.T) {
	if _, err := dataset.Generate(1, "huge"); err == nil {
		t.Error("Generate of scale huge gave no error")
	}
}

func TestCounts(t *testing.T) {
	for scale, want := range map[dataset.Scale][4]int{
		dataset.Small:    {50, 150, 2_000, 30},
		dataset.Standard: {1_000, 3_000, 200_000, 300},
	} {
		d := generate(t, 7, scale)
		got := [4]int{len(d.Teams), len(d.Contestants), len(d.Jobs), len(d.Clarifications)}
		if got != want {
			t.Errorf("%s has %v teams, contestants, results, clarifications; want %v", scale, got, want)
		}
	}
}

func TestContestantsAndTeams(t *testing.T) {
	d := generate(t, 3, dataset.Standard)
	nameRE := regexp.MustCompile(`^[a-z0-9_-]{1,32}$`)
	members := map[int64][]int64{}
	names, ids := map[string]bool{}, map[int64]bool{}
	free := 0
	for _, c := range append([]dataset.Contestant{d.Admin}, d.Contestants...) {
		if !nameRE.MatchString(c.Name) || len(c.Password) < 8 || names[c.Name] || ids[c.ID] || c.ID <= 0 {
			t.Fatalf("contestant %+v breaks a rule or repeats another", c)
		}
		names[c.Name], ids[c.ID] = true, true
		if c.TeamID != 0 {
			members[c.TeamID] = append(members[c.TeamID], c.ID)
		} else if !c.Admin {
			free++
		}
	}
	if free == 0 {
		t.Error("every contestant has a team; want some that can still join one")
	}
	roomy, teamNames := 0, map[string]bool{}
	for _, team := range d.Teams {
		if n := utf8.RuneCountInString(team.Name); n < 1 || n > 64 || teamNames[team.Name] {
			t.Errorf("team name %q breaks a rule or repeats another", team.Name)
		}
		teamNames[team.Name] = true
		if len(team.Tags) > 10 || len(team.MemberIDs) < 1 || len(team.MemberIDs) > 3 || !slices.Equal(team.MemberIDs, members[team.ID]) {
			t.Errorf("team %+v breaks a rule or differs from its members %v", team, members[team.ID])
		}
		if len(team.MemberIDs) < 3 {
			roomy++
		}
	}
	if roomy == 0 {
		t.Error("every team is full; want some that can still be joined")
	}
}

func TestOneJobOfATeamAtATime(t *testing.T) {
	d := generate(t, 4, dataset.Standard)
	byTeam := map[int64][]dataset.Job{}
	jobIDs, resultIDs := map[int64]bool{}, map[int64]bool{}
	for i, j := range d.Jobs {
		if i > 0 && j.ID <= d.Jobs[i-1].ID {
			t.Fatalf("job %d is not after the one before it", j.ID)
		}
		if jobIDs[j.ID] || resultIDs[j.ResultID] {
			t.Fatalf("job %d or result %d is there twice", j.ID, j.ResultID)
		}
		jobIDs[j.ID], resultIDs[j.ResultID] = true, true
		byTeam[j.TeamID] = append(byTeam[j.TeamID], j)
	}
	for team, jobs := range byTeam {
		for i, j := range jobs {
			if !(j.CreatedAtUS < j.StartedAtUS && j.StartedAtUS < j.FinishedAtUS) {
				t.Fatalf("job %+v does not go forward in time", j)
			}
			if i > 0 && j.CreatedAtUS <= jobs[i-1].FinishedAtUS {
				t.Fatalf("team %d has two jobs at once: %+v and %+v", team, jobs[i-1], j)
			}
			if i > 0 && j.ResultID <= jobs[i-1].ResultID {
				t.Fatalf("team %d: result ids are not in the order of time", team)
			}
		}
	}
	if got, want := len(byTeam), 980; got != want {
		t.Errorf("%d teams have jobs, want %d", got, want)
	}
}

func TestStandings(t *testing.T) {
	d := generate(t, 5, dataset.Small)
	standings := d.Standings()
	sorted := slices.IsSortedFunc(standings, func(a, b dataset.Standing) int {
		return cmp.Or(cmp.Compare(b.BestScore, a.BestScore), cmp.Compare(a.TeamID, b.TeamID))
	})
	if !sorted {
		t.Error("the standings are not ordered by best score, then team")
	}
	results := 0
	for _, s := range standings {
		results += s.ResultCount
		best, latest := int64(0), dataset.Job{}
		for _, j := range d.Jobs {
			if j.TeamID == s.TeamID && j.Passed {
				best, latest = max(best, j.Score), j
			}
		}
		if s.BestScore != best || s.LatestScore != latest.Score || s.LatestAtUS != latest.FinishedAtUS {
			t.Errorf("standing %+v, want best %d and latest %d at %d", s, best, latest.Score, latest.FinishedAtUS)
		}
	}
	if results == 0 || results == len(d.Jobs) {
		t.Errorf("%d of %d results passed; want some that did not", results, len(d.Jobs))
	}
}

// Some teams must share a best score, or the order by id is never seen.
func TestStandingsHaveTies(t *testing.T) {
	standings, ties := generate(t, 5, dataset.Standard).Standings(), 0
	for i, s := range standings[1:] {
		if s.BestScore == standings[i].BestScore {
			ties++
		}
	}
	if len(standings) != 980 || ties < 10 {
		t.Errorf("%d teams are ranked, %d share a score with the one before; want 980, some of which do", len(standings), ties)
	}
}

func TestTables(t *testing.T) {
	var names []string
	for _, table := range dataset.Tables() {
		names = append(names, table.Name)
		if len(table.Columns) < 4 {
			t.Errorf("table %s has columns %v", table.Name, table.Columns)
		}
	}
	want := []string{"contest", "contestants", "teams", "jobs", "results", "clarifications", "notifications"}
	if !slices.Equal(names, want) {
		t.Errorf("Tables() = %v, want %v", names, want)
	}
}

func BenchmarkGenerateStandard(b *testing.B) {
	for b.Loop() {
		generate(b, 1, dataset.Standard)
	}
}
