package round

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"isukit"
	"isukit/bench/result"
	"isukit/cmd/internal/ui"
	"isukit/infra"
	"isukit/infra/subject"
	"isukit/infra/tune"
	"isukit/input"
)

// tunedRound is a subject with tunings on, for the time of a round.
type tunedRound struct {
	own       []string // tunings that the round itself applies and reverts
	sub       *subject.Subject
	targets   []*tune.Target
	close     func() error
	report    tune.Report
	pending   *pending
	say, warn func(string, ...any)
}

func (o Options) tunings(spec infra.Spec) []string {
	return united(nil, slices.Concat(spec.Topology.Tunings, o.Tune))
}

// applyTunings applies what the round was asked to run with to servers of the portal.
func (o Options) applyTunings(ctx context.Context, spec infra.Spec, running *infra.Running, view *ui.RoundView) (*tunedRound, error) {
	list, err := FindTunings(o.tunings(spec), o.AcceptRisk)
	if err != nil {
		return nil, err
	}
	t := &tunedRound{sub: running.Subject(), say: view.Step, warn: view.Warn}
	if o.Driver != "" {
		t.pending = &pending{Driver: o.Driver, LocalDir: spec.LocalDir, App: spec.AppBinary}
	}
	return t, t.apply(ctx, list, o.StateDir)
}

// apply applies tunings, after a note that they are to be reverted. What cannot be applied is printed and becomes a warning of the record;
// a tuning that was applied without effect is reverted, and an error.
func (t *tunedRound) apply(ctx context.Context, list []tune.Tuning, stateDir string) error {
	if len(list) == 0 {
		return nil
	}
	names := make([]string, len(list))
	for i, one := range list {
		names[i] = one.Name
	}
	t.say("applying tunings: %s", strings.Join(names, ", "))
	before, err := t.sub.Tunings(ctx)
	if err != nil {
		return err
	}
	t.own = slices.DeleteFunc(slices.Clone(names), func(name string) bool { return slices.Contains(before, name) })
	if t.pending != nil {
		if err := t.pending.keep(stateDir, t.own); err != nil {
			return err
		}
	}
	if t.targets, t.close, err = t.sub.TuneTargets(); err != nil {
		return errors.Join(err, t.pending.drop())
	}
	t.report, err = tune.ApplyAll(ctx, time.Now(), t.targets, list)
	if err == nil && t.report.Has(tune.Failed, tune.Left) {
		err = errors.New("a tuning did not take effect")
	}
	if err == nil && !t.report.Has(tune.Applied, tune.Kept) {
		err = ui.Hinted(fmt.Errorf("none of the tunings could be applied: %s", strings.Join(names, ", ")), "isukit tune show NAME shows what each needs")
	}
	for _, outcome := range t.report {
		if outcome.Did == tune.Failed || outcome.Did == tune.Left || err != nil && outcome.Did == tune.Refused {
			err = errors.Join(err, fmt.Errorf("%s: %s: %s", ui.OrDash(outcome.Target), outcome.Key, outcome.Reason))
		}
	}
	if err != nil {
		return errors.Join(err, t.revert(context.WithoutCancel(ctx)))
	}
	return nil
}

// revert reverts and lists what the round applied. Values that another process has changed meanwhile are left alone and always reported.
func (t *tunedRound) revert(ctx context.Context) error {
	if t.close == nil {
		return nil
	}
	closeTargets := t.close
	t.close = nil
	if len(t.own) == 0 {
		return errors.Join(closeTargets(), t.pending.drop())
	}
	report, err := tune.RevertAll(ctx, t.targets, tune.RevertOptions{Tunings: t.own})
	err = errors.Join(err, closeTargets())
	if text := TakenBack(report); text != "" {
		t.say("reverted: %s", text)
	}
	for _, o := range report {
		if o.Did == tune.Left || o.Did == tune.NeedsYou {
			t.warn("tuning %s: %s of %s was not reverted: %s", ui.OrDash(o.Tuning), ui.OrDash(o.Key), o.Target, o.Reason)
		}
	}
	if err == nil {
		err = t.pending.drop()
	}
	return err
}

// TakenBack counts the reverted values of each tuning.
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

// TuningWarning begins each warning of a round about a tuning that was not applied; its name follows.
const TuningWarning = "tuning "

// fill tells the record what it ran with, and what of that is not in effect.
func (t *tunedRound) fill(ctx context.Context, r *result.Round) error {
	all, err := t.sub.Tunings(ctx)
	for _, o := range t.report {
		if o.Did == tune.Applied || o.Did == tune.Kept {
			all = append(all, o.Tuning)
		}
	}
	slices.Sort(all)
	if all = slices.Compact(all); len(all) > 0 {
		r.Facts = append(r.Facts, result.Fact{Key: "tunings", Value: strings.Join(all, ", ")})
	}
	for _, o := range t.report {
		switch o.Did {
		case tune.Refused:
			what := o.Tuning
			if o.Key != "" {
				what += fmt.Sprintf(": %s of %s", o.Key, o.Target)
			}
			r.Warnings = append(r.Warnings, fmt.Sprintf("%s%s was not applied: %s", TuningWarning, what, o.Reason))
		case tune.NeedsYou:
			r.Warnings = append(r.Warnings, fmt.Sprintf("tunings of %s are not in effect: %s", o.Target, o.Reason))
		}
	}
	return err
}

// LoadTunings reads the shipped tunings and the files among the names; it returns the names in the catalog.
func LoadTunings(names []string) (*tune.Catalog, []string, error) {
	catalog, err := tune.Load(isukit.Assets)
	if err != nil {
		return nil, nil, err
	}
	resolved := make([]string, len(names))
	for i, name := range names {
		resolved[i] = name
		if !strings.ContainsAny(name, ".") {
			continue
		}
		text, err := input.Read(name, tune.MaxFileBytes)
		if err != nil {
			return nil, nil, ui.UsageError(err, "a name with a dot is a file; isukit tune ls lists the shipped tunings")
		}
		t, err := catalog.Add(name, text)
		if err != nil {
			return nil, nil, ui.UsageError(err, "docs/tuning-files.md describes the format")
		}
		resolved[i] = t.Name
	}
	return catalog, resolved, nil
}

func tuneHint(catalog *tune.Catalog, names []string) string {
	var known []string
	for _, t := range catalog.Tunings {
		known = append(known, t.Name)
	}
	for _, g := range catalog.Groups {
		known = append(known, g.Name)
	}
	for _, name := range names {
		if slices.Contains(known, name) {
			continue
		}
		if hint := ui.DidYouMean(name, known); hint != "" {
			return hint
		}
	}
	return "isukit tune ls lists them"
}

// ResolveTunings returns the catalog with files of the user, and the tunings that names mean.
func ResolveTunings(names []string) (*tune.Catalog, []tune.Tuning, error) {
	catalog, names, err := LoadTunings(names)
	if err != nil {
		return nil, nil, err
	}
	tunings, err := catalog.Resolve(names)
	if err != nil {
		return nil, nil, ui.UsageError(err, tuneHint(catalog, names))
	}
	return catalog, tunings, nil
}

// FindTunings returns tunings by name, without those whose risk has to be accepted first.
func FindTunings(names, accepted []string) ([]tune.Tuning, error) {
	catalog, tunings, err := ResolveTunings(names)
	if err != nil {
		return nil, err
	}
	if _, err := catalog.Resolve(accepted); err != nil {
		return nil, ui.UsageError(fmt.Errorf("--accept-risk: %w", err), tuneHint(catalog, accepted))
	}
	if err := tune.CheckRisks(tunings, accepted); err != nil {
		return nil, ui.UsageError(err, "to apply it anyway: --accept-risk NAME")
	}
	return tunings, nil
}
