package round

import (
	"strings"
	"testing"
	"time"

	"isukit/infra/metrics"
	"isukit/infra/observe"
	"isukit/infra/project"
)

// TestArrivalInLogs holds where the window begins by logs of whole seconds and of milliseconds, and by hosts whose clock differs.
func TestArrivalInLogs(t *testing.T) {
	second := time.Unix(1_800_000_000, 0)
	ms := time.Millisecond
	for name, c := range map[string]struct {
		want        string
		ahead       time.Duration
		seen        []observe.Seen
		first, last time.Duration // from second on
		others      int
	}{
		"whole seconds": {"POST /initialize", 0, []observe.Seen{
			{At: second.Add(-time.Second), Request: "GET /"}, {At: second, Took: 6 * ms, Request: "POST /initialize"}, {At: second.Add(2 * time.Second), Request: "GET /a"},
		}, 494 * ms, 2500 * ms, 1},
		"milliseconds": {"POST /initialize", 0, []observe.Seen{
			{At: second.Add(350 * ms), Took: 50 * ms, Request: "POST /initialize"}, {At: second.Add(2001 * ms), Request: "GET /a"},
		}, 300 * ms, 2001 * ms, 0},
		"any method":      {"/initialize", 0, []observe.Seen{{At: second.Add(ms), Request: "GET /initialize/x"}, {At: second.Add(9 * ms), Request: "GET /initialize"}}, 9 * ms, 9 * ms, 1},
		"any request":     {"", 0, []observe.Seen{{At: second.Add(9 * ms), Request: "GET /a"}}, 9 * ms, 9 * ms, 0},
		"a clock that is": {"", 3 * time.Second, []observe.Seen{{At: second.Add(3010 * ms), Request: "GET /a"}}, 10 * ms, 10 * ms, 0},
	} {
		a := newArrival(&ProjectRound{Opened: &Opened{Project: &project.Project{Benchmark: project.Benchmark{Initialize: c.want}}}, gathering: newGathering(nil, nil)}, false)
		for _, e := range c.seen {
			a.take(e, c.ahead)
		}
		if a.first.Sub(second) != c.first || a.last.Sub(second) != c.last || a.others != c.others {
			t.Errorf("%s: from %v to %v with %d others, want %v to %v with %d", name, a.first.Sub(second), a.last.Sub(second), a.others, c.first, c.last, c.others)
		}
	}
}

// TestArrivalByLoad has no access log: the time is that of the busier of two hosts.
func TestArrivalByLoad(t *testing.T) {
	start := time.Unix(1_800_000_000, 0)
	taker := func(tenths ...int) *seriesTaker {
		s := &seriesTaker{taken: []metrics.Sample{{At: start}}}
		for i, n := range tenths {
			next := s.taken[i]
			next.At, next.CPU.User = next.At.Add(time.Second), next.CPU.User+time.Duration(n)*100*time.Millisecond
			s.taken = append(s.taken, next)
		}
		return s
	}
	r := &ProjectRound{Opened: &Opened{Project: &project.Project{}}, gathering: newGathering(func(string, ...any) {}, nil)}
	r.series = []*seriesTaker{taker(0, 0, 0, 0, 0, 0, 0, 0, 0, 0), taker(0, 1, 0, 1, 9, 9, 9, 9, 0, 0)}
	a := newArrival(r, false)
	if err := a.wait(t.Context(), time.Second, nil); err == nil || !strings.Contains(err.Error(), "load on a host") {
		t.Errorf("a load that is over is waited for: %v", err)
	}
	if a.first.Sub(start) != 4*time.Second || a.last.Sub(start) != 8*time.Second {
		t.Errorf("from %v to %v, want 4s to 8s", a.first.Sub(start), a.last.Sub(start))
	}
}

// TestArrivalByHook begins when the hook tells, and ends only after something was seen.
func TestArrivalByHook(t *testing.T) {
	began := time.Unix(1_800_000_000, 0)
	hook := make(chan time.Time, 1)
	hook <- began
	a := newArrival(&ProjectRound{Opened: &Opened{Project: &project.Project{Benchmark: project.Benchmark{Initialize: "POST /initialize"}}}, gathering: newGathering(func(string, ...any) {}, nil)}, false)
	a.rises = nil // there is a log, and nothing in it
	if err := a.wait(t.Context(), time.Minute, hook); err != nil || !a.first.Equal(began) || !a.hooked {
		t.Fatalf("%v: from %v, want the hook's time", err, a.first)
	}
	if a.take(observe.Seen{At: began.Add(1001 * time.Millisecond), Request: "GET /a"}, 0) != 1 || !a.last.Equal(began.Add(1001*time.Millisecond)) {
		t.Errorf("a request after the hook is not the benchmark's: the last is %v", a.last)
	}
	// What was logged before the hook was looked at, and after it told, is the benchmark's: no more need come.
	late := began.Add(2001 * time.Millisecond)
	a.first, a.last, a.hooked = time.Time{}, time.Time{}, false
	if a.take(observe.Seen{At: late, Request: "GET /a"}, 0) != 0 {
		t.Error("a request before the hook was looked at begins the benchmark")
	}
	hook <- began
	if err := a.wait(t.Context(), time.Minute, hook); err != nil || !a.first.Equal(began) || a.hooked || !a.last.Equal(late) {
		t.Errorf("%v: from %v to %v, waiting for more: %v; want %v to %v", err, a.first, a.last, a.hooked, began, late)
	}
}
