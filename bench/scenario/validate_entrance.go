package scenario

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"isukit/bench/load"
	portalv1 "isukit/proto/portal/v1"
)

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
