package bench_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"isukit/bench"
	"isukit/bench/load"
	"isukit/bench/result"
)

// pinger is a small scenario over a server that answers everything.
type pinger struct {
	engine             *load.Engine
	origin             *load.Origin
	initialize         error
	validate, check    []string
	status             int
	initialized, ended bool
}

func (p *pinger) Name() string                     { return "pinger" }
func (p *pinger) Initialize(context.Context) error { p.initialized = true; return p.initialize }
func (p *pinger) Facts() map[string]string         { return nil }
func (p *pinger) Validate(context.Context) ([]string, error) {
	return p.validate, nil
}
func (p *pinger) Check(context.Context) ([]string, error) { p.ended = true; return p.check, nil }
func (p *pinger) Points() bench.PointTable {
	return bench.PointTable{PerHit: []bench.EndpointPoints{{Endpoint: "GET /ping", Points: 3, Why: "pinged"}}, PerError: -10, PerTimeout: -20}
}

func (p *pinger) User(n int) load.User {
	return func(ctx context.Context) {
		c := p.engine.NewClient(n, "")
		defer c.Close()
		for load.Sleep(ctx, 5*time.Millisecond) == nil {
			_ = c.Do(ctx, &load.Request{Endpoint: p.engine.Endpoint("GET /ping"), Origin: p.origin, Target: "/ping"}, nil)
		}
	}
}

func newPinger(t *testing.T, status int) *pinger {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }))
	t.Cleanup(s.Close)
	origin, err := load.ParseOrigin(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	return &pinger{engine: load.NewEngine(load.Options{}), origin: origin, status: status}
}

func run(t *testing.T, ctx context.Context, p *pinger) (*bench.Outcome, error) {
	t.Helper()
	return bench.Run(ctx, bench.Options{Scenario: p, Engine: p.engine, Shape: load.Users{N: 2}, Duration: 300 * time.Millisecond})
}

func TestRoundThatPasses(t *testing.T) {
	out, err := run(t, t.Context(), newPinger(t, 200))
	if err != nil {
		t.Fatal(err)
	}
	var r result.Round
	out.Fill(&r)
	if !r.Passed || len(r.Phases) != 4 || r.Score.Total <= 0 || r.Score.Total != 3*r.All.OK {
		t.Errorf("passed %t, %d phases, score %+v, %d right hits; want a pass, 4 phases and 3 points a hit", r.Passed, len(r.Phases), r.Score, r.All.OK)
	}
	if r.Generator.CPUSeconds <= 0 || r.All.Latency.MaxMs <= 0 {
		t.Errorf("generator used %v s, max %v ms; want both above 0", r.Generator.CPUSeconds, r.All.Latency.MaxMs)
	}
}

// openPinger is a pinger whose users come in an open loop.
type openPinger struct {
	*pinger
	staff atomic.Int64 // who are at work
}

func (p *openPinger) NewVisitor(n int) load.Visitor {
	return &pingVisitor{Client: p.engine.NewClient(n, ""), p: p.pinger}
}

func (p *openPinger) Staff() []load.User {
	work := func(ctx context.Context) {
		p.staff.Add(1)
		defer p.staff.Add(-1)
		p.User(1000)(ctx)
	}
	return []load.User{work, work}
}

type pingVisitor struct {
	*load.Client
	p *pinger
}

func (v *pingVisitor) Visit(ctx context.Context, intended time.Time) {
	_ = v.Do(ctx, &load.Request{Endpoint: v.p.engine.Endpoint("GET /visit"), Origin: v.p.origin, Target: "/visit", Intended: intended}, nil)
}

func TestOpenLoop(t *testing.T) {
	p := &openPinger{pinger: newPinger(t, 200)}
	out, err := bench.Run(t.Context(), bench.Options{
		Scenario: p, Engine: p.engine, Rate: load.Rate{PerSec: 200}, Duration: 500 * time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	hits := map[string]int64{}
	for _, e := range out.Summary.Endpoints {
		hits[e.Name] = e.Hits
	}
	// The load's end is set a hair before it begins.
	if r := out.Rate; !out.Passed() || r == nil || r.Planned < 90 || r.Planned > 100 || r.Started+r.Unstarted != r.Planned || hits["GET /visit"] == 0 || hits["GET /ping"] == 0 {
		t.Errorf("passed %t, rate %+v, hits %v; want a pass, 100 visits that were planned, and the staff's pings", out.Passed(), out.Rate, hits)
	}
	if n := p.staff.Load(); n != 0 {
		t.Errorf("%d of the staff were still at work after the load", n)
	}
}

// TestCapacity has a search that ends at its highest rate, and one against a server that is always wrong.
func TestCapacity(t *testing.T) {
	search := func(status int) *bench.Outcome {
		p := &openPinger{pinger: newPinger(t, status)}
		around := 0
		out, err := bench.Run(t.Context(), bench.Options{
			Scenario: p, Engine: p.engine, Duration: 200 * time.Millisecond,
			// So slow that the one visit of a load is due long before its end, also on a busy machine.
			Capacity:   &load.Capacity{FromPerSec: 2, MaxPerSec: 4, Confirm: 1},
			AroundLoad: func(context.Context) func() { around++; return func() {} },
		})
		if err != nil {
			t.Fatal(err)
		}
		if around != len(out.Capacity.Trials) {
			t.Errorf("measured around %d loads, there were %d", around, len(out.Capacity.Trials))
		}
		return out
	}
	out := search(200)
	var r result.Round
	out.Fill(&r)
	if !r.Passed || r.CapacityRate != 4 || !r.CapacityAtLeast || len(r.Trials) != 3 || !r.Trials[2].Confirms {
		t.Errorf("passed %t, capacity %v, at least %t, trials %+v; want a pass, at least 4 by three trials", r.Passed, r.CapacityRate, r.CapacityAtLeast, r.Trials)
	}
	if hits := r.All.Hits; hits == 0 || hits > 300 {
		t.Errorf("%d hits in the record, want those of the last trial", hits)
	}
	out = search(500)
	if out.Passed() || !strings.Contains(out.Reason, "missed at the lowest rate") || len(out.Capacity.Trials) != 1 {
		t.Errorf("passed %t, %q, trials %+v; want that the lowest rate was missed", out.Passed(), out.Reason, out.Capacity.Trials)
	}
}

func TestOpenLoopNeedsAScenarioForIt(t *testing.T) {
	p := newPinger(t, 200)
	_, err := bench.Run(t.Context(), bench.Options{Scenario: p, Engine: p.engine, Rate: load.Rate{PerSec: 1}, Duration: time.Second})
	if err == nil || !strings.Contains(err.Error(), "pinger have no open loop") {
		t.Errorf("got %v, want that the scenario has no open loop", err)
	}
}

func TestRoundsThatFail(t *testing.T) {
	tests := []struct {
		name   string
		spoil  func(p *pinger)
		phases int
		reason string
	}{
		{"initialize", func(p *pinger) { p.initialize = errors.New("no") }, 1, "initialize failed: no"},
		{"validate", func(p *pinger) { p.validate = []string{"first", "second"} }, 2, "validate failed: first"},
		{"load", func(p *pinger) {}, 3, "load failed: not one right answer"},
		{"check", func(p *pinger) { p.check = []string{"row missing"} }, 4, "check failed: row missing"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			status := 200
			if tt.name == "load" {
				status = 500
			}
			p := newPinger(t, status)
			tt.spoil(p)
			out, err := run(t, t.Context(), p)
			if err != nil {
				t.Fatal(err)
			}
			if out.Passed() || out.Reason != tt.reason || len(out.Phases) != tt.phases || out.Score.Total != 0 {
				t.Errorf("passed %t, reason %q, %d phases, score %d; want failed, %q, %d, 0", out.Passed(), out.Reason, len(out.Phases), out.Score.Total, tt.reason, tt.phases)
			}
			if p.ended != (tt.name == "check") {
				t.Errorf("check ran: %t", p.ended)
			}
		})
	}
}

func TestInterruptedRoundIsAnError(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := run(t, ctx, newPinger(t, 200)); !errors.Is(err, context.DeadlineExceeded) || !strings.HasPrefix(err.Error(), "load: ") {
		t.Errorf("got %v, want that the load was cut off", err)
	}
}

func TestScore(t *testing.T) {
	table := bench.PointTable{
		PerHit:   []bench.EndpointPoints{{Endpoint: "a", Points: 5}, {Endpoint: "b", Points: 2}},
		PerError: -10, PerTimeout: -20,
	}
	tests := []struct {
		tally bench.Tally
		total int64
		lines int
	}{
		{bench.Tally{OK: map[string]int64{"a": 10, "b": 1, "free": 9}}, 52, 2},
		{bench.Tally{OK: map[string]int64{"a": 10}, Errors: 2, Timeouts: 1}, 10, 3},
		{bench.Tally{OK: map[string]int64{"a": 1}, Errors: 7}, 0, 2},
		{bench.Tally{}, 0, 0},
	}
	for _, tt := range tests {
		got := table.Score(tt.tally)
		if got.Total != tt.total || len(got.Lines) != tt.lines {
			t.Errorf("Score(%+v) = %d in %d lines, want %d in %d", tt.tally, got.Total, len(got.Lines), tt.total, tt.lines)
		}
	}
}
