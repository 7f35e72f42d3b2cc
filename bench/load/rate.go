package load

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Visitor is one user of an open-loop load. It makes one visit at a time, whenever it is called for.
type Visitor interface {
	// Visit sends one hit or more, scheduled at intended; the time goes into Request.Intended.
	Visit(ctx context.Context, intended time.Time)
	// Close ends the visitor's connections; it is called once, after its last visit.
	Close() error
}

// RateOptions are the particulars of an open-loop load. A zero field means its default.
type RateOptions struct {
	Arrivals Arrivals
	// Seed decides Poisson arrivals: the same seed, the same times.
	Seed uint64
	// MaxUsers limits the visitors, and so the connections; default 10,000. If all are busy, a visit waits, and its latency counts from
	// when it was due.
	MaxUsers int
	// OnTick, if set, is called about once a second.
	OnTick func(Tick)
}

// maxQueue limits how many visits wait. Those above are dropped and reported.
const maxQueue = 1_000_000

// RateReport is how an open-loop load went. Every planned visit is one of Started, Unstarted and Dropped.
type RateReport struct {
	Start, End time.Time
	// Planned visits were due before ctx ended. Unstarted ones had not begun then: they waited for a user, or for the generator.
	Planned, Started, Unstarted, Dropped int64
	// PeakUsers is the most visitors that there were.
	PeakUsers int
	// Behind is how late visits were begun: by the generator's timers, or because all users were busy.
	Behind Latency
	// BehindAtEnd is for how long the oldest unstarted visit had waited when the load ended.
	BehindAtEnd time.Duration
}

// Shortfall describes how far the load fell behind its rate, or is "". Recent hits that are late by no more than a timer do not count.
func (r RateReport) Shortfall() string {
	if r.Dropped == 0 && r.BehindAtEnd <= limitDelay {
		return ""
	}
	return fmt.Sprintf("the rate was not kept: %d of %d hits were never sent, the oldest of them %v behind",
		r.Unstarted+r.Dropped, r.Planned, r.BehindAtEnd.Round(time.Millisecond))
}

// RunRate makes visits at the times that the rate says until ctx ends, and returns when the last visit is over. Whether
// earlier visits are over does not matter: an idle visitor takes the next one, or a new one is made. It starts rec at now.
// newVisitor is called in the order of n, from 0, one at a time, and should be quick. Where ctx has a deadline, that is the
// end: what is due before it counts as planned, however late the generator finds out that it has passed.
func RunRate(ctx context.Context, rate Rate, newVisitor func(n int) Visitor, rec *Recorder, opts RateOptions) RateReport {
	setDefault(&opts.MaxUsers, 10_000)
	d := &dispatcher{
		ctx: ctx, opts: opts, newVisitor: newVisitor,
		behind: dense(),
	}
	over := make(chan time.Time, 1)
	context.AfterFunc(ctx, func() { over <- time.Now() })
	start := time.Now()
	rec.Start(start)
	d.report.Start = start
	var ticks sync.WaitGroup
	ticks.Go(func() { d.tick(rec, start) })
	var pacer sync.WaitGroup
	pacer.Go(func() {
		// The thread is not unlocked, so that it ends with this goroutine and takes its timer slack along.
		runtime.LockOSThread()
		sharpTimers()
		d.pace(newSchedule(rate, opts.Arrivals, opts.Seed), start, over)
	})
	pacer.Wait()
	d.finish()
	ticks.Wait()
	return d.report
}

type dispatcher struct {
	ctx        context.Context
	opts       RateOptions
	newVisitor func(n int) Visitor
	wg         sync.WaitGroup

	mu     sync.Mutex
	users  int
	idle   []chan time.Time // the last one to fall idle is the first to be called: its connection is the warmest
	queue  []time.Time      // visits that wait, from head
	head   int
	ended  bool
	behind *hdrhistogram.Histogram
	report RateReport
	oldest time.Time // the earliest visit that was left, zero if none was
	end    time.Time // when ctx ended; set once the pacer is done
}

// pace calls for each visit when it is due, and counts those that it missed. over is the time at which ctx ended.
func (d *dispatcher) pace(s *schedule, start time.Time, over <-chan time.Time) {
	deadline, limited := d.ctx.Deadline()
	at, ok := s.next()
	for ; ok; at, ok = s.next() {
		due := start.Add(at)
		if limited && !due.Before(deadline) || !d.await(due) {
			break
		}
		d.call(due)
	}
	<-d.ctx.Done()
	d.end = <-over
	if limited && deadline.Before(d.end) {
		d.end = deadline
	}
	first, left := start.Add(at), int64(0)
	for ; ok && start.Add(at).Before(d.end); at, ok = s.next() {
		left++
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.report.Planned += left
	d.leave(first, left)
}

// await waits until a visit is due; false says that ctx has ended.
func (d *dispatcher) await(due time.Time) bool {
	for wait := time.Until(due); wait > 0; wait = time.Until(due) {
		// Short naps, so that the end of the context is noticed soon.
		nap(min(max(wait, shortestNap), 10*time.Millisecond))
		if d.ctx.Err() != nil {
			return false
		}
	}
	return d.ctx.Err() == nil
}

// shortestNap bounds how often the pacer wakes: at high rates it calls for a few visits at a time, each at most so late.
const shortestNap = 100 * time.Microsecond

// call has one visit made, or lets it wait.
func (d *dispatcher) call(due time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.report.Planned++
	if n := len(d.idle); n > 0 {
		ch := d.idle[n-1]
		d.idle = d.idle[:n-1]
		ch <- due // has room: an idle visitor's channel is empty
		return
	}
	if d.users < d.opts.MaxUsers {
		v := d.newVisitor(d.users)
		d.users++
		ch := make(chan time.Time, 1)
		ch <- due
		d.wg.Go(func() { d.serve(v, ch) })
		return
	}
	if len(d.queue)-d.head >= maxQueue {
		d.report.Dropped++
		return
	}
	d.queue = append(d.queue, due)
}

// leave counts n planned visits that never begin, the first of which was due at first; d.mu is held.
func (d *dispatcher) leave(first time.Time, n int64) {
	d.report.Unstarted += n
	if n > 0 && (d.oldest.IsZero() || first.Before(d.oldest)) {
		d.oldest = first
	}
}

// serve makes one visitor's visits.
func (d *dispatcher) serve(v Visitor, ch chan time.Time) {
	defer v.Close()
	for due := range ch {
		for ok := true; ok; due, ok = d.next(ch) {
			if d.begin(due) {
				v.Visit(d.ctx, due)
			}
		}
	}
}

// begin counts a visit; false says that it comes too late, since ctx has ended.
func (d *dispatcher) begin(due time.Time) bool {
	late := d.ctx.Err() != nil
	d.mu.Lock()
	defer d.mu.Unlock()
	if late {
		d.leave(due, 1)
		return false
	}
	d.report.Started++
	observe(d.behind, time.Since(due))
	return true
}

// next returns a visit that waits, or makes the visitor idle.
func (d *dispatcher) next(ch chan time.Time) (time.Time, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ended || d.ctx.Err() != nil {
		close(ch) // finish only closes those of idle visitors
		return time.Time{}, false
	}
	if d.head < len(d.queue) {
		due := d.queue[d.head]
		d.head++
		if d.head == len(d.queue) {
			d.queue, d.head = d.queue[:0], 0
		} else if d.head > 4096 && 2*d.head > len(d.queue) {
			d.queue = append(d.queue[:0], d.queue[d.head:]...)
			d.head = 0
		}
		return due, true
	}
	d.idle = append(d.idle, ch)
	return time.Time{}, false
}

func (d *dispatcher) finish() {
	d.mu.Lock()
	d.ended = true
	for _, ch := range d.idle {
		close(ch)
	}
	d.idle = nil
	if waiting := d.queue[d.head:]; len(waiting) > 0 {
		d.leave(waiting[0], int64(len(waiting)))
	}
	d.mu.Unlock()
	d.wg.Wait()
	if !d.oldest.IsZero() {
		d.report.BehindAtEnd = d.end.Sub(d.oldest)
	}
	d.report.End = time.Now()
	d.report.PeakUsers = d.users
	d.report.Behind = latencyOf(d.behind)
}

func (d *dispatcher) tick(rec *Recorder, start time.Time) {
	for at := time.Second; ; at += time.Second {
		if Sleep(d.ctx, time.Until(start.Add(at))) != nil {
			return
		}
		d.mu.Lock()
		users, waiting := d.users, len(d.queue)-d.head
		d.mu.Unlock()
		rec.SetUsers(users)
		if d.opts.OnTick == nil {
			continue
		}
		t := Tick{Live: rec.Second(time.Now())}
		if waiting > 0 {
			t.Held = fmt.Sprintf("%d hits wait for one of %d users", waiting, d.opts.MaxUsers)
		}
		d.opts.OnTick(t)
	}
}
