package round

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"isukit/bench/external"
	"isukit/bench/load"
	"isukit/bench/result"
	"isukit/cmd/internal/ui"
	"isukit/infra/metrics"
	"isukit/infra/observe"
	"isukit/infra/redact"
)

// arrival sees when a benchmark that isukit does not start begins and ends: in new lines of the access logs, or in the hosts' CPUs.
type arrival struct {
	round *ProjectRound
	want  string // the request that begins the benchmark, with or without its method; "" takes any
	tails []*observe.Tail
	// rises are the hosts' CPUs where the logs are not looked at; else nil.
	rises map[*seriesTaker]*metrics.Rise
	// first is when the benchmark's first request began, last when its last one ended, by this machine's clock.
	first, last time.Time
	// others is how many requests came that did not begin it, and which was the last of them.
	others  int
	other   string
	otherAt time.Time
	hooked  bool // a hook has told of the beginning, and nothing was seen since
	// trouble is why the last look at a log told nothing; nil when it did.
	trouble error
}

func newArrival(r *ProjectRound, byLoad bool) *arrival {
	t := &arrival{round: r, want: r.Benchmark.Initialize}
	for _, m := range r.marks {
		for _, l := range r.logs.Access {
			if m.Log == l {
				t.tails = append(t.tails, observe.NewTail(m, r.named[l.Host]))
			}
		}
	}
	if byLoad || len(t.tails) == 0 {
		t.rises = map[*seriesTaker]*metrics.Rise{}
		for _, taker := range r.series {
			t.rises[taker] = &metrics.Rise{}
		}
	}
	return t
}

// look takes in what has come since the last look, and returns how much of it is the benchmark's.
func (t *arrival) look(ctx context.Context) int {
	if t.rises != nil {
		return t.lookAtLoad()
	}
	n := 0
	t.trouble = nil
	for _, tail := range t.tails {
		seen, err := tail.Next(ctx)
		if err != nil {
			t.trouble = err // it may answer at the next look
			continue
		}
		ahead := t.round.ahead[tail.Host]
		for _, e := range seen {
			n += t.take(e, ahead)
		}
	}
	return n
}

func (t *arrival) take(e observe.Seen, ahead time.Duration) int {
	switch {
	case e.At.IsZero():
		e.At = time.Now()
	case e.At.Nanosecond() == 0:
		// A log with times in whole seconds: the request ended some time within that second.
		e.At = e.At.Add(500*time.Millisecond - ahead)
	default:
		e.At = e.At.Add(-ahead)
	}
	if t.first.IsZero() {
		if !t.begins(e.Request) {
			t.others, t.other, t.otherAt = t.others+1, e.Request, e.At
			return 0
		}
		t.first = e.At.Add(-e.Took)
	}
	if e.At.After(t.last) {
		t.last = e.At
	}
	return 1
}

func (t *arrival) begins(request string) bool {
	if t.want == "" || request == t.want {
		return true
	}
	_, path, _ := strings.Cut(request, " ")
	return path == t.want
}

// lookAtLoad returns how many hosts are under load now, and none before it has begun.
func (t *arrival) lookAtLoad() int {
	loaded := 0
	for taker, rise := range t.rises {
		if rise.Take(taker.all()) {
			loaded++
		}
		if !rise.Began.IsZero() && (t.first.IsZero() || rise.Began.Before(t.first)) {
			t.first = rise.Began
		}
		if rise.Last.After(t.last) {
			t.last = rise.Last
		}
	}
	return loaded
}

const lookEvery = time.Second

// toldEvery is the time between two reports of a wait.
const toldEvery = 15 * time.Second

func (t *arrival) wait(ctx context.Context, most time.Duration, hook <-chan time.Time) error {
	sign, hint := "requests in the access log", "check that logs.access names the log that the proxy writes, or use --by-load to detect the start from CPU use"
	switch {
	case t.rises != nil:
		sign, hint = "load on a host", "--by-load only works on hosts that are otherwise idle"
	case t.want != "":
		sign = t.want + " in the access log"
	}
	t.round.say("waiting for %s", sign)
	began, told := time.Now(), time.Now()
	for {
		select {
		case t.first = <-hook: // nil blocks for ever
			// What came since was taken for something else.
			t.last, t.hooked = t.first, !t.otherAt.After(t.first)
			if !t.hooked {
				t.last = t.otherAt
			}
			return nil
		default:
		}
		if t.look(ctx) > 0 {
			return nil
		}
		if time.Since(began) > most {
			return ui.Hinted(fmt.Errorf("no benchmark started within %v: waited for %s%s", most, sign, t.saw()), hint)
		}
		if text := t.saw(); text != "" && time.Since(told) > toldEvery {
			told = time.Now()
			t.round.say("still waiting for %s%s", sign, text)
		}
		if err := load.Sleep(ctx, lookEvery); err != nil {
			return err
		}
	}
}

// saw says why nothing can be seen, or which requests came that did not begin the benchmark.
func (t *arrival) saw() string {
	switch {
	case t.trouble != nil:
		return "; " + redact.Text(t.trouble.Error())
	case t.others == 0:
		return ""
	}
	return fmt.Sprintf("; %d other requests came, the last was %s", t.others, cutText(t.other, 80))
}

// follow returns when no request of the benchmark has come for idle.
func (t *arrival) follow(ctx context.Context, idle, longest time.Duration) {
	begun, heard := time.Now(), time.Now()
	// What a hook announces is an initialize, which may take long and is logged at its end.
	for (t.hooked || time.Since(heard) < idle) && time.Since(begun) < longest {
		if load.Sleep(ctx, lookEvery) != nil {
			return
		}
		if t.look(ctx) > 0 {
			heard, t.hooked = time.Now(), false
		}
	}
}

// ObserveOptions are how to wait for a benchmark that isukit does not start, and its result.
type ObserveOptions struct {
	Score    float64
	HasScore bool
	// Ask asks for the score when the benchmark has ended; nil asks nobody.
	Ask    func() (float64, bool)
	Failed bool // record the benchmark as failed
	// The benchmark begins within Wait, has ended after Idle without a request, and is measured for at most Longest.
	Wait, Idle, Longest time.Duration
	ByLoad              bool // detect start and end from the hosts' CPU use instead of the access log
	// Hook is another signal that the benchmark began; nil: none.
	Hook <-chan time.Time
	// Marked is called when the logs are marked: what is logged from now on is seen. It may be nil.
	Marked func()
}

// Observe waits for a benchmark that isukit does not start and measures it. It is an error if none came.
func (r *ProjectRound) Observe(ctx context.Context, o ObserveOptions) error {
	_ = r.phase("rotate", func() error { r.mark(ctx, r.stamp); return nil })
	if o.Marked != nil {
		o.Marked()
	}
	r.lookAround(ctx)
	r.gitFacts(ctx)
	r.quickDoctor(ctx, r.lacking)
	r.openDatabases()
	r.readSchemas(ctx)
	w := r.watch(ctx)
	defer w.stop()
	t := newArrival(r, o.ByLoad)
	if err := r.phase("wait", func() error { return t.wait(ctx, o.Wait, o.Hook) }); err != nil {
		return err
	}
	r.Record.Benchmark = result.Benchmark{ScoreFrom: "none", Began: t.first.UTC()}
	_ = r.phase("load", func() error { r.profile(w); t.follow(ctx, o.Idle, o.Longest); return nil })
	w.stop()
	r.Record.Benchmark.Ended = t.last.UTC()
	r.began, r.ended = r.Record.Benchmark.Began, r.Record.Benchmark.Ended
	if ctx.Err() != nil {
		r.Record.Benchmark.Ending = "observing was interrupted"
		r.warn("observing was interrupted: the end of the benchmark may be missing")
	}
	if !o.HasScore && o.Ask != nil && ctx.Err() == nil {
		o.Score, o.HasScore = o.Ask()
	}
	if o.HasScore {
		r.judge(external.Verdict{Score: o.Score, Found: true})
		r.Record.Benchmark.ScoreFrom, r.Record.Score.Lines[0].Label = "given", "as given"
	} else {
		r.warn("the score is missing: pass it with --score")
	}
	if o.Failed {
		r.fail("load", errors.New("the benchmark failed (--failed)"))
	}
	return r.finish(ctx)
}
