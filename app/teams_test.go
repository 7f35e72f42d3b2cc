package app_test

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	"isukit/app/dataset"
	portalv1 "isukit/proto/portal/v1"
)

func wantTeam(team dataset.Team) *portalv1.Team {
	return &portalv1.Team{Id: team.ID, Name: team.Name, Tags: team.Tags, MemberIds: team.MemberIDs, CreatedAtUs: team.CreatedAtUS}
}

func testCreateTeam(t *testing.T, s *site) {
	founder := s.free(t, 0)
	c := s.login(t, founder)
	for _, bad := range []*portalv1.CreateTeamRequest{
		{Name: ""}, {Name: strings.Repeat("あ", 65)}, {Name: "x", Tags: make([]string, 11)}, {Name: "x", Tags: []string{""}},
		{Name: "x", Tags: []string{"ok", strings.Repeat("あ", 33)}},
	} {
		f := c.refused(t, 400, "bad_field", "POST", "/api/teams", bad)
		if !strings.HasPrefix(f.Message, "name") && !strings.HasPrefix(f.Message, "tags") {
			t.Errorf("the refusal of %v does not name the field: %q", bad, f.Message)
		}
	}
	c.refused(t, 409, "team_name_taken", "POST", "/api/teams", &portalv1.CreateTeamRequest{Name: s.data.Teams[0].Name})

	req := &portalv1.CreateTeamRequest{Name: strings.Repeat("あ", 64), Tags: []string{"学生", `"q" \ <b>&'`, "🍣", "a\u2028b", "a\nb\tc\x00", "\x01\x1f\x7f\u0085", "/\\/", strings.Repeat("あ", 32)}}
	var res portalv1.CreateTeamResponse
	c.do(t, "POST", "/api/teams", req, &res)
	want := &portalv1.Team{Id: res.Team.GetId(), Name: req.Name, Tags: req.Tags, MemberIds: []int64{founder.ID}, CreatedAtUs: res.Team.GetCreatedAtUs()}
	if diff := cmp.Diff(want, res.Team, protocmp.Transform()); diff != "" || res.InviteToken == "" || res.Team.GetId() <= s.data.Teams[49].ID {
		t.Errorf("created with token %q (-want +got):\n%s", res.InviteToken, diff)
	}
	var shown portalv1.GetTeamResponse
	s.client().do(t, "GET", fmt.Sprint("/api/teams/", res.Team.Id), nil, &shown)
	if diff := cmp.Diff(want, shown.Team, protocmp.Transform()); diff != "" {
		t.Errorf("shown (-want +got):\n%s", diff)
	}
	for _, tag := range req.Tags {
		var found portalv1.SearchTeamsResponse
		s.client().do(t, "GET", "/api/teams?name="+url.QueryEscape("あああ")+"&tag="+url.QueryEscape(tag), nil, &found)
		if len(found.Teams) != 1 || found.Total != 1 {
			t.Errorf("a search for tag %q finds %d teams, want the new one", tag, found.Total)
		}
	}
	c.refused(t, 409, "in_team", "POST", "/api/teams", &portalv1.CreateTeamRequest{Name: "a second one"})
	// Names are compared byte by byte: neither case nor a space at the end is ignored.
	for i, name := range []string{"Case", "case", "case ", "Cäse", "Case\u0301"} {
		s.login(t, s.free(t, 1+i)).do(t, "POST", "/api/teams", &portalv1.CreateTeamRequest{Name: name}, &res)
		if len(res.Team.GetTags()) != 0 {
			t.Errorf("team without tags has %q", res.Team.GetTags())
		}
	}
}

func testJoinTeam(t *testing.T, s *site) {
	team := s.roomyTeam(t, 0)
	path := fmt.Sprintf("/api/teams/%d/members", team.ID)
	first := s.free(t, 0)
	c := s.login(t, first)
	c.refused(t, 403, "wrong_invite", "POST", path, &portalv1.JoinTeamRequest{InviteToken: team.InviteToken + "x"})
	c.refused(t, 403, "wrong_invite", "POST", path, &portalv1.JoinTeamRequest{InviteToken: s.data.Teams[49].InviteToken})
	c.refused(t, 400, "bad_field", "POST", path, &portalv1.JoinTeamRequest{})
	c.refused(t, 404, "not_found", "POST", "/api/teams/1/members", &portalv1.JoinTeamRequest{InviteToken: team.InviteToken})
	c.refused(t, 404, "not_found", "POST", "/api/teams/x/members", &portalv1.JoinTeamRequest{InviteToken: team.InviteToken})
	s.login(t, s.member(t, 30)).refused(t, 409, "in_team", "POST", path, &portalv1.JoinTeamRequest{InviteToken: team.InviteToken})

	members := slices.Clone(team.MemberIDs)
	for n := 0; len(members) < 3; n++ {
		who := s.free(t, n)
		members = append(members, who.ID)
		slices.Sort(members)
		var res portalv1.JoinTeamResponse
		s.login(t, who).do(t, "POST", path, &portalv1.JoinTeamRequest{InviteToken: team.InviteToken}, &res)
		want := wantTeam(team)
		want.MemberIds = members
		if diff := cmp.Diff(want, res.Team, protocmp.Transform()); diff != "" {
			t.Errorf("joined (-want +got):\n%s", diff)
		}
	}
	c.refused(t, 409, "in_team", "POST", path, &portalv1.JoinTeamRequest{InviteToken: team.InviteToken})
	s.login(t, s.free(t, 5)).refused(t, 409, "team_full", "POST", path, &portalv1.JoinTeamRequest{InviteToken: team.InviteToken})
	var session portalv1.GetSessionResponse
	c.do(t, "GET", "/api/session", nil, &session)
	if session.Contestant.GetTeamId() != team.ID {
		t.Errorf("who joined team %d is in team %d", team.ID, session.Contestant.GetTeamId())
	}
}

func testUpdateTeam(t *testing.T, s *site) {
	team := s.data.Teams[5]
	path := fmt.Sprint("/api/teams/", team.ID)
	c := s.login(t, s.member(t, 5))
	for _, tags := range [][]string{{"z", "a", "z"}, nil, {`\"`, "日本"}} {
		var res portalv1.UpdateTeamResponse
		c.do(t, "PUT", path, &portalv1.UpdateTeamRequest{Tags: tags}, &res)
		want := wantTeam(team)
		want.Tags = tags
		if diff := cmp.Diff(want, res.Team, protocmp.Transform()); diff != "" {
			t.Errorf("updated (-want +got):\n%s", diff)
		}
		var shown portalv1.GetTeamResponse
		s.client().do(t, "GET", path, nil, &shown)
		if diff := cmp.Diff(want, shown.Team, protocmp.Transform()); diff != "" {
			t.Errorf("shown (-want +got):\n%s", diff)
		}
	}
	c.refused(t, 400, "bad_field", "PUT", path, &portalv1.UpdateTeamRequest{Tags: []string{strings.Repeat("x", 33)}})
	s.login(t, s.member(t, 6)).refused(t, 403, "not_member", "PUT", path, &portalv1.UpdateTeamRequest{})
	s.login(t, s.free(t, 0)).refused(t, 403, "not_member", "PUT", path, &portalv1.UpdateTeamRequest{})
	s.admin(t).refused(t, 403, "not_member", "PUT", path, &portalv1.UpdateTeamRequest{})
	c.refused(t, 404, "not_found", "PUT", "/api/teams/1", &portalv1.UpdateTeamRequest{})
	for _, id := range []string{"0", "1", "-5", "x", "9223372036854775808", "%e3%81%82", "1%2f2", "%ff"} {
		s.client().refused(t, 404, "not_found", "GET", "/api/teams/"+id, nil)
	}
}

func testSearchTeams(t *testing.T, s *site) {
	type search struct{ name, tag string }
	searches := []search{{"", ""}, {"no such name", ""}, {"", "no such tag"}, {"%", ""}, {"_", ""}, {"の", ""}, {"1", ""}, {"'", "\""}, {"S", "go"}}
	for _, team := range s.data.Teams {
		searches = append(searches, search{string([]rune(team.Name)[:1]), ""}, search{team.Name, ""})
		for _, tag := range team.Tags {
			searches = append(searches, search{"", tag}, search{" ", tag}, search{"", tag + "x"}, search{"", strings.ToUpper(tag)})
		}
	}
	slices.SortFunc(searches, func(a, b search) int { return strings.Compare(a.name+"\x00"+a.tag, b.name+"\x00"+b.tag) })
	for _, q := range slices.Compact(searches) {
		var want []*portalv1.Team
		for _, team := range s.data.Teams {
			if strings.Contains(team.Name, q.name) && (q.tag == "" || slices.Contains(team.Tags, q.tag)) {
				want = append(want, wantTeam(team))
			}
		}
		s.searchAll(t, q.name, q.tag, want)
	}
	var res portalv1.SearchTeamsResponse
	s.client().do(t, "GET", "/api/teams?page=1000000", nil, &res)
	if len(res.Teams) != 0 || int(res.Total) != len(s.data.Teams) {
		t.Errorf("a page far behind the last has %d teams of %d", len(res.Teams), res.Total)
	}
	for _, page := range []string{"0", "-1", "x", "1000001", "99999999999999999999"} {
		s.client().refused(t, 400, "bad_parameter", "GET", "/api/teams?page="+page, nil)
	}
}

// searchAll wants a search to give exactly these teams, 20 a page.
func (s *site) searchAll(t *testing.T, name, tag string, want []*portalv1.Team) {
	t.Helper()
	var got []*portalv1.Team
	for page := 1; ; page++ {
		var res portalv1.SearchTeamsResponse
		query := url.Values{"name": {name}, "tag": {tag}, "page": {fmt.Sprint(page)}}
		s.client().do(t, "GET", "/api/teams?"+query.Encode(), nil, &res)
		if int(res.Total) != len(want) {
			t.Errorf("name %q, tag %q, page %d: total %d, want %d", name, tag, page, res.Total, len(want))
			return
		}
		got = append(got, res.Teams...)
		if len(res.Teams) < 20 {
			break
		}
	}
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Errorf("name %q, tag %q (-want +got):\n%s", name, tag, diff)
	}
}
