package bench

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"isukit/bench/load"
)

// load is the load phase: one load, or as many as the search for the capacity takes.
func (r *round) load(ctx context.Context) ([]string, error) {
	if r.Capacity == nil {
		if err := r.loadOnce(ctx, r.Profile); err != nil {
			return nil, err
		}
		if r.out.Summary.Total.OK == 0 {
			return []string{"not one right answer"}, nil
		}
		return nil, nil
	}
	report, err := r.Capacity.Search(ctx, func(ctx context.Context, perSec float64) (string, error) {
		if err := r.loadOnce(ctx, load.Rate{PerSec: perSec}); err != nil {
			return "", err
		}
		missed := r.Objective.Judge(r.out.Summary, *r.out.Rate)
		if r.OnTrial != nil {
			r.OnTrial(load.Trial{PerSec: perSec, Missed: missed})
		}
		return missed, nil
	})
	r.out.Capacity = &report
	if errors.Is(err, load.ErrNoCapacity) {
		return []string{fmt.Sprintf("%v: %s", err, report.Trials[len(report.Trials)-1].Missed)}, nil
	}
	return nil, err
}

// loadOnce runs one load of the round's duration and notes how it went.
func (r *round) loadOnce(ctx context.Context, p load.Profile) error {
	done := func() {}
	if r.AroundLoad != nil {
		done = r.AroundLoad(ctx)
	}
	limited, cancel := context.WithTimeout(ctx, r.Duration)
	defer cancel()
	watch := load.StartWatch()
	err := r.run(limited, p)
	r.out.Usage, r.out.Sockets = watch.Stop(), r.Engine.Sockets()
	done()
	if err != nil {
		return err
	}
	r.out.Loaded = true
	r.out.Summary = r.Engine.Recorder().Summary(r.out.Report.Start.Add(r.Duration))
	return ctx.Err()
}

// run runs the users, or, where there is a profile, an open loop.
func (r *round) run(ctx context.Context, p load.Profile) error {
	if p == nil {
		r.out.Report = load.Run(ctx, r.Shape, r.Scenario.User, r.Engine.Recorder(), r.OnTick)
		return nil
	}
	open, ok := r.Scenario.(OpenScenario)
	if !ok {
		return fmt.Errorf("the users of %s have no open loop", r.Scenario.Name())
	}
	var staff sync.WaitGroup
	newVisitor := func(n int) load.Visitor {
		if n == 0 { // the recorder has started by now
			for _, user := range open.Staff() {
				staff.Go(func() { user(ctx) })
			}
		}
		return open.NewVisitor(n)
	}
	rate := load.RunRate(ctx, p, newVisitor, r.Engine.Recorder(), load.RateOptions{
		Arrivals: r.Arrivals, Seed: r.Seed, OnTick: r.OnTick,
	})
	staff.Wait()
	r.out.Rate = &rate
	r.out.Report = load.Report{Start: rate.Start, End: rate.End, Started: rate.PeakUsers, PeakUsers: rate.PeakUsers}
	return nil
}
