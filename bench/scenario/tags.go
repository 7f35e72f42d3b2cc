package scenario

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"isukit/bench/load"
	portalv1 "isukit/proto/portal/v1"
)

// retag replaces the team's tags.
func (c *contestant) retag(ctx context.Context, tag string) error {
	t := c.team
	tags := []string{tag, "日本語タグ"}
	t.mu.Lock()
	before := t.tags
	t.tags, t.tagsUnknown = tags, true
	t.mu.Unlock()
	var resp portalv1.UpdateTeamResponse
	req := &call{
		route: "PUT /api/teams/{team_id}", id: t.id, body: &portalv1.UpdateTeamRequest{Tags: tags}, into: &resp,
		check: func(*load.Response) error { return hasTags(resp.Team, t, tags) },
	}
	err := c.do(ctx, req)
	t.mu.Lock()
	defer t.mu.Unlock()
	switch req.outcome(err) {
	case applied:
		t.tagsUnknown = false
	case notApplied:
		t.tags, t.tagsUnknown = before, false
	}
	return err
}

func hasTags(got *portalv1.Team, t *team, tags []string) error {
	if got.GetId() != t.id || got.GetName() != t.name {
		return load.Faultf(load.Wrong, "answer is another team's", "asked for %q (%d), answered %q (%d)", t.name, t.id, got.GetName(), got.GetId())
	}
	if !slices.Equal(got.Tags, tags) {
		return load.Faultf(load.Stale, "team has other tags than were set", "team %d: %q instead of %q", t.id, got.Tags, tags)
	}
	return nil
}

// search looks for the contestant's own team by its tag and name; only its own user changes either.
func (c *contestant) search(ctx context.Context) error {
	c.team.mu.Lock()
	tags, unsure := c.team.tags, c.team.tagsUnknown
	c.team.mu.Unlock()
	if unsure || len(tags) == 0 {
		return nil
	}
	return c.searchTeam(ctx, c.team, tags)
}

func (b *browser) searchTeam(ctx context.Context, t *team, tags []string) error {
	var resp portalv1.SearchTeamsResponse
	query := fmt.Sprintf("name=%s&tag=%s", url.QueryEscape(t.name), url.QueryEscape(tags[0]))
	return b.do(ctx, &call{route: "GET /api/teams", query: query, into: &resp, check: func(*load.Response) error {
		found := 0
		for _, got := range resp.Teams {
			if !strings.Contains(got.Name, t.name) || !slices.Contains(got.Tags, tags[0]) {
				return load.Faultf(load.Wrong, "search found a team that does not match", "%q with %q for name %q, tag %q", got.Name, got.Tags, t.name, tags[0])
			}
			if got.Id != t.id {
				continue
			}
			found++
			if err := hasTags(got, t, tags); err != nil {
				return err
			}
		}
		if found != 1 {
			return load.Faultf(load.Stale, "search does not find a team exactly once", "team %d %q with tag %q: %d times of %d", t.id, t.name, tags[0], found, resp.Total)
		}
		return nil
	}})
}
