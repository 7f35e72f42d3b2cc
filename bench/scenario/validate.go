package scenario

import (
	"context"
	"fmt"
	"time"

	portalv1 "isukit/proto/portal/v1"
)

// validation walks through the app's rules with a cast of its own. The rules run in order, since later ones build on what
// earlier ones left; all that they write goes through the model, so that the check after the load covers it too.
type validation struct {
	*Portal
	seed string // makes names that no other run has

	anyone *browser
	admin  *browser
	worker *browser
	seat   *contestant // a leader of the dataset
	ann    *contestant // a newcomer who founds a team
	bob    *contestant // another, with another team
	mate   *contestant // joins ann's team
	job    *job        // ann's
	invite string      // of ann's team
	asked  *question   // ann's
	clock  *portalv1.Contest
}

// rule is one thing that must hold. vital rules are those without which the others make no sense.
type rule struct {
	name  string
	vital bool
	check func(v *validation, ctx context.Context) error
}

// rules are all that validate walks through, in order.
func rules() []rule {
	var all []rule
	all = append(all, entranceRules...)
	all = append(all, teamRules...)
	all = append(all, jobRules...)
	all = append(all, questionRules...)
	all = append(all, unreadableRules...)
	return append(all, clockRules...)
}

// Validate implements bench.Scenario.
func (p *Portal) Validate(ctx context.Context) ([]string, error) {
	v := p.newValidation()
	var faults faultList
	for _, r := range rules() {
		if ctx.Err() != nil {
			break
		}
		err := r.check(v, ctx)
		faults.add(r.name, err)
		if err != nil && r.vital {
			break
		}
	}
	for _, b := range v.browsers() {
		faults.add("nothing comes after an answer", b.Client.Close())
	}
	return faults.list(), ctx.Err()
}

func (p *Portal) newValidation() *validation {
	person := func(number int) *contestant {
		u := &user{Portal: p, number: number, plan: newPlan(p.cast, p.opts.Seed, number, len(p.leaders))}
		return &contestant{user: u, browser: p.quietBrowser(number, userAgents[kindContestant]), planned: map[Action]string{}}
	}
	return &validation{
		Portal: p, seed: fmt.Sprintf("%x", p.opts.Seed),
		anyone: p.quietBrowser(-2, userAgents[kindAudience]), admin: p.quietBrowser(-3, userAgents[kindAdmin]),
		worker: p.asWorker(p.quietBrowser(-4, userAgents[kindWorker])), seat: person(-5), ann: person(-6), bob: person(-7), mate: person(-8),
	}
}

func (v *validation) browsers() []*browser {
	return []*browser{v.anyone, v.admin, v.worker, v.seat.browser, v.ann.browser, v.bob.browser, v.mate.browser}
}

// refused wants the call to be refused with status, in an Error body.
func (b *browser) refused(ctx context.Context, status int, c call) error {
	c.want, c.into, c.check = status, nil, nil
	return b.do(ctx, &c)
}

// firstOf runs checks until one fails.
func firstOf(checks ...func() error) error {
	for _, check := range checks {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

// settleTime is how long the leaderboard may need to show what was acknowledged, and a little more.
const settleTime = leaderboardAge + 50*time.Millisecond
