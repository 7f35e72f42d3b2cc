package fanout

import (
	"cmp"
	"context"
	"database/sql/driver"
	"time"
)

// now is a clock for the links' busy times: nanoseconds since Open, never 0.
func (p *group) now() int64 { return int64(time.Since(p.started)) + 1 }

// watchLinks ends, until ctx does, statements that wait for a replica that has died without closing its connections, or
// that take longer than WriteTimeout. One look at all links now and then costs less than a timer for each statement.
func (p *group) watchLinks(ctx context.Context) {
	last := map[*member]int64{} // when a member was last found alive
	every(ctx, max(p.cfg.ProbeAfter/4, time.Millisecond), func() {
		for m, late := range p.lateLinks() {
			if p.now()-last[m] < int64(p.cfg.ProbeAfter) || pickAny(p.view.Load().readers, 1<<m.index) == nil {
				continue // just seen alive, or there is none to take its place: waiting is all that is left
			}
			if !m.dead(ctx, p.cfg.ProbeTimeout) {
				last[m] = p.now()
				continue
			}
			for _, l := range late {
				l.giveUp()
			}
		}
	})
}

// maxStrikes is how many questions in a row without an answer make a replica dead: one may fail because everything is slow.
const maxStrikes = 3

// dead reports whether m takes no connection, or answers nothing: neither maxStrikes questions over new connections, each within limit, nor
// any other statement meanwhile. A busy host answers some; one that refuses a connection is not asked again. Callers that wait for another
// one's questions share the result, and a dead replica stays dead for a limit.
func (m *member) dead(ctx context.Context, limit time.Duration) bool {
	began := time.Now()
	m.asking.Lock()
	defer m.asking.Unlock()
	if !m.asked.After(began) && !(m.gone && time.Since(m.asked) < limit) {
		m.gone = m.silent(ctx, limit)
		m.asked = time.Now()
	}
	return m.gone
}

func (m *member) silent(ctx context.Context, limit time.Duration) bool {
	for range maxStrikes {
		before := m.answers.Load()
		err := m.ask(ctx, limit)
		if err == nil {
			return false
		}
		m.shun()
		if !isContext(err) {
			return true
		}
		if m.answers.Load() != before {
			return false
		}
	}
	return true
}

// ask reads a question: it fails unless m takes a new connection and answers on it, or at least reports too many connections. It is ctx's
// error if that took longer than limit, for any error of the driver.
func (m *member) ask(ctx context.Context, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
	defer cancel()
	c, err := m.connector.Connect(ctx)
	if err == nil {
		defer c.Close()
		if p, ok := c.(driver.Pinger); ok {
			err = p.Ping(ctx)
		}
	}
	if n := numberOfError(err); n == 1040 || n == 1203 {
		return nil // it takes no more connections just now
	}
	if err != nil {
		return cmp.Or(ctx.Err(), err)
	}
	return nil
}

// lateLinks are links whose statement has run longer than ProbeAfter, by replica. One longer than WriteTimeout is stopped here.
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
