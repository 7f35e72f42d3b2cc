package app

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/jmoiron/sqlx"

	portalv1 "isukit/proto/portal/v1"
)

// receiveJob hands out the oldest waiting job that no other worker is just being handed.
func (p *portal) receiveJob(ctx context.Context, _ *call, m *portalv1.ReceiveJobRequest) (*portalv1.ReceiveJobResponse, error) {
	if err := checkBytes("worker", m.GetWorker(), 1, maxWorkerBytes); err != nil {
		return nil, err
	}
	res := &portalv1.ReceiveJobResponse{}
	clock, err := readClock(ctx, p.Store.Reader())
	if err != nil || !jobsOpen(clock.phase(p.nowUS())) {
		return res, err
	}
	err = writeTx(ctx, p.jobs(), func(tx *sqlx.Tx) error {
		res.Job = nil
		var j job
		err := tx.GetContext(ctx, &j, selectJob+" WHERE status = ? ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED", statusWaiting)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		if err != nil {
			return err
		}
		j.Status, j.StartedAtUS = statusRunning, max(p.nowUS(), j.CreatedAtUS)
		_, err = tx.ExecContext(ctx, "UPDATE jobs SET status = ?, worker = ?, started_at_us = ? WHERE id = ?",
			j.Status, m.GetWorker(), j.StartedAtUS, j.ID)
		res.Job = j.proto()
		return err
	})
	return res, err
}

// lockRunning locks the row of a job, and refuses unless worker received it and it is unfinished. It returns a finished job, too.
func lockRunning(ctx context.Context, tx *sqlx.Tx, id int64, worker string) (*job, error) {
	j := &job{}
	err := tx.GetContext(ctx, j, selectJob+" WHERE id = ? FOR UPDATE", id)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return nil, notFound("job", id)
	case err != nil:
		return nil, err
	case j.Status == statusWaiting:
		return nil, conflict("job_not_received", "no worker has received this job")
	case j.Worker != worker:
		return nil, notYourJob
	case j.Status >= statusFinished:
		return j, conflict("job_finished", "the result of this job was reported already")
	}
	return j, nil
}

func reportedJob(c *call, worker string, score int64) (int64, error) {
	id, err := pathID(c.r, "job_id", "job")
	if err != nil {
		return 0, err
	}
	if err := checkBytes("worker", worker, 1, maxWorkerBytes); err != nil {
		return 0, err
	}
	return id, checkScore(score)
}

func (p *portal) reportProgress(ctx context.Context, c *call, m *portalv1.ReportProgressRequest) (*portalv1.ReportProgressResponse, error) {
	id, err := reportedJob(c, m.GetWorker(), m.GetScore())
	if err != nil {
		return nil, err
	}
	err = writeTx(ctx, p.jobs(), func(tx *sqlx.Tx) error {
		j, err := lockRunning(ctx, tx, id, m.GetWorker())
		if err != nil {
			return err
		}
		if m.GetScore() < j.Score {
			return conflict("score_went_down", fmt.Sprintf("score %d is below %d, which was reported before", m.GetScore(), j.Score))
		}
		_, err = tx.ExecContext(ctx, "UPDATE jobs SET score = ? WHERE id = ?", m.GetScore(), id)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &portalv1.ReportProgressResponse{}, nil
}

func (p *portal) reportResult(ctx context.Context, c *call, m *portalv1.ReportResultRequest) (*portalv1.ReportResultResponse, error) {
	id, err := reportedJob(c, m.GetWorker(), m.GetScore())
	if err != nil {
		return nil, err
	}
	if err := checkChars("reason", m.GetReason(), 0, maxReasonChars); err != nil {
		return nil, err
	}
	res := &portalv1.ReportResultResponse{}
	if p.split() {
		res.ResultId, err = p.finishJobSplit(ctx, id, m)
	} else {
		err = writeTx(ctx, p.Store, func(tx *sqlx.Tx) error {
			res.ResultId, err = p.finishJob(ctx, tx, id, m)
			return err
		})
	}
	if err != nil {
		return nil, err
	}
	return res, nil
}

// finishJob ends the job, records its result and tells the team. It holds the job's lock first, then the team's.
func (p *portal) finishJob(ctx context.Context, tx *sqlx.Tx, id int64, m *portalv1.ReportResultRequest) (resultID int64, err error) {
	j, err := lockRunning(ctx, tx, id, m.GetWorker())
	if err != nil {
		return 0, err
	}
	n := notification{TeamID: j.TeamID, FinishedJobID: id}
	there, err := n.lock(ctx, tx)
	if err != nil {
		return 0, err
	}
	resultID, err = p.recordResult(ctx, tx, j, m, statusFinished)
	if err != nil || !there {
		return resultID, err
	}
	n.CreatedAtUS = j.FinishedAtUS
	return resultID, n.insert(ctx, tx)
}

// recordResult writes the end of a job, whose lock the transaction holds, and its result.
func (p *portal) recordResult(ctx context.Context, tx *sqlx.Tx, j *job, m *portalv1.ReportResultRequest, status int64) (resultID int64, err error) {
	resultID = p.ids.Next()
	j.FinishedAtUS = max(p.nowUS(), j.StartedAtUS)
	_, err = tx.ExecContext(ctx, "UPDATE jobs SET status = ?, unfinished_team_id = NULL, score = ?, passed = ?, reason = ?, finished_at_us = ?"+
		" WHERE id = ?", status, m.GetScore(), m.GetPassed(), m.GetReason(), j.FinishedAtUS, j.ID)
	if err != nil {
		return 0, err
	}
	_, err = tx.ExecContext(ctx, "INSERT INTO results (id, team_id, job_id, score, passed, reported_at_us) VALUES (?, ?, ?, ?, ?, ?)",
		resultID, j.TeamID, j.ID, m.GetScore(), m.GetPassed(), j.FinishedAtUS)
	return resultID, err
}
