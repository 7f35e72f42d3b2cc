package scenario

import (
	"context"
	"fmt"
	"strings"
	"time"

	"isukit/bench/load"
	portalv1 "isukit/proto/portal/v1"
)

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
