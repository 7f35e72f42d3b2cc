package scenario

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"isukit/bench/load"
	portalv1 "isukit/proto/portal/v1"

	"golang.org/x/sync/errgroup"
)

const (
	// maxFaults is how many faults a phase collects before it says "and more".
	maxFaults = 20
	// checkers is how many teams are checked at a time.
	checkers = 8
	// everyTeam is the largest limit that the leaderboard takes.
	everyTeam = 10000
)

// faultList collects what a phase found wrong. It is safe for concurrent use.
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
