package scenario

import (
	"context"
	"fmt"
	"slices"
	"time"

	"isukit/bench/load"
	portalv1 "isukit/proto/portal/v1"
)

const (
	dashboardJobs        = 10
	dashboardLeaderboard = 25
	listedJobs           = 100
	// unseenAfter is how long a write of unknown outcome is waited for before the user goes on without it.
	unseenAfter = 3 * time.Second
)

func (c *contestant) dashboard(ctx context.Context) error {
	var resp portalv1.GetDashboardResponse
	return c.do(ctx, &call{route: "GET /api/dashboard", into: &resp, check: func(r *load.Response) error {
		return c.checkDashboard(&resp, r.Sent, r.Done)
	}})
}

func (c *contestant) checkDashboard(d *portalv1.GetDashboardResponse, sent, done time.Time) error {
	if got := d.Own.GetTeamId(); got != c.team.id {
		return load.Faultf(load.Wrong, "answer is another team's", "dashboard of team %d instead of %d", got, c.team.id)
	}
	if d.Own.TeamName != c.team.name {
		return load.Faultf(load.Wrong, "dashboard shows a wrong team name", "%q instead of %q", d.Own.TeamName, c.team.name)
	}
	if err := c.team.standing(sent, done).check(d.Own); err != nil {
		return err
	}
	// The rank is the leaderboard's, which may be older than the team's own numbers.
	best, worst := c.model.rankBounds(c.team, sent.Add(-leaderboardAge), done)
	if d.Own.Rank < best || d.Own.Rank > worst {
		return load.Faultf(load.Wrong, "dashboard shows a wrong rank", "team %d: rank %d, must be %d to %d", c.team.id, d.Own.Rank, best, worst)
	}
	if err := c.model.checkLeaderboard(d.Leaderboard, dashboardLeaderboard, sent, done); err != nil {
		return err
	}
	return c.model.checkJobs(c.team, d.Jobs, page{limit: dashboardJobs}, sent, done)
}

// checkJobs holds a page of a team's jobs against the model.
func (m *model) checkJobs(t *team, jobs []*portalv1.Job, p page, sent, done time.Time) error {
	oldest, err := p.check("jobs", len(jobs), func(i int) int64 { return jobs[i].Id })
	if err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, j := range jobs {
		if err := m.checkJob(t, j, sent, done); err != nil {
			return err
		}
	}
	for _, j := range t.jobs {
		if !j.enqueued.certainBy(sent) || !p.holds(j.id, oldest, len(jobs)) {
			continue
		}
		if !slices.ContainsFunc(jobs, func(got *portalv1.Job) bool { return got.Id == j.id }) {
			return load.Faultf(load.Stale, "list lacks a job that was acknowledged", "team %d: job %d (%q)", t.id, j.id, j.memo)
		}
	}
	return nil
}

// checkJob holds one job against the model; the caller holds the team's lock.
func (m *model) checkJob(t *team, got *portalv1.Job, sent, done time.Time) error {
	if got.GetTeamId() != t.id {
		return load.Faultf(load.Wrong, "answer is another team's", "job %d of team %d instead of %d", got.GetId(), got.GetTeamId(), t.id)
	}
	j := t.jobByID(got.Id)
	if j == nil {
		if m.ofDataset(got.CreatedAtUs) {
			return nil
		}
		if j = t.jobByMemo(got.Memo); j == nil {
			return load.Faultf(load.Wrong, "a job is listed that nobody enqueued", "team %d: job %d (%q)", t.id, got.Id, got.Memo)
		}
		if j.id != 0 {
			return load.Faultf(load.Wrong, "a job that was enqueued once is listed twice", "team %d: jobs %d and %d (%q)", t.id, j.id, got.Id, got.Memo)
		}
		j.id = got.Id
	}
	if got.Target != j.target || got.Memo != j.memo {
		return load.Faultf(load.Wrong, "job has other contents than were sent", "job %d: %q %q instead of %q %q", j.id, got.Target, got.Memo, j.target, j.memo)
	}
	return j.checkState(got, sent, done)
}

// checkState holds a job's status, score and result against what workers have reported.
func (j *job) checkState(got *portalv1.Job, sent, done time.Time) error {
	low := portalv1.JobStatus_JOB_STATUS_WAITING
	switch {
	case j.result != nil && j.result.certainBy(sent):
		low = portalv1.JobStatus_JOB_STATUS_FINISHED
	case j.received.certainBy(sent):
		low = portalv1.JobStatus_JOB_STATUS_RUNNING
	}
	if got.Status < low {
		return load.Faultf(load.Stale, "job has an old status", "job %d: %v, is %v at least", j.id, got.Status, low)
	}
	switch got.Status {
	case portalv1.JobStatus_JOB_STATUS_WAITING:
		return nil
	case portalv1.JobStatus_JOB_STATUS_RUNNING:
		return j.checkProgress(got, sent, done)
	case portalv1.JobStatus_JOB_STATUS_FINISHED:
		return j.checkResult(got, done)
	}
	return load.Faultf(load.Wrong, "job has no status", "job %d: %v", j.id, got.Status)
}

func (j *job) checkProgress(got *portalv1.Job, sent, done time.Time) error {
	var low, high int64
	for _, p := range j.progress {
		if p.certainBy(sent) {
			low = p.score
		}
		if p.possibleBy(done) {
			high = p.score
		}
	}
	if got.Score < low {
		return load.Faultf(load.Stale, "job has an old score", "job %d: %d, is %d at least", j.id, got.Score, low)
	}
	if got.Score > high {
		return load.Faultf(load.Wrong, "job has a score that was never reported", "job %d: %d, is %d at most", j.id, got.Score, high)
	}
	return nil
}

func (j *job) checkResult(got *portalv1.Job, done time.Time) error {
	r := j.result
	if r == nil || !r.possibleBy(done) {
		return load.Faultf(load.Wrong, "job is finished without a result", "job %d", j.id)
	}
	if got.Score != r.score || got.Passed != r.passed || got.Reason != r.reason {
		return load.Faultf(load.Wrong, "job has another result than was reported", "job %d: %d %t %q instead of %d %t %q", j.id, got.Score, got.Passed, got.Reason, r.score, r.passed, r.reason)
	}
	r.observed = true
	return nil
}

// free reports whether the team may enqueue: its last job is known to have ended.
func (t *team) free(now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.jobs) == 0 {
		return true
	}
	j := t.jobs[len(t.jobs)-1]
	if j.id == 0 {
		return now.Sub(j.enqueued.sent) > unseenAfter
	}
	return j.result != nil && (j.result.observed || j.result.certainBy(now))
}

func (c *contestant) enqueue(ctx context.Context, memo string) error {
	if !c.team.free(time.Now()) {
		return nil
	}
	_, err := c.enqueueJob(ctx, c.team, memo)
	return err
}

// enqueueJob enqueues a job of the browser's team and keeps the model; a refused job leaves no trace in it.
func (b *browser) enqueueJob(ctx context.Context, t *team, memo string) (*job, error) {
	j := &job{team: t, target: fmt.Sprintf("10.0.%d.%d", t.id>>8&255, t.id&255), memo: memo, enqueued: write{sent: time.Now()}}
	t.mu.Lock()
	t.jobs = append(t.jobs, j)
	t.mu.Unlock()
	var resp portalv1.EnqueueJobResponse
	c := &call{
		route: "POST /api/jobs", body: &portalv1.EnqueueJobRequest{Target: j.target, Memo: memo}, into: &resp,
		check: func(r *load.Response) error {
			t.mu.Lock()
			defer t.mu.Unlock()
			if err := b.p.model.checkJob(t, resp.Job, r.Sent, r.Done); err != nil {
				return err
			}
			j.enqueued.ack(r.Done)
			return nil
		},
	}
	err := b.do(ctx, c)
	if c.outcome(err) == notApplied {
		t.mu.Lock()
		t.jobs = slices.DeleteFunc(t.jobs, func(o *job) bool { return o == j })
		t.mu.Unlock()
	}
	return j, err
}

func (b *browser) listJobs(ctx context.Context, t *team, before int64) ([]*portalv1.Job, error) {
	var resp portalv1.ListJobsResponse
	p := page{before: before, limit: listedJobs}
	err := b.do(ctx, &call{route: "GET /api/jobs", query: p.query(), into: &resp, check: func(r *load.Response) error {
		return b.p.model.checkJobs(t, resp.Jobs, p, r.Sent, r.Done)
	}})
	return resp.Jobs, err
}

func (c *contestant) showJob(ctx context.Context) error {
	c.team.mu.Lock()
	var id int64
	for _, j := range c.team.jobs {
		id = max(id, j.id)
	}
	c.team.mu.Unlock()
	if id == 0 {
		return nil
	}
	return c.getJob(ctx, c.team, id)
}

func (b *browser) getJob(ctx context.Context, t *team, id int64) error {
	var resp portalv1.GetJobResponse
	return b.do(ctx, &call{route: "GET /api/jobs/{job_id}", id: id, into: &resp, check: func(r *load.Response) error {
		if resp.Job.GetId() != id {
			return load.Faultf(load.Wrong, "answer is another job's", "asked for job %d, answered %d", id, resp.Job.GetId())
		}
		t.mu.Lock()
		defer t.mu.Unlock()
		return b.p.model.checkJob(t, resp.Job, r.Sent, r.Done)
	}})
}
