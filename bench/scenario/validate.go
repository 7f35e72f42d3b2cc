package scenario

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"isukit/bench/load"
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

var unreadableRules = []rule{
	{"a body of another type is refused", false, func(v *validation, ctx context.Context) error {
		return v.anyone.refused(ctx, 415, call{route: "POST /api/login", raw: []byte(`{"name":"x"}`), contentType: "application/json"})
	}},
	{"other names of protobuf are accepted", false, (*validation).ruleContentTypes},
	{"a truncated body is refused", false, func(v *validation, ctx context.Context) error {
		body, err := proto.Marshal(&portalv1.LoginRequest{Name: "somebody", Password: "some password"})
		if err != nil {
			return err
		}
		return v.anyone.refused(ctx, 400, call{route: "POST /api/login", raw: body[:len(body)-3], contentType: "application/protobuf"})
	}},
	{"a body with bad UTF-8 is refused", false, func(v *validation, ctx context.Context) error {
		return v.anyone.refused(ctx, 400, call{route: "POST /api/login", raw: []byte("\x0a\x02\xff\xfe"), contentType: "application/protobuf"})
	}},
	{"an oversized body is refused", false, func(v *validation, ctx context.Context) error {
		// One field that no message knows, so that only the size is wrong.
		body := append([]byte{0xfa, 0x3f, 0x80, 0x80, 0x80, 0x01}, make([]byte, 1<<21)...)
		return v.anyone.refused(ctx, 413, call{route: "POST /api/login", raw: body, contentType: "application/protobuf"})
	}},
	{"an unknown route is not found", false, func(v *validation, ctx context.Context) error {
		return v.anyone.refused(ctx, 404, call{route: "GET /api/nowhere"})
	}},
	{"a method that a route does not have is refused", false, func(v *validation, ctx context.Context) error {
		return v.anyone.refused(ctx, 405, call{route: "DELETE /api/jobs"})
	}},
}

func (v *validation) ruleContentTypes(ctx context.Context) error {
	l := v.seat.login
	body, err := proto.Marshal(&portalv1.LoginRequest{Name: l.Name, Password: l.Password})
	if err != nil {
		return err
	}
	for _, t := range []string{"application/x-protobuf", "application/vnd.google.protobuf; proto=portal.v1.LoginRequest"} {
		if err := v.seat.do(ctx, &call{route: "POST /api/login", raw: body, contentType: t, into: &portalv1.LoginResponse{}}); err != nil {
			return fmt.Errorf("%s: %w", t, err)
		}
	}
	return nil
}

var entranceRules = []rule{
	{"the front page and its files are served", false, func(v *validation, ctx context.Context) error {
		return v.anyone.frontPage(ctx)
	}},
	{"a file that has not changed is answered 304", false, (*validation).ruleNotModified},
	{"the leaderboard is the dataset's", false, func(v *validation, ctx context.Context) error {
		return v.checkWholeLeaderboard(ctx)
	}},
	{"the contest runs after initialize", true, (*validation).ruleRunning},
	{"nobody is logged in without a session", false, (*validation).ruleNoSession},
	{"a wrong name or password is refused", false, (*validation).ruleWrongLogin},
	{"a contestant of the dataset logs in, out and in", true, (*validation).ruleLogin},
	{"a forged session is refused", false, (*validation).ruleForgedSession},
	{"sign-up refuses bad names and passwords", false, (*validation).ruleBadSignup},
	{"newcomers sign up", true, (*validation).ruleSignup},
	{"a taken name is refused", false, func(v *validation, ctx context.Context) error {
		return v.anyone.refused(ctx, 409, call{route: "POST /api/signup", body: &portalv1.SignupRequest{Name: v.ann.login.Name, Password: "another password"}})
	}},
	{"an admin logs in", true, func(v *validation, ctx context.Context) error {
		return v.admin.logIn(ctx, v.opts.Dataset.Admin)
	}},
}

// ruleNotModified asks twice as a browser does: what has not changed must not travel again.
func (v *validation) ruleNotModified(ctx context.Context) error {
	req := load.Request{Endpoint: v.endpoints["GET /"], Origin: v.opts.Web, Method: "GET", Target: "/", Conditional: true, Quiet: true}
	return v.anyone.Do(ctx, &req, func(r *load.Response) error {
		if !r.NotModified {
			return load.Faultf(load.Wrong, "unchanged file was sent again", "status %d, %d bytes", r.Status, len(r.Body))
		}
		return nil
	})
}

func (v *validation) ruleRunning(ctx context.Context) error {
	var resp portalv1.GetContestResponse
	err := v.anyone.do(ctx, &call{route: "GET /api/contest", into: &resp, check: func(*load.Response) error {
		return isPhase(resp.Contest, portalv1.Phase_PHASE_RUNNING)
	}})
	v.clock = resp.Contest
	return err
}

func isPhase(c *portalv1.Contest, want portalv1.Phase) error {
	if c.GetPhase() != want {
		return load.Faultf(load.Wrong, "contest is in the wrong phase", "%v instead of %v", c.GetPhase(), want)
	}
	return nil
}

// ownRoutes are the pages that need a session.
var ownRoutes = []string{"GET /api/dashboard", "GET /api/jobs", "GET /api/clarifications", "GET /api/notifications"}

func (v *validation) ruleNoSession(ctx context.Context) error {
	for _, route := range ownRoutes {
		if err := v.anyone.refused(ctx, 401, call{route: route}); err != nil {
			return fmt.Errorf("%s: %w", route, err)
		}
	}
	return firstOf(
		func() error { return v.anyone.nobody(ctx) },
		func() error {
			return v.anyone.refused(ctx, 401, call{route: "POST /api/jobs", body: &portalv1.EnqueueJobRequest{Target: "t"}})
		},
		func() error {
			return v.anyone.refused(ctx, 401, call{route: "POST /api/teams", body: &portalv1.CreateTeamRequest{Name: "t"}})
		},
		func() error {
			return v.anyone.refused(ctx, 401, call{route: "PUT /api/contest", body: &portalv1.UpdateContestRequest{}})
		},
	)
}

// nobody wants the session to name no contestant.
func (b *browser) nobody(ctx context.Context) error {
	var resp portalv1.GetSessionResponse
	return b.do(ctx, &call{route: "GET /api/session", into: &resp, check: func(*load.Response) error {
		if resp.Contestant != nil {
			return load.Faultf(load.Wrong, "somebody is logged in without a session", "%q", resp.Contestant.Name)
		}
		return nil
	}})
}

func (v *validation) ruleWrongLogin(ctx context.Context) error {
	known := v.leaders[len(v.leaders)-1].Name
	for _, l := range []*portalv1.LoginRequest{{Name: known, Password: "not the password"}, {Name: "nobody-" + v.seed, Password: "not the password"}} {
		if err := v.anyone.refused(ctx, 401, call{route: "POST /api/login", body: l}); err != nil {
			return err
		}
	}
	return v.anyone.nobody(ctx)
}

// ruleLogin takes the last leader, whom a virtual user of the load meets last.
func (v *validation) ruleLogin(ctx context.Context) error {
	c := v.seat
	return firstOf(
		func() error { return c.takeSeat(ctx, v.leaders[len(v.leaders)-1]) },
		func() error { return c.checkSession(ctx) },
		func() error { return c.dashboard(ctx) },
		func() error { return c.do(ctx, &call{route: "POST /api/logout", into: &portalv1.LogoutResponse{}}) },
		func() error { return c.nobody(ctx) },
		func() error { return c.refused(ctx, 401, call{route: "GET /api/dashboard"}) },
		func() error { return c.logIn(ctx, c.login) },
		func() error { return c.notifications(ctx) },
	)
}

func (v *validation) ruleForgedSession(ctx context.Context) error {
	for _, name := range []string{"portal_session", "session"} {
		if err := v.anyone.refused(ctx, 401, call{route: "GET /api/dashboard", cookie: name + "=1.9999999999.forged"}); err != nil {
			return err
		}
	}
	return nil
}

func (v *validation) ruleBadSignup(ctx context.Context) error {
	for _, r := range []*portalv1.SignupRequest{
		{Name: "", Password: "long enough"}, {Name: "Capital", Password: "long enough"},
		{Name: strings.Repeat("x", 33), Password: "long enough"}, {Name: "ok-" + v.seed, Password: "short"},
		{Name: "ok-" + v.seed, Password: strings.Repeat("x", 129)},
	} {
		if err := v.anyone.refused(ctx, 400, call{route: "POST /api/signup", body: r}); err != nil {
			return fmt.Errorf("name %q, password of %d bytes: %w", r.Name, len(r.Password), err)
		}
	}
	return nil
}

func (v *validation) ruleSignup(ctx context.Context) error {
	return errors.Join(
		v.ann.signup(ctx, "v-ann-"+v.seed), v.bob.signup(ctx, "v-bob-"+v.seed), v.mate.signup(ctx, "v-mate-"+v.seed),
	)
}
