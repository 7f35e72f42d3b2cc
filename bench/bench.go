// Package bench drives one round: initialize -> validate -> load -> check -> score. A Scenario and a load engine go in, an
// Outcome comes out. What the app is belongs to the scenario, how it was started and what its hosts measured to infra, and
// keeping the round to bench/result.
package bench

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"isukit/bench/load"
	"isukit/bench/result"
)

// InitializeLimit is how long the app may take to reset its data, unless Options say otherwise.
const InitializeLimit = 30 * time.Second

// Scenario is what the users of one app do and what they must see.
type Scenario interface {
	// Name is the app's name in records.
	Name() string
	// Initialize resets the app's data. It must be called first, and once.
	Initialize(ctx context.Context) error
	// Validate checks every rule of the app and returns those that are broken; it is an error if that stayed unknown, as after the end of
	// ctx.
	Validate(ctx context.Context) (faults []string, err error)
	// User returns the n-th virtual user, from 0; the same n gives the same plan in every round with one seed.
	User(n int) load.User
	// Check compares the app's data with what the load has written, and returns as Validate does.
	Check(ctx context.Context) (faults []string, err error)
	// Points is the score table.
	Points() PointTable
	// Facts are what the scenario has learnt about the app.
	Facts() map[string]string
}

// OpenScenario is a Scenario whose users can also come in an open loop: at set times, regardless of how earlier visits ended.
type OpenScenario interface {
	Scenario
	// NewVisitor returns the n-th visitor, from 0.
	NewVisitor(n int) load.Visitor
	// Staff returns the users who run in a closed loop in addition to the visitors.
	Staff() []load.User
}

// Options are what a round needs besides its scenario.
type Options struct {
	Scenario Scenario
	Engine   *load.Engine
	// Shape is that of a closed-loop load; Rate, if set, makes it an open-loop one, and the scenario an OpenScenario.
	Shape    load.Shape
	Rate     load.Rate
	Arrivals load.Arrivals
	// Seed decides Poisson arrivals.
	Seed uint64
	// Capacity, if set, makes the load a search for the highest rate that keeps the Objective. Each of its trials lasts for Duration; the
	// outcome's metrics are those of the last one. OnTrial, if set, is called after each trial, before it is known whether another confirms
	// it.
	Capacity  *load.Capacity
	Objective load.Objective
	OnTrial   func(load.Trial)
	// InitializeLimit is how long the app may take to reset its data; 0 is the constant of that name.
	InitializeLimit time.Duration
	// Duration is length of the load phase; it must be positive.
	Duration time.Duration
	// OnPhase, if set, is called when a phase begins.
	OnPhase func(Phase)
	// OnTick, if set, is called once a second during the load.
	OnTick func(load.Tick)
	// AroundLoad, if set, is called right before the load begins; what it returns is called right after its end. It is
	// where others start and stop measuring. In a search for the capacity it is called for every trial.
	AroundLoad func(ctx context.Context) (done func())
}

// Phase is one part of a round.
type Phase string

// The phases, in order.
const (
	Initialize Phase = "initialize"
	Validate   Phase = "validate"
	Load       Phase = "load"
	Check      Phase = "check"
)

// Outcome is what a round gave. Phases that were not reached are absent from Phases.
type Outcome struct {
	StartedAt time.Time
	Phases    []result.Phase
	Faults    []result.Fault
	// Reason says in one sentence why the round failed; empty when it passed.
	Reason string
	Score  result.Score
	// Loaded is false when the round failed before its load.
	Loaded  bool
	Summary load.Summary
	Report  load.Report
	// Rate is how an open-loop load went; nil for a closed loop.
	Rate *load.RateReport
	// Capacity is what the search found; nil without one.
	Capacity *load.CapacityReport
	// Usage is what the generator's process used during the load, Sockets what its connections met.
	Usage   load.Usage
	Sockets load.Sockets
}

// Passed reports whether every phase was passed.
func (o *Outcome) Passed() bool { return o.Reason == "" }

// Fail fails the round for a reason from outside the scenario, such as a server that died. It comes before the faults that followed from
// it. detail, which may be long, is only in the list of faults.
func (o *Outcome) Fail(reason, detail string) {
	o.Reason = reason
	o.Faults = slices.Insert(o.Faults, 0, result.Fault{Phase: "round", Text: strings.TrimSpace(reason + "\n" + detail)})
	o.Score.Total = 0
}

// Run drives one round. A round that ran and failed is an Outcome; the error is for rounds that could not be run to their
// end, such as an ended ctx, and the Outcome then holds what there was.
func Run(ctx context.Context, opts Options) (*Outcome, error) {
	if opts.Duration <= 0 {
		return nil, fmt.Errorf("load of %v: a load needs time", opts.Duration)
	}
	r := &round{Options: opts, out: &Outcome{StartedAt: time.Now()}}
	for _, p := range []struct {
		name Phase
		run  func(context.Context) ([]string, error)
	}{
		{Initialize, r.initialize}, {Validate, opts.Scenario.Validate}, {Load, r.load}, {Check, opts.Scenario.Check},
	} {
		ok, err := r.phase(ctx, p.name, p.run)
		if err != nil {
			return r.out, fmt.Errorf("%s: %w", p.name, err)
		}
		if !ok {
			break
		}
	}
	r.score()
	return r.out, nil
}

type round struct {
	Options
	out *Outcome
}

// phase runs one phase and records its result; ok is false if it found faults.
func (r *round) phase(ctx context.Context, name Phase, run func(context.Context) ([]string, error)) (ok bool, err error) {
	if r.OnPhase != nil {
		r.OnPhase(name)
	}
	start := time.Now()
	faults, err := run(ctx)
	if err == nil {
		err = ctx.Err()
	}
	ok = err == nil && len(faults) == 0
	r.out.Phases = append(r.out.Phases, result.Phase{
		Name: string(name), StartSeconds: start.Sub(r.out.StartedAt).Seconds(),
		DurationSeconds: time.Since(start).Seconds(), OK: ok,
	})
	for _, f := range faults {
		r.out.Faults = append(r.out.Faults, result.Fault{Phase: string(name), Text: f})
	}
	if len(faults) > 0 && r.out.Reason == "" {
		r.out.Reason = fmt.Sprintf("%s failed: %s", name, faults[0])
	}
	return ok, err
}

func (r *round) initialize(ctx context.Context) ([]string, error) {
	limited, cancel := context.WithTimeout(ctx, cmp.Or(r.InitializeLimit, InitializeLimit))
	defer cancel()
	err := r.Scenario.Initialize(limited)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err != nil {
		return []string{err.Error()}, nil
	}
	return nil, nil
}

// score adds up the load. A failed round has no points, regardless of its load.
func (r *round) score() {
	if !r.out.Loaded {
		return
	}
	t := Tally{OK: map[string]int64{}}
	for _, e := range r.out.Summary.Endpoints {
		t.OK[e.Name] = e.OK
	}
	total := r.out.Summary.Total
	t.Timeouts = total.ByKind[load.Timeout]
	t.Errors = total.Errors - t.Timeouts
	r.out.Score = r.Scenario.Points().Score(t)
	if !r.out.Passed() {
		r.out.Score.Total = 0
	}
}
