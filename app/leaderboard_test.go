package app_test

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	"isukit/app/dataset"
	portalv1 "isukit/proto/portal/v1"
)

func testLeaderboard(t *testing.T, s *site) {
	want := wantStandings(s.data)
	var res portalv1.GetLeaderboardResponse
	s.client().do(t, "GET", "/api/leaderboard?limit=10000", nil, &res)
	if diff := cmp.Diff(want, res.Standings, protocmp.Transform()); diff != "" {
		t.Errorf("leaderboard (-want +got):\n%s", diff)
	}
	if int(res.Total) != len(want) || res.Phase != portalv1.Phase_PHASE_RUNNING {
		t.Errorf("total %d, phase %v; want %d, running", res.Total, res.Phase, len(want))
	}
	for query, n := range map[string]int{"": 25, "?limit=1": 1, "?limit=": 25, "?limit=30&x=y": 30} {
		s.client().do(t, "GET", "/api/leaderboard"+query, nil, &res)
		if diff := cmp.Diff(want[:n], res.Standings, protocmp.Transform()); diff != "" || int(res.Total) != len(want) {
			t.Errorf("leaderboard%s: total %d, (-want +got):\n%s", query, res.Total, diff)
		}
	}
	for _, limit := range []string{"0", "-1", "10001", "x", "1.5", "99999999999999999999"} {
		s.client().refused(t, 400, "bad_parameter", "GET", "/api/leaderboard?limit="+limit, nil)
	}
	for _, n := range []int{0, 7, 49} { // the last one has no result
		team := s.data.Teams[n]
		var dashboard portalv1.GetDashboardResponse
		s.login(t, s.member(t, n)).do(t, "GET", "/api/dashboard", nil, &dashboard)
		own := &portalv1.Standing{TeamId: team.ID, TeamName: team.Name}
		if i := slices.IndexFunc(want, func(w *portalv1.Standing) bool { return w.TeamId == team.ID }); i >= 0 {
			own = want[i]
		}
		if diff := cmp.Diff(own, dashboard.Own, protocmp.Transform()); diff != "" {
			t.Errorf("own standing of team %d (-want +got):\n%s", n, diff)
		}
		if diff := cmp.Diff(want[:25], dashboard.Leaderboard, protocmp.Transform()); diff != "" {
			t.Errorf("leaderboard of the dashboard (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(wantJobs(s.data, team.ID)[:min(10, len(wantJobs(s.data, team.ID)))], dashboard.Jobs, protocmp.Transform()); diff != "" {
			t.Errorf("jobs of the dashboard (-want +got):\n%s", diff)
		}
	}
}

func wantStandings(d *dataset.Data) []*portalv1.Standing {
	names := map[int64]string{}
	for _, team := range d.Teams {
		names[team.ID] = team.Name
	}
	var want []*portalv1.Standing
	for i, s := range d.Standings() {
		want = append(want, &portalv1.Standing{
			TeamId: s.TeamID, TeamName: names[s.TeamID], Rank: int32(i + 1), BestScore: s.BestScore, LatestScore: s.LatestScore,
			ResultCount: int32(s.ResultCount), LatestAtUs: s.LatestAtUS,
		})
	}
	return want
}

// wantJobs gives a team's jobs, newest first.
func wantJobs(d *dataset.Data, teamID int64) []*portalv1.Job {
	var want []*portalv1.Job
	for _, j := range d.Jobs {
		if j.TeamID == teamID {
			want = append(want, &portalv1.Job{
				Id: j.ID, TeamId: j.TeamID, Status: portalv1.JobStatus_JOB_STATUS_FINISHED, Target: j.Target, Memo: j.Memo,
				Score: j.Score, Passed: j.Passed, Reason: j.Reason, CreatedAtUs: j.CreatedAtUS, StartedAtUs: j.StartedAtUS,
				FinishedAtUs: j.FinishedAtUS,
			})
		}
	}
	slices.Reverse(want)
	return want
}

func testFreeze(t *testing.T, s *site) {
	admin, worker := s.admin(t), s.worker()
	scorer := s.login(t, s.member(t, 49)) // no result so far
	s.setClock(t, admin, -2, -1, 1)
	var before, after portalv1.GetLeaderboardResponse
	s.client().do(t, "GET", "/api/leaderboard?limit=100", nil, &before)
	if before.Phase != portalv1.Phase_PHASE_FROZEN || len(before.Standings) != 49 {
		t.Fatalf("frozen leaderboard has %d standings in phase %v, want 49", len(before.Standings), before.Phase)
	}
	finish(t, worker, enqueue(t, scorer), 1_000_000, true)
	s.client().do(t, "GET", "/api/leaderboard?limit=100", nil, &after)
	if diff := cmp.Diff(&before, &after, protocmp.Transform()); diff != "" {
		t.Errorf("the frozen leaderboard changed (-before +after):\n%s", diff)
	}
	var dashboard portalv1.GetDashboardResponse
	scorer.do(t, "GET", "/api/dashboard", nil, &dashboard)
	if own := dashboard.Own; own.GetBestScore() != 1_000_000 || own.GetRank() != 0 || own.GetResultCount() != 1 {
		t.Errorf("own standing while frozen is %v, want the result and no rank", own)
	}
	s.setClock(t, admin, -3, -2, -1)
	s.client().do(t, "GET", "/api/leaderboard?limit=100", nil, &after)
	if len(after.Standings) != 50 || after.Standings[0].GetBestScore() != 1_000_000 || after.Phase != portalv1.Phase_PHASE_ENDED {
		t.Errorf("after the end the leaderboard begins with %v of %d", after.Standings[0], len(after.Standings))
	}
}
