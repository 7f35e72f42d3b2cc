package scenario

import (
	"context"
	"fmt"
	"strings"

	"isukit/bench/load"
	portalv1 "isukit/proto/portal/v1"
)

// workerName is how the validation's worker calls itself.
const workerName = "validator"

var jobRules = []rule{
	{"a job with a bad target or memo is refused", false, func(v *validation, ctx context.Context) error {
		for _, r := range []*portalv1.EnqueueJobRequest{{Target: ""}, {Target: strings.Repeat("t", 256)}, {Target: "t", Memo: strings.Repeat("メ", 1001)}} {
			if err := v.ann.refused(ctx, 400, call{route: "POST /api/jobs", body: r}); err != nil {
				return fmt.Errorf("target of %d bytes, memo of %d: %w", len(r.Target), len(r.Memo), err)
			}
		}
		return nil
	}},
	{"a job is enqueued and shown", true, (*validation).ruleEnqueue},
	{"a second unfinished job is refused", false, func(v *validation, ctx context.Context) error {
		return v.mate.refused(ctx, 409, call{route: "POST /api/jobs", body: &portalv1.EnqueueJobRequest{Target: "t"}})
	}},
	{"another team's job is not shown", false, func(v *validation, ctx context.Context) error {
		return v.bob.refused(ctx, 404, call{route: "GET /api/jobs/{job_id}", id: v.job.id})
	}},
	{"the api role wants the workers' token", false, func(v *validation, ctx context.Context) error {
		stranger := v.quietBrowser(-4, userAgents[kindWorker])
		defer stranger.close()
		receive := call{route: "POST /worker/jobs/receive", body: &portalv1.ReceiveJobRequest{Worker: workerName}}
		if err := stranger.refused(ctx, 401, receive); err != nil {
			return err
		}
		stranger.token = "not the token of the workers"
		return stranger.refused(ctx, 401, receive)
	}},
	{"a worker receives the job once", true, (*validation).ruleReceive},
	{"a worker reports progress, never backwards", false, (*validation).ruleProgress},
	{"only the job's worker reports its result, once", true, (*validation).ruleResult},
	{"a result shows on the job, the dashboard, the leaderboard and in a notification", false, (*validation).ruleResultShows},
}

func (v *validation) ruleEnqueue(ctx context.Context) error {
	j, err := v.ann.enqueueJob(ctx, v.ann.team, "validation 検証 "+v.seed)
	if err != nil {
		return err
	}
	v.job = j
	return firstOf(
		func() error { return v.ann.getJob(ctx, v.ann.team, j.id) },
		func() error { return v.mate.getJob(ctx, v.ann.team, j.id) },
		func() error { _, err := v.ann.listJobs(ctx, v.ann.team, 0); return err },
		func() error { return v.ann.dashboard(ctx) },
	)
}

func (v *validation) ruleReceive(ctx context.Context) error {
	j, err := v.worker.receive(ctx, workerName)
	if err != nil {
		return err
	}
	if j != v.job {
		return load.Faultf(load.Wrong, "worker was not given the waiting job", "job %d", v.job.id)
	}
	again, err := v.worker.receive(ctx, workerName)
	if err == nil && again != nil {
		return load.Faultf(load.Wrong, "worker was given a job that nobody enqueued", "job %d", again.id)
	}
	return err
}

func (v *validation) ruleProgress(ctx context.Context) error {
	return firstOf(
		func() error { return v.worker.reportProgress(ctx, workerName, v.job, 500) },
		func() error { return v.ann.getJob(ctx, v.ann.team, v.job.id) },
		func() error {
			return v.worker.refused(ctx, 409, call{
				route: "POST /worker/jobs/{job_id}/progress", id: v.job.id,
				body: &portalv1.ReportProgressRequest{Worker: workerName, Score: 400},
			})
		},
	)
}

func (v *validation) ruleResult(ctx context.Context) error {
	result := call{
		route: "POST /worker/jobs/{job_id}/result", id: v.job.id,
		body: &portalv1.ReportResultRequest{Worker: "somebody else", Score: 1, Passed: true},
	}
	return firstOf(
		func() error { return v.worker.refused(ctx, 403, result) },
		func() error { return v.worker.reportResult(ctx, workerName, v.job, 1234, true) },
		func() error {
			result.body = &portalv1.ReportResultRequest{Worker: workerName, Score: 99999, Passed: true}
			return v.worker.refused(ctx, 409, result)
		},
	)
}

func (v *validation) ruleResultShows(ctx context.Context) error {
	return firstOf(
		func() error { return v.ann.getJob(ctx, v.ann.team, v.job.id) },
		func() error { return v.ann.dashboard(ctx) },
		func() error { return v.ann.notifications(ctx) },
		func() error {
			if !sleep(ctx, settleTime) {
				return ctx.Err()
			}
			return v.checkWholeLeaderboard(ctx)
		},
	)
}
