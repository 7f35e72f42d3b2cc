package fanout

import (
	"context"
	"time"
)

// now is a clock for the links' busy times: nanoseconds since Open, never 0.
func (p *group) now() int64 { return int64(time.Since(p.started)) + 1 }

// watchLinks ends, until ctx does, statements that wait for a replica that has died without closing its connections, or
// that take longer than WriteTimeout. One look at all links now and then costs less than a timer for each statement.
func (p *group) watchLinks(ctx context.Context) {
	last := map[*member]int64{}  // when a member was last found alive
	strikes := map[*member]int{} // probes in a row that it failed
	every(ctx, max(p.cfg.ProbeAfter/4, time.Millisecond), func() {
		for m, late := range p.lateLinks() {
			if p.now()-last[m] < int64(p.cfg.ProbeAfter) || pickAny(p.view.Load().readers, 1<<m.index) == nil {
				continue // just seen alive, or there is none to take its place: waiting is all that is left
			}
			if m.alive(ctx, p.cfg.ProbeTimeout) {
				last[m], strikes[m] = p.now(), 0
				continue
			}
			m.shun()
			if strikes[m]++; strikes[m] < maxStrikes {
				continue
			}
			for _, l := range late {
				l.giveUp()
			}
		}
	})
}

// maxStrikes is how many probes in a row make a replica dead: one may fail because everything is slow.
const maxStrikes = 2

// lateLinks are, by replica, the links whose statement has run longer than ProbeAfter. A write that has run longer than
// WriteTimeout is ended here.
func (p *group) lateLinks() map[*member][]*link {
	now := p.now()
	late := map[*member][]*link{}
	p.linksMu.Lock()
	defer p.linksMu.Unlock()
	for l := range p.links {
		since := l.busy.Load()
		if since == 0 || now-since < int64(p.cfg.ProbeAfter) {
			continue
		}
		if now-since > int64(p.cfg.WriteTimeout) && l.writes.Load() {
			l.giveUp()
		}
		late[l.m] = append(late[l.m], l)
	}
	return late
}

// giveUp ends what l waits for: a write, which runs under the link's own context, or a read.
func (l *link) giveUp() {
	l.endLife()
	if nc := l.wire.nc.Load(); nc != nil {
		_ = (*nc).Close()
	}
}
