package tune

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"
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
	report, meant, some := match(targets, tunings)
	defer closeAll(meant)
	if err := openAll(ctx, meant); err != nil {
		return report, err
	}
	outcomes, err := onHosts(meant, func(group []*Target) []outcome {
		// Processes are others once their servers were restarted: their limits come last.
		last := len(group)
		if restarts(group, some) {
			last = slices.IndexFunc(group, func(t *Target) bool { return t.Kind == Limits })
		}
		if last <= 0 || last == len(group) {
			return applyOn(ctx, now, group, some)
		}
		first := applyOn(ctx, now, group[:last], some)
		if slices.ContainsFunc(first, func(o outcome) bool { return o.err != nil }) {
			return first
		}
		return append(first, applyOn(ctx, now, group[last:], some)...)
	})
	return append(report, outcomes...), err
}

// restarts tells whether tunings make services be other processes.
func restarts(group []*Target, some map[*Target][]Tuning) bool {
	for _, t := range group {
		for _, tuning := range some[t] {
			needs := slices.ContainsFunc(tuning.Settings, func(s Setting) bool { return s.Restart == Service })
			if t.Kind == MySQL && needs || t.Kind == Envoy || t.Kind == Nginx && t.store.host.About().Here {
				return true
			}
		}
	}
	return false
}

// DiffAll lists what ApplyAll would do, and writes nothing.
func DiffAll(ctx context.Context, targets []*Target, tunings []Tuning) (Report, error) {
	report, meant, some := match(targets, tunings)
	outcomes, err := onHosts(meant, func(group []*Target) []outcome {
		if err := lookAt(ctx, group, func(t *Target) []string { return settingKeys(some[t]) }); err != nil {
			return []outcome{{err: err}}
		}
		return oneByOne(func(t *Target) (Report, error) { return t.diff(ctx, some[t]) })(group)
	})
	return append(report, outcomes...), err
}

// match finds the targets that tunings are for, and refuses those of which there is none.
func match(targets []*Target, tunings []Tuning) (report Report, meant []*Target, some map[*Target][]Tuning) {
	for _, tuning := range tunings {
		if !hasKind(targets, tuning.Kind) && !twinHas(targets, tunings, tuning) {
			report = append(report, Outcome{Tuning: tuning.Name, Did: Refused, Reason: fmt.Sprintf("kind %s was not found", tuning.Kind)})
		}
	}
	some = map[*Target][]Tuning{}
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
	return report, meant, some
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

// RevertAll reverts tunings on all targets, the last first. It continues after a target that fails; the errors are joined.
func RevertAll(ctx context.Context, targets []*Target, o RevertOptions) (Report, error) {
	defer closeAll(targets)
	if err := openAll(ctx, targets); err != nil {
		return nil, err
	}
	backward := slices.Clone(targets)
	slices.Reverse(backward)
	return onHosts(backward, func(group []*Target) []outcome { return revertOn(ctx, group, o) })
}

// VerifyAll is what differs on any target, and how many keys something is applied to.
func VerifyAll(ctx context.Context, targets []*Target) (report Report, applied int, err error) {
	defer closeAll(targets)
	if err := openAll(ctx, targets); err != nil {
		return nil, 0, err
	}
	for _, t := range targets {
		applied += len(t.heldKeys())
	}
	report, err = onHosts(targets, func(group []*Target) []outcome {
		if err := lookAt(ctx, group, (*Target).heldKeys); err != nil {
			return []outcome{{err: err}}
		}
		return oneByOne(func(t *Target) (Report, error) { return t.verify(ctx) })(group)
	})
	return report, applied, err
}

// diff tells for every setting what the target has and what it would get, on the layer that counts. It is a part of a look.
func (t *Target) diff(ctx context.Context, tunings []Tuning) (report Report, err error) {
	defer t.store.close()
	defer t.host.act()
	for _, tuning := range tunings {
		changes, planned, err := t.planAll(ctx, time.Time{}, []Tuning{tuning})
		if err != nil {
			return report, fmt.Errorf("compare %s: %w", t.Name, err)
		}
		for i, c := range changes {
			o := Outcome{Target: t.Name, Tuning: tuning.Name, Key: c.record.Key, Layer: c.slot.layer(), Did: Kept, From: c.from.String(), To: c.to.String()}
			if !c.from.Equal(c.to) {
				o.Did = Differs
			}
			later := slices.ContainsFunc(changes[i+1:], func(n change) bool { return n.record.Key == o.Key && n.slot.layer() != PersistLayer })
			if !later && o.Layer != PersistLayer {
				planned = append(slices.DeleteFunc(planned, func(p Outcome) bool { return p.Key == o.Key }), o)
			}
		}
		report = append(report, planned...)
	}
	return report, nil
}
