package app_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	"isukit/app"
	portalv1 "isukit/proto/portal/v1"
)

func testAccounts(t *testing.T, s *site) {
	c := s.client()
	var res portalv1.SignupResponse
	c.do(t, "POST", "/api/signup", &portalv1.SignupRequest{Name: "new-one_1", Password: "パスワード"}, &res)
	if res.Contestant.GetName() != "new-one_1" || res.Contestant.GetId() == 0 || res.Contestant.GetAdmin() || res.Contestant.GetTeamId() != 0 {
		t.Errorf("signed up as %v", res.Contestant)
	}
	var session portalv1.GetSessionResponse
	c.do(t, "GET", "/api/session", nil, &session)
	if diff := cmp.Diff(res.Contestant, session.Contestant, protocmp.Transform()); diff != "" {
		t.Errorf("who signs up is logged in (-want +got):\n%s", diff)
	}
	for _, name := range []string{"", "Capital", "with space", "ümlaut", strings.Repeat("x", 33), "semi;colon"} {
		f := s.client().refused(t, 400, "bad_field", "POST", "/api/signup", &portalv1.SignupRequest{Name: name, Password: "long enough"})
		if !strings.Contains(f.Message, "name") {
			t.Errorf("the refusal of name %q does not name the field: %q", name, f.Message)
		}
	}
	for _, password := range []string{"", "7 bytes", strings.Repeat("x", 129)} {
		f := s.client().refused(t, 400, "bad_field", "POST", "/api/signup", &portalv1.SignupRequest{Name: "another", Password: password})
		if !strings.Contains(f.Message, "password") {
			t.Errorf("the refusal of password %q does not name the field: %q", password, f.Message)
		}
	}
	s.client().refused(t, 409, "name_taken", "POST", "/api/signup", &portalv1.SignupRequest{Name: "new-one_1", Password: "another password"})
	s.client().refused(t, 409, "name_taken", "POST", "/api/signup", &portalv1.SignupRequest{Name: "admin", Password: "another password"})
	for _, l := range []*portalv1.LoginRequest{
		{Name: "new-one_1", Password: "wrong password"}, {Name: "NEW-ONE_1", Password: "パスワード"}, {Name: "new-one_1 ", Password: "パスワード"},
		{Name: "nobody", Password: "パスワード"}, {},
	} {
		s.client().refused(t, 401, "bad_login", "POST", "/api/login", l)
	}
	var login portalv1.LoginResponse
	s.client().do(t, "POST", "/api/login", &portalv1.LoginRequest{Name: "new-one_1", Password: "パスワード"}, &login)
	if diff := cmp.Diff(res.Contestant, login.Contestant, protocmp.Transform()); diff != "" {
		t.Errorf("login (-want +got):\n%s", diff)
	}
	who := s.member(t, 3)
	s.client().do(t, "POST", "/api/login", &portalv1.LoginRequest{Name: who.Name, Password: who.Password}, &login)
	want := &portalv1.Contestant{Id: who.ID, Name: who.Name, TeamId: who.TeamID}
	if diff := cmp.Diff(want, login.Contestant, protocmp.Transform()); diff != "" {
		t.Errorf("login of the dataset's contestant (-want +got):\n%s", diff)
	}
}

func testSessions(t *testing.T, s *site) {
	c := s.client()
	got, err := c.send(t.Context(), "POST", "/api/signup", &portalv1.SignupRequest{Name: "cookie", Password: "long enough"})
	if err != nil {
		t.Fatal(err)
	}
	cookie := got.header.Get("Set-Cookie")
	for _, want := range []string{app.SessionCookie + "=", "; HttpOnly", "; SameSite=Lax", "; Path=/"} {
		if !strings.Contains(cookie, want) {
			t.Errorf("Set-Cookie %q lacks %q", cookie, want)
		}
	}
	c.refused(t, 403, "no_team", "GET", "/api/dashboard", nil)

	c.do(t, "POST", "/api/logout", nil, &portalv1.LogoutResponse{})
	c.refused(t, 401, "no_session", "GET", "/api/dashboard", nil)
	c.do(t, "POST", "/api/logout", nil, &portalv1.LogoutResponse{})
	var session portalv1.GetSessionResponse
	c.do(t, "GET", "/api/session", nil, &session)
	if session.Contestant != nil || session.Contest.GetPhase() != portalv1.Phase_PHASE_RUNNING {
		t.Errorf("session of nobody is %v", &session)
	}

	value := strings.TrimPrefix(strings.Split(cookie, ";")[0], app.SessionCookie+"=")
	parts := strings.Split(value, ".")
	forged := []string{"", "x", "..", value[:len(value)-1], value + "x", strings.Join([]string{"1", parts[1], parts[2]}, "."),
		strings.Join([]string{parts[0], "99999999999", parts[2]}, "."), "a.b.", strings.Repeat("9", 4000)}
	for _, v := range append(forged, value) {
		err := s.withCookie(t, v).try(t.Context(), "GET", "/api/jobs", nil, &portalv1.ListJobsResponse{})
		want := "401 no_session"
		if v == value {
			want = "403 no_team"
		}
		if err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("cookie %q: %v, want %s", v, err, want)
		}
	}
	s.setShift(25 * time.Hour)
	s.withCookie(t, value).refused(t, 401, "no_session", "GET", "/api/jobs", nil)

	s.initialize(t)
	s.withCookie(t, value).refused(t, 401, "no_session", "GET", "/api/jobs", nil)
	s.withCookie(t, value).refused(t, 401, "no_session", "POST", "/api/teams", &portalv1.CreateTeamRequest{Name: "ghosts"})
	for _, path := range []string{"/api/dashboard", "/api/jobs", "/api/jobs/1", "/api/clarifications", "/api/notifications"} {
		s.client().refused(t, 401, "no_session", "GET", path, nil)
	}
	s.client().refused(t, 401, "no_session", "PUT", "/api/teams/1", &portalv1.UpdateTeamRequest{})
	s.client().refused(t, 401, "no_session", "POST", "/api/teams/1/members", &portalv1.JoinTeamRequest{})
	s.client().refused(t, 401, "no_session", "PUT", "/api/contest", &portalv1.UpdateContestRequest{})
	s.client().refused(t, 401, "no_session", "PUT", "/api/clarifications/1", &portalv1.AnswerClarificationRequest{})
}

// withCookie gives a client that shows exactly this session.
func (s *site) withCookie(t *testing.T, value string) *client {
	t.Helper()
	c := s.client()
	at, err := url.Parse(s.url)
	if err != nil {
		t.Fatal(err)
	}
	c.http.Jar.SetCookies(at, []*http.Cookie{{Name: app.SessionCookie, Value: value}})
	return c
}
