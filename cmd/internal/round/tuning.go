package round

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"isukit/bench/result"
	"isukit/cmd/internal/ui"
	"isukit/infra"
	"isukit/infra/tune"
)

// roundTuning is what a round runs with beyond its topology.
type roundTuning struct {
	names   []string // as they were asked for
	before  []string // were applied already, and stay
	own     []string // tunings that the round itself applies, and takes back
	running *infra.Running
	targets []*tune.Target
	close   func() error
	report  tune.Report
}

// tunings are those of the topology and of --tune, each once.
func (o Options) tunings(spec infra.Spec) []string {
	var names []string
	for _, name := range slices.Concat(spec.Topology.Tunings, o.Tune) {
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// applyTunings applies what the round was asked to run with. What cannot be applied is told and becomes a warning of the record;
// what was applied and did not take effect ends the round.
func (o Options) applyTunings(ctx context.Context, spec infra.Spec, running *infra.Running, view *ui.RoundView) (*roundTuning, error) {
	t := &roundTuning{names: o.tunings(spec), running: running}
	var err error
	if t.before, err = running.Tunings(ctx); err != nil || len(t.names) == 0 {
		return t, err
	}
	view.Step("applying tunings: %s", strings.Join(t.names, ", "))
	tunings, err := FindTunings(t.names, o.AcceptRisk)
	if err != nil {
		return nil, err
	}
	for _, one := range tunings {
		if !slices.Contains(t.before, one.Name) {
			t.own = append(t.own, one.Name)
		}
	}
	sub, err := running.Subject()
	if err != nil {
		return nil, err
	}
	if t.targets, t.close, err = sub.TuneTargets(); err != nil {
		return nil, err
	}
	done := view.During("applying tunings, with restarts where they need them")
	err = running.Tuning(ctx, func() (err error) {
		t.report, err = tune.ApplyAll(ctx, time.Now(), t.targets, tunings)
		return err
	})
	done()
	if err == nil && t.report.Has(tune.Failed, tune.Left) {
		err = errors.New("a tuning did not take effect")
	}
	if err == nil && !t.report.Has(tune.Applied, tune.Kept) {
		err = ui.Hinted(fmt.Errorf("nothing of the tunings %s could be applied", strings.Join(t.names, ", ")), "isukit tune show NAME tells what each needs")
	}
	for _, outcome := range t.report {
		if outcome.Did == tune.Failed || outcome.Did == tune.Left || err != nil && outcome.Did == tune.Refused {
			err = errors.Join(err, fmt.Errorf("%s: %s: %s", ui.OrDash(outcome.Target), outcome.Key, outcome.Reason))
		}
	}
	if err != nil {
		return t, errors.Join(err, t.revert(context.WithoutCancel(ctx), view))
	}
	return t, nil
}

// revert takes back what the round applied, and says what. Values that somebody else has changed meanwhile are left, and told in any case.
func (t *roundTuning) revert(ctx context.Context, view *ui.RoundView) error {
	if len(t.own) == 0 {
		if t.close != nil {
			return t.close()
		}
		return nil
	}
	done := view.During("taking tunings back, with restarts where they need them")
	var report tune.Report
	err := t.running.Tuning(ctx, func() (err error) {
		report, err = tune.RevertAll(ctx, t.targets, tune.RevertOptions{Tunings: t.own})
		return err
	})
	done()
	err = errors.Join(err, t.close())
	if text := TakenBack(report); text != "" {
		view.Step("taken back: %s", text)
	}
	for _, o := range report {
		if o.Did == tune.Left || o.Did == tune.NeedsYou {
			view.Warn("tuning %s: %s of %s was not taken back: %s", ui.OrDash(o.Tuning), ui.OrDash(o.Key), o.Target, o.Reason)
		}
	}
	return err
}

// TakenBack counts the values of each tuning that was taken back.
func TakenBack(report tune.Report) string {
	var names []string
	count := map[string]int{}
	for _, o := range report {
		if o.Did != tune.Reverted {
			continue
		}
		if count[o.Tuning]++; count[o.Tuning] == 1 {
			names = append(names, o.Tuning)
		}
	}
	for i, name := range names {
		names[i] = fmt.Sprintf("%s (values: %d)", name, count[name])
	}
	return strings.Join(names, ", ")
}

// fill tells the record what it ran with.
func (t *roundTuning) fill(r *result.Round) {
	all := slices.Concat(t.before, t.names)
	slices.Sort(all)
	if all = slices.Compact(all); len(all) == 0 {
		return
	}
	r.Facts = append(r.Facts, result.Fact{Key: "tunings", Value: strings.Join(all, ", ")})
	slices.SortFunc(r.Facts, func(a, b result.Fact) int { return strings.Compare(a.Key, b.Key) })
	for _, o := range t.report {
		if o.Did == tune.Refused {
			r.Warnings = append(r.Warnings, fmt.Sprintf("tuning %s: %s of %s was not applied: %s", o.Tuning, ui.OrDash(o.Key), ui.OrDash(o.Target), o.Reason))
		}
	}
}
