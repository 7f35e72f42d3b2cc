package load

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// User is what one virtual user does, from its first request until ctx ends.
type User func(ctx context.Context)

// Tick is what Run tells once a second.
type Tick struct {
	Live
	// Held says which rule keeps the shape from adding users; "" if none does.
	Held string
}

// Report is how a closed-loop load went.
type Report struct {
	Start, End time.Time
	// Started is how many users were started, PeakUsers how many ran at once.
	Started, PeakUsers int
	// Held is the rule that last kept the shape from adding users; "" if none did.
	Held string
}

// Run runs users as shape says until ctx ends, and returns when the last of them has. It starts rec at now. newUser is called
// in the order of n, from 0, one at a time; it should only build the user. onTick, if set, is called once a second, one
// at a time, and should be quick.
func Run(ctx context.Context, shape Shape, newUser func(n int) User, rec *Recorder, onTick func(Tick)) Report {
	r := &runner{ctx: ctx, shape: shape, newUser: newUser, rec: rec}
	start := time.Now()
	rec.Start(start)
	r.report.Start = start
	r.ask(start)
	second := time.NewTimer(time.Until(start.Add(time.Second)))
	defer second.Stop()
	for at := 1; ; at++ {
		select {
		case <-ctx.Done():
			r.wg.Wait()
			r.report.End = time.Now()
			return r.report
		case <-second.C:
		}
		now := time.Now()
		rec.SetUsers(int(r.running.Load()))
		if !now.Before(r.next) {
			r.ask(now)
		}
		if onTick != nil {
			onTick(Tick{Live: rec.Second(now), Held: r.report.Held})
		}
		second.Reset(time.Until(start.Add(time.Duration(at+1) * time.Second)))
	}
}

// runner is the state of one Run.
type runner struct {
	ctx     context.Context
	shape   Shape
	newUser func(n int) User
	rec     *Recorder
	wg      sync.WaitGroup
	running atomic.Int64
	report  Report
	// asked is the second at which the shape was asked last, next the time at which it wants to be asked again.
	asked int
	next  time.Time
}

// ask asks the shape, and starts the users that it wants.
func (r *runner) ask(now time.Time) {
	elapsed := now.Sub(r.report.Start)
	at := int(elapsed / time.Second)
	s := State{Elapsed: elapsed, Users: r.report.Started, Recent: r.rec.Window(r.asked, at)}
	users, again, held := r.shape.Next(s)
	// A little early, so that timers that fire early by a hair do not cost a whole second.
	r.next = now.Add(again - 50*time.Millisecond)
	r.asked, r.report.Held = at, held
	r.start(users - r.report.Started)
}

// start starts n users, spread over the next second so that they do not march in step.
func (r *runner) start(n int) {
	for i := range max(n, 0) {
		user := r.newUser(r.report.Started)
		delay := time.Duration(i) * time.Second / time.Duration(n)
		r.report.Started++
		r.running.Add(1)
		r.wg.Go(func() {
			defer r.running.Add(-1)
			if Sleep(r.ctx, delay) == nil {
				user(r.ctx)
			}
		})
	}
	r.report.PeakUsers = max(r.report.PeakUsers, int(r.running.Load()))
	r.rec.SetUsers(int(r.running.Load()))
}

// Sleep waits for d, or until ctx ends, whose error it then returns; also where both have happened.
func Sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return ctx.Err()
	}
}
