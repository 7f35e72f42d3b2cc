package app_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	portalv1 "isukit/proto/portal/v1"
)

func enqueue(t *testing.T, c *client) *portalv1.Job {
	t.Helper()
	var res portalv1.EnqueueJobResponse
	c.do(t, "POST", "/api/jobs", &portalv1.EnqueueJobRequest{Target: "10.0.0.1", Memo: "メモ"}, &res)
	return res.Job
}

// receive gives nil when nothing waits.
func receive(t *testing.T, worker *client, name string) *portalv1.Job {
	t.Helper()
	var res portalv1.ReceiveJobResponse
	worker.do(t, "POST", "/worker/jobs/receive", &portalv1.ReceiveJobRequest{Worker: name}, &res)
	return res.Job
}

// finish receives what must be j and reports its result, whose id it gives.
func finish(t *testing.T, worker *client, j *portalv1.Job, score int64, passed bool) int64 {
	t.Helper()
	if got := receive(t, worker, "w"); got.GetId() != j.Id {
		t.Fatalf("received %v, want job %d", got, j.Id)
	}
	var res portalv1.ReportResultResponse
	worker.do(t, "POST", fmt.Sprintf("/worker/jobs/%d/result", j.Id),
		&portalv1.ReportResultRequest{Worker: "w", Score: score, Passed: passed, Reason: "理由"}, &res)
	return res.ResultId
}

func testJobs(t *testing.T, s *site) {
	c := s.login(t, s.member(t, 0))
	for _, bad := range []*portalv1.EnqueueJobRequest{
		{}, {Target: strings.Repeat("x", 256)}, {Target: "x", Memo: strings.Repeat("あ", 1001)},
	} {
		f := c.refused(t, 400, "bad_field", "POST", "/api/jobs", bad)
		if !strings.HasPrefix(f.Message, "target") && !strings.HasPrefix(f.Message, "memo") {
			t.Errorf("the refusal of %v does not name the field: %q", bad, f.Message)
		}
	}
	s.login(t, s.free(t, 0)).refused(t, 403, "no_team", "POST", "/api/jobs", &portalv1.EnqueueJobRequest{Target: "x"})
	s.login(t, s.free(t, 0)).refused(t, 403, "no_team", "GET", "/api/jobs", nil)
	s.admin(t).refused(t, 403, "no_team", "GET", "/api/jobs", nil)

	req := &portalv1.EnqueueJobRequest{Target: strings.Repeat("x", 255), Memo: strings.Repeat("🍣", 1000)}
	var res portalv1.EnqueueJobResponse
	c.do(t, "POST", "/api/jobs", req, &res)
	want := &portalv1.Job{
		Id: res.Job.GetId(), TeamId: s.data.Teams[0].ID, Status: portalv1.JobStatus_JOB_STATUS_WAITING, Target: req.Target,
		Memo: req.Memo, CreatedAtUs: res.Job.GetCreatedAtUs(),
	}
	checkJob(t, s, c, want)
	c.refused(t, 409, "job_unfinished", "POST", "/api/jobs", req)
	enqueue(t, s.login(t, s.member(t, 1))) // another team's is another matter

	worker, path := s.worker(), fmt.Sprintf("/worker/jobs/%d", want.Id)
	got := receive(t, worker, "w")
	want.Status, want.StartedAtUs = portalv1.JobStatus_JOB_STATUS_RUNNING, got.GetStartedAtUs()
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" || want.StartedAtUs < want.CreatedAtUs {
		t.Errorf("received (-want +got):\n%s", diff)
	}
	checkJob(t, s, c, want)
	c.refused(t, 409, "job_unfinished", "POST", "/api/jobs", req)

	worker.do(t, "POST", path+"/progress", &portalv1.ReportProgressRequest{Worker: "w", Score: 70}, &portalv1.ReportProgressResponse{})
	want.Score = 70
	checkJob(t, s, c, want)
	worker.do(t, "POST", path+"/result", &portalv1.ReportResultRequest{Worker: "w", Score: 60, Passed: true, Reason: "良"}, &portalv1.ReportResultResponse{})
	want.Status, want.Score, want.Passed, want.Reason = portalv1.JobStatus_JOB_STATUS_FINISHED, 60, true, "良"
	var shown portalv1.GetJobResponse
	c.do(t, "GET", fmt.Sprint("/api/jobs/", want.Id), nil, &shown)
	want.FinishedAtUs = shown.Job.GetFinishedAtUs()
	checkJob(t, s, c, want)
	enqueue(t, c)
}

// checkJob wants the job to be shown so to its team, and not at all to another.
func checkJob(t *testing.T, s *site, c *client, want *portalv1.Job) {
	t.Helper()
	path := fmt.Sprint("/api/jobs/", want.Id)
	var shown portalv1.GetJobResponse
	c.do(t, "GET", path, nil, &shown)
	if diff := cmp.Diff(want, shown.Job, protocmp.Transform()); diff != "" {
		t.Errorf("shown (-want +got):\n%s", diff)
	}
	var list portalv1.ListJobsResponse
	c.do(t, "GET", "/api/jobs", nil, &list)
	var dashboard portalv1.GetDashboardResponse
	c.do(t, "GET", "/api/dashboard", nil, &dashboard)
	for _, first := range []*portalv1.Job{list.Jobs[0], dashboard.Jobs[0]} {
		if diff := cmp.Diff(want, first, protocmp.Transform()); diff != "" {
			t.Errorf("first of the list or the dashboard (-want +got):\n%s", diff)
		}
	}
	s.login(t, s.member(t, 2)).refused(t, 404, "not_found", "GET", path, nil)
	s.login(t, s.free(t, 0)).refused(t, 404, "not_found", "GET", path, nil)
}

func testJobLists(t *testing.T, s *site) {
	c := s.login(t, s.member(t, 0))
	want := wantJobs(s.data, s.data.Teams[0].ID)
	for len(want) <= 100 { // more than a page
		j := enqueue(t, c)
		finish(t, s.worker(), j, int64(len(want)), true)
		var shown portalv1.GetJobResponse
		c.do(t, "GET", fmt.Sprint("/api/jobs/", j.Id), nil, &shown)
		want = slices.Insert(want, 0, shown.Job)
	}
	for _, tt := range []struct {
		query       string
		first, last int
	}{
		{"", 0, 100}, {"?before=", 0, 100}, {"?before=9223372036854775807", 0, 100},
		{fmt.Sprint("?before=", want[3].Id), 4, len(want)}, {fmt.Sprint("?before=", want[len(want)-2].Id), len(want) - 1, len(want)}, {"?before=1", 0, 0},
	} {
		var res portalv1.ListJobsResponse
		c.do(t, "GET", "/api/jobs"+tt.query, nil, &res)
		if diff := cmp.Diff(want[tt.first:min(tt.last, tt.first+100)], append([]*portalv1.Job{}, res.Jobs...), protocmp.Transform()); diff != "" {
			t.Errorf("jobs%s (-want +got):\n%s", tt.query, diff)
		}
	}
	for _, before := range []string{"0", "-1", "x", "9223372036854775808"} {
		c.refused(t, 400, "bad_parameter", "GET", "/api/jobs?before="+before, nil)
	}
	c.refused(t, 404, "not_found", "GET", "/api/jobs/x", nil)
	c.refused(t, 404, "not_found", "GET", "/api/jobs/1", nil)
}

func testWorkers(t *testing.T, s *site) {
	for _, token := range []string{"", "wrong token", workerToken + "x", workerToken[1:]} {
		c := s.client()
		c.token = token
		c.refused(t, 401, "bad_worker_token", "POST", "/worker/jobs/receive", &portalv1.ReceiveJobRequest{Worker: "w"})
		c.refused(t, 401, "bad_worker_token", "POST", "/worker/jobs/1/progress", &portalv1.ReportProgressRequest{Worker: "w"})
		c.refused(t, 401, "bad_worker_token", "POST", "/worker/jobs/1/result", &portalv1.ReportResultRequest{Worker: "w"})
	}
	s.admin(t).refused(t, 401, "bad_worker_token", "POST", "/worker/jobs/receive", &portalv1.ReceiveJobRequest{Worker: "w"})
	worker := s.worker()
	for _, name := range []string{"", strings.Repeat("w", 65)} {
		worker.refused(t, 400, "bad_field", "POST", "/worker/jobs/receive", &portalv1.ReceiveJobRequest{Worker: name})
		worker.refused(t, 400, "bad_field", "POST", "/worker/jobs/1/progress", &portalv1.ReportProgressRequest{Worker: name})
		worker.refused(t, 400, "bad_field", "POST", "/worker/jobs/1/result", &portalv1.ReportResultRequest{Worker: name})
	}
	if got := receive(t, worker, strings.Repeat("w", 64)); got != nil {
		t.Fatalf("received %v where nothing waits", got)
	}
	// Oldest first.
	var want, got []int64
	for _, n := range []int{4, 1, 3, 2} {
		want = append(want, enqueue(t, s.login(t, s.member(t, n))).Id)
	}
	for j := receive(t, worker, "w"); j != nil; j = receive(t, worker, "w") {
		got = append(got, j.Id)
	}
	if !slices.Equal(got, want) {
		t.Errorf("received %v, want %v", got, want)
	}
}

func testResults(t *testing.T, s *site) {
	worker, c := s.worker(), s.login(t, s.member(t, 0))
	j := enqueue(t, c)
	path := fmt.Sprintf("/worker/jobs/%d", j.Id)
	worker.refused(t, 409, "job_not_received", "POST", path+"/progress", &portalv1.ReportProgressRequest{Worker: "w"})
	worker.refused(t, 409, "job_not_received", "POST", path+"/result", &portalv1.ReportResultRequest{Worker: "w"})
	receive(t, worker, "w")
	for _, id := range []string{"1", "0", "x"} {
		worker.refused(t, 404, "not_found", "POST", "/worker/jobs/"+id+"/progress", &portalv1.ReportProgressRequest{Worker: "w"})
		worker.refused(t, 404, "not_found", "POST", "/worker/jobs/"+id+"/result", &portalv1.ReportResultRequest{Worker: "w"})
	}
	worker.refused(t, 403, "not_your_job", "POST", path+"/progress", &portalv1.ReportProgressRequest{Worker: "W"})
	worker.refused(t, 403, "not_your_job", "POST", path+"/result", &portalv1.ReportResultRequest{Worker: "w "})
	worker.refused(t, 400, "bad_field", "POST", path+"/progress", &portalv1.ReportProgressRequest{Worker: "w", Score: -1})
	worker.refused(t, 400, "bad_field", "POST", path+"/result", &portalv1.ReportResultRequest{Worker: "w", Score: -1})
	worker.refused(t, 400, "bad_field", "POST", path+"/result", &portalv1.ReportResultRequest{Worker: "w", Reason: strings.Repeat("あ", 1001)})
	for _, score := range []int64{10, 10, 20} {
		worker.do(t, "POST", path+"/progress", &portalv1.ReportProgressRequest{Worker: "w", Score: score}, &portalv1.ReportProgressResponse{})
	}
	worker.refused(t, 409, "score_went_down", "POST", path+"/progress", &portalv1.ReportProgressRequest{Worker: "w", Score: 19})

	var res portalv1.ReportResultResponse
	result := &portalv1.ReportResultRequest{Worker: "w", Score: 9_000_000_000, Passed: true, Reason: strings.Repeat("あ", 1000)}
	worker.do(t, "POST", path+"/result", result, &res)
	if res.ResultId <= j.Id {
		t.Errorf("result %d is not after job %d", res.ResultId, j.Id)
	}
	worker.refused(t, 409, "job_finished", "POST", path+"/result", result)
	worker.refused(t, 409, "job_finished", "POST", path+"/progress", &portalv1.ReportProgressRequest{Worker: "w", Score: 99})
	worker.refused(t, 403, "not_your_job", "POST", path+"/result", &portalv1.ReportResultRequest{Worker: "other"})

	var board portalv1.GetLeaderboardResponse
	s.client().do(t, "GET", "/api/leaderboard?limit=1", nil, &board)
	if first := board.Standings[0]; first.TeamId != s.data.Teams[0].ID || first.BestScore != 9_000_000_000 || first.LatestScore != 9_000_000_000 {
		t.Errorf("first of the leaderboard is %v", first)
	}
	// A lower one changes the latest score only, one that did not pass changes nothing.
	finish(t, worker, enqueue(t, c), 5, true)
	finish(t, worker, enqueue(t, c), 9_999_999_999, false)
	count := board.Standings[0].ResultCount
	s.client().do(t, "GET", "/api/leaderboard?limit=1", nil, &board)
	if first := board.Standings[0]; first.BestScore != 9_000_000_000 || first.LatestScore != 5 || first.ResultCount != count+1 {
		t.Errorf("first of the leaderboard is %v, had %d results", first, count)
	}
}

func testClarifications(t *testing.T, s *site) {
	asker, other, admin := s.login(t, s.member(t, 0)), s.login(t, s.member(t, 1)), s.admin(t)
	for _, question := range []string{"", strings.Repeat("あ", 2001)} {
		asker.refused(t, 400, "bad_field", "POST", "/api/clarifications", &portalv1.AskClarificationRequest{Question: question})
	}
	s.login(t, s.free(t, 0)).refused(t, 403, "no_team", "POST", "/api/clarifications", &portalv1.AskClarificationRequest{Question: "?"})

	var asked portalv1.AskClarificationResponse
	asker.do(t, "POST", "/api/clarifications", &portalv1.AskClarificationRequest{Question: strings.Repeat("🍣", 2000)}, &asked)
	want := asked.Clarification
	if want.GetTeamId() != s.data.Teams[0].ID || want.GetAnswer() != "" || want.GetDisclosed() || want.GetAskedAtUs() == 0 || want.GetAnsweredAtUs() != 0 {
		t.Errorf("asked %v", want)
	}
	checkQuestion(t, "unanswered", want, map[*client]bool{asker: true, other: false, admin: true})

	path := fmt.Sprint("/api/clarifications/", want.Id)
	asker.refused(t, 403, "not_admin", "PUT", path, &portalv1.AnswerClarificationRequest{Answer: "yes"})
	admin.refused(t, 400, "bad_field", "PUT", path, &portalv1.AnswerClarificationRequest{})
	admin.refused(t, 400, "bad_field", "PUT", path, &portalv1.AnswerClarificationRequest{Answer: strings.Repeat("あ", 2001)})
	for _, id := range []string{"1", "x", "-1"} {
		admin.refused(t, 404, "not_found", "PUT", "/api/clarifications/"+id, &portalv1.AnswerClarificationRequest{Answer: "yes"})
	}
	for _, a := range []*portalv1.AnswerClarificationRequest{{Answer: "yes"}, {Answer: "はい", Disclosed: true}, {Answer: "no"}} {
		var res portalv1.AnswerClarificationResponse
		admin.do(t, "PUT", path, a, &res)
		want.Answer, want.Disclosed, want.AnsweredAtUs = a.Answer, a.Disclosed, res.Clarification.GetAnsweredAtUs()
		if diff := cmp.Diff(want, res.Clarification, protocmp.Transform()); diff != "" || want.AnsweredAtUs < want.AskedAtUs {
			t.Errorf("answered (-want +got):\n%s", diff)
		}
		checkQuestion(t, a.Answer, want, map[*client]bool{asker: true, other: a.Disclosed, s.login(t, s.free(t, 0)): a.Disclosed, admin: true})
	}
	testClarificationPages(t, s, admin)
	asker.refused(t, 400, "bad_parameter", "GET", "/api/clarifications?before=0", nil)
}

// checkQuestion wants want to be the newest that a client reads, or not to be read.
func checkQuestion(t *testing.T, state string, want *portalv1.Clarification, sees map[*client]bool) {
	t.Helper()
	for c, yes := range sees {
		var list portalv1.ListClarificationsResponse
		c.do(t, "GET", "/api/clarifications", nil, &list)
		i := slices.IndexFunc(list.Clarifications, func(q *portalv1.Clarification) bool { return q.Id == want.Id })
		if yes && i != 0 || !yes && i >= 0 {
			t.Errorf("%s: the question is at %d of the list, seen should be %v", state, i, yes)
			continue
		}
		if yes {
			if diff := cmp.Diff(want, list.Clarifications[0], protocmp.Transform()); diff != "" {
				t.Errorf("%s: listed (-want +got):\n%s", state, diff)
			}
		}
	}
}

// testClarificationPages reads the dataset's 30 and the one asked, as admin, in pages of 30.
func testClarificationPages(t *testing.T, s *site, admin *client) {
	t.Helper()
	var first, second portalv1.ListClarificationsResponse
	admin.do(t, "GET", "/api/clarifications", nil, &first)
	if len(first.Clarifications) != 30 {
		t.Fatalf("the first page has %d questions, want 30", len(first.Clarifications))
	}
	admin.do(t, "GET", fmt.Sprint("/api/clarifications?before=", first.Clarifications[29].Id), nil, &second)
	got := append(first.Clarifications[1:], second.Clarifications...)
	slices.Reverse(got)
	var want []*portalv1.Clarification
	for _, c := range s.data.Clarifications {
		want = append(want, &portalv1.Clarification{
			Id: c.ID, TeamId: c.TeamID, Question: c.Question, Answer: c.Answer, Disclosed: c.Disclosed,
			AskedAtUs: c.AskedAtUS, AnsweredAtUs: c.AnsweredAtUS,
		})
	}
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Errorf("the dataset's questions (-want +got):\n%s", diff)
	}
}

func testNotifications(t *testing.T, s *site) {
	c, other, worker, admin := s.login(t, s.member(t, 0)), s.login(t, s.member(t, 1)), s.worker(), s.admin(t)
	s.login(t, s.free(t, 0)).refused(t, 403, "no_team", "GET", "/api/notifications", nil)
	for _, after := range []string{"-1", "x", "9223372036854775808"} {
		c.refused(t, 400, "bad_parameter", "GET", "/api/notifications?after="+after, nil)
	}
	var asked portalv1.AskClarificationResponse
	c.do(t, "POST", "/api/clarifications", &portalv1.AskClarificationRequest{Question: "?"}, &asked)
	var want []*portalv1.Notification
	for n := range 105 {
		m := &portalv1.Notification{Seq: int64(n + 1)}
		if n%5 == 0 {
			admin.do(t, "PUT", fmt.Sprint("/api/clarifications/", asked.Clarification.Id),
				&portalv1.AnswerClarificationRequest{Answer: fmt.Sprint(n)}, &portalv1.AnswerClarificationResponse{})
			m.Subject = &portalv1.Notification_AnsweredClarificationId{AnsweredClarificationId: asked.Clarification.Id}
		} else {
			j := enqueue(t, c)
			finish(t, worker, j, 1, n%2 == 0)
			m.Subject = &portalv1.Notification_FinishedJobId{FinishedJobId: j.Id}
		}
		want = append(want, m)
	}
	for after, rest := range map[string][]*portalv1.Notification{"": want[:100], "?after=": want[:100], "?after=0": want[:100], "?after=100": want[100:], "?after=105": nil} {
		var res portalv1.ListNotificationsResponse
		c.do(t, "GET", "/api/notifications"+after, nil, &res)
		diff := cmp.Diff(rest, res.Notifications, protocmp.Transform(), protocmp.IgnoreFields(&portalv1.Notification{}, "created_at_us"))
		if diff != "" {
			t.Errorf("notifications%s (-want +got):\n%s", after, diff)
		}
	}
	var res portalv1.ListNotificationsResponse
	other.do(t, "GET", "/api/notifications", nil, &res)
	if len(res.Notifications) != 0 {
		t.Errorf("another team reads %v", res.Notifications)
	}
}
