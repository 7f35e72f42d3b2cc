package scenario

import (
	"bytes"
	"context"

	"isukit/bench/load"
	portalv1 "isukit/proto/portal/v1"
)

// audience looks at the front page and the leaderboard, without a login.
func (u *user) audience(ctx context.Context) {
	u.lookOn(ctx, userAgents[kindAudience], false)
}

// bot looks at the leaderboard often and may be turned away.
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

// look does one step of the audience's plan or a bot's.
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

// frontPage loads the page and then, as a browser does, what it names: from the cache where the server says so.
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
