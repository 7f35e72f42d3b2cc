package scenario

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"isukit/bench/load"
	portalv1 "isukit/proto/portal/v1"
)

const (
	// maxFaults is how many faults a phase collects before it says "and more".
	maxFaults = 20
	// checkers is how many teams are checked at a time.
	checkers = 8
	// everyTeam is the largest limit that the leaderboard takes.
	everyTeam = 10000
)

type faultList struct {
	mu    sync.Mutex
	texts []string
	more  int
}

// add notes that what was checked ended with err, unless that is nil or only says that ctx ended.
func (l *faultList) add(what string, err error) {
	if err == nil || errors.Is(err, context.Canceled) {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.texts) == maxFaults {
		l.more++
		return
	}
	l.texts = append(l.texts, what+": "+err.Error())
}

func (l *faultList) list() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.more > 0 {
		return append(l.texts, fmt.Sprintf("and %d more", l.more))
	}
	return l.texts
}

// Check implements bench.Scenario: every write that was acknowledged is there, once, and nothing else is.
func (p *Portal) Check(ctx context.Context) ([]string, error) {
	// The leaderboard may be a second old; after that everything acknowledged must stand on it.
	if !sleep(ctx, leaderboardAge+100*time.Millisecond) {
		return nil, ctx.Err()
	}
	var faults faultList
	faults.add("leaderboard after the load", p.checkWholeLeaderboard(ctx))
	p.mu.Lock()
	seats := p.settled
	p.mu.Unlock()
	var g errgroup.Group
	g.SetLimit(checkers)
	for _, s := range seats {
		g.Go(func() error {
			if ctx.Err() == nil {
				faults.add("data after the load", p.checkSeat(ctx, s))
			}
			return nil
		})
	}
	_ = g.Wait() // no function of the group fails
	return faults.list(), ctx.Err()
}

func (p *Portal) checkWholeLeaderboard(ctx context.Context) error {
	b := p.quietBrowser(-1, userAgents[kindAudience])
	defer b.close()
	var resp portalv1.GetLeaderboardResponse
	return b.do(ctx, &call{
		route: "GET /api/leaderboard", query: fmt.Sprintf("limit=%d", everyTeam), into: &resp,
		check: func(r *load.Response) error {
			if int(resp.Total) != len(resp.Standings) {
				return load.Faultf(load.Wrong, "leaderboard's total is not its length", "%d of %d standings", len(resp.Standings), resp.Total)
			}
			return p.model.checkLeaderboard(resp.Standings, everyTeam, r.Sent, r.Done)
		},
	})
}

// checkSeat reads everything that one team can read about itself.
func (p *Portal) checkSeat(ctx context.Context, s seat) (err error) {
	b := p.quietBrowser(-1, userAgents[kindContestant])
	defer func() { err = errors.Join(err, b.Client.Close()) }()
	if err := b.logIn(ctx, s.login); err != nil {
		return err
	}
	if err := b.checkAllJobs(ctx, s.team); err != nil {
		return err
	}
	if err := b.checkAllQuestions(ctx, s.team); err != nil {
		return err
	}
	var in inbox
	for seq := int64(-1); seq != in.lastSeq; {
		seq = in.lastSeq
		if err := b.poll(ctx, s.team, &in); err != nil {
			return err
		}
	}
	return nil
}

// checkAllJobs pages back to where the dataset begins.
func (b *browser) checkAllJobs(ctx context.Context, t *team) error {
	for before := int64(0); ; {
		jobs, err := b.listJobs(ctx, t, before)
		if err != nil {
			return err
		}
		if len(jobs) < listedJobs || b.p.model.ofDataset(jobs[len(jobs)-1].CreatedAtUs) {
			return nil
		}
		before = jobs[len(jobs)-1].Id
	}
}

func (b *browser) checkAllQuestions(ctx context.Context, t *team) error {
	for before := int64(0); ; {
		questions, err := b.listClarifications(ctx, t, before)
		if err != nil {
			return err
		}
		if len(questions) < listedClarifications || b.p.model.ofDataset(questions[len(questions)-1].AskedAtUs) {
			return nil
		}
		before = questions[len(questions)-1].Id
	}
}

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
