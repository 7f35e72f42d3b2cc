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
	// Held is the rule that last kept the shape from adding users; "" if none did. Knee is the number of users then.
	Held string
	Knee int
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
		rec.SetUsers(r.present())
		if !now.Before(r.next) {
			r.ask(now)
		}
		if onTick != nil {
			onTick(Tick{Live: rec.Second(now), Held: r.held})
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
	// users is what the shape answered last, held which rule held it back.
	users   int
	held    string
	allowed atomic.Int64
}

// ask asks the shape, and starts the users that it wants.
func (r *runner) ask(now time.Time) {
	elapsed := now.Sub(r.report.Start)
	at := int(elapsed / time.Second)
	s := State{Elapsed: elapsed, Users: r.users, Recent: r.rec.Window(r.asked, at)}
	leaves := false
	if _, leaves = r.shape.(leaving); leaves {
		s.Kinds = r.rec.Kinds(at-2, at, now)
	}
	users, again, held := r.shape.Next(s)
	// A little early, so that timers that fire early by a hair do not cost a whole second.
	r.next = now.Add(again - 50*time.Millisecond)
	if r.asked, r.held = at, held; held != "" {
		r.report.Held, r.report.Knee = held, users
	}
	r.users = users
	r.allowed.Store(int64(users))
	r.start(users-r.report.Started, leaves)
}

// present is how many users are there, without those who were taken back.
func (r *runner) present() int { return min(int(r.running.Load()), int(r.allowed.Load())) }

// start starts n users, spread over the next second so that they do not march in step.
func (r *runner) start(n int, leaves bool) {
	for i := range max(n, 0) {
		user := r.newUser(r.report.Started)
		delay := time.Duration(i) * time.Second / time.Duration(n)
		ctx := r.ctx
		if leaves {
			ctx = context.WithValue(ctx, seatKey{}, &seat{n: r.report.Started, allowed: &r.allowed})
		}
		r.report.Started++
		r.running.Add(1)
		r.wg.Go(func() {
			defer r.running.Add(-1)
			if Sleep(ctx, delay) == nil {
				user(ctx)
			}
		})
	}
	r.report.PeakUsers = max(r.report.PeakUsers, r.present())
	r.rec.SetUsers(r.present())
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
