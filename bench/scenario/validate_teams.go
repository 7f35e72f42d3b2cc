package scenario

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"isukit/bench/load"
	portalv1 "isukit/proto/portal/v1"
)

var teamRules = []rule{
	{"a user without a team has neither dashboard nor jobs", false, func(v *validation, ctx context.Context) error {
		return firstOf(
			func() error { return v.ann.refused(ctx, 403, call{route: "GET /api/dashboard"}) },
			func() error {
				return v.ann.refused(ctx, 403, call{route: "POST /api/jobs", body: &portalv1.EnqueueJobRequest{Target: "t"}})
			},
		)
	}},
	{"teams are founded", true, func(v *validation, ctx context.Context) error {
		err := errors.Join(v.ann.foundTeam(ctx, `Validators "A" 検証 `+v.seed), v.bob.foundTeam(ctx, "Validators B "+v.seed))
		v.invite = v.ann.invite
		return err
	}},
	{"a team with a bad name or bad tags is refused", false, (*validation).ruleBadTeam},
	{"a second team, or one with a taken name, is refused", false, func(v *validation, ctx context.Context) error {
		return firstOf(
			func() error {
				return v.ann.refused(ctx, 409, call{route: "POST /api/teams", body: &portalv1.CreateTeamRequest{Name: "Second " + v.seed}})
			},
			func() error {
				return v.mate.refused(ctx, 409, call{route: "POST /api/teams", body: &portalv1.CreateTeamRequest{Name: v.ann.team.name}})
			},
		)
	}},
	{"only the invite token opens a team", false, (*validation).ruleJoin},
	{"members change their team's tags, others do not", false, (*validation).ruleRetag},
	{"teams are found by name, tag and page", false, (*validation).ruleSearch},
	{"a team that does not exist is not found", false, func(v *validation, ctx context.Context) error {
		return v.anyone.refused(ctx, 404, call{route: "GET /api/teams/{team_id}", id: 1})
	}},
}

func (v *validation) ruleBadTeam(ctx context.Context) error {
	for _, r := range []*portalv1.CreateTeamRequest{
		{Name: ""}, {Name: strings.Repeat("長", 65)}, {Name: "ok", Tags: []string{""}},
		{Name: "ok", Tags: []string{strings.Repeat("t", 33)}}, {Name: "ok", Tags: strings.Split(strings.Repeat("t,", 10)+"t", ",")},
	} {
		if err := v.mate.refused(ctx, 400, call{route: "POST /api/teams", body: r}); err != nil {
			return fmt.Errorf("name of %d bytes, %d tags: %w", len(r.Name), len(r.Tags), err)
		}
	}
	return nil
}

func (v *validation) ruleJoin(ctx context.Context) error {
	join := func(token string) call {
		return call{route: "POST /api/teams/{team_id}/members", id: v.ann.team.id, body: &portalv1.JoinTeamRequest{InviteToken: token}}
	}
	var joined portalv1.JoinTeamResponse
	right := join(v.invite)
	right.into, right.check = &joined, func(*load.Response) error {
		return isTeamWith(joined.Team, v.ann.team, v.mate.login.ContestantID)
	}
	var shown portalv1.GetTeamResponse
	return firstOf(
		func() error { return v.mate.refused(ctx, 403, join("not the token")) },
		func() error { return v.mate.do(ctx, &right) },
		func() error { return v.mate.refused(ctx, 409, join(v.invite)) },
		func() error { return v.bob.refused(ctx, 409, join(v.invite)) },
		func() error {
			return v.anyone.do(ctx, &call{route: "GET /api/teams/{team_id}", id: v.ann.team.id, into: &shown, check: func(*load.Response) error {
				return isTeamWith(shown.Team, v.ann.team, v.mate.login.ContestantID)
			}})
		},
	)
}

func (v *validation) ruleRetag(ctx context.Context) error {
	return firstOf(
		func() error { return v.ann.retag(ctx, `quote"and'日本 `+v.seed) },
		func() error { return v.ann.search(ctx) },
		func() error {
			return v.bob.refused(ctx, 403, call{route: "PUT /api/teams/{team_id}", id: v.ann.team.id, body: &portalv1.UpdateTeamRequest{Tags: []string{"t"}}})
		},
	)
}

// ruleSearch pages through the teams of a tag of the dataset and counts them.
func (v *validation) ruleSearch(ctx context.Context) error {
	tag, want := v.commonTag()
	seen := map[int64]bool{}
	for page := 1; page <= want/20+2; page++ {
		var resp portalv1.SearchTeamsResponse
		err := v.anyone.do(ctx, &call{route: "GET /api/teams", query: fmt.Sprintf("tag=%s&page=%d", url.QueryEscape(tag), page), into: &resp})
		if err != nil {
			return err
		}
		if int(resp.Total) != want {
			return load.Faultf(load.Wrong, "search counts wrongly", "tag %q: %d teams instead of %d", tag, resp.Total, want)
		}
		for _, t := range resp.Teams {
			seen[t.Id] = true
		}
	}
	if len(seen) != want {
		return load.Faultf(load.Wrong, "pages of a search do not add up", "tag %q: %d teams on all pages instead of %d", tag, len(seen), want)
	}
	var none portalv1.SearchTeamsResponse
	return v.anyone.do(ctx, &call{route: "GET /api/teams", query: "tag=no-such-tag-" + v.seed, into: &none, check: func(*load.Response) error {
		if none.Total != 0 || len(none.Teams) != 0 {
			return load.Faultf(load.Wrong, "search finds teams by a tag that nobody bears", "%d teams", none.Total)
		}
		return nil
	}})
}

// commonTag returns the dataset's most frequent tag (the first in order of those) and how many teams bear it.
func (v *validation) commonTag() (tag string, teams int) {
	count := map[string]int{}
	for _, t := range v.opts.Dataset.Teams {
		for _, tag := range t.Tags {
			count[tag]++
		}
	}
	for t, n := range count {
		if n > teams || n == teams && t < tag {
			tag, teams = t, n
		}
	}
	return tag, teams
}

var questionRules = []rule{
	{"an empty or too long question is refused", false, func(v *validation, ctx context.Context) error {
		for _, q := range []string{"", strings.Repeat("問", 2001)} {
			if err := v.ann.refused(ctx, 400, call{route: "POST /api/clarifications", body: &portalv1.AskClarificationRequest{Question: q}}); err != nil {
				return fmt.Errorf("question of %d bytes: %w", len(q), err)
			}
		}
		return nil
	}},
	{"a question is asked and read by its team", true, func(v *validation, ctx context.Context) error {
		q, err := v.ann.askQuestion(ctx, v.ann.team, "再起動試験はありますか？ Is there a reboot test? "+v.seed)
		if err != nil {
			return err
		}
		v.asked = q
		_, err = v.ann.listClarifications(ctx, v.ann.team, 0)
		return err
	}},
	{"only admins answer", false, func(v *validation, ctx context.Context) error {
		return v.ann.refused(ctx, 403, call{
			route: "PUT /api/clarifications/{clarification_id}", id: v.asked.id,
			body: &portalv1.AnswerClarificationRequest{Answer: "yes"},
		})
	}},
	{"an answer reaches the team that asked, others when disclosed", false, (*validation).ruleAnswer},
}

// ruleAnswer answers twice: for the team alone, then for everybody.
func (v *validation) ruleAnswer(ctx context.Context) error {
	q := v.asked
	say := func(answer string, disclose bool) error {
		q.team.mu.Lock()
		q.answer, q.disclose, q.answered = answer, disclose, write{sent: time.Now()}
		q.team.mu.Unlock()
		return v.admin.answer(ctx, q)
	}
	bobReads := func(want bool) error {
		got, err := v.bob.listClarifications(ctx, v.bob.team, 0)
		if err != nil {
			return err
		}
		for _, g := range got {
			if g.Id == q.id && !want {
				return load.Faultf(load.Wrong, "another team's question is not kept secret", "clarification %d", q.id)
			}
			if g.Id == q.id {
				return nil
			}
		}
		if want {
			return load.Faultf(load.Stale, "disclosed answer is not shown to others", "clarification %d", q.id)
		}
		return nil
	}
	return firstOf(
		func() error { return say("はい。", false) },
		func() error { _, err := v.ann.listClarifications(ctx, v.ann.team, 0); return err },
		func() error { return v.ann.notifications(ctx) },
		func() error { return bobReads(false) },
		func() error { return say("はい。Yes.", true) },
		func() error { _, err := v.ann.listClarifications(ctx, v.ann.team, 0); return err },
		func() error { return bobReads(true) },
	)
}
