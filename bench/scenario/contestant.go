package scenario

import (
	"context"
	"fmt"
	"time"

	"isukit/bench/load"
	portalv1 "isukit/proto/portal/v1"
)

type contestant struct {
	*user
	*browser
	login Login
	team  *team
	// planned holds the names under which a newcomer signs up, founds a team and brings a mate; tries counts the attempts.
	planned map[Action]string
	tries   int
	invite  string
	inbox   inbox
}

func (u *user) contestant(ctx context.Context) {
	do, cancel := outlasting(ctx)
	defer cancel()
	c := &contestant{user: u, browser: u.browser(ctx, u.number, userAgents[kindContestant]), planned: map[Action]string{}}
	defer c.close()
	for {
		step, ok := u.next(ctx)
		if !ok {
			return
		}
		// Faults have been counted; a person who can't get in tries again after a while.
		if err := c.step(do, step); err != nil && c.team == nil && !sleep(ctx, time.Second) {
			return
		}
	}
}

func (c *contestant) step(ctx context.Context, s Step) error {
	switch s.Action {
	case actFront:
		return c.frontPage(ctx)
	case actSignup, actCreateTeam, actJoinTeam, actLogin:
		c.planned[s.Action] = s.Text
		return c.enter(ctx, s.Action)
	}
	if c.team == nil {
		if err := c.enter(ctx, actCreateTeam); err != nil {
			return err
		}
	}
	switch s.Action {
	case actSession:
		return c.checkSession(ctx)
	case actDashboard:
		return c.dashboard(ctx)
	case actEnqueue:
		return c.enqueue(ctx, s.Text)
	case actListJobs:
		_, err := c.listJobs(ctx, c.team, 0)
		return err
	case actShowJob:
		return c.showJob(ctx)
	case actNotifications:
		return c.notifications(ctx)
	case actClarifications:
		_, err := c.listClarifications(ctx, c.team, 0)
		return err
	case actAsk:
		return c.ask(ctx, s.Text)
	case actRetag:
		return c.retag(ctx, s.Text)
	case actSearch:
		return c.search(ctx)
	case actRelogin:
		return c.relogin(ctx)
	}
	return fmt.Errorf("scenario: a contestant has no step %q", s.Action)
}

// enter does what is missing of the entrance, up to and including the step until.
func (c *contestant) enter(ctx context.Context, until Action) error {
	if seat, ok := c.cast.seatOf(c.number, len(c.leaders)); ok {
		return c.takeSeat(ctx, c.leaders[seat])
	}
	if c.login.ContestantID == 0 {
		if err := c.signup(ctx, c.attempt(actSignup)); err != nil {
			return err
		}
	}
	if until != actSignup && c.team == nil {
		if err := c.foundTeam(ctx, c.attempt(actCreateTeam)); err != nil {
			return err
		}
	}
	if until == actJoinTeam {
		return c.bringMate(ctx, c.planned[actJoinTeam])
	}
	return nil
}

// attempt returns the planned name, made new for every attempt: the fate of the one before may be unknown.
func (c *contestant) attempt(a Action) string {
	c.tries++
	if c.tries <= 2 {
		return c.planned[a]
	}
	return fmt.Sprintf("%s-%d", c.planned[a], c.tries)
}

// takeSeat logs in as a leader of the dataset.
func (c *contestant) takeSeat(ctx context.Context, l Login) error {
	t := c.model.team(l.TeamID)
	if t == nil {
		return fmt.Errorf("scenario: the dataset has no team %d", l.TeamID)
	}
	c.model.activate(t)
	if err := c.logIn(ctx, l); err != nil {
		return err
	}
	c.settle(l, t)
	return nil
}

// settle notes that the contestant has a team, for the check after the load.
func (c *contestant) settle(l Login, t *team) {
	c.login, c.team = l, t
	c.mu.Lock()
	defer c.mu.Unlock()
	c.settled = append(c.settled, seat{l, t})
}

func passwordOf(name string) string { return "pw:" + name + ":isukit" }

func (b *browser) signUp(ctx context.Context, name string) (Login, error) {
	l := Login{Name: name, Password: passwordOf(name)}
	var resp portalv1.SignupResponse
	err := b.do(ctx, &call{
		route: "POST /api/signup", body: &portalv1.SignupRequest{Name: name, Password: l.Password}, into: &resp,
		check: func(*load.Response) error {
			if got := resp.Contestant; got.GetName() != name || got.GetId() == 0 {
				return load.Faultf(load.Wrong, "sign-up answered another contestant", "signed up %q, answered %v", name, got)
			}
			return nil
		},
	})
	l.ContestantID = resp.Contestant.GetId()
	return l, err
}

func (b *browser) logIn(ctx context.Context, l Login) error {
	var resp portalv1.LoginResponse
	return b.do(ctx, &call{
		route: "POST /api/login", body: &portalv1.LoginRequest{Name: l.Name, Password: l.Password}, into: &resp,
		check: func(*load.Response) error { return isContestant(resp.Contestant, l) },
	})
}

func isContestant(got *portalv1.Contestant, want Login) error {
	if got.GetId() != want.ContestantID || got.GetName() != want.Name {
		return load.Faultf(load.Wrong, "answer is another user's", "logged in as %q (%d), answered %q (%d)", want.Name, want.ContestantID, got.GetName(), got.GetId())
	}
	if want.TeamID != 0 && got.GetTeamId() != want.TeamID {
		return load.Faultf(load.Wrong, "contestant is in the wrong team", "%q is in team %d, answered %d", want.Name, want.TeamID, got.GetTeamId())
	}
	return nil
}

func (c *contestant) signup(ctx context.Context, name string) error {
	l, err := c.signUp(ctx, name)
	if err == nil {
		c.login = l
	}
	return err
}

func (c *contestant) foundTeam(ctx context.Context, name string) error {
	var resp portalv1.CreateTeamResponse
	tags := []string{"isukit", fmt.Sprintf("user-%d", c.number)}
	err := c.do(ctx, &call{
		route: "POST /api/teams", body: &portalv1.CreateTeamRequest{Name: name, Tags: tags}, into: &resp,
		check: func(*load.Response) error {
			if got := resp.Team; got.GetName() != name || got.GetId() == 0 || resp.InviteToken == "" {
				return load.Faultf(load.Wrong, "team was founded otherwise than asked", "asked %q, answered %q (%d)", name, got.GetName(), got.GetId())
			}
			return nil
		},
	})
	if err != nil {
		return err
	}
	c.invite = resp.InviteToken
	t := &team{id: resp.Team.Id, name: name, tags: tags}
	c.model.activate(t)
	l := c.login
	l.TeamID = t.id
	c.settle(l, t)
	return nil
}

// bringMate has a second person sign up and join by the invite token.
func (c *contestant) bringMate(ctx context.Context, name string) error {
	mate := c.user.browser(c.load, c.number, userAgents[kindContestant])
	defer mate.close()
	mate.due = c.takeDue()
	l, err := mate.signUp(ctx, name)
	if err != nil {
		return err
	}
	var resp portalv1.JoinTeamResponse
	return mate.do(ctx, &call{
		route: "POST /api/teams/{team_id}/members", id: c.team.id,
		body: &portalv1.JoinTeamRequest{InviteToken: c.invite}, into: &resp,
		check: func(*load.Response) error {
			return isTeamWith(resp.Team, c.team, l.ContestantID)
		},
	})
}

func isTeamWith(got *portalv1.Team, want *team, member int64) error {
	if got.GetId() != want.id || got.GetName() != want.name {
		return load.Faultf(load.Wrong, "answer is another team's", "asked for %q (%d), answered %q (%d)", want.name, want.id, got.GetName(), got.GetId())
	}
	for _, id := range got.MemberIds {
		if id == member {
			return nil
		}
	}
	return load.Faultf(load.Wrong, "team lacks a member", "contestant %d is not in team %d", member, want.id)
}

func (c *contestant) checkSession(ctx context.Context) error {
	var resp portalv1.GetSessionResponse
	return c.do(ctx, &call{route: "GET /api/session", into: &resp, check: func(*load.Response) error {
		if resp.Contestant == nil {
			return load.Faultf(load.Wrong, "session was lost", "%q is logged in, the answer says nobody is", c.login.Name)
		}
		return isContestant(resp.Contestant, c.login)
	}})
}

func (c *contestant) relogin(ctx context.Context) error {
	if err := c.do(ctx, &call{route: "POST /api/logout", into: &portalv1.LogoutResponse{}}); err != nil {
		return err
	}
	return c.logIn(ctx, c.login)
}
