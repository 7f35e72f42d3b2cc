package scenario

import (
	"errors"
	"strings"
	"testing"
	"time"

	"isukit/bench/load"
	portalv1 "isukit/proto/portal/v1"
)

var t0 = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

func at(seconds float64) time.Time { return t0.Add(time.Duration(seconds * float64(time.Second))) }

// teams makes a model of three teams: 1 leads with 300 points, 2 and 3 have 200 each.
func testModel() *model {
	return newModel([]*team{
		{id: 1, name: "one", base: base{best: 300, latest: 100, count: 2}},
		{id: 2, name: "two", base: base{best: 200, latest: 200, count: 1}},
		{id: 3, name: "three", base: base{best: 200, latest: 50, count: 4}},
		{id: 4, name: "no results yet"},
	})
}

func rightBoard() []*portalv1.Standing {
	return []*portalv1.Standing{
		{TeamId: 1, TeamName: "one", Rank: 1, BestScore: 300, LatestScore: 100, ResultCount: 2},
		{TeamId: 2, TeamName: "two", Rank: 2, BestScore: 200, LatestScore: 200, ResultCount: 1},
		{TeamId: 3, TeamName: "three", Rank: 3, BestScore: 200, LatestScore: 50, ResultCount: 4},
	}
}

// wantFault holds an error against the kind and a part of the text that it must have; an empty text means no error.
func wantFault(t *testing.T, err error, kind load.Kind, text string) {
	t.Helper()
	if text == "" {
		if err != nil {
			t.Errorf("got %v, want no fault", err)
		}
		return
	}
	var f *load.Fault
	if !errors.As(err, &f) || f.Kind != kind || !strings.Contains(f.Text, text) {
		t.Errorf("got %v, want a %v fault with %q", err, kind, text)
	}
}

func TestCheckLeaderboard(t *testing.T) {
	tests := []struct {
		name   string
		limit  int
		break_ func(b []*portalv1.Standing) []*portalv1.Standing
		kind   load.Kind
		text   string
	}{
		{"right", 25, nil, load.OK, ""},
		{"right and cut", 2, func(b []*portalv1.Standing) []*portalv1.Standing { return b[:2] }, load.OK, ""},
		{"swapped", 25, func(b []*portalv1.Standing) []*portalv1.Standing {
			b[0], b[1] = b[1], b[0]
			b[0].Rank, b[1].Rank = 1, 2
			return b
		}, load.Wrong, "not in order"},
		{"equal scores swapped", 25, func(b []*portalv1.Standing) []*portalv1.Standing {
			b[1], b[2] = b[2], b[1]
			b[1].Rank, b[2].Rank = 2, 3
			return b
		}, load.Wrong, "not in order"},
		{"wrong rank", 25, func(b []*portalv1.Standing) []*portalv1.Standing { b[2].Rank = 2; return b }, load.Wrong, "rank"},
		{"team missing", 25, func(b []*portalv1.Standing) []*portalv1.Standing {
			b[2].Rank = 2
			return []*portalv1.Standing{b[0], b[2]}
		}, load.Wrong, "lacks a team"},
		{"team missing in a full list", 2, func(b []*portalv1.Standing) []*portalv1.Standing {
			b[2].Rank = 2
			return []*portalv1.Standing{b[0], b[2]}
		}, load.Wrong, "lacks a team"},
		{"team twice", 25, func(b []*portalv1.Standing) []*portalv1.Standing { return append(b, b[2]) }, load.Wrong, "twice"},
		{"unknown team", 25, func(b []*portalv1.Standing) []*portalv1.Standing { b[0].TeamId = 77; return b }, load.Wrong, "does not exist"},
		{"wrong name", 25, func(b []*portalv1.Standing) []*portalv1.Standing { b[0].TeamName = "x"; return b }, load.Wrong, "team name"},
		{"best too high", 25, func(b []*portalv1.Standing) []*portalv1.Standing { b[0].BestScore++; return b }, load.Wrong, "never reported"},
		{"best too low", 25, func(b []*portalv1.Standing) []*portalv1.Standing { b[0].BestScore--; return b }, load.Stale, "old best score"},
		{"count too high", 25, func(b []*portalv1.Standing) []*portalv1.Standing { b[0].ResultCount++; return b }, load.Wrong, "more results"},
		{"latest", 25, func(b []*portalv1.Standing) []*portalv1.Standing { b[0].LatestScore++; return b }, load.Wrong, "latest score"},
		{"too long", 2, nil, load.Wrong, "longer than asked"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			board := rightBoard()
			if tt.break_ != nil {
				board = tt.break_(board)
			}
			wantFault(t, testModel().checkLeaderboard(board, tt.limit, at(10), at(10.1)), tt.kind, tt.text)
		})
	}
}

// withResult gives team 2 a job whose result of 500 points is sent at second 10 and acknowledged at second 11.
func withResult(m *model) *job {
	two := m.team(2)
	m.activate(two)
	j := &job{id: 9, team: two, target: "t", memo: "memo", enqueued: write{sent: at(1), acked: at(2)}, received: write{sent: at(3), acked: at(4)},
		result: &result{score: 500, passed: true, reason: "ok", write: write{sent: at(10), acked: at(11)}}}
	two.jobs = append(two.jobs, j)
	return j
}

func TestLeaderboardFreshness(t *testing.T) {
	withoutIt := rightBoard()
	withIt := []*portalv1.Standing{
		{TeamId: 2, TeamName: "two", Rank: 1, BestScore: 500, LatestScore: 500, ResultCount: 2},
		{TeamId: 1, TeamName: "one", Rank: 2, BestScore: 300, LatestScore: 100, ResultCount: 2},
		{TeamId: 3, TeamName: "three", Rank: 3, BestScore: 200, LatestScore: 50, ResultCount: 4},
	}
	tests := []struct {
		name       string
		board      []*portalv1.Standing
		sent, done float64
		kind       load.Kind
		text       string
	}{
		{"before it was sent, without it", withoutIt, 9, 9.5, load.OK, ""},
		{"before it was sent, with it", withIt, 9, 9.5, load.Wrong, "more results"},
		{"while it is under way, without it", withoutIt, 10.2, 10.5, load.OK, ""},
		{"while it is under way, with it", withIt, 10.2, 10.5, load.OK, ""},
		{"0.9 s after it was acknowledged, without it", withoutIt, 11.9, 12, load.OK, ""},
		{"1.1 s after it was acknowledged, without it", withoutIt, 12.1, 12.2, load.Stale, "lacks a result"},
		{"1.1 s after it was acknowledged, with it", withIt, 12.1, 12.2, load.OK, ""},
		{"first 1, without its team", withoutIt[:1], 12.1, 12.2, load.Stale, "lacks a team"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := testModel()
			withResult(m)
			limit := 25
			if len(tt.board) == 1 {
				limit = 1
			}
			wantFault(t, m.checkLeaderboard(tt.board, limit, at(tt.sent), at(tt.done)), tt.kind, tt.text)
		})
	}
}

func TestUnknownOutcomeMayBeSeenOrNot(t *testing.T) {
	m := testModel()
	j := withResult(m)
	j.result.acked = time.Time{}
	for _, count := range []int32{1, 2} {
		s := &portalv1.Standing{TeamId: 2, TeamName: "two", BestScore: 200, LatestScore: 200, ResultCount: count}
		if count == 2 {
			s.BestScore, s.LatestScore = 500, 500
		}
		wantFault(t, m.team(2).standing(at(60), at(61)).check(s), load.OK, "")
	}
}

func TestRankBounds(t *testing.T) {
	m := testModel()
	withResult(m)
	tests := []struct {
		team        int64
		low, high   float64
		best, worst int32
	}{
		{1, 5, 6, 1, 1}, {2, 5, 6, 2, 2}, {3, 5, 6, 3, 3}, {4, 5, 6, 0, 0},
		{2, 10.2, 10.5, 1, 2}, {1, 10.2, 10.5, 1, 2}, {2, 20, 21, 1, 1}, {1, 20, 21, 2, 2},
	}
	for _, tt := range tests {
		best, worst := m.rankBounds(m.team(tt.team), at(tt.low), at(tt.high))
		if best != tt.best || worst != tt.worst {
			t.Errorf("rankBounds(team %d, %v, %v) = %d, %d, want %d, %d", tt.team, tt.low, tt.high, best, worst, tt.best, tt.worst)
		}
	}
}

func TestCheckJobs(t *testing.T) {
	right := func() *portalv1.Job {
		return &portalv1.Job{Id: 9, TeamId: 2, Target: "t", Memo: "memo", CreatedAtUs: t0.UnixMicro(), Status: portalv1.JobStatus_JOB_STATUS_FINISHED, Score: 500, Passed: true, Reason: "ok"}
	}
	tests := []struct {
		name   string
		sent   float64
		break_ func(j *portalv1.Job)
		kind   load.Kind
		text   string
	}{
		{"right", 12, func(*portalv1.Job) {}, load.OK, ""},
		{"another team's", 12, func(j *portalv1.Job) { j.TeamId = 1 }, load.Wrong, "another team's"},
		{"applied twice", 12, func(j *portalv1.Job) { j.Id = 10 }, load.Wrong, "is listed twice"},
		{"from nowhere", 12, func(j *portalv1.Job) { j.Id, j.Memo = 10, "x" }, load.Wrong, "nobody enqueued"},
		{"other memo", 12, func(j *portalv1.Job) { j.Memo = "x" }, load.Wrong, "other contents"},
		{"still running", 12, func(j *portalv1.Job) { j.Status = portalv1.JobStatus_JOB_STATUS_RUNNING }, load.Stale, "old status"},
		{"finished before its result", 5, func(*portalv1.Job) {}, load.Wrong, "finished without a result"},
		{"waiting after it was received", 5, func(j *portalv1.Job) { j.Status = portalv1.JobStatus_JOB_STATUS_WAITING }, load.Stale, "old status"},
		{"other score", 12, func(j *portalv1.Job) { j.Score = 1 }, load.Wrong, "another result"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := testModel()
			withResult(m)
			j := right()
			tt.break_(j)
			err := m.checkJobs(m.team(2), []*portalv1.Job{j}, page{limit: 10}, at(tt.sent), at(tt.sent+0.1))
			wantFault(t, err, tt.kind, tt.text)
		})
	}
	m := testModel()
	withResult(m)
	wantFault(t, m.checkJobs(m.team(2), nil, page{limit: 10}, at(5), at(5.1)), load.Stale, "lacks a job")
	wantFault(t, m.checkJobs(m.team(2), nil, page{limit: 10}, at(1.5), at(1.6)), load.OK, "")
}

func TestNotificationsHaveNoGap(t *testing.T) {
	m := testModel()
	j := withResult(m)
	n := func(seq, job int64) *portalv1.Notification {
		return &portalv1.Notification{Seq: seq, CreatedAtUs: t0.UnixMicro(), Subject: &portalv1.Notification_FinishedJobId{FinishedJobId: job}}
	}
	take := func(sent float64, ns ...*portalv1.Notification) error {
		in := &inbox{}
		return in.take(m, m.team(2), ns, at(sent), at(sent+0.1))
	}
	wantFault(t, take(12, n(1, j.id)), load.OK, "")
	wantFault(t, take(12), load.Stale, "no notification")
	wantFault(t, take(12, n(2, j.id)), load.Wrong, "gap")
	wantFault(t, take(12, n(1, j.id), n(2, j.id)), load.Wrong, "twice")
	wantFault(t, take(5, n(1, j.id)), load.Wrong, "not finished")
	wantFault(t, take(12, n(1, 77)), load.Wrong, "another team's")
}
