package scenario

import (
	"bytes"
	"context"
	"sync"
	"time"

	"isukit/bench/load"
	portalv1 "isukit/proto/portal/v1"
)

const (
	// crowdSize is how many people visit in turn, so that each comes again after as many visits.
	crowdSize = 200
	// staffCasts is how many casts' workers and admins are at work next to the crowd, in a closed loop.
	staffCasts = 8
	// emptySteps bounds the steps of a plan that one visit looks through for one that sends something.
	emptySteps = 20
)

// Staff returns those who work while visitors come and go: workers, who run jobs, and admins, who answer.
func (p *Portal) Staff() []load.User {
	var staff []load.User
	for n := range staffCasts * len(p.cast) {
		if p.isStaff(n) {
			staff = append(staff, p.User(n))
		}
	}
	return staff
}

func (p *Portal) isStaff(user int) bool {
	k := p.cast.kindOf(user)
	return k == kindWorker || k == kindAdmin
}

// NewVisitor returns one of those who bring the crowd's visits about. A visit is the next step of some person's plan,
// without the pause before it: a contestant's, the audience's or a bot's, in turn. Most steps are one hit; of others, such as
// the front page with its files, the first hit counts from when the visit was due, and the rest follow it.
func (p *Portal) NewVisitor(int) load.Visitor {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.crowd == nil {
		p.crowd = &crowd{Portal: p}
	}
	return p.crowd
}

// crowd is the people who visit. All visitors of a load share it: who comes next does not depend on which connection is free.
type crowd struct {
	*Portal
	mu   sync.Mutex
	made int // users' numbers so far, the staff's included
	size int
	idle []*person // the longest idle first
}

type person struct {
	*browser
	do    context.Context
	leave func()
	// step does one step of the user's plan.
	step func(ctx context.Context)
}

// Visit implements load.Visitor.
func (c *crowd) Visit(ctx context.Context, intended time.Time) {
	p := c.take(ctx)
	p.due = intended
	for range emptySteps {
		if p.step(p.do); p.due.IsZero() || ctx.Err() != nil {
			break
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.idle = append(c.idle, p)
}

// take returns the person who comes next, a new one while there are few.
func (c *crowd) take(ctx context.Context) *person {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.size >= crowdSize && len(c.idle) > 0 {
		p := c.idle[0]
		c.idle = c.idle[1:]
		return p
	}
	for c.isStaff(c.made) {
		c.made++
	}
	c.made++
	c.size++
	return c.newPerson(ctx, c.made-1)
}

func (c *crowd) newPerson(ctx context.Context, number int) *person {
	u := &user{Portal: c.Portal, number: number, plan: newPlan(c.cast, c.opts.Seed, number, len(c.leaders))}
	k := c.cast.kindOf(number)
	b := u.browser(ctx, number, userAgents[k])
	p := &person{browser: b}
	p.do, p.leave = outlasting(ctx)
	if k == kindContestant {
		leader := &contestant{user: u, browser: b, planned: map[Action]string{}}
		p.step = func(ctx context.Context) { _ = leader.step(ctx, u.planned()) } // faults have been counted
		return p
	}
	p.step = func(ctx context.Context) { b.look(ctx, u.planned(), k == kindBot) }
	return p
}

// Close implements load.Visitor: it closes the connections of those who visit no more.
func (c *crowd) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range c.idle {
		p.close()
		p.leave()
	}
	c.size -= len(c.idle) // a later load has a crowd of its own
	c.idle = nil
	return nil
}

func (u *user) audience(ctx context.Context) {
	u.lookOn(ctx, userAgents[kindAudience], false)
}

// bot reads the leaderboard often and may be rejected without penalty.
func (u *user) bot(ctx context.Context) {
	u.lookOn(ctx, userAgents[kindBot], true)
}

func (u *user) lookOn(ctx context.Context, agent string, refusable bool) {
	do, cancel := outlasting(ctx)
	defer cancel()
	b := u.browser(ctx, u.number, agent)
	defer b.close()
	for {
		s, ok := u.next(ctx)
		if !ok {
			return
		}
		b.look(do, s, refusable)
	}
}

func (b *browser) look(ctx context.Context, s Step, refusable bool) {
	switch s.Action {
	case actFront:
		b.frontPage(ctx)
	case actLeaderboard:
		b.leaderboard(ctx, refusable)
	}
}

func (b *browser) leaderboard(ctx context.Context, refusable bool) error {
	var resp portalv1.GetLeaderboardResponse
	return b.do(ctx, &call{
		route: "GET /api/leaderboard", into: &resp, refusable: refusable,
		check: func(r *load.Response) error {
			return b.p.model.checkLeaderboard(resp.Standings, dashboardLeaderboard, r.Sent, r.Done)
		},
	})
}

// frontPage loads the page and then, like a browser, what it links: from the cache if the server allows it.
func (b *browser) frontPage(ctx context.Context) error {
	if err := b.asset(ctx, "/"); err != nil {
		return err
	}
	for _, path := range b.p.assetPaths {
		if err := b.asset(ctx, path); err != nil {
			return err
		}
	}
	return nil
}

func (b *browser) asset(ctx context.Context, path string) error {
	want := b.p.opts.Assets[path]
	req := load.Request{
		Endpoint: b.p.endpoints["GET "+path], Origin: b.p.opts.Web, Method: "GET", Target: path, Conditional: true, Quiet: b.quiet(),
		Intended: b.takeDue(),
	}
	return b.Do(ctx, &req, func(r *load.Response) error {
		if r.Status != 200 && !r.NotModified {
			return unexpectedStatus(r, 200)
		}
		if !bytes.Equal(r.Body, want) {
			return load.Faultf(load.Wrong, "static file has other contents", "%s: %d bytes instead of %d", path, len(r.Body), len(want))
		}
		return nil
	})
}
