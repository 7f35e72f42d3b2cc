package scenario

import (
	"context"
	"fmt"
	"time"

	"isukit/bench/load"
	portalv1 "isukit/proto/portal/v1"
)

// A benchmark takes runTime and reports progress so often.
const (
	runTime         = 300 * time.Millisecond
	progressReports = 2
	// resultTries is how often a worker sends a result whose fate it does not know.
	resultTries = 3
)

// worker receives jobs from the api role and reports what they gave.
func (u *user) worker(ctx context.Context) {
	do, cancel := outlasting(ctx)
	defer cancel()
	b := u.asWorker(u.browser(ctx, u.number, userAgents[kindWorker]))
	defer b.close()
	name := fmt.Sprintf("worker-%d", u.number)
	for {
		if _, ok := u.next(ctx); !ok {
			return
		}
		j, err := b.receive(do, name)
		if err != nil || j == nil {
			if !sleep(ctx, 200*time.Millisecond) {
				return
			}
			continue
		}
		// A job that was begun is finished, also after the end of the load: one left running could not be checked.
		b.run(do, name, j)
	}
}

// asWorker gives a browser the workers' secret.
func (p *Portal) asWorker(b *browser) *browser {
	b.token = p.opts.WorkerToken
	return b
}

// receive asks for a job; it returns nil when nothing waits.
func (b *browser) receive(ctx context.Context, name string) (*job, error) {
	var resp portalv1.ReceiveJobResponse
	var j *job
	err := b.do(ctx, &call{
		route: "POST /worker/jobs/receive", body: &portalv1.ReceiveJobRequest{Worker: name}, into: &resp,
		check: func(r *load.Response) error {
			if resp.Job == nil {
				return nil
			}
			var err error
			j, err = b.p.model.received(resp.Job, r.Sent, r.Done)
			return err
		},
	})
	return j, err
}

// received notes that a worker was given a job. Each job is given to one worker, once.
func (m *model) received(got *portalv1.Job, sent, done time.Time) (*job, error) {
	t := m.team(got.TeamId)
	if t == nil {
		return nil, load.Faultf(load.Wrong, "worker was given a job of a team that does not exist", "job %d of team %d", got.Id, got.TeamId)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if got.Status != portalv1.JobStatus_JOB_STATUS_RUNNING {
		return nil, load.Faultf(load.Wrong, "worker was given a job that does not run", "job %d: %v", got.Id, got.Status)
	}
	if err := m.checkJob(t, got, sent, done); err != nil {
		return nil, err
	}
	j := t.jobByID(got.Id)
	if j == nil {
		return nil, load.Faultf(load.Wrong, "worker was given a job of the dataset", "job %d", got.Id)
	}
	if j.received.certainBy(done) {
		return nil, load.Faultf(load.Wrong, "a job was given to two workers", "job %d of team %d", j.id, t.id)
	}
	j.received = write{sent: sent, acked: done}
	return j, nil
}

// run plays the benchmark: progress, then the result.
func (b *browser) run(ctx context.Context, name string, j *job) {
	score, passed := benchmark(b.p.opts.Seed, j.memo)
	for i := range progressReports {
		if !sleep(ctx, runTime/(progressReports+1)) {
			return
		}
		b.reportProgress(ctx, name, j, score*int64(i+1)/(progressReports+1))
	}
	if sleep(ctx, runTime/(progressReports+1)) {
		b.reportResult(ctx, name, j, score, passed)
	}
}

func (b *browser) reportProgress(ctx context.Context, name string, j *job, score int64) error {
	j.team.mu.Lock()
	p := &progress{score: score, write: write{sent: time.Now()}}
	j.progress = append(j.progress, p)
	j.team.mu.Unlock()
	return b.do(ctx, &call{
		route: "POST /worker/jobs/{job_id}/progress", id: j.id,
		body: &portalv1.ReportProgressRequest{Worker: name, Score: score}, into: &portalv1.ReportProgressResponse{},
		check: func(r *load.Response) error {
			j.team.mu.Lock()
			defer j.team.mu.Unlock()
			p.ack(r.Done)
			return nil
		},
	})
}

// reportResult ends the job. A report whose fate is unknown is sent again: it is accepted once, so a refusal of the
// repetition says that the first one was taken.
func (b *browser) reportResult(ctx context.Context, name string, j *job, score int64, passed bool) error {
	r := &result{score: score, passed: passed, reason: "all checks passed", write: write{sent: time.Now()}}
	if !passed {
		r.reason = "整合性チェックに失敗しました"
	}
	j.team.mu.Lock()
	j.result = r
	j.team.mu.Unlock()
	var err error
	for try := range resultTries {
		var resp portalv1.ReportResultResponse
		c := &call{
			route: "POST /worker/jobs/{job_id}/result", id: j.id, into: &resp,
			body: &portalv1.ReportResultRequest{Worker: name, Score: score, Passed: passed, Reason: r.reason},
			check: func(a *load.Response) error {
				if resp.ResultId == 0 {
					return load.Faultf(load.Wrong, "result was recorded without an id", "job %d", j.id)
				}
				r.accepted(j.team, a.Done)
				return nil
			},
		}
		err = b.do(ctx, c)
		if err == nil || ctx.Err() != nil {
			return err
		}
		if try > 0 && c.status == 409 {
			r.accepted(j.team, time.Now())
			return nil
		}
		if c.outcome(err) == notApplied && c.status != 0 {
			return err
		}
	}
	return err
}

func (r *result) accepted(t *team, at time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	r.ack(at)
}
