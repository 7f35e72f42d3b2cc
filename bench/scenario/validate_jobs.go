package scenario

import (
	"context"
	"fmt"
	"strings"
	"time"

	"isukit/bench/load"
	portalv1 "isukit/proto/portal/v1"
)

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
		body: &portalv1.ReportResultRequest{Worker: "another worker", Score: 1, Passed: true},
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

var clockRules = []rule{
	{"only admins set the clock, and only in order", false, (*validation).ruleSetClock},
	{"before the start there are teams, but neither jobs nor questions", false, (*validation).ruleBefore},
	{"while frozen, results are the team's own", false, (*validation).ruleFrozen},
	{"after the end nothing is taken and everything is shown", false, (*validation).ruleEnded},
	{"the clock is set back", true, func(v *validation, ctx context.Context) error {
		return firstOf(
			func() error { return v.setClock(ctx, v.clock, portalv1.Phase_PHASE_RUNNING) },
			func() error {
				if !sleep(ctx, settleTime) {
					return ctx.Err()
				}
				return v.checkWholeLeaderboard(ctx)
			},
		)
	}},
}

// setClock sets the contest's clock and wants the phase that follows.
func (v *validation) setClock(ctx context.Context, c *portalv1.Contest, want portalv1.Phase) error {
	var resp portalv1.UpdateContestResponse
	return v.admin.do(ctx, &call{
		route: "PUT /api/contest",
		body:  &portalv1.UpdateContestRequest{StartsAtUs: c.StartsAtUs, FreezesAtUs: c.FreezesAtUs, EndsAtUs: c.EndsAtUs},
		into:  &resp,
		check: func(*load.Response) error { return isPhase(resp.Contest, want) },
	})
}

// clockAround returns a clock whose moments lie so far from now; negative is past.
func clockAround(starts, freezes, ends time.Duration) *portalv1.Contest {
	now := time.Now()
	return &portalv1.Contest{
		StartsAtUs: now.Add(starts).UnixMicro(), FreezesAtUs: now.Add(freezes).UnixMicro(), EndsAtUs: now.Add(ends).UnixMicro(),
	}
}

func (v *validation) ruleSetClock(ctx context.Context) error {
	c := clockAround(time.Hour, -time.Hour, 2*time.Hour)
	set := call{route: "PUT /api/contest", body: &portalv1.UpdateContestRequest{StartsAtUs: c.StartsAtUs, FreezesAtUs: c.FreezesAtUs, EndsAtUs: c.EndsAtUs}}
	return firstOf(
		func() error { return v.ann.refused(ctx, 403, set) },
		func() error { return v.admin.refused(ctx, 400, set) },
	)
}

// closed wants jobs and questions to be refused and workers to get nothing.
func (v *validation) closed(ctx context.Context) error {
	return firstOf(
		func() error {
			return v.bob.refused(ctx, 403, call{route: "POST /api/jobs", body: &portalv1.EnqueueJobRequest{Target: "t"}})
		},
		func() error {
			return v.bob.refused(ctx, 403, call{route: "POST /api/clarifications", body: &portalv1.AskClarificationRequest{Question: "q"}})
		},
		func() error {
			j, err := v.worker.receive(ctx, workerName)
			if err == nil && j != nil {
				return load.Faultf(load.Wrong, "worker was given a job outside the contest", "job %d", j.id)
			}
			return err
		},
	)
}

func (v *validation) ruleBefore(ctx context.Context) error {
	return firstOf(
		func() error {
			return v.setClock(ctx, clockAround(time.Hour, 2*time.Hour, 3*time.Hour), portalv1.Phase_PHASE_BEFORE)
		},
		func() error { return v.closed(ctx) },
		func() error { return v.ann.retag(ctx, "before "+v.seed) },
		func() error { return v.ann.dashboard(ctx) },
	)
}

// ruleFrozen runs a job of bob's team in the freeze: bob sees its result, the leaderboard does not.
func (v *validation) ruleFrozen(ctx context.Context) error {
	if err := v.setClock(ctx, clockAround(-2*time.Hour, -time.Millisecond, time.Hour), portalv1.Phase_PHASE_FROZEN); err != nil {
		return err
	}
	j, err := v.bob.enqueueJob(ctx, v.bob.team, "frozen "+v.seed)
	if err != nil {
		return err
	}
	return firstOf(
		func() error {
			return v.mate.refused(ctx, 403, call{route: "PUT /api/teams/{team_id}", id: v.ann.team.id, body: &portalv1.UpdateTeamRequest{Tags: []string{"t"}}})
		},
		func() error { _, err := v.worker.receive(ctx, workerName); return err },
		func() error { return v.worker.reportResult(ctx, workerName, j, 5678, true) },
		func() error { return v.bob.getJob(ctx, v.bob.team, j.id) },
		func() error { return v.bobsOwnNumbers(ctx) },
		func() error {
			if !sleep(ctx, settleTime) {
				return ctx.Err()
			}
			return v.bobOnLeaderboard(ctx, false)
		},
	)
}

// bobsOwnNumbers wants the result on bob's own dashboard.
func (v *validation) bobsOwnNumbers(ctx context.Context) error {
	var resp portalv1.GetDashboardResponse
	return v.bob.do(ctx, &call{route: "GET /api/dashboard", into: &resp, check: func(r *load.Response) error {
		if resp.Phase != portalv1.Phase_PHASE_FROZEN {
			return load.Faultf(load.Wrong, "dashboard is in the wrong phase", "%v", resp.Phase)
		}
		return v.bob.team.standing(r.Sent, r.Done).check(resp.Own)
	}})
}

func (v *validation) bobOnLeaderboard(ctx context.Context, want bool) error {
	var resp portalv1.GetLeaderboardResponse
	return v.anyone.do(ctx, &call{route: "GET /api/leaderboard", query: fmt.Sprintf("limit=%d", everyTeam), into: &resp, check: func(*load.Response) error {
		listed := false
		for _, s := range resp.Standings {
			listed = listed || s.TeamId == v.bob.team.id
		}
		switch {
		case listed && !want:
			return load.Faultf(load.Wrong, "leaderboard shows a result of the freeze", "team %d", v.bob.team.id)
		case !listed && want:
			return load.Faultf(load.Stale, "leaderboard lacks a result after the end", "team %d", v.bob.team.id)
		}
		return nil
	}})
}

func (v *validation) ruleEnded(ctx context.Context) error {
	return firstOf(
		func() error {
			return v.setClock(ctx, clockAround(-3*time.Hour, -2*time.Hour, -time.Hour), portalv1.Phase_PHASE_ENDED)
		},
		func() error { return v.closed(ctx) },
		func() error {
			return v.mate.refused(ctx, 403, call{route: "PUT /api/teams/{team_id}", id: v.ann.team.id, body: &portalv1.UpdateTeamRequest{Tags: []string{"t"}}})
		},
		func() error {
			if !sleep(ctx, settleTime) {
				return ctx.Err()
			}
			return v.bobOnLeaderboard(ctx, true)
		},
	)
}
