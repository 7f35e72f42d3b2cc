package app

import (
	"context"
	"database/sql"
	"errors"

	"github.com/jmoiron/sqlx"

	portalv1 "isukit/proto/portal/v1"
)

const (
	jobsPerPage    = 100
	dashboardJobs  = 10
	statusWaiting  = int64(portalv1.JobStatus_JOB_STATUS_WAITING)
	statusRunning  = int64(portalv1.JobStatus_JOB_STATUS_RUNNING)
	statusFinished = int64(portalv1.JobStatus_JOB_STATUS_FINISHED)
	// statusUntold is that of a finished job whose team is yet to be notified: see tellTeam.
	statusUntold   = statusFinished + 1
	maxMemoChars   = 1000
	maxReasonChars = 1000
	maxTargetBytes = 255
	maxWorkerBytes = 64
)

type job struct {
	ID           int64  `db:"id"`
	TeamID       int64  `db:"team_id"`
	Status       int64  `db:"status"`
	Target       string `db:"target"`
	Memo         string `db:"memo"`
	Worker       string `db:"worker"`
	Score        int64  `db:"score"`
	Passed       bool   `db:"passed"`
	Reason       string `db:"reason"`
	CreatedAtUS  int64  `db:"created_at_us"`
	StartedAtUS  int64  `db:"started_at_us"`
	FinishedAtUS int64  `db:"finished_at_us"`
}

const selectJob = "SELECT id, team_id, status, target, memo, worker, score, passed, reason, created_at_us, started_at_us," +
	" finished_at_us FROM jobs"

func (j *job) proto() *portalv1.Job {
	return &portalv1.Job{
		Id: j.ID, TeamId: j.TeamID, Status: portalv1.JobStatus(min(j.Status, statusFinished)), Target: j.Target, Memo: j.Memo, Score: j.Score,
		Passed: j.Passed, Reason: j.Reason, CreatedAtUs: j.CreatedAtUS, StartedAtUs: j.StartedAtUS, FinishedAtUs: j.FinishedAtUS,
	}
}

func (p *portal) enqueueJob(ctx context.Context, c *call, m *portalv1.EnqueueJobRequest) (*portalv1.EnqueueJobResponse, error) {
	if err := checkBytes("target", m.GetTarget(), 1, maxTargetBytes); err != nil {
		return nil, err
	}
	if err := checkChars("memo", m.GetMemo(), 0, maxMemoChars); err != nil {
		return nil, err
	}
	if c.caller.TeamID == 0 {
		return nil, noTeam
	}
	j := job{TeamID: c.caller.TeamID, Status: statusWaiting, Target: m.GetTarget(), Memo: m.GetMemo()}
	if err := p.needJobsOpen(ctx, p.Store.Reader()); err != nil {
		return nil, err
	}
	err := writeTx(ctx, p.jobs(), func(tx *sqlx.Tx) error { return p.insertJob(ctx, tx, &j) })
	if isSQL(err, errDuplicate) {
		return nil, conflict("job_unfinished", "the team has a job that has not finished")
	}
	if err != nil {
		return nil, err
	}
	return &portalv1.EnqueueJobResponse{Job: j.proto()}, nil
}

// insertJob fails with errDuplicate if the team has an unfinished job, also one just being inserted: a unique key ensures it.
func (p *portal) insertJob(ctx context.Context, tx *sqlx.Tx, j *job) error {
	j.ID, j.CreatedAtUS = p.ids.Next(), p.nowUS()
	_, err := tx.ExecContext(ctx, "INSERT INTO jobs (id, team_id, status, unfinished_team_id, target, memo, worker, score, passed,"+
		" reason, created_at_us, started_at_us, finished_at_us) VALUES (?, ?, ?, ?, ?, ?, '', 0, 0, '', ?, 0, 0)",
		j.ID, j.TeamID, j.Status, j.TeamID, j.Target, j.Memo, j.CreatedAtUS)
	return err
}

func (p *portal) listJobs(ctx context.Context, c *call) (*portalv1.ListJobsResponse, error) {
	q, err := queryOf(c.r)
	if err != nil {
		return nil, err
	}
	before, err := q.before()
	if err != nil {
		return nil, err
	}
	if c.caller.TeamID == 0 {
		return nil, noTeam
	}
	jobs, err := newestJobs(ctx, p.jobs().Reader(), c.caller.TeamID, before, jobsPerPage)
	if err != nil {
		return nil, err
	}
	return &portalv1.ListJobsResponse{Jobs: jobs}, nil
}

// newestJobs gives a team's jobs with an id below before, newest first.
func newestJobs(ctx context.Context, q sqlx.QueryerContext, teamID, before int64, limit int) ([]*portalv1.Job, error) {
	var rows []job
	err := sqlx.SelectContext(ctx, q, &rows, selectJob+" WHERE team_id = ? AND id < ? ORDER BY id DESC LIMIT ?", teamID, before, limit)
	if err != nil {
		return nil, err
	}
	jobs := make([]*portalv1.Job, len(rows))
	for i := range rows {
		jobs[i] = rows[i].proto()
	}
	return jobs, nil
}

func (p *portal) getJob(ctx context.Context, c *call) (*portalv1.GetJobResponse, error) {
	id, err := pathID(c.r, "job_id", "job")
	if err != nil {
		return nil, err
	}
	var j job
	err = p.jobs().Reader().GetContext(ctx, &j, selectJob+" WHERE id = ?", id)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return nil, err
	}
	// Nobody learns from the answer which jobs other teams have.
	if err != nil || j.TeamID != c.caller.TeamID {
		return nil, notFound("job", id)
	}
	return &portalv1.GetJobResponse{Job: j.proto()}, nil
}
