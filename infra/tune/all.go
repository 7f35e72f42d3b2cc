package tune

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"isukit/infra/engine"
)

// Differs says in a diff that applying would change the value.
const Differs Did = "differs"

// CheckRisks names every tuning of high risk whose name was not accepted, with the reasons.
func CheckRisks(tunings []Tuning, accepted []string) error {
	var faults []error
	for _, t := range tunings {
		if risks := t.Risks(); len(risks) > 0 && !slices.Contains(accepted, t.Name) {
			faults = append(faults, fmt.Errorf("tuning %s is off unless its risk is accepted: %s", t.Name, strings.Join(risks, "; ")))
		}
	}
	return errors.Join(faults...)
}

// ApplyAll applies every tuning to the targets of its kind. One that has no target is refused.
func ApplyAll(ctx context.Context, now time.Time, targets []*Target, tunings []Tuning) (Report, error) {
	return each(ctx, targets, tunings, true, func(t *Target, some []Tuning) (Report, error) { return t.Apply(ctx, now, some...) })
}

// DiffAll tells what ApplyAll would do, and writes nothing.
func DiffAll(ctx context.Context, targets []*Target, tunings []Tuning) (Report, error) {
	return each(ctx, targets, tunings, false, func(t *Target, some []Tuning) (Report, error) { return t.Diff(ctx, some...) })
}

// each does something with the targets that tunings are for; records tells whether that takes their records.
func each(ctx context.Context, targets []*Target, tunings []Tuning, records bool, do func(*Target, []Tuning) (Report, error)) (Report, error) {
	var report Report
	for _, tuning := range tunings {
		if !hasKind(targets, tuning.Kind) && !twinHas(targets, tunings, tuning) {
			report = append(report, Outcome{Tuning: tuning.Name, Did: Refused, Reason: fmt.Sprintf("kind %s was not found", tuning.Kind)})
		}
	}
	some := map[*Target][]Tuning{}
	var meant []*Target
	for _, t := range targets {
		for _, tuning := range tunings {
			if tuning.Kind == t.Kind {
				some[t] = append(some[t], tuning)
			}
		}
		if len(some[t]) > 0 {
			meant = append(meant, t)
		}
	}
	if records {
		defer closeAll(meant)
		if err := openAll(ctx, meant); err != nil {
			return report, err
		}
	}
	outcomes, err := onHosts(meant, true, func(t *Target) (Report, error) { return do(t, some[t]) })
	return append(report, outcomes...), err
}

func hasKind(targets []*Target, kind Kind) bool {
	return slices.ContainsFunc(targets, func(t *Target) bool { return t.Kind == kind })
}

// twinHas tells whether the other proxy's tuning of the same name is asked for as well and has a target: groups have both.
func twinHas(targets []*Target, tunings []Tuning, tuning Tuning) bool {
	return slices.ContainsFunc(tunings, func(o Tuning) bool {
		return o.Kind != tuning.Kind && path.Base(o.Name) == path.Base(tuning.Name) && isProxy(o.Kind) && isProxy(tuning.Kind) && hasKind(targets, o.Kind)
	})
}

func isProxy(kind Kind) bool { return kind == Nginx || kind == Envoy }

// RevertAll takes tunings back on all targets, the last first. It goes on past a target that fails; the errors are joined.
func RevertAll(ctx context.Context, targets []*Target, o RevertOptions) (Report, error) {
	defer closeAll(targets)
	if err := openAll(ctx, targets); err != nil {
		return nil, err
	}
	backward := slices.Clone(targets)
	slices.Reverse(backward)
	return onHosts(backward, false, func(t *Target) (Report, error) { return t.Revert(ctx, o) })
}

// VerifyAll is what differs on any target.
func VerifyAll(ctx context.Context, targets []*Target) (Report, error) {
	defer closeAll(targets)
	if err := openAll(ctx, targets); err != nil {
		return nil, err
	}
	return onHosts(targets, true, func(t *Target) (Report, error) { return t.Verify(ctx) })
}

// Settings counts the keys of targets that something is applied to.
func Settings(ctx context.Context, targets []*Target) (int, error) {
	defer closeAll(targets)
	if err := openAll(ctx, targets); err != nil {
		return 0, err
	}
	keys := map[string]bool{}
	for _, t := range targets {
		for _, r := range t.store.held {
			keys[t.Name+" "+r.Key] = true
		}
	}
	return len(keys), nil
}

// Diff tells for every setting what the target has and what it would get.
func (t *Target) Diff(ctx context.Context, tunings ...Tuning) (Report, error) {
	defer t.host.act()
	if err := t.look(ctx, settingKeys(tunings)); err != nil {
		return nil, fmt.Errorf("compare %s: %w", t.Name, err)
	}
	product, err := t.product(ctx)
	if err != nil {
		return nil, fmt.Errorf("compare %s: %w", t.Name, err)
	}
	var report Report
	for _, tuning := range tunings {
		for _, s := range tuning.Settings {
			outcomes, err := t.diffOne(ctx, product, tuning.Name, s)
			if err != nil {
				return report, fmt.Errorf("compare %s: %s: %w", t.Name, s.Key, err)
			}
			report = append(report, outcomes...)
		}
	}
	return report, nil
}

func (t *Target) diffOne(ctx context.Context, product engine.Product, tuning string, s Setting) (Report, error) {
	o := Outcome{Target: t.Name, Tuning: tuning, Key: s.Key, Did: Refused, Reason: s.unknown(product)}
	if o.Reason == "" {
		var err error
		if o.Reason, err = t.refuse(ctx, s); err != nil {
			return nil, err
		}
	}
	if o.Reason != "" {
		return Report{o}, nil
	}
	text, err := t.Sizes.Eval(s.Value)
	if err != nil {
		return nil, err
	}
	keys, err := t.expand(ctx, s)
	if err != nil {
		return nil, err
	}
	slots, err := t.slots(ctx, s)
	if err != nil {
		return nil, err
	}
	var report Report
	for _, key := range keys {
		slots := having(slots, key)
		last := slots[len(slots)-1]
		if last.layer() == PersistLayer {
			last = slots[0]
		}
		to, _, err := t.aim(ctx, s, key, text, []slot{last})
		var why exempt
		if errors.As(err, &why) {
			report = append(report, Outcome{Target: t.Name, Tuning: tuning, Key: key, Did: Kept, Reason: string(why)})
			continue
		}
		if err != nil {
			return nil, err
		}
		current, err := last.read(ctx, key)
		if err != nil {
			return nil, err
		}
		o := Outcome{Target: t.Name, Tuning: tuning, Key: key, Layer: last.layer(), Did: Kept, From: current.String(), To: engine.Value{Text: to}.String()}
		if !current.Equal(engine.Value{Text: to}) {
			o.Did = Differs
		}
		report = append(report, o)
	}
	return report, nil
}
