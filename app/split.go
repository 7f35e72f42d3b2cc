package app

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/jmoiron/sqlx"

	"forge.example/account/isukit/app/fanout"
	portalv1 "isukit/proto/portal/v1"
	"isukit/proto/wire"
)

// Where jobs and results are split off from the other tables, the end of a job takes two transactions, in this order:
//
//  1. at jobs: the job has status untold, its result is there;
//  2. at the others: the team is notified, once, under the team's lock;
//
// and then the job has status finished. Whatever dies in between leaves a job that is untold: its end and its result
// count, nothing is lost, and Tend goes on with the second step, which looks first whether it was done.

const (
	// tellTimeout bounds the second step, which goes on when the request has ended.
	tellTimeout = 10 * time.Second
	// tendEvery is how often Tend looks for untold jobs, and untoldFor how long one must have been so: longer than the
	// two transactions of a request at work.
	tendEvery = time.Second
	untoldFor = 2 * time.Second
	// tendAtOnce bounds the jobs of one look.
	tendAtOnce = 100
)

// finishJobSplit ends a job as finishJob does, in two transactions. A repeated report of a job that is untold sees to the
// second one before it is refused like every repetition.
func (p *portal) finishJobSplit(ctx context.Context, id int64, m *portalv1.ReportResultRequest) (resultID int64, err error) {
	var j *job
	err = writeTx(ctx, p.Jobs, func(tx *sqlx.Tx) error {
		var err error
		if j, err = lockRunning(ctx, tx, id, m.GetWorker()); err != nil {
			return err
		}
		resultID, err = p.recordResult(ctx, tx, j, m, statusUntold)
		return err
	})
	untold := err == nil || j != nil && j.Status == statusUntold && j.Worker == m.GetWorker()
	if !untold {
		return 0, err
	}
	tellCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), tellTimeout)
	defer cancel()
	if tellErr := p.tellTeam(tellCtx, j); tellErr != nil {
		return 0, tellErr // and not the refusal, which would mean that all is done
	}
	return resultID, err
}

// tellTeam notifies the team of a job and makes the job finished. Several may try at the same time: one succeeds.
func (p *portal) tellTeam(ctx context.Context, j *job) error {
	err := writeTx(ctx, p.Store, func(tx *sqlx.Tx) error { return p.notifyOnce(ctx, tx, j) })
	if err != nil {
		return err
	}
	return writeTx(ctx, p.Jobs, func(tx *sqlx.Tx) error {
		_, err := tx.ExecContext(ctx, "UPDATE jobs SET status = ? WHERE id = ? AND status = ?", statusFinished, j.ID, statusUntold)
		return err
	})
}

// notifyOnce does nothing where the team was notified already, where the team is gone, or where the job is: an initialize
// swaps jobs first, so a job that is there while the team's row is locked belongs to the same data as the team.
func (p *portal) notifyOnce(ctx context.Context, tx *sqlx.Tx, j *job) error {
	n := notification{TeamID: j.TeamID, FinishedJobID: j.ID}
	var gone *wire.Fault
	_, err := lockTeam(ctx, tx, j.TeamID)
	if errors.As(err, &gone) {
		return nil
	}
	if err != nil {
		return err
	}
	var status int64
	err = p.Jobs.DB().GetContext(fanout.OnFirst(ctx), &status, "SELECT status FROM jobs WHERE id = ?", j.ID)
	if errors.Is(err, sql.ErrNoRows) || err == nil && status == statusFinished {
		return nil
	}
	if err != nil {
		return err
	}
	var told int
	err = tx.GetContext(ctx, &told, "SELECT COUNT(*) FROM notifications WHERE team_id = ? AND finished_job_id = ?", j.TeamID, j.ID)
	if err != nil || told > 0 {
		return err
	}
	if _, err := n.lock(ctx, tx); err != nil {
		return err
	}
	n.CreatedAtUS = max(p.nowUS(), j.FinishedAtUS)
	return n.insert(ctx, tx)
}

// Tend finishes what a process that died, or a database that was away, left half done, until ctx ends. It is for the
// whole time that the portal is served; where nothing is split it only waits. It returns nil: what fails is tried again.
func (p *Portal) Tend(ctx context.Context) error {
	tick := time.NewTicker(tendEvery)
	defer tick.Stop()
	for {
		if p.split() {
			p.tellAll(ctx)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func (p *portal) tellAll(ctx context.Context) {
	var jobs []job
	err := p.Jobs.Reader().SelectContext(ctx, &jobs, selectJob+" WHERE status = ? AND finished_at_us < ? LIMIT ?",
		statusUntold, p.Now().Add(-untoldFor).UnixMicro(), tendAtOnce)
	for i := range jobs {
		if err == nil {
			err = p.tellTeam(ctx, &jobs[i])
		}
	}
	if err != nil && ctx.Err() == nil {
		p.Logger.Error().Err(err).Msg("tell teams of finished jobs")
	}
}
