package app_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"forge.example/account/isukit/app/fanout"
	"isukit/app"
	"isukit/app/dataset"
	routes "isukit/proto"
	portalv1 "isukit/proto/portal/v1"
	"isukit/proto/wire"
)

// parts are the rules of the portal; each starts from freshly initialized data.
var parts = []struct {
	name string
	run  func(*testing.T, *site)
}{
	{"initialize", testInitialize},
	{"routes", testRoutes},
	{"unreadable requests", testUnreadable},
	{"accounts", testAccounts},
	{"sessions", testSessions},
	{"contest clock", testClock},
	{"creating teams", testCreateTeam},
	{"joining teams", testJoinTeam},
	{"updating teams", testUpdateTeam},
	{"searching teams", testSearchTeams},
	{"jobs", testJobs},
	{"job lists", testJobLists},
	{"workers", testWorkers},
	{"results", testResults},
	{"leaderboard", testLeaderboard},
	{"freeze", testFreeze},
	{"phases", testPhases},
	{"clarifications", testClarifications},
	{"notifications", testNotifications},
}

// testParts runs the parts of these names, or all.
func testParts(t *testing.T, s *site, only ...string) {
	for _, part := range parts {
		if len(only) > 0 && !slices.Contains(only, part.name) {
			continue
		}
		t.Run(part.name, func(t *testing.T) {
			s.initialize(t)
			part.run(t, s)
		})
	}
	if log := s.log.String(); strings.Contains(log, `"status":5`) {
		t.Errorf("the portal answered 5xx:\n%s", log)
	}
}

// TestPortal goes through every rule on both engines.
func TestPortal(t *testing.T) {
	onEngines(t, func(t *testing.T, s *site) { testParts(t, s) })
}

// TestPortalOnReplicas does the same on two replicas, which must hold the same rows at the end.
func TestPortalOnReplicas(t *testing.T) {
	forEachEngine(t, func(t *testing.T, engine string) {
		s := newSite(t, engine, dataset.Small, 2)
		testParts(t, s)
		s.checkReplicas(t)
	})
}

// TestPortalSplit goes through the rules of what is split off, and its races, with jobs and results on one server and the
// rest on two replicas.
func TestPortalSplit(t *testing.T) {
	forEachEngine(t, func(t *testing.T, engine string) {
		s := newSplitSite(t, engine, dataset.Small)
		testParts(t, s, "initialize", "jobs", "job lists", "workers", "results", "leaderboard", "freeze", "phases", "notifications")
		testRaces(t, s, "two jobs of a team", "two results of a job", "many workers", "notifications", "initialize under load")
		s.checkReplicas(t)
	})
}

// TestPortalReplicated goes through the rules that read what was just written, on a source and a replica that copies from it,
// with reads over both.
func TestPortalReplicated(t *testing.T) {
	forEachEngine(t, func(t *testing.T, engine string) {
		s := newReplicatedSite(t, engine)
		testParts(t, s, "initialize", "accounts", "contest clock", "updating teams", "jobs", "workers", "results", "leaderboard", "notifications")
	})
}

// checkReplicas wants all replicas to hold the same rows, and none to have been ejected.
func (s *site) checkReplicas(t *testing.T) {
	t.Helper()
	report, err := s.pool.Check(t.Context(), fanout.CheckOptions{})
	if err != nil || !report.Clean() || !s.pool.Whole() {
		t.Errorf("the replicas differ: %+v (%v)", report, err)
	}
}

func testInitialize(t *testing.T, s *site) {
	var res portalv1.InitializeResponse
	start := time.Now()
	s.client().do(t, "POST", "/initialize", &portalv1.InitializeRequest{}, &res)
	took := time.Since(start)
	want := &portalv1.InitializeResponse{Language: "go", ApiUrl: "http://127.0.0.1:9292"}
	if diff := cmp.Diff(want, &res, protocmp.Transform()); diff != "" {
		t.Errorf("answer (-want +got):\n%s", diff)
	}
	t.Logf("initialize of scale small took %v", took)
	for table, want := range map[string]int{
		"contest": 1, "contestants": len(s.data.Contestants) + 1, "teams": len(s.data.Teams), "jobs": len(s.data.Jobs),
		"results": len(s.data.Jobs), "clarifications": len(s.data.Clarifications), "notifications": 0,
	} {
		var got int
		if err := s.reader(table).GetContext(fanout.Fresh(t.Context()), &got, "SELECT COUNT(*) FROM "+table); err != nil || got != want {
			t.Errorf("table %s has %d rows (%v), want %d", table, got, err, want)
		}
	}
	for _, table := range []string{"jobs", "teams"} {
		var left []string
		err := s.reader(table).SelectContext(fanout.Fresh(t.Context()), &left,
			"SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE() AND (table_name LIKE '%\\_new' OR table_name LIKE '%\\_old')")
		if err != nil || len(left) != 0 {
			t.Errorf("tables %v are left over beside %s (%v)", left, table, err)
		}
	}
}

// testRoutes holds the mux against routes.tsv in both directions.
func testRoutes(t *testing.T, s *site) {
	c := s.worker()
	for _, r := range routes.Portal() {
		path := strings.NewReplacer("{team_id}", "1", "{job_id}", "1", "{clarification_id}", "1").Replace(r.Path)
		got, err := c.send(t.Context(), r.Method, path, nil)
		if err != nil {
			t.Fatal(err)
		}
		e, _ := wire.FromResponse(got.status, got.header.Get("Content-Type"), got.body)
		if e.GetCode() == "no_route" || e.GetCode() == "bad_method" {
			t.Errorf("%s %s is in routes.tsv and is answered %v", r.Method, r.Path, e)
		}
		for _, method := range []string{"GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"} {
			if _, served := routes.Portal().Match(method, path); !served {
				got := c.refused(t, http.StatusMethodNotAllowed, "bad_method", method, path, nil)
				if !strings.Contains(got.Hint, r.Method) {
					t.Errorf("%s %s: hint %q does not name %s", method, path, got.Hint, r.Method)
				}
			}
		}
	}
	for _, path := range []string{"/", "/api", "/api/", "/api/nothing", "/api/teams/1/nothing", "/api/contest/", "//api/contest",
		"/api/../api/contest", "/worker/jobs", "/initialize/again", "/%ff"} {
		c.refused(t, http.StatusNotFound, "no_route", "GET", path, nil)
	}
	if diff := cmp.Diff(routes.Portal(), app.Routes(app.RoleAll)); diff != "" {
		t.Errorf("routes.tsv and the mux differ (-file +mux):\n%s", diff)
	}
}

func testUnreadable(t *testing.T, s *site) {
	c := s.client()
	good, err := proto.Marshal(&portalv1.LoginRequest{Name: s.data.Admin.Name, Password: s.data.Admin.Password})
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, contentType string
		body              []byte
		status            int
		code              string
	}{
		{"json", "application/json", []byte(`{"name":"admin"}`), 415, "bad_content_type"},
		{"no type", "", good, 415, "bad_content_type"},
		{"truncated", wire.ContentType, good[:len(good)-2], 400, "malformed_body"},
		{"bad utf-8", wire.ContentType, []byte("\x0a\x02\xff\xfe"), 400, "bad_utf8"},
		{"oversized", wire.ContentType, make([]byte, 2<<20), 413, "body_too_large"},
		{"good", "application/vnd.google.protobuf; charset=binary", good, 200, ""},
	}
	for _, tt := range tests {
		got, err := c.sendRaw(t.Context(), "POST", "/api/login", tt.contentType, tt.body)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		e, _ := wire.FromResponse(got.status, got.header.Get("Content-Type"), got.body)
		if got.status != tt.status || tt.code != "" && e.GetCode() != tt.code {
			t.Errorf("%s: %d %v, want %d %s", tt.name, got.status, e, tt.status, tt.code)
		}
	}
	// A body where none belongs is ignored, unless it is long.
	if got, err := c.sendRaw(t.Context(), "POST", "/api/logout", "text/plain", []byte("bye")); err != nil || got.status != 200 {
		t.Errorf("logout with a body: %v, %v", got, err)
	}
	if got, err := c.sendRaw(t.Context(), "POST", "/api/logout", "", make([]byte, 1<<20)); err != nil || got.status != 413 {
		t.Errorf("logout with a long body: %v, %v", got, err)
	}
	c.refused(t, 400, "bad_query", "GET", "/api/teams?name=%zz", nil)
	c.refused(t, 400, "bad_parameter", "GET", "/api/teams?name=%ff", nil)
	c.refused(t, 400, "bad_parameter", "GET", "/api/teams?tag=%ff%fe", nil)
}

func testClock(t *testing.T, s *site) {
	var got portalv1.GetContestResponse
	s.client().do(t, "GET", "/api/contest", nil, &got)
	now := time.Now().UnixMicro()
	hour := time.Hour.Microseconds()
	c := got.GetContest()
	if c.GetPhase() != portalv1.Phase_PHASE_RUNNING || c.FreezesAtUs-c.StartsAtUs != 8*hour || c.EndsAtUs-c.FreezesAtUs != hour ||
		c.StartsAtUs > now-hour || c.StartsAtUs < now-hour-time.Minute.Microseconds() {
		t.Errorf("the clock after initialize is %v at %d", c, now)
	}
	admin := s.admin(t)
	s.login(t, s.member(t, 0)).refused(t, 403, "not_admin", "PUT", "/api/contest", &portalv1.UpdateContestRequest{})
	for _, bad := range []*portalv1.UpdateContestRequest{
		{StartsAtUs: -1}, {StartsAtUs: 2, FreezesAtUs: 1, EndsAtUs: 3}, {StartsAtUs: 1, FreezesAtUs: 3, EndsAtUs: 2},
	} {
		admin.refused(t, 400, "bad_field", "PUT", "/api/contest", bad)
	}
	for _, tt := range []struct {
		starts, freezes, ends int64
		want                  portalv1.Phase
	}{
		{1, 2, 3, portalv1.Phase_PHASE_BEFORE},
		{-1, 2, 3, portalv1.Phase_PHASE_RUNNING},
		{-2, -1, 3, portalv1.Phase_PHASE_FROZEN},
		{-3, -2, -1, portalv1.Phase_PHASE_ENDED},
		{-3, -3, -3, portalv1.Phase_PHASE_ENDED},
	} {
		s.setClock(t, admin, tt.starts, tt.freezes, tt.ends)
		s.client().do(t, "GET", "/api/contest", nil, &got)
		if got.Contest.GetPhase() != tt.want {
			t.Errorf("clock %+v: phase %v, want %v", tt, got.Contest.GetPhase(), tt.want)
		}
	}
}

// setClock sets the contest's moments in hours from now.
func (s *site) setClock(t *testing.T, admin *client, starts, freezes, ends int64) {
	t.Helper()
	now, hour := s.now().UnixMicro(), time.Hour.Microseconds()
	m := &portalv1.UpdateContestRequest{StartsAtUs: now + starts*hour, FreezesAtUs: now + freezes*hour, EndsAtUs: now + ends*hour}
	var res portalv1.UpdateContestResponse
	admin.do(t, "PUT", "/api/contest", m, &res)
	if res.Contest.GetStartsAtUs() != m.StartsAtUs || res.Contest.GetEndsAtUs() != m.EndsAtUs {
		t.Fatalf("the clock was set to %v, want %v", res.Contest, m)
	}
}

func testPhases(t *testing.T, s *site) {
	admin := s.admin(t)
	member := s.login(t, s.member(t, 0))
	worker := s.worker()
	teamPath := fmt.Sprint("/api/teams/", s.data.Teams[0].ID)
	type outcome struct{ teams, jobs bool }
	for i, tt := range []struct {
		name                  string
		starts, freezes, ends int64
		want                  outcome
	}{
		{"before", 1, 2, 3, outcome{teams: true, jobs: false}},
		{"running", -1, 2, 3, outcome{teams: true, jobs: true}},
		{"frozen", -2, -1, 3, outcome{teams: false, jobs: true}},
		{"ended", -3, -2, -1, outcome{teams: false, jobs: false}},
	} {
		// A job that waits and one that runs from when jobs were taken.
		s.setClock(t, admin, -1, 2, 3)
		other := s.login(t, s.member(t, 10+i))
		waiting := enqueue(t, other)
		s.setClock(t, admin, tt.starts, tt.freezes, tt.ends)

		founder := s.login(t, s.free(t, i))
		check := func(what string, allowed bool, refusal string, err error) {
			t.Helper()
			if allowed && err != nil || !allowed && (err == nil || !strings.HasPrefix(err.Error(), "403 "+refusal)) {
				t.Errorf("%s: %s: %v, allowed is %v", tt.name, what, err, allowed)
			}
		}
		check("create team", tt.want.teams, "teams_closed", founder.try(t.Context(), "POST", "/api/teams",
			&portalv1.CreateTeamRequest{Name: "phase " + tt.name}, &portalv1.CreateTeamResponse{}))
		check("update team", tt.want.teams, "teams_closed", member.try(t.Context(), "PUT", teamPath,
			&portalv1.UpdateTeamRequest{Tags: []string{tt.name}}, &portalv1.UpdateTeamResponse{}))
		joiner, room := s.login(t, s.free(t, 4+i)), s.roomyTeam(t, i)
		check("join team", tt.want.teams, "teams_closed", joiner.try(t.Context(), "POST", fmt.Sprintf("/api/teams/%d/members", room.ID),
			&portalv1.JoinTeamRequest{InviteToken: room.InviteToken}, &portalv1.JoinTeamResponse{}))
		check("ask", tt.want.jobs, "not_running", member.try(t.Context(), "POST", "/api/clarifications",
			&portalv1.AskClarificationRequest{Question: "?"}, &portalv1.AskClarificationResponse{}))
		check("enqueue", tt.want.jobs, "not_running", s.login(t, s.member(t, 20+i)).try(t.Context(), "POST", "/api/jobs",
			&portalv1.EnqueueJobRequest{Target: "t"}, &portalv1.EnqueueJobResponse{}))
		check("sign up", true, "", s.client().try(t.Context(), "POST", "/api/signup",
			&portalv1.SignupRequest{Name: "phase-" + tt.name, Password: "long enough"}, &portalv1.SignupResponse{}))
		check("answer", true, "", admin.try(t.Context(), "PUT", fmt.Sprint("/api/clarifications/", s.data.Clarifications[i].ID),
			&portalv1.AnswerClarificationRequest{Answer: tt.name}, &portalv1.AnswerClarificationResponse{}))

		if got := receive(t, worker, "w"); (got != nil) != tt.want.jobs {
			t.Errorf("%s: a worker received %v", tt.name, got)
		}
		// A job that was received in time may be reported at any time.
		s.setClock(t, admin, -1, 2, 3)
		for got := receive(t, worker, "w"); got != nil; got = receive(t, worker, "w") {
			continue
		}
		s.setClock(t, admin, tt.starts, tt.freezes, tt.ends)
		check("report progress", true, "", worker.try(t.Context(), "POST", fmt.Sprintf("/worker/jobs/%d/progress", waiting.Id),
			&portalv1.ReportProgressRequest{Worker: "w", Score: 1}, &portalv1.ReportProgressResponse{}))
		check("report result", true, "", worker.try(t.Context(), "POST", fmt.Sprintf("/worker/jobs/%d/result", waiting.Id),
			&portalv1.ReportResultRequest{Worker: "w", Score: 2}, &portalv1.ReportResultResponse{}))
	}
}

// roomyTeam gives the n-th team of the dataset that has room for one more.
func (s *site) roomyTeam(t *testing.T, n int) dataset.Team {
	t.Helper()
	for _, team := range s.data.Teams {
		if len(team.MemberIDs) < 3 {
			if n--; n < 0 {
				return team
			}
		}
	}
	t.Fatal("the dataset has too few teams with room")
	return dataset.Team{}
}
